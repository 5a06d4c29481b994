//! What the patches did that were applied after one that is backed out.

use super::input::BackOutInput;
use crate::database::RecordView;
use crate::database::archive;
use crate::inventory::Inventory;
use crate::operation::failure::Failure;
use crate::operation::patches::later_patches::{LaterManifests, LaterPatches};
use crate::plan::patch::backout_input::Elsewhere;
use patchadm_changeset::format::manifest::Manifest;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::PatchId;

/// Reads what later patches did: the manifests of those of these packages, and of those of other packages that have paths
/// of the patch.
pub(super) fn later_patches(
    input: &BackOutInput<'_>,
    id: &PatchId,
    packages: &[PkgInst],
    inventory: &Inventory,
    manifests: &[&Manifest],
) -> Result<(LaterManifests, Vec<Elsewhere>), Failure> {
    let ledger = &|package: &PkgInst| input.ledger(package);
    let (view, separator) = (RecordView::live(&input.ground.root), &input.ground.policy.separator);
    let outside = input.ground.outside.with(None);
    let manifest = &|package: &PkgInst, patch: &str| {
        let ledger = input.ledger(package).ok()?;
        archive::known_manifest(&view, &input.ground.host, package, patch, &ledger, &outside).ok()?
    };
    let root = &input.ground.root;
    let later = LaterPatches { root, separator, inventory, ledger, manifest, id, packages };
    Ok((later.of_packages()?, later.elsewhere(manifests)?))
}
