//! `adopt --refresh`: what becomes of the patches of an adopted package that its own package manager changed since.
//!
//! ```text
//!   standing   native, held, added, gone or edited, path by path; does the patch stand?
//!       └─► trimming   the undo data of the patches, without what is the native manager's now
//!              └─► refresh   one plan: patches that end, undo data written anew, the new registration
//!                     └── registration   its records and lines
//! ```
//! Nothing that the native package manager wrote is changed. A patch that ends takes away what it added; one that stands
//! gives up what it no longer holds. The rules are those of patchadm-native(7).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use patchadm_changeset::format::manifest::{Manifest, ObjectRecord, RecordedState, decode, encode};
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::{NativeManager, NativeOrigin};
use patchadm_inputs::source::PackageImage;
use patchadm_rootfs::{FileType, Live};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PackagePath, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::chains::is_delivered_or_deleted;
use super::restore::is_edited;
use crate::plan::refusal::Reason;
use crate::plan::target::PackageTarget;

// DOC What the paths of patches have become after the native package manager changed their package, and whether a patch stands.
// DOC
// DOC ```text
// DOC   owners now ─┐
// DOC   object now ─┼─► standing of a path ─► does the patch stand? which of its paths are lost?
// DOC   what it left┘
// DOC ```
// DOC A patch keeps its claim on a path only while the path belongs to the package at the version that it was applied to. Every
// DOC other claim ends: nothing that the patch saved there is ever restored.

/// What the native records say of a path that they list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeSeen {
    /// Whether a file with the recorded sum is there.
    pub is_live: bool,
    /// Whether it is a configuration file.
    pub is_config: bool,
}

/// What the native records list of a changed package.
#[derive(Clone, Debug, Default)]
pub struct NativeListed {
    /// The native package.
    pub origin: Option<NativeOrigin>,
    /// Its version now; `None` if it was removed.
    pub version: Option<String>,
    /// Its paths.
    pub paths: BTreeMap<ObjectPath, NativeSeen>,
}

/// A patch of a package, in the order of application.
#[derive(Clone, Debug)]
pub struct PatchOfPackage<'a> {
    /// The patch.
    pub id: &'a PatchId,
    /// The package.
    pub package: &'a PkgInst,
    /// What it did; `None` where no undo data says so.
    pub manifest: Option<&'a Manifest>,
    /// The native version of the package that it was applied to; `None` if that is not known.
    pub version: Option<String>,
}

/// What a path of patches has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathStanding {
    /// It is as the last of the patches left it, and belongs to the package at the version that they were applied to.
    Held,
    /// It is as the last of the patches left it, which had added it, and belongs to nobody else.
    Added,
    /// It has what the patches put there, and is the native manager's from now on.
    Contained,
    /// The changes of the patches are gone.
    Lost,
    /// An administrator wrote there since.
    Edited,
}

impl PathStanding {
    /// Tells whether the patches keep their claim on the path.
    pub fn is_claimed(self) -> bool {
        matches!(self, Self::Held | Self::Added)
    }
}

/// What has become of all patches of the changed packages.
#[derive(Clone, Debug, Default)]
pub struct Standings {
    /// The paths of each changed package.
    pub paths: BTreeMap<PkgInst, BTreeMap<String, PathStanding>>,
    /// The patches that stand.
    pub standing: BTreeSet<PatchId>,
    /// The paths, with the package of each, at which what a patch did is gone.
    pub lost: BTreeMap<PatchId, Vec<(PkgInst, ObjectPath)>>,
    /// Sentences for a person.
    pub notes: Vec<String>,
}

