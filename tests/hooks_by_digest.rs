//! Checks which scripts run: those that a patch keeps in the root until its backout, and class scripts in a root.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::{add, added, stage};
use crate::scenario::{Scenario, is_root};
use crate::tree::assert_same;

/// A change to a root that another user may have made.
type Spoil = fn(&Scenario);

/// A root with a patch that our records do not mention, and a prebackout that it left.
fn with_hook() -> Scenario {
    let stage = stage();
    stage.install(&Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n"));
    stage.patchadd("", &Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"))).ok();
    stage.file("/var/sadm/patch/100-01/prebackout", "#!/bin/sh\nid -u > $ROOTDIR/opt/noted\n");
    stage.mode("/var/sadm/patch/100-01/prebackout", 0o755);
    // A patch that a classic tool applied has no records except for its adopted undo data.
    stage.forget_ledgers();
    stage.run("recover --adopt-undo -R @ROOT@ 100-01").ok();
    stage
}

#[test]
fn a_hook_of_a_classic_tool_runs_with_a_note_where_only_the_superuser_could_have_written_it() {
    let stage = with_hook();
    let planned = stage.run("remove --dry-run -R @ROOT@ 100-01");
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    assert!(planned.stdout.contains("prebackout was left by a classic tool"), "{}", planned.stdout);
    let run = stage.run("patchrm -R @ROOT@ 100-01");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!stage.text("/opt/noted").is_empty());
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

#[test]
fn a_hook_that_somebody_else_could_have_written_does_not_run_as_root() {
    if !is_root() {
        crate::skipped("a_hook_that_somebody_else_could_have_written_does_not_run_as_root: not root");
        return;
    }
    let spoils: [(&str, Spoil); 3] = [
        ("its owner", |stage| {
            chown(stage.at("/var/sadm/patch/100-01/prebackout"), Some(54_321), None).unwrap();
        }),
        ("its mode", |stage| stage.mode("/var/sadm/patch/100-01/prebackout", 0o757)),
        ("a directory above", |stage| {
            fs::set_permissions(stage.at("/var/sadm/patch"), Permissions::from_mode(0o1777)).unwrap();
        }),
    ];
    for (what, spoil) in spoils {
        let stage = with_hook();
        spoil(&stage);
        let before = stage.everything();
        let run = stage.run("patchrm -R @ROOT@ 100-01");
        // A record that others may write stops the command before the script is looked at.
        assert!([3, 5].contains(&run.code), "{what}: {} {}", run.code, run.stderr);
        assert_eq!(stage.text("/opt/noted"), "", "{what}");
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn a_hook_runs_as_the_run_that_applied_the_patch_recorded_it_and_no_other_does() {
    let hook = "#!/bin/sh\necho ran > $ROOTDIR/opt/noted\n";
    let with = |prebackout: Option<&str>| {
        let stage = stage();
        stage.install(&Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n"));
        let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"));
        let patch = prebackout.into_iter().fold(patch, |patch, text| patch.beside("prebackout", text));
        let delivered = patch.directory(&stage);
        if prebackout.is_some() {
            fs::set_permissions(delivered.join("prebackout"), Permissions::from_mode(0o755)).unwrap();
        }
        stage.run(&format!("patchadd -R @ROOT@ {}", delivered.display())).ok();
        stage
    };
    let stage = with(Some(hook));
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(stage.text("/opt/noted"), "ran\n");
    for (what, delivered) in [("another content", Some(hook)), ("a hook that the patch did not have", None)] {
        let stage = with(delivered);
        stage.file("/var/sadm/patch/100-01/prebackout", "#!/bin/sh\necho lie > $ROOTDIR/opt/noted\n");
        stage.mode("/var/sadm/patch/100-01/prebackout", 0o755);
        let before = stage.everything();
        let text = stage.run("patchrm -R @ROOT@ 100-01").fails(5);
        assert!(text.contains("prebackout is not the one delivered with the patch"), "{what}: {text}");
        assert_eq!(stage.text("/opt/noted"), "", "{what}");
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn a_hook_runs_from_a_copy_of_what_was_checked_in_the_directory_where_it_is_kept() {
    let stage = with_hook();
    let hook = "#!/bin/sh\necho \"$0\" \"$(pwd)\" > $ROOTDIR/opt/noted\n";
    stage.file("/var/sadm/patch/100-01/prebackout", hook);
    stage.mode("/var/sadm/patch/100-01/prebackout", 0o755);
    let kept = stage.at("/var/sadm/patch/100-01").canonicalize().unwrap();
    let run = stage.run("patchrm -R @ROOT@ 100-01");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let noted = stage.text("/opt/noted");
    let (script, directory) = noted.trim_end().split_once(' ').unwrap();
    assert_eq!(directory, kept.display().to_string());
    assert!(script.ends_with("/kept/prebackout") && !script.starts_with(directory), "{noted}");
}

#[test]
fn a_hook_of_a_classic_tool_is_no_known_script() {
    let stage = with_hook();
    stage.file("/etc/patchadm/policy", "scripts=known\n");
    let text = stage.run("patchrm -R @ROOT@ 100-01").fails(5);
    assert!(
        text.contains("it has the script prebackout, which the policy of this root does not allow"),
        "{text}"
    );
    assert_eq!(stage.text("/opt/noted"), "");
}

#[test]
fn a_class_script_of_the_root_that_somebody_else_could_have_written_does_not_run_as_root() {
    if !is_root() {
        crate::skipped(
            "a_class_script_of_the_root_that_somebody_else_could_have_written_does_not_run_as_root: not root",
        );
        return;
    }
    let package = Package::new("ACMEx").param("CLASSES", "mine").of_class("mine", 'f', "a", 0o644, "one\n");
    let stage = stage();
    stage.file("/usr/sadm/install/scripts/i.mine", "while read src dst; do cp $src $dst; done\n");
    for (path, mode, usual) in [
        ("/usr/sadm/install/scripts", 0o1777, 0o755),
        ("/usr/sadm/install/scripts/i.mine", 0o646, 0o644),
        ("/usr", 0o757, 0o755),
    ] {
        stage.mode(path, mode);
        let before = stage.everything();
        let run = add(&stage, "-n", &package);
        assert_eq!(run.code, 1, "{path}: {}", run.stderr);
        assert!(
            run.stderr.contains("is writable by") || run.stderr.contains("can write to"),
            "{path}: {}",
            run.stderr
        );
        assert_same(&stage.everything(), &before);
        stage.mode(path, usual);
    }
    chown(stage.at("/usr/sadm/install/scripts/i.mine"), Some(54_321), None).unwrap();
    let run = add(&stage, "-n", &package);
    assert_eq!(run.code, 1, "{}", run.stderr);
    chown(stage.at("/usr/sadm/install/scripts/i.mine"), Some(0), None).unwrap();
    added(&stage, &package);
}
