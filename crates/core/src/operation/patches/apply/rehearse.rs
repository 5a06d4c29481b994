//! A patch of which it is only said what would be done.

use std::collections::BTreeMap;

use super::input::ApplyInput;
use super::operands::ApplyOperand;
use super::planning::plan;
use super::request::ApplyOutcome;
use crate::operation::patches::in_use::in_use;

/// Plans a patch without changing anything; the sums of all files are compared as a real run would.
pub(super) fn rehearse(input: &ApplyInput<'_>, operand: &ApplyOperand) -> ApplyOutcome {
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
