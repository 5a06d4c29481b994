//! A root with its policy, the host that bounds it, and the user for whom changes are planned.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::failure::{Failure, IgnoredDepot};
use super::overtaken_list::{EndedPatches, list_of, list_text};
use super::system_managers::SystemManagers;
use patchadm_changeset::format::manifest::{ObjectRecord, UndoManifest};
use patchadm_changeset::transaction::{ForeseenRecovery, Recovered, foresee_recovery};
use patchadm_inputs::database::survey::{SurveySettings, packages, parameters, survey_with};
use patchadm_inputs::database::undo_data::{ArchiveError, OutsideRules, UndoReader};
use patchadm_inputs::database::{
    RecordView, contents, installed, last_run, ledger, marker, open_run, policy,
};
use patchadm_inputs::inventory::{Installed, Inventory, KeptLibraries, Touched, is_kept_package};
use patchadm_inputs::native::{
    NativeChange, NativeChanges, NativeIndex, NativeManager, NativeOrigin, NativeReader, NativeRegistration,
    dpkg, native_changes,
};
use patchadm_inputs::policy::Policy;
use patchadm_planning::plan::patch::overtaken::{is_as_left, is_undone_in_place};
use patchadm_planning::plan::patch::projected_root::ProjectedRoot;
use patchadm_planning::plan::patch::validate::applied_to;
use patchadm_planning::plan::refusal::Reason;
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_rootfs::{Digest, Interrupt, Live, Lock, Root, Timestamp, never, random, side_by_side};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchRecords};
use patchadm_svr4::places;

/// Packages read together.
const PORTION: usize = 100;

/// The directory of moved undo archives (`patchrm -B`), and the signal that ends it.
type SurveyWay<'a> = (Option<&'a Path>, Interrupt<'a>);

/// The basis of every plan, whether it is performed or only shown.
pub struct RootAndPolicy {
    pub root: Root,
    pub host: Root,
    pub policy: Policy,
    pub(super) bounds: Option<Policy>,
    /// The depot of the root's own policy, if it is not used.
    pub ignored_depot: Option<IgnoredDepot>,
    /// The rules for opening undo archives outside the root.
    pub outside: OutsideRules,
    /// The user and group for whom changes are planned if the caller may not make them.
    for_owner: Option<(u32, u32)>,
    /// Reads the records of native packages, which are constant while a command holds the managers' locks or only shows a
    /// plan.
    native: Mutex<Arc<NativeReader>>,
    /// Cache of packages that were looked up.
    native_changes: Mutex<BTreeMap<PkgInst, Option<NativeChange>>>,
    /// Cache of packages that only need a new stamp; their patches are intact.
    renewed: Mutex<BTreeMap<PkgInst, String>>,
    /// Paths of native packages, read on demand.
    native_index: Arc<OnceLock<NativeIndex>>,
    /// Plans before the patches of a command; packages and surveys show the state after them.
    prepared: Vec<Plan>,
    after: Option<ForeseenRoot>,
}

impl RootAndPolicy {
    pub fn of(root: &Root) -> Result<Self, Failure> {
        Self::beside(root, root.elsewhere(Path::new("/"))?)
    }

    /// The second value is `None` if it cannot be known, for example because the host's policy is unreadable.
    pub(super) fn as_far_as_known(root: &Root) -> Result<(Policy, Option<Self>), Failure> {
        match Self::of(root) {
            Ok(known) => Ok((known.policy.clone(), Some(known))),
            Err(_) => Ok((policy::of_root(root)?, None)),
        }
    }

