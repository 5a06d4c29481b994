//! What has to be known of a package of which objects go: everything that it owns, its patches, and who needs it.

use std::collections::BTreeMap;

use crate::operation::failure::Failure;
use patchadm_changeset::RecordFile;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::contents::lines_of_package;
use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_rootfs::Timestamp;
use patchadm_svr4::package::{Mode, Params, PkgInst};
use patchadm_svr4::places;

/// The files of a package by which others depend on it, or it on others.
const FILES: [&[u8]; 2] = [b"install/depend", b"install/compver"];
/// The largest one that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Adds what a package owns, and the directories of its patches, to what a change is about.
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

/// Adds the `depend` and `compver` files of all packages but `package` to what is known of them.
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

/// Reads the `depend` and `compver` files of an installed package, as records.
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
