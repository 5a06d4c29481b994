//! The circumstances of a run: its record, marker and number, and the callbacks of the command line.

use std::fmt;

use super::error::Cause;
use super::switched_run::SwitchedRun;
use crate::format::journal::RunRecord;
use crate::ledgers::Ledgers;
use crate::transaction::tree::request::ExchangeRequest;
use patchadm_rootfs::Interrupt;

/// The command line's view of a run: it may end the run between steps, and receives its progress.
#[derive(Clone, Copy)]
pub struct RunWatch<'a> {
    /// Returns the signal that asks the run to end, if one arrived.
    pub interrupt: Interrupt<'a>,
    /// Receives progress events.
    pub progress: &'a (dyn Fn(ProgressEvent) + Sync),
}

/// The progress of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressEvent {
    /// An activity with this many units begins.
    Begins(RunActivity, u64),
    /// This many more units are done.
    Advances(u64),
    /// The run asks for the last time whether it should end; from here on it is finished whatever comes.
    Commits,
    /// The run is over.
    Ends,
}

/// The activity of a run, and the unit of its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunActivity {
    /// Working out what several patches change, before the run begins; counted in patches.
    Planning,
    /// Writing new objects beside their targets; counted in bytes.
    Staging,
    /// Saving old objects; counted in bytes.
    Saving,
    /// Exchanging names; counted in names.
    Switching,
}

impl RunWatch<'_> {
    pub(crate) fn check(self) -> Result<(), Cause> {
        match (self.interrupt)() {
            Some(signal) => Err(Cause::Interrupted(signal)),
            None => Ok(()),
        }
    }

    /// Asks for the last time, before the commit.
    pub(crate) fn commits(self) -> Result<(), Cause> {
        (self.progress)(ProgressEvent::Commits);
        self.check()
    }

    pub(crate) fn ends(self) {
        (self.progress)(ProgressEvent::Ends);
    }

    pub(crate) fn begins(self, doing: RunActivity, units: u64) {
        (self.progress)(ProgressEvent::Begins(doing, units));
    }

    pub(crate) fn advances(self, units: u64) {
        (self.progress)(ProgressEvent::Advances(units));
    }
}

impl fmt::Debug for RunWatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunWatch")
    }
}

/// The input of a run apart from its plan.
#[derive(Clone, Copy)]
pub struct RunSettings<'a> {
    /// The entry of the run in history and log.
    pub run_record: &'a RunRecord,
    /// The marker for the root's first journal; later ones inherit it.
    pub marker: &'a str,
    /// A random number, different for each run.
    pub nonce: u64,
    /// Drafts the ledgers that the run leaves.
    pub ledgers: &'a dyn Ledgers,
    /// The directories whose changes should become visible at once, in the order of their switch; none inside another.
    /// A run with scripts ignores them.
    pub exchanges: &'a [ExchangeRequest],
    /// Consulted between steps.
    pub watch: RunWatch<'a>,
    /// Returns the milliseconds since the command began, for the history.
    pub elapsed: &'a dyn Fn() -> u64,
    /// Called with the name of the run when everything is staged, before the journal is published: makes durable
    /// everything outside the root that must exist once the run does. A run that is tried again calls it again.
    pub before_publishing: &'a dyn Fn(&str) -> Result<(), Cause>,
    /// Called when all names are switched, before anything is checked once more and made durable; an error rolls back.
    /// A run with batches does not call it.
    pub when_switched: &'a dyn Fn(&mut SwitchedRun<'_>) -> Result<(), Cause>,
}

impl fmt::Debug for RunSettings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunSettings").field("run_record", self.run_record).finish_non_exhaustive()
    }
}
