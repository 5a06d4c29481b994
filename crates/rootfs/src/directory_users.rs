//! Finds the processes that hold a directory, or an object in it, as working directory, root or open file.
//!
//! The information comes from `/proc`; only the superuser sees processes of other users. A failed query gives an empty
//! answer: the result is advice only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};

/// A process that holds an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryUser {
    /// Its number.
    pub process: u32,
    /// The name of its program.
    pub program: String,
    /// The path of the object, as the system reports it.
    pub path: String,
}

/// Returns the processes, except this one, that have an object selected by `is_inside` as working directory, root or
/// open file. `is_inside` gets file system (major and minor) and inode number. Each pair of process and path appears
/// once.
pub fn users_of(is_inside: &dyn Fn((u32, u32), u64) -> bool) -> Vec<DirectoryUser> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let used: BTreeMap<u32, Vec<DirectoryUser>> = processes
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            (process != std::process::id()).then(|| (process, of_process(process, &entry.path(), is_inside)))
        })
        .collect();
    used.into_values().flatten().collect()
}

fn of_process(
    process: u32,
    directory: &Path,
    is_inside: &dyn Fn((u32, u32), u64) -> bool,
) -> Vec<DirectoryUser> {
    let files = fs::read_dir(directory.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
    let links = ["cwd", "root"].map(|name| directory.join(name)).into_iter().chain(files);
    let paths: BTreeSet<PathBuf> = links
        .filter(|link| leads_inside(link, is_inside))
        .filter_map(|link| fs::read_link(link).ok())
        .collect();
    if paths.is_empty() {
        return Vec::new();
    }
    let program = fs::read_to_string(directory.join("comm")).unwrap_or_default().trim().to_owned();
    let user = |path: PathBuf| DirectoryUser {
        process,
        program: program.clone(),
        path: String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned(),
    };
    paths.into_iter().map(user).collect()
}

fn leads_inside(link: &Path, is_inside: &dyn Fn((u32, u32), u64) -> bool) -> bool {
    // Cached attributes are enough: the call must not wait for a server that does not answer.
    let seen = rustix::fs::statx(CWD, link, AtFlags::STATX_DONT_SYNC, StatxFlags::INO);
    seen.is_ok_and(|seen| is_inside((seen.stx_dev_major, seen.stx_dev_minor), seen.stx_ino))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_found_by_its_working_directory_and_not_by_what_it_does_not_hold() {
        let place = tempfile::tempdir().unwrap();
        let inode = fs::metadata(place.path()).unwrap().ino();
        let mut sleeper = Command::new("sleep").arg("60").current_dir(place.path()).spawn().unwrap();
        let found = |number: u64| {
            let directory = PathBuf::from(format!("/proc/{}", sleeper.id()));
            of_process(sleeper.id(), &directory, &|_, inode| inode == number)
        };
        let (held, other) = (found(inode), found(u64::MAX));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        let paths: Vec<&str> = held.iter().map(|user| user.path.as_str()).collect();
        assert_eq!(paths, [place.path().to_str().unwrap()]);
        assert_eq!(other, []);
    }
}
