//! Entering the sandbox of a package before its next build, or of a failed build.

use patchadm_bulk_values::result::Blake3Digest;
use patchadm_core::namespaces::EnclosureEnd;

use super::RunError;
use super::decision::{BuildDecisionInput, Foresight, OrderInput, PredictedOutcome, task_order};
use super::journal::known_runs;
use crate::base::BaseLayer;
use crate::driver::Driver;
use crate::pool::{FoundResult, Pool, PoolEntry};
use crate::sandbox::BuildUser;
use crate::task::entering::{EnterSandboxError, EnteredTask, EnteringCommand, enter_sandbox};
use crate::task::failed;
use crate::tree::ResolvedTree;
use crate::work::BulkWork;

const SLOT: &str = "local";

pub struct EnterBuildRequest<'a> {
    pub work: &'a BulkWork,
    pub driver: &'a Driver,
    pub base: (&'a BaseLayer, Blake3Digest),
    pub user: BuildUser,
    pub tree: &'a ResolvedTree,
    pub package: u32,
    /// Use the host's network regardless of the configuration.
    pub has_network: bool,
    pub cores: u32,
    /// RFC 3339.
    pub time: String,
}

#[derive(Debug, thiserror::Error)]
pub enum EnterPackageError {
    #[error(transparent)]
    Run(#[from] RunError),
    /// It cannot be built, or a dependency has no result.
    #[error("the sandbox of {package} cannot be made: {reason}")]
    NotReady { package: String, reason: String },
    #[error(transparent)]
    Sandbox(#[from] EnterSandboxError),
}

impl From<patchadm_rootfs::RootError> for EnterPackageError {
    fn from(error: patchadm_rootfs::RootError) -> Self {
        Self::Run(error.into())
    }
}

/// Runs a command in a package's sandbox, before its build. For a dedicated process.
pub fn enter(
    request: &EnterBuildRequest<'_>,
    command: EnteringCommand<'_>,
) -> Result<EnclosureEnd, EnterPackageError> {
    let (work, tree) = (request.work, request.tree);
    let known = known_runs(work, false)?;
    let pool = Pool::open(&work.conf.pool)?;
    let package = tree.pkgname(request.package);
    let not_ready = |reason: String| EnterPackageError::NotReady { package: package.clone(), reason };
    // Rebuilt in any case, as somebody who enters will do.
    let rebuild = [package.clone()];
    let input = BuildDecisionInput {
        conf: &work.conf,
        records: &tree.records,
        resolution: &tree.resolution,
        pool: &pool,
        known: &known,
        rebuild: &rebuild,
        retries: true,
    };
    let with_needs = tree.resolution.graph().with_needs(&[request.package]);
    let mut foresight = Foresight::of(input, (request.driver, request.base.1), with_needs.into_iter())?;
    let install = tree.resolution.to_install(request.package);
    if let Some(need) = install.iter().find(|need| !foresight.results.contains_key(need)) {
        let need = tree.pkgname(*need);
        return Err(not_ready(format!("{need} has no result; `patchadm bulk run` of {need} makes one")));
    }
    let why = foresight.why(request.package)?;
    let Some(PredictedOutcome::Task(task)) = foresight.fates.remove(&request.package) else {
        return Err(not_ready(why));
    };
    let order = OrderInput {
        work,
        base: request.base.1,
        records: &tree.records,
        resolution: &tree.resolution,
        results: &foresight.results,
        run: known.greatest,
        slot: SLOT,
        jobs: work.conf.cores.unwrap_or(request.cores).max(1),
        time: request.time.clone(),
        began: &request.time,
        previous: None,
        is_local: false,
    };
    let mut order = task_order(&order, request.package, (task.key, task.inputs), task.limits, false);
    order.has_network |= request.has_network;
    let install: Vec<PoolEntry> =
        install.iter().filter_map(|need| foresight.results.get(need).cloned()).collect();
    let entered = EnteredTask {
        work,
        driver: request.driver,
        user: request.user,
        pool: &pool,
        order: &order,
        install: &install,
        kept: None,
    };
    Ok(enter_sandbox(entered, command)?)
}

/// Runs a command in the sandbox of a failed build, just as the build left it. For a dedicated process.
pub fn enter_failed(
    (work, driver, user): (&BulkWork, &Driver, BuildUser),
    (name, has_network): (&str, bool),
    command: EnteringCommand<'_>,
) -> Result<EnclosureEnd, EnterPackageError> {
    let machine = |error: &dyn std::error::Error| EnterSandboxError::Machine(error.to_string());
    work.make_build_dir().map_err(RunError::from)?;
    let found = failed::find((&work.conf.build_dir, &work.id), name).map_err(|error| machine(&error))?;
    let (place, build) = found.map_err(|others| {
        let advice = match (others.is_empty(), work.conf.keep_failed) {
            (true, 0) => "set keep_failed in bulk.conf, and build it again with --retry".to_owned(),
            (true, _) => "nothing else is kept either".to_owned(),
            (false, _) => format!("kept are {}", others.join(", ")),
        };
        EnterSandboxError::NothingKept(format!("no failed build of {name} is kept on this machine; {advice}"))
    })?;
    let pool = Pool::open(&work.conf.pool)?;
    let mut install = Vec::new();
    for (need, key) in &build.order.install {
        let FoundResult::Result(entry) = pool.find(key)? else {
            let reason = format!("the result of {need} that it was built with is missing");
            return Err(EnterPackageError::NotReady { package: build.order.package.clone(), reason });
        };
        install.push(*entry);
    }
    let mut order = build.order;
    order.has_network |= has_network;
    let kept = Some((place, &build.failure));
    let entered = EnteredTask { work, driver, user, pool: &pool, order: &order, install: &install, kept };
    Ok(enter_sandbox(entered, command)?)
}
