//! After most runs nothing waits for history and log: entries lost in a power cut are written again.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::world::{World, at};
use crate::format::journal::{HEAD, RunOutcome, parse_head};
use crate::plan::Plan;
use crate::transaction::Recovered;
use patchadm_rootfs::{ChangeCall, Door};
use patchadm_svr4::package::ContentsLine;
use rustix::io::Errno;

const HISTORY: &str = "var/sadm/patchadm/history";
const LOG: &str = "var/sadm/patch/100-01/log";

/// Returns a plan that changes only a line of `contents`, so that it empties no directory.
fn small() -> Plan {
    let line = ContentsLine::parse(b"/opt/web/also=bin/httpd l none ACMEweb").unwrap();
    let contents = BTreeMap::from([(at("/opt/web/also"), Some(Box::new(line)))]);
    Plan { contents, changes: Vec::new(), records: Vec::new(), undo: Vec::new(), ..World::new().plan() }
}

/// Returns a root with two runs, the second of them small, and the number of file system syncs of that run.
fn twice() -> (World, usize) {
    let world = World::new();
    world.run(Door::default()).unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = syncs.clone();
    let door = Door::watched(move |step| {
        counted.fetch_add(usize::from(step.call == ChangeCall::SyncFileSystem), Ordering::Relaxed);
        Ok(())
    });
    world.run_plan(&small(), door, &|| None).unwrap();
    (world, syncs.load(Ordering::Relaxed))
}

fn is_unsynced(world: &World) -> bool {
    let journal = fs::read(world.path("var/sadm/patchadm/journal")).unwrap();
    let head = parse_head(&journal[..HEAD]).unwrap();
    assert!(head.done);
    head.is_unsynced
}

/// Removes the end of a file, as a power cut does before it is written back.
fn lose(world: &World, path: &str, from: usize) {
    let text = fs::read(world.path(path)).unwrap();
    fs::write(world.path(path), &text[..from]).unwrap();
}

/// Returns the length of a file without the text of the last run, which begins with `mark`.
fn before_last_run(world: &World, path: &str, mark: &str) -> usize {
    fs::read_to_string(world.path(path)).unwrap().rfind(mark).unwrap()
}

#[test]
fn a_run_syncs_its_file_system_twice_and_one_that_empties_directories_once_more() {
    let (world, syncs) = twice();
    assert_eq!((syncs, is_unsynced(&world)), (2, true));
    let world = World::new();
    world.run(Door::default()).unwrap();
    assert!(!is_unsynced(&world));
}

#[test]
fn what_a_power_cut_took_of_history_and_log_is_written_by_the_next_command() {
    for (is_history, is_log, is_torn) in [
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (true, true, true),
        (false, false, true),
    ] {
        let (world, _) = twice();
        let before = world.picture();
        let torn = usize::from(is_torn) * 5;
        if is_history {
            lose(&world, HISTORY, before_last_run(&world, HISTORY, "{") + torn);
        }
        if is_log {
            lose(&world, LOG, before_last_run(&world, LOG, "# run") + torn);
        }
        assert_eq!(world.recover(), Recovered::Nothing);
        let line = |text: &str| {
            text.lines().map(|line| line.split("\"duration").next().unwrap().to_owned()).collect()
        };
        let now: Vec<String> = line(&fs::read_to_string(world.path(HISTORY)).unwrap());
        assert_eq!(now.len(), 2, "{now:?}");
        assert!(now[1].contains("2-00000000000000aa"), "{now:?}");
        let log = fs::read_to_string(world.path(LOG)).unwrap();
        assert_eq!(log.matches("# run").count(), 2, "{log}");
        assert_eq!(log.matches("successfully installed").count(), 2, "{log}");
        let own_log = |picture: &BTreeMap<String, String>| picture.get("var/sadm/patchadm/log").cloned();
        assert_eq!(own_log(&world.picture()), own_log(&before));
    }
}

