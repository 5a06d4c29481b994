//! The logs of builds.

use patchadm_rootfs::RootError;

use crate::runs::find_logs;
use crate::work::{RUNS, Work, numbered_directories};

/// The largest log that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// No run has one.
    #[error("there is no log of {0}")]
    None(String),
    /// A directory or a log that cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Reads the log of a package: that of a run, or the newest.
pub fn read_log(work: &Work, package: &str, run: Option<u64>) -> Result<Vec<u8>, LogError> {
    let none = || LogError::None(package.to_owned());
    if package.contains('/') {
        return Err(none());
    }
    let runs = work.directory(RUNS)?;
    let numbers = numbered_directories(&runs)?;
    for number in numbers.into_iter().rev().filter(|number| run.is_none_or(|run| run == *number)) {
        let Some(logs) = find_logs(&runs, number)? else { continue };
        if let Some(log) = logs.read_regular(format!("{package}.log").as_bytes(), LARGEST)? {
            return Ok(log);
        }
    }
    Err(none())
}
