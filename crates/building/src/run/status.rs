//! Progress of a run for readers without a lock, and the file `now` with running tasks.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use patchadm_bulk_values::journal::{BuildState, BulkRunEnd, StateCounts};
use patchadm_bulk_values::report::RunPlatform;
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;
use serde::{Deserialize, Serialize};

use super::RunError;
use crate::report_files::read_platform;
use crate::runs::{find_run, read_journal};
use crate::work::{BulkWork, PROGRAM, RUNS, numbered_directories};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStatus {
    pub run: u64,
    /// RFC 3339.
    pub began: String,
    /// RFC 3339.
    pub ended: Option<String>,
    /// True while a process performs it.
    pub goes_on: bool,
    pub counts: StateCounts,
    /// Empty if no process performs the run.
    pub running: Vec<RunningPackage>,
    /// Set if the run can be continued.
    pub interrupted: Option<InterruptedRun>,
    /// `None` if unknown.
    pub platform: Option<RunPlatform>,
    /// Time of the estimate (RFC 3339), and the milliseconds from then on.
    pub expected: Option<(String, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterruptedRun {
    pub packages: Vec<String>,
    /// Requested names; empty for all packages.
    pub operands: Vec<String>,
}

/// Reads a run, or the last one.
pub fn read_status(work: &BulkWork, run: Option<u64>) -> Result<Option<RunStatus>, RunError> {
    // Checked first: a run that ends meanwhile has an end in its journal.
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
            BulkRunEnd::Unfinished => None,
            BulkRunEnd::Ended { at, .. } | BulkRunEnd::Abandoned { at } => Some(at.clone()),
        };
        let goes_on = ended.is_none() && is_locked && Some(run) == last;
        let is_interrupted = ended.is_none() && !goes_on;
        let mut counts = state.counts();
        if is_interrupted && let Some(running) = counts.remove(&BuildState::Running) {
            *counts.entry(BuildState::Open).or_default() += running;
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

fn running_package(now: &RunNow, package: String, slot: String) -> RunningPackage {
    let known = now.running.iter().find(|known| known.package == package && known.slot == slot);
    known.cloned().unwrap_or(RunningPackage { package, slot, ..RunningPackage::default() })
}

const NOW: &[u8] = b"now";

const LARGEST: u64 = 16 << 20;

const PAUSE: Duration = Duration::from_secs(1);

const LONG_PAUSE: Duration = Duration::from_secs(10);

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningPackage {
    pub package: String,
    pub slot: String,
    /// Once known.
    pub host: Option<String>,
    pub phase: Option<String>,
    /// RFC 3339.
    pub since: Option<String>,
    /// Peak in bytes.
    pub memory: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunNow {
    pub(super) running: Vec<RunningPackage>,
    pub(super) at: Option<String>,
    pub(super) left_ms: Option<u64>,
}

/// Writes `now` at most once a second. Errors are ignored: the file is only informative.
#[derive(Debug)]
pub(super) struct NowFile {
    running: BTreeMap<u32, RunningPackage>,
    now: RunNow,
    is_changed: bool,
    written: Option<Instant>,
    estimated: Option<Instant>,
}

impl NowFile {
    pub(super) fn new() -> Self {
        Self {
            running: BTreeMap::new(),
            now: RunNow::default(),
            is_changed: true,
            written: None,
            estimated: None,
        }
    }

    pub(super) fn begin(&mut self, index: u32, package: RunningPackage) {
        self.running.insert(index, package);
        self.is_changed = true;
    }

    pub(super) fn note(&mut self, index: u32, change: impl FnOnce(&mut RunningPackage)) {
        if let Some(package) = self.running.get_mut(&index) {
            change(package);
            self.is_changed = true;
        }
    }

    pub(super) fn end(&mut self, index: u32) {
        self.is_changed |= self.running.remove(&index).is_some();
    }

    pub(super) fn wants_estimate(&self) -> bool {
        self.estimated.is_none_or(|estimated| estimated.elapsed() >= LONG_PAUSE)
    }

    pub(super) fn estimate(&mut self, at: String, left_ms: Option<u64>) {
        (self.now.at, self.now.left_ms) = (Some(at), left_ms);
        self.estimated = Some(Instant::now());
        self.is_changed = true;
    }

    pub(super) fn write(&mut self, run: &Dir) {
        let is_due = self.written.is_none_or(|written| written.elapsed() >= PAUSE);
        if !self.is_changed || !is_due {
            return;
        }
        self.now.running = self.running.values().cloned().collect();
        let bytes = serde_json::to_vec(&self.now).unwrap_or_default();
        let _ = run.replace_cache(PROGRAM, NOW, &bytes, Mode::of(0o644));
        (self.is_changed, self.written) = (false, Some(Instant::now()));
    }
}

/// Unreadable content counts as empty.
fn read_now(run: &Dir) -> Result<RunNow, RootError> {
    let bytes = run.read_regular(NOW, LARGEST)?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

pub(super) fn remove_now(run: &Dir) -> Result<(), RootError> {
    run.remove(NOW)
}
