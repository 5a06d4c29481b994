//! The facts of a root: its packages and patches at one moment of its records.

use crate::analyze::{InstalledPackage, InstalledPatch, MachineFacts};
use crate::database::RecordReader;
use crate::operation::queries::applied_patches::{InstalledSoftware, PatchesError, installed_software};

/// Reads the packages and applied patches of a root, without a lock. Patch ids with another separator than `-` are those
/// of no cross-reference, and keep their base.
pub fn facts_of_root<'a>(reader: impl Into<RecordReader<'a>>) -> Result<MachineFacts, PatchesError> {
    let InstalledSoftware { patches, packages } = installed_software(reader)?;
    let packages = packages.into_iter().map(|(inst, params)| InstalledPackage {
        instance: inst.to_string(),
        arch: params.text("ARCH").to_string(),
        version: params.text("VERSION").to_string(),
    });
    Ok(MachineFacts::new(packages, patches.iter().map(InstalledPatch::from)))
}
