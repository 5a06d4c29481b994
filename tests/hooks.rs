//! `patchadm setup hooks` installs the hooks of our packages on a system without these packages, and removes them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::Path;

use serde_json::Value;

use crate::adopt_refresh::upgraded;
use crate::scenario::{Scenario, is_root};
use crate::tree::assert_same;

const APT: &str = "/etc/apt/apt.conf.d/80patchadm";
const DPKG: &str = "/etc/dpkg/dpkg.cfg.d/patchadm";
const DNF4: &str = "/etc/dnf/plugins/post-transaction-actions.d/patchadm.action";
const DNF5: &str = "/etc/dnf/libdnf5-plugins/actions.d/patchadm.actions";

/// Each hook with the name of its source.
const ALL: [(&str, &str); 4] =
    [(APT, "80patchadm"), (DPKG, "dpkg.cfg"), (DNF4, "dnf4.action"), (DNF5, "dnf5.actions")];

fn shipped(source: &str) -> String {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/hooks").join(source);
    fs::read_to_string(at).unwrap()
}

/// A root with dpkg and the program.
fn debian() -> Scenario {
    let stage = Scenario::new();
    stage.file("/var/lib/dpkg/status", "");
    program(&stage, "/usr/bin/patchadm");
    stage
}

fn program(stage: &Scenario, path: &str) {
    stage.file(path, "#!/bin/sh\n");
    stage.mode(path, 0o755);
}

fn document(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).stdout).unwrap()
}

#[test]
fn the_hooks_of_our_packages_are_installed_once_and_removed_without_a_trace() {
    let stage = debian();
    let before = stage.everything();
    let show = "setup hooks show -R @ROOT@";
    let missing = format!("apt   @ROOT@{APT}: missing\ndpkg  @ROOT@{DPKG}: missing\n");
    assert_eq!(stage.run(show).ok(), missing);
    assert_eq!(
        stage.run("setup hooks install -R @ROOT@").ok(),
        format!("apt   @ROOT@{APT}: installed\ndpkg  @ROOT@{DPKG}: installed\n")
    );
    for (path, source) in &ALL[..2] {
        assert_eq!(stage.text(path), shipped(source));
        assert_eq!(fs::metadata(stage.at(path)).unwrap().permissions().mode() & 0o7777, 0o644);
    }
    assert_eq!(stage.run(show).ok(), missing.replace("missing", "same"));
    let installed = stage.everything();
    let again = stage.run("setup hooks install -R @ROOT@").ok();
    assert_eq!(again, missing.replace("missing", "kept"));
    assert_eq!(document(&stage, "setup hooks install --json -R @ROOT@")["result"], "nothing-to-do");
    assert_eq!(stage.everything(), installed);
    assert_eq!(stage.run("setup hooks remove -R @ROOT@").ok(), missing.replace("missing", "removed"));
    assert_eq!(document(&stage, "setup hooks remove --json -R @ROOT@")["result"], "nothing-to-do");
    for directory in ["/etc/apt/apt.conf.d", "/etc/apt", "/etc/dpkg/dpkg.cfg.d", "/etc/dpkg"] {
        fs::remove_dir(stage.at(directory)).unwrap();
    }
    let paths = |tree: &crate::tree::Tree| tree.paths();
    assert_eq!(paths(&stage.everything()), paths(&before));
}

#[test]
fn a_root_gets_the_hooks_of_the_package_managers_that_it_has() {
    let stage = Scenario::new();
    let none = "the root has no package manager with hooks\n";
    assert_eq!(stage.run("setup hooks show -R @ROOT@").ok(), none);
    assert_eq!(stage.run("setup hooks install -R @ROOT@").ok(), none);
    assert_eq!(document(&stage, "setup hooks install --json -R @ROOT@")["result"], "nothing-to-do");

    stage.directory("/usr/lib/sysimage/rpm");
    let run = stage.run("setup hooks install -R @ROOT@");
    assert_eq!((run.code, run.stdout.as_str()), (0, none));
    assert!(run.stderr.starts_with("note: rpm has no hook files: "), "{}", run.stderr);

    program(&stage, "/usr/bin/patchadm");
    stage.directory("/etc/dnf/plugins");
    stage.file("/usr/bin/dnf5", "");
    stage.run("setup hooks install -R @ROOT@").ok();
    for (path, source) in &ALL[2..] {
        assert_eq!(stage.text(path), shipped(source));
    }
    assert!(!stage.at(APT).exists() && !stage.at(DPKG).exists());
}

