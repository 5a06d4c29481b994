//! Reads the history of a root.

use super::{DatabaseError, RecordView, places};

pub use patchadm_changeset::format::history::{HistoryEntry, HistoryError, parse};

/// The largest history that is read, in bytes: 256 MiB.
pub const LARGEST_HISTORY: u64 = 256 << 20;

/// Returns the text of the history; empty if there is none.
pub fn history_text(view: &RecordView<'_>) -> Result<Vec<u8>, DatabaseError> {
    Ok(view.read(&places::history(), LARGEST_HISTORY)?.unwrap_or_default())
}

/// Returns the runs of the root, oldest first; empty without a history.
pub fn history(view: &RecordView<'_>) -> Result<Vec<HistoryEntry>, DatabaseError> {
    let damaged = |reason| DatabaseError::History { path: view.root().show(&places::history()), reason };
    parse(&history_text(view)?).map_err(damaged)
}

/// Returns the runs whose lines can be read, oldest first: history as a hint, which a damaged line keeps from nothing.
pub fn readable_history(view: &RecordView<'_>) -> Vec<HistoryEntry> {
    let text = history_text(view).unwrap_or_default();
    text.split(|&byte| byte == b'\n').filter_map(|line| HistoryEntry::parse(line).ok()).collect()
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
}
