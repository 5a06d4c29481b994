//! Preconditions of actions: the lock of the working directory, and the `patchadm` in sandboxes.

use std::path::PathBuf;

use patchadm_building::work::BulkWork;
use patchadm_cli::arguments::verbs::{self, RootlessOptions};
use patchadm_cli::call::Invocation;
use patchadm_cli::program::sibling::{NotRun, find_operators_program};
use patchadm_cli::reply::Stop;
use patchadm_cli::surroundings::caller::LockWait;
use patchadm_rootfs::Lock;

use crate::ends::work_failed;

/// The working directory of an action, with the options of all actions.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WorkOperand {
    #[command(flatten)]
    _common: RootlessOptions,
    /// The directory of the bulk build
    #[arg(value_name = "WORK")]
    work: PathBuf,
}

impl WorkOperand {
    pub(crate) fn open(&self) -> Result<BulkWork, Stop> {
        BulkWork::open(&self.work).map_err(|error| work_failed(&error))
    }
}

/// The option of the actions that write below the directory of a bulk build.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct LockOption {
    #[command(flatten)]
    wait: verbs::WaitOption,
}

impl LockOption {
    pub(crate) fn lock(&self, call: &Invocation, work: &BulkWork) -> anyhow::Result<Lock> {
        let wait = self.begin(call);
        Ok(work.lock(|holder| wait.goes_on(holder)).map_err(|error| work_failed(&error))?)
    }

    pub(crate) fn begin<'a>(&self, call: &'a Invocation) -> LockWait<'a> {
        LockWait::begin(&call.surroundings, call.name, self.wait.seconds.unwrap_or_default())
    }
}

/// Finds the `patchadm` beside this program, which must have the same version.
pub(crate) fn find_installer(call: &Invocation) -> Result<PathBuf, NotRun> {
    find_operators_program(call.surroundings.binary.as_deref(), call.of.name)
}

pub(crate) fn must_have_installer(call: &Invocation) -> Result<(), Stop> {
    Ok(find_installer(call).map(drop)?)
}
