//! Undo data of patches in a stage, verified by its ledger and compared with both trees.

use std::collections::BTreeMap;

use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use crate::operation::stages::tree::Tree;
use crate::three_way::of_recorded;
use patchadm_changeset::format::manifest::{RecordedState, UndoManifest};
use patchadm_changeset::format::run::Run;
use patchadm_changeset::plan::BroughtLine;
use patchadm_inputs::database::undo_data::ArchiveError;
use patchadm_inputs::database::{RecordView, ledger};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_inputs::stage::ComparedAttributes;
use patchadm_planning::plan::promotion::{BroughtObject, FoundByPatch};
use patchadm_planning::plan::refusal::{BroughtReason, PromotionReason, Reason};
use patchadm_rootfs::{FileType, Interrupt, Root, Timestamp};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

pub(in crate::operation::stages) struct StagedUndo<'a> {
    ground: &'a RootAndPolicy,
    package: &'a PkgInst,
    ledger: Ledger,
    interrupt: Interrupt<'a>,
}

pub(in crate::operation::stages) struct StagedPatch {
    pub(in crate::operation::stages) manifest: UndoManifest,
    pub(in crate::operation::stages) line: BroughtLine,
    pub(in crate::operation::stages) run: u64,
}

impl<'a> StagedUndo<'a> {
    pub(in crate::operation::stages) fn of(
        ground: &'a RootAndPolicy,
        package: &'a PkgInst,
        interrupt: Interrupt<'a>,
    ) -> Result<Self, BroughtFailure> {
        let ledger = ledger_of(&RecordView::live(&ground.root), package)?;
        Ok(Self { ground, package, ledger, interrupt })
    }

    pub(in crate::operation::stages) fn patch(
        &self,
        id: &PatchId,
        saved_as: &str,
    ) -> Result<StagedPatch, BroughtFailure> {
        let (package, patch) = (self.package.clone(), id.clone());
        let Some(line) = self.ledger.line(saved_as) else {
            return Err(BroughtReason::NotKnown { package, patch }.into());
        };
        let manifest = match self.manifest(saved_as).map_err(unusable)? {
            Told::By(manifest) => *manifest,
            Told::Outside => return Err(BroughtReason::UndoOutside { package, patch }.into()),
            Told::Nothing => return Err(BroughtReason::NotKnown { package, patch }.into()),
        };
        let run = Run::parse(line.applied_by.as_deref().unwrap_or(&line.run));
        let line = BroughtLine { patch: saved_as.to_owned(), text: Ledger::of_line(line.clone()).write() };
        Ok(StagedPatch { manifest, line, run: run.map_or(0, |run| run.number) })
    }

    fn manifest(&self, saved_as: &str) -> Result<Told, ArchiveError> {
        let view = RecordView::live(&self.ground.root);
        let reader = self.ground.undo_data(&view, None);
        if let Some(kept) = reader.kept_manifest(self.package, saved_as, &self.ledger)? {
            return Ok(Told::By(Box::new(kept)));
        }
        let found = match reader.find_with(self.package, saved_as, &self.ledger) {
            Err(ArchiveError::Outside { .. }) => return Ok(Told::Outside),
            Ok(found) if found.is_remote() => return Ok(Told::Outside),
            found => found?,
        };
        let told = found.verify(&view, None, self.interrupt)?.manifest;
        Ok(told.map_or(Told::Nothing, |manifest| Told::By(Box::new(manifest))))
    }
}

pub(in crate::operation::stages) fn ledger_of(
    view: &RecordView<'_>,
    package: &PkgInst,
) -> Result<Ledger, BroughtFailure> {
    ledger::counting(view, package).map_err(|fault| unusable(fault.into()))
}

/// Damage of the stage, unless it is a read error or a signal.
fn unusable(error: ArchiveError) -> BroughtFailure {
    match error {
        ArchiveError::Root(_) | ArchiveError::View(_) | ArchiveError::Interrupted(_) => {
            BroughtFailure::Failed(error.into())
        }
        other => BroughtFailure::Refused(BroughtReason::DamagedUndo(other.to_string())),
    }
}

enum Told {
    By(Box<UndoManifest>),
    Nothing,
    Outside,
}

#[derive(Debug)]
pub(in crate::operation::stages) enum BroughtFailure {
    Refused(BroughtReason),
    Failed(Failure),
}

impl BroughtFailure {
    pub(in crate::operation::stages) fn of(
        self,
        stage: &Root,
        refuse: impl FnOnce(Reason) -> Failure,
    ) -> Failure {
        match self {
            Self::Refused(reason) => {
                let stage = stage.prefix().display().to_string();
                refuse(Reason::Promotion(PromotionReason::Brought { stage, reason }))
            }
            Self::Failed(failure) => failure,
        }
    }
}

impl From<BroughtReason> for BroughtFailure {
    fn from(reason: BroughtReason) -> Self {
        Self::Refused(reason)
    }
}

impl<E: Into<Failure>> From<E> for BroughtFailure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// In order of application.
#[derive(Debug, Default)]
pub(in crate::operation::stages) struct SidePaths {
    objects: BTreeMap<ObjectPath, PatchedPath>,
    pub(in crate::operation::stages) lines: BTreeMap<ObjectPath, PkgInst>,
}

#[derive(Debug)]
struct PatchedPath {
    first: PatchId,
    was: Option<RecordedState>,
    last: PatchId,
    package: PkgInst,
    became: Option<RecordedState>,
}

pub(in crate::operation::stages) struct ComparedSides<'a> {
    pub(in crate::operation::stages) stage: &'a Tree,
    pub(in crate::operation::stages) live: &'a Tree,
    pub(in crate::operation::stages) is_promoted: &'a dyn Fn(&ObjectPath) -> bool,
    pub(in crate::operation::stages) compared: ComparedAttributes,
}

impl SidePaths {
    pub(in crate::operation::stages) fn add(&mut self, id: &PatchId, package: &PkgInst, patch: &StagedPatch) {
        for record in &patch.manifest.objects {
            let Some(path) = record.object_path() else { continue };
            if record.line != record.new_line {
                self.lines.insert(path.clone(), package.clone());
            }
            if record.is_untouched() {
                continue;
            }
            let changed = self.objects.entry(path).or_insert_with(|| PatchedPath {
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

    pub(in crate::operation::stages) fn objects(&self) -> impl Iterator<Item = &ObjectPath> {
        self.objects.keys()
    }

    /// Returns added and removed objects.
    pub(in crate::operation::stages) fn compared(
        &self,
        sides: &ComparedSides<'_>,
    ) -> Result<BTreeMap<ObjectPath, BroughtObject>, BroughtReason> {
        self.compared_with(sides, true)
    }

    /// For patches that the root lacks: the three-way rule decides about existing objects of the root.
    pub(in crate::operation::stages) fn compared_with_stage(
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

pub(in crate::operation::stages) fn found_by(patches: &[StagedPatch]) -> BTreeMap<ObjectPath, FoundByPatch> {
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

/// Ignores times and links; a symbolic link's mode cannot be set.
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
