//! Packages of which only the stamp of the native records differs: whether their patches are as they were left.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::Failure;
use patchadm_changeset::format::manifest::{Manifest, ObjectRecord};
use patchadm_inputs::database::undo_data::{ArchiveError, UndoReader};
use patchadm_inputs::database::{installed, ledger, marker};
use patchadm_inputs::inventory::Installed;
use patchadm_planning::plan::patch::overtaken::standing::is_as_left;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// Returns those of these packages whose patches left every path as it is now. A package whose undo data cannot be read is
/// not among them.
pub(super) fn as_left(
    reader: &UndoReader<'_>,
    separator: &str,
    candidates: &BTreeSet<PkgInst>,
    packages: &BTreeMap<PkgInst, Installed>,
) -> BTreeSet<PkgInst> {
    let is_left = |package: &&PkgInst| {
        let list = packages.get(*package).map(|installed| installed.params.text("PATCHLIST").into_owned());
        let ids = list.as_deref().unwrap_or_default().split_whitespace();
        let ids: Result<Vec<PatchId>, _> = ids.map(|id| PatchId::parse(id, separator)).collect();
        ids.is_ok_and(|ids| ids.is_empty() || is_package_as_left(reader, package, &ids).unwrap_or(false))
    };
    candidates.iter().filter(is_left).cloned().collect()
}

/// Returns the first of these paths at which patches of a package left another object than is there now.
pub(super) fn other_than_left(
    reader: &UndoReader<'_>,
    separator: &str,
    (package, installed): (&PkgInst, &Installed),
    paths: &[ObjectPath],
) -> Option<ObjectPath> {
    let list = installed.params.text("PATCHLIST");
    let ids: Result<Vec<PatchId>, _> =
        list.split_whitespace().map(|id| PatchId::parse(id, separator)).collect();
    let manifests = manifests(reader, package, &ids.ok()?).ok().flatten()?;
    let left = |path: &&ObjectPath| {
        let records = manifests.iter().flat_map(|manifest| &manifest.objects);
        let mut records =
            records.filter(|record| record.has_path() && record.object_path().as_ref() == Some(*path));
        let first = records.next()?;
        let last = records.next_back().unwrap_or(first);
        let live = live_at(reader, path).ok()?;
        Some(is_as_left((first, last), live.as_ref()))
    };
    paths.iter().find(|path| left(path) == Some(false)).cloned()
}

/// Looks at what is at a path.
fn live_at(reader: &UndoReader<'_>, path: &ObjectPath) -> Result<Option<Live>, Failure> {
    let root = reader.view.root();
    let physical = root.resolver().locate_object(path)?;
    let directory = physical.parent().unwrap_or_else(ObjectPath::root);
    Ok(match root.dir_if_there(&directory)? {
        Some(dir) => dir.live(physical.name())?,
        None => None,
    })
}

/// Tells whether a patch of a package changed what is at a path, or nothing says what its patches did.
pub(super) fn is_patched_at(
    reader: &UndoReader<'_>,
    separator: &str,
    (package, installed): (&PkgInst, &Installed),
    path: &ObjectPath,
) -> bool {
    let list = installed.params.text("PATCHLIST");
    let ids: Result<Vec<PatchId>, _> =
        list.split_whitespace().map(|id| PatchId::parse(id, separator)).collect();
    let manifests = ids.ok().and_then(|ids| manifests(reader, package, &ids).ok().flatten());
    manifests.is_none_or(|manifests| {
        let mut records = manifests.iter().flat_map(|manifest| &manifest.objects);
        records.any(|record| record.has_path() && record.object_path().as_ref() == Some(path))
    })
}

/// Reads what the patches of a package did; `None` if nothing says it of one of them.
fn manifests(
    reader: &UndoReader<'_>,
    package: &PkgInst,
    ids: &[PatchId],
) -> Result<Option<Vec<Manifest>>, Failure> {
    let lines = ledger::counting(reader.view, package).map_err(ArchiveError::from)?;
    let marker = marker(reader.view.root())?;
    let mut manifests: Vec<Manifest> = Vec::new();
    for id in ids {
        let name = installed::saved_as(reader.view, package, id)?;
        let kept = reader.kept_manifest(package, &name, &lines)?;
        let manifest = match kept {
            Some(manifest) => Some(manifest),
            None => reader.find_with(package, &name, &lines)?.verify_alone(marker.as_deref())?.manifest,
        };
        let Some(manifest) = manifest else { return Ok(None) };
        manifests.push(manifest);
    }
    Ok(Some(manifests))
}

fn is_package_as_left(reader: &UndoReader<'_>, package: &PkgInst, ids: &[PatchId]) -> Result<bool, Failure> {
    let Some(manifests) = manifests(reader, package, ids)? else { return Ok(false) };
    let mut put: BTreeMap<ObjectPath, (&ObjectRecord, &ObjectRecord)> = BTreeMap::new();
    for record in manifests.iter().flat_map(|manifest| &manifest.objects).filter(|record| record.has_path()) {
        let Some(path) = record.object_path() else { return Ok(false) };
        put.entry(path).and_modify(|(_, last)| *last = record).or_insert((record, record));
    }
    for (path, (first, last)) in put {
        let live = live_at(reader, &path)?;
        if !is_as_left((first, last), live.as_ref()) {
            return Ok(false);
        }
    }
    Ok(true)
}