    /// For a privileged caller, or one who works for a privileged user, the host's policy bounds that of another root.
    fn beside(root: &Root, host: Root) -> Result<Self, Failure> {
        root.look_at_records()?;
        let mut policy = policy::of_root(root)?;
        let hosts = if root.is_bounded() { policy::of_host(&host)? } else { policy::of_root(&host)? };
        let is_of_caller = policy::is_of_caller(root);
        let is_bounded = root.is_bounded() && !root.is_system() && !is_of_caller;
        let mut ignored_depot = None;
        if is_bounded {
            if policy.depot.is_some() && policy.depot != hosts.depot {
                ignored_depot = Some(IgnoredDepot { policy: root.show(&places::policy()) });
            }
            policy = policy.bounded_by(&hosts);
            policy.undo_dir = policy.undo_dir.map(|directory| inside(root, &directory)).transpose()?;
        }
        let of_caller = policy.undo_dir.clone().filter(|_| is_of_caller);
        let of_host = of_caller.or_else(|| hosts.undo_dir.clone());
        let outside = OutsideRules { of_host, is_trusted: root.is_trusted(), named: None };
        let bounds = is_bounded.then_some(hosts);
        Ok(Self { bounds, ignored_depot, ..Self::new(root.clone(), host, policy, outside) })
    }

    pub(super) fn new(root: Root, host: Root, policy: Policy, outside: OutsideRules) -> Self {
        Self {
            native: Mutex::new(Arc::new(NativeReader::of(&root))),
            root,
            host,
            policy,
            bounds: None,
            ignored_depot: None,
            outside,
            for_owner: None,
            native_changes: Mutex::default(),
            renewed: Mutex::default(),
            native_index: Arc::default(),
            prepared: Vec::new(),
            after: None,
        }
    }

    /// Returns the same for the root after a recovery. The policy that was read first counts, as it does in the run.
    pub(super) fn of_shown(&self, root: &Root) -> Self {
        Self {
            bounds: self.bounds.clone(),
            ignored_depot: self.ignored_depot.clone(),
            for_owner: self.for_owner,
            native: Mutex::new(self.native()),
            native_index: Arc::clone(&self.native_index),
            ..Self::new(root.clone(), self.host.clone(), self.policy.clone(), self.outside.clone())
        }
    }

    /// For plans that are only shown: as if the caller were a user who may change the root.
    pub(super) fn for_who_may(self) -> Result<Self, Failure> {
        let may = self.root.is_privileged() || self.root.is_own()?;
        let for_owner = if may { None } else { Some(self.root.owner()?) };
        Ok(Self { for_owner, ..self })
    }

    /// For `-B`.
    #[must_use]
    pub fn naming(self, undo_dir: Option<&Path>) -> Self {
        let named = undo_dir.map(Path::to_owned);
        Self { outside: OutsideRules { named, ..self.outside }, ..self }
    }

    /// Returns the root after registrations, which precede the patches.
    pub(in crate::operation) fn after(&self, plan: Plan, when: Timestamp) -> Self {
        let mut native_changes = self.native_changes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        native_changes.extend(plan.packages.iter().map(|package| (package.clone(), None)));
        let renewed = self.renewed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut after = self.after.clone().unwrap_or_else(|| ForeseenRoot::at(when));
        after.add(plan.clone(), BTreeMap::new());
        Self {
            root: self.root.clone(),
            host: self.host.clone(),
            policy: self.policy.clone(),
            bounds: self.bounds.clone(),
            ignored_depot: self.ignored_depot.clone(),
            outside: self.outside.clone(),
            for_owner: self.for_owner,
            native: Mutex::new(self.native()),
            native_changes: Mutex::new(native_changes),
            renewed: Mutex::new(renewed),
            native_index: Arc::clone(&self.native_index),
            prepared: self.prepared.iter().cloned().chain([plan]).collect(),
            after: Some(after),
        }
    }

    pub(in crate::operation) fn prepared(&self) -> &[Plan] {
        &self.prepared
    }

