//! How far a run is, for a reader without a lock.

use std::collections::BTreeMap;

use patchadm_bulk_values::journal::{PackageState, RunEnd, StateCounts};
use patchadm_bulk_values::report::RunPlatform;

use super::now_file::{RunNow, RunningPackage, read_now};
use super::request::RunError;
use crate::platform::read_platform;
use crate::runs::{find_run, read_journal};
use crate::work::{RUNS, Work, numbered_directories};

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStatus {
    /// Its number.
    pub run: u64,
    /// When it began, RFC 3339.
    pub began: String,
    /// When it ended, RFC 3339.
    pub ended: Option<String>,
    /// Whether it goes on at this moment.
    pub goes_on: bool,
    /// How many packages came to each state.
    pub counts: StateCounts,
    /// What is being built; nothing where nobody carries the run out.
    pub running: Vec<RunningPackage>,
    /// What is known of a run that ended before its time and waits to be continued.
    pub interrupted: Option<InterruptedRun>,
    /// What it builds for and with; `None` where that is not known.
    pub platform: Option<RunPlatform>,
    /// How long the rest was expected to take: when that was, RFC 3339, and the milliseconds from then on.
    pub expected: Option<(String, u64)>,
}

/// A run that nobody carries out, and that has not come to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterruptedRun {
    /// The packages that were being built.
    pub packages: Vec<String>,
    /// The names with which it was begun; none for all packages.
    pub operands: Vec<String>,
}

/// Reads how far a run is, or the last one; `None` where there is none.
pub fn read_status(work: &Work, run: Option<u64>) -> Result<Option<RunStatus>, RunError> {
    // Asked first: a run that ends meanwhile has an end in its journal.
    let is_locked = work.is_locked()?;
    let runs = work.directory(RUNS)?;
    let numbers = numbered_directories(&runs)?;
    let last = numbers.iter().copied().max();
    let Some(run) = run.or(last).filter(|run| numbers.contains(run)) else { return Ok(None) };
    let dir = find_run(&runs, run)?;
    let now = dir.as_ref().map(read_now).transpose()?.unwrap_or_default();
    let platform = dir.as_ref().map(read_platform).transpose()?.flatten();
    let read = read_journal(&runs, run)?.map_err(|error| RunError::damaged_journal(work, run, error))?;
    Ok(read.map(|(state, _)| {
        let ended = match &state.end {
            RunEnd::Unfinished => None,
            RunEnd::Ended { at, .. } | RunEnd::Abandoned { at } => Some(at.clone()),
        };
        let goes_on = ended.is_none() && is_locked && Some(run) == last;
        let is_interrupted = ended.is_none() && !goes_on;
        let mut counts = state.counts();
        if is_interrupted && let Some(running) = counts.remove(&PackageState::Running) {
            *counts.entry(PackageState::Open).or_default() += running;
        }
        let interrupted = is_interrupted.then(|| InterruptedRun {
            packages: state.running.keys().cloned().collect(),
            operands: state.operands.clone(),
        });
        let running = if is_interrupted { BTreeMap::new() } else { state.running };
        let running = running.into_iter().map(|(package, slot)| running_package(&now, package, slot));
        let expected = now.at.clone().zip(now.left_ms).filter(|_| goes_on);
        let (running, began) = (running.collect(), state.began);
        RunStatus { run, began, ended, goes_on, counts, running, interrupted, platform, expected }
    }))
}

/// Returns what is known of a package that is being built.
fn running_package(now: &RunNow, package: String, slot: String) -> RunningPackage {
    let known = now.running.iter().find(|known| known.package == package && known.slot == slot);
    known.cloned().unwrap_or(RunningPackage { package, slot, ..RunningPackage::default() })
}
