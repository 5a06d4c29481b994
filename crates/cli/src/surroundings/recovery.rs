//! Changes of the root before a command's own work. Each line about them is printed once, by the command's report or
//! by [`Output`](super::Output).

use std::sync::{Arc, Mutex, PoisonError};

use patchadm_changeset::transaction::Recovered;
use patchadm_core::operation::session::FirstWork;
use patchadm_rootfs::human;

#[derive(Clone, Debug, Default)]
pub struct RecoveryNews(Arc<Mutex<News>>);

#[derive(Debug, Default)]
struct News {
    sentence: Option<String>,
    untold: Vec<String>,
    has_changed: bool,
}

impl RecoveryNews {
    fn with<T>(&self, work: impl FnOnce(&mut News) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn hear(&self, first: FirstWork<'_>) {
        self.with(|news| match first {
            FirstWork::Recovery(found) => {
                let sentence = recovery_sentence(found);
                news.untold.extend(sentence.iter().chain(found.notes()).cloned());
                news.sentence = sentence.or(news.sentence.take());
                news.has_changed |= found.has_changed();
            }
            FirstWork::TrialEnd(notes) => {
                news.untold.extend_from_slice(notes);
                news.has_changed = true;
            }
        });
    }

    /// The outcome of the last recovery, even if it has been printed.
    pub fn sentence(&self) -> Option<String> {
        self.with(|news| news.sentence.clone())
    }

    pub fn has_changed(&self) -> bool {
        self.with(|news| news.has_changed)
    }

    pub fn take_untold(&self) -> Vec<String> {
        self.with(|news| std::mem::take(&mut news.untold))
    }

    /// The text is printed: what it says is not said again.
    pub fn is_told_by(&self, text: &[u8]) {
        self.with(|news| {
            if !news.untold.is_empty() {
                let text = String::from_utf8_lossy(text);
                news.untold.retain(|line| !text.contains(line.as_str()));
            }
        });
    }

    /// After a recovery that changed the root, only the command itself changed nothing.
    pub fn corrected(&self, text: &str) -> String {
        if !self.has_changed() {
            return text.to_owned();
        }
        let corrected = text.split('\n').map(|line| match line {
            "nothing was changed" => "nothing else was changed",
            "Nothing was changed." => "Nothing else was changed.",
            line => line,
        });
        corrected.collect::<Vec<_>>().join("\n")
    }
}

/// Returns the outcome of a recovery as a sentence; `None` if no run was interrupted.
pub fn recovery_sentence(found: &Recovered) -> Option<String> {
    match found {
        Recovered::Nothing | Recovered::PassedOver { .. } => None,
        Recovered::RolledBack { run, .. } => {
            Some(format!("Interrupted run {run} was rolled back: everything is as before."))
        }
        Recovered::Finished { run, .. } => {
            Some(format!("Run {run} was complete; its leftovers were removed."))
        }
        Recovered::Cleared { runs, bytes, .. } => {
            let runs = if runs.len() == 1 { "an interrupted run" } else { "interrupted runs" };
            let size = human(*bytes);
            Some(format!("Removed the leftovers of {runs} ({size}); the root was unchanged."))
        }
        Recovered::Foreseen { run, is_rolled_back: true, .. } => Some(format!(
            "Run {run} was interrupted: `recover`, or the next change, will roll it back. This is the plan after that."
        )),
        Recovered::Foreseen { run, .. } => Some(format!(
            "Run {run} was completed, but not cleaned up: `recover`, or the next change, will do it. This is the plan after that."
        )),
    }
}