    /// Call this after the root has changed.
    pub(in crate::operation) fn forget_native_changes(&self) {
        let native = Arc::new(NativeReader::of(&self.root));
        *self.native.lock().unwrap_or_else(PoisonError::into_inner) = native;
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.native_changes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn prepared_packages(&self, packages: BTreeMap<PkgInst, Installed>) -> BTreeMap<PkgInst, Installed> {
        match &self.after {
            Some(after) => after.packages(packages),
            None => packages,
        }
    }

    /// `moved_to` is the directory of moved undo data.
    pub(in crate::operation) fn undo_data<'a>(
        &'a self,
        view: &'a RecordView<'a>,
        moved_to: Option<&'a Path>,
    ) -> UndoReader<'a> {
        UndoReader { view, host: &self.host, outside: self.outside.with(moved_to) }
    }

    /// A signal ends the survey. The caller holds the lock, or plans [`without_lock`](super::session::without_lock).
    pub fn survey(&self, touched: &Touched, interrupt: Interrupt<'_>) -> Result<Inventory, Failure> {
        self.survey_with(self.all_packages()?, touched, (None, interrupt))
    }

    /// Tells of each package whether it is only partially installed.
    pub(super) fn all_packages(&self) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
        Ok(self.prepared_packages(packages(&RecordView::live(&self.root))?))
    }

    /// Ignores locks of unfinished installations.
    pub fn packages(&self) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
        Ok(self.prepared_packages(parameters(&RecordView::live(&self.root))?))
    }

    pub(super) fn applied(&self, inventory: &Inventory) -> Result<AppliedPatches, Reason> {
        self.applied_by(&inventory.packages, |portion| applied_to(portion, &self.policy.separator))
    }

    /// Defects are damage.
    pub(super) fn recorded(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
    ) -> Result<AppliedPatches, Failure> {
        let records = |(package, installed): &(&PkgInst, &Installed)| {
            installed::patch_records(&self.root, package, &installed.params, &self.policy.separator)
        };
        Ok(self.applied_by(packages, |portion| portion.iter().map(records).collect())?)
    }

    fn applied_by<E: Send>(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
        read: impl Fn(&[(&PkgInst, &Installed)]) -> Result<Vec<PatchRecords>, E> + Sync,
    ) -> Result<AppliedPatches, E> {
        let all: Vec<(&PkgInst, &Installed)> = packages.iter().collect();
        let portions: Vec<_> = all.chunks(PORTION).collect();
        let records = side_by_side(self.root.workers(), portions.len(), || {
            |at: usize| read(portions.get(at).copied().unwrap_or_default())
        });
        let records: Vec<Vec<_>> = records.into_iter().collect::<Result<_, E>>()?;
        let applied = AppliedPatches::new(records.into_iter().flatten().collect());
        Ok(self.ended_patches(packages).beside(applied))
    }

    /// Returns ended patches with contained or lost fixes; none if the list cannot be read. A refresh in the same run
    /// counts as done.
    pub(super) fn ended_patches(&self, packages: &BTreeMap<PkgInst, Installed>) -> EndedPatches {
        let mut changes = self.prepared.iter().rev().flat_map(|plan| plan.records.iter().rev());
        let prepared = changes.find_map(|change| match change {
            RecordChange::Write { path, bytes, .. } if *path == places::lost() => Some(bytes.clone()),
            RecordChange::RemoveFile(path) if *path == places::lost() => Some(Vec::new()),
            _ => None,
        });
        let text = prepared.or_else(|| list_text(&self.root).ok().flatten());
        let list = list_of(&self.root, text);
        let params = packages.iter().map(|(package, installed)| (package, &installed.params));
        EndedPatches::of(&self.native(), &list, params, &self.policy.separator, || {
            self.native_changes(packages)
        })
    }

    /// For plans that are made as if no libraries were kept, and resolved later.
    pub(in crate::operation) fn survey_without_kept(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
        touched: &Touched,
        how: SurveyWay<'_>,
    ) -> Result<Inventory, Failure> {
        let mut inventory = self.survey_with(packages, touched, how)?;
        inventory.hide_kept();
        Ok(inventory)
    }

    pub(in crate::operation) fn kept_libraries(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
    ) -> Result<KeptLibraries, Failure> {
        let is_kept = |(package, installed): (&PkgInst, &Installed)| {
            is_kept_package(&installed.params).then(|| package.clone())
        };
        let mut touched =
            Touched { packages: packages.iter().filter_map(is_kept).collect(), ..Touched::default() };
        if touched.packages.is_empty() {
            return Ok(KeptLibraries::default());
        }
        let view = RecordView::live(&self.root);
        for package in &touched.packages {
            touched.paths.extend(contents::lines_of_package(&view, package)?.into_keys());
        }
        let all = packages.iter().filter(|(package, _)| touched.packages.contains(*package));
        let all = all.map(|(package, installed)| (package.clone(), installed.clone())).collect();
        let Inventory { packages, lines, live, native_owners, .. } =
            self.survey_with(all, &touched, (None, &never))?;
        let lines = lines.into_iter().filter(|(path, _)| touched.paths.contains(path)).collect();
        let live = live.into_iter().filter(|(path, _)| touched.paths.contains(path)).collect();
        Ok(KeptLibraries { packages, lines, live, native_owners })
    }

    /// Looks at each package once.
    pub(in crate::operation) fn native_changes(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
    ) -> BTreeMap<PkgInst, NativeChange> {
        let mut known = self.native_changes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = |(package, installed): &(&PkgInst, &Installed)| {
            !known.contains_key(*package) && NativeOrigin::of(&installed.params).is_some()
        };
        let new: Vec<(&PkgInst, &Installed)> = packages.iter().filter(is_new).collect();
        if !new.is_empty() {
            let params = new.iter().map(|(package, installed)| (*package, &installed.params));
            let NativeChanges { mut changes, same_records } =
                native_changes(&self.native(), params, || self.native_index());
            let view = RecordView::live(&self.root);
            let reader = self.undo_data(&view, None);
            let is_left = |package: &PkgInst| {
                packages
                    .get_key_value(package)
                    .is_some_and(|of| PackageManifests::of(&reader, &self.policy.separator, of).are_as_left())
            };
            let renewed: BTreeMap<PkgInst, String> =
                same_records.into_iter().filter(|(package, _)| is_left(package)).collect();
            changes.retain(|package, _| !renewed.contains_key(package));
            self.renewed.lock().unwrap_or_else(PoisonError::into_inner).extend(renewed);
            known.extend(new.iter().map(|(package, _)| ((*package).clone(), changes.remove(*package))));
        }
        let changed = known.iter().filter(|(package, _)| packages.contains_key(*package));
        changed.filter_map(|(package, change)| Some((package.clone(), change.clone()?))).collect()
    }

    /// Returns packages whose registration only needs a new stamp, for example in a copied root.
    pub(in crate::operation) fn renewed(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
    ) -> BTreeMap<PkgInst, String> {
        drop(self.native_changes(packages));
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns patched packages that lost a path to another native package, and are unchanged otherwise. Backout works
    /// without that path.
    pub(in crate::operation) fn overruled(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
    ) -> Result<BTreeMap<PkgInst, NativeChange>, Failure> {
        let changes = self.native_changes(packages);
        let patched = packages.iter().filter_map(|(package, installed)| {
            let is_patched = !installed.params.text("PATCHLIST").trim().is_empty();
            let origin = NativeOrigin::of(&installed.params).filter(|_| is_patched)?;
            (!changes.contains_key(package)).then_some((package, installed, origin))
        });
        let patched: Vec<_> = patched.collect();
        let mut overruled = BTreeMap::new();
        if patched.is_empty() {
            return Ok(overruled);
        }
        let (view, resolver) = (RecordView::live(&self.root), self.root.resolver());
        let names = patched.iter().map(|(package, ..)| (*package).clone()).collect();
        let mut lines = contents::lines_of_packages(&view, &names)?;
        let mut places: BTreeMap<ObjectPath, ObjectPath> = BTreeMap::new();
        for (path, line) in lines.values().flatten() {
            if !line.object.ftype.is_directory() {
                places.insert(path.clone(), resolver.locate_to_compare(path)?);
            }
        }
        let listings = self.native_index().listings_of(places.values(), &resolver, &never)?;
        let reader = self.undo_data(&view, None);
        for (package, installed, origin) in patched {
            let manifests = PackageManifests::of(&reader, &self.policy.separator, (package, installed));
            let overruled_as = |path: ObjectPath, how: String| {
                let version = NativeRegistration::of(&installed.params).version;
                NativeChange::Overruled { origin: origin.clone(), version, path, how }
            };
            for (path, line) in lines.remove(package).unwrap_or_default() {
                if line.object.ftype.is_directory() {
                    continue;
                }
                let listed = places.get(&path).and_then(|place| listings.get(place)).into_iter().flatten();
                // dpkg may still list it: it does not see that two spellings are one path.
                let others =
                    listed.map(|(owner, _)| *owner).filter(|owner| !origin.is_instance_of(&owner.origin));
                let owner = others.min();
                if let Some(owner) = owner.filter(|_| manifests.may_have_changed(&path)) {
                    let how = format!("belongs to {} now", owner.with_manager());
                    overruled.insert(package.clone(), overruled_as(path, how));
                    break;
                }
            }
        }
        Ok(overruled)
    }

    /// Returns paths at which dpkg-statoverride(1) undoes attributes of patches, each with its package and the last
    /// patch.
    pub(in crate::operation) fn undone_by_overrides(
        &self,
        packages: &BTreeMap<PkgInst, Installed>,
    ) -> Result<Vec<(PkgInst, PatchId, ObjectPath)>, Failure> {
        let is_concerned = |installed: &Installed| {
            let origin = NativeOrigin::of(&installed.params);
            origin.is_some_and(|origin| origin.manager == NativeManager::Dpkg)
                && !installed.params.text("PATCHLIST").trim().is_empty()
        };
        let patched = packages.iter().filter(|(_, installed)| is_concerned(installed));
        let names: BTreeSet<PkgInst> = patched.map(|(package, _)| package.clone()).collect();
        let mut undone = Vec::new();
        if names.is_empty() {
            return Ok(undone);
        }
        let overrides = dpkg::overrides(&self.root)?;
        if overrides.is_empty() {
            return Ok(undone);
        }
        let view = RecordView::live(&self.root);
        for (package, lines) in contents::lines_of_packages(&view, &names)? {
            let Some(installed) = packages.get(&package) else { continue };
            let has_override = |(path, line): &(&ObjectPath, &ContentsLine)| {
                !line.object.ftype.is_directory() && overrides.of(path).is_some()
            };
            let paths: Vec<ObjectPath> =
                lines.iter().filter(has_override).map(|(path, _)| path.clone()).collect();
            if paths.is_empty() {
                continue;
            }
            let reader = self.undo_data(&view, None);
            let manifests = PackageManifests::of(&reader, &self.policy.separator, (&package, installed));
            let of = manifests.undone_in_place(&paths)?;
            undone.extend(of.into_iter().map(|(id, path)| (package.clone(), id, path)));
        }
        Ok(undone)
    }

    pub(in crate::operation) fn native(&self) -> Arc<NativeReader> {
        self.native.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::operation) fn native_index(&self) -> &NativeIndex {
        self.native_index.get_or_init(|| NativeIndex::read(&self.native()))
    }

    /// Adds other recorded spellings: `/lib/x` for `/usr/lib/x`, if `/lib` is a link.
    pub(in crate::operation) fn add_spellings(
        &self,
        paths: &mut BTreeSet<ObjectPath>,
        interrupt: Interrupt<'_>,
    ) -> Result<(), Failure> {
        let (top, resolver) = (ObjectPath::root(), self.root.resolver());
        let mut links = Vec::new();
        for name in self.root.dir(&top)?.names()? {
            let Ok(link) = top.join(&name) else { continue };
            let behind = resolver.directory_behind(&link)?;
            links.extend(
                behind.map(|(directory, _)| (link.clone(), directory)).filter(|(link, to)| link != to),
            );
        }
        let added = self.native_index().add_spellings(paths, &links, &resolver, interrupt);
        added.map_err(Failure::or_interrupted(interrupt))
    }

    /// `packages` must have been read under the same lock.
    pub fn survey_with(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
        touched: &Touched,
        (moved_to, interrupt): SurveyWay<'_>,
    ) -> Result<Inventory, Failure> {
        let new_marker = format!("{:016x}", random()?);
        let separator = &self.policy.separator;
        let outside = self.outside.with(moved_to);
        let setting =
            SurveySettings { host: &self.host, separator, new_marker: &new_marker, outside, interrupt };
        let index = self.native_index();
        let mut touched = Cow::Borrowed(touched);
        if index.has_diversions() {
            index
                .add_diverted(&mut touched.to_mut().paths, &self.root.resolver(), interrupt)
                .map_err(Failure::or_interrupted(interrupt))?;
        }
        let mut inventory = survey_with(packages, &RecordView::live(&self.root), &touched, &setting)?;
        if let Some(after) = &self.after {
            inventory = after.onto(inventory);
        }
        inventory.native_changes = self.native_changes(&inventory.packages);
        inventory.native_owners = index
            .owners_of(&inventory.physical, &self.root.resolver(), interrupt)
            .map_err(Failure::or_interrupted(interrupt))?;
        if touched.packages.iter().any(|package| inventory.manager(package) == Some(NativeManager::Dpkg)) {
            inventory.overrides = dpkg::overrides(&self.root)?;
        }
        let place = |path| inventory.physical.get(path).unwrap_or(path);
        let objects = inventory.live.iter().map(|(path, live)| (place(path), live));
        inventory
            .native_owners
            .add_names(index, &self.root, objects, interrupt)
            .map_err(Failure::or_interrupted(interrupt))?;
        if let Some(owner) = self.for_owner {
            inventory.privileged = owner.0 == 0;
            inventory.caller = owner;
        }
        Ok(inventory)
    }
}

