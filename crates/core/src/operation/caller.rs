//! The caller of a changing command, and a listener for the history of a locked root. The history has a line for each
//! run that changed the root or was rolled back, recovered runs included: its lines between lock and unlock are what
//! happened.

use std::io;
use std::os::unix::fs::FileExt as _;

use chrono::{DateTime, Utc};

use crate::operation::scripts::runner::ScriptSettings;
use patchadm_changeset::transaction::{ExchangeRequest, ProgressEvent};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::HistoryEntry;
use patchadm_inputs::trial::Moment;
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::{LockHolder, Root, never};
use patchadm_svr4::places;

pub struct Caller<'a> {
    /// As lock, journal and history name it.
    pub program: &'static str,
    pub now: Now,
    /// Start of the command, RFC 3339.
    pub time: String,
    pub user: String,
    /// Decides whether to wait once more for the holder of the lock, and does the waiting.
    pub wait: &'a dyn Fn(&LockHolder) -> bool,
    /// Returns the signal that asks the run to end, if any.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    pub progress: &'a (dyn Fn(ProgressEvent) + Sync),
    /// Receives new history entries each time that a root is unlocked.
    pub told: HistoryListener<'a>,
    /// The present moment, by which a trial is judged.
    pub moment: &'a dyn Fn() -> Moment,
    /// Returns a moment as messages show it.
    pub shown_time: &'a dyn Fn(DateTime<Utc>) -> String,
    /// Scripts that run unasked, at the end of a trial.
    pub scripts: ScriptSettings,
    /// Milliseconds since the command began.
    pub elapsed: &'a dyn Fn() -> u64,
    /// The undone run, for the history.
    pub undoes: Option<String>,
    /// A hook of a package manager calls, not a person; for the history.
    pub is_hook: bool,
    /// The command line as it was typed, without secrets; for the history.
    pub typed: Option<String>,
    /// A remark for the history that is reported later.
    pub note: Option<String>,
    /// Directories whose changes become visible at once, in the order of their switch.
    pub exchanges: Vec<ExchangeRequest>,
}

impl Caller<'_> {
    pub(super) fn undoing(&self, run: &str) -> Self {
        Self {
            now: self.now.clone(),
            time: self.time.clone(),
            user: self.user.clone(),
            scripts: self.scripts.clone(),
            undoes: Some(run.to_owned()),
            typed: self.typed.clone(),
            note: self.note.clone(),
            exchanges: self.exchanges.clone(),
            ..*self
        }
    }

    /// Names a further command that the user did not request: it has no note and no exchanges.
    pub(super) fn doing(&self, program: &'static str) -> Self {
        Self {
            program,
            now: self.now.clone(),
            time: self.time.clone(),
            user: self.user.clone(),
            scripts: self.scripts.clone(),
            undoes: None,
            typed: None,
            note: None,
            exchanges: Vec::new(),
            ..*self
        }
    }

    /// Ignores signals: one that came has been obeyed.
    pub(super) fn doing_to_its_end(&self) -> Self {
        Self { interrupt: &never, ..self.doing(self.program) }
    }

    #[must_use]
    pub fn noting(&self, note: Option<&str>) -> Self {
        Self {
            now: self.now.clone(),
            time: self.time.clone(),
            user: self.user.clone(),
            scripts: self.scripts.clone(),
            undoes: self.undoes.clone(),
            typed: self.typed.clone(),
            note: note.map(str::to_owned),
            exchanges: self.exchanges.clone(),
            ..*self
        }
    }

    #[must_use]
    pub fn as_hook(&self) -> Self {
        Self { is_hook: true, ..self.noting(self.note.as_deref()) }
    }

    #[must_use]
    pub fn exchanging(&self, exchanges: &[ExchangeRequest]) -> Self {
        Self { exchanges: exchanges.to_vec(), ..self.noting(self.note.as_deref()) }
    }
}

/// Bytes of new history that are read.
const MOST_NEW: u64 = 16 << 20;

/// Bytes searched for the last newline; a longer last line is skipped.
const LAST_LINE: u64 = 64 << 10;

