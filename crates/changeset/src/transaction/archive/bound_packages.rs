//! What a run leaves of the pkginfo of packages, for the stamp of `contents`: what the stamp of before says, and what the
//! plan changes.

use crate::format::bound_packages::{BoundPackage, BoundPackages};
use crate::plan::{Plan, RecordChange, TreeContent};
use crate::records::{RecordView, ViewError, stamped};
use patchadm_rootfs::{Digest, FileType, Root};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::places;

/// The packages as run number `run` leaves them.
pub(super) fn after(root: &Root, plan: &Plan, run: u64) -> Result<BoundPackages, ViewError> {
    let view = RecordView::live(root);
    let mut bound = stamped::last(&view).map(|last| last.packages).unwrap_or_default();
    let packages = places::packages();
    for record in &plan.records {
        match record {
            RecordChange::RemoveTree(path) if path.parent().as_ref() == Some(&packages) => {
                if let Some(package) = instance(path) {
                    bound.remove(&package);
                }
            }
            RecordChange::Write { path, bytes, .. } => {
                let package = path.parent().and_then(|directory| instance(&directory));
                let Some(package) = package.filter(|package| *path == places::pkginfo(package)) else {
                    continue;
                };
                let is_spooled = is_spooled(&view, plan, &package)?;
                bound.set(package, BoundPackage { run, pkginfo: Digest::of(bytes), is_spooled });
            }
            _ => {}
        }
    }
    Ok(bound)
}

/// The package that a directory is named after.
fn instance(directory: &ObjectPath) -> Option<PkgInst> {
    PkgInst::new(std::str::from_utf8(directory.name()).ok()?).ok()
}

/// Whether a package has a copy of its pkgmap after the plan.
fn is_spooled(view: &RecordView<'_>, plan: &Plan, package: &PkgInst) -> Result<bool, ViewError> {
    let map = places::delivered_pkgmap(package);
    let last = plan.records.iter().rev().find_map(|record| match record {
        RecordChange::Write { path, .. } if *path == map => Some(true),
        RecordChange::AddTree { path, files } => {
            let is_map = |name: &[u8]| path.join(name).is_ok_and(|at| at == map);
            let bytes = |content: &TreeContent| matches!(content, TreeContent::Bytes(_));
            files.iter().any(|file| is_map(&file.name) && bytes(&file.content)).then_some(true)
        }
        RecordChange::RemoveFile(path) if *path == map => Some(false),
        RecordChange::RemoveTree(path) if map.is_below(path) => Some(false),
        _ => None,
    });
    match last {
        Some(is_spooled) => Ok(is_spooled),
        None => Ok(view.look(&map)?.is_some_and(|seen| seen.file_type == FileType::Regular)),
    }
}
