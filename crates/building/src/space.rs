//! Full file systems, and signals between tasks that found one.

use std::path::{Path, PathBuf};

use patchadm_rootfs::{Dir, RootError, Timestamp, random};
use patchadm_svr4::package::Mode;

use crate::work::{PROGRAM, build_directory};

/// Less free space counts as full. A program that found none may have removed its files already.
const LEAST: u64 = 4 << 20;

/// Touched in `build_dir` by every task that found no space.
const FULL: &[u8] = b"tasks.full";

/// True without space for an ordinary user. An unknown size is not full.
pub(crate) fn is_full(directory: &Path) -> bool {
    let Ok(seen) = rustix::fs::statvfs(directory) else { return false };
    let has_no_bytes = seen.f_blocks > 0 && seen.f_bavail.saturating_mul(seen.f_frsize) < LEAST;
    has_no_bytes || seen.f_files > 0 && seen.f_favail == 0
}

/// Less free space is scarce, and so is less than a twentieth of the file system.
const LEAST_SCARCE: u64 = 256 << 20;

/// Free space that no build may take: a fiftieth of the file system, but at most this.
const LARGEST_RESERVE: u64 = 512 << 20;

/// Space that an ordinary user can still write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreeSpace {
    pub(crate) bytes: u64,
    pub(crate) total: u64,
}

impl FreeSpace {
    /// `None` if unknown.
    pub(crate) fn of(directory: &Path) -> Option<Self> {
        let seen = rustix::fs::statvfs(directory).ok().filter(|seen| seen.f_blocks > 0)?;
        let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
        Some(Self { bytes: bytes(seen.f_bavail), total: bytes(seen.f_blocks) })
    }

    /// Like `of`, for directories of one task, which are on one file system.
    pub(crate) fn of_all(directories: &[PathBuf]) -> Option<Self> {
        Self::of(directories.first()?)
    }

    /// True if a build could take the rest before the next regular check.
    pub(crate) fn is_scarce(self) -> bool {
        self.bytes < LEAST_SCARCE.max(self.total / 20)
    }

    /// True if a build has to give way before the file system is full.
    pub(crate) fn is_below_reserve(self) -> bool {
        self.bytes < (self.total / 50).clamp(LEAST, LARGEST_RESERVE)
    }
}

/// Signals between tasks on one machine that the build directory was full: the first task to notice makes room, and
/// another one may fail for the same reason but check later.
///
/// The signal is the time of a file, which needs no free space.
#[derive(Debug)]
pub(crate) struct SpaceSigns {
    build_dir: PathBuf,
    begin: Option<Timestamp>,
}

impl SpaceSigns {
    pub(crate) fn begin(build_dir: &Path) -> Self {
        let begin = build_directory(build_dir).and_then(|dir| {
            if dir.look(FULL)?.is_none() {
                dir.replace_file(PROGRAM, FULL, b"", Mode::of(0o644))?;
            }
            last_sign(&dir)
        });
        Self { build_dir: build_dir.to_owned(), begin: begin.ok().flatten() }
    }

    /// True if a task has found no space since.
    pub(crate) fn has_sign(&self) -> bool {
        build_directory(&self.build_dir).and_then(|dir| last_sign(&dir)).is_ok_and(|last| last != self.begin)
    }

    /// Does nothing if the file is missing.
    pub(crate) fn give(&self) -> Result<(), RootError> {
        let dir = build_directory(&self.build_dir)?;
        if dir.look(FULL)?.is_some() {
            // Any time but that of another signal.
            let seconds = i64::try_from(random()? >> 34).unwrap_or_default();
            dir.set_mtime(FULL, Timestamp::whole(seconds))?;
        }
        Ok(())
    }
}

fn last_sign(dir: &Dir) -> Result<Option<Timestamp>, RootError> {
    Ok(dir.look(FULL)?.map(|seen| seen.mtime))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_a_part_of_the_file_system_and_half_a_gibibyte_at_most() {
        const MIB: u64 = 1 << 20;
        let free = |bytes, total| FreeSpace { bytes: bytes * MIB, total: total * MIB };
        for (reserve, total) in [(4, 64), (20, 1_000), (512, 1 << 20)] {
            assert!(!free(reserve, total).is_below_reserve(), "{total}");
            let below = free(reserve - 1, total);
            assert!(below.is_below_reserve() && below.is_scarce(), "{total}");
        }
    }

    #[test]
    fn a_task_learns_that_another_one_has_found_no_space_whenever_it_looks() {
        let dir = tempfile::tempdir().unwrap();
        let build_dir = dir.path().join("build");
        let (finds, fails) = (SpaceSigns::begin(&build_dir), SpaceSigns::begin(&build_dir));
        assert!(!finds.has_sign() && !fails.has_sign());
        finds.give().unwrap();
        assert!(fails.has_sign());
        // Earlier signals do not concern a task that begins now.
        let later = SpaceSigns::begin(&build_dir);
        assert!(!later.has_sign());
        fails.give().unwrap();
        assert!(later.has_sign() && finds.has_sign());
    }
}
