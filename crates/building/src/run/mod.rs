//! A run: requested packages built in the order that takes the least time, continued after an interruption.
//!
//! `perform` is the sequence of a run or dry run, `master` its loop over tasks, `ending` the end of tasks.

mod decision;
mod driver_fetch;
mod ending;
mod entering;
mod fetch_queue;
mod journal;
mod master;
mod perform;
mod probing;
mod slot_command;
mod status;
mod why;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use patchadm_bulk_values::journal::{BuildState, PackageOutcome};
use patchadm_bulk_values::records::Records;
use patchadm_bulk_values::report::{
    LeftoverReport, MachineReport, PackageRemarks, ReportedPackage, RunReport,
};
use patchadm_bulk_values::resolve::{DependencyResolution, UnknownName, blockers, waits_for};
use patchadm_bulk_values::result::Blake3Digest;
use patchadm_making::build::BuildRequest;
use patchadm_rootfs::{Interrupt, RootError};
use patchadm_svr4::patch::PatchId;
use serde_json::Value;

use crate::base::{BaseLayer, BuildBaseError, base_digest, base_layer, build_user, fetching_user};
use crate::driver::{Driver, DriverError};
use crate::ids::{BUILD_ID, SandboxIds};
use crate::patches::{MadePatches, MakePatchesError};
use crate::pool::PoolEntry;
use crate::report_files::RenderPage;
use crate::runs::{UnreadJournal, journal_path};
use crate::sandbox::BuildUser;
use crate::scan::TreeScanError;
use crate::set::SetError;
use crate::sources::Sources;
use crate::task::{must_be_accessible, with_layer_kind};
use crate::work::{BulkWork, WorkError};

pub use entering::{EnterBuildRequest, EnterPackageError, enter, enter_failed};
pub use master::{LONGEST_OVERTIME, TASK_PROCESS};
pub use perform::{has_changed, plan_run, run};
pub use status::{InterruptedRun, RunStatus, RunningPackage, read_status};
pub use why::{NeededPackage, PackageReasons, why};

