//! The input of a run besides its plan: its history entry, callbacks, and the interfaces that the layer above
//! implements ([`ContentSource`], [`Ledgers`], [`PackageManagers`]).

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Debug;
use std::io::Read;

use crate::format::journal::RunRecord;
use crate::plan::{LedgerChange, Plan, UndoPlace};
use crate::stored_file::StoredFile;
use crate::transaction::archive::verified::WrittenArchive;
use crate::transaction::error::Cause;
use crate::transaction::journal::run_notes::SwitchedRun;
use crate::transaction::tree::survey::ExchangeRequest;
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::package::{ObjectPath, PackagePath, PkgInst};

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
    /// The directories whose changes should become visible at once, in the order of their switch; none inside
    /// another. A run with scripts ignores them.
    pub exchanges: &'a [ExchangeRequest],
    /// Consulted between steps.
    pub watch: RunWatch<'a>,
    /// Returns the milliseconds since the command began, for the history.
    pub elapsed: &'a dyn Fn() -> u64,
    /// Called with the name of the run when everything is staged, before the journal is published: makes durable
    /// everything outside the root that must exist once the run does. A run that is tried again calls it again.
    pub before_publishing: &'a dyn Fn(&str) -> Result<(), Cause>,
    /// Called when all names are switched, before anything is checked once more and made durable; an error rolls
    /// back. A run with batches does not call it.
    pub when_switched: &'a dyn Fn(&mut SwitchedRun<'_>) -> Result<(), Cause>,
}

impl Debug for RunSettings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunSettings").field("run_record", self.run_record).finish_non_exhaustive()
    }
}

/// The source of the content of new files: a patch, a package or an undo archive.
pub trait ContentSource {
    /// Streams every file for which `wanted` (index of the package, path in it) returns true to `sink`, in the order
    /// of the source.
    fn stream(&mut self, wanted: &WantedFile<'_>, sink: &mut FileSink<'_>) -> Result<(), StreamError>;

    /// Returns the place of a file that lies in an undo directory of the root, so that it can come back itself.
    fn stored(&self, _package: usize, _path: &PackagePath) -> Option<&StoredFile> {
        None
    }
}

/// Returns true if a file of the source is needed.
pub type WantedFile<'w> = dyn Fn(usize, &PackagePath) -> bool + 'w;

/// Receives the bytes of one file.
pub type FileSink<'s> = dyn FnMut(usize, &PackagePath, &mut dyn Read) -> Result<(), Cause> + 's;

/// The reason why streaming ended early.
#[derive(Debug)]
pub enum StreamError {
    /// The source cannot be read.
    Source(Box<dyn std::error::Error + Send + Sync>),
    /// The sink failed.
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

/// Drafts ledgers.
pub trait Ledgers: Debug {
    /// Drafts the change of a ledger, or returns `None` if the ledger stays as it is.
    fn draft<'p>(
        &self,
        root: &Root,
        plan: &Plan,
        change: &'p LedgerChange,
    ) -> Result<Option<Box<dyn LedgerDraft + 'p>>, Cause>;
}

/// A ledger that changes.
pub trait LedgerDraft: Debug + Sync {
    /// Returns true if the ledger file exists now.
    fn is_there(&self) -> bool;

    /// Returns true if no line is left; the file is then removed.
    fn is_empty(&self) -> bool;

    /// Builds the text of the ledger, once all archives of `run` are written.
    fn bytes(&self, run: &str, written: &LedgerInput<'_>) -> Result<Vec<u8>, Cause>;
}

/// The archives written by a run, by package and patch, each with its place.
pub type SavedArchives = BTreeMap<(PkgInst, String), (WrittenArchive, UndoPlace)>;

/// The input of a run's ledgers.
#[derive(Debug)]
pub struct LedgerInput<'a> {
    /// The root being changed.
    pub root: &'a Root,
    /// The plan of the batch.
    pub plan: &'a Plan,
    /// The archives of this batch, by their index in the plan.
    pub written: &'a BTreeMap<usize, WrittenArchive>,
    /// The archives of earlier batches.
    pub saved: &'a SavedArchives,
}

/// The package managers of the system. They may have written or removed objects since a run was interrupted, and
/// recovery keeps what they wrote. Paths are physical: no parent is a symbolic link.
///
/// An answer that cannot be found is `None`. Recovery then acts as on a root without package managers.
pub trait PackageManagers {
    /// Returns the name and version of the package that owns a path.
    fn owner(&self, path: &ObjectPath) -> Option<String>;

    /// Returns the package that wrote an object: it owns the path, was installed after `since` (RFC 3339), and
    /// delivers this object.
    fn writer(&self, path: &ObjectPath, since: &str) -> Option<String>;

    /// Returns the package that owned a path before the run and was removed since.
    fn former_owner(&self, path: &ObjectPath) -> Option<String>;
}