/// Resolves a directory named by a root's policy inside that root.
fn inside(root: &Root, directory: &Path) -> Result<PathBuf, Failure> {
    let named = || Failure::BadFile(format!("undo_dir {} of the policy is not a path", directory.display()));
    let path = ObjectPath::new(directory.as_os_str().as_bytes()).map_err(|_| named())?;
    let physical = root.resolver().locate_dir(&path)?;
    let prefix = std::path::absolute(root.prefix()).map_err(|_| named())?;
    Ok(prefix.join(OsStr::from_bytes(physical.relative())))
}

pub(super) struct PackageManifests<'a> {
    reader: &'a UndoReader<'a>,
    separator: &'a str,
    package: &'a PkgInst,
    installed: &'a Installed,
    /// `None` if a manifest is unknown or unreadable.
    manifests: OnceCell<Option<Vec<UndoManifest>>>,
}

impl<'a> PackageManifests<'a> {
    pub(super) fn of(
        reader: &'a UndoReader<'a>,
        separator: &'a str,
        (package, installed): (&'a PkgInst, &'a Installed),
    ) -> Self {
        Self { reader, separator, package, installed, manifests: OnceCell::new() }
    }

    /// False if undo data cannot be read.
    pub(super) fn are_as_left(&self) -> bool {
        let Some(manifests) = self.read() else { return false };
        let mut put: BTreeMap<ObjectPath, (&ObjectRecord, &ObjectRecord)> = BTreeMap::new();
        for record in manifests.iter().flat_map(|manifest| &manifest.objects) {
            if !record.has_path() {
                continue;
            }
            let Some(path) = record.object_path() else { return false };
            put.entry(path).and_modify(|(_, last)| *last = record).or_insert((record, record));
        }
        put.into_iter()
            .all(|(path, records)| self.live(&path).is_ok_and(|live| is_as_left(records, live.as_ref())))
    }

