//! Where the objects of undo data as files lie, by path: for the manifest, and for the journal.

use std::collections::BTreeMap;

use crate::format::undo_files::{StoredName, UndoFiles};
use patchadm_svr4::package::ObjectPath;

/// Where the objects lie that one archive saves.
#[derive(Debug)]
pub(crate) struct StoredObjects {
    /// The undo directories, one for each domain of the run.
    pub(crate) directories: UndoFiles,
    /// The stored names, by path.
    pub(crate) names: BTreeMap<ObjectPath, StoredName>,
}

impl StoredObjects {
    /// Returns the stored names, for the journal.
    pub(crate) fn journal_names(&self) -> Vec<String> {
        self.names.values().map(ToString::to_string).collect()
    }
}
