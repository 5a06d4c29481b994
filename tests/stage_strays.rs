//! Foreign objects in the places of stages: they hold no command up, and stay as they are.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::Command;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};

fn stage() -> Scenario {
    Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")])
}

fn patch() -> Patch {
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n"))
}

/// Recovers and changes the root, which holds something in its topmost directory: both succeed and say `note`.
fn passes_over(stage: &Scenario, note: &str) {
    recovers(stage, "No run was interrupted.", note);
}

/// Does the same if recovery reports `finding` about interrupted runs.
fn recovers(stage: &Scenario, finding: &str, note: &str) {
    let said = stage.run("recover -R @ROOT@").ok();
    assert!(said.contains(finding) && said.contains(note), "{said}");
    for run in [stage.patchadd("", &patch()), stage.run("patchrm -R @ROOT@ 100-01")] {
        assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
        assert!(run.stderr.contains(note), "{}", run.stderr);
    }
}

/// Makes a stage of run 9 with a copy of a journal that is invalid.
fn false_stage(holder: &Path) {
    let false_stage = holder.join("9-00000000000000aa");
    fs::create_dir_all(false_stage.join("o")).unwrap();
    fs::write(false_stage.join("marker"), "9-00000000000000aa 1\n").unwrap();
    fs::write(false_stage.join("journal"), "no journal\n").unwrap();
}

#[test]
fn a_file_or_a_link_in_the_place_of_the_stages_holds_nobody_up() {
    let stage = stage();
    let holder = stage.at("/.patchadm");
    fs::write(&holder, "mine\n").unwrap();
    passes_over(&stage, "@ROOT@/.patchadm is not a directory: it is left unchanged");
    assert_eq!(fs::read_to_string(&holder).unwrap(), "mine\n");
    fs::remove_file(&holder).unwrap();

    let elsewhere = stage.beside("elsewhere");
    false_stage(&elsewhere);
    symlink(&elsewhere, &holder).unwrap();
    passes_over(&stage, "@ROOT@/.patchadm is not a directory: it is left unchanged");
    assert!(holder.is_symlink() && elsewhere.join("9-00000000000000aa/journal").exists());
}

#[test]
fn a_file_among_the_stages_holds_nobody_up() {
    let stage = stage();
    let strange = stage.at("/.patchadm/x");
    fs::create_dir(strange.parent().unwrap()).unwrap();
    fs::set_permissions(strange.parent().unwrap(), fs::Permissions::from_mode(0o711)).unwrap();
    fs::write(&strange, "mine\n").unwrap();
    passes_over(&stage, "@ROOT@/.patchadm/x does not have the name of a run: it is left unchanged");
    assert_eq!(fs::read_to_string(&strange).unwrap(), "mine\n");
}

#[test]
fn a_false_journal_in_a_directory_that_others_may_write_holds_nobody_up() {
    let stage = stage();
    let holder = stage.at("/.patchadm");
    false_stage(&holder);
    fs::set_permissions(&holder, fs::Permissions::from_mode(0o777)).unwrap();
    passes_over(&stage, "@ROOT@/.patchadm is writable by others: it is left unchanged");
    assert!(holder.join("9-00000000000000aa/journal").exists());
}

#[test]
fn a_false_journal_of_another_user_holds_nobody_up() {
    if !is_root() {
        return crate::skipped("a false journal of another user: only root gives files away");
    }
    let stage = stage();
    let holder = stage.at("/.patchadm");
    false_stage(&holder);
    fs::set_permissions(&holder, fs::Permissions::from_mode(0o711)).unwrap();
    let theirs = holder.join("9-00000000000000aa");
    chown(&theirs, Some(1004), Some(1004)).unwrap();
    passes_over(&stage, "@ROOT@/.patchadm/9-00000000000000aa belongs to uid 1004: it is left unchanged");
    chown(&theirs, Some(0), Some(0)).unwrap();
    chown(&holder, Some(1004), Some(1004)).unwrap();
    passes_over(&stage, "@ROOT@/.patchadm belongs to uid 1004: it is left unchanged");
    assert!(theirs.join("journal").exists());
}

#[test]
fn sixty_thousand_nested_directories_hold_nobody_up() {
    let stage = stage();
    let holder = stage.at("/.patchadm");
    fs::create_dir(&holder).unwrap();
    fs::set_permissions(&holder, fs::Permissions::from_mode(0o711)).unwrap();
    // By its names and owners, this is a stage of ours that a power cut ended: it is removed, however deep it is.
    let ours = holder.join("9-00000000000000aa");
    for place in [&ours, &stage.at("/var/sadm/patchadm/stage/9-00000000000000aa")] {
        fs::create_dir_all(place).unwrap();
        let script = "for i in range(60000):\n os.mkdir('d')\n os.chdir('d')";
        let mut nesting = Command::new("python3");
        let nested = nesting.args(["-c", &format!("import os\n{script}")]).current_dir(place).status();
        if !nested.is_ok_and(|status| status.success()) {
            return crate::missing("python3", "sixty_thousand_nested_directories_hold_nobody_up");
        }
    }
    fs::create_dir_all(holder.join("x")).unwrap();
    let note = "@ROOT@/.patchadm/x does not have the name of a run: it is left unchanged";
    recovers(&stage, "Removed the leftovers of an interrupted run", note);
    assert!(!ours.exists() && holder.join("x").exists());
    assert_eq!(fs::read_dir(stage.at("/var/sadm/patchadm/stage")).unwrap().count(), 0);
}
