//! The bar of what comes before a run: downloads, and directories that are indexed.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::manner::columns;
use patchadm_core::operation::depots::DepotProgress;
use patchadm_svr4::package::control::printable;

/// What takes less shows nothing.
const PATIENCE: Duration = Duration::from_millis(500);

/// On a narrower terminal there is no bar, only words.
const ROOM_FOR_BAR: usize = 56;

/// The longest name that is shown, in letters.
const LONGEST: usize = 40;

/// A bar on standard error that is gone when the value is.
pub(crate) struct FetchBar {
    began: Instant,
    is_enabled: bool,
    shown: RefCell<Option<(String, ProgressBar)>>,
}

impl FetchBar {
    /// A bar for a command that began then; where it is not enabled, nothing is ever drawn.
    pub(crate) fn new(began: Instant, is_enabled: bool) -> Self {
        Self { began, is_enabled, shown: RefCell::new(None) }
    }

    /// Shows how far it is.
    pub(crate) fn show(&self, progress: DepotProgress<'_>) {
        if !self.is_enabled || self.began.elapsed() < PATIENCE {
            return;
        }
        let (name, done, all, has_bytes) = match progress {
            DepotProgress::Downloading { name, done, size } => (name, done, size, true),
            DepotProgress::Indexing { done, all } => ("indexing", done as u64, Some(all as u64), false),
        };
        let mut shown = self.shown.borrow_mut();
        if shown.as_ref().is_none_or(|(of, _)| of != name) {
            if let Some((_, bar)) = shown.take() {
                bar.finish_and_clear();
            }
            let bar = ProgressBar::with_draw_target(all, ProgressDrawTarget::stderr());
            bar.set_style(style(has_bytes));
            bar.set_message(short(name));
            *shown = Some((name.to_owned(), bar));
        }
        if let Some((_, bar)) = shown.as_ref() {
            bar.set_position(done);
        }
    }
}

impl Drop for FetchBar {
    fn drop(&mut self) {
        if let Some((_, bar)) = self.shown.borrow().as_ref() {
            bar.finish_and_clear();
        }
    }
}

/// The end of a name, without control characters.
fn short(name: &str) -> String {
    let name = String::from_utf8_lossy(&printable(name.as_bytes())).into_owned();
    let count = name.chars().count();
    name.chars().skip(count.saturating_sub(LONGEST)).collect()
}

fn style(has_bytes: bool) -> ProgressStyle {
    let has_room = columns(std::io::stderr()).is_none_or(|columns| columns >= ROOM_FOR_BAR);
    let template = match (has_room, has_bytes) {
        (true, true) => "{msg:>40} [{wide_bar}] {binary_bytes}/{binary_total_bytes}",
        (true, false) => "{msg:>10} [{wide_bar}] {pos}/{len}",
        (false, _) => "{percent:>3}% {wide_msg}",
    };
    // A template of this program is never refused; if it were, the bar would only look different.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
