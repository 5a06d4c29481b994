//! The lock of the actions that write below the directory of a bulk build, and how long it is waited for.

use crate::ends::work_failed;
use patchadm_building::work::Work;
use patchadm_cli::call::Invocation;
use patchadm_cli::surroundings::caller::LockWait;
use patchadm_rootfs::Lock;

/// The option of the actions that write below the directory of a bulk build.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct WaitOption {
    /// Wait this many seconds for another command to finish
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

impl WaitOption {
    /// Takes the lock of a directory, once no other command has it.
    pub(crate) fn lock(&self, call: &Invocation, work: &Work) -> anyhow::Result<Lock> {
        let wait = self.begin(call);
        Ok(work.lock(|holder| wait.goes_on(holder)).map_err(|error| work_failed(&error))?)
    }

    /// Begins to wait for a lock.
    pub(crate) fn begin<'a>(&self, call: &'a Invocation) -> LockWait<'a> {
        LockWait::begin(&call.surroundings, call.name, self.wait.unwrap_or_default())
    }
}