impl Standings {
    /// Finds out what has become of patches. `native` is what the native records list, by changed package; `patches` are
    /// those of these packages, and of every other package that one of them is applied to.
    pub fn of(
        patches: &[PatchOfPackage<'_>],
        native: &BTreeMap<PkgInst, NativeListed>,
        inventory: &Inventory,
    ) -> Self {
        let mut standings = Self::default();
        for (package, listed) in native {
            let of: Vec<&PatchOfPackage<'_>> = patches.iter().filter(|one| one.package == package).collect();
            let paths = PackagePaths::new(&of, listed, inventory);
            standings.paths.insert(package.clone(), paths.standings(&mut standings.notes));
        }
        for patch in patches {
            let lost = standings.lost_by(patch, native, inventory);
            if !lost.is_empty() {
                standings.lost.entry(patch.id.clone()).or_default().extend(lost);
            }
        }
        let replacing = replacing(patches);
        for patch in patches {
            // A patch that replaced something ends with the first path of that, if it holds none any more.
            let adds = !replacing.contains(patch.id) || !standings.lost.contains_key(patch.id);
            if standings.holds(patch, native, adds) {
                standings.standing.insert(patch.id.clone());
            }
        }
        standings
    }

    /// Returns what has become of a path of a changed package.
    pub fn path(&self, package: &PkgInst, path: &str) -> Option<PathStanding> {
        self.paths.get(package)?.get(path).copied()
    }

    /// Whether a patch holds something in a package that is not its own addition, or an addition where these count (`adds`). In
    /// a package that was removed none does.
    fn holds(
        &self,
        patch: &PatchOfPackage<'_>,
        native: &BTreeMap<PkgInst, NativeListed>,
        adds: bool,
    ) -> bool {
        if native.get(patch.package).is_some_and(|listed| listed.version.is_none()) {
            return false;
        }
        let records = patch.manifest.into_iter().flat_map(|manifest| &manifest.objects);
        let mut records = records.filter(|record| is_delivered_or_deleted(record));
        match self.paths.get(patch.package) {
            Some(paths) => records.any(|record| match paths.get(&record.path) {
                Some(PathStanding::Held) => true,
                Some(PathStanding::Added) => adds,
                _ => false,
            }),
            // Nobody but the patches changed this package.
            None => records.any(|record| (adds || replaces(record)) && !record.is_untouched()),
        }
    }

    /// Returns the paths that a patch lost. Where a later patch had put its own there, the bytes of this one may be back.
    fn lost_by(
        &self,
        patch: &PatchOfPackage<'_>,
        native: &BTreeMap<PkgInst, NativeListed>,
        inventory: &Inventory,
    ) -> Vec<(PkgInst, ObjectPath)> {
        let Some(paths) = self.paths.get(patch.package) else { return Vec::new() };
        let listed = native.get(patch.package);
        let is_there = |record: &ObjectRecord| {
            let put = record.became.as_ref().and_then(RecordedState::digest);
            let place = record.object_path().map(|path| place_of(path, listed, inventory));
            let live = place.and_then(|place| inventory.live.get(&place));
            put.is_some() && live.and_then(Live::digest) == put && !has_old_attributes(record, record, live)
        };
        let is_lost = |record: &&ObjectRecord| {
            is_delivered_or_deleted(record)
                && !record.is_untouched()
                && paths.get(&record.path) == Some(&PathStanding::Lost)
                && !is_there(record)
        };
        let records = patch.manifest.into_iter().flat_map(|manifest| &manifest.objects);
        let lost = records.filter(is_lost);
        lost.filter_map(|record| Some((patch.package.clone(), record.object_path()?))).collect()
    }
}

/// Returns the patches that replaced, retyped or deleted something which no patch before them had added.
fn replacing<'a>(patches: &[PatchOfPackage<'a>]) -> BTreeSet<&'a PatchId> {
    let mut added: HashMap<(&PkgInst, &str), bool> = HashMap::new();
    let mut replacing = BTreeSet::new();
    for patch in patches {
        let records = patch.manifest.into_iter().flat_map(|manifest| &manifest.objects);
        for record in records.filter(|record| record.has_path()) {
            let is_new = record.was.is_none();
            let is_added = *added.entry((patch.package, record.path.as_str())).or_insert(is_new);
            if !is_added && replaces(record) && !record.is_untouched() {
                replacing.insert(patch.id);
            }
        }
    }
    replacing
}

/// Whether a patch has a path at which something other than a directory was before it.
fn replaces(record: &ObjectRecord) -> bool {
    record.has_path() && record.was.as_ref().is_some_and(|was| was.kind != FileType::Directory)
}

/// The place of a path of a package: somewhere else where it is diverted.
fn place_of(path: ObjectPath, listed: Option<&NativeListed>, inventory: &Inventory) -> ObjectPath {
    let Some(origin) = listed.and_then(|listed| listed.origin.as_ref()) else { return path };
    inventory.place_of_native(&path, origin).cloned().unwrap_or(path)
}

