//! What backing a patch out would change, object by object, with the bytes of small files before and after.
//!
//! The planner of backouts decides; here its plan is read. Nothing is locked or changed.

use std::collections::{HashMap, HashSet};

use super::input::BackOutInput;
use super::planning::{PlannedBackout, plan};
use super::request::BackOutRequest;
use crate::operation::content::{ContentPlace, SourceBytes, live_bytes, source_bytes};
use crate::operation::failure::Failure;
use crate::operation::queries::patch_objects::ObjectAction;
use crate::operation::queries::recorded_path::PathFinder;
use crate::operation::session::{RootAndPolicy, must_agree, must_have_database, without_lock};
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, decode};
use patchadm_changeset::transaction::{Cause, StreamError};
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::patch::backout_input::LaterUndo;
use patchadm_planning::plan::states::{state_after, state_before};
use patchadm_planning::plan::{Action, Change, Member, UndoArchive};
use patchadm_rootfs::{FileType, Root, never};
use patchadm_svr4::package::{ObjectPath, PackagePath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The largest file whose bytes are compared: 512 KiB.
pub const LARGEST_COMPARED: u64 = 512 << 10;

/// The most bytes of files that are held at a time, of each side: 64 MiB.
const MOST_BYTES: u64 = 64 << 20;

/// The changes of a backout.
#[derive(Debug, Default)]
pub struct BackoutPreview {
    /// The objects, sorted by path.
    pub objects: Vec<PreviewedObject>,
    /// The notes of the plan.
    pub notes: Vec<String>,
    /// True if scripts take part, which may change more.
    pub has_scripts: bool,
}

/// An object that would change, or whose saved version would go into other undo data.
#[derive(Debug)]
pub struct PreviewedObject {
    /// The package.
    pub package: PkgInst,
    /// The path.
    pub path: ObjectPath,
    /// The change of the object in the tree.
    pub action: ObjectAction,
    /// The present state; with `to`, that in the undo data of that patch.
    pub now: Option<RecordedState>,
    /// The future state; with `to`, that in the undo data of that patch.
    pub then: Option<RecordedState>,
    /// The bytes of both, where each is a file of at most [`LARGEST_COMPARED`] bytes, or not there.
    pub content: Option<ContentPair>,
    /// The patch into whose undo data the saved version goes.
    pub to: Option<String>,
}

/// The bytes of a file before and after.
#[derive(Debug, Default)]
pub struct ContentPair {
    /// The bytes now; empty if there is no file.
    pub now: Vec<u8>,
    /// The bytes then; empty if there is no file.
    pub then: Vec<u8>,
}

struct PlacedObject {
    object: PreviewedObject,
    now: ContentPlace,
    then: ContentPlace,
}

/// Plans the backout of a patch and tells what it would change; of `paths`, and what is below them, where any are named.
pub fn preview_backout(
    root: &Root,
    id: &str,
    paths: &[ObjectPath],
    now: &Now,
) -> Result<BackoutPreview, Failure> {
    must_have_database(root)?;
    let ground = RootAndPolicy::of(root)?.for_who_may()?;
    let id = PatchId::parse(id, &ground.policy.separator);
    let id = id.map_err(|error| Failure::BadId(error.to_string()))?;
    let request = BackOutRequest { force: true, ..BackOutRequest::default() };
    without_lock(root, || {
        must_agree(root, &never, |_| false)?;
        let input = BackOutInput::of(&ground, &request, now)?;
        let planned = plan(&input, &id)?;
        let mut placed = changed(&planned);
        placed.extend(handed_on(&planned));
        if !paths.is_empty() {
            let finder = PathFinder::new(root, ground.native_index());
            placed.retain(|one| finder.is_within(&one.object.path, paths));
        }
        placed.sort_by(|one, other| one.object.path.cmp(&other.object.path));
        read_content(root, &planned, &mut placed)?;
        Ok(BackoutPreview {
            objects: placed.into_iter().map(|one| one.object).collect(),
            notes: planned.patch_plan.plan.notes.clone(),
            has_scripts: planned.patch_plan.has_scripts(),
        })
    })
}

fn changed(planned: &PlannedBackout) -> Vec<PlacedObject> {
    let changes = &planned.patch_plan.plan.changes;
    let by_path: HashMap<&ObjectPath, &Change> =
        changes.iter().map(|change| (&change.path, &**change)).collect();
    let of = |change: &Change| {
        let now = state_before(change);
        let then = state_after(change, &by_path);
        let object = PreviewedObject {
            package: change.package.clone(),
            path: change.path.clone(),
            action: ObjectAction::between(now.as_ref(), then.as_ref()),
            content: None,
            to: None,
            now,
            then,
        };
        let place = match &change.action {
            Action::Add(new) | Action::Replace(new) => ContentPlace::of(new, &by_path),
            Action::Attributes(_) => ContentPlace::Live(change.path.clone()),
            Action::Delete | Action::RemoveDirectory => ContentPlace::Nothing,
        };
        PlacedObject { object, now: ContentPlace::Live(change.path.clone()), then: place }
    };
    changes.iter().map(|change| of(change)).collect()
}

/// Returns the saved versions that move to the undo data of patches that stay, as far as the plan changes it.
fn handed_on(planned: &PlannedBackout) -> Vec<PlacedObject> {
    let mut moved = Vec::new();
    for later in planned.later() {
        let mut written = planned.patch_plan.plan.undo.iter();
        let is_it = |undo: &&UndoArchive| undo.package == *later.package && undo.patch == later.patch;
        let Some(written) = written.find(is_it) else { continue };
        let before: HashMap<&str, &ObjectRecord> =
            later.manifest.objects.iter().map(|record| (record.path.as_str(), record)).collect();
        for record in &written.manifest.objects {
            let old = before.get(record.path.as_str()).copied();
            moved.extend(handed_on_object(planned, &later, (old, record), written));
        }
    }
    moved
}

fn handed_on_object(
    planned: &PlannedBackout,
    later: &LaterUndo<'_>,
    (old, new): (Option<&ObjectRecord>, &ObjectRecord),
    written: &UndoArchive,
) -> Option<PlacedObject> {
    let (now, then) = (old.and_then(|old| old.was.clone()), new.was.clone());
    if ObjectAction::between(now.as_ref(), then.as_ref()) == ObjectAction::Unchanged {
        return None;
    }
    let path = new.object_path()?;
    let saved_now = later.archive.and_then(|archive| {
        let member = PackagePath::new(&decode(old?.member.as_deref()?)).ok()?;
        Some(ContentPlace::Source(archive.index, member))
    });
    let version = written.passing.get(&path).copied().flatten();
    let saved_then = version.and_then(|version| {
        let Member { package, path, .. } = &planned.patch_plan.plan.versions.get(version)?.member;
        Some(ContentPlace::Source(*package, path.clone()))
    });
    let object = PreviewedObject {
        package: later.package.clone(),
        path,
        action: ObjectAction::Unchanged,
        now,
        then,
        content: None,
        to: Some(later.patch.clone()),
    };
    Some(PlacedObject { object, now: saved_now.unwrap_or_default(), then: saved_then.unwrap_or_default() })
}

fn read_content(root: &Root, planned: &PlannedBackout, placed: &mut [PlacedObject]) -> Result<(), Failure> {
    let mut room = MOST_BYTES;
    let mut wanted = HashSet::new();
    for one in placed.iter_mut().filter(|one| is_small(&one.object)) {
        let size = |state: &Option<RecordedState>| state.as_ref().and_then(|state| state.size).unwrap_or(0);
        let needed = size(&one.object.now).saturating_add(size(&one.object.then));
        let Some(left) = room.checked_sub(needed) else { continue };
        room = left;
        one.object.content = Some(ContentPair::default());
        for place in [&one.now, &one.then] {
            if let ContentPlace::Source(index, path) = place {
                wanted.insert((*index, path.clone()));
            }
        }
    }
    let found = source_bytes(&mut planned.content(), &wanted, LARGEST_COMPARED)
        .map_err(|error| unreadable(planned, error))?;
    for one in placed.iter_mut().filter(|one| one.object.content.is_some()) {
        let now = bytes_of(root, &one.now, one.object.now.as_ref(), &found)?;
        let then = bytes_of(root, &one.then, one.object.then.as_ref(), &found)?;
        one.object.content = now.zip(then).map(|(now, then)| ContentPair { now, then });
    }
    Ok(())
}

fn unreadable(planned: &PlannedBackout, error: StreamError) -> Failure {
    let path = planned.undo.first().map(|one| one.at.display().to_string()).unwrap_or_default();
    ArchiveError::Damaged { path, reason: Cause::from(error).to_string() }.into()
}

/// Tells whether both sides are small files or missing, and differ.
fn is_small(object: &PreviewedObject) -> bool {
    let is_small_side = |state: &Option<RecordedState>| {
        state.as_ref().is_none_or(|state| {
            state.kind == FileType::Regular && state.size.is_some_and(|size| size <= LARGEST_COMPARED)
        })
    };
    let digest = |state: &Option<RecordedState>| state.as_ref().and_then(|state| state.b3.clone());
    is_small_side(&object.now) && is_small_side(&object.then) && digest(&object.now) != digest(&object.then)
}

fn bytes_of(
    root: &Root,
    place: &ContentPlace,
    state: Option<&RecordedState>,
    found: &SourceBytes,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some(state) = state else { return Ok(Some(Vec::new())) };
    let bytes = match place {
        ContentPlace::Source(index, path) => found.get(&(*index, path.clone())).cloned(),
        ContentPlace::Live(path) => live_bytes(root, path, LARGEST_COMPARED)?,
        ContentPlace::Nothing => None,
    };
    Ok(bytes.filter(|bytes| u64::try_from(bytes.len()).ok() == state.size))
}
