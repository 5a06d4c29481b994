//! Changes by an applied patch, with contents of small files.
//!
//! ```text
//!   before ◄── undo data of the patch
//!   after  ◄── the root, or, if another patch changed the file since, the undo data of that patch
//! ```
//! Nothing is locked. The answer decides nothing, so archive digests are not compared.

use std::collections::{BTreeMap, HashSet};

use crate::operation::content::{ArchiveSources, OneSource, SourceBytes, live_bytes, source_bytes};
use crate::operation::failure::Failure;
use crate::operation::queries::patch_objects::{ObjectAction, records};
use crate::operation::queries::recorded_path::is_within_by;
use crate::operation::session::{RootAndPolicy, must_have_database};
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, UndoManifest, decode};
use patchadm_changeset::transaction::Cause;
use patchadm_inputs::database::undo_data::{ArchiveError, UndoContent};
use patchadm_inputs::database::{RecordView, installed, ledger, read_consistently};
use patchadm_inputs::native::NativeOrigin;
use patchadm_rootfs::{Digest, FileType, Root, never};
use patchadm_svr4::package::{ObjectPath, PackagePath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

/// 512 KiB.
pub const LARGEST_COMPARED: u64 = 512 << 10;

/// 64 MiB per side.
const MOST_BYTES: u64 = 64 << 20;

#[derive(Debug)]
pub struct DifferingObject {
    pub package: PkgInst,
    pub path: ObjectPath,
    pub action: ObjectAction,
    pub before: Option<RecordedState>,
    pub after: Option<RecordedState>,
    /// If each is a file of at most [`LARGEST_COMPARED`] bytes, or missing.
    pub content: Option<ContentPair>,
}

#[derive(Debug, Default)]
pub struct ContentPair {
    /// Empty without a file.
    pub before: Vec<u8>,
    /// Empty without a file.
    pub after: Vec<u8>,
    /// `after` is an edited file; the patch's own is not saved anywhere.
    pub is_edited: bool,
}

/// Limited to `paths` and below, if any are named. `None` if the patch is not applied. Fails without undo data.
pub fn patch_difference(
    root: &Root,
    id: &PatchId,
    paths: &[ObjectPath],
) -> Result<Option<Vec<DifferingObject>>, Failure> {
    must_have_database(root)?;
    let ground = RootAndPolicy::of(root)?.for_who_may()?;
    read_consistently(root, |view| {
        let (applied, params) = records(view, &ground.policy.separator)?;
        let Some(patch) = applied.get(id) else { return Ok(None) };
        let is_within = is_within_by(root, ground.native_index(), paths);
        let archives = Archives { view, ground: &ground, applied: &applied };
        let mut room = MOST_BYTES;
        let mut objects = Vec::new();
        for package in &patch.packages {
            let (manifest, content) = archives.open(package, id)?;
            let places = DivertedPlaces::of(&ground, params.get(package));
            let changed = manifest.objects.iter().filter(|record| !record.kept).filter_map(|record| {
                let action = ObjectAction::between(record.was.as_ref(), record.became.as_ref());
                let path = record.object_path().map(|path| places.of_path(path)).filter(&is_within)?;
                (action != ObjectAction::Unchanged).then_some((record, path, action))
            });
            let changed: Vec<(&ObjectRecord, ObjectPath, ObjectAction)> = changed.collect();
            let compared: HashSet<&ObjectPath> = changed
                .iter()
                .filter(|(record, ..)| is_small(record) && has_room(record, &mut room))
                .map(|(_, path, _)| path)
                .collect();
            let saved = SavedMembers::of(&manifest);
            let members = changed.iter().filter(|(_, path, _)| compared.contains(path));
            let members: HashSet<(usize, PackagePath)> =
                members.filter_map(|(record, ..)| Some((0, saved.member(record)?))).collect();
            let before = content.bytes(&members)?;
            let mut after = AfterFiles::read(&archives, (package, id), &changed, &compared)?;
            for (record, path, action) in &changed {
                let old = || match (&record.was, saved.member(record)) {
                    (None, _) => Some(Vec::new()),
                    (Some(_), member) => before.get(&(0, member?)).cloned(),
                };
                let pair = compared.contains(path).then(|| old().zip(after.take(path))).flatten();
                objects.push(DifferingObject {
                    package: package.clone(),
                    path: path.clone(),
                    action: *action,
                    before: record.was.clone(),
                    after: record.became.clone(),
                    content: pair.map(|(before, (after, is_edited))| ContentPair {
                        before,
                        after,
                        is_edited,
                    }),
                });
            }
        }
        objects.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(Some(objects))
    })
}

/// Paths that dpkg-divert(1) has moved since the patch.
struct DivertedPlaces(BTreeMap<ObjectPath, ObjectPath>);

impl DivertedPlaces {
    fn of(ground: &RootAndPolicy, params: Option<&Params>) -> Self {
        let Some(origin) = params.and_then(NativeOrigin::of) else { return Self(BTreeMap::new()) };
        let diverted = ground.native_index().diverted().iter().filter(|one| one.package == origin.name);
        Self(diverted.map(|one| (one.listed.clone(), one.place.clone())).collect())
    }

    fn of_path(&self, path: ObjectPath) -> ObjectPath {
        self.0.get(&path).cloned().unwrap_or(path)
    }
}

/// Both sides are small files or missing, and differ.
fn is_small(record: &ObjectRecord) -> bool {
    let is_small_side = |state: &Option<RecordedState>| {
        state.as_ref().is_none_or(|state| {
            state.kind == FileType::Regular && state.size.is_some_and(|size| size <= LARGEST_COMPARED)
        })
    };
    let digest = |state: &Option<RecordedState>| state.as_ref().and_then(RecordedState::digest);
    is_small_side(&record.was)
        && is_small_side(&record.became)
        && digest(&record.was) != digest(&record.became)
}

fn has_room(record: &ObjectRecord, room: &mut u64) -> bool {
    let size = |state: &Option<RecordedState>| state.as_ref().and_then(|state| state.size).unwrap_or(0);
    let needed = size(&record.was).saturating_add(size(&record.became));
    room.checked_sub(needed).map(|left| *room = left).is_some()
}

/// Archive members by the digest of the old file: another name of a file (hard link) has no member of its own.
struct SavedMembers(BTreeMap<Digest, PackagePath>);

impl SavedMembers {
    fn of(manifest: &UndoManifest) -> Self {
        let saved = |record: &ObjectRecord| Some((record.was.as_ref()?.digest()?, member(record)?));
        Self(manifest.objects.iter().filter_map(saved).collect())
    }

    /// Returns the archive member with the content of the old object.
    fn member(&self, record: &ObjectRecord) -> Option<PackagePath> {
        member(record).or_else(|| self.0.get(&record.was.as_ref()?.digest()?).cloned())
    }
}

/// Returns the archive member with the old object.
fn member(record: &ObjectRecord) -> Option<PackagePath> {
    PackagePath::new(&decode(record.member.as_deref()?)).ok()
}

struct Archives<'a> {
    view: &'a RecordView<'a>,
    ground: &'a RootAndPolicy,
    applied: &'a AppliedPatches,
}

