//! The journal of a run on the disk, and those of earlier runs.

use std::collections::HashMap;

use patchadm_bulk_values::history::name_of;
use patchadm_bulk_values::journal::{JournalLine, PackageOutcome, PackageState, RunEnd, RunState};
use patchadm_bulk_values::result::Key;
use patchadm_rootfs::{Dir, RootError, WritableFile};
use patchadm_svr4::package::Mode;

use super::request::RunError;
use crate::runs::{JOURNAL, UnreadJournal, read_journal, run_directory};
use crate::work::{RUNS, Work, numbered_directories};

/// The journal of a run, being written.
#[derive(Debug)]
pub(super) struct JournalFile {
    dir: Dir,
    file: WritableFile,
}

impl JournalFile {
    /// Opens the journal of a run for more lines; what a power cut tore off its last line goes.
    pub(super) fn open(work: &Work, run: u64, whole: u64) -> Result<Self, RootError> {
        let runs = work.directory(RUNS)?;
        let dir = run_directory(work, run)?;
        let mut file = dir.open_or_create(JOURNAL.as_bytes(), Mode::of(0o644))?;
        file.set_size(whole)?;
        file.sync()?;
        dir.sync()?;
        runs.sync()?;
        Ok(Self { dir, file })
    }

    /// Adds a line. It need not be on the disk when this returns.
    pub(super) fn add(&mut self, line: &JournalLine) -> Result<(), RootError> {
        let end = self.file.size()?;
        self.file.put_at(&line.to_bytes(), end)
    }

    /// Adds a line that is on the disk when this returns, with all before it.
    pub(super) fn add_durably(&mut self, line: &JournalLine) -> Result<(), RootError> {
        self.add(line)?;
        self.sync()
    }

    /// Waits until all lines are on the disk.
    pub(super) fn sync(&self) -> Result<(), RootError> {
        self.file.sync()
    }

    /// Opens it once more, for another thread.
    pub(super) fn again(&self) -> Result<Self, RootError> {
        let dir = self.dir.again()?;
        let file = dir.open_or_create(JOURNAL.as_bytes(), Mode::of(0o644))?;
        Ok(Self { dir, file })
    }
}

/// The successful builds of a package.
#[derive(Debug)]
struct Successes {
    /// The key of the last one.
    last: Key,
    /// The key of the last one before that which had another key.
    earlier: Option<Key>,
}

/// What is known of the runs of a bulk build.
#[derive(Debug, Default)]
pub(super) struct KnownRuns {
    /// The last one, with the number of whole bytes of its journal.
    pub(super) last: Option<(RunState, u64)>,
    /// The last outcome of each package that was built or failed, with the number of its run.
    pub(super) outcomes: HashMap<String, (u64, PackageOutcome)>,
    /// The successes of each package, and by names without version those of all versions.
    successes: HashMap<String, Successes>,
    /// The greatest number of a run.
    pub(super) greatest: u64,
    /// Whether the run with that number was cut off before anything of it was noted.
    pub(super) is_greatest_empty: bool,
    /// Why nothing is known of the last run, whose journal is too large.
    pub(super) note: Option<String>,
}

/// Reads the journals of all runs. A damaged one is an error only where it is the last one, and a new run is not wanted.
pub(super) fn known_runs(work: &Work, is_new: bool) -> Result<KnownRuns, RunError> {
    let runs = work.directory(RUNS)?;
    let numbers = numbered_directories(&runs)?;
    let mut known =
        KnownRuns { greatest: numbers.last().copied().unwrap_or_default(), ..KnownRuns::default() };
    for number in &numbers {
        let is_last = *number == known.greatest;
        match read_journal(&runs, *number)? {
            Ok(Some((state, whole))) => {
                known.add(*number, &state);
                if is_last {
                    known.last = Some((state, whole as u64));
                }
            }
            // What recipes had to say must not keep anybody from building.
            Err(UnreadJournal::TooLarge(reason)) if is_last => {
                known.note =
                    Some(format!("{reason}: nothing is known of run {number}, and a new one begins"));
            }
            Err(error) if is_last && !is_new => {
                return Err(RunError::damaged_journal(work, *number, error));
            }
            Ok(None) => known.is_greatest_empty |= is_last,
            Err(_) => {}
        }
    }
    Ok(known)
}

impl KnownRuns {
    fn add(&mut self, run: u64, state: &RunState) {
        for (package, outcome) in &state.packages {
            let is_own = matches!(
                outcome.state,
                PackageState::Done | PackageState::UpToDate | PackageState::Failed | PackageState::Deferred
            );
            // A failure that was only remembered is that of the run in which it was.
            if let Some(key) = outcome.key.filter(|_| outcome.state.has_result()) {
                self.add_success(package, key);
                self.add_success(name_of(package), key);
            }
            if is_own {
                self.outcomes.insert(package.clone(), (outcome.run.unwrap_or(run), outcome.clone()));
            }
        }
    }

    fn add_success(&mut self, package: &str, key: Key) {
        match self.successes.get_mut(package) {
            Some(known) if known.last == key => {}
            Some(known) => *known = Successes { last: key, earlier: Some(known.last) },
            None => drop(self.successes.insert(package.to_owned(), Successes { last: key, earlier: None })),
        }
    }

    /// Returns the key of the last success of a package; of one that never had any, that of another version of it.
    pub(super) fn success(&self, package: &str) -> Option<&Key> {
        Some(&self.successes_of(package)?.last)
    }

    /// Returns the key of the last success before that one which had another key.
    pub(super) fn earlier_success(&self, package: &str) -> Option<&Key> {
        self.successes_of(package)?.earlier.as_ref()
    }

    fn successes_of(&self, package: &str) -> Option<&Successes> {
        self.successes.get(package).or_else(|| self.successes.get(name_of(package)))
    }

    /// Returns the number of the next run that continues none.
    pub(super) fn next_number(&self) -> u64 {
        if self.is_greatest_empty { self.greatest } else { self.greatest + 1 }
    }

    /// Returns the last run, if it was cut off.
    pub(super) fn unfinished(&self) -> Option<&(RunState, u64)> {
        self.last.as_ref().filter(|(state, _)| state.end == RunEnd::Unfinished)
    }
}
