//! Facts for a refresh, and their consequences for undo data.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::request::{EndedRegistration, RefreshedRegistration, RegistrationRefreshReport, StandingPatch};
use crate::operation::content::ArchiveSources;
use crate::operation::failure::Failure;
use crate::operation::patches::back_out::input::BackOutInput;
use crate::operation::patches::back_out::undo::{UndoReading, VerifiedUndo, sources, wait_for};
use crate::operation::session::RootAndPolicy;
use crate::operation::system_managers::has_sum;
use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::{ManifestHeader, ObjectRecord, UndoManifest, decode, encode};
use patchadm_inputs::database::contents::lines_of_packages;
use patchadm_inputs::database::undo_data::{ArchiveError, exported};
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::format::overtaken::{LostPath, OvertakenPatch, OvertakenPatches};
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::native::{
    FixedIn, NATIVE_OVERTAKEN, NativeChange, NativeManager, NativeOrigin, NativeOwner, NativePackage,
    NativeReader, NativeRegistration, RegisteredPackage, differing_of, fixed_in_of,
};
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::package::adopt::AdoptableSoftware;
use patchadm_planning::plan::patch::backout_input::{BackoutArchive, GoingPatch, LaterUndo};
use patchadm_planning::plan::patch::overtaken::{
    NativeListed, NativeSeen, OtherPatches, PathStanding, SavedEdit, Standings, Trimmed, TrimmedPatch,
    saved_edits, trimmed_image,
};
use patchadm_planning::plan::patch::registration_refresh::{HeldPath, RefreshedPackage};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::{FileType, Interrupt, Live, Root};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, Superseded, UnmetRequirement};

/// In all registrations of one plan, which holds them several times. A full system has about 1,000,000.
const MOST_PATHS: usize = 4_000_000;

pub(super) struct RegistrationFacts {
    pub(super) packages: BTreeMap<PkgInst, Installed>,
    pub(super) applied: AppliedPatches,
    pub(super) list: OvertakenPatches,
    pub(super) changes: BTreeMap<PkgInst, NativeChange>,
    pub(super) changed: Vec<ChangedPackage>,
    /// Undo data of all patches of packages that share a patch with a changed one, in order of application.
    pub(super) saved: SavedPatches,
    pub(super) inventory: Inventory,
    pub(super) native: BTreeMap<PkgInst, NativeListed>,
    pub(super) standings: Standings,
}

/// Remaining undo data of changed packages, and administrators' objects that only it holds.
pub(super) struct TrimmedPatches<'f> {
    pub(super) trimmed: BTreeMap<OfPackage, Trimmed>,
    pub(super) edits: Vec<SavedEdit<'f>>,
    /// Tells of edits that stay where the patch kept them.
    pub(super) notes: Vec<String>,
}

impl RegistrationFacts {
    pub(super) fn new_version(&self, manager: NativeManager, name: &str) -> Option<String> {
        let of_name = |change: &&NativeChange| {
            let origin = change.origin();
            origin.manager == manager && origin.name == name
        };
        self.changes.values().find(of_name)?.versions().1.map(str::to_owned)
    }

    /// Ends patches whose fix each package now has, even if some paths are as the patch left them.
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
                        "{} was edited before {}; the edited version stays as {}",
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

    /// Returns paths of standing patches, with the last line recorded by one of them if a patch that ends recorded
    /// another.
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

    /// Returns patches that handed a part over, now or before.
    pub(super) fn overtaken(&self, package: &PkgInst, trimmed: &BTreeMap<OfPackage, Trimmed>) -> Vec<String> {
        let installed = self.packages.get(package);
        let before = installed.map(|one| one.params.text(NATIVE_OVERTAKEN).into_owned()).unwrap_or_default();
        let mut ids: BTreeSet<String> = before.split_whitespace().map(str::to_owned).collect();
        let now = trimmed.iter().filter(|((of, _), left)| of == package && left.is_changed());
        ids.extend(now.map(|((_, id), _)| id.to_string()));
        let standing: HashSet<&str> = self.standings.standing.iter().map(PatchId::as_str).collect();
        ids.retain(|id| standing.contains(id.as_str()));
        ids.into_iter().collect()
    }

