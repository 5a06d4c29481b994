//! The patches that were applied after one that goes, and which of them stands in the way: the rule by manifests, for
//! who plans a backout and for who only asks whether there could be one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use patchadm_changeset::format::manifest::{Manifest, ObjectRecord, PatchedPaths, RecordedState, decode};
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::policy::Policy;
use patchadm_rootfs::FileType;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchList, PatchRecords};

use super::backout_input::{BackOutOptions, Elsewhere, Later};
use super::middle::chains::{ChainPatch, Chains, is_made_on_the_way};
use super::middle::refusals::Judged;
use crate::plan::refusal::{Command, Reason, Refusal};

/// The manifests of later patches, by package and patch.
pub type LaterManifests = BTreeMap<(PkgInst, String), Manifest>;

/// Which patches are listed with each path.
pub(super) type Listed = BTreeMap<ObjectPath, Vec<String>>;

/// A patch that goes, among those that are applied.
#[derive(Clone)]
pub(super) struct Among<'a> {
    /// The patch.
    pub(super) id: &'a PatchId,
    /// All patches.
    pub(super) all: AppliedPackages<'a>,
}

/// The patches of the packages of a root, and which of them go.
#[derive(Clone)]
pub(super) struct AppliedPackages<'a> {
    /// The packages of the root.
    pub(super) inventory: &'a Inventory,
    /// What separates base and revision of an id.
    pub(super) separator: &'a str,
    /// Manifests of patches that stay, as far as they can be read.
    pub(super) known: &'a LaterManifests,
    /// All patches that go.
    pub(super) going: BTreeSet<&'a PatchId>,
}

impl<'a> AppliedPackages<'a> {
    /// What the records of a package say of its patches.
    pub(super) fn applied(&self, package: &PkgInst) -> Result<PatchRecords, Reason> {
        let installed = self.inventory.packages.get(package).ok_or(Reason::NotApplied)?;
        PatchRecords::from_params(package, &installed.params, self.separator)
            .map_err(|error| Reason::BadPkginfo { package: package.to_string(), reason: error.to_string() })
    }

    /// The patches of a package, and which of them stay.
    pub(super) fn listed(&self, package: &PkgInst) -> Result<ListedPatches<'a>, Reason> {
        Ok(ListedPatches::of(package, &self.applied(package)?.list, &self.going, self.known))
    }
}

impl<'a> Among<'a> {
    /// The patches that were applied to a package after this one, with their manifests.
    pub(super) fn later(&self, package: &PkgInst) -> Result<Later<'a>, Reason> {
        Ok(self.all.listed(package)?.later(self.id))
    }

    /// The chains of a package from which this patch goes alone.
    fn chains<'m>(&self, package: &PkgInst, manifest: &'m Manifest) -> Result<Chains<'m>, Reason>
    where
        'a: 'm,
    {
        let manifests = BTreeMap::from([(self.id, manifest)]);
        Ok(self.all.listed(package)?.chains(&manifests))
    }

    /// A package and what stands against handing something on in it.
    pub(super) fn judged<'j>(
        &self,
        package: &'j PkgInst,
        chains: &'j Chains<'j>,
        options: &'j BackOutOptions,
    ) -> Result<Judged<'j>, Reason>
    where
        'a: 'j,
    {
        let installed = self.all.inventory.packages.get(package).ok_or(Reason::NotApplied)?;
        let (system, listed) = (&options.scripts.system, &self.all.inventory.patched_by);
        let (earlier, scripted) = (&options.earlier, &options.scripted);
        Ok(Judged { chains, installed, system, listed, earlier, scripted, package })
    }
}

/// The patches of a package in the order of their application, and which of them stay when others go.
pub(super) struct ListedPatches<'a>(Vec<ListedPatch<'a>>);

struct ListedPatch<'a> {
    id: PatchId,
    stays: bool,
    manifest: Option<&'a Manifest>,
}

