//! Whether a file system is full.

use std::path::Path;

/// The free bytes below which a file system counts as full: a program that found no space may have removed what it began.
const LEAST: u64 = 4 << 20;

/// Tells whether the file system of a directory has no space left for an ordinary user. One that does not tell its size is
/// not full.
pub(crate) fn is_full(directory: &Path) -> bool {
    let Ok(seen) = rustix::fs::statvfs(directory) else { return false };
    let has_no_bytes = seen.f_blocks > 0 && seen.f_bavail.saturating_mul(seen.f_frsize) < LEAST;
    has_no_bytes || seen.f_files > 0 && seen.f_favail == 0
}
