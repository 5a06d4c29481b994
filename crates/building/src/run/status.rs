//! How far a run is, for a reader without a lock.

use patchadm_bulk::journal::{RunEnd, StateCounts};
use serde::Serialize;

use super::request::RunError;
use crate::runs::read_journal;
use crate::work::{RUNS, Work, numbered_directories};

/// A package that is being built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunningPackage {
    /// PKGNAME.
    pub package: String,
    /// The slot.
    pub slot: String,
}

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStatus {
    /// Its number.
    pub run: u64,
    /// When it began, RFC 3339.
    pub began: String,
    /// When it ended, RFC 3339.
    pub ended: Option<String>,
    /// How many packages came to each state.
    pub counts: StateCounts,
    /// What is being built, or was when the run was cut off.
    pub running: Vec<RunningPackage>,
}

/// Reads how far a run is, or the last one; `None` where there is none.
pub fn read_status(work: &Work, run: Option<u64>) -> Result<Option<RunStatus>, RunError> {
    let runs = work.directory(RUNS)?;
    let numbers = numbered_directories(&runs)?;
    let Some(run) = run.or_else(|| numbers.iter().copied().max()).filter(|run| numbers.contains(run)) else {
        return Ok(None);
    };
    let read = read_journal(&runs, run)?.map_err(|error| RunError::damaged_journal(work, run, error))?;
    Ok(read.map(|(state, _)| {
        let ended = match &state.end {
            RunEnd::Unfinished => None,
            RunEnd::Ended { at, .. } | RunEnd::Abandoned { at } => Some(at.clone()),
        };
        let counts = state.counts();
        let running = state.running.into_iter().map(|(package, slot)| RunningPackage { package, slot });
        RunStatus { run, began: state.began, ended, counts, running: running.collect() }
    }))
}
