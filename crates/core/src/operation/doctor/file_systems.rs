//! The file systems of the root: what survives a power cut, and whether an object can be told from a later one with its
//! inode number.
//!
//! The root directory, the directories in which software lies, and that of the records are looked at. A file system that is
//! mounted elsewhere in the root is not.

use super::examination::Examination;
use super::finding::Finding;
use patchadm_rootfs::{ObjectStatus, Result};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;

/// The directories that are looked at, besides that of the records.
const DIRECTORIES: [&str; 6] = ["/", "/etc", "/usr", "/opt", "/var", "/home"];

/// The types of file systems that write changes of names in an order that survives a power cut.
const ORDERED: [&str; 12] =
    ["ext3", "ext4", "xfs", "btrfs", "zfs", "jfs", "f2fs", "bcachefs", "reiserfs", "nilfs2", "ubifs", "gfs2"];

/// The types that do not.
const UNORDERED: [&str; 8] = ["ext2", "vfat", "msdos", "exfat", "minix", "tmpfs", "ramfs", "hfsplus"];

/// A file system of the root.
struct SeenFileSystem {
    /// The directory by which it was met, with the prefix of the root.
    path: String,
    /// The type; empty if the mount table does not tell.
    kind: String,
    status: ObjectStatus,
}

/// File systems without a journal or another order of their writes.
pub(super) fn journal(examination: &Examination<'_>) -> Vec<Finding> {
    vec![found(examination, "journal", |seen| {
        let without: Vec<&SeenFileSystem> = those(seen, |one| UNORDERED.contains(&one.kind.as_str()));
        let other = those(seen, |one| !ORDERED.contains(&one.kind.as_str()));
        if !without.is_empty() {
            let text =
                format!("without a journal, so that a power cut may leave a mixture: {}", listed(&without));
            return Finding::limited("journal", text);
        }
        if !other.is_empty() {
            let text = format!("what survives a power cut is not known of: {}", listed(&other));
            return Finding::unknown("journal", text);
        }
        Finding::ok("journal", listed(&seen.iter().collect::<Vec<_>>()))
    })]
}

/// File systems without birth times of objects.
pub(super) fn birth_times(examination: &Examination<'_>) -> Vec<Finding> {
    vec![found(examination, "birth-time", |seen| {
        let without = those(seen, |one| one.status.inode.born.is_none());
        if without.is_empty() {
            return Finding::ok("birth-time", "objects are known by inode and birth time");
        }
        let text =
            format!("no birth times, so that more objects are read to be recognised: {}", listed(&without));
        Finding::limited("birth-time", text)
    })]
}

fn found(
    examination: &Examination<'_>,
    what: &'static str,
    judge: impl FnOnce(&[SeenFileSystem]) -> Finding,
) -> Finding {
    match seen(examination) {
        Ok(seen) => judge(&seen),
        Err(error) => Finding::unknown(what, error.to_string()),
    }
}

fn those(seen: &[SeenFileSystem], is_meant: impl Fn(&SeenFileSystem) -> bool) -> Vec<&SeenFileSystem> {
    seen.iter().filter(|one| is_meant(one)).collect()
}

/// Returns the file systems with their types, as `/var (ext2)`.
fn listed(seen: &[&SeenFileSystem]) -> String {
    let each = seen.iter().map(|one| match one.kind.as_str() {
        "" => one.path.clone(),
        kind => format!("{} ({kind})", one.path),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Returns each file system once, by the first directory on it.
fn seen(examination: &Examination<'_>) -> Result<Vec<SeenFileSystem>> {
    let mut seen: Vec<SeenFileSystem> = Vec::new();
    let named = DIRECTORIES.iter().filter_map(|path| ObjectPath::new(path.as_bytes()).ok());
    for path in named.chain([places::own_directory()]) {
        let Some(directory) = examination.directory(&path)? else { continue };
        let status = directory.itself()?;
        if seen.iter().any(|one| one.status.file_system == status.file_system) {
            continue;
        }
        let kind = directory.file_system_type()?.unwrap_or_default();
        seen.push(SeenFileSystem { path: examination.show(&path), kind, status });
    }
    Ok(seen)
}
