//! The paths that patches of a stage changed. Each must be promoted, and must be on the root what the first patch found
//! there, and in the stage what the last patch left.

use std::collections::BTreeMap;

use super::undo_data::StagedPatch;
use crate::operation::stages::tree::Tree;
use crate::three_way::of_recorded;
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_inputs::stage::ComparedAttributes;
use patchadm_planning::plan::promotion::{BroughtObject, FoundByPatch};
use patchadm_planning::plan::refusal::BroughtReason;
use patchadm_rootfs::{FileType, Timestamp};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The changes of patches to objects and lines, in the order in which the patches were applied.
#[derive(Debug, Default)]
pub(super) struct ChangedPaths {
    objects: BTreeMap<ObjectPath, ChangedPath>,
    /// The paths whose lines changed, each with the package that caused it.
    pub(super) lines: BTreeMap<ObjectPath, PkgInst>,
}

/// A path that patches changed.
#[derive(Debug)]
struct ChangedPath {
    first: PatchId,
    was: Option<RecordedState>,
    last: PatchId,
    package: PkgInst,
    became: Option<RecordedState>,
}

/// The sides on which the paths are compared.
pub(in crate::operation::stages) struct ComparedSides<'a> {
    pub(in crate::operation::stages) stage: &'a Tree,
    pub(in crate::operation::stages) live: &'a Tree,
    /// Whether a path is promoted.
    pub(in crate::operation::stages) is_promoted: &'a dyn Fn(&ObjectPath) -> bool,
    pub(in crate::operation::stages) compared: ComparedAttributes,
}

impl ChangedPaths {
    /// Adds the changes of a patch to a package.
    pub(super) fn add(&mut self, id: &PatchId, package: &PkgInst, patch: &StagedPatch) {
        for record in &patch.manifest.objects {
            let Some(path) = record.object_path() else { continue };
            if record.line != record.new_line {
                self.lines.insert(path.clone(), package.clone());
            }
            if record.is_untouched() {
                continue;
            }
            let changed = self.objects.entry(path).or_insert_with(|| ChangedPath {
                first: id.clone(),
                was: record.was.clone(),
                last: id.clone(),
                package: package.clone(),
                became: None,
            });
            changed.last = id.clone();
            changed.package = package.clone();
            changed.became.clone_from(&record.became);
        }
    }

    /// Returns the paths of objects.
    pub(super) fn objects(&self) -> impl Iterator<Item = &ObjectPath> {
        self.objects.keys()
    }

    /// Compares every path on both sides. Returns the objects that come or go.
    pub(super) fn compared(
        &self,
        sides: &ComparedSides<'_>,
    ) -> Result<BTreeMap<ObjectPath, BroughtObject>, BroughtReason> {
        self.compared_with(sides, true)
    }

    /// Does the same for patches of a package that the root lacks: the three-way rule decides about existing objects of the
    /// root.
    pub(super) fn compared_with_stage(
        &self,
        sides: &ComparedSides<'_>,
    ) -> Result<BTreeMap<ObjectPath, BroughtObject>, BroughtReason> {
        self.compared_with(sides, false)
    }

    fn compared_with(
        &self,
        sides: &ComparedSides<'_>,
        is_found: bool,
    ) -> Result<BTreeMap<ObjectPath, BroughtObject>, BroughtReason> {
        let mut objects = BTreeMap::new();
        for (path, changed) in &self.objects {
            if !(sides.is_promoted)(path) {
                return Err(BroughtReason::NotPromoted { patch: changed.last.clone(), path: path.clone() });
            }
            let state = |tree: &Tree| tree.object(path).map(|object| RecordedState::of(&object.live));
            let (staged, live) = (state(sides.stage), state(sides.live));
            if !is_same(path, sides.compared, (&staged, &changed.became)) {
                return Err(BroughtReason::NotAsMade { patch: changed.last.clone(), path: path.clone() });
            }
            if is_found && !is_same(path, sides.compared, (&live, &changed.was)) {
                return Err(BroughtReason::NotAsFound { patch: changed.first.clone(), path: path.clone() });
            }
            let object = BroughtObject {
                package: changed.package.clone(),
                patch: changed.last.clone(),
                is_there: staged.is_some(),
            };
            objects.insert(path.clone(), object);
        }
        Ok(objects)
    }
}

/// Returns what the first of a package's patches found at each path that they changed, in object or line.
pub(super) fn found_by(patches: &[StagedPatch]) -> BTreeMap<ObjectPath, FoundByPatch> {
    let mut found = BTreeMap::new();
    for record in patches.iter().flat_map(|patch| &patch.manifest.objects) {
        if record.is_untouched() && record.line == record.new_line {
            continue;
        }
        if let Some(path) = record.object_path() {
            found.entry(path).or_insert_with(|| FoundByPatch {
                state: record.was.clone().map(|state| RecordedState { group: None, ..state }),
                line: record.line.clone(),
            });
        }
    }
    found
}

/// Returns whether two states are the same, except for times and other names of a file. The mode of a symbolic link cannot
/// be set.
fn is_same(
    path: &ObjectPath,
    compared: ComparedAttributes,
    (one, other): (&Option<RecordedState>, &Option<RecordedState>),
) -> bool {
    let comparable = |state: &Option<RecordedState>| {
        let state = state.clone()?;
        let mode = if state.kind == FileType::Symlink { 0 } else { state.mode };
        let state = RecordedState { mode, group: None, mtime: Timestamp::default(), ..state };
        of_recorded(path, &state, compared)
    };
    comparable(one) == comparable(other)
}
