//! The verdict on the signature of a patch when it was applied, according to the history of the root.

use patchadm_changeset::format::history::SignatureRecord;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::history::readable_history;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

/// Returns the verdict on the signature by the last run that applied the patch; `None` if that run did not check it, or if
/// the history is lost. Anyone who may write to the root may write that, too: it is reported, and decides nothing.
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
