//! What a run builds at this moment, for readers without a lock: the file `now` in its directory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;
use serde::{Deserialize, Serialize};

use crate::work::PROGRAM;

/// The file.
const NOW: &[u8] = b"now";

/// The largest one that is read, in bytes.
const LARGEST: u64 = 16 << 20;

/// The time between two writes.
const PAUSE: Duration = Duration::from_secs(1);

/// The time between two looks at how long the rest takes.
const LONG_PAUSE: Duration = Duration::from_secs(10);

/// A package that is being built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningPackage {
    /// PKGNAME.
    pub package: String,
    /// The slot.
    pub slot: String,
    /// The name of the machine, once it is known.
    pub host: Option<String>,
    /// The phase of the build.
    pub phase: Option<String>,
    /// When its task began, RFC 3339.
    pub since: Option<String>,
    /// The most memory so far, in bytes.
    pub memory: u64,
}

/// What a run builds, and how long the rest is expected to take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunNow {
    pub(super) running: Vec<RunningPackage>,
    /// When it was expected, RFC 3339.
    pub(super) at: Option<String>,
    /// The milliseconds that were expected then.
    pub(super) left_ms: Option<u64>,
}

/// The file, being written at most once a second. It informs and decides nothing: what cannot be written is left out.
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

    /// Notes that the task of a package begins.
    pub(super) fn begin(&mut self, index: u32, package: RunningPackage) {
        self.running.insert(index, package);
        self.is_changed = true;
    }

    /// Notes something about a running task.
    pub(super) fn note(&mut self, index: u32, change: impl FnOnce(&mut RunningPackage)) {
        if let Some(package) = self.running.get_mut(&index) {
            change(package);
            self.is_changed = true;
        }
    }

    /// Notes that a task is over.
    pub(super) fn end(&mut self, index: u32) {
        self.is_changed |= self.running.remove(&index).is_some();
    }

    /// Tells whether it is time to look anew at how long the rest takes.
    pub(super) fn wants_estimate(&self) -> bool {
        self.estimated.is_none_or(|estimated| estimated.elapsed() >= LONG_PAUSE)
    }

    /// Notes how long the rest is expected to take; nothing where that is not known.
    pub(super) fn estimate(&mut self, at: String, left_ms: Option<u64>) {
        (self.now.at, self.now.left_ms) = (Some(at), left_ms);
        self.estimated = Some(Instant::now());
        self.is_changed = true;
    }

    /// Writes the file, if something has changed and the last time is long enough ago.
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

/// Reads what a run builds; nothing where it cannot be read.
pub(super) fn read_now(run: &Dir) -> Result<RunNow, RootError> {
    let bytes = run.read_regular(NOW, LARGEST)?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

/// Removes the file of a run that is over.
pub(super) fn remove_now(run: &Dir) -> Result<(), RootError> {
    run.remove(NOW)
}