#[test]
fn a_hook_that_the_administrator_changed_is_named_and_left() {
    let stage = debian();
    stage.file(DPKG, "# nothing here\n");
    stage.symlink("/etc/dpkg/elsewhere", "dpkg.cfg.d");
    let run = stage.run("setup hooks install -R @ROOT@");
    assert_eq!(run.code, 3);
    assert_eq!(run.stdout, format!("apt   @ROOT@{APT}: installed\ndpkg  @ROOT@{DPKG}: left\n"));
    let left = |done: &str| {
        format!(
            "patchadm: error: not all hooks were {done}\n    @ROOT@{DPKG} was modified locally\nhint: move that file away, then run the command again\n"
        )
    };
    assert_eq!(run.stderr, left("installed"));
    assert_eq!(stage.text(DPKG), "# nothing here\n");
    let shown = stage.run("setup hooks show -R @ROOT@").ok();
    assert!(shown.ends_with(&format!("dpkg  @ROOT@{DPKG}: changed by the administrator\n")), "{shown}");
    assert_eq!(document(&stage, "setup hooks install --json -R @ROOT@")["result"], "refused");
    let run = stage.run("setup hooks remove -R @ROOT@");
    assert_eq!((run.code, run.stderr), (3, left("removed")));
    assert_eq!(stage.text(DPKG), "# nothing here\n");
    assert!(!stage.at(APT).exists());

    fs::remove_file(stage.at(DPKG)).unwrap();
    for make in [
        |stage: &Scenario, path: &str| stage.directory(path),
        |stage: &Scenario, path: &str| stage.pipe(path),
        |stage: &Scenario, path: &str| stage.symlink(path, "/dev/null"),
    ] {
        make(&stage, DPKG);
        stage.run("setup hooks install -R @ROOT@").fails(3);
        stage.run("setup hooks remove -R @ROOT@").fails(3);
        let at = stage.at(DPKG);
        fs::remove_file(&at).or_else(|_| fs::remove_dir(&at)).unwrap();
    }
}

#[test]
fn a_hook_calls_the_program_where_the_root_has_it() {
    let stage = Scenario::new();
    stage.file("/var/lib/dpkg/status", "");
    let run = stage.run("setup hooks install -R @ROOT@");
    assert_eq!(run.code, 0);
    assert!(
        run.stderr.starts_with(
            "note: @ROOT@/usr/bin/patchadm does not exist: the hooks do nothing until it exists"
        ),
        "{}",
        run.stderr
    );
    assert_eq!(stage.text(DPKG), shipped("dpkg.cfg"));

    program(&stage, "/opt/patchadm");
    stage.directory("/usr/local/bin");
    stage.symlink("/usr/local/bin/patchadm", "/opt/patchadm");
    let outdated = format!("apt   @ROOT@{APT}: outdated\ndpkg  @ROOT@{DPKG}: outdated\n");
    assert_eq!(stage.run("setup hooks show -R @ROOT@").ok(), outdated);
    assert_eq!(stage.run("setup hooks install -R @ROOT@").ok(), outdated.replace("outdated", "replaced"));
    for (path, source) in &ALL[..2] {
        assert_eq!(stage.text(path), shipped(source).replace("/usr/bin/", "/usr/local/bin/"));
    }
    assert_eq!(
        document(&stage, "setup hooks show --json -R @ROOT@")["program"]["path"],
        "/usr/local/bin/patchadm"
    );

    program(&stage, "/usr/bin/patchadm");
    assert_eq!(stage.run("setup hooks show -R @ROOT@").ok(), outdated, "that of a package comes first");
    stage.run("setup hooks remove -R @ROOT@").ok();
    assert!(!stage.at(APT).exists() && !stage.at(DPKG).exists(), "it is ours for another place, too");
}