/// Receives a root and its new history entries, oldest first.
pub type HistoryListener<'a> = &'a (dyn Fn(&Root, &[HistoryEntry]) + Sync);

/// The end of a history at one moment. On drop, its listener receives newer entries.
pub(super) struct HistoryWatch<'a> {
    root: Root,
    end: u64,
    listener: HistoryListener<'a>,
}

impl<'a> HistoryWatch<'a> {
    /// A history that cannot be read is reported by the run that writes it.
    pub(super) fn begin(root: &Root, listener: HistoryListener<'a>) -> Self {
        let end = end_of_lines(root).unwrap_or_default();
        Self { root: root.clone(), end, listener }
    }

    /// A line that was cut off and written again counts once.
    fn new_entries(&self) -> io::Result<Vec<HistoryEntry>> {
        let Ok(Some(file)) = RecordView::live(&self.root).open(&places::history()) else {
            return Ok(Vec::new());
        };
        let size = file.metadata()?.len().saturating_sub(self.end).min(MOST_NEW);
        let mut text = vec![0; usize::try_from(size).unwrap_or_default()];
        file.read_exact_at(&mut text, self.end)?;
        Ok(text.split(|&byte| byte == b'\n').filter_map(|line| HistoryEntry::parse(line).ok()).collect())
    }
}

impl Drop for HistoryWatch<'_> {
    fn drop(&mut self) {
        let entries = self.new_entries().unwrap_or_default();
        if !entries.is_empty() {
            (self.listener)(&self.root, &entries);
        }
    }
}

/// Returns the offset behind the last whole line.
fn end_of_lines(root: &Root) -> io::Result<u64> {
    let Ok(Some(file)) = RecordView::live(root).open(&places::history()) else { return Ok(0) };
    let size = file.metadata()?.len();
    let from = size.saturating_sub(LAST_LINE);
    let mut text = vec![0; usize::try_from(size - from).unwrap_or_default()];
    file.read_exact_at(&mut text, from)?;
    let behind = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline as u64 + 1);
    Ok(from + behind)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Mutex;

    use super::*;

    fn line(run: &str) -> String {
        format!(
            r#"{{"run":"{run}","time":"2026-11-20T07:00:00Z","user":"root","command":"patchadd","result":"done","duration":7}}"#
        ) + "\n"
    }

    fn told(before: &str, after: &str) -> Vec<String> {
        let place = tempfile::tempdir().unwrap();
        let history = place.path().join("var/sadm/patchadm/history");
        fs::create_dir_all(history.parent().unwrap()).unwrap();
        if !before.is_empty() {
            fs::write(&history, before).unwrap();
        }
        let root = Root::open(place.path()).unwrap();
        let told = Mutex::new(Vec::new());
        let listener = |_: &Root, entries: &[HistoryEntry]| {
            told.lock().unwrap().extend(entries.iter().map(|entry| entry.run.clone()));
        };
        let watch = HistoryWatch::begin(&root, &listener);
        fs::write(&history, after).unwrap();
        drop(watch);
        told.into_inner().unwrap()
    }

    #[test]
    fn what_a_history_gets_is_told_once() {
        let (one, two, three) = (line("1-a"), line("2-b"), line("3-c"));
        assert_eq!(told("", &one), ["1-a"]);
        assert_eq!(told(&one, &format!("{one}{two}{three}")), ["2-b", "3-c"]);
        assert!(told(&one, &one).is_empty());
    }

    #[test]
    fn a_torn_line_that_is_written_again_is_new() {
        let (one, two) = (line("1-a"), line("2-b"));
        assert_eq!(told(&format!("{one}{}", &two[..20]), &format!("{one}{two}")), ["2-b"]);
    }

    #[test]
    fn a_history_that_shrank_or_holds_other_words_tells_nothing() {
        assert!(told(&line("1-a").repeat(3), "").is_empty());
        assert!(told(&line("1-a"), &format!("{}no entry\n", line("1-a"))).is_empty());
    }
}
