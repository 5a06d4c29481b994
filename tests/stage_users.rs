//! Stages of other users: root brings nothing into them, makes none where others may write, and leaves nothing in them that
//! their users cannot read.

use std::fs;
use std::os::unix::fs::chown;

use crate::everyman::{NOBODY, as_ordinary_user};
use crate::scenario::{Scenario, is_root};
use crate::stage_rights::{give, mode, owner, root_with_set_id_program, set_mode, stage_of_user};
use crate::tree::{Tree, assert_same};

/// The message to root about a stage that is left alone.
const LEFT_ALONE: &str = "root does not refresh the stage web: ";

/// Runs a command as the user of the stage. Returns true if it succeeded, and its output.
fn as_user(live: &Scenario, line: &str) -> (bool, String) {
    let output = as_ordinary_user(live, line, &[]).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// A directory of the root that only root enters, with a file that everybody could read, and a file of root alone.
fn keep_secrets(live: &Scenario) {
    live.directory("/usr/pkg/private");
    live.file("/usr/pkg/private/open", "secret\n");
    live.mode("/usr/pkg/private/open", 0o644);
    live.mode("/usr/pkg/private", 0o700);
    live.file("/usr/pkg/key", "secret\n");
    live.mode("/usr/pkg/key", 0o600);
}

#[test]
fn root_refreshes_no_stage_of_a_user_and_names_the_command_for_that_user() {
    let Some(live) = stage_of_user("root_refreshes_no_stage…") else { return };
    let stage = live.beside("open/web");
    live.file("/usr/pkg/bin/su", "su 2\n");
    live.mode("/usr/pkg/bin/su", 0o4755);
    keep_secrets(&live);
    let before = Tree::of(&stage, &[]);
    for options in ["", "--dry-run"] {
        let said = live.run(&format!("stage refresh open/web -R @ROOT@ {options}")).fails(3);
        assert!(said.contains(LEFT_ALONE) && said.contains(&format!("belongs to uid {NOBODY}")), "{said}");
        let command = format!("uid {NOBODY}: `patchadm -R @ROOT@ stage refresh {}`", stage.display());
        assert!(said.contains(&command), "{said}");
        assert_same(&Tree::of(&stage, &[]), &before);
    }
    // The user gets everything, or the name of what is closed to them.
    let (is_done, said) = as_user(&live, "stage refresh open/web -R @ROOT@");
    assert!(!is_done && said.contains("you cannot read "), "{said}");
    fs::remove_dir_all(live.at("/usr/pkg/private")).unwrap();
    fs::remove_file(live.at("/usr/pkg/key")).unwrap();
    let (is_done, said) = as_user(&live, "stage refresh open/web -R @ROOT@");
    assert!(is_done, "{said}");
    let copy = stage.join("usr/pkg/bin/su");
    assert_eq!((fs::read_to_string(&copy).unwrap(), mode(&copy)), ("su 2\n".into(), 0o755));
}

#[test]
fn no_command_of_root_completes_a_refresh_in_the_stage_of_a_user() {
    let Some(live) = stage_of_user("no_command_of_root_completes…") else { return };
    let stage = live.beside("open/web");
    let interrupted = stage.join(".patchadm-stage/refresh");
    fs::create_dir(&interrupted).unwrap();
    chown(&interrupted, Some(NOBODY), Some(NOBODY)).unwrap();
    fs::write(stage.join("usr/pkg/bin/new"), "new\n").unwrap();
    keep_secrets(&live);
    let before = Tree::of(&stage, &[".patchadm-stage/lock"]);
    for line in ["stage promote open/web", "stage promote open/web --dry-run", "stage status open/web"] {
        let said = live.run(&format!("{line} -R @ROOT@")).fails(3);
        assert!(said.contains(LEFT_ALONE), "{line}: {said}");
        assert_same(&Tree::of(&stage, &[".patchadm-stage/lock"]), &before);
    }
    fs::remove_dir(&interrupted).unwrap();
    live.run("stage promote open/web -R @ROOT@").ok();
    assert_eq!(live.text("/usr/pkg/bin/new"), "new\n");
}

#[test]
fn a_stage_of_root_that_was_given_away_is_refreshed_when_it_is_root_s_again() {
    if !is_root() {
        return crate::skipped("a_stage_of_root_that_was_given_away_is_refreshed…: another user is needed");
    }
    let live = root_with_set_id_program();
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    keep_secrets(&live);
    give(&live.beside("web"), NOBODY);
    let said = live.run("stage refresh web -R @ROOT@").fails(3);
    assert!(said.contains(LEFT_ALONE) && said.contains("make root its owner and only writer"), "{said}");
    assert!(!live.beside("web/usr/pkg/key").exists());
    give(&live.beside("web"), 0);
    live.run("stage refresh web -R @ROOT@ --edited keep").ok();
    assert_eq!(mode(&live.beside("web/usr/pkg/key")), 0o600);
}

#[test]
fn the_user_of_a_stage_reads_the_base_that_a_promotion_by_root_leaves() {
    let Some(live) = stage_of_user("the_user_of_a_stage_reads…") else { return };
    let stage = live.beside("open/web");
    fs::write(stage.join("usr/pkg/bin/new"), "new\n").unwrap();
    live.run("stage promote open/web -R @ROOT@").ok();
    let base = stage.join(".patchadm-stage/base.web-01");
    assert_eq!((owner(&base), mode(&base)), (NOBODY, 0o600));
    live.file("/usr/pkg/bin/more", "more\n");
    live.mode("/usr/pkg/bin/more", 0o755);
    let (is_done, said) = as_user(&live, "stage refresh open/web -R @ROOT@");
    assert!(is_done, "{said}");
    assert_eq!(fs::read_to_string(stage.join("usr/pkg/bin/more")).unwrap(), "more\n");
    assert_eq!(live.run("stage promote open/web -R @ROOT@").ok(), "nothing to promote in /usr/pkg\n");
}

#[test]
fn root_makes_no_stage_in_a_directory_of_a_user_and_leaves_the_mode_of_its_own() {
    if !is_root() {
        return crate::skipped("root_makes_no_stage_in_a_directory…: another user is needed");
    }
    let live = root_with_set_id_program();
    let open = live.beside("open");
    fs::create_dir(&open).unwrap();
    for (uid, bits, reason) in [(NOBODY, 0o755, "belongs to uid"), (0, 0o777, "everyone can write to")] {
        chown(&open, Some(uid), Some(uid)).unwrap();
        set_mode(&open, bits);
        let said = live.run("stage new open -R @ROOT@ --path usr/pkg").fails(3);
        assert!(said.contains("root cannot make a stage there: ") && said.contains(reason), "{said}");
        assert_eq!((fs::read_dir(&open).unwrap().count(), mode(&open)), (0, bits));
    }
    set_mode(&open, 0o750);
    // A failure leaves the directory as it was, too.
    live.run("stage new open -R @ROOT@ --path usr/none").fails(1);
    assert_eq!((fs::read_dir(&open).unwrap().count(), mode(&open)), (0, 0o750));
    live.run("stage new open -R @ROOT@ --path usr/pkg").ok();
    assert_eq!(mode(&open), 0o750);
    live.run("stage new other -R @ROOT@ --path usr/pkg").ok();
    assert_eq!(mode(&live.beside("other")), 0o755);
}
