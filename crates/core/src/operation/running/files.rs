//! The files of one process, as `/proc` leads to them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use crate::process::MappedFile;
use patchadm_rootfs::{ObjectStatus, RootError};
use rustix::io::Errno;

/// What the kernel puts behind the path of a file that has none any more.
const DELETED: &[u8] = b" (deleted)";

/// The files of a process.
#[derive(Debug)]
pub(in crate::operation) struct ProcessFiles {
    /// The file of its program; `None` if it may not be looked at, or if there is none.
    pub(in crate::operation) program: Option<UsedFile>,
    /// The files that it has mapped, each once; that of its program is usually among them.
    pub(in crate::operation) mapped: Vec<UsedFile>,
    /// Whether some of its files could not be looked at.
    pub(in crate::operation) is_hidden: bool,
}

/// A file that a process uses.
#[derive(Clone, Debug)]
pub(in crate::operation) struct UsedFile {
    /// Its path in the root of the process; for a file that has none any more, the last one.
    pub(in crate::operation) path: Vec<u8>,
    /// Whether it has no path any more.
    pub(in crate::operation) is_deleted: bool,
    /// Its number, as `maps` has it.
    pub(in crate::operation) number: u64,
    /// Its status; `None` if only its number and path are known.
    pub(in crate::operation) status: Option<ObjectStatus>,
}

/// Returns the processes of this machine with their directories in `/proc`.
pub(in crate::operation) fn processes() -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect();
    found.sort();
    found
}

impl ProcessFiles {
    /// Looks at a process; `None` if it is gone, or is one of the kernel.
    pub(in crate::operation) fn of(directory: &Path) -> Option<Self> {
        let exe = directory.join("exe");
        let link = match fs::read_link(&exe) {
            Ok(link) => link.into_os_string().into_vec(),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Some(Self { program: None, mapped: Vec::new(), is_hidden: true });
            }
            // A process of the kernel has no program, and one that is gone nothing.
            Err(_) => return None,
        };
        let mut files =
            Self { program: Some(UsedFile::at(&link, &exe)), mapped: Vec::new(), is_hidden: false };
        match fs::read(directory.join("maps")) {
            Ok(maps) => files.read_maps(directory, &maps),
            Err(error) => files.is_hidden = error.kind() == std::io::ErrorKind::PermissionDenied,
        }
        Some(files)
    }

    fn read_maps(&mut self, directory: &Path, maps: &[u8]) {
        let mut known = BTreeSet::new();
        for mapping in maps.split(|&byte| byte == b'\n').filter_map(MappedFile::of_line) {
            if !known.insert((mapping.device, mapping.number)) {
                continue;
            }
            let (path, is_deleted) = parted(mapping.path);
            let link = directory.join("map_files").join(mapping.range());
            let status = match ObjectStatus::behind(&link) {
                Ok(status) => Some(status),
                Err(error) => {
                    let may_not = matches!(error.errno(), Some(Errno::PERM | Errno::ACCESS));
                    self.is_hidden |= may_not;
                    // What is not deleted is what its path leads to, in the root of the process.
                    if is_deleted { None } else { in_root_of(directory, path).ok() }
                }
            };
            let (path, number) = (path.to_vec(), mapping.number);
            self.mapped.push(UsedFile { path, is_deleted, number, status });
        }
    }

    /// Returns all its files.
    pub(in crate::operation) fn all(&self) -> impl Iterator<Item = &UsedFile> {
        self.program.iter().chain(&self.mapped)
    }
}

impl UsedFile {
    /// Describes the file behind a link of `/proc`.
    fn at(link: &[u8], proc: &Path) -> Self {
        let status = ObjectStatus::behind(proc).ok();
        let (path, is_deleted) = parted(link);
        let number = status.as_ref().map_or(0, |status| status.inode.number);
        Self { path: path.to_vec(), is_deleted, number, status }
    }
}

/// Looks at a path in the root of a process.
fn in_root_of(directory: &Path, path: &[u8]) -> Result<ObjectStatus, RootError> {
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    ObjectStatus::behind(&directory.join("root").join(std::ffi::OsStr::from_bytes(relative)))
}

/// Returns a path without the mark of a file that has none any more, and whether there is one.
fn parted(path: &[u8]) -> (&[u8], bool) {
    match path.strip_suffix(DELETED) {
        Some(path) => (path, true),
        None => (path, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_file_without_a_path_is_no_part_of_it() {
        assert_eq!(
            parted(b"/usr/lib/with two blanks.so (deleted)"),
            (&b"/usr/lib/with two blanks.so"[..], true)
        );
        assert_eq!(parted(b"/usr/lib/x.so"), (&b"/usr/lib/x.so"[..], false));
    }

    #[test]
    fn this_process_uses_its_program_and_libraries() {
        let files = ProcessFiles::of(Path::new("/proc/self")).unwrap();
        let program = files.program.as_ref().unwrap();
        let there = ObjectStatus::behind(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(program.status.as_ref().map(|status| status.inode), Some(there.inode));
        assert!(!program.is_deleted && files.mapped.iter().all(|file| file.status.is_some()));
        let inodes: BTreeSet<_> = files.all().filter_map(|file| Some(file.status.as_ref()?.inode)).collect();
        assert!(inodes.contains(&there.inode));
    }
}
