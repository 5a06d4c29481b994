//! Results and lines of the journal on their way to the disk, many at a time.
//!
//! Each is in the page cache when it is made: whatever is killed, nothing of it is lost. A power cut takes the last two seconds:
//! a thread begins to write what is older than one. A line can become durable before the result that it names; a result that is
//! not whole is built again. At the end of a run everything is durable before the line that says so.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use patchadm_bulk_values::journal::JournalLine;
use patchadm_bulk_values::result::Key;
use patchadm_rootfs::RootError;

use super::journal_file::JournalFile;
use super::request::RunError;
use crate::pool::Pool;

/// The age at which something begins to be written to the disk.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What has not reached the disk yet.
#[derive(Debug)]
pub(super) struct Flushing {
    journal: JournalFile,
    results: Vec<Key>,
    /// When the oldest of it was made.
    since: Option<Instant>,
    /// The thread that writes what came before.
    thread: Option<JoinHandle<Result<(), RootError>>>,
}

impl Flushing {
    /// Starts with a journal whose lines are all durable.
    pub(super) fn of(journal: JournalFile) -> Self {
        Self { journal, results: Vec::new(), since: None, thread: None }
    }

    /// Adds a line to the journal.
    pub(super) fn add(&mut self, line: &JournalLine) -> Result<(), RootError> {
        self.journal.add(line)?;
        // What was being built is built again, whether its line is there or not.
        if !matches!(line, JournalLine::Running { .. }) {
            self.since.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Adds a result that need not be on the disk yet.
    pub(super) fn add_result(&mut self, key: Key) {
        self.results.push(key);
        self.since.get_or_insert_with(Instant::now);
    }

    /// Begins to write what has waited for long enough, unless something is still being written.
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

    /// Waits until everything is on the disk.
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

    /// Returns the journal. Its lines are all durable after [`settle`](Self::settle).
    pub(super) fn into_journal(self) -> JournalFile {
        self.journal
    }

    /// Waits for the thread.
    fn wait(&mut self) -> Result<(), RunError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        match thread.join() {
            Ok(written) => written.map_err(failed),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// The failure of a run whose results cannot be written to the disk.
fn failed(error: RootError) -> RunError {
    if error.is_no_space() {
        RunError::Full(format!("no space is left for results: {error}"))
    } else {
        error.into()
    }
}
