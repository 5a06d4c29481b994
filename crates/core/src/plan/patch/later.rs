//! The patches that were applied after one that goes, and which of them stands in the way: the rule by manifests, for
//! who plans a backout and for who only asks whether there could be one.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use crate::inventory::Inventory;
use crate::policy::Policy;
use patchadm_changeset::format::manifest::{
    Manifest, ObjectRecord, PatchedPaths, RecordedState, RecordedType, decode,
};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchRecords};

use super::backout_input::{BackOutOptions, Elsewhere, Later};
use super::handing_down::{Package, is_made_on_the_way};
use crate::plan::refusal::{Command, Reason, Refusal};

/// Which patches are listed with each path.
pub(super) type Listed = BTreeMap<ObjectPath, Vec<String>>;

/// A patch that goes, among those that are applied.
#[derive(Clone, Copy)]
pub(super) struct Among<'a> {
    /// The patch.
    pub(super) id: &'a PatchId,
    /// The packages of the root.
    pub(super) inventory: &'a Inventory,
    /// What separates base and revision of an id.
    pub(super) separator: &'a str,
    /// Manifests of later patches, as far as they can be read.
    pub(super) known: &'a BTreeMap<(PkgInst, String), Manifest>,
}

impl<'a> Among<'a> {
    /// What the records of a package say of its patches.
    pub(super) fn applied(&self, package: &PkgInst) -> Result<PatchRecords, Reason> {
        let installed = self.inventory.packages.get(package).ok_or(Reason::NotApplied)?;
        PatchRecords::from_params(package, &installed.params, self.separator)
            .map_err(|error| Reason::BadPkginfo { package: package.to_string(), reason: error.to_string() })
    }

    /// The patches that were applied to a package after this one, with their manifests.
    pub(super) fn later(&self, package: &PkgInst) -> Result<Later<'a>, Reason> {
        let applied = self.applied(package)?;
        let after = applied.list.iter().skip_while(|other| *other != self.id).skip(1);
        Ok(after
            .map(|other| (other.clone(), self.known.get(&(package.clone(), other.to_string()))))
            .collect())
    }

    /// A package from which the patch goes, for what it hands down.
    pub(super) fn handing_down<'p>(&self, package: &'p PkgInst) -> Result<Package<'p>, Reason>
    where
        'a: 'p,
    {
        let installed = self.inventory.packages.get(package).ok_or(Reason::NotApplied)?;
        Ok(Package { name: package, installed, separator: self.separator })
    }

    /// The manifest that is restored from, where that of the archive is `manifest`: with what earlier patches have handed
    /// down.
    pub(super) fn manifest<'m>(
        &self,
        package: &PkgInst,
        manifest: &'m Manifest,
    ) -> Result<Cow<'m, Manifest>, Reason> {
        self.handing_down(package)?.manifest(self.id, manifest, &self.later(package)?)
    }
}

/// What is restored in a package, and who came later.
#[derive(Clone, Copy)]
pub(super) struct GoingPackage<'a> {
    /// The manifest that is restored from ([`Among::manifest`]).
    pub(super) manifest: &'a Manifest,
    /// The patches that came later.
    pub(super) later: &'a Later<'a>,
}

/// Refuses to take a patch out of these packages where a later patch, of the same package or of another, has what
/// it changed, or has something below what it made.
pub(super) fn refuse_in_the_way(
    packages: &[GoingPackage<'_>],
    elsewhere: &[Elsewhere],
    listed: &Listed,
) -> Result<(), Reason> {
    if packages.iter().all(|package| package.later.is_empty()) && elsewhere.is_empty() {
        return Ok(());
    }
    let had = HadLater::of(packages, elsewhere);
    let changed = || {
        packages.iter().flat_map(|package| {
            let records = package.manifest.objects.iter().filter(|record| changes(record));
            records.filter_map(move |record| Some((package, record, record.object_path()?)))
        })
    };
    for (package, record, path) in changed() {
        let by = had.paths.get(record.path.as_str()).cloned();
        if let Some(by) = by.or_else(|| listed_by(package.later, listed, &path)) {
            return Err(Reason::ChangedLater { path, by: Some(by) });
        }
    }
    for (_, record, path) in changed().filter(|(_, record, _)| !stays_directory(record)) {
        if let Some(by) = had.above.get(record.path.as_str()) {
            return Err(Reason::UsedLater { path, by: by.clone() });
        }
    }
    Ok(())
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

/// The later patch that stands in the way of the backout of `id`, by the rule by which
/// [`back_out`](super::back_out::back_out) refuses it. `told` is what its archives say, package by package. `options` have
/// the later ones; `inventory` has the packages, with the save directories of those that the patch is applied to, and who
/// is listed with the paths. No object is looked at.
pub fn must_be_last(
    id: &PatchId,
    told: &[(&PkgInst, &PatchedPaths)],
    inventory: &Inventory,
    policy: &Policy,
    options: &BackOutOptions,
) -> Result<(), Refusal> {
    let among = Among { id, inventory, separator: &policy.separator, known: &options.later };
    let ask = || {
        let (mut manifests, mut all) = (Vec::new(), BTreeMap::new());
        for (package, told) in told {
            let later = among.later(package)?;
            match told {
                PatchedPaths::Manifest(manifest) => {
                    manifests.push((package, among.manifest(package, manifest)?));
                }
                PatchedPaths::Paths(paths) => paths
                    .iter()
                    .try_for_each(|path| refuse_saved_before(path, &later, &inventory.patched_by))?,
            }
            all.insert(package, later);
        }
        let going = manifests.iter().filter_map(|(package, manifest)| {
            let later = all.get(package)?;
            Some(GoingPackage { manifest, later })
        });
        refuse_in_the_way(&going.collect::<Vec<_>>(), &options.elsewhere, &inventory.patched_by)
    };
    ask().map_err(|reason| reason.shown(inventory).of(Command::Patchrm, id))
}

/// Whether a patch with this manifest made something that a later one may have objects below without having its path: a
/// directory or a link. A directory on the way to its objects is handed down.
pub fn makes_room(manifest: &Manifest) -> bool {
    let is_room =
        |state: &RecordedState| matches!(state.kind, RecordedType::Directory | RecordedType::Symlink);
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
    let is_directory = |state: &Option<RecordedState>| {
        state.as_ref().is_some_and(|state| state.kind == RecordedType::Directory)
    };
    is_directory(&record.was) && is_directory(&record.became)
}

/// The last later patch without a manifest that is listed with a path: its archive was not made by the program, or
/// cannot be read. What the list says is not believed where something is restored, and suffices to leave it alone.
fn listed_by(later: &Later<'_>, listed: &Listed, path: &ObjectPath) -> Option<String> {
    let listed = listed.get(path)?;
    let mut unknown = later.iter().filter(|(_, manifest)| manifest.is_none()).map(|(id, _)| id);
    unknown.rfind(|id| listed.iter().any(|other| other == id.as_str())).map(ToString::to_string)
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
    fn of(packages: &[GoingPackage<'a>], elsewhere: &'a [Elsewhere]) -> Self {
        let of_packages = packages.iter().flat_map(|package| package.later);
        let of_packages = of_packages.filter_map(|(id, manifest)| Some((id.to_string(), (*manifest)?)));
        let all = of_packages.chain(elsewhere.iter().map(|one| (one.patch.clone(), &one.manifest)));
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