    pub(super) fn report(
        &self,
        ending: &[GoingPatch],
        (ended, unmet): (Vec<OvertakenPatch>, &[UnmetRequirement]),
        trimmed: &BTreeMap<OfPackage, Trimmed>,
        packages: &BTreeMap<PkgInst, RefreshedPackage>,
    ) -> RegistrationRefreshReport {
        let mut report = RegistrationRefreshReport::default();
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
            report.ended.push(EndedRegistration { patch, packages: going.packages.clone(), required_by });
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

    /// Only the loss of the effective revision or obsoleting patch is reported.
    pub(super) fn effective_instead(&self, id: &PatchId) -> Option<String> {
        Some(match self.applied.superseded(id)? {
            Superseded::Revision(by) => by.to_string(),
            Superseded::Obsoletion(by) => by.by.map_or_else(|| by.entry.to_string(), ToString::to_string),
        })
    }

    pub(super) fn lost(&self, id: &PatchId, package: &PkgInst) -> Vec<LostPath> {
        let manifest = self.saved.get(package, id).and_then(|saved| saved.manifest());
        let lost = self.standings.lost.get(id).into_iter().flatten().filter(|(of, _)| of == package);
        let lost: Vec<&ObjectPath> = lost.map(|(_, path)| path).collect();
        let wanted: HashSet<&ObjectPath> = lost.iter().copied().collect();
        let mut records: HashMap<ObjectPath, &ObjectRecord> = HashMap::new();
        for record in manifest.into_iter().flat_map(|manifest| &manifest.objects) {
            if let Some(path) = record.object_path().filter(|path| wanted.contains(path)) {
                records.entry(path).or_insert(record);
            }
        }
        let b3 = |path: &ObjectPath| {
            let became = records.get(path)?.became.as_ref()?;
            became.digest().map(|digest| digest.to_string())
        };
        let origin = self.changes.get(package).map(NativeChange::origin);
        let by =
            |path: &ObjectPath| self.inventory.native_owners.foreign(path, origin).map(ToString::to_string);
        let lost = lost.into_iter();
        lost.map(|path| LostPath { path: encode(path.as_bytes()), b3: b3(path), by: by(path) }).collect()
    }

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

    /// The successor owns a path that the patch replaced, or declares it.
    pub(super) fn successor(
        &self,
        native: &NativeReader,
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
        owner.or_else(|| native.successor(origin.manager, &origin.name, |_| true))
    }

    /// Returns applied patches whose requirement only this one met.
    fn users(&self, id: &PatchId, unmet: &[UnmetRequirement]) -> Vec<PatchId> {
        let obsoletes = self.applied.get(id).map(|patch| patch.obsoletes.clone()).unwrap_or_default();
        let of = unmet.iter().filter(|one| one.requirement.is_met_by(id, &obsoletes));
        let users: BTreeSet<&PatchId> = of.map(|one| &one.patch).collect();
        users.into_iter().cloned().collect()
    }

    /// For a contained patch whose fix the present version lacks.
    pub(super) fn lost_again(
        &self,
        patch: OvertakenPatch,
        separator: &str,
        unmet: &[UnmetRequirement],
    ) -> EndedRegistration {
        let id = PatchId::parse(&patch.patch, separator);
        let required_by = id.map(|id| self.users(&id, unmet)).unwrap_or_default();
        EndedRegistration { patch, packages: Vec::new(), required_by }
    }

    /// Returns edited objects, which stay when the patch ends.
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
                    "the changes of patch {} to package {package} are unknown: its objects stay",
                    going.id
                ));
            }
        }
        notes
    }
}

/// Returns native versions with the fix. `all` are the packages of the root.
pub(super) fn fixed_in(
    all: &BTreeMap<PkgInst, Installed>,
    id: &PatchId,
    packages: &[PkgInst],
) -> Option<String> {
    let installed = packages.iter().filter_map(|package| all.get(package));
    fixed_in_of(id.as_str(), installed.map(|installed| &installed.params))
}

fn paths<'m>(manifests: impl Iterator<Item = &'m UndoManifest>) -> BTreeSet<String> {
    let records = manifests.flat_map(|manifest| &manifest.objects);
    records.filter(|record| record.has_path()).map(|record| record.path.clone()).collect()
}

/// A package that is read once counts for each of its registrations.
fn must_fit(counts: impl Iterator<Item = usize>, most: usize) -> Result<(), Failure> {
    if counts.fold(0, usize::saturating_add) <= most {
        return Ok(());
    }
    Err(Failure::BadFile(format!(
        "the changed packages have more than {most} paths in total, and a whole system has about 1000000; \
         look for packages that are adopted several times, or refresh them one by one"
    )))
}

pub(super) struct ChangedPackage {
    pub(super) package: PkgInst,
    pub(super) change: NativeChange,
    pub(super) native: Option<Arc<NativePackage>>,
    pub(super) registered: NativeRegistration,
    /// Registered paths, with types.
    pub(super) lines: BTreeMap<ObjectPath, Ftype>,
}

