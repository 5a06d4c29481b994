//! The progress before a run, on the bar of its command: downloads, patches that are read or compared, and directories
//! that are indexed.

use std::sync::{Mutex, PoisonError};

use super::bar::{BarAmount, CommandBar};
use patchadm_core::operation::depots::{DepotProgress, PatchWork};
use patchadm_svr4::package::control::printable;

/// In letters.
const LONGEST: usize = 24;

/// The parts of a patch.
const PATCH: u64 = 1_000;

/// Disappears from standard error when it is dropped.
pub struct FetchBar {
    bar: Option<CommandBar>,
    shown: Mutex<ShownProgress>,
}

#[derive(Default)]
struct ShownProgress {
    phase: Option<FetchPhase>,
    /// The patch that is fetched, and the number of all.
    patch: Option<(usize, usize)>,
}

#[derive(PartialEq, Eq)]
enum FetchPhase {
    /// Of a file that belongs to no patch.
    Download(String),
    Indexing,
    Patches(PatchWork),
}

impl FetchBar {
    /// Never drawn unless enabled.
    pub fn new(bar: &CommandBar, is_enabled: bool) -> Self {
        Self { bar: is_enabled.then(|| bar.clone()), shown: Mutex::default() }
    }

    pub fn show(&self, progress: DepotProgress<'_>) {
        if let Some(bar) = &self.bar {
            self.shown.lock().unwrap_or_else(PoisonError::into_inner).show(progress, bar);
        }
    }
}

impl Drop for FetchBar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.clear();
        }
    }
}

impl ShownProgress {
    fn show(&mut self, progress: DepotProgress<'_>, bar: &CommandBar) {
        match progress {
            DepotProgress::Downloading { name, done, size } => self.download((name, done, size), bar),
            DepotProgress::Indexing { done, all } => {
                self.begin(FetchPhase::Indexing, 50, bar);
                let (done, all) = (done as u64, all as u64);
                bar.go_on("indexing", (done, all), BarAmount::Things(done, all, "patches"));
            }
            DepotProgress::Patch { doing, done, all } => {
                self.begin(FetchPhase::Patches(doing), percent(doing), bar);
                self.patch = Some((done, all));
                let (done, all) = (done as u64, all as u64);
                bar.go_on(word(doing), (done, all), BarAmount::Things(done, all, "patches"));
            }
            DepotProgress::Ended => {
                *self = Self::default();
                bar.clear();
            }
        }
    }

    /// A file of a patch is a part of its phase.
    fn download(&mut self, (name, done, size): (&str, u64, Option<u64>), bar: &CommandBar) {
        let part = size.map_or(0, |size| done.min(size).saturating_mul(PATCH) / size.max(1));
        let amount = BarAmount::Bytes(done, size);
        if let (Some(FetchPhase::Patches(doing)), Some((place, all))) = (&self.phase, self.patch) {
            let words = format!("{} {}/{all} {}", word(*doing), place + 1, short(name));
            bar.go_on(&words, (place as u64 * PATCH + part, all as u64 * PATCH), amount);
        } else {
            self.begin(FetchPhase::Download(name.to_owned()), 20, bar);
            bar.go_on(&format!("fetching {}", short(name)), (part, PATCH), amount);
        }
    }

    fn begin(&mut self, phase: FetchPhase, percent: u64, bar: &CommandBar) {
        if self.phase.as_ref() != Some(&phase) {
            self.phase = Some(phase);
            bar.begin(percent);
        }
    }
}

fn word(doing: PatchWork) -> &'static str {
    match doing {
        PatchWork::Reading => "reading",
        PatchWork::Fetching => "fetching",
        PatchWork::Checking => "checking",
    }
}

/// The usual part of what is left. Nothing comes after a check.
fn percent(doing: PatchWork) -> u64 {
    match doing {
        PatchWork::Reading => 20,
        PatchWork::Fetching => 60,
        PatchWork::Checking => 100,
    }
}

/// Returns the end of the last part of an address, without control characters.
fn short(address: &str) -> String {
    let name = address.rsplit('/').next().unwrap_or(address);
    let name = String::from_utf8_lossy(&printable(name.as_bytes())).into_owned();
    let count = name.chars().count();
    name.chars().skip(count.saturating_sub(LONGEST)).collect()
}
