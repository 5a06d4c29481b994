//! Backing a patch out whose scripts take part.

use super::heir::{HeirUndo, sources};
use super::hooks::hook_directory;
use super::input::BackOutInput;
use super::planning::plan;
use super::undo::VerifiedUndo;
use crate::operation::failure::Failure;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::patches::scripts::install::PatchInstall;
use crate::operation::patches::scripts::patch::{PatchScripts, ScriptDirection};
use crate::operation::patches::scripts::response::of_backout;
use crate::operation::session::Session;
use patchadm_changeset::transaction::Receipt;
use patchadm_inputs::inventory::Inventory;
use patchadm_planning::plan::package::install::OfPatch;
use patchadm_planning::plan::patch::patch_plan::{PackagePlan, PatchPlan};
use patchadm_svr4::package::Params;
use patchadm_svr4::patch::PatchId;

/// Backs a patch out by a plan; `scripted` is the plan by which it was done in the end. `undo` has the archives by their
/// places in the plan, then come those of patches that stay and are written anew.
pub(super) fn back_out_with_scripts(
    session: &Session<'_>,
    input: &BackOutInput<'_>,
    request: &PatchScriptRequest,
    id: &PatchId,
    (undo, mut later): (&[VerifiedUndo], Vec<HeirUndo>),
    scripted: &mut PatchPlan,
    mut inventory: Inventory,
) -> Result<Receipt, Failure> {
    let patch = OfPatch { id: id.to_string(), is_saved: false, is_applied: false };
    let installing = PatchInstall::new(request, input.choice.clone(), patch);
    let archive = |part: &PackagePlan| undo.get(part.index).map(|one| &one.device);
    let packages = scripted.parts.iter().filter_map(archive).map(|device| device.delivered(0));
    let packages = packages.collect::<Result<Vec<_>, _>>()?;
    let add = installing.input(session);
    let hooks = hook_directory(&session.ground, id);
    let mut scripts =
        PatchScripts::open(session, add, ScriptDirection::BackOut, scripted, &packages, Some(hooks))?;
    if scripts.before()? {
        let planned = plan(input, id)?.settled(input)?;
        (*scripted, inventory, later) = (planned.scripted, planned.inventory, planned.later);
    }
    let none = Params::new();
    let ready = scripts.ready(&scripted.parts, &packages, |part, _| {
        of_backout(inventory.packages.get(&part.package).map_or(&none, |installed| &installed.params))
    })?;
    scripts.perform(scripted, &ready, &inventory, &mut sources(undo.iter(), &later), None)
}
