//! `adopt --refresh`: the patches of an adopted package after its own manager changed it (patchadm-native(7)). Each
//! path is held, added, contained, lost or edited, which decides which patches stand. The undo data of a standing patch
//! loses the paths that belong to the native manager now, whose objects are never changed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, UndoManifest, decode, encode};
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

//   owners now ─┐
//   object now ─┼─► standing of a path ─► does the patch stand? which of its paths are lost?
//   what it left┘
// A patch keeps its claim on a path only while the path belongs to the package at the version that the patch
// was applied to. Every other claim ends, and the saved object of such a path is never restored.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeSeen {
    /// A file with the recorded sum is present.
    pub is_live: bool,
    pub is_config: bool,
}

#[derive(Clone, Debug, Default)]
pub struct NativeListed {
    pub origin: Option<NativeOrigin>,
    /// `None` if it was removed.
    pub version: Option<String>,
    pub paths: BTreeMap<ObjectPath, NativeSeen>,
}

#[derive(Clone, Debug)]
pub struct PatchOfPackage<'a> {
    pub id: &'a PatchId,
    pub package: &'a PkgInst,
    /// `None` if no undo data has one.
    pub manifest: Option<&'a UndoManifest>,
    /// The native version that it was applied to; `None` if unknown.
    pub version: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathStanding {
    /// As the last patch left it, in the package version that the patches were applied to.
    Held,
    /// Added by the last patch, unchanged, without another owner.
    Added,
    /// Has the content of the patches, and belongs to the native manager from now on.
    Contained,
    /// The changes of the patches are gone.
    Lost,
    Edited,
}

impl PathStanding {
    /// Returns true if the patches keep their claim on the path.
    pub fn is_claimed(self) -> bool {
        matches!(self, Self::Held | Self::Added)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Standings {
    /// By changed package.
    pub paths: BTreeMap<PkgInst, BTreeMap<String, PathStanding>>,
    pub standing: BTreeSet<PatchId>,
    /// The paths of lost changes.
    pub lost: BTreeMap<PatchId, Vec<(PkgInst, ObjectPath)>>,
    pub notes: Vec<String>,
}

impl Standings {
    /// `native` are the native records by changed package; `patches` those of these packages, and of every other
    /// package that one of them is applied to.
    pub fn of(
        patches: &[PatchOfPackage<'_>],
        native: &BTreeMap<PkgInst, NativeListed>,
        inventory: &Inventory,
    ) -> Self {
        let mut standings = Self::default();
        for (package, listed) in native {
            let of: Vec<&PatchOfPackage<'_>> = patches.iter().filter(|one| one.package == package).collect();
            let paths = PatchedPaths::new(&of, listed, inventory);
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
            // A replacing patch ends with the first lost path if it holds no replaced path any more.
            let adds = !replacing.contains(patch.id) || !standings.lost.contains_key(patch.id);
            if standings.holds(patch, native, adds) {
                standings.standing.insert(patch.id.clone());
            }
        }
        standings
    }

    pub fn path(&self, package: &PkgInst, path: &str) -> Option<PathStanding> {
        self.paths.get(package)?.get(path).copied()
    }

    /// Additions count only with `adds`. Nothing is held in a removed package.
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
            // Only the patches changed this package.
            None => records.any(|record| (adds || replaces(record)) && !record.is_untouched()),
        }
    }

    /// A path is not lost if the bytes of the patch are back after a later one ended.
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

fn replaces(record: &ObjectRecord) -> bool {
    record.has_path() && record.was.as_ref().is_some_and(|was| was.kind != FileType::Directory)
}

fn place_of(path: ObjectPath, listed: Option<&NativeListed>, inventory: &Inventory) -> ObjectPath {
    let Some(origin) = listed.and_then(|listed| listed.origin.as_ref()) else { return path };
    inventory.place_of_native(&path, origin).cloned().unwrap_or(path)
}

struct PatchedPaths<'a> {
    patches: &'a [&'a PatchOfPackage<'a>],
    listed: &'a NativeListed,
    /// By place: records may spell a path through a link.
    places: BTreeMap<&'a ObjectPath, NativeSeen>,
    inventory: &'a Inventory,
}

struct PutPath<'a> {
    first: &'a ObjectRecord,
    last: &'a ObjectRecord,
    is_same_version: bool,
}

