//! The content of a tree, and the times of its changes: they show if a contender did its work, and how fast it
//! switched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::reader::list;
use crate::workload::{File, Workload};

/// The files of a tree: permissions, size and CRC of each path.
#[derive(PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<String, (u32, usize, u32)>);

impl Tree {
    /// Reads the files below `opt/acme` of a root.
    pub(crate) fn of(root: &Path) -> Result<Self> {
        let mut paths = Vec::new();
        list(&root.join("opt/acme"), &mut paths)?;
        let mut files = BTreeMap::new();
        for path in paths {
            let content = fs::read(&path)?;
            let mode = fs::metadata(&path)?.mode() & 0o7777;
            let name = path.strip_prefix(root)?.display().to_string();
            files.insert(name, (mode, content.len(), crc32c::crc32c(&content)));
        }
        Ok(Self(files))
    }

    /// Reads the files of a package, with the permissions of installed files.
    pub(crate) fn packaged(files: &Path) -> Result<Self> {
        let mut tree = Self::of(files)?;
        for entry in tree.0.values_mut() {
            entry.0 = 0o644;
        }
        Ok(tree)
    }

    /// Returns the tree after the patch of a workload that delivers these files.
    pub(crate) fn changed(&self, workload: &Workload, delivered: Self) -> Self {
        let mut files = self.0.clone();
        for file in workload.gone() {
            files.remove(&file.path);
        }
        files.extend(delivered.0);
        Self(files)
    }

    /// Fails with the first difference.
    pub(crate) fn assert_same(&self, expected: &Self, after: &str) -> Result<()> {
        let (found, wanted) = (&self.0, &expected.0);
        for path in found.keys().chain(wanted.keys()) {
            let (is, should) = (found.get(path), wanted.get(path));
            ensure!(is == should, "after {after} {path} is {is:?} instead of {should:?}");
        }
        Ok(())
    }
}

/// The source of the time of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    /// The last change (ctime) of the inode that rename(2) has put in its place.
    Inode,
    /// The last change of its directory, for inodes that do not tell: an exchange of two names leaves them as they are
    /// (xfs), and the removal of a second name changes them later. The real window may be a little longer: of the
    /// directory that is changed first, only the last change is known.
    Directory,
}

impl Clock {
    /// Finds the clock of a file system by exchanging two names in a writable directory.
    pub(crate) fn probe(directory: &Path) -> Result<Self> {
        let [one, other] = ["probe-1", "probe-2"].map(|name| directory.join(name));
        fs::write(&one, "")?;
        fs::write(&other, "")?;
        let before = last_change(&other)?;
        // Longer than a tick of any kernel's clock for these times.
        thread::sleep(Duration::from_millis(20));
        renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE)?;
        let after = last_change(&one)?;
        fs::remove_file(one)?;
        fs::remove_file(other)?;
        Ok(if after > before { Self::Inode } else { Self::Directory })
    }
}

/// Returns the seconds between the first and the last change of these paths of a root, at the resolution of the
/// kernel's clock for such changes. With the clock of inodes, deleted paths do not count.
pub(crate) fn switch_window<'a>(
    root: &Path,
    files: impl Iterator<Item = &'a File>,
    clock: Clock,
) -> Result<f64> {
    let mut times = Vec::new();
    for file in files {
        let path = root.join(&file.path);
        let told = match clock {
            Clock::Inode => Some(path.as_path()),
            Clock::Directory => path.parent(),
        };
        if let Some(told) = told.filter(|told| told.symlink_metadata().is_ok()) {
            times.push(last_change(told)?);
        }
    }
    match (times.iter().min(), times.iter().max()) {
        (Some(first), Some(last)) => Ok((last - first) as f64 / 1e9),
        _ => bail!("nothing was changed"),
    }
}

/// Returns the ctime of a path, in nanoseconds since 1970.
fn last_change(path: &Path) -> Result<i128> {
    let state = fs::symlink_metadata(path)?;
    Ok(i128::from(state.ctime()) * 1_000_000_000 + i128::from(state.ctime_nsec()))
}
