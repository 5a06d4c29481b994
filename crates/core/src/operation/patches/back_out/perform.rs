//! The backout of one patch, carried out.

use std::cell::RefCell;

use super::input::BackOutInput;
use super::planning::{PlannedBackout, PlannedPatch, plan};
use super::request::BackOutOutcome;
use super::with_scripts::back_out_with_scripts;
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::promotion_hooks::{HookRun, perform_with_hooks};
use crate::operation::session::{Session, patch_record};
use patchadm_changeset::transaction::Receipt;
use patchadm_svr4::patch::PatchId;

/// Carries the backout of a patch out that was planned.
pub(super) fn perform_one(
    session: &Session<'_>,
    input: &BackOutInput<'_>,
    request: &PatchScriptRequest,
    id: &PatchId,
    (planned, settled): PlannedPatch,
) -> BackOutOutcome {
    let planned = planned.with(settled);
    if planned.scripted.has_scripts() {
        let PlannedBackout { mut scripted, undo, later, inventory, .. } = planned;
        let undo = (undo.as_slice(), later);
        let result = back_out_with_scripts(session, input, request, id, undo, &mut scripted, inventory);
        return BackOutOutcome::of(id, scripted, result.map(Some));
    }
    let hooks = match planned.promotion_hooks.open(session, &request.settings) {
        Ok(hooks) => hooks,
        Err(failure) => return BackOutOutcome::refused(id, failure),
    };
    let planned = match hooks.as_ref().map_or(Ok(false), |hooks| hooks.borrow_mut().before()) {
        Ok(false) => planned,
        // The hook may have changed what was looked at.
        Ok(true) => match plan(input, id).and_then(|planned| planned.settled(input)) {
            Ok(planned) => planned,
            Err(failure) => return BackOutOutcome::refused(id, failure),
        },
        Err(failure) => return BackOutOutcome::of(id, planned.scripted, Err(failure)),
    };
    let result = perform(session, &planned, hooks.as_ref());
    BackOutOutcome::of(id, planned.scripted, result.map(Some))
}

fn perform(
    session: &Session<'_>,
    planned: &PlannedBackout,
    hooks: Option<&RefCell<HookRun<'_>>>,
) -> Result<Receipt, Failure> {
    let plan = &planned.scripted.plan;
    let records = vec![patch_record(plan, None, log::of_backout(plan))];
    perform_with_hooks(session, hooks, (plan, &mut planned.content()), records, &|_| Ok(()))
}
