//! What commands have left in the directory of a bulk build that were killed: files that were being written.

use patchadm_rootfs::RootError;

use crate::work::{PROGRAM, RUNS, SCAN, Work, host_directory, numbered_directories};

/// Removes them. The caller holds the lock of the directory; what others write into its pool is locked, and stays.
pub(crate) fn remove_remains(work: &Work) -> Result<(), RootError> {
    work.dir.remove_leftovers(PROGRAM)?;
    work.directory(SCAN)?.remove_leftovers(PROGRAM)?;
    let runs = work.directory(RUNS)?;
    if let Some(last) = numbered_directories(&runs)?.last() {
        runs.dir(last.to_string().as_bytes())?.remove_leftovers(PROGRAM)?;
    }
    host_directory(&work.conf.pool)?.remove_leftovers(PROGRAM)
}
