//! Power cuts: changes that were not synced may be lost, or may survive without the changes before them.
//!
//! A command runs on a [`Disk`] that forgets, up to some change; then a set of the changes that were not durable is
//! lost, the root is recovered, and must be in a legal state. All sets are tried if up to ten changes were not durable
//! at once; otherwise each prefix of them, from none to all, all but one, one alone, each with the changes it depends
//! on, and 200 others drawn by a seed. A set is tried once, after the last change that it keeps.
//!
//! A run that was acknowledged, or only made durable, must survive: no power cut takes it back.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use patchadm_rootfs::{ChangeCall, Door};

use crate::reliability::crash::{Legal, in_parallel};
use crate::reliability::disk::{Deaf, Disk, Journaled, Window};
use crate::reliability::killed::Dice;
use crate::reliability::power_cuts::stories::is_rename_of_stage;
use crate::reliability::promotions::PROMOTED;
use crate::reliability::stored::revision;
use crate::reliability::stories::{Command, ELSEWHERE, EXCHANGED, STORIES, Story, Trial, is_asked_for};
use crate::reliability::{figures, part_of, sample_or_whole};
use crate::tree::{Tree, assert_same};

/// Up to this many changes every set is tried.
const ALL: usize = 10;

/// Number of sets that are drawn if there are more.
const DRAWN: usize = 200;

/// The command that is cut, or the recovery after a command was killed.
struct Plot<'s> {
    story: &'s Story,
    legal: &'s Legal,
    /// Number of changes after which the command is killed, for recovery to be cut.
    killed: Option<usize>,
    /// The syncs that are reported as made but are not.
    deaf: Option<Deaf>,
}

/// The state that a power cut leaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Durable {
    /// Number of changes after which it happens; none: after everything was acknowledged.
    after: Option<usize>,
    /// For each change that was not synced, true if it survives.
    kept: Vec<bool>,
    /// True if half of the lost bytes of a file survive.
    torn: bool,
}

impl Plot<'_> {
    /// Plays up to a change, or to the end.
    fn play(&self, after: Option<usize>) -> (Trial, Arc<Disk>) {
        let trial = Trial::of(self.story);
        let disk = Disk::new(trial.spare(), self.deaf);
        let limit = after.unwrap_or(usize::MAX);
        let killed = self.killed.unwrap_or(usize::MAX);
        let mut said = trial.run(&self.story.whole, disk.door(limit.min(killed)));
        if self.killed.is_some_and(|killed| killed < limit) {
            said = trial.recover(disk.door(limit)).map(drop);
        }
        assert!(after.is_some() || said.is_ok(), "{}: {said:?}", self.story.name);
        (trial, disk)
    }

    /// Every state to try, each with the earliest legal state that must be reached, or the exact one if the plot has
    /// come to its end.
    fn states(&self) -> Vec<(Durable, usize)> {
        let (_trial, disk) = self.play(None);
        let windows = disk.windows();
        let (last, others) = windows.split_last().unwrap();
        let from = self.killed.unwrap_or(0);
        let mut states = Vec::new();
        let mut known = HashSet::new();
        for window in others {
            for (index, kept) in sets(&window.changes).into_iter().enumerate() {
                let durable = Durable { torn: index % 2 == 1, ..at_once(window, kept) };
                if durable.after >= Some(from) && known.insert(durable.clone()) {
                    states.push((durable, window.commits));
                }
            }
        }
        let at_end = sets(&last.changes).into_iter().enumerate();
        let at_end = at_end.map(|(index, kept)| Durable { after: None, kept, torn: index % 2 == 1 });
        states.extend(at_end.map(|durable| (durable, last.commits)));
        states
    }

    /// Cuts the power and recovers. Returns the legal state that is reached, or what is wrong.
    fn cut(&self, durable: &Durable) -> Result<usize, String> {
        let (trial, disk) = self.play(durable.after);
        disk.cut(&durable.kept, durable.torn);
        let recovered = trial.recover(Door::default());
        let found = self.legal.find(&trial, false);
        found.map_err(|wrong| format!("{recovered:?}: {wrong}"))
    }

    /// Tries states until `enough` are wrong. Returns what was wrong.
    fn wrong_among(&self, states: &[(Durable, usize)], enough: usize) -> Vec<String> {
        let wrong = Mutex::new(Vec::new());
        let (trial, _) = self.play(None);
        let ends =
            self.legal.find(&trial, false).unwrap_or_else(|wrong| panic!("{}: {wrong}", self.story.name));
        in_parallel(states, |(durable, commits)| {
            if wrong.lock().unwrap().len() >= enough {
                return;
            }
            let is_right =
                |state: usize| if durable.after.is_none() { state == ends } else { state >= *commits };
            let found = self.cut(durable);
            if !found.as_ref().is_ok_and(|state| is_right(*state)) {
                let text = format!("{} {:?}: {durable:?}: {found:?}", self.story.name, self.killed);
                wrong.lock().unwrap().push(text);
            }
        });
        wrong.into_inner().unwrap()
    }
}