pub struct RunRequest<'a> {
    pub work: &'a BulkWork,
    pub driver: &'a Driver,
    pub base: (&'a BaseLayer, Blake3Digest),
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
    fn operands(&self) -> Vec<String> {
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
pub enum BulkRunEvent<'a> {
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

type Tell<'t> = &'t mut dyn FnMut(BulkRunEvent<'_>);

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
    Scan(#[from] TreeScanError),
    #[error(transparent)]
    Unknown(#[from] UnknownName),
    #[error("{path}: {error}; nothing was built, and `bulk run --new` starts another run")]
    Journal { path: String, error: UnreadJournal },
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Set(#[from] SetError),
    #[error("no slot is usable, and nothing was started:\n{0}")]
    NoSlot(String),
    #[error("sandboxes are not allowed on any slot, and nothing was started:\n{0}")]
    NotAllowed(String),
    #[error("{0}: the run was stopped, and its results are kept; free space and run it again to continue")]
    Full(String),
}

impl RunError {
    fn damaged_journal(work: &BulkWork, run: u64, error: UnreadJournal) -> Self {
        Self::Journal { path: journal_path(work, run).display().to_string(), error }
    }
}

#[derive(Clone, Debug)]
pub struct RunBase {
    pub user: BuildUser,
    pub layer: BaseLayer,
    pub digest: Blake3Digest,
    pub sources: Sources,
}

impl RunBase {
    /// Lays out the base and digests the state of all its objects, until a signal comes.
    pub fn prepare(work: &BulkWork, interrupt: Interrupt<'_>) -> Result<Self, RunError> {
        let user = build_user(&work.conf);
        let fetches_as = fetching_user(&work.conf).map_err(RunError::User)?;
        let ids = SandboxIds::of_caller(&work.conf).map_err(RunError::User)?;
        // Before the digest, which takes a while: nobody else may make it meanwhile.
        work.make_build_dir()?;
        let failed = |reason: String| {
            let is_interrupted = |signal| RunError::Scan(TreeScanError::Interrupted(signal));
            interrupt().map_or(RunError::Base(reason), is_interrupted)
        };
        let digest = base_digest(&work.conf, interrupt).map_err(failed)?;
        let layer = base_layer(&work.conf, (ids, user), &digest.to_string(), interrupt)
            .and_then(|layer| Ok(with_layer_kind(work, layer, user)?));
        let layer = layer.map_err(|error| match error {
            BuildBaseError::NoRoom { .. } => RunError::NoRoom(error.to_string()),
            BuildBaseError::Lock(error) => failed(error.to_string()),
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

    pub fn with_digest(&self) -> (&BaseLayer, Blake3Digest) {
        (&self.layer, self.digest)
    }
}

#[derive(Debug)]
pub struct BulkRunOutcome {
    pub records: Records,
    pub resolution: DependencyResolution,
    pub ended: EndedRun,
    /// True if all packages were requested.
    pub is_whole: bool,
}

#[derive(Debug)]
pub struct EndedRun {
    pub outcomes: BTreeMap<u32, PackageOutcome>,
    pub entries: HashMap<u32, PoolEntry>,
    pub report: RunReport,
    pub interrupted: Option<i32>,
    /// Why tasks were deferred if no slot could run them.
    pub trouble: Option<String>,
    /// True if all patches were made, pass together, and were published as configured.
    pub are_patches_whole: bool,
    pub patches_error: Option<MakePatchesError>,
    /// True if the report was delivered to every configured place.
    pub is_handed_on: bool,
}

/// Sets states and causes of packages not built because of others.
fn set_indirect(
    records: &Records,
    resolution: &DependencyResolution,
    outcomes: &mut BTreeMap<u32, PackageOutcome>,
) {
    let in_state = |state: BuildState| -> BTreeSet<u32> {
        let found = outcomes.iter().filter(|(_, outcome)| outcome.state == state);
        found.map(|(index, _)| *index).collect()
    };
    let (failed, prefailed) = (in_state(BuildState::Failed), in_state(BuildState::Prefailed));
    let is_cause = |index: u32| failed.contains(&index) || prefailed.contains(&index);
    let causes: Vec<bool> = resolution.graph().indices().map(is_cause).collect();
    let wait_for_failed = waits_for(resolution.graph(), &causes, &|index| failed.contains(&index));
    let causes = blockers(resolution.graph(), &causes);
    for (index, outcome) in outcomes.iter_mut() {
        let is_open = matches!(
            outcome.state,
            BuildState::Open | BuildState::IndirectFailed | BuildState::IndirectPrefailed
        );
        let Some(blockers) = causes.get(*index as usize).filter(|causes| is_open && !causes.is_empty())
        else {
            continue;
        };
        outcome.state = if wait_for_failed.get(*index as usize) == Some(&true) {
            BuildState::IndirectFailed
        } else {
            BuildState::IndirectPrefailed
        };
        outcome.because = blockers.named.iter().map(|cause| records.name_of(*cause)).collect();
        outcome.because.sort();
        outcome.more_causes = blockers.more();
    }
}

struct ReportFacts {
    run: u64,
    work: String,
    conf: Blake3Digest,
    began: String,
    ended: String,
    is_continued: bool,
    machines: Vec<MachineReport>,
    /// Changed inputs of failed packages since their last success.
    suspects: HashMap<u32, Vec<String>>,
    not_reproducible: Vec<String>,
}

fn report_of(
    facts: ReportFacts,
    records: &Records,
    outcomes: &BTreeMap<u32, PackageOutcome>,
    entries: &HashMap<u32, PoolEntry>,
) -> RunReport {
    let mut packages = Vec::new();
    for (index, outcome) in outcomes {
        let Some(record) = records.get(*index) else { continue };
        let has_log = matches!(outcome.state, BuildState::Done | BuildState::Failed);
        let log_run = outcome.run.unwrap_or(facts.run);
        packages.push(ReportedPackage {
            package: record.pkgname().to_string(),
            location: record.location().to_string(),
            state: outcome.state,
            cause: outcome.cause,
            phase: outcome.phase.clone(),
            detail: outcome.detail.clone(),
            fault: outcome.fault,
            because: outcome.because.clone(),
            more_causes: outcome.more_causes,
            breaks: 0,
            breaks_alone: 0,
            key: outcome.key,
            run: outcome.run,
            slot: outcome.slot.clone(),
            tries: outcome.tries,
            ms: outcome.ms,
            cpu_ms: outcome.cpu_ms,
            peak_memory: outcome.peak_memory,
            log: has_log.then(|| log_path(facts.run, log_run, record.pkgname().as_str())),
            maintainer: Some(record.maintainer().to_owned()).filter(|maintainer| !maintainer.is_empty()),
            suspects: facts.suspects.get(index).cloned().unwrap_or_default(),
        });
    }
    packages.sort_by(|one, other| one.package.cmp(&other.package));
    let leftovers = outcomes.keys().filter_map(|index| {
        let entry = entries.get(index).filter(|entry| !entry.result.leftovers.is_empty())?;
        Some(LeftoverReport { package: entry.result.pkgname.clone(), paths: entry.result.leftovers.clone() })
    });
    let remarks = outcomes.keys().filter_map(|index| {
        let entry = entries.get(index).filter(|entry| !entry.result.remarks.is_empty())?;
        let result = &entry.result;
        Some(PackageRemarks { package: result.pkgname.clone(), remarks: result.remarks.clone() })
    });
    let mut report = RunReport {
        run: facts.run,
        work: facts.work,
        conf: facts.conf,
        began: facts.began,
        ended: facts.ended,
        continued: facts.is_continued,
        counts: BTreeMap::new(),
        packages,
        set: None,
        set_refused: None,
        not_reproducible: facts.not_reproducible,
        leftovers: leftovers.collect(),
        shared_paths: Vec::new(),
        remarks: remarks.collect(),
        machines: facts.machines,
        patches: None,
        published: None,
        platform: None,
        upload: None,
    };
    report.count_breaks();
    report
}

/// Relative to the run's directory.
fn log_path(run: u64, of_run: u64, package: &str) -> String {
    if run == of_run { format!("logs/{package}.log") } else { format!("../{of_run}/logs/{package}.log") }
}
