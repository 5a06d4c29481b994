//! The backout of one patch.

use super::input::BackOutInput;
use super::planning::{PlannedBackout, plan};
use super::request::BackOutOutcome;
use super::with_scripts::back_out_with_scripts;
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
    let planned = match plan(input, id) {
        Ok(planned) => planned,
        Err(failure) => return BackOutOutcome::refused(id, failure),
    };
    if planned.scripted.has_scripts() {
        let PlannedBackout { mut scripted, undo, later, inventory, .. } = planned;
        let undo = (undo.as_slice(), later);
        let result = back_out_with_scripts(session, input, request, id, undo, &mut scripted, inventory);
        return BackOutOutcome::of(id, scripted, result.map(Some));
    }
    let plan = &planned.scripted.plan;
    let result = session.perform(plan, &mut planned.content(), None, log::of_backout(plan));
    BackOutOutcome::of(id, planned.scripted, result.map(Some))
}
