//! Progress bars of a run, which appear after half a second, or of many roots.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::manner::columns;
use patchadm_changeset::transaction::{ProgressEvent, RunActivity};
use patchadm_rootfs::WorkUnit;

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

/// Shorter work shows nothing.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// A narrower terminal shows only words, cut at the end of the line.
const ROOM_FOR_BAR: usize = 72;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BarUnit {
    Bytes,
    Things(&'static str),
}

impl BarUnit {
    /// The message says what is done.
    pub(super) fn style(self) -> ProgressStyle {
        fitting(&self.template(), "{percent:>3}% {eta:>4} {wide_msg}")
    }

    fn template(self) -> String {
        let counted = match self {
            Self::Bytes => "{binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec:>12}".to_owned(),
            Self::Things(name) => format!("{{pos}}/{{len}} {name} {{per_sec:>9}}"),
        };
        format!("{{msg:>10}} [{{wide_bar}}] {counted} {{eta:>4}}")
    }
}

impl From<WorkUnit> for BarUnit {
    fn from(unit: WorkUnit) -> Self {
        match unit {
            WorkUnit::Bytes => Self::Bytes,
            WorkUnit::Files => Self::Things("files"),
            WorkUnit::Objects => Self::Things("objects"),
            WorkUnit::Packages => Self::Things("packages"),
            WorkUnit::Patches => Self::Things("patches"),
        }
    }
}

/// Returns a line that fits into a terminal of any width: a bar that takes the available room, or words only.
pub(super) fn fitting(with_bar: &str, words: &str) -> ProgressStyle {
    let has_room = columns(std::io::stderr()).is_none_or(|columns| columns >= ROOM_FOR_BAR);
    // Templates of this program are valid; an invalid one would only change the look.
    ProgressStyle::with_template(if has_room { with_bar } else { words })
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("eta", time_left)
        .with_key("per_sec", rate)
}

/// For `{per_sec}`: with decimals for small rates.
fn rate(state: &ProgressState, out: &mut dyn Write) {
    let rate = state.per_sec();
    let decimals = usize::from(rate < 100.0);
    // It is written into a string, which does not fail.
    let _ = write!(out, "{rate:.decimals$}/s");
}

/// For `{eta}`: empty before a part is done.
fn time_left(state: &ProgressState, out: &mut dyn Write) {
    if state.pos() > 0 {
        // It is written into a string, which does not fail.
        let _ = write!(out, "{:#}", HumanDuration(state.eta()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_can_be_read() {
        for unit in [BarUnit::Bytes, BarUnit::Things("patches")] {
            assert!(ProgressStyle::with_template(&unit.template()).is_ok(), "{unit:?}");
        }
    }
}
