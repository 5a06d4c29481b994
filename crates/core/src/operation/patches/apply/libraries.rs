//! What a patch does to libraries that others need.

use std::cell::RefCell;
use std::rc::Rc;

use super::operands::ApplyOperand;
use crate::operation::failure::Failure;
use crate::operation::libraries::{LaterContent, LibraryKeeper, PlanToSettle, SettledLibraries};
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::source::Image;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::refusal::Command;
use patchadm_svr4::patch::PatchMacros;

/// The word of `SUNW_PATCH_PROPERTIES` and `PATCH_PROPERTIES` by which a patch forbids that libraries stay which it takes
/// away.
const FORBIDDING: &str = "nokeepshlibs";

/// Whether other patches are planned behind this one before it is carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Position {
    /// It is carried out alone.
    Alone,
    /// Others may follow.
    Among,
}

/// Settles what becomes of libraries in the plan of a patch.
pub(super) fn settle<'o>(
    keeper: &mut LibraryKeeper<'o>,
    operand: &'o ApplyOperand,
    (plan, inventory): (&Plan, &Inventory),
    position: Position,
) -> Result<Option<SettledLibraries>, Failure> {
    let id = operand.shown_id();
    let asked = PlanToSettle {
        forbids: forbids(&operand.device.image),
        ..PlanToSettle::of((plan, inventory), Command::Patchadd, &id)
    };
    let later = match position {
        Position::Alone => LaterContent::NotAsked,
        Position::Among => LaterContent::At(Rc::new(RefCell::new(operand.device.content()))),
    };
    keeper.settle(&asked, &mut operand.device.content(), later)
}

/// Tells whether a patch forbids that libraries stay.
fn forbids(image: &Image) -> bool {
    let says_so = |properties: &[String]| properties.iter().any(|word| word == FORBIDDING);
    let mut packages = image.packages.iter();
    packages.any(|package| says_so(&PatchMacros::properties_of(&package.params)))
        || image.patchinfo.as_ref().is_some_and(|patchinfo| says_so(&patchinfo.properties))
}
