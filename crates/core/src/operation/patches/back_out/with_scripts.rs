//! Backing a patch out whose scripts take part.

use std::path::PathBuf;

use crate::inventory::Inventory;
use crate::operation::content::Archives;
use crate::operation::device::Device;
use crate::operation::failure::Failure;
use crate::operation::patch_scripts::response::of_backout;
use crate::operation::patch_scripts::{HookPlace, Installing, PatchScripts, Planned, Way, untold};
use crate::operation::session::Session;
use crate::package::Params;
use crate::plan::engine::Bookkeeping;
use crate::plan::parts::{Part, Scripted};
use crate::transaction::Receipt;

/// A patch to be backed out.
pub(in crate::operation) struct Backout<'a> {
    /// The undo archives, by their places in the plan.
    pub(in crate::operation) archives: Vec<&'a Device>,
    /// What objects come back from, in the same order: the archives, or the snapshots beside them.
    pub(in crate::operation) restored_from: Vec<&'a Device>,
    /// Plans it again, with archives in the same order.
    pub(in crate::operation) plan: &'a dyn Fn() -> Planned,
    /// The directory of the patch in the database, as the host has it.
    pub(in crate::operation) directory: PathBuf,
}

/// What was done, and the plan by which it was.
pub(in crate::operation) fn back_out(
    session: &Session<'_>,
    installing: &Installing,
    backout: &Backout<'_>,
    mut scripted: Scripted,
    mut inventory: Inventory,
) -> (Scripted, Result<Receipt, Failure>) {
    let done = carry_out(session, installing, backout, &mut scripted, &mut inventory);
    (scripted, done)
}

fn carry_out(
    session: &Session<'_>,
    installing: &Installing,
    backout: &Backout<'_>,
    scripted: &mut Scripted,
    inventory: &mut Inventory,
) -> Result<Receipt, Failure> {
    let archive = |part: &Part| backout.archives.get(part.index).copied();
    let devices: Vec<(&Device, usize)> =
        scripted.parts.iter().filter_map(|part| Some((archive(part)?, 0))).collect();
    let place = installing.place(session);
    let hooks = HookPlace::at(backout.directory.clone());
    let mut scripts = PatchScripts::open(session, place, Way::BackOut, scripted, &devices, Some(hooks))?;
    if scripts.before()? {
        (*scripted, *inventory) = (backout.plan)()?;
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
    let mut content = Archives(backout.restored_from.iter().map(|device| device.content()).collect());
    scripts.perform(scripted, members, inventory, &mut content, None)
}
