//! Backing a patch out whose scripts take part.

use std::path::PathBuf;

use super::input::RemoveInput;
use super::planning::plan;
use super::undo::Undo;
use crate::database::places;
use crate::inventory::Inventory;
use crate::operation::content::Archives;
use crate::operation::device::Device;
use crate::operation::failure::Failure;
use crate::operation::patch_scripts::response::of_backout;
use crate::operation::patch_scripts::{HookPlace, Installing, PatchScriptRequest, PatchScripts, Way, untold};
use crate::operation::session::Session;
use crate::package::Params;
use crate::patch::PatchId;
use crate::plan::engine::Bookkeeping;
use crate::plan::install::OfPatch;
use crate::plan::parts::{Part, Scripted};
use crate::transaction::Receipt;

/// Backs a patch out by a plan; `scripted` is the plan by which it was done in the end. `undo` has the archives by their
/// places in the plan.
pub(super) fn back_out_with_scripts(
    session: &Session<'_>,
    input: &RemoveInput<'_>,
    request: &PatchScriptRequest,
    id: &PatchId,
    undo: &[Undo],
    scripted: &mut Scripted,
    mut inventory: Inventory,
) -> Result<Receipt, Failure> {
    let patch = OfPatch { id: id.to_string(), is_saved: false, is_applied: false };
    let installing = Installing::new(request, input.choice.clone(), patch);
    let archive = |part: &Part| undo.get(part.index).map(|one| &one.device);
    let devices: Vec<(&Device, usize)> =
        scripted.parts.iter().filter_map(|part| Some((archive(part)?, 0))).collect();
    let place = installing.place(session);
    let hooks = HookPlace::at(directory(session, id));
    let mut scripts = PatchScripts::open(session, place, Way::BackOut, scripted, &devices, Some(hooks))?;
    if scripts.before()? {
        let planned = plan(input, id)?;
        (*scripted, inventory) = (planned.scripted, planned.inventory);
    }
    let mut members = Vec::new();
    for (part, (device, index)) in scripted.parts.iter().zip(&devices) {
        let mut member = scripts.member(part, device, *index)?;
        if part.chosen.has_scripts() {
            let none = Params::new();
            let installed = inventory.packages.get(&part.package);
            let installed = installed.map_or(&none, |installed| &installed.params);
            let by_scripts = part.chosen.bookkeeping == Bookkeeping::Scripts;
            let given =
                if by_scripts { of_backout(installed).map_err(|value| untold(&value))? } else { Vec::new() };
            scripts.ask(&mut member, given)?;
        }
        members.push(member);
    }
    let mut content = Archives(undo.iter().map(|one| one.restored_from().content()).collect());
    scripts.perform(scripted, members, &inventory, &mut content, None)
}

/// The directory of a patch in the database, as the host has it.
fn directory(session: &Session<'_>, id: &PatchId) -> PathBuf {
    let path = places::patches().join(id.as_str().as_bytes()).unwrap_or_else(|_| places::patches());
    PathBuf::from(session.ground.root.show(&path))
}
