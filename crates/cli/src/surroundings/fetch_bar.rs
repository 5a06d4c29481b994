//! The bar before a run: downloads, patches that are read or compared, and directories that are indexed.

use std::cell::RefCell;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::bar::{BarUnit, PATIENCE};
use patchadm_core::operation::depots::{DepotProgress, PatchWork};
use patchadm_svr4::package::control::printable;

/// In letters.
const LONGEST: usize = 24;

/// Disappears from standard error when it is dropped.
pub struct FetchBar {
    began: Instant,
    is_enabled: bool,
    shown: RefCell<ShownProgress>,
}

#[derive(Default)]
struct ShownProgress {
    /// `fetching 2/20`.
    patch: Option<String>,
    /// With its subject.
    bar: Option<(String, ProgressBar)>,
}

impl FetchBar {
    /// Never drawn unless enabled.
    pub fn new(began: Instant, is_enabled: bool) -> Self {
        Self { began, is_enabled, shown: RefCell::default() }
    }

    pub fn show(&self, progress: DepotProgress<'_>) {
        if self.is_enabled {
            self.shown.borrow_mut().take(progress, self.began.elapsed() >= PATIENCE);
        }
    }
}

impl Drop for FetchBar {
    fn drop(&mut self) {
        self.shown.borrow_mut().clear();
    }
}

impl ShownProgress {
    fn take(&mut self, progress: DepotProgress<'_>, is_drawn: bool) {
        let (words, done, all, has_bytes) = match progress {
            DepotProgress::Downloading { name, done, size } => {
                let what = self.patch.as_deref().unwrap_or("fetching");
                (format!("{what} {}", short(name)), done, size, true)
            }
            DepotProgress::Indexing { done, all } => {
                ("indexing".to_owned(), done as u64, Some(all as u64), false)
            }
            DepotProgress::Patch { doing, done, all } => {
                let word = word(doing);
                self.patch = Some(format!("{word} {}/{all}", done + 1));
                (word.to_owned(), done as u64, Some(all as u64), false)
            }
            DepotProgress::Ended => return self.clear(),
        };
        if is_drawn {
            self.draw(words, done, all, has_bytes);
        }
    }

    fn draw(&mut self, words: String, done: u64, all: Option<u64>, has_bytes: bool) {
        if self.bar.as_ref().is_none_or(|(of, _)| *of != words) {
            self.clear_bar();
            let bar = ProgressBar::with_draw_target(all, ProgressDrawTarget::stderr());
            bar.set_style(if has_bytes { BarUnit::Bytes } else { BarUnit::Things("patches") }.style());
            bar.set_message(words.clone());
            self.bar = Some((words, bar));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_position(done);
        }
    }

    fn clear_bar(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn clear(&mut self) {
        self.clear_bar();
        self.patch = None;
    }
}

fn word(doing: PatchWork) -> &'static str {
    match doing {
        PatchWork::Reading => "reading",
        PatchWork::Fetching => "fetching",
        PatchWork::Checking => "checking",
    }
}

/// Returns the end of the last part of an address, without control characters.
fn short(address: &str) -> String {
    let name = address.rsplit('/').next().unwrap_or(address);
    let name = String::from_utf8_lossy(&printable(name.as_bytes())).into_owned();
    let count = name.chars().count();
    name.chars().skip(count.saturating_sub(LONGEST)).collect()
}
