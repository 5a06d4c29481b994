//! Directories of one run of the benchmark, which the next one removes if this one is killed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// The prefix of their names. The purpose and the process id follow.
const PREFIX: &str = "patchadm-benchmark-";

/// A directory that is removed when the value is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a directory below `parent`, and removes those of processes that have ended. `purpose` is one word.
    pub(crate) fn new(parent: &Path, purpose: &str) -> Result<Self> {
        for entry in fs::read_dir(parent).with_context(|| format!("{}", parent.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
            let process = process.and_then(|(_, process)| process.parse::<u32>().ok());
            if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        let path = parent.join(format!("{PREFIX}{purpose}-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path.canonicalize()?))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next run removes any remains.
        let _ = fs::remove_dir_all(&self.0);
    }
}
