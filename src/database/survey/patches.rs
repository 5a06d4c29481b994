//! What the undo archives of applied patches say of the paths of a survey: who changed each, and what is there since.
//!
//! An archive of another program says only what it saves: neither what the patch added nor what it delivered.

use std::collections::{BTreeMap, BTreeSet};

use super::{Setting, Touched};
use crate::database::archive::{self, Archive, ArchiveError};
use crate::database::{DatabaseError, View, installed, places};
use crate::format::manifest::{ObjectRecord, State, decode};
use crate::format::undo_paths::PathDigest;
use crate::package::{Digest, Inventory, Line, LiveKind, ObjectPath, PkgInst, Save};
use crate::patch::{PatchId, PatchList};
use crate::root::Dir;

/// Fills `patched_by`, `delivered` and the save directories of the packages concerned and those that own a path concerned.
///
/// Which paths an archive changed is in the list beside it; only where that is missing, or what was delivered matters, is
/// the archive read. One that is missing or damaged is left out: what stands on it is refused where that is decided. So
/// is one that another root's patch left there.
pub(super) fn read(
    view: &View<'_>,
    touched: &Touched,
    setting: &Setting<'_>,
    inventory: &mut Inventory,
) -> Result<(), DatabaseError> {
    let mut survey = Survey {
        view,
        setting,
        asked: inventory.physical.keys().map(|path| (PathDigest::of(path), path.clone())).collect(),
        doubtful: inventory.lines.keys().filter(|path| is_doubtful(inventory, path)).cloned().collect(),
        patched_by: BTreeMap::new(),
        delivered: BTreeMap::new(),
    };
    for package in packages(touched, inventory) {
        if let Some(installed) = inventory.packages.get_mut(&package) {
            installed.saves = installed::saves(view, &package)?;
        }
        let saves = view.root().resolver().locate_dir(&places::save(&package))?;
        let saves = view.root().dir_if_there(&saves)?;
        for (patch, save) in applied(inventory, &package, setting.separator) {
            let is_kept = save.archive.is_some() || save.remote.is_some();
            let saves = saves.as_ref().filter(|_| is_kept);
            survey.archive(inventory, &package, &patch, saves)?;
        }
    }
    let Survey { patched_by, delivered, doubtful, .. } = survey;
    inventory.delivered = last_delivered(inventory, &doubtful, &delivered);
    inventory.patched_by = patched_by;
    Ok(())
}

/// What is asked of the archives, and what they have answered.
struct Survey<'a> {
    view: &'a View<'a>,
    setting: &'a Setting<'a>,
    /// The paths of the survey.
    asked: Vec<(PathDigest, ObjectPath)>,
    /// Those of which it matters what was delivered.
    doubtful: BTreeSet<ObjectPath>,
    patched_by: BTreeMap<ObjectPath, Vec<String>>,
    delivered: BTreeMap<(ObjectPath, PkgInst), Digest>,
}

impl Survey<'_> {
    fn archive(
        &mut self,
        inventory: &Inventory,
        package: &PkgInst,
        patch: &str,
        saves: Option<&Dir>,
    ) -> Result<(), DatabaseError> {
        if let Some(saves) = saves {
            let list = archive::paths(saves, patch)?;
            if let Some(list) = list.filter(|list| list.marker() == inventory.marker.as_bytes()) {
                let changed: Vec<ObjectPath> = self
                    .asked
                    .iter()
                    .filter(|(digest, _)| list.has(digest))
                    .map(|(_, path)| path.clone())
                    .collect();
                let is_doubtful = changed.iter().any(|path| self.doubtful.contains(path));
                for path in changed {
                    self.changed_by(path, patch);
                }
                if !is_doubtful {
                    return Ok(());
                }
            }
        }
        self.manifest(inventory, package, patch)
    }

    /// Asks the archive itself.
    fn manifest(
        &mut self,
        inventory: &Inventory,
        package: &PkgInst,
        patch: &str,
    ) -> Result<(), DatabaseError> {
        let Setting { host, moved_to, .. } = *self.setting;
        let found = match archive::find(self.view, host, package, patch, moved_to) {
            Ok(found) => found,
            Err(ArchiveError::View(error)) => return Err(error.into()),
            Err(ArchiveError::Root(error)) => return Err(error.into()),
            Err(_) => return Ok(()),
        };
        let Ok(manifest) = found.manifest() else { return Ok(()) };
        let Some(manifest) = manifest else {
            for path in saved_by_foreign(&found, inventory, package) {
                self.changed_by(path, patch);
            }
            return Ok(());
        };
        if manifest.header.root != inventory.marker {
            return Ok(());
        }
        for record in manifest.objects.iter().filter(|record| record.is_changed()) {
            let Some(path) = record.object_path().filter(|path| inventory.physical.contains_key(path)) else {
                continue;
            };
            let digest = record.became.as_ref().and_then(State::digest);
            if let Some(digest) = digest.filter(|_| is_of_line(inventory, &path, record)) {
                self.delivered.insert((path.clone(), package.clone()), digest);
            }
            self.changed_by(path, patch);
        }
        Ok(())
    }

    fn changed_by(&mut self, path: ObjectPath, patch: &str) {
        let patches = self.patched_by.entry(path).or_default();
        if !patches.iter().any(|known| known == patch) {
            patches.push(patch.to_owned());
        }
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

/// The save directories of the patches applied to a package, oldest first. A list that cannot be read is refused by
/// whoever decides by it.
fn applied<'a>(inventory: &'a Inventory, package: &PkgInst, separator: &str) -> Vec<(String, &'a Save)> {
    let Some(installed) = inventory.packages.get(package) else { return Vec::new() };
    let list = PatchList::parse(&installed.params.text("PATCHLIST"), separator).unwrap_or_default();
    let save = |id: &PatchId| Some((id.as_str().to_owned(), installed.saves.get(id.as_str())?));
    list.iter().filter_map(save).collect()
}

/// Whether the line that a patch wrote is still there: a later one without an archive may have delivered since.
fn is_of_line(inventory: &Inventory, path: &ObjectPath, record: &ObjectRecord) -> bool {
    let written = record.new_line.as_deref().and_then(|line| Line::parse(&decode(line)).ok());
    let content = |line: &Line| line.object.content;
    written.as_ref().map(content) == inventory.lines.get(path).map(content)
}

/// Whether size and sum of a file are those of its line and its time is not: then only a digest tells whether it was
/// edited.
fn is_doubtful(inventory: &Inventory, path: &ObjectPath) -> bool {
    let recorded = inventory.lines.get(path).map(|line| line.object.content).unwrap_or_default();
    let Some(found) = inventory.live.get(path) else { return false };
    let LiveKind::Regular { size, cksum, .. } = found.kind else { return false };
    recorded.size == Some(size)
        && recorded.cksum == Some(cksum)
        && recorded.mtime.is_some_and(|mtime| mtime != found.mtime.seconds)
}

/// What was delivered last to doubtful paths. The owner installed last is asked first.
fn last_delivered(
    inventory: &Inventory,
    doubtful: &BTreeSet<ObjectPath>,
    delivered: &BTreeMap<(ObjectPath, PkgInst), Digest>,
) -> BTreeMap<ObjectPath, Digest> {
    let digest = |path: &ObjectPath| {
        let owners = &inventory.lines.get(path)?.owners;
        owners.iter().rev().find_map(|owner| delivered.get(&(path.clone(), owner.package.clone())).copied())
    };
    doubtful.iter().filter_map(|path| Some((path.clone(), digest(path)?))).collect()
}
