//! `scripts=known` is strict: code that runs delivered text, and code that a package delivered, counts as a script of
//! the package.

use std::fs;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::{add, added, stage};
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// A package with a file of a class whose script runs delivered text.
fn of_class(class: &str) -> Package {
    let text = match class {
        "sed" => "!install\n1e touch /opt/run\n!remove\n",
        "awk" => "!install\nBEGIN { system(\"touch /opt/run\") }\n!remove\n",
        _ => "echo built\n",
    };
    Package::new("ACMEx").param("CLASSES", class).of_class(class, 'e', "/etc/table", 0o644, text)
}

/// A class script of the root that copies.
const COPY: &str = "while read src dst; do cp $src $dst; done\n";

fn under(policy: &str) -> Scenario {
    let stage = stage();
    stage.file("/etc/table", "old\n");
    stage.file("/etc/patchadm/policy", format!("scripts={policy}\n"));
    stage
}

#[test]
fn classes_that_run_what_was_delivered_are_refused_with_their_name() {
    for policy in ["known", "none"] {
        for class in ["sed", "awk", "build"] {
            let stage = under(policy);
            let before = stage.everything();
            let run = add(&stage, "-n", &of_class(class));
            assert_eq!(run.code, 1, "{policy} {class}: {}", run.stderr);
            let words = format!(
                "needs the script i.{class} of class {class}, which the policy of this root does not"
            );
            assert!(run.stderr.contains(&words), "{}", run.stderr);
            assert_same(&before, &stage.everything());
        }
    }
}

#[test]
fn a_patch_with_such_a_class_is_refused_with_10() {
    let stage = under("known");
    stage.install(&Package::new("ACMEx").file("bin/x", 0o755, "one\n"));
    let patch = Patch::of("100-01", of_class("sed").param("CLASSES", "none sed"));
    let text = stage.patchadd("", &patch).fails(10);
    assert!(text.contains("i.sed of class sed"), "{text}");
    assert_eq!(stage.text("/etc/table"), "old\n");
}

#[test]
fn classes_that_only_copy_are_known() {
    let stage = under("known");
    added(
        &stage,
        &Package::new("ACMEx").param("CLASSES", "renamenew").of_class(
            "renamenew",
            'e',
            "/etc/table",
            0o644,
            "new\n",
        ),
    );
    assert_eq!(stage.text("/etc/table.new"), "new\n");
}

#[test]
fn a_class_script_of_the_root_is_known_unless_a_package_delivered_it() {
    let mine = || Package::new("ACMEx").param("CLASSES", "mine").of_class("mine", 'f', "a", 0o644, "one\n");
    let stage = under("known");
    stage.file("/usr/sadm/install/scripts/i.mine", COPY);
    added(&stage, &mine());

    let stage = under("known");
    let carrier = Package::new("ACMEcar").file("/usr/sadm/install/scripts/i.mine", 0o644, COPY);
    stage.install(&carrier);
    let run = add(&stage, "-n", &mine());
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("needs the script i.mine of class mine"), "{}", run.stderr);
    fs::remove_file(stage.at("/etc/patchadm/policy")).unwrap();
    added(&stage, &mine());
}

#[test]
fn a_class_script_that_was_delivered_by_another_path_or_is_a_link_is_no_known_one() {
    let mine = || Package::new("ACMEx").param("CLASSES", "mine").of_class("mine", 'f', "a", 0o644, "one\n");
    let stage = under("known");
    stage.directory("/usr/sadm/install");
    stage.directory("/opt/scripts");
    stage.symlink("/usr/sadm/install/scripts", "../../../opt/scripts");
    stage.install(&Package::new("ACMEcar").file("/opt/scripts/i.mine", 0o644, COPY));
    let run = add(&stage, "-n", &mine());
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("needs the script i.mine of class mine"), "{}", run.stderr);

    let stage = under("known");
    stage.file("/opt/elsewhere", COPY);
    stage.directory("/usr/sadm/install/scripts");
    stage.symlink("/usr/sadm/install/scripts/i.mine", "../../../../opt/elsewhere");
    let run = add(&stage, "-n", &mine());
    assert_eq!(run.code, 1, "{}", run.stderr);
}

#[test]
fn a_removal_through_such_a_class_is_refused_too() {
    let stage = under("run");
    let package = Package::new("ACMEx").param("CLASSES", "sed").of_class(
        "sed",
        'e',
        "/etc/table",
        0o644,
        "!install\ns/old/new/\n!remove\ns/new/old/\n",
    );
    added(&stage, &package);
    stage.file("/etc/patchadm/policy", "scripts=known\n");
    let text = stage.run("pkgrm -n -R @ROOT@ ACMEx").fails(1);
    assert!(text.contains("needs the script r.sed of class sed"), "{text}");
    assert_eq!(stage.text("/etc/table"), "new\n");
}