#[test]
fn the_log_of_a_patch_that_was_removed_since_is_not_made_again() {
    let (world, _) = twice();
    fs::remove_dir_all(world.path("var/sadm/patch/100-01")).unwrap();
    let before = world.picture();
    assert_eq!(world.recover(), Recovered::Nothing);
    assert_eq!(world.picture(), before);
}

#[test]
fn history_that_cannot_be_written_to_is_a_note_until_it_can() {
    let (world, _) = twice();
    lose(&world, HISTORY, before_last_run(&world, HISTORY, "{"));
    let full = Door::watched(|step| {
        let is_full = step.call == ChangeCall::Write && step.path.to_string().ends_with("/history");
        if is_full { Err(Errno::NOSPC) } else { Ok(()) }
    });
    let Recovered::PassedOver { notes } = world.recover_with(full) else { panic!("nothing is said") };
    let [note] = &notes[..] else { panic!("{notes:?}") };
    assert!(
        note.starts_with(
            "the changes of run 2-00000000000000aa may be missing from the history and the log: "
        ),
        "{note}"
    );
    assert!(note.contains("var/sadm/patchadm/history: No space left on device"), "{note}");
    assert_eq!(world.recover(), Recovered::Nothing);
    assert_eq!(fs::read_to_string(world.path(HISTORY)).unwrap().lines().count(), 2);
}

#[test]
fn without_the_file_that_has_the_text_the_run_is_done_all_the_same() {
    let (world, _) = twice();
    lose(&world, HISTORY, before_last_run(&world, HISTORY, "{"));
    fs::remove_file(world.path("var/sadm/patchadm/ops-2-00000000000000aa")).unwrap();
    let before = world.picture();
    assert_eq!(world.recover(), Recovered::Nothing);
    assert_eq!(world.picture(), before);
}

#[test]
fn a_lie_about_a_run_that_is_done_writes_nowhere_but_to_history_and_logs() {
    for log in ["/opt/web/bin/httpd", "/etc/passwd", "/var/sadm/pkg/log"] {
        let (world, _) = twice();
        lose(&world, HISTORY, before_last_run(&world, HISTORY, "{"));
        world.rewrite(|journal| journal.run_record.log = Some(at(log)));
        let before = world.picture();
        let Recovered::PassedOver { notes } = world.recover() else { panic!("{log}: nothing is said") };
        let [note] = &notes[..] else { panic!("{log}: {notes:?}") };
        assert!(
            note.contains("may be missing from the history and the log")
                && note.contains("the field log of its story"),
            "{log}: {note}"
        );
        assert_eq!(world.picture(), before, "{log}");
        assert_eq!(fs::read_to_string(world.path(HISTORY)).unwrap().lines().count(), 1, "{log}");
    }
}

#[test]
fn of_a_run_that_only_seems_to_have_lost_its_history_nothing_is_written_twice() {
    let world = World::new();
    world.run(Door::default()).unwrap();
    let history = fs::read(world.path(HISTORY)).unwrap();
    world.rewrite(|journal| journal.head.is_unsynced = true);
    assert!(is_unsynced(&world));
    let before = world.picture();
    assert_eq!(world.recover(), Recovered::Nothing);
    assert_eq!((world.picture(), fs::read(world.path(HISTORY)).unwrap()), (before, history));
}

#[test]
fn a_run_that_did_not_commit_is_not_told_because_somebody_says_that_its_history_is_lost() {
    let (world, _) = twice();
    lose(&world, HISTORY, before_last_run(&world, HISTORY, "{"));
    for outcome in [None, Some(RunOutcome::RolledBack)] {
        world.rewrite(|journal| journal.head.outcome = outcome);
        let before = world.picture();
        assert_eq!(world.recover(), Recovered::Nothing, "{outcome:?}");
        assert_eq!(world.picture(), before, "{outcome:?}");
        assert_eq!(fs::read_to_string(world.path(HISTORY)).unwrap().lines().count(), 1, "{outcome:?}");
    }
}
