//! Mounts below a directory, in every visible mount namespace.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use patchadm_svr4::package::unescape;

/// Returns a mount point strictly below a physical path: one of this process, otherwise one of another process that sees the
/// same directory under this path. Skips processes that the caller may not examine.
pub(super) fn mount_below(directory: &Path) -> Option<String> {
    let own = Path::new("/proc/self");
    if let Some(point) = point_below(own, directory) {
        return Some(point.display().to_string());
    }
    let mut seen: BTreeSet<PathBuf> = namespace(own).into_iter().collect();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let process = entry.path();
        let is_process = entry.file_name().as_bytes().iter().all(u8::is_ascii_digit);
        if is_process
            && namespace(&process).is_some_and(|found| seen.insert(found))
            && sees(&process, directory)
            && let Some(point) = point_below(&process, directory)
        {
            return Some(format!("{} for process {}", point.display(), entry.file_name().display()));
        }
    }
    None
}

fn namespace(process: &Path) -> Option<PathBuf> {
    fs::read_link(process.join("ns/mnt")).ok()
}

/// Returns whether a path means the same directory for a process as for this one.
fn sees(process: &Path, directory: &Path) -> bool {
    let relative = directory.strip_prefix("/").unwrap_or(directory);
    let (theirs, ours) = (fs::metadata(process.join("root").join(relative)), fs::metadata(directory));
    let identity = |found: std::io::Result<fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
    let ours = identity(ours);
    ours.is_some() && identity(theirs) == ours
}

/// Returns the first mount point of a process strictly below a directory.
fn point_below(process: &Path, directory: &Path) -> Option<PathBuf> {
    let table = fs::read(process.join("mountinfo")).ok()?;
    points(&table).find(|point| point.starts_with(directory) && point != directory)
}

/// Returns the mount points of a table, in the form of proc(5) `mountinfo`.
fn points(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    let fields =
        table.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&byte| byte == b' ').nth(4));
    fields.map(|field| PathBuf::from(OsStr::from_bytes(&unescape(field))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_with_their_blanks_and_those_of_this_machine_are_found() {
        let table = b"21 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 21 8:1 / /a\\040b rw - ext4 /dev/sda1 rw\n";
        assert_eq!(points(table).collect::<Vec<_>>(), [PathBuf::from("/"), PathBuf::from("/a b")]);
        assert!(mount_below(Path::new("/")).is_some());
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(mount_below(empty.path()), None);
    }
}