struct ArchiveContent {
    path: String,
    content: UndoContent,
}

impl Archives<'_> {
    fn open(&self, package: &PkgInst, id: &PatchId) -> Result<(UndoManifest, ArchiveContent), Failure> {
        let name = installed::saved_as(self.view, package, id)?;
        let ledger = ledger::counting(self.view, package).map_err(ArchiveError::from)?;
        let reader = self.ground.undo_data(self.view, None);
        let undo = reader.find_with(package, &name, &ledger)?.telling(self.view)?;
        let path = undo.path().to_owned();
        let Some(manifest) = undo.manifest()? else {
            let reason = "another tool made it, and it has no manifest".to_owned();
            return Err(ArchiveError::Damaged { path, reason }.into());
        };
        let content = undo.content(Some(&manifest))?;
        Ok((manifest, ArchiveContent { path, content }))
    }

    /// Skips unreadable manifests.
    fn later(&self, package: &PkgInst, id: &PatchId) -> Vec<(PatchId, UndoManifest)> {
        let Ok(ledger) = ledger::counting(self.view, package) else { return Vec::new() };
        let reader = self.ground.undo_data(self.view, None);
        let records = self.applied.records_of(package).into_iter();
        let later = records.flat_map(|records| records.list.iter().skip_while(|other| *other != id).skip(1));
        let manifest = |other: &PatchId| {
            let name = installed::saved_as(self.view, package, other).ok()?;
            let manifest = reader.known_manifest(package, &name, &ledger, &never).ok()??;
            Some((other.clone(), manifest))
        };
        later.filter_map(manifest).collect()
    }
}