impl<'a> PatchedPaths<'a> {
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
        // Changes that an override undoes are reported, and are no reason to give the path up.
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
            if !is_held && native.is_none_or(|native| native.is_config && !native.is_live) && live.is_some() {
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

    fn is_overridden(&self, path: &ObjectPath) -> bool {
        let origin = self.listed.origin.as_ref();
        origin.is_some_and(|origin| origin.manager == NativeManager::Dpkg)
            && self.inventory.overrides.of(path).is_some()
    }

    /// For example after a diversion was removed.
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
        match origin.filter(|origin| is_listed && origin.manager == NativeManager::Dpkg) {
            Some(NativeOrigin { name, .. }) => format!(
                "{shown} stays as patched; to get the file of {name} {version}, delete it and reinstall {name} with \
                 --force-confmiss (dpkg)"
            ),
            None => format!("{shown} stays as patched"),
        }
    }

    /// All names of a file share one standing.
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

/// `first` and `last` are the patches' first and last record of the path.
pub fn is_as_left((first, last): (&ObjectRecord, &ObjectRecord), live: Option<&Live>) -> bool {
    let is_put = match (&last.became, live) {
        (None, None) => true,
        (Some(state), Some(live)) => live.is_directory() || !is_edited(live, state),
        _ => last.kept,
    };
    is_put && !has_old_attributes(first, last, live)
}

/// The object has the patches' bytes, but attributes that they had removed: permission bits, owner or capabilities that
/// are back, or set-id bits that an override kept (`keeps_set_id`).
pub fn is_undone_in_place(
    (first, last): (&ObjectRecord, &ObjectRecord),
    live: Option<&Live>,
    keeps_set_id: bool,
) -> bool {
    let (Some(became), Some(found)) = (&last.became, live) else { return false };
    let is_back = || has_old_attributes(first, last, live);
    !is_edited(found, became) && (keeps_set_id && found.mode.is_set_id() || is_back())
}

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

/// A patch whose undo data is trimmed, in the order of application.
pub struct TrimmedPatch<'a> {
    /// Changed by its own manager.
    pub package: &'a PkgInst,
    pub id: &'a PatchId,
    pub manifest: &'a UndoManifest,
    /// The earlier patches of the package, and the later ones that stand.
    pub others: OtherPatches,
}

#[derive(Clone, Debug, Default)]
pub struct OtherPatches {
    pub earlier: BTreeSet<String>,
    /// Only of patches that stand.
    pub later: BTreeSet<String>,
}

/// The remainder of a patch's undo data.
pub struct Trimmed {
    /// Without the paths that it no longer holds.
    pub manifest: UndoManifest,
    /// Escaped paths that it hands over or now counts as found free.
    pub left_out: BTreeSet<String>,
    /// Escaped paths that now count as free before the patch.
    pub freed: BTreeSet<String>,
}

impl Trimmed {
    /// Removes a path that the patch had added; its object stays.
    pub fn give_up(&mut self, path: &str) {
        self.manifest.objects.retain(|record| record.path != path);
        self.left_out.insert(path.to_owned());
    }

    pub fn is_changed(&self) -> bool {
        !self.left_out.is_empty() || !self.freed.is_empty()
    }
}

impl TrimmedPatch<'_> {
    /// `is_listed` returns true for a path that the native records list for the package, in any spelling.
    pub fn trimmed(&self, standings: &Standings, is_listed: impl Fn(&ObjectPath) -> bool) -> Trimmed {
        let stands = standings.standing.contains(self.id);
        let mut trimmed = Trimmed {
            manifest: UndoManifest { objects: Vec::new(), ..self.manifest.clone() },
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
                // The version with an object there is gone.
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

/// Omits the objects of these paths, and deletes the paths that now count as free before the patch.
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

/// An administrator's bytes that a patch saved at a path which it no longer has.
#[derive(Clone, Debug)]
pub struct SavedEdit<'a> {
    pub package: PkgInst,
    pub id: PatchId,
    /// Of the path, in the manifest.
    pub record: ObjectRecord,
    /// Holds the bytes.
    pub image: &'a PackageImage,
}

impl SavedEdit<'_> {
    /// Returns the name under which the patch kept the bytes beside its path, escaped, if they are still there and not
    /// at the path itself.
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

/// Returns the edits of administrators that only undo data of this patch has. `differing` are the paths that differed
/// from the native records when the package was registered.
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
