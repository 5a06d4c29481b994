//! Progress bars of a run, which appear after half a second, or of many roots.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::bar_style::{BarUnit, PATIENCE, fitting};
use patchadm_changeset::transaction::{ProgressEvent, RunActivity};

/// A bar on standard error that disappears when it is dropped.
pub struct Bar {
    began: Instant,
    enabled: bool,
    shown: Mutex<Option<ProgressBar>>,
}

impl Bar {
    /// Never drawn unless `enabled`.
    pub fn new(began: Instant, enabled: bool) -> Self {
        Self { began, enabled, shown: Mutex::new(None) }
    }

    pub fn show(&self, event: ProgressEvent) {
        if !self.enabled {
            return;
        }
        let mut bar = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            ProgressEvent::Begins(doing, units) => {
                let next = ProgressBar::with_draw_target(Some(units), ProgressDrawTarget::hidden());
                next.set_style(unit(doing).style());
                next.set_message(word(doing));
                *bar = Some(next);
            }
            ProgressEvent::Advances(units) => {
                let Some(bar) = bar.as_ref() else { return };
                if bar.is_hidden() && self.began.elapsed() >= PATIENCE {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.inc(units);
            }
            ProgressEvent::Commits | ProgressEvent::Ends => {}
        }
    }
}

impl Bar {
    /// Prints above the bar.
    pub fn suspend(&self, print: impl FnOnce()) {
        match self.shown.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = self.shown.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            bar.finish_and_clear();
        }
    }
}

/// Counts roots, below the lines that are printed meanwhile.
pub struct RootsBar(ProgressBar);

impl RootsBar {
    /// Never drawn unless `enabled`.
    pub fn new(roots: usize, enabled: bool) -> Self {
        let target = if enabled { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(u64::try_from(roots).ok(), target);
        bar.set_style(fitting(
            "{pos:>6} of {len} roots [{wide_bar}] {msg:22} {eta:>4}",
            "{pos}/{len} {eta:>4} {wide_msg}",
        ));
        Self(bar)
    }

    /// Counts one more root; `bad` roots have failed. `print` prints its lines above the bar.
    pub fn beside(&self, bad: usize, print: impl FnOnce()) {
        self.0.suspend(print);
        if bad > 0 {
            self.0.set_message(format!("{bad} refused or failed"));
        }
        self.0.inc(1);
    }

    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn word(doing: RunActivity) -> &'static str {
    match doing {
        RunActivity::Planning => "planning",
        RunActivity::Staging => "staging",
        RunActivity::Saving => "saving",
        RunActivity::Switching => "switching",
    }
}

fn unit(doing: RunActivity) -> BarUnit {
    match doing {
        RunActivity::Planning => BarUnit::Things("patches"),
        RunActivity::Staging | RunActivity::Saving => BarUnit::Bytes,
        RunActivity::Switching => BarUnit::Things("names"),
    }
}
