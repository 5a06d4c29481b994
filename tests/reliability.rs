//! Faults at every step of the program: the tests count what docs/reliability.md and the README promise.
//!
//! Every test below this module plays a sample of a fixed size, or everything if [`is_whole`] is true.
//! ```text
//! PATCHADM_TESTS=whole cargo test --test integration reliability:: -- --nocapture
//! ```
//! Of the stories to break, `PATCHADM_STORIES=promot` selects those with this text in their names, and
//! `PATCHADM_STORIES='old files,repack'` those with either of the two. It selects the kinds of records in `lies` in
//! the same way. `PATCHADM_RANDOM_STORIES=400-900` selects random stories by number, here and in the planner's own
//! tests. [`figures`] prints the counts of a test on standard error. `.ci/reliability` plays everything and keeps
//! these lines in docs/reliability.tsv; `table` makes the table of docs/reliability.md from them.

/// The end of a command that met an error, compared with the expected one.
mod attempt;
/// Patches of a stage that go live.
mod brought;
/// A tree beside a root that must stay untouched.
pub(crate) mod canary;
/// Several commands on one root at once.
mod concurrency;
/// The program killed before every change.
pub(crate) mod crash;
/// A disk that dies for good.
mod dead_disk;
/// Depots that are read and copied, and whose publishers are killed, while patches are published.
mod depots;
/// Few open files.
mod descriptors;
/// Each byte is digested once.
#[cfg(debug_assertions)]
mod digested;
/// A disk that forgets.
mod disk;
/// Records and killed runs of an earlier build.
mod earlier;
/// Every change fails once.
mod errors;
/// Signed patches with one byte changed.
mod flips;
/// Predictions of recovery, compared with recovery itself.
mod foreseen;
/// Parsers, with input that no program writes.
pub(crate) mod fuzz;
/// Input of others that is refused or handled exactly.
mod hostile;
/// Roots whose own tree is hostile.
pub(crate) mod hostile_roots;
/// Runs that end by a signal.
pub(crate) mod killed;
/// Records that are well-formed and lie.
mod lies;
/// The power cut at every moment.
mod lost;
/// The journal damaged or removed, after the program was killed before any change.
mod lost_journal;
/// An administrator who edits files while they are changed.
mod meddling;
/// The memory that the program takes.
mod memory;
/// Patches, engines, edits and backouts in random order.
mod mixtures;
/// Stories beside dpkg.
mod natives;
/// The compared state of a root.
mod picture;
/// File systems that lose their power.
pub(crate) mod power_cuts;
/// Stages that go live.
mod promotions;
/// Trees that others change during a run.
mod races;
/// SIGKILL at a certain system call.
pub(crate) mod sigkill;
/// Signals, and more of them while a run is rolled back.
mod signals;
/// Stages below a directory whose owner exchanges them.
mod stage_races;
/// Undo data as files, and in other forms.
mod stored;
/// The stories that are played.
pub(crate) mod stories;
/// Fifty commands on one root at once.
mod storm;
/// The table of docs/reliability.md.
mod table;
/// Runs on trial.
mod trials;

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// True if everything is to be played, not a sample.
pub(crate) fn is_whole() -> bool {
    std::env::var_os("PATCHADM_TESTS").is_some_and(|value| value == "whole")
}

/// `sample` or `whole`, as requested.
pub(crate) fn sample_or_whole<T>(sample: T, whole: T) -> T {
    if is_whole() { whole } else { sample }
}

/// A part of the items for a test that shares them with others.
pub(crate) fn part_of<T>(
    items: impl Iterator<Item = T>,
    part: usize,
    parts: usize,
) -> impl Iterator<Item = T> {
    items.skip(part).step_by(parts)
}

/// The first and the last number of the requested random stories: `PATCHADM_RANDOM_STORIES=400-900`.
pub(crate) fn range_asked_for() -> Option<(u64, u64)> {
    let asked = std::env::var("PATCHADM_RANDOM_STORIES").ok()?;
    let (first, last) = asked.split_once('-').unwrap_or((&asked, &asked));
    Some((first.parse().ok()?, last.parse().ok()?))
}

/// The numbers of cases to play: all of them in the whole suite, the first of them in a sample.
pub(crate) struct Sampled {
    first: u64,
    end: u64,
    next: AtomicU64,
}

impl Sampled {
    pub(crate) fn of(sample: u64, all: u64) -> Self {
        let asked = range_asked_for().map(|(first, last)| (first, last + 1));
        let (first, end) = asked.unwrap_or((0, sample_or_whole(sample, all)));
        Self { first, end, next: AtomicU64::new(first) }
    }

    /// The next number, for whichever thread asks.
    pub(crate) fn next(&self) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.end).then_some(number)
    }

    /// The number of cases handed out so far.
    pub(crate) fn played(&self) -> u64 {
        self.next.load(Ordering::Relaxed).min(self.end) - self.first
    }
}

/// Prints the counts of a test: `crash`, `[("crash points", 4096), ("third states", 0)]`. A count of failures is always 0,
/// because a test that finds a failure fails first. Counts of several tests with the same name are added up.
pub(crate) fn figures(about: &str, counts: &[(&str, u64)]) {
    let how = if is_whole() { "whole" } else { "sample" };
    let told: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    // Only the table depends on it, and it reports missing counts.
    let _ = writeln!(std::io::stderr(), "reliability ({how}): {about}: {}", told.join("; "));
}
