//! The bars that show the progress of a run, or of many roots: on a terminal, that of a run after half a second.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::bar_style::{BarUnit, fitting};
use patchadm_changeset::transaction::{ProgressEvent, RunActivity};

/// Shorter runs show nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// A bar on standard error that is gone when the run is.
pub(crate) struct Bar {
    began: Instant,
    enabled: bool,
    shown: Mutex<Option<ProgressBar>>,
}

impl Bar {
    /// A bar for a command that began then; where it is not `enabled`, nothing is ever drawn.
    pub(crate) fn new(began: Instant, enabled: bool) -> Self {
        Self { began, enabled, shown: Mutex::new(None) }
    }

    /// Shows an event of the run.
    pub(crate) fn show(&self, event: ProgressEvent) {
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

/// A bar that counts files that are read, on all threads that read them. It is gone when the value is.
pub(crate) struct ReadingBar {
    began: Instant,
    enabled: bool,
    shown: Mutex<Option<ProgressBar>>,
}

impl ReadingBar {
    /// A bar for a command that began then; where it is not `enabled`, nothing is ever drawn.
    pub(crate) fn new(began: Instant, enabled: bool) -> Self {
        Self { began, enabled, shown: Mutex::new(None) }
    }

    /// So many of all files are read.
    pub(crate) fn show(&self, read: usize, all: usize) {
        if !self.enabled || self.began.elapsed() < PATIENCE {
            return;
        }
        let mut bar = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(u64::try_from(all).ok(), ProgressDrawTarget::stderr());
            bar.set_style(BarUnit::Names.style());
            bar.set_message("reading");
            bar
        });
        bar.set_position(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

impl Drop for ReadingBar {
    fn drop(&mut self) {
        if let Some(bar) = self.shown.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            bar.finish_and_clear();
        }
    }
}

/// A bar that counts roots, below the lines that are printed meanwhile.
pub(crate) struct RootsBar(ProgressBar);

impl RootsBar {
    /// A bar for so many roots; where it is not `enabled`, nothing is ever drawn.
    pub(crate) fn new(roots: usize, enabled: bool) -> Self {
        let target = if enabled { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(u64::try_from(roots).ok(), target);
        bar.set_style(fitting(
            "{pos:>6} of {len} roots [{wide_bar}] {msg:22} {eta:>4}",
            "{pos}/{len} {eta:>4} {wide_msg}",
        ));
        Self(bar)
    }

    /// One root more has ended; so many have ended badly. `print` prints its lines, above the bar.
    pub(crate) fn beside(&self, bad: usize, print: impl FnOnce()) {
        self.0.suspend(print);
        if bad > 0 {
            self.0.set_message(format!("{bad} refused or failed"));
        }
        self.0.inc(1);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

/// How long a command whose work cannot be counted shows nothing.
const PATIENCE_OF_BUSY: Duration = Duration::from_secs(1);

/// A line that says what a command is at, and for how long, where nothing can be counted. It is gone when the value is.
pub(crate) struct BusyLine(Option<(Sender<()>, thread::JoinHandle<()>)>);

impl BusyLine {
    /// A line that appears after a second; where it is not `enabled`, nothing is ever drawn.
    pub(crate) fn new(doing: &'static str, enabled: bool) -> Self {
        if !enabled {
            return Self(None);
        }
        let (end, ended) = channel();
        Self(Some((end, thread::spawn(move || show_until(doing, &ended)))))
    }
}

impl Drop for BusyLine {
    fn drop(&mut self) {
        let Some((end, drawing)) = self.0.take() else { return };
        drop(end);
        // What the thread had drawn it has removed; that it panicked would be no reason not to go on.
        let _ = drawing.join();
    }
}

/// Draws the line after a second, until the sender is gone.
fn show_until(doing: &'static str, ended: &Receiver<()>) {
    if ended.recv_timeout(PATIENCE_OF_BUSY) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let bar =
        ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_elapsed(PATIENCE_OF_BUSY);
    bar.set_style(fitting("{msg:>10} {elapsed}", "{msg} {elapsed}"));
    bar.set_message(doing);
    bar.tick();
    while ended.recv_timeout(PATIENCE_OF_BUSY) == Err(RecvTimeoutError::Timeout) {
        bar.tick();
    }
    bar.finish_and_clear();
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
        RunActivity::Planning => BarUnit::Patches,
        RunActivity::Staging | RunActivity::Saving => BarUnit::Bytes,
        RunActivity::Switching => BarUnit::Names,
    }
}
