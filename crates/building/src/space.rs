//! Full file systems and memory, and the reserve that every writer leaves.
//!
//! Builds leave the largest reserve. A run and its tasks leave half of it, so that builds give way before the results of
//! others are refused; the rest is for the journal and the report of a run that ends for lack of space.

use std::borrow::Borrow;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use patchadm_rootfs::{Dir, RootError};

/// The free space below which a file system counts as full. A program that found none may have removed its files
/// already.
const LEAST: u64 = 4 << 20;

/// Returns true if a file system has no space left for an ordinary user, or if a failed command may have had no quota.
pub(crate) fn is_full_or_over_quota(directory: &Path) -> bool {
    is_full(directory) || Dir::of_host(directory).is_ok_and(|dir| !can_hold(&dir, LEAST))
}

/// Returns true if a file system has no space left for an ordinary user. If its size is unknown, it is not full.
pub(crate) fn is_full(directory: &Path) -> bool {
    let Ok(seen) = rustix::fs::statvfs(directory) else { return false };
    let has_no_bytes = seen.f_blocks > 0 && seen.f_bavail.saturating_mul(seen.f_frsize) < LEAST;
    has_no_bytes || seen.f_files > 0 && seen.f_favail == 0
}

/// The free space of a file system that is watched closely if less is left: a twentieth of it, and at least this.
const LEAST_SCARCE: u64 = 256 << 20;

/// The free space that no build may take: a fiftieth of the file system, but at most this.
const LARGEST_RESERVE: u64 = 512 << 20;

/// The same for inodes: one for each block of that space.
const LARGEST_INODE_RESERVE: u64 = LARGEST_RESERVE / 4096;

/// The space of a file system that an ordinary user can still write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WritableSpace {
    pub(crate) bytes: u64,
    pub(crate) total: u64,
    pub(crate) inodes: u64,
    /// 0 if the file system makes them as needed.
    pub(crate) all_inodes: u64,
}

impl WritableSpace {
    /// Returns the space of the file system of a directory; `None` if it is unknown.
    pub(crate) fn of(directory: &Path) -> Option<Self> {
        Self::in_answer(&rustix::fs::statvfs(directory).ok()?)
    }

    fn in_answer(seen: &rustix::fs::StatVfs) -> Option<Self> {
        let bytes = |blocks: u64| blocks.saturating_mul(seen.f_frsize);
        (seen.f_blocks > 0).then(|| Self {
            bytes: bytes(seen.f_bavail),
            total: bytes(seen.f_blocks),
            inodes: seen.f_favail,
            all_inodes: seen.f_files,
        })
    }

    /// Returns the same for directories of one task, which are on one file system.
    pub(crate) fn of_all(directories: &[PathBuf]) -> Option<Self> {
        Self::of(directories.first()?)
    }

    /// Returns true if so little is left that a build could take it before the next regular look.
    pub(crate) fn is_scarce(self) -> bool {
        self.bytes < LEAST_SCARCE.max(self.total / 20) || self.inodes < self.all_inodes / 20
    }

    /// Returns true if so little is left that a build has to give way before the file system is full.
    pub(crate) fn is_below_reserve(self) -> bool {
        self.bytes < (self.total / 50).clamp(LEAST, LARGEST_RESERVE)
            || self.inodes < (self.all_inodes / 50).min(LARGEST_INODE_RESERVE)
    }

    /// Returns the free space that a run and its tasks leave.
    fn reserve_of_run(self) -> u64 {
        (self.total / 100).clamp(LEAST, LARGEST_RESERVE / 2)
    }

    fn inode_reserve_of_run(self) -> u64 {
        (self.all_inodes / 100).min(LARGEST_INODE_RESERVE / 2)
    }