impl ChangedPackage {
    /// Reads all native packages together.
    pub(super) fn all(
        ground: &RootAndPolicy,
        packages: &BTreeMap<PkgInst, Installed>,
        changes: &BTreeMap<PkgInst, NativeChange>,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<Self>, Failure> {
        let of = |(package, change): (&PkgInst, &NativeChange)| {
            let installed = packages.get(package)?;
            Some(Self {
                package: package.clone(),
                change: change.clone(),
                native: None,
                registered: NativeRegistration::of(&installed.params),
                lines: BTreeMap::new(),
            })
        };
        let mut all: Vec<Self> = changes.iter().filter_map(of).collect();
        let arch = |one: &Self| packages.get(&one.package).map(|installed| installed.params.text("ARCH"));
        let archs: Vec<String> =
            all.iter().map(|one| arch(one).unwrap_or_default().trim().to_owned()).collect();
        let there = all.iter().zip(&archs).filter(|(one, _)| one.is_there());
        let there: Vec<RegisteredPackage<'_>> = there
            .map(|(one, arch)| RegisteredPackage {
                origin: one.change.origin(),
                version: one.change.versions().1.unwrap_or(&one.registered.version),
                arch,
            })
            .collect();
        Failure::unless_interrupted(interrupt)?;
        let natives = ground.native().registered(&there);
        for (one, native) in all.iter_mut().filter(|one| one.is_there()).zip(natives) {
            one.native = Some(native?);
        }
        let counts = all.iter().filter_map(|one| Some(one.native.as_ref()?.paths.len()));
        must_fit(counts, MOST_PATHS)?;
        Failure::unless_interrupted(interrupt)?;
        let names = all.iter().map(|one| one.package.clone()).collect();
        let mut lines = lines_of_packages(&RecordView::live(&ground.root), &names)?;
        for one in &mut all {
            let lines = lines.remove(&one.package).unwrap_or_default();
            one.lines = lines.into_iter().map(|(path, line)| (path, line.object.ftype)).collect();
        }
        Ok(all)
    }

    fn is_there(&self) -> bool {
        !matches!(self.change, NativeChange::Removed { .. })
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.native.iter().flat_map(|native| native.paths.keys()).chain(self.lines.keys())
    }

    pub(super) fn listed(
        &self,
        root: &Root,
        asked: &BTreeSet<ObjectPath>,
        interrupt: Interrupt<'_>,
    ) -> Result<NativeListed, Failure> {
        let resolver = root.resolver();
        let mut listed = NativeListed {
            origin: Some(self.change.origin().clone()),
            version: self.native.as_ref().map(|native| native.version.clone()),
            paths: BTreeMap::new(),
        };
        for (path, native) in self.native.iter().flat_map(|native| &native.paths) {
            let is_asked = asked.contains(path) || asked.contains(&resolver.locate_to_compare(path)?);
            let is_live = match native.sum.filter(|_| is_asked) {
                Some(sum) => has_sum(root, &resolver, path, sum, interrupt)?,
                None => false,
            };
            let is_config = native.ftype == Ftype::Editable;
            listed.paths.insert(path.clone(), NativeSeen { is_live, is_config });
        }
        Ok(listed)
    }

    pub(super) fn is_same(&self) -> bool {
        let now = self.native.as_ref().map(|native| native.registration());
        now.is_some_and(|now| now.version == self.registered.version && now.digest == self.registered.digest)
    }

    pub(super) fn wrote(&self, path: &ObjectPath) -> bool {
        !self.is_same() && self.native.as_ref().is_some_and(|native| native.paths.contains_key(path))
    }

    /// Returns listed paths without the native object, except paths in `held`, which patches changed.
    pub(super) fn differing(
        &self,
        root: &Root,
        inventory: &Inventory,
        held: &BTreeSet<ObjectPath>,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<ObjectPath>, Failure> {
        let resolver = root.resolver();
        let mut differing = Vec::new();
        for (path, native) in self.native.iter().flat_map(|native| &native.paths) {
            let is_native = match native.sum {
                _ if held.contains(path) => true,
                _ if !inventory.live.contains_key(path) => false,
                Some(sum) => has_sum(root, &resolver, path, sum, interrupt)?,
                None => true,
            };
            if !is_native {
                differing.push(path.clone());
            }
        }
        Ok(differing)
    }

    /// Returns existing directories whose contents the native manager left out.
    pub(super) fn left_out(&self, inventory: &Inventory) -> BTreeSet<ObjectPath> {
        let (mut filled, mut lacking) = (BTreeSet::new(), BTreeSet::new());
        let listed = || self.native.iter().flat_map(|native| native.paths.keys());
        for path in listed() {
            let above = std::iter::successors(path.parent(), ObjectPath::parent);
            match inventory.live.get(path) {
                None => lacking.extend(above),
                Some(live) if !live.is_directory() => filled.extend(above),
                Some(_) => {}
            }
        }
        let is_left_out = |path: &&ObjectPath| {
            let is_directory = inventory.live.get(*path).is_some_and(Live::is_directory);
            is_directory && lacking.contains(*path) && !filled.contains(*path)
        };
        listed().filter(is_left_out).cloned().collect()
    }

    pub(super) fn software(&self) -> Option<AdoptableSoftware> {
        let native = self.native.as_ref()?;
        let mut params = Params::new();
        params.set("PKG", self.package.abbreviation());
        params.set("VERSION", native.version.as_str());
        // Also needed to rebuild a lost pkginfo.
        self.change.origin().write(&mut params);
        native.registration().write(&mut params);
        params.set("ARCH", native.arch.as_str());
        if let Some(title) = &native.title {
            params.set("NAME", title.as_str());
        }
        let ftype = |path: &ObjectPath, listed: Ftype| match self.lines.get(path) {
            // Keeps the operator's choice at the adoption.
            Some(own @ (Ftype::Editable | Ftype::Volatile)) => *own,
            _ => listed,
        };
        let paths = native.paths.iter().map(|(path, one)| (path.clone(), ftype(path, one.ftype))).collect();
        let environment = Params::new();
        Some(AdoptableSoftware {
            package: self.package.clone(),
            params,
            environment,
            paths,
            must_be_there: false,
        })
    }
}

pub(super) type OfPackage = (PkgInst, PatchId);

pub(super) struct SavedPatch {
    pub(super) package: PkgInst,
    pub(super) id: PatchId,
    /// Name of the save directory.
    name: String,
    kept: Option<UndoManifest>,
    pub(super) archive: Option<VerifiedUndo>,
    /// Native version that it was applied to, if known.
    pub(super) native: Option<String>,
}

impl SavedPatch {
    pub(super) fn manifest(&self) -> Option<&UndoManifest> {
        self.kept.as_ref().or(self.archive.as_ref()?.manifest.as_ref())
    }

    pub(super) fn image(&self) -> Option<&PackageImage> {
        self.archive.as_ref()?.restored_from().image.packages.first()
    }
}

pub(super) struct SavedPatches {
    pub(super) all: Vec<SavedPatch>,
}

impl SavedPatches {
    pub(super) fn read(
        input: &BackOutInput<'_>,
        marker: &str,
        patches: &[OfPackage],
    ) -> Result<Self, Failure> {
        let mut digesting = Vec::new();
        let (root, outside) = (&input.ground.root, input.outside());
        let mut reading = UndoReading::of(root, outside, marker, &mut digesting, input.interrupt());
        let read = patches.iter().map(|of| saved(input, &mut reading, of)).collect::<Result<_, _>>();
        wait_for(digesting, input.interrupt())?;
        Ok(Self { all: read? })
    }

    pub(super) fn get(&self, package: &PkgInst, id: &PatchId) -> Option<&SavedPatch> {
        self.all.iter().find(|one| one.package == *package && one.id == *id)
    }

    /// In the order of [`trimmed`](Self::trimmed).
    pub(super) fn content(&self) -> ArchiveSources<'_> {
        sources(self.all.iter().filter_map(|one| one.archive.as_ref()), &[])
    }

    /// `trimmed` is the remaining undo data of changed packages.
    pub(super) fn trimmed<'a>(
        &'a self,
        trimmed: &'a BTreeMap<OfPackage, Trimmed>,
        inventory: &'a Inventory,
    ) -> Result<Vec<TrimmedUndo<'a>>, Failure> {
        let mut index = 0;
        let mut all = Vec::new();
        for saved in &self.all {
            all.push(TrimmedUndo::of(saved, trimmed, inventory, index)?);
            index += usize::from(saved.archive.is_some());
        }
        Ok(all)
    }
}