/// The patches of one package, and what the native records list of it.
struct PackagePaths<'a> {
    patches: &'a [&'a PatchOfPackage<'a>],
    listed: &'a NativeListed,
    /// The listed objects by their places: records may spell a path through a link.
    places: BTreeMap<&'a ObjectPath, NativeSeen>,
    inventory: &'a Inventory,
}

/// The first and the last record of the patches of a path.
struct PutPath<'a> {
    first: &'a ObjectRecord,
    last: &'a ObjectRecord,
    /// Whether all of them were applied to the version that is there now.
    is_same_version: bool,
}

impl<'a> PackagePaths<'a> {
    fn new(
        patches: &'a [&'a PatchOfPackage<'a>],
        listed: &'a NativeListed,
        inventory: &'a Inventory,
    ) -> Self {
        let place = |path: &'a ObjectPath| inventory.physical.get(path).unwrap_or(path);
        let places = listed.paths.iter().map(|(path, seen)| (place(path), *seen)).collect();
        Self { patches, listed, places, inventory }
    }

    fn standings(&self, notes: &mut Vec<String>) -> BTreeMap<String, PathStanding> {
        let mut put: BTreeMap<&str, PutPath<'_>> = BTreeMap::new();
        for patch in self.patches {
            let is_same_version = patch.version.is_some() && patch.version == self.listed.version;
            for record in patch.manifest.into_iter().flat_map(|manifest| &manifest.objects) {
                let known = put.entry(record.path.as_str());
                let known = known.or_insert(PutPath { first: record, last: record, is_same_version });
                if record.has_path() {
                    known.last = record;
                    known.is_same_version &= is_same_version;
                }
            }
        }
        let mut standings = BTreeMap::new();
        for (path, put) in put {
            let Some(place) =
                put.last.object_path().map(|path| place_of(path, Some(self.listed), self.inventory))
            else {
                continue;
            };
            standings.insert(path.to_owned(), self.standing(&place, &put, notes));
        }
        self.keep_names_together(&mut standings);
        standings
    }

    fn standing(&self, path: &ObjectPath, put: &PutPath<'_>, notes: &mut Vec<String>) -> PathStanding {
        let live = self.inventory.live.get(path);
        let is_put = match (&put.last.became, live) {
            (None, None) => true,
            (Some(state), Some(live)) => !is_edited(live, state),
            _ => false,
        };
        // What an override undoes is told as long as it does, and no reason to give the path up.
        let is_whole = is_put && (self.is_overridden(path) || !has_old_attributes(put.first, put.last, live));
        let ended = if is_whole { PathStanding::Contained } else { PathStanding::Lost };
        let owners = &self.inventory.native_owners;
        if let Some(owner) = owners.foreign(path, self.listed.origin.as_ref())
            && !live.is_some_and(Live::is_directory)
        {
            let shown = self.inventory.show(path);
            notes.push(format!("{shown} was taken over by {}", owner.with_manager()));
            return ended;
        }
        if put.last.became.as_ref().is_some_and(|state| state.kind == FileType::Directory)
            && live.is_some_and(Live::is_directory)
        {
            let is_free = owners.of(path).is_empty();
            return if is_free && put.first.was.is_none() {
                PathStanding::Added
            } else {
                PathStanding::Contained
            };
        }
        let place = self.inventory.physical.get(path).unwrap_or(path);
        let native = self.places.get(place);
        if self.listed.version.is_none() {
            return match live {
                None => PathStanding::Lost,
                Some(_) if is_put && put.first.was.is_none() => PathStanding::Added,
                Some(_) if is_put => PathStanding::Contained,
                Some(_) => PathStanding::Edited,
            };
        }
        if put.first.was.is_none() && native.is_none() {
            return match live {
                Some(_) if is_put => PathStanding::Added,
                Some(_) => PathStanding::Edited,
                None if put.last.became.is_none() || self.was_moved(put) => PathStanding::Contained,
                None => PathStanding::Lost,
            };
        }
        if is_whole {
            let is_held = put.is_same_version && native.is_some();
            if !is_held && native.is_none_or(|native| native.is_config) && live.is_some() {
                let shown = self.inventory.show(path);
                notes.push(self.stays_patched(&shown, native.is_some()));
            }
            return if is_held { PathStanding::Held } else { PathStanding::Contained };
        }
        if live.is_none() && self.was_moved(put) {
            return PathStanding::Contained;
        }
        if is_put || live.is_none() {
            return PathStanding::Lost;
        }
        match native {
            Some(native) if native.is_live || !native.is_config => PathStanding::Lost,
            _ => PathStanding::Edited,
        }
    }