impl<'a> ListedPatches<'a> {
    /// Those of a package with this list; `known` are the manifests of patches that stay, as far as they can be read.
    pub(super) fn of(
        package: &PkgInst,
        list: &PatchList,
        going: &BTreeSet<&PatchId>,
        known: &'a LaterManifests,
    ) -> Self {
        let listed = |id: &PatchId| {
            let stays = !going.contains(id);
            let manifest = if stays { known.get(&(package.clone(), id.to_string())) } else { None };
            ListedPatch { id: id.clone(), stays, manifest }
        };
        Self(list.iter().map(listed).collect())
    }

    /// Those that were applied after one of them and stay, with their manifests.
    pub(super) fn later(&self, id: &PatchId) -> Later<'a> {
        let after = self.0.iter().skip_while(|other| other.id != *id).skip(1);
        after.filter(|other| other.stays).map(|other| (other.id.clone(), other.manifest)).collect()
    }

    /// The place of a patch in their order.
    pub(super) fn place(&self, id: &PatchId) -> Option<usize> {
        self.0.iter().position(|other| other.id == *id)
    }

    /// Their chains, from the first that goes; `manifests` are those of the patches that go.
    pub(super) fn chains(&self, manifests: &BTreeMap<&PatchId, &'a Manifest>) -> Chains<'a> {
        let from_first = self.0.iter().skip_while(|one| one.stays);
        Chains::of(from_first.map(|one| one.in_chain(manifests)).collect())
    }

    /// The same from the first patch of the package, also where none goes.
    pub(super) fn all_chains(&self, manifests: &BTreeMap<&PatchId, &'a Manifest>) -> Chains<'a> {
        Chains::of(self.0.iter().map(|one| one.in_chain(manifests)).collect())
    }
}

impl<'a> ListedPatch<'a> {
    fn in_chain(&self, manifests: &BTreeMap<&PatchId, &'a Manifest>) -> ChainPatch<'a> {
        let manifest = if self.stays { self.manifest } else { manifests.get(&self.id).copied() };
        ChainPatch { id: self.id.clone(), manifest, goes: !self.stays }
    }
}

/// Refuses where a later patch of another package has what these patches changed, or has something below what they made.
pub(super) fn changed_elsewhere<'m>(
    records: impl Iterator<Item = &'m ObjectRecord>,
    elsewhere: &[Elsewhere],
) -> Result<(), Reason> {
    if elsewhere.is_empty() {
        return Ok(());
    }
    let had = HadLater::of(elsewhere);
    let mut used = None;
    let records = records.filter(|record| changes(record));
    for (record, path) in records.filter_map(|record| Some((record, record.object_path()?))) {
        if let Some(by) = had.paths.get(record.path.as_str()) {
            return Err(Reason::ChangedLater { path, by: Some(by.clone()) });
        }
        let above = had.above.get(record.path.as_str()).filter(|_| !stays_directory(record));
        if let Some(by) = above.filter(|_| used.is_none()) {
            used = Some(Reason::UsedLater { path, by: by.clone() });
        }
    }
    used.map_or(Ok(()), Err)
}

/// Refuses a path that an archive without manifest saves and a later patch has changed: what is saved is older.
pub(super) fn refuse_saved_before(
    path: &ObjectPath,
    later: &Later<'_>,
    listed: &Listed,
) -> Result<(), Reason> {
    let Some(patches) = listed.get(path) else { return Ok(()) };
    // A directory that a later patch found as it delivers it stays: it is the same one.
    let has = |manifest: &Manifest| {
        let mut records = manifest.objects.iter().filter(|record| record.has_path() && record.is_changed());
        records.any(|record| decode(&record.path) == path.as_bytes())
    };
    let found = later
        .iter()
        .rfind(|(id, manifest)| patches.iter().any(|other| other == id.as_str()) && manifest.is_none_or(has));
    match found {
        Some((by, _)) => Err(Reason::ChangedLater { path: path.clone(), by: Some(by.to_string()) }),
        None => Ok(()),
    }
}

/// Refuses as [`back_out`](super::back_out::back_out) does, as far as manifests say it: the complete list of what stands
/// against a backout in the middle. `told` is what the archives of the patch say, package by package. `options` have the
/// later patches; `inventory` has the packages, with the save directories of those that the patch is applied to, and who
/// is listed with the paths. No object is looked at.
pub fn may_leave(
    id: &PatchId,
    told: &[(&PkgInst, &PatchedPaths)],
    inventory: &Inventory,
    policy: &Policy,
    options: &BackOutOptions,
) -> Result<(), Refusal> {
    let ids = BTreeSet::from([id]);
    let all = AppliedPackages { inventory, separator: &policy.separator, known: &options.later, going: ids };
    let among = Among { id, all };
    let ask = || {
        let mut all = Vec::new();
        for (package, told) in told {
            let later = among.later(package)?;
            match told {
                PatchedPaths::Manifest(manifest) => {
                    all.push((*package, among.chains(package, manifest)?));
                }
                PatchedPaths::Paths(paths) => paths
                    .iter()
                    .try_for_each(|path| refuse_saved_before(path, &later, &inventory.patched_by))?,
            }
        }
        changed_elsewhere(all.iter().flat_map(|(_, chains)| chains.leaving()), &options.elsewhere)?;
        all.iter().try_for_each(|(package, chains)| among.judged(package, chains, options)?.refuse())
    };
    ask().map_err(|reason: Reason| reason.shown(inventory).of(Command::Patchrm, id))
}

/// Whether a patch with this manifest made something that a later one may have objects below without having its path: a
/// directory or a link. A directory on the way to its objects is handed down.
pub fn makes_room(manifest: &Manifest) -> bool {
    let is_room = |state: &RecordedState| matches!(state.kind, FileType::Directory | FileType::Symlink);
    let is_made =
        |record: &&ObjectRecord| changes(record) && !stays_directory(record) && !is_made_on_the_way(record);
    let mut made = manifest.objects.iter().filter(is_made);
    made.any(|record| record.became.as_ref().is_some_and(is_room))
}

/// Whether a backout has the object or its line to bring back.
fn changes(record: &ObjectRecord) -> bool {
    !record.is_untouched() || record.line != record.new_line
}

/// Whether it was a directory and is one.
fn stays_directory(record: &ObjectRecord) -> bool {
    let is_directory =
        |state: &Option<RecordedState>| state.as_ref().is_some_and(|state| state.kind == FileType::Directory);
    is_directory(&record.was) && is_directory(&record.became)
}

/// What later patches of any package have, by paths as manifests write them, each with the last of those patches: the
/// one that can go before the others.
#[derive(Default)]
struct HadLater<'a> {
    /// What they deliver, delete or change: what is there is theirs, even where they found it as they deliver it.
    paths: HashMap<&'a str, String>,
    /// What is above an object of theirs.
    above: HashMap<&'a str, String>,
}

impl<'a> HadLater<'a> {
    fn of(elsewhere: &'a [Elsewhere]) -> Self {
        let all = elsewhere.iter().map(|one| (one.patch.clone(), &one.manifest));
        let mut had = Self::default();
        for (patch, manifest) in all.rev() {
            for record in manifest.objects.iter().filter(|record| record.has_path()) {
                had.paths.entry(record.path.as_str()).or_insert_with(|| patch.clone());
                if record.became.is_some() {
                    had.add_above(&record.path, &patch);
                }
            }
        }
        had
    }

    /// Notes the directories of an object, up to the first that is known.
    fn add_above(&mut self, path: &'a str, patch: &str) {
        let mut at = path;
        while let Some((directory, _)) = at.rsplit_once('/') {
            if self.above.contains_key(directory) {
                break;
            }
            self.above.insert(directory, patch.to_owned());
            at = directory;
        }
    }
}
