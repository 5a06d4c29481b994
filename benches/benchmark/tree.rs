//! What a tree holds, and when it was changed: whether a contender did what it says, and how fast it switched.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Result, bail, ensure};

use crate::reader::list;
use crate::workload::{File, Version};

/// The files of a tree: permissions, size and CRC of each path.
#[derive(PartialEq, Eq)]
pub(crate) struct Tree(BTreeMap<String, (u32, usize, u32)>);

impl Tree {
    /// What is below `opt/acme` of a root.
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

    /// What these files are in an installed tree.
    pub(crate) fn expected(files: &[(&File, Version)]) -> Self {
        let entry = |(file, version): &(&File, Version)| {
            let content = file.content(*version);
            (file.path.clone(), (0o644, content.len(), crc32c::crc32c(&content)))
        };
        Self(files.iter().map(entry).collect())
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

/// Seconds between the first and the last change of these paths of a root: the last change of an inode that rename(2)
/// has put in its place, as finely as the kernel's clock for them ticks. A path that is not there, because it was deleted, tells no time.
pub(crate) fn switch_window<'a>(root: &Path, files: impl Iterator<Item = &'a File>) -> Result<f64> {
    let mut times = Vec::new();
    for file in files {
        let Ok(state) = fs::symlink_metadata(root.join(&file.path)) else { continue };
        times.push(i128::from(state.ctime()) * 1_000_000_000 + i128::from(state.ctime_nsec()));
    }
    match (times.iter().min(), times.iter().max()) {
        (Some(first), Some(last)) => Ok((last - first) as f64 / 1e9),
        _ => bail!("nothing was changed"),
    }
}
