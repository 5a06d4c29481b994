//! The request for a run, its events and errors.

use std::path::Path;
use std::time::Duration;

use patchadm_bulk_values::journal::PackageOutcome;
use patchadm_bulk_values::resolve::UnknownName;
use patchadm_bulk_values::result::Digest;
use patchadm_making::build::BuildRequest;
use patchadm_rootfs::{Interrupt, RootError};
use patchadm_svr4::patch::PatchId;
use serde_json::Value;

use crate::base::{BaseError, BaseLayer, base_digest, base_layer, build_user, fetching_user};
use crate::driver::{Driver, DriverError};
use crate::ids::{BUILD_ID, SandboxIds};
use crate::patches::MadePatches;
use crate::report_files::RenderPage;
use crate::runs::{UnreadJournal, journal_path};
use crate::sandbox::BuildUser;
use crate::scan::ScanError;
use crate::set::SetError;
use crate::sources::Sources;
use crate::task::{must_be_accessible, with_layer_kind};
use crate::work::{Work, WorkError};

/// A request for a run.
pub struct RunRequest<'a> {
    /// The directory of the bulk build, which the caller has locked.
    pub work: &'a Work,
    /// The driver.
    pub driver: &'a Driver,
    /// The base and its digest.
    pub base: (&'a BaseLayer, Digest),
    /// Under whose ids builds run.
    pub user: BuildUser,
    /// The requested names; empty for all.
    pub names: &'a [String],
    /// True if these are all configured packages, so that the run may have a set.
    pub is_whole: bool,
    /// True to retry failures of earlier runs.
    pub retries: bool,
    /// The packages that are built although their results are there.
    pub rebuild: &'a [String],
    /// True to abandon an interrupted run.
    pub is_new: bool,
    /// True to start nothing more after a failure.
    pub stops_on_failure: bool,
    /// True to make a set from a run of all packages.
    pub makes_set: bool,
    /// The means for making patches at the end, if requested.
    pub patches: Option<&'a RunPatches<'a>>,
    /// The number of tasks at a time of the local slot.
    pub jobs: Option<u32>,
    /// The processors of this machine.
    pub cores: u32,
    /// This program.
    pub program: &'a Path,
    /// The sources of distfiles, and the user that fetches them.
    pub sources: &'a Sources,
    /// The time that a task may exceed its time limit before its command is ended.
    pub overtime: Duration,
    /// Formats the page of the run.
    pub page: RenderPage<'a>,
    /// Returns the time, RFC 3339.
    pub time: &'a (dyn Fn() -> String + Sync),
    /// Returns the nanoseconds since 1970.
    pub now: i64,
    /// Returns the signal that asks for the end.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Returns true after a second signal, which ends all tasks.
    pub is_urgent: &'a (dyn Fn() -> bool + Sync),
}

impl RunRequest<'_> {
    pub(super) fn operands(&self) -> Vec<String> {
        let mut operands = self.names.to_vec();
        operands.sort();
        operands
    }
}

/// The means for making patches in a run.
pub struct RunPatches<'a> {
    /// The patch to be made, by its id.
    pub patch: &'a (dyn Fn(PatchId) -> BuildRequest + Sync),
    /// The shell's verdict on the syntax of a script.
    pub syntax: fn(&[u8]) -> Result<(), String>,
    /// Publishes patches that fit together; returns the document, or the reason of a failure.
    pub publish: &'a dyn Fn(&MadePatches) -> Result<Option<Value>, String>,
}

/// Something that happens in a run.
#[derive(Debug)]
pub enum RunEvent<'a> {
    /// The run starts or continues.
    Begins {
        /// The number.
        run: u64,
        /// True if it continues an interrupted run.
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
    /// There is no space for a copy of the base.
    #[error("{0}")]
    NoRoom(String),
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
        /// The reason.
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
        "{0}: the run was cut off, and what was built is kept; make room, and run it again: it continues from there"
    )]
    Full(String),
}

impl RunError {
    pub(super) fn damaged_journal(work: &Work, run: u64, error: UnreadJournal) -> Self {
        Self::Journal { path: journal_path(work, run).display().to_string(), error }
    }
}

/// The base of a run.
#[derive(Clone, Debug)]
pub struct RunBase {
    /// Under whose ids builds run.
    pub user: BuildUser,
    /// The base as it lies on this machine.
    pub layer: BaseLayer,
    /// The digest of the base.
    pub digest: Digest,
    /// The sources of distfiles, and the user that fetches them.
    pub sources: Sources,
}

impl RunBase {
    /// Lays the base of a bulk build out, where that is not done yet, and takes its digest: it reads the state of every object
    /// of the base. A signal ends it.
    pub fn prepare(work: &Work, interrupt: Interrupt<'_>) -> Result<Self, RunError> {
        let user = build_user(&work.conf);
        let fetches_as = fetching_user(&work.conf).map_err(RunError::User)?;
        let ids = SandboxIds::of_caller(&work.conf).map_err(RunError::User)?;
        // Before the digest, which takes a while: nobody else may make it meanwhile.
        work.make_build_dir()?;
        let failed = |reason: String| {
            let is_interrupted = |signal| RunError::Scan(ScanError::Interrupted(signal));
            interrupt().map_or(RunError::Base(reason), is_interrupted)
        };
        let digest = base_digest(&work.conf, interrupt).map_err(failed)?;
        let layer = base_layer(&work.conf, (ids, user), &digest.to_string(), interrupt)
            .and_then(|layer| Ok(with_layer_kind(work, layer, user)?));
        let layer = layer.map_err(|error| match error {
            BaseError::NoRoom { .. } => RunError::NoRoom(error.to_string()),
            BaseError::Lock(error) => failed(error.to_string()),
        })?;
        must_be_accessible(work, &layer, user).map_err(RunError::User)?;
        let sources = Sources {
            directories: work.conf.file_sources.clone(),
            user: fetches_as.or_else(|| ids.on_disk(BUILD_ID).map(|id| (id, id))),
            time: work.conf.scan_time.map(Duration::from_secs),
            ..Sources::default()
        };
        Ok(Self { user, layer, digest, sources })
    }

    /// Returns the base with its digest.
    pub fn with_digest(&self) -> (&BaseLayer, Digest) {
        (&self.layer, self.digest)
    }
}