    /// Whether dpkg-statoverride(1) says what the attributes of an object are.
    fn is_overridden(&self, path: &ObjectPath) -> bool {
        let origin = self.listed.origin.as_ref();
        origin.is_some_and(|origin| origin.manager == NativeManager::Dpkg)
            && self.inventory.overrides.of(path).is_some()
    }

    /// Tells whether the patched file is at another path of the package now, for example because a diversion was removed.
    fn was_moved(&self, put: &PutPath<'_>) -> bool {
        let Some(digest) = put.last.became.as_ref().and_then(RecordedState::digest) else { return false };
        let is_it = |path: &ObjectPath| {
            let live = self.inventory.live.get(path);
            live.is_some_and(|live| live.digest() == Some(digest)) && !self.inventory.lines.contains_key(path)
        };
        self.listed.paths.keys().any(is_it)
    }

    fn stays_patched(&self, shown: &ObjectPath, is_listed: bool) -> String {
        let version = self.listed.version.as_deref().unwrap_or_default();
        let origin = self.listed.origin.as_ref();
        let is_dpkg = origin.is_some_and(|origin| origin.manager == NativeManager::Dpkg);
        if is_listed && is_dpkg {
            format!("{shown} stays as patched; for version {version}'s file: dpkg --force-confmiss")
        } else {
            format!("{shown} stays as patched")
        }
    }

    /// The names of one file have one standing: where one of them is no longer the patches', none is.
    fn keep_names_together(&self, standings: &mut BTreeMap<String, PathStanding>) {
        for patch in self.patches {
            let mut groups: HashMap<(bool, u32), Vec<&str>> = HashMap::new();
            for record in patch.manifest.into_iter().flat_map(|manifest| &manifest.objects) {
                let states = [(false, &record.was), (true, &record.became)];
                for (is_after, state) in states {
                    if let Some(group) = state.as_ref().and_then(|state| state.group) {
                        groups.entry((is_after, group)).or_default().push(&record.path);
                    }
                }
            }
            for names in groups.into_values() {
                let is_claimed =
                    |name: &&str| standings.get(*name).is_some_and(|standing| standing.is_claimed());
                if names.iter().all(is_claimed) {
                    continue;
                }
                for name in names {
                    if let Some(standing) = standings.get_mut(name).filter(|one| **one == PathStanding::Held)
                    {
                        *standing = PathStanding::Contained;
                    }
                }
            }
        }
    }
}

/// Tells whether an object is as patches left it: `first` and `last` are their first and their last record of the path.
pub fn is_as_left((first, last): (&ObjectRecord, &ObjectRecord), live: Option<&Live>) -> bool {
    let is_put = match (&last.became, live) {
        (None, None) => true,
        (Some(state), Some(live)) => live.is_directory() || !is_edited(live, state),
        _ => last.kept,
    };
    is_put && !has_old_attributes(first, last, live)
}

/// Tells whether an object has the bytes that patches left, and attributes that they took away: permission bits, an owner or
/// capabilities that are back, or set-id bits that an override kept. `keeps_set_id` says that the last of them found that.
pub fn is_undone_in_place(
    (first, last): (&ObjectRecord, &ObjectRecord),
    live: Option<&Live>,
    keeps_set_id: bool,
) -> bool {
    let (Some(became), Some(found)) = (&last.became, live) else { return false };
    let is_back = || has_old_attributes(first, last, live);
    !is_edited(found, became) && (keeps_set_id && found.mode.is_set_id() || is_back())
}

