//! Runs that dpkg interferes with: trials, undo, and recovery.

use std::path::PathBuf;

use crate::native_root::{Deb, DpkgRoot, NOTHING, patch_of};
use crate::reliability::sample_or_whole;
use crate::reliability::sigkill::{has_strace, is_killed_at};
use crate::trial::let_it_expire;

fn path(number: u32) -> String {
    format!("/usr/lib/acme/{number}")
}

/// A package of four files.
fn acme(version: &str) -> Deb {
    (0..4).fold(Deb::new("acme", version), |deb, number| {
        deb.file(&path(number), &format!("{number} of {version}\n"))
    })
}

/// A patch that replaces three of them and adds one.
fn fix() -> crate::delivery::Patch {
    let [one, two, three] = [0, 1, 2].map(path);
    let files = [
        (&*one, "0 fixed\n"),
        (&*two, "1 fixed\n"),
        (&*three, "2 fixed\n"),
        ("/usr/lib/acme/more", "more\n"),
    ];
    patch_of("100-01", "acme", "1", &files)
}

fn adopted(root: &DpkgRoot) {
    root.install(&acme("1"));
    root.adopt(&["acme"]);
}

#[track_caller]
fn assert_version_2(root: &DpkgRoot, when: &str) {
    for number in 0..4 {
        assert_eq!(root.content(&path(number)), format!("{number} of 2\n"), "{when}");
    }
    assert!(root.verified().is_empty(), "{when}: {:?}", root.verified());
}

#[test]
fn an_undo_skips_what_hooks_did_and_reverses_the_last_run_of_a_person() {
    let Some(root) = DpkgRoot::opened("an undo after a hook") else { return };
    let root = root.with_hooks(true);
    adopted(&root);
    root.install(&Deb::new("other", "1").file("/usr/share/other/data", "data of 1\n"));
    root.adopt(&["other"]);
    root.applied(&fix());
    root.install(&Deb::new("other", "2").file("/usr/share/other/data", "data of 2\n"));
    assert_eq!(root.ok("pkgparam -R @ROOT@ DEBother NATIVE_VERSION"), "2\n");
    root.ok("undo -R @ROOT@");
    assert_eq!(root.content(&path(0)), "0 of 1\n");
    assert_eq!(root.content("/usr/lib/acme/more"), NOTHING);
    assert_eq!(root.ok("pkgparam -R @ROOT@ DEBother NATIVE_VERSION"), "2\n");
    assert_eq!(root.content("/usr/share/other/data"), "data of 2\n");
    assert!(root.verified().is_empty(), "{:?}", root.verified());
}

#[test]
fn an_undo_of_a_patch_whose_paths_went_to_dpkg_restores_nothing_over_them() {
    for root in DpkgRoot::both("an undo after an upgrade") {
        adopted(&root);
        root.applied(&fix());
        root.upgrade(&acme("2"));
        root.run("undo -R @ROOT@");
        assert_version_2(&root, "after the undo");
        root.run("undo -R @ROOT@");
        assert_version_2(&root, "after another one");
    }
}

#[test]
fn a_trial_whose_paths_went_to_dpkg_expires_and_leaves_them() {
    for root in DpkgRoot::both("a trial that dpkg came into") {
        adopted(&root);
        let run = root.add("--trial 1h", &fix());
        assert_eq!(run.code, 0, "{}", run.said());
        root.install(&acme("2"));
        let_it_expire(&root.stage);
        let said = root.ok("recover --wait 20 -R @ROOT@");
        assert_version_2(&root, &said);
        let history = root.unwatched("history -v -R @ROOT@").stdout;
        assert!(history.contains("expired, 3 paths left to dpkg"), "{history}");
        assert_eq!(root.content("/usr/lib/acme/more"), NOTHING);
        let status = root.unwatched("status -R @ROOT@");
        assert!(status.stdout.contains("Trial        none"), "{}", status.said());
        assert!(status.stdout.contains("Interrupted  no"), "{}", status.said());
    }
}

/// A root on which the program was killed while it applied a patch; `None` if it ended by itself.
fn killed(test: &str, by_hook: bool, call: &str, number: usize) -> Option<DpkgRoot> {
    let root = DpkgRoot::opened(test)?.with_hooks(by_hook);
    adopted(&root);
    let patch = fix().directory(&root.stage);
    let arguments: Vec<PathBuf> = vec!["add".into(), "-R".into(), root.stage.root(), patch];
    is_killed_at(&arguments, call, number).then_some(root)
}

/// The calls that rename, and those that make and remove names.
const RENAMES: [&str; 2] = ["renameat", "renameat2"];
const LINKS: [&str; 2] = ["linkat", "unlinkat"];

#[test]
fn a_recovery_by_hand_leaves_what_dpkg_wrote_into_a_run_that_ended_at_a_rename() {
    recover_after(RENAMES, false);
}

#[test]
fn a_recovery_by_hand_leaves_what_dpkg_wrote_into_a_run_that_ended_at_a_link() {
    recover_after(LINKS, false);
}

#[test]
fn a_recovery_beside_hooks_leaves_what_dpkg_wrote_into_a_run_that_ended_at_a_rename() {
    recover_after(RENAMES, true);
}

#[test]
fn a_recovery_beside_hooks_leaves_what_dpkg_wrote_into_a_run_that_ended_at_a_link() {
    recover_after(LINKS, true);
}

/// Kills a run at each of these calls, installs a version over it with dpkg, and recovers.
fn recover_after(calls: [&str; 2], by_hook: bool) {
    const TEST: &str = "dpkg in an interrupted run";
    if !has_strace(TEST) {
        return;
    }
    for call in calls {
        let mut killed_at = 0;
        for number in (1..).step_by(sample_or_whole(5, 1)) {
            let Some(root) = killed(TEST, by_hook, call, number) else { break };
            killed_at += 1;
            root.install(&acme("2"));
            let when = format!("killed at {call} {number}, by_hook {by_hook}");
            let recovered = root.run("recover -R @ROOT@");
            assert_eq!(recovered.code, 0, "{when}: {}", recovered.said());
            root.ok("adopt --refresh -R @ROOT@");
            assert_version_2(&root, &when);
            assert_eq!(root.content("/usr/lib/acme/more"), NOTHING, "{when}");
            let status = root.unwatched("status -R @ROOT@");
            assert!(status.stdout.contains("Interrupted  no"), "{when}: {}", status.said());
        }
        assert!(killed_at < 100, "{call}");
    }
}

#[test]
fn dpkg_finds_no_unfinished_run_when_it_begins() {
    const TEST: &str = "the hook before dpkg";
    if !has_strace(TEST) || DpkgRoot::opened(TEST).is_none() {
        return;
    }
    let mut is_played = false;
    for number in (1..40).step_by(sample_or_whole(4, 1)) {
        let Some(root) =
            killed(TEST, true, "renameat2", number).or_else(|| killed(TEST, true, "renameat", number))
        else {
            break;
        };
        is_played = true;
        root.install(&Deb::new("other", "1").file("/usr/share/other/data", "data of 1\n"));
        let status = root.unwatched("status -R @ROOT@");
        assert!(status.stdout.contains("Interrupted  no"), "{number}: {}", status.said());
        let is_whole = [["0 of 1\n", "nothing"], ["0 fixed\n", "more\n"]]
            .contains(&[&*root.content(&path(0)), &*root.content("/usr/lib/acme/more")]);
        assert!(is_whole, "{number}");
    }
    assert!(is_played, "the program renames nothing");
}
