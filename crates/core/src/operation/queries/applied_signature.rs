//! The verdict on the signature of a patch when it was applied, according to the history of the root.

use std::collections::BTreeMap;

use patchadm_changeset::format::history::SignatureRecord;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::{HistoryEntry, readable_history};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

/// Returns the verdict on the signature by the last run that applied the patch; `None` if that run did not check it, or if
/// the history is lost. Anyone who may write to the root may write that, too: it is reported, and decides nothing.
pub fn applied_signature(root: &Root, id: &PatchId) -> Option<SignatureRecord> {
    let history = readable_history(&RecordView::live(root));
    let mut runs = history.into_iter().rev().filter(is_application);
    runs.find(|run| run.patches.iter().any(|patch| patch == id.as_str()))?.signature
}

/// Returns the same of all patches that any run applied, by their ids.
pub fn applied_signatures(root: &Root) -> BTreeMap<String, SignatureRecord> {
    let mut signatures = BTreeMap::new();
    for run in readable_history(&RecordView::live(root)).into_iter().filter(is_application) {
        for id in run.patches {
            // A later run counts, also one that checked nothing.
            match &run.signature {
                Some(signature) => signatures.insert(id, signature.clone()),
                None => signatures.remove(&id),
            };
        }
    }
    signatures
}

fn is_application(run: &HistoryEntry) -> bool {
    run.result == "done" && run.command == Command::Patchadd.name()
}