    /// Returns paths at which overrides undo attributes of patches, each with the last patch that has it.
    pub(super) fn undone_in_place(
        &self,
        paths: &[ObjectPath],
    ) -> Result<Vec<(PatchId, ObjectPath)>, Failure> {
        let manifests = self.read().unwrap_or_default();
        let mut undone = Vec::new();
        for path in paths {
            let mut records = manifests.iter().flat_map(|manifest| {
                let of_path =
                    |record: &&ObjectRecord| record.has_path() && record.object_path().as_ref() == Some(path);
                manifest.objects.iter().filter(of_path).map(move |record| (&manifest.header, record))
            });
            let Some((first_header, first)) = records.next() else { continue };
            let (header, last) = records.last().unwrap_or((first_header, first));
            let keeps_set_id = header.keeps_set_id(&last.path);
            let id = PatchId::parse(&header.patch, self.separator);
            if let Ok(id) = id
                && is_undone_in_place((first, last), self.live(path)?.as_ref(), keeps_set_id)
            {
                undone.push((id, path.clone()));
            }
        }
        Ok(undone)
    }

    pub(super) fn may_have_changed(&self, path: &ObjectPath) -> bool {
        self.records_at(path).is_none_or(|mut records| records.next().is_some())
    }

    fn records_at(&self, path: &ObjectPath) -> Option<impl Iterator<Item = &ObjectRecord>> {
        let records = self.read()?.iter().flat_map(|manifest| &manifest.objects);
        Some(records.filter(move |record| record.has_path() && record.object_path().as_ref() == Some(path)))
    }