impl ArchiveContent {
    fn bytes(&self, wanted: &HashSet<(usize, PackagePath)>) -> Result<SourceBytes, ArchiveError> {
        let UndoContent { source, image, .. } = &self.content;
        let mut sources = ArchiveSources(vec![OneSource { source, image }]);
        source_bytes(&mut sources, wanted, LARGEST_COMPARED, &never).map_err(|error| ArchiveError::Damaged {
            path: self.path.clone(),
            reason: Cause::from(error).to_string(),
        })
    }
}

/// True for an edited file instead.
#[derive(Default)]
struct AfterFiles(BTreeMap<ObjectPath, (Vec<u8>, bool)>);

impl AfterFiles {
    fn read(
        archives: &Archives<'_>,
        (package, id): (&PkgInst, &PatchId),
        changed: &[(&ObjectRecord, ObjectPath, ObjectAction)],
        compared: &HashSet<&ObjectPath>,
    ) -> Result<Self, Failure> {
        let mut found = Self::default();
        let mut missing: Vec<(&ObjectPath, Digest, Option<Vec<u8>>)> = Vec::new();
        for (record, path, _) in changed.iter().filter(|(_, path, _)| compared.contains(path)) {
            let Some(digest) = record.became.as_ref().and_then(RecordedState::digest) else {
                found.0.extend(record.became.is_none().then(|| (path.clone(), (Vec::new(), false))));
                continue;
            };
            match live_bytes(&archives.ground.root, path, LARGEST_COMPARED)? {
                Some(bytes) if Digest::of(&bytes) == digest => {
                    found.0.insert(path.clone(), (bytes, false));
                }
                other => missing.push((path, digest, other)),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        for (later, manifest) in archives.later(package, id) {
            let members = SavedMembers::of(&manifest);
            let saved = manifest.objects.iter().filter_map(|record| {
                let path = record.object_path()?;
                let (path, digest, _) = missing.iter().find(|(missing, ..)| **missing == path)?;
                let is_it = record.was.as_ref().and_then(RecordedState::digest) == Some(*digest);
                let is_new = is_it && !found.0.contains_key(*path);
                Some(((0, members.member(record)?), (*path).clone())).filter(|_| is_new)
            });
            let saved: Vec<((usize, PackagePath), ObjectPath)> = saved.collect();
            if saved.is_empty() {
                continue;
            }
            // `check` reports unreadable undo data.
            let Ok((_, content)) = archives.open(package, &later) else { continue };
            let wanted = saved.iter().map(|(member, _)| member.clone()).collect();
            let bytes = content.bytes(&wanted).unwrap_or_default();
            for (member, path) in saved {
                found.0.extend(bytes.get(&member).map(|bytes| (path, (bytes.clone(), false))));
            }
        }
        for (path, _, live) in missing {
            if let Some(live) = live.filter(|_| !found.0.contains_key(path)) {
                found.0.insert(path.clone(), (live, true));
            }
        }
        Ok(found)
    }

    fn take(&mut self, path: &ObjectPath) -> Option<(Vec<u8>, bool)> {
        self.0.remove(path)
    }
}
