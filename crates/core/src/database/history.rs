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