/// Tells whether permission bits, owner or capabilities are again as they were before the patches changed them.
fn has_old_attributes(first: &ObjectRecord, last: &ObjectRecord, live: Option<&Live>) -> bool {
    let (Some(was), Some(became), Some(live)) = (&first.was, &last.became, live) else {
        return false;
    };
    if was.kind == FileType::Symlink || became.kind == FileType::Symlink {
        return false;
    }
    let is = RecordedState::of(live);
    let (changed, cleared) = (was.mode ^ became.mode, was.mode & !became.mode);
    let is_back = |changed: bool, is_old: bool| changed && is_old;
    is.mode & cleared != 0
        || is_back(changed != 0, (is.mode ^ was.mode) & changed == 0)
        || is_back(was.uid != became.uid, is.uid == was.uid)
        || is_back(was.gid != became.gid, is.gid == was.gid)
        || is_back(was.xattrs != became.xattrs, is.xattrs == was.xattrs)
}

// DOC The undo data of a patch without what it no longer holds, and the bytes of an administrator that only it has.

/// A patch whose undo data is trimmed, in the order of application.
pub struct TrimmedPatch<'a> {
    /// The package, which its own package manager changed.
    pub package: &'a PkgInst,
    /// The patch.
    pub id: &'a PatchId,
    /// What it did.
    pub manifest: &'a Manifest,
    /// The paths of other patches of the package that were applied before, and those applied later that stand.
    pub others: OtherPatches,
}

/// The paths of the other patches of a package.
#[derive(Clone, Debug, Default)]
pub struct OtherPatches {
    /// Of those that were applied before.
    pub earlier: BTreeSet<String>,
    /// Of those that were applied later and stand.
    pub later: BTreeSet<String>,
}

/// What is left of the undo data of a patch.
pub struct Trimmed {
    /// What it did, as far as it still holds it.
    pub manifest: Manifest,
    /// The paths that it handed over, or found free from now on; escaped.
    pub left_out: BTreeSet<String>,
    /// The paths at which nothing was before it, from now on; escaped.
    pub freed: BTreeSet<String>,
}

impl Trimmed {
    /// Gives up a path that the patch had added: its object stays.
    pub fn give_up(&mut self, path: &str) {
        self.manifest.objects.retain(|record| record.path != path);
        self.left_out.insert(path.to_owned());
    }

    /// Whether the undo data has become different.
    pub fn is_changed(&self) -> bool {
        !self.left_out.is_empty() || !self.freed.is_empty()
    }
}

impl TrimmedPatch<'_> {
    /// Returns what is left. `is_listed` tells what the native records list of the package, in whichever spelling.
    pub fn trimmed(&self, standings: &Standings, is_listed: impl Fn(&ObjectPath) -> bool) -> Trimmed {
        let stands = standings.standing.contains(self.id);
        let mut trimmed = Trimmed {
            manifest: Manifest { objects: Vec::new(), ..self.manifest.clone() },
            left_out: BTreeSet::new(),
            freed: BTreeSet::new(),
        };
        if !stands {
            trimmed.manifest.shlibs.clear();
        }
        for record in &self.manifest.objects {
            let is_listed = record.object_path().is_some_and(|path| is_listed(&path));
            let standing = standings.path(self.package, &record.path);
            if !self.keeps(record, standing, is_listed, stands) {
                trimmed.left_out.insert(record.path.clone());
                continue;
            }
            let is_first = !self.others.earlier.contains(&record.path);
            let mut record = record.clone();
            let is_held = standing == Some(PathStanding::Held);
            if !is_listed && !is_held && is_first && record.has_path() && record.was.is_some() {
                // The version that had something there is gone.
                (record.was, record.line, record.member) = (None, None, None);
                trimmed.freed.insert(record.path.clone());
            }
            trimmed.manifest.objects.push(record);
        }
        trimmed
    }

    fn keeps(
        &self,
        record: &ObjectRecord,
        standing: Option<PathStanding>,
        is_listed: bool,
        stands: bool,
    ) -> bool {
        let is_passed_on = self.others.later.contains(&record.path);
        match standing {
            Some(PathStanding::Held) => stands,
            Some(PathStanding::Added) => record.has_path(),
            Some(PathStanding::Edited) => !is_listed && record.has_path() && (stands || is_passed_on),
            Some(PathStanding::Contained | PathStanding::Lost) | None => false,
        }
    }
}

