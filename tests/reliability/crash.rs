//! Kills the program before every change that it makes, and recovery before every change of its own: in this process,
//! by a door that lets a number of changes through and then none, which leaves what a killed process leaves.
//!
//! Everything that was written is kept, as after a kill; `lost` covers what a power cut loses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use patchadm_changeset::transaction::Recovered;
use patchadm_rootfs::Door;
use rustix::io::Errno;

use crate::reliability::foreseen::{as_it_is, differences, foreseen};
use crate::reliability::picture::{Picture, strangers, strays, unnamed_files};
use crate::reliability::promotions::PROMOTED;
use crate::reliability::stories::{
    Command, ELSEWHERE, EXCHANGED, MENDED, SCRIPTED, STORIES, Story, Trial, is_asked_for,
};
use crate::reliability::{figures, part_of, sample_or_whole};

/// A door that counts changes.
fn counting() -> (Door, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let door = Door::watched(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    (door, count)
}

/// A door that lets `number` changes through and then no more.
pub(crate) fn dead_after(number: usize) -> Door {
    let passed = AtomicUsize::new(0);
    let is_alive = move || passed.fetch_add(1, Ordering::Relaxed) < number;
    Door::watched(move |_| if is_alive() { Ok(()) } else { Err(Errno::IO) })
}

/// Processes each item, on all processors.
pub(crate) fn in_parallel<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            });
        }
    });
}

/// The states that a root may be in: before the first act, and after each of them.
pub(crate) struct Legal(Vec<Picture>);

impl Legal {
    pub(crate) fn of(story: &Story) -> Self {
        Self::played(story, |trial, act| {
            trial.run(act, Door::default()).unwrap_or_else(|error| panic!("{}: {error}", story.name));
        })
    }

    /// Like [`Self::of`], with a function that plays the acts.
    pub(crate) fn played(story: &Story, play: impl Fn(&Trial, &Command)) -> Self {
        let trial = Trial::of(story);
        let mut legal = vec![Picture::of(&trial.root())];
        for act in &story.acts {
            play(&trial, act);
            legal.push(Picture::of(&trial.root()));
        }
        assert!(legal.windows(2).all(|pair| !pair[0].is_like(&pair[1], false)), "{}", story.name);
        Self(legal)
    }

    pub(crate) fn last(&self) -> usize {
        self.0.len() - 1
    }

    /// The state that a recovered root is in; an error if it is in none, or if something of the run is left. `logs`
    /// says whether a missing log counts.
    pub(crate) fn find(&self, trial: &Trial, logs: bool) -> Result<usize, String> {
        let unnamed = unnamed_files(&trial.root());
        if !unnamed.is_empty() {
            return Err(format!("old files that no undo data names: {}", unnamed.join(", ")));
        }
        self.find_beside_old_files(trial, logs)
    }

    /// Like [`Self::find`], but allows old files that no undo data names any more.
    pub(crate) fn find_beside_old_files(&self, trial: &Trial, logs: bool) -> Result<usize, String> {
        let found = Picture::of(&trial.root());
        let left = strays(&trial.root());
        if !left.is_empty() {
            return Err(format!("left behind: {}", left.join(", ")));
        }
        let strangers = strangers(&trial.root());
        if !strangers.is_empty() {
            return Err(format!("not what the ledger names: {}", strangers.join(", ")));
        }
        let (first, others) = self.0.split_first().unwrap();
        if found.is(first) {
            return Ok(0);
        }
        if let Some(number) = others.iter().position(|state| found.is_like(state, logs)) {
            return Ok(number + 1);
        }
        let nearest = self.0.iter().map(|state| state.difference(&found)).min_by_key(String::len);
        Err(format!("a third state\n{}", nearest.unwrap_or_default()))
    }
}

/// Number of changes that a command makes.
pub(crate) fn changes_of(story: &Story) -> usize {
    let (door, count) = counting();
    Trial::of(story).run(&story.whole, door).unwrap();
    count.load(Ordering::Relaxed)
}

/// `most` evenly spaced numbers below `total`, or all of them if there are fewer.
pub(crate) fn spread(total: usize, most: usize) -> Vec<usize> {
    if total <= most { (0..total).collect() } else { (0..most).map(|index| index * total / most).collect() }
}

