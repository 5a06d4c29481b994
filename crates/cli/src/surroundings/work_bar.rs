//! Draws the bar of a command whose work counts itself by a meter: its progress if it can be counted, else the time.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use patchadm_rootfs::{WorkMeter, WorkStep, WorkUnit};

use super::bar::{BarAmount, CommandBar, PATIENCE};

/// Interval for drawing.
const TICK: Duration = Duration::from_millis(100);

/// The part of what is left that a step takes. How many follow is not known.
const STEP: u64 = 70;

/// Disappears from standard error when it is dropped.
pub struct WorkBar {
    meter: WorkMeter,
    drawing: Option<(Sender<()>, thread::JoinHandle<()>)>,
}

impl WorkBar {
    /// Never drawn unless `enabled`.
    pub fn new(doing: &'static str, bar: &CommandBar, enabled: bool) -> Self {
        let meter = WorkMeter::default();
        let drawing = enabled.then(|| {
            let (end, ended) = channel();
            let shown = ShownWork { doing, meter: meter.clone(), bar: bar.clone(), step: None };
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
    bar: CommandBar,
    step: Option<WorkStep>,
}

impl ShownWork {
    /// Ends when the sender is gone.
    fn draw_until(mut self, ended: &Receiver<()>) {
        let mut wait = PATIENCE;
        while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
            self.draw();
            wait = TICK;
        }
        self.bar.clear();
    }

    fn draw(&mut self) {
        let Some(step) = self.meter.step().filter(|step| step.units() > 0) else {
            return self.bar.wait(self.doing);
        };
        if !self.step.as_ref().is_some_and(|shown| shown.is(&step)) {
            self.bar.begin(STEP);
            self.step = Some(step.clone());
        }
        let (done, all) = (step.done(), step.units());
        self.bar.go_on(self.doing, (done, all), amount(step.unit(), done, all));
    }
}

fn amount(unit: WorkUnit, done: u64, all: u64) -> BarAmount {
    match unit {
        WorkUnit::Bytes => BarAmount::Bytes(done, Some(all)),
        WorkUnit::Files => BarAmount::Things(done, all, "files"),
        WorkUnit::Objects => BarAmount::Things(done, all, "objects"),
        WorkUnit::Packages => BarAmount::Things(done, all, "packages"),
        WorkUnit::Patches => BarAmount::Things(done, all, "patches"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_bar_goes_on_from_step_to_step_and_never_back() {
        let bar = CommandBar::new(Instant::now());
        let meter = WorkMeter::default();
        let mut shown = ShownWork { doing: "building", meter: meter.clone(), bar: bar.clone(), step: None };
        shown.draw();
        assert_eq!(bar.position(), 0, "nothing is counted yet");
        let mut before = 0;
        for (unit, units) in [(WorkUnit::Bytes, 4), (WorkUnit::Objects, 2), (WorkUnit::Patches, 1)] {
            let step = meter.begin(unit, units);
            shown.draw();
            assert_eq!(bar.position(), before, "{unit:?} begins where the step before has ended");
            for _ in 0..units {
                step.advance(1);
                shown.draw();
                assert!(before < bar.position(), "{unit:?}");
                before = bar.position();
            }
        }
    }
}
