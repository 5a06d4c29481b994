//! What was known of the signature of a patch when it was applied, as the history of the root has it.

use patchadm_changeset::format::history::SignatureRecord;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::readable_history;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

/// Returns what the last run that applied the patch found out about its signature; `None` where it did not look, and where
/// the history is lost. Whoever may write to the root may write that, too: it is told, and decides nothing.
pub fn applied_signature(root: &Root, id: &PatchId) -> Option<SignatureRecord> {
    let history = readable_history(&RecordView::live(root));
    let is_application = |command: &str| command == Command::Patchadd.name();
    let mut runs = history.into_iter().rev();
    let applied = runs.find(|run| {
        run.result == "done"
            && is_application(&run.command)
            && run.patches.iter().any(|patch| patch == id.as_str())
    });
    applied?.signature
}
