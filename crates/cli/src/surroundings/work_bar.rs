//! The bar of a command that changes no root: its progress if that can be counted, else the time.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};
use patchadm_rootfs::{WorkMeter, WorkStep};

use super::bar::{BarUnit, PATIENCE, fitting};

/// Interval for drawing.
const TICK: Duration = Duration::from_millis(100);

/// Disappears from standard error when it is dropped.
pub struct WorkBar {
    meter: WorkMeter,
    drawing: Option<(Sender<()>, thread::JoinHandle<()>)>,
}

impl WorkBar {
    /// Never drawn unless `enabled`.
    pub fn new(doing: &'static str, enabled: bool) -> Self {
        let meter = WorkMeter::default();
        let drawing = enabled.then(|| {
            let (end, ended) = channel();
            let shown = ShownWork { doing, meter: meter.clone(), began: Instant::now(), bar: None };
            (end, thread::spawn(move || shown.draw_until(&ended)))
        });
        Self { meter, drawing }
    }

    /// Returns the meter of the work if the bar is ever drawn: for work that would be counted only for it.
    pub fn watched(&self) -> Option<&WorkMeter> {
        self.drawing.as_ref().map(|_| &self.meter)
    }

    pub fn meter(&self) -> &WorkMeter {
        &self.meter
    }
}

impl Drop for WorkBar {
    fn drop(&mut self) {
        let Some((end, drawing)) = self.drawing.take() else { return };
        drop(end);
        // The thread has removed its drawing; a panic in it is no reason to stop.
        let _ = drawing.join();
    }
}

struct ShownWork {
    doing: &'static str,
    meter: WorkMeter,
    began: Instant,
    /// With its step.
    bar: Option<(Option<WorkStep>, ProgressBar)>,
}

impl ShownWork {
    /// Ends when the sender is gone.
    fn draw_until(mut self, ended: &Receiver<()>) {
        let mut wait = PATIENCE;
        while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            self.draw();
            wait = TICK;
        }
        self.clear();
    }

    fn draw(&mut self) {
        let step = self.meter.step().filter(|step| step.units() > 0);
        let is_same = |shown: &Option<WorkStep>| match (shown, &step) {
            (Some(shown), Some(step)) => shown.is(step),
            (None, None) => true,
            _ => false,
        };
        if !self.bar.as_ref().is_some_and(|(shown, _)| is_same(shown)) {
            self.clear();
            self.bar = Some((step.clone(), self.bar_of(step.as_ref())));
        }
        if let Some((step, bar)) = &self.bar {
            if let Some(step) = step {
                bar.set_position(step.done());
            }
            bar.tick();
        }
    }

    fn bar_of(&self, step: Option<&WorkStep>) -> ProgressBar {
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(step.map(WorkStep::units), target);
        bar.set_style(match step {
            Some(step) => BarUnit::from(step.unit()).style(),
            None => fitting("{msg:>10} {elapsed}", "{msg} {elapsed}"),
        });
        bar.set_message(self.doing);
        if step.is_none() { bar.with_elapsed(self.began.elapsed()) } else { bar }
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
