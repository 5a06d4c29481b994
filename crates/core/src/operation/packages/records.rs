//! Records that are read before a package is replaced or removed.

use std::collections::BTreeMap;

use crate::operation::failure::Failure;
use patchadm_changeset::RecordFile;
use patchadm_inputs::database::contents::lines_of_package;
use patchadm_inputs::database::{DatabaseError, RecordView, all, installed, ledger};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_inputs::inventory::{Installed, Inventory, Touched};
use patchadm_planning::plan::package::package_records::DamagedPackage;
use patchadm_rootfs::{Root, Timestamp};
use patchadm_svr4::package::{Mode, Params, PkgInst};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

const FILES: [&[u8]; 2] = [b"install/depend", b"install/compver"];
/// In bytes.
const LARGEST: u64 = 1 << 20;

/// Adds the paths of a package and the directories of its patches.
pub(super) fn add_owned(
    view: &RecordView<'_>,
    package: &PkgInst,
    params: &Params,
    touched: &mut Touched,
) -> Result<(), Failure> {
    touched.paths.extend(lines_of_package(view, package)?.into_keys());
    let patches = params.text("PATCHLIST");
    touched.paths.extend(patches.split_whitespace().filter_map(|id| places::patch(id).ok()));
    Ok(())
}

/// Reads those of all packages but `package`.
pub(super) fn add_depend_files(
    view: &RecordView<'_>,
    package: &PkgInst,
    inventory: &mut Inventory,
) -> Result<(), Failure> {
    for (other, installed) in inventory.packages.iter_mut().filter(|(other, _)| *other != package) {
        installed.records = depend_files(view, other)?;
    }
    Ok(())
}

fn depend_files(view: &RecordView<'_>, package: &PkgInst) -> Result<BTreeMap<Vec<u8>, RecordFile>, Failure> {
    let mut files = BTreeMap::new();
    for name in FILES {
        let Ok(path) = places::package(package).join(name) else { continue };
        if let Some(bytes) = view.read(&path, LARGEST)? {
            let (mode, mtime) = (Mode::of(0o644), Timestamp::default());
            files.insert(name.to_vec(), RecordFile { bytes: bytes.into(), mode, mtime });
        }
    }
    Ok(files)
}

/// Returns the remains if pkginfo is damaged, or the directory is gone while the ledger exists.
pub(in crate::operation) fn damaged_package(
    root: &Root,
    package: &PkgInst,
) -> Result<Option<DamagedPackage>, Failure> {
    let view = RecordView::live(root);
    let names = view.list(&places::package(package))?;
    let reason = match all::params_of(&view, package) {
        Ok(None) if names.is_none() && view.look(&places::ledger(package))?.is_some() => {
            format!("{} does not exist", root.show(&places::package(package)))
        }
        Ok(_) => return Ok(None),
        Err(DatabaseError::Damaged(damage)) => damage.to_string(),
        Err(error) => return Err(error.into()),
    };
    let mut installed = Installed::default();
    installed::records(&view, package, &mut installed)?;
    let saved = view.list(&places::save(package))?.unwrap_or_default();
    let saved = saved.into_iter().filter_map(|name| String::from_utf8(name).ok());
    let saved: Vec<String> = saved.filter(|name| PatchId::new(name).is_ok()).collect();
    let ledger = ledger::read(&view, package).ok();
    let known = ledger.iter().flat_map(Ledger::patches).cloned();
    let mut ended: Vec<String> = known.collect();
    ended.extend(saved.iter().filter(|name| !ended.contains(name)).cloned().collect::<Vec<_>>());
    Ok(Some(DamagedPackage { reason, is_there: names.is_some(), installed, saved, ended }))
}
