use super::{DatabaseError, RecordView, ViewError, places};
use crate::trial::{LONGEST_TRIAL_RECORD, TrialRecord, TrialRecordError};
pub use patchadm_changeset::format::history::{HistoryEntry, HistoryError, parse};

/// 256 MiB.
pub const LARGEST_HISTORY: u64 = 256 << 20;

/// Empty if there is none.
pub fn history_text(view: &RecordView<'_>) -> Result<Vec<u8>, DatabaseError> {
    Ok(view.read(&places::history(), LARGEST_HISTORY)?.unwrap_or_default())
}

/// Returns the runs of the root, oldest first.
pub fn history(view: &RecordView<'_>) -> Result<Vec<HistoryEntry>, DatabaseError> {
    let damaged = |reason| DatabaseError::History { path: view.root().show(&places::history()), reason };
    parse(&history_text(view)?).map_err(damaged)
}

/// Returns the runs with readable lines, oldest first: a hint that tolerates damaged lines.
pub fn readable_history(view: &RecordView<'_>) -> Vec<HistoryEntry> {
    let text = history_text(view).unwrap_or_default();
    text.split(|&byte| byte == b'\n').filter_map(|line| HistoryEntry::parse(line).ok()).collect()
}

#[derive(Debug, thiserror::Error)]
pub enum TrialFault {
    #[error(transparent)]
    View(#[from] ViewError),
    #[error("{path}: {error}")]
    Record {
        /// On the host.
        path: String,
        error: TrialRecordError,
    },
    #[error("{path}: it is about run {run}, and patch {patch} was applied by {by}")]
    OtherRun {
        /// On the host.
        path: String,
        run: String,
        patch: String,
        by: String,
    },
}

/// Returns the trial of a root, even if it is over.
pub fn trial(view: &RecordView<'_>) -> Result<Option<TrialRecord>, TrialFault> {
    let place = places::trial_record();
    let Some(text) = view.read(&place, LONGEST_TRIAL_RECORD)? else { return Ok(None) };
    let damaged = |error| TrialFault::Record { path: view.root().show(&place), error };
    TrialRecord::parse(&text).map(Some).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_without_history_has_had_no_runs() {
        let dir = tempfile::tempdir().unwrap();
        let root = patchadm_rootfs::Root::open(dir.path()).unwrap();
        assert_eq!(history(&RecordView::live(&root)).unwrap(), []);
    }

    #[test]
    fn a_root_without_the_record_is_on_no_trial() {
        let dir = tempfile::tempdir().unwrap();
        let root = patchadm_rootfs::Root::open(dir.path()).unwrap();
        assert!(trial(&RecordView::live(&root)).unwrap().is_none());
    }
}
