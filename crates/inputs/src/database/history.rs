//! Reads the history of a root.

use super::{DatabaseError, RecordView, places};

pub use patchadm_changeset::format::history::{HistoryEntry, HistoryError, parse};

/// The largest history that is read, in bytes: 256 MiB.
const LARGEST: u64 = 256 << 20;

/// Returns the runs of the root, oldest first; empty without a history.
pub fn history(view: &RecordView<'_>) -> Result<Vec<HistoryEntry>, DatabaseError> {
    let path = places::history();
    let text = view.read(&path, LARGEST)?.unwrap_or_default();
    parse(&text).map_err(|reason| DatabaseError::History { path: view.root().show(&path), reason })
}

/// Returns the runs whose lines can be read, oldest first: history as a hint, which a damaged line keeps from nothing.
pub fn readable_history(view: &RecordView<'_>) -> Vec<HistoryEntry> {
    let text = view.read(&places::history(), LARGEST).ok().flatten().unwrap_or_default();
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
