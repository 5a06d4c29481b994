//! What is known before a refresh is planned, and what follows for the undo data of the patches.

use std::collections::{BTreeMap, BTreeSet};

use super::native_now::ChangedPackage;
use super::request::{EndedPatch, RefreshReport, RefreshedRegistration, StandingPatch};
use super::saved::{OfPackage, SavedPatches};
use patchadm_changeset::format::manifest::{Manifest, ObjectRecord, decode, encode};
use patchadm_inputs::format::overtaken::{LostPath, OvertakenPatch, OvertakenPatches};
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::native::{
    FixedIn, NATIVE_OVERTAKEN, NativeChange, NativeManager, NativeOrigin, NativeOwner, differing_of,
    fixed_in_of,
};
use patchadm_planning::plan::patch::backout_input::GoingPatch;
use patchadm_planning::plan::patch::overtaken::{NativeListed, PathStanding, Standings};
use patchadm_planning::plan::patch::overtaken::{
    OtherPatches, SavedEdit, Trimmed, TrimmedPatch, saved_edits,
};
use patchadm_planning::plan::patch::registration_refresh::{HeldPath, RefreshedPackage};
use patchadm_rootfs::{FileType, Root};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, Superseded, UnmetRequirement};

/// What is known of a root before its patches are judged.
pub(super) struct Facts {
    pub(super) packages: BTreeMap<PkgInst, Installed>,
    pub(super) applied: AppliedPatches,
    /// The list of the patches that ended.
    pub(super) list: OvertakenPatches,
    /// The settled changes.
    pub(super) changes: BTreeMap<PkgInst, NativeChange>,
    /// The changed packages with their native records.
    pub(super) changed: Vec<ChangedPackage>,
    /// The undo data of all patches of every package that a patch of a changed one is applied to, in the order of
    /// application.
    pub(super) saved: SavedPatches,
    pub(super) inventory: Inventory,
    pub(super) native: BTreeMap<PkgInst, NativeListed>,
    pub(super) standings: Standings,
}

/// What is left of the undo data of the patches of changed packages, and what only that has of an administrator.
pub(super) struct TrimmedPatches<'f> {
    pub(super) trimmed: BTreeMap<OfPackage, Trimmed>,
    pub(super) edits: Vec<SavedEdit<'f>>,
    /// Sentences for a person, about edits that stay where the patch kept them.
    pub(super) notes: Vec<String>,
}

impl Facts {
    /// Returns the version of a changed package that is there now.
    pub(super) fn new_version(&self, manager: NativeManager, name: &str) -> Option<String> {
        let of_name = |change: &&NativeChange| {
            let origin = change.origin();
            origin.manager == manager && origin.name == name
        };
        self.changes.values().find(of_name)?.versions().1.map(str::to_owned)
    }

    /// Lets patches end whose fix each of their packages has now, even where some paths are as they left them.
    pub(super) fn end_fixed(&mut self) {
        let (packages, changes) = (&self.packages, &self.changes);
        let is_fixed = |id: &PatchId, of: &[PkgInst]| {
            let fixed: Option<FixedIn> = fixed_in(packages, id, of).and_then(|text| text.parse().ok());
            let has_fix = |package: &PkgInst| {
                let (Some(fixed), Some(change)) = (&fixed, changes.get(package)) else { return false };
                let NativeOrigin { manager, name, .. } = change.origin();
                change.versions().1.is_some_and(|version| fixed.has(*manager, name, version))
            };
            !of.is_empty() && of.iter().all(has_fix)
        };
        for patch in self.applied.iter().filter(|patch| is_fixed(&patch.id, &patch.packages)) {
            self.standings.standing.remove(&patch.id);
        }
    }

    /// The patches that end, the last applied first.
    pub(super) fn ending(&self) -> Vec<GoingPatch> {
        let of_changed =
            |packages: &[PkgInst]| packages.iter().any(|package| self.changes.contains_key(package));
        let ends = |id: &PatchId| !self.standings.standing.contains(id);
        let patches = self.applied.iter().filter(|patch| of_changed(&patch.packages) && ends(&patch.id));
        let mut ending: Vec<GoingPatch> = patches
            .map(|patch| GoingPatch { id: patch.id.clone(), packages: patch.packages.clone() })
            .collect();
        let place = |id: &PatchId| self.saved.all.iter().position(|one| one.id == *id);
        ending.sort_by_cached_key(|patch| std::cmp::Reverse(place(&patch.id)));
        ending
    }

