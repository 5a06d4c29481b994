//! Every change that a command makes fails once, with each error that a disk or a limit gives. The command ends with
//! the exit code of that phase and says in one message what failed, what the root is like and what to do; and the root
//! is like that.
//!
//! Before the journal is published nothing has changed; afterwards everything is rolled back. A mark that may not have
//! reached the disk leaves the outcome to `recover`, and a failure after the commit is only a note. A call that a
//! signal interrupts is retried without notice.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use patchadm_changeset::transaction::Recovered;
use patchadm_rootfs::Door;
use rustix::io::Errno;

use crate::packages::Package;
use crate::procedure_scripts::NOCHECK;
use crate::reliability::attempt::{
    Change, Ended, Moment, attempt, course, expected_code, expected_state, failing, is_elf_cache, met_change,
    words,
};
use crate::reliability::crash::{Legal, in_parallel};
use crate::reliability::promotions::{PROMOTED, STAGE, promoted};
use crate::reliability::stories::{
    Command, ELSEWHERE, OUTSIDE, STORIES, Story, Told, Trial, backout, is_asked_for,
    middle_backout_elsewhere, old_files_brought_back, old_files_kept, package_removed, two_patches,
};
use crate::reliability::{figures, is_whole, part_of, sample_or_whole};
use crate::scenario::Scenario;

const ERRORS: [Errno; 6] = [Errno::NOSPC, Errno::IO, Errno::DQUOT, Errno::ROFS, Errno::MFILE, Errno::INTR];

/// The advice of the message for each error.
fn advice(errno: Errno) -> &'static str {
    match errno {
        Errno::NOSPC | Errno::DQUOT => "Free space on the file system and try again.",
        Errno::IO => "Look for disk errors in the system log before you try again.",
        Errno::ROFS => "Mount the file system read-write and try again.",
        Errno::MFILE => "Allow more open files (`ulimit -n`) and try again.",
        other => panic!("no advice for {other:?}"),
    }
}

/// The stories of a sample: one of each command, and those in which old files must not be lost.
const SAMPLED: [Told; 7] = [
    two_patches,
    backout,
    middle_backout_elsewhere,
    package_removed,
    promoted,
    old_files_kept,
    old_files_brought_back,
];

/// The stories whose scripts write to mapped objects.
const WITH_SCRIPTS: [Told; 2] = [|| with_scripts(false), || with_scripts(true)];

/// A package whose scripts write to mapped objects, and to nothing else.
fn with_scripts(patch: bool) -> Story {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/admin/default", NOCHECK);
    let base = |version: &str| {
        Package::new("ACMEsrv")
            .param("CLASSES", "none mine")
            .directory("etc")
            .file("etc/plain", 0o644, format!("plain {version}\n"))
            .of_class("mine", 'f', "etc/conf", 0o644, format!("conf {version}\n"))
            .information(
                "i.mine",
                "while read from to; do cp $from $to && touch -t 200102030405 $to || exit 2; done\n",
            )
            .information(
                "postinstall",
                "echo done >> $BASEDIR/etc/conf; touch -t 200102030405 $BASEDIR/etc/conf\n",
            )
    };
    let spool = stage.beside("added");
    let act = if patch {
        stage.install(&base("1"));
        let delivered = crate::delivery::Patch::of("300-01", base("2")).directory(&stage);
        Command::Apply { patches: vec![delivered], again: false }
    } else {
        base("1").write(&spool);
        Command::Add { spool, packages: vec!["ACMEsrv".to_owned()] }
    };
    let name: &'static str = if patch { "patchadd with scripts" } else { "pkgadd with scripts" };
    Story { name, stage, acts: vec![act.clone()], whole: act }
}

/// Lets one change fail and checks everything; an error describes what is wrong.
fn fail_once(
    story: &Story,
    legal: &Legal,
    number: usize,
    changes: &[Change],
    errno: Errno,
) -> Result<u8, String> {
    let trial = Trial::of(story);
    let (door, met) = failing(number, errno, false);
    let ended = attempt(&trial, &story.whole, door);
    let change = &met_change(changes, number, &met)?;
    let expected = expected_code(&story.whole, change.moment, errno);
    let is_for_others = is_log(change) || is_of_attempts(change) || is_for_next_time(story, change);
    let is_unheard = is_for_others && ended.code == 0;
    if ended.code != expected
        && !is_unheard
        && !(is_late_saving(story, change) && [4, 7].contains(&ended.code))
    {
        return Err(format!("ended with {} instead of {expected}: {}", ended.code, ended.text));
    }
    if !is_unheard {
        said_well(story, &trial, change, errno, &ended)?;
    }
    let is_legal = match change.moment {
        _ if errno == Errno::INTR || is_unheard => vec![legal.last()],
        Moment::Committing => vec![change.committed, change.committed + 1],
        Moment::LookingBack | Moment::Finishing => vec![legal.last()],
        _ => vec![change.committed],
    };
    if matches!(change.moment, Moment::Committing | Moment::Finishing) && errno != Errno::INTR {
        trial.recover(Door::default()).map_err(|error| format!("recovery: {error}"))?;
    }
    // Lines that could not be written to a log are missing there.
    let logs = change.moment != Moment::Finishing && !is_log(change);
    let state = legal.find(&trial, logs)?;
    if !is_legal.contains(&state) {
        return Err(format!("the root is in state {state}, not in one of {is_legal:?}"));
    }
    Ok(ended.code)
}

/// The log of the scripts' output: a failed write to it stops nothing.
fn is_log(change: &Change) -> bool {
    change.moment == Moment::Switching && change.path.ends_with("/RUN/log")
}

