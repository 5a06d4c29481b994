use std::path::PathBuf;

use crate::operation::changed_texts::ChangedTexts;
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryRequest;
use crate::operation::patches::prepared::PreparationReport;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::patches::undone_run::UndoneRun;
use crate::operation::plan_file::PlanFileRequest;
use patchadm_changeset::transaction::{ExchangeReport, Receipt, Recovered};
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::patch::engine::PlannedScript;
use patchadm_planning::plan::patch::patch_plan::{MovedObject, PatchListChange, PatchPlan};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

#[derive(Clone, Debug, Default)]
pub struct BackOutRequest {
    /// As typed.
    pub ids: Vec<String>,
    /// Even if superseded or obsoleted (`-f`).
    pub force: bool,
    /// Include patches that require them.
    pub with_dependents: bool,
    /// Back out all patches applied after this patch, date or run.
    pub down_to: Option<String>,
    /// One run, or nothing.
    pub all_or_nothing: bool,
    /// `ids` are the patches of this run.
    pub undone: Option<UndoneRun>,
    /// Directory of moved undo archives.
    pub moved_to: Option<PathBuf>,
    pub dry_run: bool,
    /// Report texts of changed files.
    pub texts: bool,
    /// For the history.
    pub note: Option<String>,
    /// Their changes should become visible at once.
    pub exchanges: Vec<ObjectPath>,
    pub scripts: PatchScriptRequest,
    pub shlibs: LibraryRequest,
    /// Refresh stale registrations first.
    pub refresh: bool,
    /// There is no file of it.
    pub plan_file: PlanFileRequest,
}

#[derive(Debug)]
pub struct BackOutOutcome {
    pub id: String,
    /// `None` if refused.
    pub plan: Option<Plan>,
    pub scripts: Vec<PlannedScript>,
    /// Edited objects that it replaces or deletes.
    pub replaced_edits: Vec<ObjectPath>,
    /// Recorded objects that were missing and are recreated.
    pub missing: Vec<ObjectPath>,
    /// Objects whose undo data moves to a patch that stays.
    pub moved: Vec<MovedObject>,
    pub lists: Vec<PatchListChange>,
    /// Dry run only, on request.
    pub texts: ChangedTexts,
    /// `None` if not examined.
    pub libraries: Option<LibraryReport>,
    /// A dry run succeeds without a receipt.
    pub result: Result<Option<Receipt>, Failure>,
}

/// In order of removal.
#[derive(Debug, Default)]
pub struct BackOutReport {
    pub recovered: Recovered,
    pub preparation: PreparationReport,
    pub patches: Vec<BackOutOutcome>,
    /// Per directory, actual or projected.
    pub exchanges: Vec<ExchangeReport>,
    /// Dry run only, on request.
    pub plan_file: Option<Box<PlanFile>>,
    /// Why the caller could not perform the plan of a dry run: the root is read-only, or belongs to another user.
    pub refused: Option<Failure>,
}

impl BackOutOutcome {
    pub(super) fn of(id: &PatchId, patch_plan: PatchPlan, result: Result<Option<Receipt>, Failure>) -> Self {
        let scripts = patch_plan.scripts();
        let PatchPlan { plan, replaced_edits, missing, moved, lists, libraries, .. } = patch_plan;
        let texts = ChangedTexts::new();
        Self {
            id: id.to_string(),
            plan: Some(plan),
            scripts,
            replaced_edits,
            missing,
            moved,
            lists,
            texts,
            libraries,
            result,
        }
    }

    pub(super) fn refused(id: &impl ToString, failure: Failure) -> Self {
        Self {
            id: id.to_string(),
            plan: None,
            scripts: Vec::new(),
            replaced_edits: Vec::new(),
            missing: Vec::new(),
            moved: Vec::new(),
            lists: Vec::new(),
            texts: ChangedTexts::new(),
            libraries: None,
            result: Err(failure),
        }
    }
}