/// The state in which only these changes of a window exist, after as few changes as possible.
fn at_once(window: &Window, mut kept: Vec<bool>) -> Durable {
    let older = window.changes.iter().filter(|change| change.number < window.begins).count();
    let length = kept.iter().rposition(|kept| *kept).map_or(0, |last| last + 1).max(older);
    kept.truncate(length);
    let last = window.changes.get(length.wrapping_sub(1)).filter(|_| length > older);
    Durable { after: Some(last.map_or(window.begins, |last| last.number + 1)), kept, torn: false }
}

/// The sets of these changes that may exist without the others.
fn sets(changes: &[Journaled]) -> Vec<Vec<bool>> {
    let below = Journaled::below(changes);
    let length = changes.len();
    let with_what_is_below = |chosen: &dyn Fn(usize) -> bool| {
        let mut kept = vec![false; length];
        for index in (0..length).filter(|index| chosen(*index)) {
            kept.iter_mut().zip(&below[index]).for_each(|(kept, below)| *kept |= below);
        }
        kept
    };
    let mut sets: Vec<Vec<bool>> = Vec::new();
    if length <= ALL {
        sets.extend((0..1usize << length).map(|bits| with_what_is_below(&|index| bits >> index & 1 == 1)));
    } else {
        sets.extend((0..=length).map(|end| (0..length).map(|index| index < end).collect()));
        sets.extend((0..length).map(|missing| (0..length).map(|index| !below[index][missing]).collect()));
        sets.extend((0..length).map(|alone| below[alone].clone()));
        let mut dice = Dice(0x5eed + length as u64);
        for _ in 0..DRAWN {
            let (end, odds) = (1 + dice.below(length as u64), 1 + dice.below(7));
            let drawn: Vec<bool> =
                (0..length as u64).map(|index| index < end && dice.below(8) < odds).collect();
            sets.push(with_what_is_below(&|index| drawn[index]));
        }
    }
    sets.sort();
    sets.dedup();
    sets
}

/// Up to `most` of the items, evenly spaced.
fn thinned<T>(items: Vec<T>, most: usize) -> Vec<T> {
    let step = items.len().div_ceil(most).max(1);
    items.into_iter().step_by(step).collect()
}

/// Cuts the power everywhere, and asserts that nothing is wrong. Returns the number of states.
fn survives(plot: &Plot<'_>, most: usize) -> u64 {
    let states = thinned(plot.states(), most);
    let (count, wrong) = (states.len() as u64, plot.wrong_among(&states, usize::MAX));
    let some = wrong.iter().take(4).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {count} durable states\n{some}", wrong.len());
    count
}

in_parts!(a_power_cut_leaves_a_command_done_or_not_done_after_recovery, cut_commands, 12);

/// Cuts the power in each story of a part.
fn cut_commands(part: usize, parts: usize) {
    let mut tried = 0;
    let told = STORIES.iter().chain(&ELSEWHERE).chain(&EXCHANGED).chain(&PROMOTED);
    let told = part_of(told.step_by(sample_or_whole(3, 1)), part, parts);
    for story in told.map(|told| told()).filter(is_asked_for) {
        let legal = Legal::of(&story);
        let plot = Plot { story: &story, legal: &legal, killed: None, deaf: None };
        tried += survives(&plot, sample_or_whole(24, usize::MAX));
    }
    let counts =
        [("durable states after a power cut", tried), ("third states", 0), ("acknowledged runs lost", 0)];
    figures("lost", &counts);
}

/// The changes that are not durable at the same time in the course of a command: while objects are staged, the
/// journal's name, the switch, the outcome, and the work after it; for each run of the command.
fn course(story: &Story) -> Vec<Window> {
    let trial = Trial::of(story);
    let disk = Disk::new(trial.spare(), None);
    trial.run(&story.whole, disk.door(usize::MAX)).unwrap();
    disk.windows()
}

/// Evenly spaced numbers of changes after which a command is killed and its recovery is cut: there is something to roll
/// back, to finish, or just to tidy up.
fn kills(story: &Story, most: usize) -> Vec<usize> {
    let total = course(story).last().unwrap().begins;
    (1..=most).map(|part| part * total / most).collect()
}

in_parts!(a_power_cut_during_recovery_leaves_a_command_done_or_not_done_after_the_next, cut_recoveries, 12);