    fn live(&self, path: &ObjectPath) -> Result<Option<Live>, Failure> {
        let root = self.reader.view.root();
        Ok(root.live_at(&root.resolver().locate_object(path)?)?)
    }

    fn read(&self) -> Option<&[UndoManifest]> {
        self.manifests.get_or_init(|| self.all().ok().flatten()).as_deref()
    }

    fn all(&self) -> Result<Option<Vec<UndoManifest>>, Failure> {
        let list = self.installed.params.text("PATCHLIST");
        let ids = list.split_whitespace().map(|id| PatchId::parse(id, self.separator));
        let Ok(ids) = ids.collect::<Result<Vec<PatchId>, _>>() else { return Ok(None) };
        if ids.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let (reader, package) = (self.reader, self.package);
        let lines = ledger::counting(reader.view, package).map_err(ArchiveError::from)?;
        let marker = marker(reader.view.root())?;
        let mut manifests: Vec<UndoManifest> = Vec::new();
        for id in &ids {
            let name = installed::saved_as(reader.view, package, id)?;
            let kept = reader.kept_manifest(package, &name, &lines)?;
            let manifest = match kept {
                Some(manifest) => Some(manifest),
                None => {
                    reader
                        .find_with(package, &name, &lines)?
                        .verify_alone(marker.as_deref(), &never)?
                        .manifest
                }
            };
            let Some(manifest) = manifest else { return Ok(None) };
            manifests.push(manifest);
        }
        Ok(Some(manifests))
    }
}

