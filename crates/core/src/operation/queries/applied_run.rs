//! The runs that applied the patches of a root, according to its history: a hint that decides nothing.

use std::collections::HashMap;

use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::{HistoryEntry, readable_history};
use patchadm_svr4::patch::PatchId;

/// The commands that apply patches.
const APPLYING: [&str; 2] = ["patchadd", "promote"];

/// The last run that applied each patch.
pub(super) struct AppliedRuns(HashMap<String, HistoryEntry>);

impl AppliedRuns {
    /// Reads the history. Skips unreadable lines.
    pub(super) fn of(view: &RecordView<'_>) -> Self {
        let mut runs = HashMap::new();
        let done = readable_history(view).into_iter().filter(|run| run.result == "done");
        for run in done.filter(|run| APPLYING.contains(&run.command.as_str())) {
            for patch in &run.patches {
                runs.insert(patch.clone(), run.clone());
            }
        }
        Self(runs)
    }

    /// Returns the name of the run that applied a patch.
    pub(super) fn of_patch(&self, id: &PatchId) -> Option<String> {
        self.line(id).map(|line| line.run.clone())
    }

    /// Returns the line of the run that applied a patch.
    pub(super) fn line(&self, id: &PatchId) -> Option<&HistoryEntry> {
        self.0.get(id.as_str())
    }
}
