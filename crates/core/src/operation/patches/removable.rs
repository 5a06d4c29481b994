//! Applied patches that could be backed out now, and obstacles, by a quick look: no objects, no digests. Rules, order
//! and refusals are those of the backout: records first, then undo data by name, size and ledger, then manifests of
//! later patches that the path lists suggest.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use super::later_patches::LedgerCache;
use crate::operation::failure::Failure;
use crate::operation::patches::later_patches::LaterPatches;
use crate::operation::patches::undo_states::UndoOfPatches;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::{ArchivedPaths, ObjectRecord};
use patchadm_changeset::format::undo_sidecars::PathDigest;
use patchadm_inputs::database::installed::SavedNames;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, marker, saves};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::policy::Policy;
use patchadm_planning::plan::patch::back_out::packages_to_go;
use patchadm_planning::plan::patch::backout_input::BackOutOptions;
use patchadm_planning::plan::patch::interrupted::Interrupted;
use patchadm_planning::plan::patch::later::{makes_room, may_leave};
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchList};

type SaveKey = (PkgInst, String);

/// Answers as `remove` would for each patch alone, to a caller with all rights. `half` has half-applied patches,
/// `inventory` packages with save directories, `undo` the state of undo data, whose errors are taken out. Without
/// `ground`, uses only the records.
pub(in crate::operation) fn removable(
    view: &RecordView<'_>,
    ground: Option<&RootAndPolicy>,
    policy: &Policy,
    (applied, half): (&AppliedPatches, &[Interrupted]),
    inventory: &mut Inventory,
    undo: &mut UndoOfPatches,
) -> Result<BTreeMap<PatchId, Result<(), Failure>>, Failure> {
    let (mut all, mut to_go) = (BTreeMap::new(), Vec::new());
    for patch in applied.iter() {
        match by_records(&patch.id, policy, (applied, half), inventory, undo) {
            Ok(packages) => to_go.push((patch.id.clone(), packages)),
            Err(failure) => drop(all.insert(patch.id.clone(), Err(failure))),
        }
    }
    let ground = ground.filter(|_| to_go.iter().any(|to_go| may_have_later(applied, to_go)));
    let Some(ground) = ground else {
        all.extend(to_go.into_iter().map(|(id, _)| (id, Ok(()))));
        return Ok(all);
    };
    let lists = applied.packages().iter().map(|of| (&of.package, NumberedList::of(&of.list))).collect();
    let (ledgers, told, saved) = Default::default();
    let reader = RemovableReader { view, ground, lists, ledgers, told, saved };
    let changed = ChangedPaths::of(&reader, inventory)?;
    for (id, packages) in to_go {
        let answer = reader.may_leave(&id, &packages, &changed, inventory)?;
        all.insert(id, answer);
    }
    Ok(all)
}

/// Uses records, ledgers and sizes.
fn by_records(
    id: &PatchId,
    policy: &Policy,
    (applied, half): (&AppliedPatches, &[Interrupted]),
    inventory: &Inventory,
    undo: &mut UndoOfPatches,
) -> Result<Vec<PkgInst>, Failure> {
    if let Some(half) = half.iter().find(|half| half.patch == *id) {
        return Err(half.refusal().into());
    }
    let dropped = |undo: &UndoOfPatches, package: &PkgInst| {
        let run = undo.get(&(id.clone(), package.clone()))?.dropped_by.clone()?;
        Some(Reason::UndoDropped { package: package.clone(), run }.of(Command::Patchrm, id))
    };
    let error = |undo: &mut UndoOfPatches, package: &PkgInst| {
        undo.get_mut(&(id.clone(), package.clone()))?.error.take()
    };
    match packages_to_go(id, applied, inventory, policy) {
        Ok(packages) => match packages.iter().find_map(|package| error(undo, package)) {
            Some(error) => Err(error.into()),
            None => Ok(packages),
        },
        Err(refusal) => Err(match &*refusal.reason {
            Reason::NoUndoData(package) => match error(undo, package) {
                Some(error) => error.into(),
                None => dropped(undo, package).unwrap_or(refusal).into(),
            },
            _ => refusal.into(),
        }),
    }
}

