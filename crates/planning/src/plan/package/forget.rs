//! `adopt --forget`: the registration of an adopted package is given up, and all of its files stay.

use crate::plan::clock::Now;
use crate::plan::ledger::LedgerChange;
use crate::plan::records::package_path;
use crate::plan::refusal::{Command, Reason, Refusal};
use crate::plan::{Plan, RecordChange, space};
use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::ADOPTED;
use patchadm_svr4::package::{ContentsLine, PkgInst};

/// Plans that a package is forgotten. The inventory must have every line that it owns. A package that was not adopted is
/// refused, and one with patches, which nothing could take back afterwards.
pub fn forget(package: &PkgInst, inventory: &Inventory, now: &Now) -> Result<Plan, Refusal> {
    plan(package, inventory, now).map_err(|reason| reason.shown(inventory).of(Command::Forget, package))
}

fn plan(package: &PkgInst, inventory: &Inventory, now: &Now) -> Result<Plan, Reason> {
    let installed = inventory.packages.get(package).ok_or(Reason::NoSuchPackage)?;
    if installed.params.text(ADOPTED).trim().is_empty() {
        return Err(Reason::NotAdopted);
    }
    let patches = installed.params.text("PATCHLIST");
    if !patches.trim().is_empty() {
        let patches: Vec<&str> = patches.split_whitespace().rev().collect();
        return Err(Reason::PatchesApplied { package: package.clone(), patches: patches.join(" ") });
    }
    let owned = inventory.lines.iter().filter(|(_, line)| line.is_owned_by(package));
    let contents: ContentsEdits =
        owned.map(|(path, line)| (path.clone(), without(line, package).map(Box::new))).collect();
    let records = vec![
        RecordChange::RemoveTree(package_path(package, b"")?),
        RecordChange::Ledger(LedgerChange::of(package)),
    ];
    let space = space::needs(inventory, &[], &records, &[], &[]);
    space::enough(&space)?;
    let empty = Plan::empty(Command::Adopt.name(), now.trailer(Command::Adopt.name(), package));
    Ok(Plan { packages: vec![package.clone()], records, contents, space, ..empty })
}

/// Returns the line of an object without one of its owners; none if no owner is left.
fn without(line: &ContentsLine, package: &PkgInst) -> Option<ContentsLine> {
    let mut line = line.clone();
    line.owners.retain(|owner| owner.package != *package);
    Some(line).filter(|line| !line.owners.is_empty())
}
