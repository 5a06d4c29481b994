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

pub struct RunRequest<'a> {
    pub work: &'a Work,
    pub driver: &'a Driver,
    pub base: (&'a BaseLayer, Digest),
    pub user: BuildUser,
    /// Empty for all.
    pub names: &'a [String],
    /// True for all configured packages: the run may have a set.
    pub is_whole: bool,
    /// Retry failures of earlier runs.
    pub retries: bool,
    /// Packages to build even if there are results.
    pub rebuild: &'a [String],
    /// Abandon an interrupted run.
    pub is_new: bool,
    /// Start nothing more after a failure.
    pub stops_on_failure: bool,
    /// Make a set from a run of all packages.
    pub makes_set: bool,
    pub patches: Option<&'a RunPatches<'a>>,
    pub jobs: Option<u32>,
    pub cores: u32,
    pub program: &'a Path,
    pub sources: &'a Sources,
    /// Time beyond the limit before a task's command is ended.
    pub overtime: Duration,
    pub page: RenderPage<'a>,
    /// RFC 3339.
    pub time: &'a (dyn Fn() -> String + Sync),
    /// Nanoseconds since 1970.
    pub now: i64,
    /// Returns the signal to stop.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// True after a second signal, which ends all tasks.
    pub is_urgent: &'a (dyn Fn() -> bool + Sync),
}

impl RunRequest<'_> {
    pub(super) fn operands(&self) -> Vec<String> {
        let mut operands = self.names.to_vec();
        operands.sort();
        operands
    }
}

pub struct RunPatches<'a> {
    pub patch: &'a (dyn Fn(PatchId) -> BuildRequest + Sync),
    pub syntax: fn(&[u8]) -> Result<(), String>,
    /// Publishes patches that pass together; returns the document, or why it failed.
    pub publish: &'a dyn Fn(&MadePatches) -> Result<Option<Value>, String>,
}

#[derive(Debug)]
pub enum RunEvent<'a> {
    Begins {
        run: u64,
        is_continued: bool,
        packages: usize,
    },
    Starts {
        package: &'a str,
        slot: &'a str,
    },
    Phase {
        package: &'a str,
        phase: &'a str,
    },
    /// Its machine failed or the run ends; the package may be built later.
    PutBack {
        package: &'a str,
    },
    Ends {
        package: &'a str,
        outcome: &'a PackageOutcome,
    },
    Note(&'a str),
}

pub(super) type Tell<'t> = &'t mut dyn FnMut(RunEvent<'_>);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("{0}")]
    Base(String),
    /// There is no space for a copy of the base.
    #[error("{0}")]
    NoRoom(String),
    /// The user that builds.
    #[error("{0}")]
    User(String),
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    #[error("{path}: {error}; nothing was built, and `bulk run --new` begins another run")]
    Journal { path: String, error: UnreadJournal },
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Set(#[from] SetError),
    #[error("no slot can work, and nothing was started:\n{0}")]
    NoSlot(String),
    #[error("sandboxes are not allowed on any slot, and nothing was started:\n{0}")]
    NotAllowed(String),
    #[error("{0}: the run was stopped, and its results are kept; free space and run it again to continue")]
    Full(String),
}

impl RunError {
    pub(super) fn damaged_journal(work: &Work, run: u64, error: UnreadJournal) -> Self {
        Self::Journal { path: journal_path(work, run).display().to_string(), error }
    }
}

#[derive(Clone, Debug)]
pub struct RunBase {
    pub user: BuildUser,
    pub layer: BaseLayer,
    pub digest: Digest,
    pub sources: Sources,
}

impl RunBase {
    /// Lays out the base and digests the state of all its objects, until a signal comes.
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

    pub fn with_digest(&self) -> (&BaseLayer, Digest) {
        (&self.layer, self.digest)
    }
}
