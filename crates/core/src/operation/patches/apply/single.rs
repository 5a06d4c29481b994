//! A patch that is a run of its own.

use std::collections::BTreeMap;

use super::input::ApplyInput;
use super::operands::Operand;
use super::planning::plan;
use super::request::Applied;
use super::with_scripts::apply_with_scripts;
use crate::operation::content::OneSource;
use crate::operation::log;
use crate::operation::patches::in_use::in_use;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::session::Session;

/// Plans a patch without changing anything; the sums of all files are compared as a real run would.
pub(super) fn rehearse(input: &ApplyInput<'_>, operand: &Operand) -> Applied {
    let device = &operand.device;
    let planned = plan(input, operand, BTreeMap::new())
        .and_then(|(scripted, _)| Ok(device.source.verify(&device.image).map(|()| scripted)?));
    match planned {
        Ok(scripted) => {
            let in_use = in_use(&input.ground.root, &scripted.plan);
            operand.applied(scripted, in_use, Ok(None))
        }
        Err(failure) => operand.refused(failure),
    }
}

/// Plans a patch and applies it.
pub(super) fn apply_one(
    session: &Session<'_>,
    input: &ApplyInput<'_>,
    request: &PatchScriptRequest,
    operand: &Operand,
) -> Applied {
    let (scripted, inventory) = match plan(input, operand, BTreeMap::new()) {
        Ok(planned) => planned,
        Err(failure) => return operand.refused(failure),
    };
    // Before the switch: afterwards the old files have no path any more.
    let in_use = in_use(&session.ground.root, &scripted.plan);
    if scripted.has_scripts() {
        let (scripted, result) = apply_with_scripts(session, input, request, operand, scripted, inventory);
        return operand.applied(scripted, in_use, result.map(Some));
    }
    drop(inventory);
    let (plan, device) = (&scripted.plan, &operand.device);
    let mut content = OneSource { source: &device.source, image: &device.image };
    let result = session.perform(plan, &mut content, log::of_patch(plan), log::of_installation(plan));
    operand.applied(scripted, in_use, result.map(Some))
}