/// The plans so far, with digests of delivered files that a later one needs. Without plans, the root as it is.
#[derive(Clone, Debug, Default)]
pub(in crate::operation) struct ForeseenRoot {
    plans: Vec<(Plan, BTreeMap<ObjectPath, Digest>)>,
    when: Timestamp,
}

impl ForeseenRoot {
    /// `when` is the time of the command.
    pub(in crate::operation) fn at(when: Timestamp) -> Self {
        Self { plans: Vec::new(), when }
    }

    pub(in crate::operation) fn is_as_it_is(&self) -> bool {
        self.plans.is_empty()
    }

    pub(in crate::operation) fn add(&mut self, plan: Plan, digests: BTreeMap<ObjectPath, Digest>) {
        self.plans.push((plan, digests));
    }

    /// Returns the present packages with their future parameters.
    pub(in crate::operation) fn packages(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
    ) -> BTreeMap<PkgInst, Installed> {
        if self.plans.is_empty() {
            return packages;
        }
        self.onto(Inventory { packages, ..Inventory::default() }).packages
    }

    pub(in crate::operation) fn onto(&self, inventory: Inventory) -> Inventory {
        if self.plans.is_empty() {
            return inventory;
        }
        let mut ahead = ProjectedRoot::new(inventory, Touched::default(), self.when);
        for (plan, digests) in &self.plans {
            ahead.go_on(plan, digests);
        }
        ahead.inventory
    }
}

