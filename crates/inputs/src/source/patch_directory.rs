//! A directory of patches: the names in it that are patches.
//!
//! Only directories and the beginning of a pkginfo are opened: the answer is a list for people, and reading a patch
//! shows whether it is right.

use std::ffi::OsString;
use std::io;
use std::path::Path;

use crate::input_file::InputDirectory;
use patchadm_svr4::patch::PatchId;

/// The most names of a directory that are looked at.
const MOST_NAMES: usize = 10_000;

/// The most directories that are looked into to find out what they are.
const MOST_DIRECTORIES: usize = 1_000;

/// The most packages of a directory that are looked at.
const MOST_PACKAGES: usize = 64;

/// The part of a pkginfo that is looked at, in bytes.
const BEGINNING: u64 = 64 << 10;

/// The parameters in which a package names its patch.
const MARKS: [&[u8]; 2] = [b"SUNW_PATCHID=", b"Patch_label="];

/// The endings of archives that patches come as.
const ENDINGS: [&str; 20] = [
    ".zip", ".jar", ".tar", ".tar.gz", ".tar.Z", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".taz", ".tbz2",
    ".txz", ".tzst", ".pkg", ".pkg.gz", ".pkg.Z", ".pkg.bz2", ".pkg.xz", ".pkg.zst", ".ds",
];

/// Returns the names in a directory, sorted, and whether each is a directory; nothing if it cannot be read, and never
/// more than ten thousand.
pub fn directory_names(directory: &Path) -> Vec<(OsString, bool)> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let entries = entries.take(MOST_NAMES).filter_map(Result::ok);
    let named = entries.map(|entry| {
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        (entry.file_name(), is_directory)
    });
    let mut names: Vec<_> = named.collect();
    names.sort();
    names
}

/// Returns the names of the patches in a directory, sorted, and whether each is a directory: entries that are named by
/// an id, archives that hold a patch, and directories with sparse packages under any name.
pub fn patches_in(directory: &Path) -> Vec<(OsString, bool)> {
    only_patches(directory, directory_names(directory), MOST_DIRECTORIES)
}

/// Returns the names of all patches in a directory, without a limit on their number. System errors are returned:
/// otherwise an incomplete set would be taken for the whole.
pub fn all_patches_in(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        names.push((entry.file_name(), entry.file_type().is_ok_and(|kind| kind.is_dir())));
    }
    names.sort();
    Ok(only_patches(directory, names, usize::MAX).into_iter().map(|(name, _)| name).collect())
}

/// Keeps the names of patches; `looks` is how many directories are looked into to find out.
fn only_patches(
    directory: &Path,
    mut names: Vec<(OsString, bool)>,
    mut looks: usize,
) -> Vec<(OsString, bool)> {
    names.retain(|(name, is_directory)| {
        let text = name.to_string_lossy();
        let mut holds_packages = || {
            looks = looks.saturating_sub(1);
            looks > 0 && holds_packages(&directory.join(name))
        };
        is_id(&text) || if *is_directory { holds_packages() } else { is_archive_of_id(&text) }
    });
    names
}

/// Tells whether a name is an id; that of a description, such as `README.105181-05`, is none.
fn is_id(name: &str) -> bool {
    !name.contains('.') && PatchId::new(name).is_ok()
}

/// Tells whether a file is called as the archive of a patch is.
pub(super) fn is_archive_of_id(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.strip_suffix(ending).is_some_and(is_id))
}

/// Tells whether one of the first directories inside has a pkginfo that calls itself a patch's.
fn holds_packages(directory: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(directory) else { return false };
    let Ok(top) = InputDirectory::open(directory) else { return false };
    let mut inside = entries.take(MOST_PACKAGES).filter_map(Result::ok);
    inside.any(|entry| {
        let pkginfo = Path::new(&entry.file_name()).join("pkginfo");
        entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_of_patch(&top, &pkginfo)
    })
}

/// Tells whether a file or directory is called as a patch is: it has the ending of an archive, or an id is its whole
/// name.
pub fn is_called_as_patch(name: &str) -> bool {
    is_id(name) || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn is_of_patch(directory: &InputDirectory, pkginfo: &Path) -> bool {
    let text = directory.read_start(pkginfo, BEGINNING).ok().flatten().unwrap_or_default();
    let mut lines = text.split(|&byte| byte == b'\n');
    lines.any(|line| MARKS.iter().any(|mark| line.starts_with(mark)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn patches_are_told_from_other_names() {
        let dir = tempfile::tempdir().unwrap();
        for made in ["105181-05", "named/SUNWcsr", "base/SUNWcsr", "empty"] {
            fs::create_dir_all(dir.path().join(made)).unwrap();
        }
        for file in
            ["106793-01.zip", "README", "106793-01.txt", "named/SUNWcsr/pkginfo", "base/SUNWcsr/pkginfo"]
        {
            let text = if file.starts_with("named") { "PKG=SUNWcsr\nSUNW_PATCHID=1-01\n" } else { "" };
            fs::write(dir.path().join(file), text).unwrap();
        }
        let found: Vec<_> = patches_in(dir.path()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, ["105181-05", "106793-01.zip", "named"]);
        assert!(patches_in(&dir.path().join("nothing")).is_empty());
    }
}
