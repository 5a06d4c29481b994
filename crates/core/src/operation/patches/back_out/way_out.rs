//! Which patch can go first, where another stands in the way of a backout.

use std::collections::BTreeSet;

use super::input::BackOutInput;
use super::planning::plan;
use super::request::BackOutOutcome;
use crate::operation::failure::Failure;
use patchadm_planning::plan::refusal::{Refusal, WayOut};
use patchadm_svr4::patch::PatchId;

impl BackOutOutcome {
    /// The same, where it was refused for the sake of another patch with the one that can go now: the refusal of each is
    /// asked, until one is not refused or is refused for another reason.
    pub(super) fn with_way_out(mut self, input: &BackOutInput<'_>) -> Self {
        if let Err(Failure::Refused(refusal)) = &mut self.result {
            refusal.way_out = way_out(input, refusal);
        }
        self
    }
}

fn way_out(input: &BackOutInput<'_>, refusal: &Refusal) -> WayOut {
    let mut asked = BTreeSet::new();
    let mut stands = refusal.reason.stands_in_the_way();
    while let Some(patch) = stands.filter(|patch| asked.insert(patch.clone())) {
        let Ok(id) = PatchId::parse(&patch, &input.ground.policy.separator) else { break };
        stands = match plan(input, &id) {
            Ok(_) => return WayOut::First(patch),
            Err(Failure::Refused(next)) => match next.reason.stands_in_the_way() {
                None => return WayOut::Blocked { patch, why: next.why() },
                further => further,
            },
            Err(failed) => return WayOut::Blocked { patch, why: failed.to_string() },
        };
    }
    WayOut::Unknown
}