/// Plans for the root after the recovery of an interrupted run, whose effects are reported, too. If the run is active
/// or its recovery cannot be foreseen, plans for the present root, which is refused in the middle of a run.
pub(super) fn plan_on_foreseen_root<T>(
    root: &Root,
    plan: impl FnOnce(&Root) -> Result<T, Failure>,
) -> Result<(T, Recovered), Failure> {
    let is_at_work = || Lock::is_held(root).unwrap_or(true);
    let foreseen = match foresee_recovery(root, Some(&SystemManagers::of(root))) {
        Ok(ForeseenRecovery::Root(foreseen)) if !is_at_work() => Some(foreseen),
        // The plan reports defects of the journal.
        _ => None,
    };
    let Some(foreseen) = foreseen else { return Ok((plan(root)?, Recovered::Nothing)) };
    let state = || Ok::<_, Failure>((open_run(root)?, last_run(root)?));
    let before = state()?;
    let (shown, recovered) = *foreseen;
    let planned = plan(&shown)?;
    // Another command may have recovered the root meanwhile.
    if is_at_work() || state()? != before {
        return Err(Failure::DuringRun(root.prefix().display().to_string()));
    }
    Ok((planned, recovered))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::operation::patches::apply::{SignatureRequest, demands};
    use patchadm_inputs::policy::ScriptPolicy;
    use patchadm_inputs::sign::DemandWord;

    fn policy(root: &Path, text: &str) {
        fs::create_dir_all(root.join("etc/patchadm")).unwrap();
        fs::write(root.join("etc/patchadm/policy"), text).unwrap();
    }

    #[test]
    fn the_policy_of_another_root_counts_within_the_hosts_and_inside_that_root() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let (own, host) = (top.join("root"), top.join("host"));
        policy(&own, "scripts=run\nundo_dir=/link/undo\n");
        policy(&host, "scripts=known\nundo_dir=/net/undo\n");
        std::os::unix::fs::symlink("/../../net", own.join("link")).unwrap();
        let root = Root::open(&own).unwrap();
        let ground = RootAndPolicy::beside(&root, Root::open(&host).unwrap()).unwrap();
        if root.is_privileged() {
            assert_eq!(ground.policy.scripts, ScriptPolicy::Known);
            assert_eq!(ground.policy.undo_dir, Some(own.join("net/undo")));
        } else {
            assert_eq!(ground.policy.scripts, ScriptPolicy::Run);
            assert_eq!(ground.policy.undo_dir, Some(PathBuf::from("/link/undo")));
        }
    }

    #[test]
    fn the_keys_of_the_host_are_about_other_roots_only_if_its_policy_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let (own, host) = (top.join("root"), top.join("host"));
        fs::create_dir(&own).unwrap();
        fs::create_dir_all(host.join("etc/patchadm/keys")).unwrap();
        let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/signatures/plain.pub");
        fs::copy(key, host.join("etc/patchadm/keys/plain.pub")).unwrap();
        let root = Root::open(&own).unwrap();
        let words = || {
            let ground = RootAndPolicy::beside(&root, Root::open(&host).unwrap()).unwrap();
            let demands = demands(&ground, &SignatureRequest::default()).unwrap();
            demands.into_iter().map(|demand| demand.word).collect::<Vec<_>>()
        };
        assert_eq!(words(), []);
        policy(&host, "signature=warn\n");
        let by_host = if root.is_privileged() { vec![DemandWord::Warn] } else { Vec::new() };
        assert_eq!(words(), by_host);
        fs::create_dir_all(own.join("etc/patchadm/keys")).unwrap();
        fs::copy(key, own.join("etc/patchadm/keys/plain.pub")).unwrap();
        assert_eq!(words(), [vec![DemandWord::Require], by_host].concat());
    }

    #[test]
    fn a_host_without_policy_bounds_nothing() {
        let dir = tempfile::tempdir().unwrap();
        policy(&dir.path().join("root"), "scripts=none\n");
        fs::create_dir(dir.path().join("host")).unwrap();
        let root = Root::open(&dir.path().join("root")).unwrap();
        let ground = RootAndPolicy::beside(&root, Root::open(&dir.path().join("host")).unwrap()).unwrap();
        assert_eq!(ground.policy.scripts, ScriptPolicy::None);
    }
}