/// True for any patches in other packages, too: the order between packages is not recorded.
fn may_have_later(applied: &AppliedPatches, (id, packages): &(PatchId, Vec<PkgInst>)) -> bool {
    applied.packages().iter().any(|of| {
        let is_own = packages.contains(&of.package);
        if is_own { of.list.iter().last() != Some(id) } else { of.list.iter().any(|other| other != id) }
    })
}

/// The list of a package, with the place of each patch.
struct NumberedList<'a> {
    list: &'a PatchList,
    places: HashMap<&'a PatchId, usize>,
    /// By the ids as this list spells them.
    names: HashMap<&'a str, usize>,
}

impl<'a> NumberedList<'a> {
    fn of(list: &'a PatchList) -> Self {
        let names = list.iter().map(PatchId::as_str).zip(0..).collect();
        Self { list, places: list.iter().zip(0..).collect(), names }
    }
}

struct RemovableReader<'a> {
    view: &'a RecordView<'a>,
    ground: &'a RootAndPolicy,
    lists: BTreeMap<&'a PkgInst, NumberedList<'a>>,
    ledgers: LedgerCache,
    told: RefCell<BTreeMap<SaveKey, Rc<ArchivedPaths>>>,
    saved: RefCell<BTreeMap<PkgInst, SavedNames>>,
}

impl RemovableReader<'_> {
    fn ledger(&self, package: &PkgInst) -> Result<Rc<Ledger>, ArchiveError> {
        self.ledgers.of(self.view, package)
    }

    /// Reads the archive, or what is kept without one.
    fn told(
        &self,
        inventory: &Inventory,
        package: &PkgInst,
        patch: &str,
    ) -> Result<Rc<ArchivedPaths>, ArchiveError> {
        let of = (package.clone(), patch.to_owned());
        if let Some(known) = self.told.borrow().get(&of) {
            return Ok(known.clone());
        }
        let ledger = self.ledger(package)?;
        let none = Params::default();
        let params = inventory.packages.get(package).map_or(&none, |installed| &installed.params);
        let told = Rc::new(self.ground.undo_data(self.view, None).told((package, params), patch, &ledger)?);
        self.told.borrow_mut().insert(of, told.clone());
        Ok(told)
    }

    fn saved_as(&self, package: &PkgInst, id: &PatchId) -> Result<String, Failure> {
        let mut saved = self.saved.borrow_mut();
        if let Some(names) = saved.get(package) {
            return Ok(names.name(id));
        }
        let names = SavedNames::of(self.view, package)?;
        Ok(saved.entry(package.clone()).or_insert(names).name(id))
    }

    fn has_later(&self, id: &PatchId, package: &PkgInst) -> bool {
        let list = self.lists.get(package);
        list.and_then(|of| Some(of.places.get(id)? + 1 < of.list.len())).unwrap_or_default()
    }

    fn is_later(&self, patch: &str, id: &PatchId, package: &PkgInst) -> bool {
        let list = self.lists.get(package);
        list.is_some_and(|of| of.names.get(patch).zip(of.places.get(id)).is_some_and(|(one, own)| one > own))
    }

    fn may_leave(
        &self,
        id: &PatchId,
        packages: &[PkgInst],
        changed: &ChangedPaths,
        inventory: &mut Inventory,
    ) -> Result<Result<(), Failure>, Failure> {
        let mut told: Vec<(&PkgInst, Rc<ArchivedPaths>)> = Vec::new();
        for package in packages {
            let others = changed.others(&(package.clone(), id.to_string()));
            if !self.has_later(id, package) && others.is_empty() {
                continue;
            }
            let saved_as = self.saved_as(package, id)?;
            match self.told(inventory, package, &saved_as) {
                Ok(known) => told.push((package, known)),
                Err(error) if error.is_closed() => {
                    let by =
                        others.iter().find(|(of, patch)| of == package && self.is_later(patch, id, package));
                    if let Some((_, by)) = by {
                        return Ok(Err(Reason::SharedLater { by: by.clone() }
                            .of(Command::Patchrm, id)
                            .into()));
                    }
                }
                Err(error) => return Ok(Err(error.into())),
            }
        }
        inventory.patched_by = changed.patched_by(&told);
        let inventory = &*inventory;
        let told: Vec<(&PkgInst, &ArchivedPaths)> =
            told.iter().map(|(package, told)| (*package, &**told)).collect();
        let manifests: Vec<_> = told.iter().filter_map(|(_, told)| told.manifest()).collect();
        let has_room = manifests.iter().any(|manifest| makes_room(manifest));
        let listed: BTreeSet<&str> = inventory.patched_by.values().flatten().map(String::as_str).collect();
        if !has_room && listed.iter().all(|patch| *patch == id.as_str()) {
            return Ok(Ok(()));
        }
        let manifest = &|package: &PkgInst, patch: &str| {
            if !has_room && !listed.contains(patch) {
                return None;
            }
            self.told(inventory, package, patch).ok()?.manifest().cloned()
        };
        let ledger = &|package: &PkgInst| self.ledger(package);
        let separator = &self.ground.policy.separator;
        let root = &self.ground.root;
        let later = LaterPatches { root, separator, inventory, ledger, manifest, id, packages };
        let elsewhere = later.elsewhere(&manifests).unwrap_or_default();
        let options = BackOutOptions { later: later.of_packages()?, elsewhere, ..BackOutOptions::default() };
        Ok(may_leave(id, &told, inventory, &self.ground.policy, &options).map_err(Failure::from))
    }
}

