//! The bar that shows how far a run is: on a terminal, for runs of more than half a second.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::transaction::{Doing, Event};

/// Shorter runs show nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// A bar on standard error that is gone when the run is.
pub(super) struct Bar {
    began: Instant,
    enabled: bool,
    shown: RefCell<Option<ProgressBar>>,
}

impl Bar {
    /// A bar for a command that began then; where it is not `enabled`, nothing is ever drawn.
    pub(super) fn new(began: Instant, enabled: bool) -> Self {
        Self { began, enabled, shown: RefCell::new(None) }
    }

    /// Shows what happens.
    pub(super) fn show(&self, event: Event) {
        if !self.enabled {
            return;
        }
        let mut bar = self.shown.borrow_mut();
        match event {
            Event::Begins(doing, units) => {
                let next = ProgressBar::with_draw_target(Some(units), ProgressDrawTarget::hidden());
                next.set_style(style(doing));
                next.set_message(word(doing));
                *bar = Some(next);
            }
            Event::Advances(units) => {
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
        if let Some(bar) = self.shown.borrow().as_ref() {
            bar.finish_and_clear();
        }
    }
}

fn word(doing: Doing) -> &'static str {
    match doing {
        Doing::Staging => "staging",
        Doing::Saving => "saving",
        Doing::Switching => "switching",
    }
}

fn style(doing: Doing) -> ProgressStyle {
    let template = match doing {
        Doing::Staging | Doing::Saving => "{msg:>10} [{bar:30}] {binary_bytes}/{binary_total_bytes}",
        Doing::Switching => "{msg:>10} [{bar:30}] {pos}/{len}",
    };
    // A template of this program is never refused; if it were, the bar would only look different.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
