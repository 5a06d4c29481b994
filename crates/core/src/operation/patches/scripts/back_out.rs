//! Backing a patch out whose scripts take part.

use std::path::PathBuf;

use super::hooks::HookPlace;
use super::install::PatchInstall;
use super::patch::{PatchScripts, Planned, Way};
use crate::inventory::Inventory;
use crate::operation::content::Archives;
use crate::operation::device::Device;
use crate::operation::failure::Failure;
use crate::operation::patches::scripts::response::of_backout;
use crate::operation::session::Session;
use crate::package::Params;
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
pub(in crate::operation) fn back_out_with_scripts(
    session: &Session<'_>,
    installing: &PatchInstall,
    backout: &Backout<'_>,
    mut scripted: Scripted,
    mut inventory: Inventory,
) -> (Scripted, Result<Receipt, Failure>) {
    let done = carry_out(session, installing, backout, &mut scripted, &mut inventory);
    (scripted, done)
}

fn carry_out(
    session: &Session<'_>,
    installing: &PatchInstall,
    backout: &Backout<'_>,
    scripted: &mut Scripted,
    inventory: &mut Inventory,
) -> Result<Receipt, Failure> {
    let archive = |part: &Part| backout.archives.get(part.index).copied();
    let packages = scripted.parts.iter().filter_map(archive).map(|device| device.delivered(0));
    let packages = packages.collect::<Result<Vec<_>, _>>()?;
    let input = installing.input(session);
    let hooks = HookPlace::at(backout.directory.clone());
    let mut scripts = PatchScripts::open(session, input, Way::BackOut, scripted, &packages, Some(hooks))?;
    if scripts.before()? {
        (*scripted, *inventory) = (backout.plan)()?;
    }
    let none = Params::new();
    let ready = scripts.ready(&scripted.parts, &packages, |part, _| {
        of_backout(inventory.packages.get(&part.package).map_or(&none, |installed| &installed.params))
    })?;
    let mut content = Archives(backout.restored_from.iter().map(|device| device.content()).collect());
    scripts.perform(scripted, ready, inventory, &mut content, None)
}