    /// Returns what is missing to write this many bytes and objects: its unit, the free and the wanted number.
    pub(crate) fn missing_for(self, bytes: u64, objects: u64) -> Option<(&'static str, u64, u64)> {
        let wanted = bytes.saturating_add(self.reserve_of_run());
        if self.bytes < wanted {
            return Some(("bytes", self.bytes, wanted));
        }
        let wanted = self.inode_reserve_of_run().saturating_add(objects);
        (self.all_inodes > 0 && self.inodes < wanted).then_some(("inodes", self.inodes, wanted))
    }
}

/// The free memory of a machine that no build may take: a fiftieth of all, but at most this.
const LARGEST_MEMORY_RESERVE: u64 = 256 << 20;

/// The memory of a machine, swap included, that is free or can be freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FreeMemory {
    pub(crate) bytes: u64,
    /// Without swap.
    pub(crate) total: u64,
}

impl FreeMemory {
    /// Returns `None` if it is unknown.
    pub(crate) fn of_machine() -> Option<Self> {
        Self::in_text(&std::fs::read_to_string("/proc/meminfo").ok()?)
    }

    fn in_text(text: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
        };
        let swap = bytes("SwapFree:").unwrap_or_default();
        Some(Self { bytes: bytes("MemAvailable:")?.saturating_add(swap), total: bytes("MemTotal:")? })
    }

    fn reserve(self) -> u64 {
        (self.total / 50).min(LARGEST_MEMORY_RESERVE)
    }

    /// Returns true if so little is left that a build could take it before the next look.
    pub(crate) fn is_scarce(self) -> bool {
        self.bytes < self.reserve().saturating_mul(2)
    }

    /// Returns true if so little is left that a build has to give way before the kernel ends processes.
    pub(crate) fn is_below_reserve(self) -> bool {
        self.bytes < self.reserve()
    }
}

/// Fails if writing a file of this many bytes into a directory would take the reserve of its file system. Unknown
/// space is enough.
pub(crate) fn must_have_room(dir: &Dir, bytes: u64) -> Result<(), RootError> {
    let seen = rustix::fs::fstatvfs(dir.as_fd()).ok();
    let free = seen.as_ref().and_then(WritableSpace::in_answer);
    let Some((unit, free, wanted)) = free.and_then(|free| free.missing_for(bytes, 1)) else { return Ok(()) };
    let shown = dir.root().show(dir.path());
    let directory = shown.strip_suffix('/').filter(|shown| !shown.is_empty()).unwrap_or(&shown).to_owned();
    Err(RootError::NoRoom { directory, unit, free, wanted })
}

/// Returns false if there is no space, or no quota, for a file of this size in a directory.
pub(crate) fn can_hold(dir: &Dir, bytes: u64) -> bool {
    let made = dir.create_private("space").and_then(|(name, file)| {
        // Without a name, nothing is left of it if this process is killed.
        dir.remove(&name)?;
        file.reserve(bytes)
    });
    !made.is_err_and(|error| error.is_no_space())
}

/// The bytes that are written between two looks at the free space.
const BETWEEN_LOOKS: u64 = LEAST / 4;

/// Looks at the reserve before something is written, and again and again while it is.
#[derive(Debug)]
pub(crate) struct RoomWatch<D> {
    dir: D,
    unseen: u64,
}

impl<D: Borrow<Dir>> RoomWatch<D> {
    /// Begins to write this many bytes into a directory.
    pub(crate) fn begin(dir: D, bytes: u64) -> Result<Self, RootError> {
        must_have_room(dir.borrow(), bytes)?;
        Ok(Self { dir, unseen: 0 })
    }