/// Patches by path, from the lists beside their archives, or from the archives.
struct ChangedPaths {
    patches: Vec<SaveKey>,
    by_path: HashMap<PathDigest, Vec<usize>>,
    paths: HashMap<SaveKey, Vec<PathDigest>>,
}

impl ChangedPaths {
    fn of(reader: &RemovableReader<'_>, inventory: &Inventory) -> Result<Self, Failure> {
        let marker = marker(reader.view.root())?.unwrap_or_default();
        let mut all = Self { patches: Vec::new(), by_path: HashMap::new(), paths: HashMap::new() };
        for (package, of) in reader.lists.iter().filter(|(_, of)| !of.list.is_empty()) {
            let mut lists = saves::paths(reader.view, package)?;
            for patch in of.list.iter().map(ToString::to_string) {
                let list = lists.remove(&patch).filter(|list| list.marker() == marker.as_bytes());
                let paths: Vec<PathDigest> = match list {
                    Some(list) => list.digests().collect(),
                    None => match reader.told(inventory, package, &patch) {
                        Ok(told) => told.paths().iter().map(PathDigest::of).collect(),
                        Err(_) => continue,
                    },
                };
                all.add((PkgInst::clone(package), patch), paths);
            }
        }
        Ok(all)
    }

    fn add(&mut self, of: SaveKey, paths: Vec<PathDigest>) {
        for path in &paths {
            self.by_path.entry(path.clone()).or_default().push(self.patches.len());
        }
        self.patches.push(of.clone());
        self.paths.insert(of, paths);
    }

    fn others(&self, of: &SaveKey) -> BTreeSet<&SaveKey> {
        let paths = self.paths.get(of).into_iter().flatten();
        let all = paths.filter_map(|path| self.by_path.get(path)).flatten();
        all.filter_map(|at| self.patches.get(*at)).filter(|(_, patch)| *patch != of.1).collect()
    }

    fn patched_by(&self, told: &[(&PkgInst, Rc<ArchivedPaths>)]) -> BTreeMap<ObjectPath, Vec<String>> {
        let paths = told.iter().flat_map(|(_, told)| match &**told {
            ArchivedPaths::Manifest(manifest) => {
                manifest.objects.iter().filter_map(ObjectRecord::object_path).collect()
            }
            ArchivedPaths::Paths(paths) => paths.clone(),
        });
        let listed = |path: ObjectPath| {
            let places = self.by_path.get(&PathDigest::of(&path))?;
            let patches = places.iter().filter_map(|at| self.patches.get(*at));
            Some((path, patches.map(|(_, patch)| patch.clone()).collect()))
        };
        paths.filter_map(listed).collect()
    }
}