/// Returns the backout package without the objects of these paths. Those that were free before the patch, from now on, are
/// deleted by it.
pub fn trimmed_image(
    package: &PkgInst,
    image: &PackageImage,
    trimmed: &Trimmed,
) -> Result<PackageImage, Reason> {
    let target = PackageTarget::new(package.clone(), 0, image, image.params.clone())?;
    let escaped = |path: &ObjectPath| encode(path.as_bytes());
    let mut new = image.clone();
    new.pkgmap.entries.clear();
    for entry in &image.pkgmap.entries {
        let goes = !entry.is_information() && {
            let path = escaped(&target.resolve(&entry.path)?);
            trimmed.left_out.contains(&path) || trimmed.freed.contains(&path)
        };
        if !goes {
            new.pkgmap.entries.push(entry.clone());
        }
    }
    new.deletes.clear();
    for path in &image.deletes {
        if !trimmed.left_out.contains(&escaped(&target.resolve(path)?)) {
            new.deletes.push(path.clone());
        }
    }
    for path in &trimmed.freed {
        let path = ObjectPath::new(&decode(path))
            .map_err(|error| Reason::BadUndoData { package: package.clone(), reason: error.to_string() })?;
        new.deletes.push(target.write(&path)?);
    }
    Ok(new)
}

/// The bytes of an administrator that a patch saved at a path which it no longer has.
#[derive(Clone, Debug)]
pub struct SavedEdit<'a> {
    /// The package.
    pub package: PkgInst,
    /// The patch.
    pub id: PatchId,
    /// What its manifest says of the path.
    pub record: ObjectRecord,
    /// The backout package that has them.
    pub image: &'a PackageImage,
}

impl SavedEdit<'_> {
    /// Returns the name under which the patch kept it beside its path, escaped, if it is there still and not at the path itself.
    pub fn kept_beside(&self, inventory: &Inventory) -> Option<(ObjectPath, String)> {
        let path = self.record.object_path()?;
        let name = [path.as_bytes(), format!(".edited-{}", self.id).as_bytes()].concat();
        let name = ObjectPath::new(&name).ok()?;
        let saved = self.record.was.as_ref().and_then(RecordedState::digest)?;
        let is_saved = |path: &ObjectPath| {
            inventory.live.get(path).and_then(Live::digest).is_some_and(|digest| digest == saved)
        };
        (is_saved(&name) && !is_saved(&path)).then(|| {
            let escaped = encode(name.as_bytes());
            (name, escaped)
        })
    }
}

/// Returns what an administrator had written before this patch and only its undo data has. `differing` are the paths that
/// were not as the native manager had them when the package was registered.
pub fn saved_edits<'i>(
    patch: &TrimmedPatch<'_>,
    image: &'i PackageImage,
    trimmed: &Trimmed,
    differing: &BTreeSet<ObjectPath>,
) -> Vec<SavedEdit<'i>> {
    let goes = |record: &&ObjectRecord| {
        trimmed.left_out.contains(&record.path) || trimmed.freed.contains(&record.path)
    };
    let is_edit = |record: &&ObjectRecord| {
        let is_first = !patch.others.earlier.contains(&record.path);
        let was_differing = is_first && record.object_path().is_some_and(|path| differing.contains(&path));
        is_saved_edit(record, image, was_differing)
    };
    let edits = patch.manifest.objects.iter().filter(goes).filter(is_edit);
    edits
        .map(|record| SavedEdit {
            package: patch.package.clone(),
            id: patch.id.clone(),
            record: record.clone(),
            image,
        })
        .collect()
}

/// Whether what a patch saved of a file is not what `contents` said of it.
fn is_saved_edit(record: &ObjectRecord, image: &PackageImage, was_differing: bool) -> bool {
    let is_file = record.was.as_ref().is_some_and(|was| was.kind == FileType::Regular);
    let Some(member) = record.member.as_deref().filter(|_| is_file) else { return false };
    let Ok(member) = PackagePath::new(&decode(member)) else { return false };
    let Some(saved) = image.files().find(|entry| entry.path == member) else { return false };
    let line = record.line.as_deref().and_then(|line| ContentsLine::parse(&decode(line)).ok());
    let recorded = line.map(|line| line.object.content);
    let is_same = recorded.is_some_and(|recorded| {
        (recorded.size, recorded.cksum) == (saved.object.content.size, saved.object.content.cksum)
    });
    was_differing || !is_same
}
