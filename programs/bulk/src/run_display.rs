//! What is seen of a run while it goes on: bars on a terminal, a line for each package otherwise.

use std::io;

use patchadm_building::run::RunEvent;
use patchadm_bulk_values::journal::{PackageOutcome, PackageState};
use patchadm_cli::call::Invocation;
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::slots_bar::SlotsBar;

/// The display of a run.
pub(crate) struct RunDisplay {
    screen: Output,
    /// Whether nothing is shown at all.
    is_silent: bool,
    has_terminal: bool,
    bars: Option<SlotsBar>,
}

impl RunDisplay {
    /// A display on standard error.
    pub(crate) fn new(call: &Invocation) -> Self {
        Self {
            screen: Output::new(call.program),
            is_silent: call.in_json || call.surroundings.is_quiet,
            has_terminal: call.surroundings.stderr_is_terminal,
            bars: None,
        }
    }

    /// Shows an event.
    pub(crate) fn show(&mut self, event: &RunEvent<'_>) {
        if self.is_silent {
            return;
        }
        if let (RunEvent::Begins { packages, .. }, true) = (event, self.has_terminal) {
            self.bars = SlotsBar::new(*packages);
        }
        let line = line_of(event, self.bars.is_some());
        let screen = &mut self.screen;
        // If standard error cannot be written to, there is no one to tell.
        let mut print = |line: String| drop::<io::Result<()>>(screen.complain(line));
        match (&self.bars, line) {
            (Some(bars), Some(line)) => bars.beside(|| print(line)),
            (None, Some(line)) => print(line),
            (_, None) => {}
        }
        if let Some(bars) = &mut self.bars {
            draw(bars, event);
        }
    }
}

/// Draws an event.
fn draw(bars: &mut SlotsBar, event: &RunEvent<'_>) {
    match event {
        RunEvent::Starts { package, slot } => bars.begin(package, slot),
        RunEvent::Phase { package, phase } => bars.phase(package, phase),
        RunEvent::PutBack { package } => bars.put_back(package),
        RunEvent::Ends { package, outcome } => bars.end(package, is_bad(outcome)),
        RunEvent::Begins { .. } | RunEvent::Note(_) => {}
    }
}

fn is_bad(outcome: &PackageOutcome) -> bool {
    matches!(outcome.state, PackageState::Failed | PackageState::Deferred)
}

/// Returns the line for an event, if it has one. Beside bars only what failed has one.
fn line_of(event: &RunEvent<'_>, has_bars: bool) -> Option<String> {
    match event {
        RunEvent::Begins { run, is_continued, packages } => {
            let goes_on = if *is_continued { " goes on" } else { "" };
            Some(format!("run {run}{goes_on}: {packages} packages\n"))
        }
        RunEvent::Ends { outcome, .. } if has_bars && !is_bad(outcome) => None,
        RunEvent::Ends { package, outcome } => {
            let cause = outcome.cause.map(|cause| format!(" ({cause})")).unwrap_or_default();
            Some(format!("{package}: {}{cause}\n", outcome.state))
        }
        RunEvent::Note(note) => Some(format!("note: {note}\n")),
        RunEvent::Starts { .. } | RunEvent::Phase { .. } | RunEvent::PutBack { .. } => None,
    }
}
