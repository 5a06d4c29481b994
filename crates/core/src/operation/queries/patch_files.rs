//! The objects of an applied patch, package by package.

use std::collections::BTreeMap;

use super::patch_reader::{PatchReader, PatchedObject, PatchedPackage};
use crate::operation::failure::Failure;
use crate::operation::session::{RootAndPolicy, must_have_database};
use patchadm_changeset::format::undo_sidecars::PathDigest;
use patchadm_inputs::database::{RecordView, all, contents, read_consistently, saves};
use patchadm_inputs::policy::Policy;
use patchadm_rootfs::Root;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchRecords};

/// Returns what an applied patch did, in each package that it is applied to; `None` if it is not applied. If its undo data
/// does not tell, only the names of the list beside it are known.
pub fn patch_files(root: &Root, id: &str) -> Result<Option<Vec<PatchedPackage>>, Failure> {
    must_have_database(root)?;
    let (Policy { separator, .. }, ground) = RootAndPolicy::as_far_as_known(root)?;
    let Ok(id) = PatchId::parse(id, &separator) else { return Ok(None) };
    read_consistently(root, |view| {
        let (applied, params) = records(view, &separator)?;
        let Some(patch) = applied.get(&id) else { return Ok(None) };
        let mut reader = PatchReader::new(view, ground.as_ref());
        let mut files = Vec::new();
        for package in &patch.packages {
            let none = Params::default();
            let params = params.get(package).unwrap_or(&none);
            let told = reader.objects((package, params), &id)?;
            files.push(if told.known || !told.objects.is_empty() {
                told
            } else {
                by_names(view, told, &id)?
            });
        }
        Ok(Some(files))
    })
}

/// Returns the patch records and the parameters of all packages.
pub(super) fn records(
    view: &RecordView<'_>,
    separator: &str,
) -> Result<(AppliedPatches, BTreeMap<PkgInst, Params>), Failure> {
    let params = all::params_of_all(view)?;
    let records: Result<Vec<PatchRecords>, _> = params
        .iter()
        .map(|(package, params)| {
            patchadm_inputs::database::installed::patch_records(view.root(), package, params, separator)
        })
        .collect();
    Ok((AppliedPatches::new(records?), params))
}

/// Returns the objects of the package whose paths are in the list beside the archive. Deleted objects are not among them.
fn by_names(view: &RecordView<'_>, told: PatchedPackage, id: &PatchId) -> Result<PatchedPackage, Failure> {
    let lists = saves::paths(view, &told.package)?;
    let is_of_patch = |name: &String| PatchId::new(name).is_ok_and(|other| other == *id);
    let Some((_, list)) = lists.into_iter().find(|(name, _)| is_of_patch(name)) else { return Ok(told) };
    let lines = contents::lines_of_package(view, &told.package)
        .map_err(patchadm_inputs::database::DatabaseError::from)?;
    let paths = lines.into_keys().filter(|path| list.has(&PathDigest::of(path)));
    Ok(PatchedPackage { objects: paths.map(PatchedObject::named).collect(), ..told })
}