    /// Is called before each part is written.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), RootError> {
        self.unseen = self.unseen.saturating_add(bytes.len() as u64);
        if self.unseen >= BETWEEN_LOOKS {
            must_have_room(self.dir.borrow(), bytes.len() as u64)?;
            self.unseen = 0;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_is_a_part_of_the_file_system_and_half_a_gibibyte_at_most() {
        const MIB: u64 = 1 << 20;
        let free = |bytes, total| WritableSpace {
            bytes: bytes * MIB,
            total: total * MIB,
            ..WritableSpace::default()
        };
        for (reserve, total) in [(4, 64), (20, 1_000), (512, 1 << 20)] {
            assert!(!free(reserve, total).is_below_reserve(), "{total}");
            let below = free(reserve - 1, total);
            assert!(below.is_below_reserve() && below.is_scarce(), "{total}");
        }
    }

    #[test]
    fn inodes_have_a_reserve_as_bytes_have_unless_they_are_made_as_needed() {
        let free = |inodes, all_inodes| WritableSpace { bytes: 1 << 40, total: 1 << 40, inodes, all_inodes };
        assert!(!free(5_000, 100_000).is_scarce());
        assert!(free(4_999, 100_000).is_scarce() && !free(4_999, 100_000).is_below_reserve());
        assert!(!free(2_000, 100_000).is_below_reserve() && free(1_999, 100_000).is_below_reserve());
        assert_eq!(free(1_001, 100_000).missing_for(1, 1), None);
        assert_eq!(free(1_001, 100_000).missing_for(1, 2), Some(("inodes", 1_001, 1_002)));
        assert_eq!(free(1_000, 100_000).missing_for(1, 1), Some(("inodes", 1_000, 1_001)));
        assert_eq!(free(0, 40).missing_for(0, 1), Some(("inodes", 0, 1)));
        assert!(!free(LARGEST_INODE_RESERVE, 1 << 40).is_below_reserve());
        let unlimited = free(0, 0);
        assert!(!unlimited.is_scarce() && !unlimited.is_below_reserve());
        assert_eq!(unlimited.missing_for(1, u64::MAX), None);
    }

    #[test]
    fn memory_has_a_reserve_and_free_swap_counts() {
        let text = "MemTotal:        1000000 kB\nMemFree:            1000 kB\nMemAvailable:      39000 kB\n\
            SwapTotal:         50000 kB\nSwapFree:           2000 kB\n";
        let free = FreeMemory::in_text(text).unwrap();
        assert_eq!(free, FreeMemory { bytes: 41_000 << 10, total: 1_000_000 << 10 });
        let with = |kib: u64| FreeMemory { bytes: kib << 10, ..free };
        assert!(!free.is_scarce() && with(39_999).is_scarce() && !with(20_000).is_below_reserve());
        assert!(with(19_999).is_below_reserve());
        let large = FreeMemory { bytes: LARGEST_MEMORY_RESERVE, total: 1 << 40 };
        assert!(large.is_scarce() && !large.is_below_reserve());
        assert_eq!(FreeMemory::in_text("MemTotal: 1000000 kB\nMemFree: 1000 kB\n"), None);
        assert!(FreeMemory::of_machine().is_some());
    }

    #[test]
    fn a_run_leaves_less_than_builds_do_and_says_how_much_is_free_and_wanted() {
        for total in [64_u64 << 20, 1_000 << 20, 1 << 40] {
            let free = |bytes| WritableSpace { bytes, total, ..WritableSpace::default() };
            let of_run = free(0).reserve_of_run();
            assert!((LEAST..=LARGEST_RESERVE / 2).contains(&of_run));
            assert!(!free(LARGEST_RESERVE.max(of_run)).is_below_reserve());
            assert!(of_run == LEAST || free(of_run).is_below_reserve(), "{total}");
        }
        let dir = tempfile::tempdir().unwrap();
        let place = Dir::of_host(dir.path()).unwrap();
        let refused = must_have_room(&place, u64::MAX / 2).unwrap_err();
        assert!(refused.is_no_space());
        let said = refused.to_string();
        let begin = format!("{} has ", dir.path().display());
        assert!(said.contains(&begin) && said.contains(" bytes free, but "), "{said}");
        assert!(RoomWatch::begin(&place, u64::MAX / 2).is_err());
        assert!(can_hold(&place, 1 << 10));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
