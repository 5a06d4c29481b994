//! The journals of runs: reading earlier ones, writing, and flushing.

use std::collections::HashMap;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use patchadm_bulk_values::history::name_of;
use patchadm_bulk_values::journal::{BuildState, BulkRunEnd, JournalLine, PackageOutcome, RunState};
use patchadm_bulk_values::result::ResultKey;
use patchadm_rootfs::{Dir, RootError, WritableFile};
use patchadm_svr4::package::Mode;

use super::RunError;
use crate::pool::Pool;
use crate::runs::{JOURNAL, UnreadJournal, read_journal, run_directory};
use crate::work::{BulkWork, RUNS, numbered_directories};

#[derive(Debug)]
pub(super) struct JournalFile {
    dir: Dir,
    file: WritableFile,
}

impl JournalFile {
    /// Opens the journal for appending, and cuts off an incomplete last line.
    pub(super) fn open(work: &BulkWork, run: u64, whole: u64) -> Result<Self, RootError> {
        let runs = work.directory(RUNS)?;
        let dir = run_directory(work, run)?;
        let mut file = dir.open_or_create(JOURNAL.as_bytes(), Mode::of(0o644))?;
        file.set_size(whole)?;
        file.sync()?;
        dir.sync()?;
        runs.sync()?;
        Ok(Self { dir, file })
    }

    pub(super) fn add(&mut self, line: &JournalLine) -> Result<(), RootError> {
        let end = self.file.size()?;
        self.file.put_at(&line.to_bytes(), end)
    }

    pub(super) fn add_durably(&mut self, line: &JournalLine) -> Result<(), RootError> {
        self.add(line)?;
        self.sync()
    }

    pub(super) fn sync(&self) -> Result<(), RootError> {
        self.file.sync()
    }

    pub(super) fn again(&self) -> Result<Self, RootError> {
        let dir = self.dir.again()?;
        let file = dir.open_or_create(JOURNAL.as_bytes(), Mode::of(0o644))?;
        Ok(Self { dir, file })
    }
}

#[derive(Debug)]
struct Successes {
    last: ResultKey,
    /// The key of the last success with a different key.
    earlier: Option<ResultKey>,
}

#[derive(Debug, Default)]
pub(super) struct KnownRuns {
    /// The last run, and the complete bytes of its journal.
    pub(super) last: Option<(RunState, u64)>,
    /// Last outcome of each package that was built or failed, with its run.
    pub(super) outcomes: HashMap<String, (u64, PackageOutcome)>,
    successes: HashMap<String, Successes>,
    pub(super) greatest: u64,
    /// True if that run ended before its journal had a line.
    is_greatest_empty: bool,
    /// A note if the last journal is too large.
    pub(super) note: Option<String>,
}

/// Reads all journals. A damaged one is an error only if it is the last and no new run was requested.
pub(super) fn known_runs(work: &BulkWork, is_new: bool) -> Result<KnownRuns, RunError> {
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
            // Output of recipes must not block builds.
            Err(UnreadJournal::TooLarge(reason)) if is_last => {
                known.note = Some(format!("{reason}: run {number} is not known, and a new one begins"));
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
                BuildState::Done | BuildState::UpToDate | BuildState::Failed | BuildState::Deferred
            );
            // A remembered failure belongs to the run in which it happened.
            if let Some(key) = outcome.key.filter(|_| outcome.state.has_result()) {
                self.add_success(package, key);
                self.add_success(name_of(package), key);
            }
            if is_own {
                self.outcomes.insert(package.clone(), (outcome.run.unwrap_or(run), outcome.clone()));
            }
        }
    }

    fn add_success(&mut self, package: &str, key: ResultKey) {
        match self.successes.get_mut(package) {
            Some(known) if known.last == key => {}
            Some(known) => *known = Successes { last: key, earlier: Some(known.last) },
            None => drop(self.successes.insert(package.to_owned(), Successes { last: key, earlier: None })),
        }
    }

    /// Returns the last success of a package, or of another version if it never succeeded.
    pub(super) fn success(&self, package: &str) -> Option<&ResultKey> {
        Some(&self.successes_of(package)?.last)
    }

    pub(super) fn earlier_success(&self, package: &str) -> Option<&ResultKey> {
        self.successes_of(package)?.earlier.as_ref()
    }

    fn successes_of(&self, package: &str) -> Option<&Successes> {
        self.successes.get(package).or_else(|| self.successes.get(name_of(package)))
    }

    pub(super) fn next_number(&self) -> u64 {
        if self.is_greatest_empty { self.greatest } else { self.greatest + 1 }
    }

    pub(super) fn unfinished(&self) -> Option<&(RunState, u64)> {
        self.last.as_ref().filter(|(state, _)| state.end == BulkRunEnd::Unfinished)
    }
}

const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Results and journal lines on their way to the disk, many at a time.
///
/// A killed process loses nothing, because all are in the page cache; a power cut loses the last two seconds. A line
/// may become durable before its result: an incomplete result is built again. The end of a run is recorded after
/// everything else is durable.
#[derive(Debug)]
pub(super) struct Flushing {
    journal: JournalFile,
    results: Vec<ResultKey>,
    since: Option<Instant>,
    thread: Option<JoinHandle<Result<(), RootError>>>,
}

impl Flushing {
    pub(super) fn of(journal: JournalFile) -> Self {
        Self { journal, results: Vec::new(), since: None, thread: None }
    }

    pub(super) fn add(&mut self, line: &JournalLine) -> Result<(), RootError> {
        self.journal.add(line)?;
        // An interrupted build is repeated with or without this line.
        if !matches!(line, JournalLine::Running { .. }) {
            self.since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    pub(super) fn add_result(&mut self, key: ResultKey) {
        self.results.push(key);
        self.since.get_or_insert_with(Instant::now);
    }

    pub(super) fn begin_if_due(&mut self, pool: &Pool) -> Result<(), RunError> {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return Ok(());
        }
        self.wait()?;
        if self.since.is_none_or(|since| since.elapsed() < LONGEST_WAIT) {
            return Ok(());
        }
        let (pool, journal) = (pool.again()?, self.journal.again()?);
        let results = std::mem::take(&mut self.results);
        self.since = None;
        self.thread = Some(std::thread::spawn(move || {
            pool.flush(&results)?;
            journal.sync()
        }));
        Ok(())
    }

    pub(super) fn settle(&mut self, pool: &Pool) -> Result<(), RunError> {
        self.wait()?;
        if self.since.is_some() {
            pool.flush(&std::mem::take(&mut self.results))
                .and_then(|()| self.journal.sync())
                .map_err(failed)?;
            self.since = None;
        }
        Ok(())
    }

    /// All lines are durable after [`settle`](Self::settle).
    pub(super) fn into_journal(self) -> JournalFile {
        self.journal
    }

    fn wait(&mut self) -> Result<(), RunError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        match thread.join() {
            Ok(written) => written.map_err(failed),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn failed(error: RootError) -> RunError {
    if error.is_no_space() {
        RunError::Full(format!("no space is left for results: {error}"))
    } else {
        error.into()
    }
}