    /// Trims the undo data of the patches of changed packages.
    pub(super) fn trimmed(&self) -> TrimmedPatches<'_> {
        let (mut trimmed, mut edits, mut notes) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (package, native) in &self.native {
            let of: Vec<_> = self.saved.all.iter().filter(|one| one.package == *package).collect();
            let params = self.packages.get(package).map(|installed| &installed.params);
            let differing = params.map(differing_of).unwrap_or_default();
            let physical = &self.inventory.physical;
            let listed: BTreeSet<&ObjectPath> =
                native.paths.keys().map(|path| physical.get(path).unwrap_or(path)).collect();
            let is_listed = |path: &ObjectPath| listed.contains(physical.get(path).unwrap_or(path));
            for (at, saved) in of.iter().enumerate() {
                let Some(manifest) = saved.manifest() else { continue };
                let (before, after) = of.split_at(at);
                let earlier = paths(before.iter().filter_map(|one| one.manifest()));
                let stands = |id: &PatchId| self.standings.standing.contains(id);
                let later = after.iter().skip(1).filter(|one| stands(&one.id));
                let others = OtherPatches { earlier, later: paths(later.filter_map(|one| one.manifest())) };
                let patch = TrimmedPatch { package, id: &saved.id, manifest, others };
                let mut left = patch.trimmed(&self.standings, is_listed);
                let saved_edits = saved.image().map(|image| saved_edits(&patch, image, &left, &differing));
                for edit in saved_edits.into_iter().flatten() {
                    let added = |(_, name): &(ObjectPath, String)| {
                        self.standings.path(package, name) == Some(PathStanding::Added)
                    };
                    let Some((kept, name)) = edit.kept_beside(&self.inventory).filter(added) else {
                        edits.push(edit);
                        continue;
                    };
                    left.give_up(&name);
                    let shown = edit.record.object_path().unwrap_or_else(|| kept.clone());
                    notes.push(format!(
                        "{} was edited before {}; the edited one stays as {}",
                        self.inventory.show(&shown),
                        saved.id,
                        self.inventory.show(&kept)
                    ));
                }
                trimmed.insert((package.clone(), saved.id.clone()), left);
            }
        }
        TrimmedPatches { trimmed, edits, notes }
    }

    /// The paths of a package that patches which stand hold or added; with the line that the last of them recorded, where a
    /// patch after it recorded another one and ends.
    pub(super) fn held(
        &self,
        package: &PkgInst,
        trimmed: &BTreeMap<OfPackage, Trimmed>,
    ) -> BTreeMap<ObjectPath, HeldPath> {
        let mut held: BTreeMap<ObjectPath, (Option<ContentsLine>, bool)> = BTreeMap::new();
        for saved in self.saved.all.iter().filter(|one| one.package == *package) {
            if !self.standings.standing.contains(&saved.id) {
                let objects = saved.manifest().into_iter().flat_map(|manifest| &manifest.objects);
                for path in objects.filter_map(ObjectRecord::object_path) {
                    held.entry(path).and_modify(|(_, is_overlaid)| *is_overlaid = true);
                }
                continue;
            }
            let left = trimmed.get(&(package.clone(), saved.id.clone()));
            for record in left.into_iter().flat_map(|left| &left.manifest.objects) {
                let line = record.new_line.as_ref().and_then(|line| ContentsLine::parse(&decode(line)).ok());
                held.extend(record.object_path().map(|path| (path, (line, false))));
            }
        }
        let origin = self.changes.get(package).map(NativeChange::origin);
        let place = |path: &ObjectPath| {
            let diverted = origin.and_then(|origin| self.inventory.place_of_native(path, origin));
            diverted.unwrap_or(path).clone()
        };
        let held = held.into_iter().map(|(path, (line, is_overlaid))| {
            let (place, recorded) = (place(&path), line.filter(|_| is_overlaid));
            (path, HeldPath { place, recorded })
        });
        held.collect()
    }

    /// The patches of a package of which a part was handed over, now or before.
    pub(super) fn overtaken(&self, package: &PkgInst, trimmed: &BTreeMap<OfPackage, Trimmed>) -> Vec<String> {
        let installed = self.packages.get(package);
        let before = installed.map(|one| one.params.text(NATIVE_OVERTAKEN).into_owned()).unwrap_or_default();
        let mut ids: BTreeSet<String> = before.split_whitespace().map(str::to_owned).collect();
        let now = trimmed.iter().filter(|((of, _), left)| of == package && left.is_changed());
        ids.extend(now.map(|((_, id), _)| id.to_string()));
        ids.retain(|id| self.standings.standing.iter().any(|standing| standing.as_str() == id));
        ids.into_iter().collect()
    }

    /// What a person is told.
    pub(super) fn report(
        &self,
        ending: &[GoingPatch],
        (ended, unmet): (Vec<OvertakenPatch>, &[UnmetRequirement]),
        trimmed: &BTreeMap<OfPackage, Trimmed>,
        packages: &BTreeMap<PkgInst, RefreshedPackage>,
    ) -> RefreshReport {
        let mut report = RefreshReport::default();
        for (package, refreshed) in packages {
            let objects = refreshed.software.as_ref().map_or(0, |software| {
                let there = |path: &&ObjectPath| self.inventory.live.contains_key(*path);
                software.software.paths.keys().filter(there).count()
            });
            let (package, change) = (package.clone(), refreshed.change.clone());
            report.packages.push(RefreshedRegistration { package, change, objects });
        }
        for (going, patch) in ending.iter().zip(ended) {
            let required_by = self.users(&going.id, unmet);
            report.notes.extend(self.edited(going));
            if let Some(by) = self.effective_instead(&going.id) {
                report.notes.push(format!("{} ended with {by}", going.id));
                continue;
            }
            report.ended.push(EndedPatch { patch, packages: going.packages.clone(), required_by });
        }
        let concerned: BTreeSet<&PatchId> = trimmed.keys().map(|(_, id)| id).collect();
        for id in concerned.into_iter().filter(|id| self.standings.standing.contains(*id)) {
            let of = trimmed.iter().filter(|((_, of), _)| of == id);
            let names = of.flat_map(|((package, _), left)| {
                let is_added =
                    |name: &&String| self.standings.path(package, name) == Some(PathStanding::Added);
                left.left_out.iter().filter(move |name| !is_added(name))
            });
            let handed_over = names.filter_map(|name| ObjectPath::new(&decode(name)).ok());
            let handed_over = handed_over.map(|path| self.inventory.show(&path)).collect();
            let lost = self.standings.lost.get(id).into_iter().flatten();
            let lost = lost.map(|(_, path)| self.inventory.show(path)).collect();
            report.standing.push(StandingPatch { id: id.clone(), handed_over, lost });
        }
        report
    }

    /// Returns the applied revision or obsoleting patch that replaces a patch. Only the loss of that one is reported.
    pub(super) fn effective_instead(&self, id: &PatchId) -> Option<String> {
        Some(match self.applied.superseded(id)? {
            Superseded::Revision(by) => by.to_string(),
            Superseded::Obsoletion(by) => by.by.map_or_else(|| by.entry.to_string(), ToString::to_string),
        })
    }

    /// The paths of a patch in a package at which what it did is gone.
    pub(super) fn lost(&self, id: &PatchId, package: &PkgInst) -> Vec<LostPath> {
        let manifest = self.saved.get(package, id).and_then(|saved| saved.manifest());
        let lost = self.standings.lost.get(id).into_iter().flatten().filter(|(of, _)| of == package);
        let b3 = |path: &ObjectPath| {
            let mut records = manifest.into_iter().flat_map(|manifest| &manifest.objects);
            let record = records.find(|record| record.object_path().as_ref() == Some(path))?;
            record.became.as_ref()?.digest().map(|digest| digest.to_string())
        };
        let origin = self.changes.get(package).map(NativeChange::origin);
        let by =
            |path: &ObjectPath| self.inventory.native_owners.foreign(path, origin).map(ToString::to_string);
        lost.map(|(_, path)| LostPath { path: encode(path.as_bytes()), b3: b3(path), by: by(path) }).collect()
    }

    /// The objects that a patch put into a package, directories apart.
    pub(super) fn put(&self, id: &PatchId, package: &PkgInst) -> Vec<LostPath> {
        let manifest = self.saved.get(package, id).and_then(|saved| saved.manifest());
        let records = manifest.into_iter().flat_map(|manifest| &manifest.objects);
        let put = records.filter(|record| record.has_path() && !record.is_untouched());
        let put = put.filter_map(|record| {
            let state = record.became.as_ref().filter(|state| state.kind != FileType::Directory)?;
            let b3 = state.digest().map(|digest| digest.to_string());
            Some(LostPath { path: record.path.clone(), b3, by: None })
        });
        put.collect()
    }

    /// The native package that took the place of one that was removed: it owns a path that the patch replaced, or says so.
    pub(super) fn successor(
        &self,
        root: &Root,
        id: &PatchId,
        package: &PkgInst,
        origin: &NativeOrigin,
    ) -> Option<NativeOwner> {
        let manifest = self.saved.get(package, id).and_then(|saved| saved.manifest());
        let records = manifest.into_iter().flat_map(|manifest| &manifest.objects);
        let replaced = records.filter(|record| {
            record.has_path() && record.was.as_ref().is_some_and(|was| was.kind != FileType::Directory)
        });
        let owner = replaced
            .filter_map(ObjectRecord::object_path)
            .find_map(|path| self.inventory.native_owners.foreign(&path, Some(origin)).cloned());
        owner.or_else(|| origin.manager.successors(root, &origin.name).into_iter().next())
    }

    /// The applied patches with a requirement that this one met, and that nothing meets any more.
    fn users(&self, id: &PatchId, unmet: &[UnmetRequirement]) -> Vec<PatchId> {
        let obsoletes = self.applied.get(id).map(|patch| patch.obsoletes.clone()).unwrap_or_default();
        let of = unmet.iter().filter(|one| one.requirement.is_met_by(id, &obsoletes));
        let users: BTreeSet<&PatchId> = of.map(|one| &one.patch).collect();
        users.into_iter().cloned().collect()
    }

    /// A patch whose fix was contained, and is not in the version that is there now.
    pub(super) fn lost_again(
        &self,
        patch: OvertakenPatch,
        separator: &str,
        unmet: &[UnmetRequirement],
    ) -> EndedPatch {
        let id = PatchId::parse(&patch.patch, separator);
        let required_by = id.map(|id| self.users(&id, unmet)).unwrap_or_default();
        EndedPatch { patch, packages: Vec::new(), required_by }
    }

    /// The objects of a patch that ends and stay because somebody wrote to them.
    fn edited(&self, going: &GoingPatch) -> Vec<String> {
        let mut notes = Vec::new();
        for package in &going.packages {
            let manifest = self.saved.get(package, &going.id).and_then(|saved| saved.manifest());
            let is_known = manifest.is_some();
            for record in manifest.into_iter().flat_map(|manifest| &manifest.objects) {
                let is_edited = self.standings.path(package, &record.path) == Some(PathStanding::Edited);
                if let Some(path) = record.object_path().filter(|_| is_edited && record.has_path()) {
                    notes.push(format!(
                        "{} was edited since {} and stays",
                        self.inventory.show(&path),
                        going.id
                    ));
                }
            }
            if !is_known {
                notes.push(format!(
                    "nothing says what patch {} did to package {package}: its objects stay",
                    going.id
                ));
            }
        }
        notes
    }
}

/// Returns what a patch of these packages says of native versions with its fix. `all` are the packages of the root.
pub(super) fn fixed_in(
    all: &BTreeMap<PkgInst, Installed>,
    id: &PatchId,
    packages: &[PkgInst],
) -> Option<String> {
    let installed = packages.iter().filter_map(|package| all.get(package));
    fixed_in_of(id.as_str(), installed.map(|installed| &installed.params))
}

fn paths<'m>(manifests: impl Iterator<Item = &'m Manifest>) -> BTreeSet<String> {
    let records = manifests.flat_map(|manifest| &manifest.objects);
    records.filter(|record| record.has_path()).map(|record| record.path.clone()).collect()
}
