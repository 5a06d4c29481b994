//! Bars of a bulk build: one for each working slot, and one for all packages.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};

use super::bar::fitting;
use patchadm_svr4::package::control::printable;

/// Interval for redrawing times.
const TICK: Duration = Duration::from_millis(500);

/// Disappears from standard error when it is dropped.
pub struct SlotsBar {
    bars: MultiProgress,
    all: ProgressBar,
    running: BTreeMap<String, ProgressBar>,
    failed: usize,
}

impl SlotsBar {
    /// Returns `None` if standard error is no terminal that can draw bars.
    pub fn new(packages: usize) -> Option<Self> {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        if bars.is_hidden() {
            return None;
        }
        let all = bars.add(ProgressBar::new(u64::try_from(packages).unwrap_or_default()));
        all.set_style(fitting(
            "{pos:>6} of {len} packages [{wide_bar}] {msg:12} {eta:>4}",
            "{pos}/{len} {wide_msg}",
        ));
        all.enable_steady_tick(TICK);
        Some(Self { bars, all, running: BTreeMap::new(), failed: 0 })
    }

    pub fn begin(&mut self, package: &str, slot: &str) {
        let bar = self.bars.insert_before(&self.all, ProgressBar::new_spinner());
        bar.set_style(fitting("{prefix:>12} {elapsed:>5}  {wide_msg}", "{wide_msg}"));
        bar.set_prefix(shown(slot));
        bar.set_message(shown(package));
        bar.enable_steady_tick(TICK);
        self.running.insert(package.to_owned(), bar);
    }

    pub fn phase(&self, package: &str, phase: &str) {
        if let Some(bar) = self.running.get(package) {
            bar.set_message(shown(&format!("{package}  {phase}")));
        }
    }

    /// The package is not being built any more.
    pub fn put_back(&mut self, package: &str) {
        if let Some(bar) = self.running.remove(package) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    pub fn end(&mut self, package: &str, is_bad: bool) {
        self.put_back(package);
        if is_bad {
            self.failed += 1;
            self.all.set_message(format!("{} failed", self.failed));
        }
        self.all.inc(1);
    }

    pub fn beside(&self, print: impl FnOnce()) {
        self.bars.suspend(print);
    }
}

impl Drop for SlotsBar {
    fn drop(&mut self) {
        self.running.values().for_each(ProgressBar::finish_and_clear);
        self.all.finish_and_clear();
    }
}

/// Removes control characters.
fn shown(text: &str) -> String {
    String::from_utf8_lossy(&printable(text.as_bytes())).into_owned()
}
