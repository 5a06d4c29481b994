//! What the undo archives of applied patches say of the paths of a survey: who changed each, and what is there since.
//!
//! An archive of another program says only what it saves: neither what the patch added nor what it delivered.

use std::collections::{BTreeMap, BTreeSet};

use super::{Setting, Touched};
use crate::database::archive::{self, Archive, ArchiveError};
use crate::database::{DatabaseError, View, installed};
use crate::format::manifest::{Kind, Manifest, ObjectRecord, State, decode};
use crate::package::{Digest, Inventory, Line, LiveKind, ObjectPath, PkgInst};
use crate::patch::PatchList;

/// Fills the save directories, `archives`, `patched_by` and `delivered` for the packages concerned and those that own a path concerned.
///
/// An archive that is missing or damaged is left out: what stands on it is refused where that is decided. So is one
/// that another root's patch left there.
pub(super) fn read(
    view: &View<'_>,
    touched: &Touched,
    setting: &Setting<'_>,
    inventory: &mut Inventory,
) -> Result<(), DatabaseError> {
    let mut delivered: BTreeMap<(ObjectPath, PkgInst), Digest> = BTreeMap::new();
    for package in packages(touched, inventory) {
        if let Some(installed) = inventory.packages.get_mut(&package) {
            installed.saves = installed::saves(view, &package)?;
        }
        for patch in applied(inventory, &package, setting.separator) {
            let found = match archive::find(view, setting.host, &package, &patch, setting.moved_to) {
                Ok(found) => found,
                Err(ArchiveError::View(error)) => return Err(error.into()),
                Err(ArchiveError::Root(error)) => return Err(error.into()),
                Err(_) => continue,
            };
            let Ok(manifest) = found.manifest() else { continue };
            inventory.archives.insert((package.clone(), patch.clone()), found.size());
            if manifest.is_none() {
                for path in saved_by_foreign(&found, inventory, &package) {
                    changed_by(inventory, path, &patch);
                }
                continue;
            }
            let own = manifest.filter(|manifest| manifest.header.root == inventory.marker);
            for (path, record) in own.iter().flat_map(records) {
                if !inventory.physical.contains_key(&path) {
                    continue;
                }
                let digest = record.became.as_ref().and_then(State::digest);
                if let Some(digest) = digest.filter(|_| is_of_line(inventory, &path, record)) {
                    delivered.insert((path.clone(), package.clone()), digest);
                }
                changed_by(inventory, path, &patch);
            }
        }
    }
    inventory.delivered = doubtful(inventory, &delivered);
    Ok(())
}

fn changed_by(inventory: &mut Inventory, path: ObjectPath, patch: &str) {
    let patches = inventory.patched_by.entry(path).or_default();
    if !patches.iter().any(|known| known == patch) {
        patches.push(patch.to_owned());
    }
}

/// The paths of the survey that an archive of another program saves. One whose pkgmap makes no sense saves nothing.
fn saved_by_foreign(found: &Archive, inventory: &Inventory, package: &PkgInst) -> Vec<ObjectPath> {
    let Some(params) = inventory.packages.get(package).map(|installed| &installed.params) else {
        return Vec::new();
    };
    let basedir =
        ObjectPath::new(params.text("BASEDIR").trim().as_bytes()).unwrap_or_else(|_| ObjectPath::root());
    let variable = |name: &str| params.get(name).map(<[u8]>::to_vec);
    let entries = found.pkgmap().map(|pkgmap| pkgmap.entries).unwrap_or_default();
    let objects = entries.iter().filter(|entry| !entry.is_information());
    let paths = objects.filter_map(|entry| entry.path.resolve(&basedir, variable).ok());
    paths.filter(|path| inventory.physical.contains_key(path)).collect()
}

/// The packages concerned and all owners of paths concerned.
fn packages(touched: &Touched, inventory: &Inventory) -> BTreeSet<PkgInst> {
    let owners =
        inventory.lines.values().flat_map(|line| line.owners.iter().map(|owner| owner.package.clone()));
    touched.packages.iter().cloned().chain(owners).collect()
}

/// The names of the save directories of the patches applied to a package, oldest first. A list that cannot be read is
/// refused by whoever decides by it.
fn applied(inventory: &Inventory, package: &PkgInst, separator: &str) -> Vec<String> {
    let Some(installed) = inventory.packages.get(package) else { return Vec::new() };
    let list = PatchList::parse(&installed.params.text("PATCHLIST"), separator).unwrap_or_default();
    list.iter().map(|id| id.as_str().to_owned()).filter(|id| installed.saves.contains_key(id)).collect()
}

/// Whether the line that a patch wrote is still there: a later one without an archive may have delivered since.
fn is_of_line(inventory: &Inventory, path: &ObjectPath, record: &ObjectRecord) -> bool {
    let written = record.new_line.as_deref().and_then(|line| Line::parse(&decode(line)).ok());
    let content = |line: &Line| line.object.content;
    written.as_ref().map(content) == inventory.lines.get(path).map(content)
}

/// The objects of a manifest that its patch changed. A directory that stayed as it was is none.
fn records(manifest: &Manifest) -> impl Iterator<Item = (ObjectPath, &ObjectRecord)> {
    let changed = |record: &&ObjectRecord| match (&record.was, &record.became) {
        (Some(was), Some(became)) if was.kind == Kind::Directory && became.kind == Kind::Directory => {
            (was.mode, was.uid, was.gid) != (became.mode, became.uid, became.gid)
        }
        _ => true,
    };
    let path = |record: &ObjectRecord| ObjectPath::new(&decode(&record.path)).ok();
    manifest.objects.iter().filter(changed).filter_map(move |record| Some((path(record)?, record)))
}

/// What was delivered last to the paths whose size and sum are those of their line and whose time is not: whether
/// these files were edited, only a digest tells. The owner installed last is asked first.
fn doubtful(
    inventory: &Inventory,
    delivered: &BTreeMap<(ObjectPath, PkgInst), Digest>,
) -> BTreeMap<ObjectPath, Digest> {
    let is_doubtful = |path: &ObjectPath| {
        let recorded = inventory.lines.get(path).map(|line| line.object.content).unwrap_or_default();
        let Some(found) = inventory.live.get(path) else { return false };
        let LiveKind::Regular { size, cksum, .. } = found.kind else { return false };
        recorded.size == Some(size)
            && recorded.cksum == Some(cksum)
            && recorded.mtime.is_some_and(|mtime| mtime != found.mtime.seconds)
    };
    let digest = |path: &ObjectPath| {
        let owners = &inventory.lines.get(path)?.owners;
        owners.iter().rev().find_map(|owner| delivered.get(&(path.clone(), owner.package.clone())).copied())
    };
    let paths = inventory.lines.keys().filter(|path| is_doubtful(path));
    paths.filter_map(|path| Some((path.clone(), digest(path)?))).collect()
}
