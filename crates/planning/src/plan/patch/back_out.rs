//! `patchrm`: what backing a patch out does to a root.
//!
//! First the rules ([`may_back_out`]), before any archive is read; then, with the archives ([`back_out`]), objects,
//! lines and records as they were. What a later patch that stays has changed again is not touched: what was saved of it
//! goes into that patch's undo data. What an administrator wrote since is kept as `PATH.edited-<id>`.

use std::collections::HashSet;

use patchadm_changeset::format::manifest::{Manifest, ObjectRecord};
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::policy::Policy;
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, Superseded};

use super::backout_input::{BackOutOptions, BackoutArchive, GoingPatch, LaterUndo, UndoSources};
use super::backout_plan::Backout;
use super::interrupted::why_interrupted;
use super::patch_plan::PatchPlan;
use super::validate::must_be_as_adopted;
use crate::plan::clock::Now;
use crate::plan::records::has_undo_data;
use crate::plan::refusal::{Command, Reason, Refusal};

/// Asks the rules: applied, not superseded, not needed, with undo data. The packages that the patch is applied to,
/// whose archives [`back_out`] needs, in the order of the inventory. `applied` are the patch records of the packages in
/// `inventory`, or why they cannot be read; with `force` a patch may be superseded or obsoleted.
pub fn may_back_out(
    id: &PatchId,
    inventory: &Inventory,
    applied: Result<&AppliedPatches, Reason>,
    policy: &Policy,
    force: bool,
) -> Result<Vec<PkgInst>, Refusal> {
    let rules = || {
        let applied = applied?;
        let mut packages = inventory.packages.iter();
        let half = |(package, installed)| why_interrupted(package, installed, id, &policy.separator);
        match packages.find_map(half) {
            Some(reason) => Err(reason),
            None => may_go(id, applied, inventory, policy, force),
        }
    };
    rules().map_err(|reason| reason.shown(inventory).of(Command::Patchrm, id))
}

/// Whether patches with these manifests may go as one run. Not where several of them have a path that is one of several
/// names of a file: what one of them does to a name goes for the others, too.
pub fn may_go_as_one(manifests: &[&Manifest]) -> bool {
    let records = || manifests.iter().flat_map(|manifest| &manifest.objects);
    let is_name = |record: &&ObjectRecord| {
        [&record.was, &record.became].into_iter().flatten().any(|state| state.group.is_some())
    };
    let names: HashSet<&str> = records().filter(is_name).map(|record| record.path.as_str()).collect();
    let mut met = HashSet::new();
    let mut met_again = records().map(|record| record.path.as_str()).filter(|path| names.contains(path));
    met_again.all(|path| met.insert(path))
}

/// The same rules where it is known which patches are applied, and that this one was not left half applied.
fn may_go(
    id: &PatchId,
    applied: &AppliedPatches,
    inventory: &Inventory,
    policy: &Policy,
    force: bool,
) -> Result<Vec<PkgInst>, Reason> {
    let Some(patch) = applied.get(id) else {
        return Err(
            progressive(id, inventory, &policy.separator).map_or(Reason::NotApplied, Reason::NoUndoData)
        );
    };
    match applied.superseded(id).filter(|_| !force) {
        Some(Superseded::Revision(by)) => return Err(Reason::Superseded(by.clone())),
        Some(Superseded::Obsoletion(by)) => {
            return Err(Reason::Obsoleted { by: by.by.cloned(), entry: by.entry.clone() });
        }
        None => {}
    }
    must_be_as_adopted(&patch.packages, inventory)?;
    let unmet = applied.dependents_after_removal(id);
    let can_go_first = |by: &PatchId| applied.dependents_after_removal(by).is_empty();
    let first = unmet.iter().find(|one| can_go_first(&one.patch)).or(unmet.first());
    if let Some(unmet) = first.cloned() {
        return Err(Reason::Needed { by: unmet.patch, requirement: unmet.requirement });
    }
    for package in &patch.packages {
        let installed = inventory.packages.get(package);
        if !installed.is_some_and(|installed| has_undo_data(installed, id, &policy.separator)) {
            return Err(Reason::NoUndoData(package.clone()));
        }
    }
    Ok(patch.packages.clone())
}

/// The packages from which a patch could go as far as the records of the applied ones say, if it was not left half
/// applied; else the refusal.
pub fn packages_to_go(
    id: &PatchId,
    applied: &AppliedPatches,
    inventory: &Inventory,
    policy: &Policy,
) -> Result<Vec<PkgInst>, Refusal> {
    let may_go = may_go(id, applied, inventory, policy, false);
    may_go.map_err(|reason| reason.shown(inventory).of(Command::Patchrm, id))
}

/// The package instance that is this patch, of the old progressive kind: it names itself so and has no record of
/// having been patched.
fn progressive(id: &PatchId, inventory: &Inventory, separator: &str) -> Option<PkgInst> {
    let mut packages = inventory.packages.iter();
    let is_patch = |params: &Params| {
        let own = params.text("SUNW_PATCHID");
        PatchId::parse(&own, separator).as_ref() == Ok(id)
            && params.get(&format!("PATCH_INFO_{own}")).is_none()
    };
    packages.find(|(_, installed)| is_patch(&installed.params)).map(|(package, _)| package.clone())
}

/// Plans the backout of patches until a signal comes, the last applied first, from the packages that [`may_back_out`] named. Of several none
/// has scripts, and each archive has a manifest.
pub fn back_out(
    going: &[GoingPatch],
    sources: UndoSources<'_>,
    inventory: &Inventory,
    policy: &Policy,
    options: &BackOutOptions,
    now: &Now,
    interrupt: Interrupt<'_>,
) -> Result<PatchPlan, Refusal> {
    let (is_elsewhere, is_installed) = (false, false);
    let backout =
        Backout { going, sources, is_elsewhere, is_installed, inventory, policy, options, now, interrupt };
    let ids: Vec<&str> = going.iter().map(|patch| patch.id.as_str()).collect();
    backout.plan().map_err(|reason| reason.shown(inventory).of(Command::Patchrm, &ids.join(" ")))
}

/// Plans how a patch is taken out of the package of `archive` alone, as an installation of its backout package does it.
/// Asked is which later patch has a path; what other patches need is for the user of pkgadd(1M) to decide. `later` is the
/// undo data of those that take over parameters or record files. With `is_elsewhere` the patch is applied to other
/// packages as well.
pub fn back_out_of_package(
    going: &[GoingPatch; 1],
    archive: BackoutArchive<'_>,
    (later, is_elsewhere): (&[LaterUndo<'_>], bool),
    inventory: &Inventory,
    policy: &Policy,
    options: &BackOutOptions,
    (now, interrupt): (&Now, Interrupt<'_>),
) -> Result<PatchPlan, Refusal> {
    let (sources, is_installed) = (UndoSources { archives: &[archive], later }, true);
    let backout =
        Backout { going, sources, is_elsewhere, is_installed, inventory, policy, options, now, interrupt };
    backout.plan().map_err(|reason| reason.shown(inventory).of(Command::Pkgadd, archive.package))
}
