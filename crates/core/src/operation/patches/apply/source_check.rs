//! Sources that are only read, since nothing is done: whether a run would find them to be what they say they are.

use std::collections::BTreeMap;

use super::batch::PlannedOperand;
use super::gather::digests;
use super::input::ApplyInput;
use super::operands::ApplyOperand;
use crate::operation::device::OpenDevice;
use crate::operation::failure::Failure;
use crate::operation::patches::scripts::{must_be_executable, must_be_safe};
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::{Action, Body, Change, NewObject};
use patchadm_rootfs::{Digest, Interrupt};
use patchadm_svr4::package::ObjectPath;

impl PlannedOperand<'_> {
    /// The digests of the files that the plan takes from its source; none where one of them is not what the pkgmap says, or
    /// nothing is planned, or a signal came.
    pub(super) fn delivered_digests(&self, interrupt: Interrupt<'_>) -> Option<BTreeMap<ObjectPath, Digest>> {
        let plan = &self.planned.as_ref().ok()?.scripted.plan;
        let is_taken = |change: &&Change| {
            matches!(
                &change.action,
                Action::Add(NewObject { body: Body::Member(_), .. })
                    | Action::Replace(NewObject { body: Body::Member(_), .. })
            )
        };
        let taken = plan.changes.iter().map(Box::as_ref).filter(is_taken).count();
        let digests = digests(self.operand, (plan, interrupt), |_| true);
        (digests.len() == taken).then_some(digests)
    }
}

/// Refuses a plan whose source is not whole, as far as it is read, or whose scripts could not run safely. Scripts are given
/// all of the source.
pub(super) fn usable(
    input: &ApplyInput<'_>,
    operand: &ApplyOperand,
    scripted: &PatchPlan,
    is_whole: bool,
) -> Result<(), Failure> {
    let OpenDevice { source, image, .. } = &operand.device;
    if !is_whole || scripted.has_scripts() {
        source.verify_until(image, input.interrupt)?;
    }
    must_be_safe(input.ground, Command::Patchadd, &operand.shown_id(), scripted)?;
    let hooks: Vec<&str> = scripted.hooks.iter().map(|hook| hook.name.as_str()).collect();
    must_be_executable(source, image, &hooks).map_err(Failure::Script)
}