/// The record of attempts: a failed write to it stops nothing.
pub(super) fn is_of_attempts(change: &Change) -> bool {
    change.path.ends_with("/RUN/attempt") || change.path.ends_with("/attempts")
}

/// Data that only makes the next run faster: about libraries, about old files, and about a stage, at the end or before
/// a hook may have changed something. A failed write of it loses nothing.
fn is_for_next_time(story: &Story, change: &Change) -> bool {
    if is_elf_cache(&change.path) || change.path.ends_with("/identities") {
        return true;
    }
    let is_its_moment = change.moment == Moment::Finishing || story.name == "promote with hooks";
    is_its_moment && change.path.starts_with("/.patchadm-stage/")
}

/// In a run with scripts the old objects are saved once it is known what the scripts did, with the records of that
/// phase.
fn is_late_saving(story: &Story, change: &Change) -> bool {
    change.moment == Moment::Switching && story.name.ends_with("with scripts")
}

/// Checks that one message names the failure, with a path and the reason, the state of the root, and what to do.
fn said_well(
    story: &Story,
    trial: &Trial,
    change: &Change,
    errno: Errno,
    ended: &Ended,
) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {}", ended.text));
    // Changes of the database by another tool are reported whatever fails.
    let is_of_failure = |line: &&str| {
        !line.contains(" of another tool ") && !line.contains("not by this program; the change is kept")
    };
    let is_silent = !ended.text.lines().any(|line| is_of_failure(&line));
    if errno == Errno::INTR {
        return if is_silent { Ok(()) } else { wrong("somebody noticed") };
    }
    match (change.moment, &story.whole) {
        // These commands report no recovery.
        (Moment::LookingBack, Command::Repair(_) | Command::Expire) => return Ok(()),
        // The second attempt at the end of a run has succeeded.
        (Moment::Finishing, _) if is_silent => {
            let found = trial.recover(Door::default())?;
            return if found == Recovered::Nothing { Ok(()) } else { Err(format!("it left {found:?}")) };
        }
        _ => {}
    }
    if !ended.text.contains(&words(errno)) {
        return wrong("the reason is missing");
    }
    let root = trial.root();
    let places = [root.with_file_name(OUTSIDE), root.with_file_name(STAGE), root]
        .map(|place| format!("{}/", place.display()));
    if !places.iter().any(|place| ended.text.contains(place)) {
        return wrong("no path was given");
    }
    if matches!(change.moment, Moment::LookingBack | Moment::Finishing) {
        return Ok(());
    }
    if ended.text.matches(&words(errno)).count() != 1 {
        return wrong("the reason is told more than once");
    }
    if matches!(story.whole, Command::Expire) && change.moment != Moment::Committing {
        // One line gives the reason why a trial is stuck, and what to do about the trial behind it.
        return if ended.text.contains("it cannot be reverted") { Ok(()) } else { wrong("nothing is stuck") };
    }
    let mut end = format!("\n{}", expected_state(change.moment));
    let is_full = matches!(errno, Errno::NOSPC | Errno::DQUOT);
    let applies =
        matches!(story.whole, Command::Apply { .. } | Command::ApplyAdopting(_) | Command::ApplyOnTrial(_));
    if is_full && ended.code == 4 && applies {
        end.push_str("\nFree space on the file system, or keep undo data on another one with `-B DIR`.");
    } else if change.moment != Moment::Committing {
        end = format!("{end}\n{}", advice(errno));
    }
    if ended.text.ends_with(&end) { Ok(()) } else { wrong(&format!("it does not end with {end:?}")) }
}

/// The injections of a story: every change with every error, or some changes with an error each.
fn injections(changes: &[Change]) -> Vec<(usize, Errno)> {
    let all = (0..changes.len()).flat_map(|number| ERRORS.map(|errno| (number, errno)));
    let step = sample_or_whole(151, 1);
    all.step_by(step).collect()
}

in_parts!(an_error_at_any_change_ends_with_the_code_of_its_moment_and_leaves_no_third_state, inject, 3);

/// Lets changes of each story of a part fail.
fn inject(part: usize, parts: usize) {
    let (tried, codes, wrong) = (AtomicU64::new(0), Mutex::new(BTreeSet::new()), Mutex::new(Vec::new()));
    let all = STORIES.iter().chain(&ELSEWHERE).chain(&PROMOTED);
    let stories: Vec<Told> = if is_whole() { all.copied().collect() } else { SAMPLED.to_vec() };
    let stories = part_of(stories.into_iter().chain(WITH_SCRIPTS), part, parts);
    for story in stories.map(|told| told()).filter(is_asked_for) {
        let (legal, changes) = (Legal::of(&story), course(&story));
        in_parallel(&injections(&changes), |&(number, errno)| {
            let change = &changes[number];
            match fail_once(&story, &legal, number, &changes, errno) {
                Ok(code) => {
                    codes.lock().unwrap().insert((story.name, code));
                }
                Err(what) => wrong.lock().unwrap().push(format!(
                    "{}, change {number} ({:?} {}, {:?}), {errno:?}: {what}",
                    story.name, change.call, change.path, change.moment
                )),
            }
            tried.fetch_add(1, Ordering::Relaxed);
        });
    }
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), tried.into_inner(), wrong.join("\n\n"));
    let codes = codes.into_inner().unwrap().len() as u64;
    let tried = tried.into_inner();
    figures("errors", &[("errors injected", tried), ("codes of commands met", codes), ("third states", 0)]);
}
