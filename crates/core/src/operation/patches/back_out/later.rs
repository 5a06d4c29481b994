//! What the patches did that were applied after those that are backed out.

use std::collections::BTreeSet;

use super::input::BackOutInput;
use super::undo::VerifiedUndo;
use crate::operation::failure::Failure;
use crate::operation::patches::later_patches::LaterPatches;
use patchadm_changeset::format::manifest::{Manifest, ObjectRecord};
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::inventory::Inventory;
use patchadm_planning::plan::patch::backout_input::{BackOutOptions, Elsewhere, GoingPatch};
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

/// Reads what later patches did into `options`: those of the same packages, and those of other packages that have paths of
/// patches that go. Whether patches that go have a path in different packages.
pub(super) fn later_patches(
    input: &BackOutInput<'_>,
    going: &[GoingPatch],
    undo: &[VerifiedUndo],
    inventory: &Inventory,
    options: &mut BackOutOptions,
) -> Result<bool, Failure> {
    let ids: BTreeSet<&PatchId> = going.iter().map(|patch| &patch.id).collect();
    let packages: BTreeSet<&PkgInst> = going.iter().flat_map(|patch| &patch.packages).collect();
    for package in packages {
        let of = undo.iter().filter(|one| one.package == *package);
        let manifests: Vec<&Manifest> = of.filter_map(|one| one.manifest.as_ref()).collect();
        of_package(input, package, (&ids, &manifests), inventory, options)?;
    }
    let mut is_shared = false;
    for patch in going {
        let of = undo.iter().filter(|one| one.patch == patch.id);
        let manifests: Vec<&Manifest> = of.filter_map(|one| one.manifest.as_ref()).collect();
        for one in elsewhere(input, patch, inventory, &manifests)? {
            let goes = PatchId::parse(&one.patch, &input.ground.policy.separator);
            if goes.is_ok_and(|id| ids.contains(&id)) {
                is_shared = true;
            } else {
                options.elsewhere.push(one);
            }
        }
    }
    Ok(is_shared)
}

/// The patches of a package that were applied after the first that goes, and stay.
fn of_package(
    input: &BackOutInput<'_>,
    package: &PkgInst,
    (ids, manifests): (&BTreeSet<&PatchId>, &[&Manifest]),
    inventory: &Inventory,
    options: &mut BackOutOptions,
) -> Result<(), Failure> {
    let Some(of) = inventory.packages.get(package) else { return Ok(()) };
    let (root, separator) = (&input.ground.root, &input.ground.policy.separator);
    let list = installed::patch_records(root, package, &of.params, separator)?.list;
    let later = list.iter().skip_while(|id| !ids.contains(id)).filter(|id| !ids.contains(id));
    let later: Vec<&PatchId> = later.collect();
    if later.is_empty() {
        return Ok(());
    }
    let view = RecordView::live(root);
    let ledger = input.ledger(package)?;
    for id in later {
        let (key, name) = ((package.clone(), id.to_string()), installed::saved_as(&view, package, id)?);
        if ledger.line(&name).is_some_and(|line| line.snapshot.is_some()) {
            options.scripted.insert(key.clone());
        }
        match input.later_manifest(package, &name) {
            Ok(Some(manifest)) => drop(options.later.insert(key, manifest)),
            Err(ArchiveError::Earlier { .. }) => drop(options.earlier.insert(key)),
            Err(error) if has_path_of(&key.1, manifests, inventory) => return Err(error.into()),
            // What has nothing to do with the backout need not be there.
            Ok(None) | Err(_) => {}
        }
    }
    Ok(())
}

/// Whether a patch is listed with a path that these patches changed.
fn has_path_of(patch: &str, manifests: &[&Manifest], inventory: &Inventory) -> bool {
    let records = manifests.iter().flat_map(|manifest| &manifest.objects);
    let paths = records.filter(|record| !record.is_as_found()).filter_map(ObjectRecord::object_path);
    let mut listed = paths.filter_map(|path| inventory.patched_by.get(&path)).flatten();
    listed.any(|other| other == patch)
}

/// Those of other packages that have paths of a patch.
fn elsewhere(
    input: &BackOutInput<'_>,
    patch: &GoingPatch,
    inventory: &Inventory,
    manifests: &[&Manifest],
) -> Result<Vec<Elsewhere>, Failure> {
    let ledger = &|package: &PkgInst| input.ledger(package);
    let (root, separator) = (&input.ground.root, &input.ground.policy.separator);
    let manifest = &|package: &PkgInst, patch: &str| input.later_manifest(package, patch).ok()?;
    let (id, packages) = (&patch.id, patch.packages.as_slice());
    LaterPatches { root, separator, inventory, ledger, manifest, id, packages }.elsewhere(manifests)
}
