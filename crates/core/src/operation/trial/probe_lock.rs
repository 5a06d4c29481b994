//! The lock that a command holds while its probe decides on a run. Other changes wait for it, as for that of a root.

use patchadm_rootfs::{Dir, Lock, LockError, Root, RootError};
use patchadm_svr4::places;

/// Locks the record while the probe runs: other commands wait for that, but not for a trial.
pub(super) fn lock_record(root: &Root) -> Result<Option<Lock>, LockError> {
    let Some(directory) = directory_of_trial(root)? else { return Ok(None) };
    Lock::share_file(&directory, places::trial_record().name()).map(Some)
}

/// True while the probe of a process that still lives decides on a run.
pub(super) fn is_probed(root: &Root) -> Result<bool, RootError> {
    let Some(directory) = directory_of_trial(root)? else { return Ok(false) };
    Lock::is_file_held(&directory, places::trial_record().name())
}

fn directory_of_trial(root: &Root) -> Result<Option<Dir>, RootError> {
    root.dir_if_there(&root.resolver().locate_dir(&places::trial())?)
}