/// Kills the command after `number` changes, recovers and checks the root; if nothing was done, then performs the
/// command after all. Returns true if the root after recovery could be foreseen.
fn kill(story: &Story, legal: &Legal, number: usize) -> bool {
    let trial = Trial::of(story);
    let when = format!("{}, killed after {number} changes", story.name);
    let said = trial.run(&story.whole, dead_after(number));
    let foreseen = foreseen(&trial);
    let recovered = trial.recover(Door::default()).unwrap_or_else(|error| panic!("{when}: {error}"));
    let differs =
        foreseen.as_ref().map(|foreseen| differences(foreseen, &as_it_is(&trial))).unwrap_or_default();
    assert!(differs.is_empty(), "{when}: {recovered:?}: {}", differs.join("\n"));
    let state = legal.find(&trial, true).unwrap_or_else(|wrong| panic!("{when}: {recovered:?}: {wrong}"));
    assert!(said.is_err() || state == legal.last(), "{when}: acknowledged, but it is in state {state}");
    if number.is_multiple_of(8) {
        assert_eq!(trial.recover(Door::default()), Ok(Recovered::Nothing), "{when}");
        if state == 0 {
            let again = trial.run(&story.whole, Door::default());
            assert_eq!((again, legal.find(&trial, true)), (Ok(()), Ok(legal.last())), "{when}, once more");
        }
    }
    foreseen.is_some()
}

/// Kills the command after `number` changes and recovery after `second` more; true if recovery had no more to do.
fn kill_recovery(story: &Story, legal: &Legal, number: usize, second: usize) -> bool {
    let trial = Trial::of(story);
    let when = format!("{}, killed after {number} changes and {second} of recovery", story.name);
    let _ = trial.run(&story.whole, dead_after(number));
    let was_all = trial.recover(dead_after(second)).is_ok();
    let recovered = trial.recover(Door::default()).unwrap_or_else(|error| panic!("{when}: {error}"));
    legal.find(&trial, true).unwrap_or_else(|wrong| panic!("{when}: {recovered:?}: {wrong}"));
    was_all
}

in_parts!(killed_before_any_change_a_command_is_done_or_not_done_after_recovery, kill_at_changes, 12);

/// Kills each story of a part before its changes.
fn kill_at_changes(part: usize, parts: usize) {
    let (mut tried, known) = (0, AtomicUsize::new(0));
    let told = STORIES.iter().chain(&SCRIPTED).chain(&MENDED).chain(&ELSEWHERE).chain(&EXCHANGED);
    for story in part_of(told.chain(&PROMOTED), part, parts).map(|told| told()).filter(is_asked_for) {
        let (legal, total) = (Legal::of(&story), changes_of(&story));
        assert!(total > 40, "{}: only {total} changes: is the door passed?", story.name);
        let points = spread(total + 1, sample_or_whole(6, usize::MAX));
        in_parallel(&points, |&number| {
            known.fetch_add(usize::from(kill(&story, &legal, number)), Ordering::Relaxed);
        });
        tried += points.len();
    }
    let known = known.into_inner() as u64;
    figures("crash", &[("crash points", tried as u64), ("third states", 0), ("recoveries foreseen", known)]);
}

in_parts!(recovery_may_be_killed_before_any_of_its_changes, kill_recoveries, 4);

/// Kills the recovery of each story of a part before its changes.
fn kill_recoveries(part: usize, parts: usize) {
    let tried = AtomicUsize::new(0);
    let stories = ELSEWHERE.iter().chain(&EXCHANGED).chain(&PROMOTED).chain(&STORIES).chain(&SCRIPTED);
    let stories = part_of(stories.step_by(sample_or_whole(4, 1)), part, parts);
    for story in stories.map(|told| told()).filter(is_asked_for) {
        let legal = Legal::of(&story);
        let points = spread(changes_of(&story), sample_or_whole(2, 12));
        in_parallel(&points, |&number| {
            let mut second = number % sample_or_whole(41, 1);
            while !kill_recovery(&story, &legal, number, second) {
                tried.fetch_add(1, Ordering::Relaxed);
                second += sample_or_whole(41, 1);
            }
        });
    }
    let tried = tried.into_inner() as u64;
    figures("crash-of-recovery", &[("crash points of recovery", tried), ("third states", 0)]);
}
