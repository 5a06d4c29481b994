//! `patchadd`: what one patch does to a root.
//!
//! All packages of the patch that are installed are one plan. Every reason to refuse is found before there is one,
//! in the order of patchadd(1M): `validate` asks the rules, then come scripts, edited files, the objects and the
//! space.
//!
//! ```text
//!   validate ─► packages ─► edited ─► placing ─► recording ─► finishing: space, the proof of a way back ─► plan
//! ```

mod announcements;
mod edited;
mod finishing;
mod packages;
mod placing;
mod recording;

use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::policy::Policy;
use patchadm_inputs::source::Image;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::patch::{AppliedPatches, PatchId};

use super::apply_options::ApplyOptions;
use super::engine::applying;
use super::patch_plan::PatchPlan;
use super::validate::{Facts, Validated, validate};
use crate::plan::clock::Now;
use crate::plan::refusal::{Command, Reason, Refusal};

/// Plans the application of a patch, until a signal comes. `applied` are the patch records of the packages in `inventory`,
/// or why they cannot be read.
pub fn apply(
    image: &Image,
    inventory: &Inventory,
    applied: Result<&AppliedPatches, Reason>,
    policy: &Policy,
    options: &ApplyOptions,
    now: &Now,
    interrupt: Interrupt<'_>,
) -> Result<PatchPlan, Refusal> {
    let facts =
        Facts::of(image, &policy.separator).map_err(|reason| reason.of(Command::Patchadd, &image.name))?;
    let id = facts.id.clone();
    let refuse = |reason: Reason| reason.shown(inventory).of(Command::Patchadd, &id);
    let validated = validate(image, facts, inventory, applied.clone(), policy, options).map_err(refuse)?;
    let applied = applied.map_err(refuse)?;
    let validated = &validated;
    let application = ApplyPlanner { image, inventory, applied, policy, options, now, validated, interrupt };
    application.plan().map_err(refuse)
}

/// A patch that the rules let in.
struct ApplyPlanner<'a> {
    image: &'a Image,
    inventory: &'a Inventory,
    applied: &'a AppliedPatches,
    policy: &'a Policy,
    options: &'a ApplyOptions,
    now: &'a Now,
    validated: &'a Validated,
    /// Asks for a signal: between passes, and between the objects of one.
    interrupt: Interrupt<'a>,
}

impl ApplyPlanner<'_> {
    /// The passes, each of which takes what the one before has made.
    fn plan(&self) -> Result<PatchPlan, Reason> {
        let hooks = self.options.scripts.hooks(applying(&self.image.hooks))?;
        let packages = self.packages()?;
        let edits = self.edits(&packages)?;
        let placed = self.place(packages, &edits)?;
        self.go_on()?;
        let recorded = self.record(placed)?;
        self.go_on()?;
        self.finish(recorded, hooks)
    }

    /// Fails if a signal came.
    fn go_on(&self) -> Result<(), Reason> {
        Reason::unless_interrupted(self.interrupt)
    }

    fn id(&self) -> &PatchId {
        &self.validated.facts.id
    }
}