fn saved(
    input: &BackOutInput<'_>,
    reading: &mut UndoReading<'_>,
    (package, id): &OfPackage,
) -> Result<SavedPatch, Failure> {
    let view = RecordView::live(&input.ground.root);
    let name = installed::saved_as(&view, package, id)?;
    let reader = input.ground.undo_data(&view, None);
    let ledger = input.ledger(package)?;
    // It would have to be rewritten, but is not here.
    if let Some(exported) = ledger.line(&name).and_then(|line| exported(line, package)) {
        return Err(exported.into());
    }
    let kept = reader.kept_manifest(package, &name, &ledger)?;
    let archive = match kept {
        Some(_) => None,
        None => match input.later_undo_data(package, &name) {
            Ok(found) => Some(reading.undo((id, package), found, None)?),
            Err(ArchiveError::Missing { .. } | ArchiveError::Lost { .. }) => None,
            Err(error) => return Err(error.into()),
        },
    };
    let known = ledger.line(&name).and_then(|line| line.native.as_deref());
    let native = reading.patched_version(package, id, known)?;
    Ok(SavedPatch { package: package.clone(), id: id.clone(), name, kept, archive, native })
}

/// Undo data without objects that the patch no longer holds.
pub(super) struct TrimmedUndo<'a> {
    pub(super) saved: &'a SavedPatch,
    manifest: UndoManifest,
    image: PackageImage,
    records: BTreeMap<Vec<u8>, RecordFile>,
    index: usize,
}

