//! The progress bar of a command, or of many roots.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{BinaryBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::manner::columns;
use patchadm_changeset::transaction::{ProgressEvent, RunActivity};

/// The parts of a whole bar.
const LENGTH: u64 = 1_000_000;

/// One bar on standard error for a whole command, which appears after half a second and only moves forward. How long
/// later phases take is not known, so each phase takes a part of what is left, and no time is shown.
#[derive(Clone, Debug)]
pub struct CommandBar(Arc<Mutex<BarState>>);

#[derive(Debug)]
struct BarState {
    began: Instant,
    position: u64,
    /// The parts of the phase.
    from: u64,
    to: u64,
    /// True while a phase is counted.
    is_counted: bool,
    drawn: Option<ProgressBar>,
}

/// The amount that a phase counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BarAmount {
    Bytes(u64, Option<u64>),
    Things(u64, u64, &'static str),
    /// The time since the command began, while nothing can be counted.
    Elapsed(Duration),
}

impl CommandBar {
    pub fn new(began: Instant) -> Self {
        Self(Arc::new(Mutex::new(BarState::new(began))))
    }

    /// For work that begins after a question.
    pub fn begin_again(&self) {
        let mut state = self.state();
        state.clear();
        *state = BarState::new(Instant::now());
    }

    /// The next phase takes so many percent of what is left.
    pub(super) fn begin(&self, percent: u64) {
        let mut state = self.state();
        state.from = state.position;
        state.to = state.from + (LENGTH - state.from) * percent.min(100) / 100;
        state.is_counted = true;
    }

    /// Moves within the phase, to `done` of `all`.
    pub(super) fn go_on(&self, words: &str, (done, all): (u64, u64), amount: BarAmount) {
        let mut state = self.state();
        let length = u128::from(state.to - state.from) * u128::from(done.min(all)) / u128::from(all.max(1));
        // It is no longer than the phase.
        let position = state.from + u64::try_from(length).unwrap_or_default();
        state.position = state.position.max(position);
        state.draw(words, amount);
    }

    /// Shows the time instead of a count, unless a phase is counted.
    pub(super) fn wait(&self, words: &str) {
        let mut state = self.state();
        if !state.is_counted {
            let elapsed = state.began.elapsed();
            state.draw(words, BarAmount::Elapsed(elapsed));
        }
    }

    /// Removes the drawing; a later phase goes on where this one has ended.
    pub(super) fn clear(&self) {
        self.state().clear();
    }

    #[cfg(test)]
    pub(super) fn position(&self) -> u64 {
        self.state().position
    }

    fn suspend(&self, print: impl FnOnce()) {
        match self.state().drawn.as_ref() {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    fn state(&self) -> MutexGuard<'_, BarState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const TEMPLATE: &str = "{msg:>10} [{wide_bar}] {prefix}";
const WORDS: &str = "{percent:>3}% {wide_msg}";

impl BarState {
    fn new(began: Instant) -> Self {
        Self { began, position: 0, from: 0, to: 0, is_counted: false, drawn: None }
    }

    fn draw(&mut self, words: &str, amount: BarAmount) {
        if self.began.elapsed() < PATIENCE {
            return;
        }
        let bar = self.drawn.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(LENGTH), ProgressDrawTarget::stderr());
            bar.set_style(fitting(TEMPLATE, WORDS));
            bar
        });
        bar.set_position(self.position);
        bar.set_prefix(amount.words());
        bar.set_message(words.to_owned());
    }

    fn clear(&mut self) {
        self.is_counted = false;
        if let Some(bar) = self.drawn.take() {
            bar.finish_and_clear();
        }
    }
}

impl BarAmount {
    fn words(self) -> String {
        match self {
            Self::Bytes(done, Some(all)) => format!("{}/{}", BinaryBytes(done), BinaryBytes(all)),
            Self::Bytes(done, None) => BinaryBytes(done).to_string(),
            Self::Things(done, all, name) => format!("{done}/{all} {name}"),
            Self::Elapsed(time) => format!("{:#}", HumanDuration(time)),
        }
    }
}