/// Cuts the power in recoveries of each story of a part.
fn cut_recoveries(part: usize, parts: usize) {
    let mut tried = 0;
    let told = STORIES.iter().chain(&ELSEWHERE).chain(&PROMOTED);
    let told = part_of(told.step_by(sample_or_whole(4, 1)), part, parts);
    for story in told.map(|told| told()).filter(is_asked_for) {
        let legal = Legal::of(&story);
        for killed in kills(&story, sample_or_whole(2, 12)) {
            let plot = Plot { story: &story, legal: &legal, killed: Some(killed), deaf: None };
            tried += survives(&plot, sample_or_whole(10, usize::MAX));
        }
    }
    figures(
        "lost-in-recovery",
        &[("durable states after a power cut in recovery", tried), ("third states", 0)],
    );
}

/// Cuts the changes that are not durable when the objects of a stage become an undo directory: those since the commit,
/// and a few after it. In whatever state the disk is, the run is done, and its undo data restores everything.
#[test]
fn a_power_cut_between_the_commit_and_the_rename_of_the_stage_loses_no_undo_data() {
    let story = revision();
    let (legal, before) = (Legal::of(&story), Tree::of(&story.stage.root(), &["var"]));
    // A disk counts consecutive writes to one file as one change.
    let (passed, rename) = (Mutex::new((0, None)), Arc::new(AtomicUsize::new(0)));
    let noted = rename.clone();
    let door = Door::watched(move |step| {
        let mut passed = passed.lock().unwrap();
        let written = (step.call == ChangeCall::Write).then(|| step.path.clone());
        passed.0 += usize::from(written.is_none() || written != passed.1);
        passed.1 = written;
        if is_rename_of_stage(step) {
            noted.store(passed.0 - 1, Ordering::Relaxed);
        }
        Ok(())
    });
    Trial::of(&story).run(&story.whole, door).unwrap();
    let rename = rename.load(Ordering::Relaxed);
    assert!(rename > 0, "the stage becomes an undo directory");
    let plot = Plot { story: &story, legal: &legal, killed: None, deaf: None };
    let windows = course(&story);
    let is_of_it = |window: &&Window| window.changes.iter().any(|change| change.number == rename);
    let window = windows.iter().find(is_of_it).expect("it is not durable at once");
    for (index, kept) in sets(&window.changes).into_iter().enumerate() {
        let durable = Durable { torn: index % 2 == 1, ..at_once(window, kept) };
        let (trial, disk) = plot.play(durable.after);
        disk.cut(&durable.kept, durable.torn);
        trial.recover(Door::default()).unwrap();
        assert_eq!(legal.find(&trial, false), Ok(legal.last()), "{durable:?}");
        trial.run(&Command::BackOut(vec!["100-02".to_owned()]), Door::default()).unwrap();
        assert_same(&Tree::of(&trial.root(), &["var"]), &before);
    }
}

#[test]
fn without_the_sync_of_what_is_staged_the_protocol_would_leave_mixed_states() {
    assert_found_out(0);
}

#[test]
fn without_the_sync_of_the_name_of_the_journal_the_protocol_would_leave_mixed_states() {
    assert_found_out(1);
}

#[test]
fn without_the_sync_of_the_switch_the_protocol_would_leave_mixed_states() {
    assert_found_out(2);
}

#[test]
fn without_the_sync_of_the_outcome_the_protocol_would_leave_mixed_states() {
    assert_found_out(3);
}

#[test]
fn without_the_sync_of_the_rollback_the_protocol_would_leave_mixed_states() {
    assert_found_out(4);
}

/// Asserts that the protocol without one of its syncs is found out: the model has teeth.
fn assert_found_out(number: usize) {
    let story = &STORIES[0]();
    let legal = Legal::of(story);
    // at the end of the switch, behind staging and the journal's name, so that all of it has to be rolled back
    let killed = course(story).get(2).map(|switch| switch.changes.last().unwrap().number);
    let without: [(&str, Option<usize>, Deaf); 5] = [
        ("that of what is staged", None, |call, _, before| call == ChangeCall::SyncFileSystem && before == 0),
        ("that of the journal's name", None, |call, path, _| {
            call == ChangeCall::Sync && path.as_bytes() == b"/var/sadm/patchadm"
        }),
        ("that of the switch", None, |call, _, before| call == ChangeCall::SyncFileSystem && before == 1),
        // Otherwise the sync of history and log would take its place.
        ("that of the outcome and of what follows", None, |call, path, _| {
            call == ChangeCall::Sync && path.as_bytes() == b"/var/sadm/patchadm/journal"
                || call == ChangeCall::SyncFileSystem
                    && !path.as_bytes().starts_with(b"/var/sadm/patchadm/stage")
        }),
        ("that of the rollback", killed, |call, _, before| call == ChangeCall::SyncFileSystem && before == 1),
    ];
    let (what, killed, deaf) = without[number];
    let plot = Plot { story, legal: &legal, killed, deaf: Some(deaf) };
    let states = thinned(plot.states(), sample_or_whole(160, usize::MAX));
    let count = states.len();
    assert!(
        !plot.wrong_among(&states, 1).is_empty(),
        "without {what}: nothing wrong in {count} durable states"
    );
}
