//! A patch that is a run of its own.

use std::collections::BTreeMap;

use super::input::ApplyInput;
use super::libraries::{Position, settle};
use super::operands::ApplyOperand;
use super::planning::plan;
use super::request::ApplyOutcome;
use super::with_scripts::apply_with_scripts;
use crate::operation::log;
use crate::operation::patches::in_use::in_use;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::session::Session;

/// Plans a patch and applies it.
pub(super) fn apply_one(
    session: &Session<'_>,
    input: &ApplyInput<'_>,
    request: &PatchScriptRequest,
    operand: &ApplyOperand,
) -> ApplyOutcome {
    let (mut scripted, inventory) = match plan(input, operand, BTreeMap::new()) {
        Ok(planned) => planned,
        Err(failure) => return operand.refused(failure),
    };
    match settle(&mut input.keeper(), operand, (&scripted.plan, &inventory), Position::Alone) {
        Ok(settled) => settled.into_iter().for_each(|settled| settled.apply(&mut scripted)),
        Err(failure) => return operand.refused(failure),
    }
    // Before the switch: afterwards the old files have no path any more.
    let in_use = in_use(&session.ground.root, &scripted.plan);
    let result = if scripted.has_scripts() {
        let (done, result) = apply_with_scripts(session, input, request, operand, scripted, inventory);
        scripted = done;
        result
    } else {
        drop(inventory);
        let (plan, device) = (&scripted.plan, &operand.device);
        session.perform(plan, &mut device.content(), log::of_patch(plan), log::of_installation(plan))
    };
    operand.carried_out(scripted, in_use, result)
}
