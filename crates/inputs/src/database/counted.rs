//! The number of times that the packages of each root were read: in debug builds only, for the test that a plan reads
//! them once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use patchadm_rootfs::Root;

static READS: Mutex<BTreeMap<PathBuf, u64>> = Mutex::new(BTreeMap::new());

pub(super) fn note(root: &Root) {
    let mut reads = READS.lock().unwrap_or_else(PoisonError::into_inner);
    *reads.entry(root.prefix().to_owned()).or_default() += 1;
}

/// Returns how often this process has read all packages of the root with this prefix so far.
pub fn package_reads(prefix: &Path) -> u64 {
    let reads = READS.lock().unwrap_or_else(PoisonError::into_inner);
    reads.get(prefix).copied().unwrap_or(0)
}
