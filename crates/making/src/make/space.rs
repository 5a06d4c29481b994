//! The space of a package on a file system, the same on every machine: files and directories are counted in units of
//! 4,096 bytes, regardless of the file system's own unit.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::lookup::FoundContent;
use super::mapping::PackageItem;

/// The allocation unit of file systems, in bytes, and in blocks of 512.
const UNIT: u64 = 4096;
const UNIT_BLOCKS: u64 = UNIT / 512;
/// The longest line of a pkgmap without its path, in bytes: two words of 64, five numbers, blanks.
const LONGEST_REST: u64 = 256;
/// The entries of every package: its directory, the pkgmap, the pkginfo, the directory of its information files.
const OWN_ENTRIES: usize = 4;

/// The space that a package takes on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackageSpace {
    /// Blocks of 512 bytes, not fewer than it needs.
    pub(super) blocks: u64,
    /// Entries as the classic pkgmk counts them.
    pub(super) entries: usize,
}

/// Counts what the items, sorted by path, and a pkginfo of `pkginfo` bytes take, and a pkgmap of all that.
pub(super) fn space(items: &[PackageItem], pkginfo: u64) -> PackageSpace {
    let line = |item: &PackageItem| item.entry.path.as_bytes().len() as u64 + LONGEST_REST;
    let pkgmap = items.iter().map(line).fold(LONGEST_REST, u64::saturating_add);
    let mut total = units(pkginfo).saturating_add(units(pkgmap));
    let mut directories = BTreeSet::from([PathBuf::new()]);
    let mut stored = Vec::new();
    for item in items {
        let (Some(source), Some(member)) = (&item.source, item.member()) else { continue };
        let units = units(size(source));
        total = total.saturating_add(units);
        stored.push((units, item));
        let member = PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(&member));
        directories.extend(member.ancestors().skip(1).map(Path::to_owned));
    }
    let blocks = total.saturating_add(directories.len() as u64).saturating_mul(UNIT_BLOCKS);
    // the classic command stores the largest file first, and those of one size in the order of the pkgmap
    stored.sort_by_key(|(units, _)| std::cmp::Reverse(*units));
    let paths = stored.iter().map(|(_, item)| item.entry.path.as_bytes());
    PackageSpace { blocks, entries: OWN_ENTRIES + stored.len() + counted_directories(paths) }
}

/// Returns the directories that the classic pkgmk counts while it stores files in this order. It looks for a directory
/// that is not there yet, and takes one that differs from any known one for known: so nearly none but those of the first
/// file count, and the only one counts again for each file in it. People compare the number, so it is that number.
fn counted_directories<'a>(files: impl Iterator<Item = &'a [u8]>) -> usize {
    let mut known: BTreeSet<&[u8]> = BTreeSet::new();
    let mut count = 0;
    for file in files {
        let above = file.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
        let above: Vec<&[u8]> = above.filter_map(|(slash, _)| file.get(..slash)).collect();
        count += above.iter().filter(|path| known.iter().all(|other| other == *path)).count();
        known.extend(above);
    }
    count
}

fn units(size: u64) -> u64 {
    size.div_ceil(UNIT)
}

fn size(source: &FoundContent) -> u64 {
    match source {
        FoundContent::File(path) => std::fs::metadata(path).map_or(0, |found| found.len()),
        FoundContent::Empty => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_count_as_in_the_classic_pkgmk() {
        let count = |files: &[&str]| counted_directories(files.iter().map(|file| file.as_bytes()));
        assert_eq!(count(&["checkinstall", "a"]), 0);
        assert_eq!(count(&["bin/stux", "share/shared"]), 1);
        assert_eq!(count(&["share/data", "share/shr"]), 2, "the only one counts for each of its files");
        assert_eq!(count(&["a/b/c", "a/b/d", "x/y"]), 2);
        assert_eq!(count(&["/etc/x", "/usr/bin/x"]), 1);
    }
}
