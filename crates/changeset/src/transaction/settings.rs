//! Input of a run besides its plan, and interfaces for the layer above ([`ContentSource`], [`Ledgers`],
//! [`PackageManagers`]).

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Debug;
use std::io::Read;

use crate::format::journal::RunRecord;
use crate::plan::{LedgerChange, Plan, UndoPlace};
use crate::stored_file::StoredFile;
use crate::transaction::archive::verified::VerifiedArchive;
use crate::transaction::error::Cause;
use crate::transaction::journal::run_notes::SwitchedRun;
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::package::{ObjectPath, PackagePath, PkgInst};

#[derive(Clone, Copy)]
pub struct RunWatch<'a> {
    /// Returns the signal that asks for the end, if any.
    pub interrupt: Interrupt<'a>,
    pub progress: &'a (dyn Fn(ProgressEvent) + Sync),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressEvent {
    /// With the number of units.
    Begins(RunActivity, u64),
    Advances(u64),
    /// The last chance to end the run has passed.
    Commits,
    Ends,
}

/// With the unit of its progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunActivity {
    /// Effects of several patches, before the run; in patches.
    Planning,
    /// In bytes.
    Staging,
    /// In bytes.
    Saving,
    /// In names.
    Switching,
}

impl RunWatch<'_> {
    pub(crate) fn check(self) -> Result<(), Cause> {
        match (self.interrupt)() {
            Some(signal) => Err(Cause::Interrupted(signal)),
            None => Ok(()),
        }
    }

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

impl Debug for RunWatch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunWatch")
    }
}

#[derive(Clone, Copy)]
pub struct RunSettings<'a> {
    /// For history and log.
    pub run_record: &'a RunRecord,
    /// For the root's first journal; later ones inherit it.
    pub marker: &'a str,
    /// Random, different for each run.
    pub nonce: u64,
    pub ledgers: &'a dyn Ledgers,
    /// Physical paths of directories whose changes must become visible at once, in order; none inside another.
    pub exchanges: &'a [ObjectPath],
    /// Consulted between steps.
    pub watch: RunWatch<'a>,
    /// Milliseconds since the command began.
    pub elapsed: &'a dyn Fn() -> u64,
    /// Called after staging, before publication: makes durable what must exist outside the root. Another attempt calls
    /// it again.
    pub before_publishing: &'a dyn Fn(&str) -> Result<(), Cause>,
    /// Called after the switch, before the last check and sync; an error rolls back. Not called with batches.
    pub when_switched: &'a dyn Fn(&mut SwitchedRun<'_>) -> Result<(), Cause>,
}

impl Debug for RunSettings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunSettings").field("run_record", self.run_record).finish_non_exhaustive()
    }
}

/// A patch, a package or an undo archive.
pub trait ContentSource {
    /// Streams files for which `wanted` (package index, path) returns true, in the source's order.
    /// Fails once a signal came.
    fn stream(
        &mut self,
        wanted: &WantedFile<'_>,
        interrupt: Interrupt<'_>,
        sink: &mut FileSink<'_>,
    ) -> Result<(), StreamError>;

    /// Returns the place of a file in an undo directory, so that it can come back itself.
    fn stored(&self, _package: usize, _path: &PackagePath) -> Option<&StoredFile> {
        None
    }
}

pub type WantedFile<'w> = dyn Fn(usize, &PackagePath) -> bool + 'w;

pub type FileSink<'s> = dyn FnMut(usize, &PackagePath, &mut dyn Read) -> Result<(), Cause> + 's;

#[derive(Debug)]
pub enum StreamError {
    Source(Box<dyn std::error::Error + Send + Sync>),
    Sink(Cause),
}

impl From<StreamError> for Cause {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::Source(error) => Self::Source(error),
            StreamError::Sink(cause) => cause,
        }
    }
}

pub trait Ledgers: Debug {
    /// `None` if the ledger stays.
    fn draft<'p>(
        &self,
        root: &Root,
        plan: &Plan,
        change: &'p LedgerChange,
    ) -> Result<Option<Box<dyn LedgerDraft + 'p>>, Cause>;
}

pub trait LedgerDraft: Debug + Sync {
    fn is_there(&self) -> bool;

    /// An empty ledger is removed.
    fn is_empty(&self) -> bool;

    /// Called after all archives of `run` are written.
    fn bytes(&self, run: &str, written: &LedgerInput<'_>) -> Result<Vec<u8>, Cause>;
}

/// By package and patch.
pub type SavedArchives = BTreeMap<(PkgInst, String), (VerifiedArchive, UndoPlace)>;

#[derive(Debug)]
pub struct LedgerInput<'a> {
    pub root: &'a Root,
    pub plan: &'a Plan,
    /// Archives of this batch by plan index.
    pub written: &'a BTreeMap<usize, VerifiedArchive>,
    /// Archives of earlier batches.
    pub saved: &'a SavedArchives,
}

/// Native package managers, which may have written or removed objects since an interruption; recovery keeps these.
/// Paths are physical.
///
/// `None` means that nothing was found, as without package managers.
pub trait PackageManagers {
    /// Returns name and version.
    fn owner(&self, path: &ObjectPath) -> Option<String>;

    /// The writer owns the path, was installed after `since` (RFC 3339), and delivers this object.
    fn writer(&self, path: &ObjectPath, since: &str) -> Option<String>;

    /// It owned the path before the run, and was removed since. If the run ended the registration of a package, the
    /// package was removed before it.
    fn former_owner(&self, path: &ObjectPath, is_ended: &dyn Fn(&PkgInst) -> bool) -> Option<String>;
}