#[test]
fn no_hook_calls_a_program_that_somebody_else_could_exchange() {
    if !is_root() {
        return crate::skipped(
            "no_hook_calls_a_program_that_somebody_else_could_exchange: needs the superuser",
        );
    }
    let foreign = |stage: &Scenario, path: &str| lchown(stage.at(path), Some(1234), None).unwrap();
    let stage = Scenario::new();
    stage.file("/var/lib/dpkg/status", "");
    program(&stage, "/usr/local/bin/patchadm");
    foreign(&stage, "/usr/local/bin/patchadm");
    program(&stage, "/home/u/patchadm");
    foreign(&stage, "/home/u/patchadm");
    stage.directory("/usr/sbin");
    stage.symlink("/usr/sbin/patchadm", "/home/u/patchadm");
    let before = stage.everything();
    let said = stage.run("setup hooks install -R @ROOT@").fails(1);
    assert!(said.contains("no hook is installed") && said.contains("belongs to uid 1234"), "{said}");
    assert_same(&stage.everything(), &before);

    program(&stage, "/usr/local/sbin/patchadm");
    let run = stage.run("setup hooks install -R @ROOT@");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("hooks cannot call a program that others can replace"), "{}", run.stderr);
    assert!(stage.text(DPKG).contains("/usr/local/sbin/patchadm"));

    stage.run("setup hooks remove -R @ROOT@");
    foreign(&stage, "/etc/dpkg/dpkg.cfg.d");
    let said = stage.run("setup hooks install -R @ROOT@").fails(1);
    assert!(said.contains("no hook is put at @ROOT@/etc/dpkg/dpkg.cfg.d/patchadm"), "{said}");
    assert!(!stage.at(DPKG).exists());
}

#[test]
fn an_earlier_version_of_a_hook_is_replaced_and_removed_like_the_present_one() {
    let earlier = "# After dpkg changed packages, patchadm refreshes the registration of those that were adopted. It never \
                   fails dpkg. This\n# file stays when patchadm is removed, so the line tests whether the program is \
                   there.\npost-invoke=\"if [ -x /usr/bin/patchadm ]; then /usr/bin/patchadm adopt --refresh --from-hook \
                   || true; fi\"\n";
    for (line, is_there) in [("setup hooks install -R @ROOT@", true), ("setup hooks remove -R @ROOT@", false)]
    {
        let stage = debian();
        stage.file(DPKG, earlier);
        let shown = stage.run("setup hooks show -R @ROOT@").ok();
        assert!(shown.contains(&format!("@ROOT@{DPKG}: outdated\n")), "{shown}");
        stage.run(line).ok();
        assert_eq!(stage.at(DPKG).exists(), is_there);
        assert!(!is_there || stage.text(DPKG) == shipped("dpkg.cfg"));
    }
}

#[test]
fn links_of_a_root_lead_to_nothing_outside_it() {
    let stage = debian();
    let outside = stage.beside("outside");
    fs::create_dir(&outside).unwrap();
    stage.directory("/etc/apt");
    stage.symlink("/etc/apt/apt.conf.d", outside.to_str().unwrap());
    stage.symlink("/etc/dpkg", "../../../../../outside");
    stage.run("setup hooks install -R @ROOT@").ok();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(stage.text(&format!("{}/80patchadm", outside.display())), shipped("80patchadm"));
    assert_eq!(stage.text("/outside/dpkg.cfg.d/patchadm"), shipped("dpkg.cfg"));
}

#[test]
fn the_doctor_says_which_hooks_are_missing_where_packages_were_adopted() {
    let of_hooks = |stage: &Scenario| {
        let document = document(stage, "check --offline --json -R @ROOT@");
        let findings = document["findings"].as_array().unwrap().clone();
        findings.into_iter().filter(|finding| finding["what"] == "hooks").collect::<Vec<Value>>()
    };
    let none = of_hooks(&debian());
    assert_eq!(none[0]["state"], "ok");
    assert_eq!(none[0]["text"], "no package was adopted from dpkg or rpm");

    let stage = upgraded();
    let missing = of_hooks(&stage);
    assert_eq!((missing.len(), &missing[0]["state"]), (1, &Value::from("limited")));
    assert_eq!(missing[0]["text"], format!("missing: @ROOT@{APT}, @ROOT@{DPKG}"));
    assert_eq!(missing[0]["command"], format!("patchadm -R @ROOT@ setup hooks install"));

    assert_eq!(stage.run("setup hooks install -R @ROOT@").code, 0);
    let idle = of_hooks(&stage);
    assert_eq!(idle[0]["text"], "they do nothing: the program /usr/bin/patchadm is not in the root");
    program(&stage, "/usr/bin/patchadm");
    assert_eq!(of_hooks(&stage)[0]["state"], "ok");

    stage.file(DPKG, "# nothing here\n");
    let changed = of_hooks(&stage);
    assert_eq!(changed[0]["state"], "limited");
    assert_eq!(changed[0]["text"], format!("changed by the administrator: @ROOT@{DPKG}"));
    program(&stage, "/usr/local/bin/patchadm");
    fs::remove_file(stage.at("/usr/bin/patchadm")).unwrap();
    let outdated = of_hooks(&stage);
    assert_eq!(outdated[0]["text"], format!("of an earlier version or for a program elsewhere: @ROOT@{APT}"));
}
