//! What a run is asked for, what it tells, and why it may not begin.

use std::path::Path;
use std::time::Duration;

use crate::base::BaseLayer;
use crate::driver::{Driver, DriverError};
use crate::patches::MadePatches;
use crate::report_inputs::RenderPage;
use crate::runs::{UnreadJournal, journal_path};
use crate::sandbox::BuildUser;
use crate::scan::ScanError;
use crate::set::SetError;
use crate::sources::Sources;
use crate::work::{Work, WorkError};
use patchadm_bulk_values::journal::PackageOutcome;
use patchadm_bulk_values::resolve::UnknownName;
use patchadm_bulk_values::result::Digest;
use patchadm_making::build::BuildRequest;
use patchadm_rootfs::RootError;
use patchadm_svr4::patch::PatchId;
use serde_json::Value;

/// A run that is wanted.
pub struct RunRequest<'a> {
    /// The directory of the bulk build, which the caller has locked.
    pub work: &'a Work,
    /// The driver.
    pub driver: &'a Driver,
    /// The base and its digest.
    pub base: (&'a BaseLayer, Digest),
    /// Under whose ids builds run.
    pub user: BuildUser,
    /// The names that are wanted; none for all.
    pub names: &'a [String],
    /// Whether these are all that the configuration wants, so that the run may have a set.
    pub is_whole: bool,
    /// Whether failures of earlier runs are tried again.
    pub retries: bool,
    /// The packages that are built although their results are there.
    pub rebuild: &'a [String],
    /// Whether a run that was cut off is given up.
    pub is_new: bool,
    /// Whether nothing new starts once a package has failed.
    pub stops_on_failure: bool,
    /// Whether a run of all packages makes a set.
    pub makes_set: bool,
    /// What patches are made with at the end, if they are to be.
    pub patches: Option<&'a RunPatches<'a>>,
    /// The number of tasks at a time of the local slot.
    pub jobs: Option<u32>,
    /// The processors of this machine.
    pub cores: u32,
    /// This program.
    pub program: &'a Path,
    /// Where distfiles come from, and who fetches them.
    pub sources: &'a Sources,
    /// How long a task may go on after the limit of its time before its slot is cut off.
    pub overtime: Duration,
    /// Formats the page of the run.
    pub page: RenderPage<'a>,
    /// Returns the time, RFC 3339.
    pub time: &'a (dyn Fn() -> String + Sync),
    /// Returns the nanoseconds since 1970.
    pub now: i64,
    /// Returns the signal that asks for the end.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Tells whether a second signal has come: what runs is ended then.
    pub is_urgent: &'a (dyn Fn() -> bool + Sync),
}

impl RunRequest<'_> {
    /// Returns the names that are wanted as the journal keeps them: sorted.
    pub(super) fn operands(&self) -> Vec<String> {
        let mut operands = self.names.to_vec();
        operands.sort();
        operands
    }
}

/// What a run makes patches with.
pub struct RunPatches<'a> {
    /// The patch to be made, by its id.
    pub patch: &'a (dyn Fn(PatchId) -> BuildRequest + Sync),
    /// The shell's verdict on the syntax of a script.
    pub syntax: fn(&[u8]) -> Result<(), String>,
    /// Publishes patches that fit together; returns what is told of it, or why they were not published.
    pub publish: &'a dyn Fn(&MadePatches) -> Result<Option<Value>, String>,
}

/// Something that happens in a run.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// It begins, or goes on: its number, whether it goes on, and how many packages are wanted.
    Begins {
        /// The number.
        run: u64,
        /// Whether it goes on.
        is_continued: bool,
        /// The packages.
        packages: usize,
    },
    /// A package is being built.
    Starts {
        /// PKGNAME.
        package: &'a str,
        /// The slot.
        slot: &'a str,
    },
    /// A phase of a build begins.
    Phase {
        /// PKGNAME.
        package: &'a str,
        /// The phase.
        phase: &'a str,
    },
    /// A package is not being built any more, and may be later: its machine failed, or the run ends.
    PutBack {
        /// PKGNAME.
        package: &'a str,
    },
    /// A package came to a state.
    Ends {
        /// PKGNAME.
        package: &'a str,
        /// The state.
        outcome: &'a PackageOutcome,
    },
    /// Something that the operator should know.
    Note(&'a str),
}

/// Receives what happens.
pub(super) type Tell<'t> = &'t mut dyn FnMut(RunEvent<'_>);

/// The reasons why a run did not begin, or was cut off.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The directory.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// The driver or the tree.
    #[error(transparent)]
    Driver(#[from] DriverError),
    /// The base.
    #[error("{0}")]
    Base(String),
    /// The user that builds.
    #[error("{0}")]
    User(String),
    /// The tree could not be scanned.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A name that no package has.
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    /// The journal of the last run.
    #[error("{path}: {error}; nothing was built, and `bulk run --new` begins another run")]
    Journal {
        /// The file.
        path: String,
        /// What is wrong.
        error: UnreadJournal,
    },
    /// The disk.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The set.
    #[error(transparent)]
    Set(#[from] SetError),
    /// No slot works.
    #[error("no slot can work, and nothing was started:\n{0}")]
    NoSlot(String),
    /// No slot may make sandboxes.
    #[error("sandboxes are not allowed on any slot, and nothing was started:\n{0}")]
    NotAllowed(String),
    /// There is no space for results and logs.
    #[error(
        "{0}: the run was cut off, and what was built is kept; make room, and run it again: it goes on where it was"
    )]
    Full(String),
}

impl RunError {
    /// The journal of a run is damaged.
    pub(super) fn damaged_journal(work: &Work, run: u64, error: UnreadJournal) -> Self {
        Self::Journal { path: journal_path(work, run).display().to_string(), error }
    }
}