/// Shows a run on the bar of its command, until it is dropped.
pub struct RunBar<'a> {
    bar: Option<&'a CommandBar>,
    /// With what is done, and all.
    phase: Mutex<Option<(RunActivity, u64, u64)>>,
}

impl<'a> RunBar<'a> {
    /// Never drawn unless `enabled`.
    pub fn new(bar: &'a CommandBar, enabled: bool) -> Self {
        Self { bar: enabled.then_some(bar), phase: Mutex::new(None) }
    }

    pub fn show(&self, event: ProgressEvent) {
        let Some(bar) = self.bar else { return };
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            ProgressEvent::Begins(doing, units) => {
                bar.begin(percent(doing));
                *phase = Some((doing, 0, units));
            }
            ProgressEvent::Advances(units) => {
                let Some((doing, done, all)) = phase.as_mut() else { return };
                *done = done.saturating_add(units);
                bar.go_on(word(*doing), (*done, *all), amount(*doing, *done, *all));
            }
            ProgressEvent::Commits | ProgressEvent::Ends => {}
        }
    }

    /// Prints above the bar.
    pub fn suspend(&self, print: impl FnOnce()) {
        match self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for RunBar<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.bar {
            bar.clear();
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

fn amount(doing: RunActivity, done: u64, all: u64) -> BarAmount {
    match doing {
        RunActivity::Planning => BarAmount::Things(done, all, "patches"),
        RunActivity::Staging | RunActivity::Saving => BarAmount::Bytes(done, Some(all)),
        RunActivity::Switching => BarAmount::Things(done, all, "names"),
    }
}

/// The usual part of what is left.
fn percent(doing: RunActivity) -> u64 {
    match doing {
        RunActivity::Planning => 20,
        RunActivity::Staging => 60,
        RunActivity::Saving => 50,
        RunActivity::Switching => 80,
    }
}

/// Shorter work shows nothing.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// A narrower terminal shows only words, cut at the end of the line.
const ROOM_FOR_BAR: usize = 72;

/// Returns a line that fits into a terminal of any width: a bar that takes the available room, or words only.
pub(super) fn fitting(with_bar: &str, words: &str) -> ProgressStyle {
    let has_room = columns(std::io::stderr()).is_none_or(|columns| columns >= ROOM_FOR_BAR);
    // Templates of this program are valid; an invalid one would only change the look.
    ProgressStyle::with_template(if has_room { with_bar } else { words })
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("eta", time_left)
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
    fn a_bar_goes_on_from_phase_to_phase_and_never_back() {
        let bar = CommandBar::new(Instant::now());
        let run = RunBar::new(&bar, true);
        let position = || bar.position();
        let mut before = 0;
        let phases =
            [RunActivity::Planning, RunActivity::Staging, RunActivity::Saving, RunActivity::Switching];
        // A run for each of two batches.
        for doing in phases.into_iter().chain(phases) {
            run.show(ProgressEvent::Begins(doing, 4));
            assert_eq!(position(), before, "{doing:?} begins where the phase before has ended");
            for _ in 0..4 {
                run.show(ProgressEvent::Advances(1));
                assert!(before < position() && position() <= LENGTH, "{doing:?}");
                before = position();
            }
            // Progress beyond the announced amount does not leave the phase.
            run.show(ProgressEvent::Advances(9));
            assert_eq!(position(), before, "{doing:?}");
        }
        bar.begin_again();
        assert_eq!(position(), 0);
    }

    #[test]
    fn the_time_is_shown_only_while_nothing_is_counted() {
        let bar = CommandBar::new(Instant::now().checked_sub(Duration::from_secs(2)).unwrap());
        let shown = || bar.state().drawn.as_ref().map(ProgressBar::prefix);
        bar.wait("checking");
        assert_eq!(shown().as_deref(), Some("2s"));
        bar.begin(50);
        bar.go_on("checking", (1, 2), BarAmount::Things(1, 2, "files"));
        bar.wait("checking");
        assert_eq!(shown().as_deref(), Some("1/2 files"));
        bar.clear();
        bar.wait("checking");
        assert_eq!(shown().as_deref(), Some("2s"));
        bar.clear();
    }

    #[test]
    fn every_template_can_be_read() {
        for template in [TEMPLATE, WORDS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