impl<'a> TrimmedUndo<'a> {
    fn of(
        saved: &'a SavedPatch,
        trimmed: &BTreeMap<OfPackage, Trimmed>,
        inventory: &Inventory,
        index: usize,
    ) -> Result<Self, Failure> {
        let left = trimmed.get(&(saved.package.clone(), saved.id.clone()));
        let whole = saved.manifest().cloned();
        let mut manifest = left.map(|left| left.manifest.clone()).or(whole).unwrap_or_else(|| UndoManifest {
            header: ManifestHeader::of(saved.id.as_str(), saved.package.as_str(), &inventory.marker),
            objects: Vec::new(),
            shlibs: Vec::new(),
        });
        let archive = saved.archive.as_ref().filter(|archive| archive.manifest.is_some());
        let (image, records) = match (archive.and_then(|one| one.as_archive(index)), left) {
            (Some(archive), Some(left)) => {
                let image = trimmed_image(&saved.package, archive.image, left);
                let image = image.map_err(|reason: Reason| reason.of(Command::AdoptRefresh, &saved.id))?;
                (image, archive.records.clone())
            }
            (Some(archive), None) => (archive.image.clone(), archive.records.clone()),
            (None, _) => {
                // Its previous parameters are unknown: they stay.
                manifest.header.parameters.clear();
                let installed = inventory.packages.get(&saved.package);
                let pkginfo = installed.and_then(|installed| installed.records.get(&b"pkginfo"[..])).cloned();
                let records = pkginfo.map(|file| (b"pkginfo".to_vec(), file)).into_iter().collect();
                (without_objects(&saved.package), records)
            }
        };
        Ok(Self { saved, manifest, image, records, index })
    }

    pub(super) fn as_archive(&self) -> BackoutArchive<'_> {
        let whole = self.saved.archive.as_ref().and_then(|one| one.as_archive(self.index));
        BackoutArchive {
            patch: &self.saved.id,
            package: &self.saved.package,
            index: self.index,
            image: &self.image,
            made_by_scripts: None,
            manifest: Some(&self.manifest),
            records: &self.records,
            native: self.saved.native.as_deref(),
            is_bound: whole.is_some_and(|whole| whole.is_bound),
            outside: whole.and_then(|whole| whole.outside),
        }
    }

    /// `None` if its effects are unknown.
    pub(super) fn as_later(&self) -> Option<LaterUndo<'_>> {
        self.saved.manifest()?;
        let archive = self.saved.archive.as_ref().and_then(|one| one.as_later(self.index));
        let archive = archive.map(|mut archive| {
            (archive.image, archive.records) = (&self.image, &self.records);
            archive
        });
        let patch = self.saved.name.clone();
        Some(LaterUndo { package: &self.saved.package, patch, manifest: &self.manifest, archive })
    }

    pub(super) fn known_manifest(&self) -> Option<(OfPackage, UndoManifest)> {
        self.saved.manifest()?;
        Some(((self.saved.package.clone(), self.saved.id.clone()), self.manifest.clone()))
    }
}

fn without_objects(package: &PkgInst) -> PackageImage {
    let params: Params = [("PKG", package.abbreviation())].into_iter().collect();
    let pkgmap = Pkgmap { parts: 1, max_blocks: 0, compressed_blocks: None, entries: Vec::new() };
    PackageImage::without_source(params, pkgmap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registrations_of_one_package_count_each() {
        assert!(must_fit([3; 4].into_iter(), 12).is_ok());
        let error = must_fit([3; 5].into_iter(), 12).unwrap_err().to_string();
        assert!(error.contains("more than 12 paths in total") && error.contains("one by one"), "{error}");
        assert!(must_fit([usize::MAX, 1].into_iter(), 12).is_err());
    }
}
