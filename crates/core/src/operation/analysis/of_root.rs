//! The facts of a root: its packages and patches at one moment of its records, and where patches are not in force.

use crate::operation::failure::Failure;
use crate::operation::libraries::{LibrariesBeforePatches, still_loaded};
use crate::operation::overtaken_list::ended_in_root;
use crate::operation::queries::applied_patches::{InstalledSoftware, PatchesError, installed_software};
use crate::operation::session::{RootAndPolicy, without_lock};
use patchadm_inputs::database::RecordReader;
use patchadm_inputs::inventory::is_kept_package;
use patchadm_planning::analyze::{InstalledPackage, InstalledPatch, MachineFacts};
use patchadm_planning::plan::clock::Now;
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

/// Reads the packages and applied patches of a root, without a lock. Patch ids with a separator other than `-` are in no
/// cross-reference, and keep their base.
pub fn facts_of_root<'a>(reader: impl Into<RecordReader<'a>>) -> Result<MachineFacts, PatchesError> {
    let reader = reader.into();
    let software = installed_software(reader)?;
    Ok(facts_of(reader.root(), &software))
}

/// Returns the facts of a root whose packages and applied patches were read. Patches whose fix an adopted package has are
/// among them.
pub fn facts_of(root: &Root, software: &InstalledSoftware) -> MachineFacts {
    let packages = software.packages.iter().map(|(inst, params)| InstalledPackage {
        instance: inst.to_string(),
        arch: params.text("ARCH").to_string(),
        version: params.text("VERSION").to_string(),
    });
    let params = software.packages.iter().map(|(inst, params)| (inst, params));
    let contained = ended_in_root(root, params, PatchId::SEPARATOR).contained;
    MachineFacts::new(packages, software.patches.iter().map(InstalledPatch::from))
        .with_contained(contained.into_iter().map(|one| one.id))
}

/// Examines a root, without a lock, for libraries from before its patches that are still loaded. If nothing is kept, nothing
/// is read.
pub fn still_loaded_in(
    root: &Root,
    software: &InstalledSoftware,
    now: &Now,
) -> Result<LibrariesBeforePatches, Failure> {
    if !software.packages.iter().any(|(_, params)| is_kept_package(params)) {
        return Ok(LibrariesBeforePatches::new());
    }
    let ground = RootAndPolicy::of(root)?;
    without_lock(root, || still_loaded(&ground, now))
}
