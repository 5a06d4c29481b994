//! `pkgadd --update` of packages with scripts: the scripts that run, their parameters, and the state after one fails.

use crate::delivery::Patch;
use crate::packages::Package;
use crate::procedure_scripts::{NOTE, add, added, noted, recorded, stage};
use crate::records::OWN;
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

/// Software and records without journal, history and log.
fn all(stage: &Scenario) -> Tree {
    Tree::of(&stage.root(), &OWN)
}

/// The first version with scripts: those of its removal must not run.
fn first_with_scripts() -> Package {
    let harm = "echo harm >> $PKG_INSTALL_ROOT/opt/noted\n";
    Package::new("ACMEall")
        .param("CLASSES", "none mine gone")
        .file("tool", 0o755, "tool 1\n")
        .file("only/old", 0o644, "old\n")
        .of_class("mine", 'f', "data", 0o644, "data 1\n")
        .of_class("mine", 'f', "mine/old", 0o644, "old of mine\n")
        .of_class("gone", 'e', "gone/old", 0o644, "old of gone\n")
        .information("i.gone", "while read from to; do cp $from $to; done\n")
        .information("i.mine", "while read from to; do cp $from $to; done\n")
        .information("r.mine", harm)
        .information("preremove", harm)
        .information("postremove", harm)
}

/// The second version with scripts, which all contain `note`.
fn second_with_scripts(note: &str) -> Package {
    Package::new("ACMEall")
        .param("VERSION", "2.0")
        .param("CLASSES", "none mine")
        .file("tool", 0o755, "tool 2\n")
        .of_class("mine", 'f', "data", 0o644, "data 2\n")
        .information("i.mine", format!("while read from to; do cp $from $to; done\n{note}"))
        .information("preinstall", note)
        .information("postinstall", note)
        .information("preremove", "exit 0\n")
}

/// A script that notes its name, whether it is an update, and whether the old file is there.
const SEEN: &str =
    "cd $PKG_INSTALL_ROOT/opt; echo \"${0##*/} $UPDATE $(cat ACMEall/tool) $(ls ACMEall/only)\" >> noted\n";

#[test]
fn scripts_of_the_new_version_are_told_of_the_update_and_those_of_the_old_stay_silent() {
    let stage = stage();
    added(&stage, &first_with_scripts());
    let run = add(&stage, "-n --update", &second_with_scripts(SEEN));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let said = noted(&stage);
    assert_eq!(said, "preinstall yes tool 1 old\ni.mine yes tool 2 old\npostinstall yes tool 2 old\n");
    assert!(!stage.at("/opt/ACMEall/only").exists(), "it goes when the new version is complete");
    for (path, class) in [("mine/old", "mine"), ("gone/old", "gone")] {
        let note = format!("/opt/ACMEall/{path} stays, and no package owns it: class {class} has a script\n");
        assert!(run.stderr.contains(&note), "{}", run.stderr);
        assert!(stage.at(&format!("/opt/ACMEall/{path}")).exists());
    }
    let note = "NOTE: scripts of version 1.0 that do not run: postremove preremove r.mine\n";
    assert!(run.stderr.contains(note), "{}", run.stderr);
    let lines = stage.lines();
    let paths: Vec<&str> = lines.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(paths, ["/opt/ACMEall", "/opt/ACMEall/data", "/opt/ACMEall/tool"]);
    let log = stage.text("/var/sadm/patchadm/log");
    assert!(log.contains("/opt/ACMEall/only <removed>\n/opt/ACMEall/only/old <removed>\n"), "{log}");
    assert_eq!(recorded(&stage, "install"), ["preremove"]);
    assert_eq!(recorded(&stage, ""), ["install", "pkginfo", "save"]);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_script_that_fails_leaves_the_old_version_and_its_patches() {
    let stage = stage();
    added(&stage, &first_with_scripts());
    let patch = Patch::of("100-01", Package::new("ACMEall").file("tool", 0o755, "patched\n"));
    stage.patchadd("", &patch).ok();
    let before = all(&stage);
    let harm = "cd $PKG_INSTALL_ROOT/opt/ACMEall; echo harm >> tool; rm -rf only; echo harm > mine/old\n";
    for failing in ["preinstall", "i.mine", "postinstall"] {
        let package = second_with_scripts("exit 0\n").information(failing, format!("{harm}exit 1\n"));
        let run = add(&stage, "-n --update", &package);
        assert_eq!(run.code, 1, "{failing}: {}", run.stderr);
        assert!(run.stderr.ends_with("No changes were made to the system.\n"), "{failing}: {}", run.stderr);
        assert_same(&all(&stage), &before);
    }
    stage.run("check --contents -R @ROOT@").ok();
    stage.run("patchrm -R @ROOT@ 100-01").ok();
}

#[test]
fn a_script_may_take_away_what_would_go() {
    let stage = stage();
    added(&stage, &first_with_scripts());
    let package =
        second_with_scripts(NOTE).information("postinstall", "rm -r $PKG_INSTALL_ROOT/opt/ACMEall/only\n");
    let run = add(&stage, "-n --update", &package);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}
