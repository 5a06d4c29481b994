//! The backout of one patch.

use super::input::BackOutInput;
use super::planning::{PlannedBackout, plan};
use super::request::BackOutOutcome;
use super::with_scripts::back_out_with_scripts;
use crate::operation::content::ArchiveSources;
use crate::operation::log;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::session::Session;
use patchadm_svr4::patch::PatchId;

/// Plans the backout of a patch and carries it out.
pub(super) fn back_out_one(
    session: &Session<'_>,
    input: &BackOutInput<'_>,
    request: &PatchScriptRequest,
    id: &PatchId,
) -> BackOutOutcome {
    let PlannedBackout { mut scripted, undo, inventory } = match plan(input, id) {
        Ok(planned) => planned,
        Err(failure) => return BackOutOutcome::refused(id, failure),
    };
    let result = if scripted.has_scripts() {
        back_out_with_scripts(session, input, request, id, &undo, &mut scripted, inventory)
    } else {
        drop(inventory);
        let mut content = ArchiveSources(undo.iter().map(|one| one.restored_from().content()).collect());
        let plan = &scripted.plan;
        session.perform(plan, &mut content, None, log::of_backout(plan))
    };
    BackOutOutcome::of(id, scripted, result.map(Some))
}
