//! The request to patchrm(1M), and the report.

use std::path::PathBuf;

use crate::operation::changed_texts::ChangedTexts;
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryRequest;
use crate::operation::patches::prepared::PreparationReport;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::patches::undone_run::UndoneRun;
use crate::operation::plan_file::PlanFileRequest;
use patchadm_changeset::transaction::{ExchangeReport, ExchangeRequest, Receipt, Recovered};
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::patch::engine::PlannedScript;
use patchadm_planning::plan::patch::patch_plan::{MovedObject, PatchListChange, PatchPlan};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

/// The options of patchrm(1M).
#[derive(Clone, Debug, Default)]
pub struct BackOutRequest {
    /// The ids, as they were typed.
    pub ids: Vec<String>,
    /// Back out although superseded or obsoleted (`-f`).
    pub force: bool,
    /// Back out the patches that require them, too.
    pub with_dependents: bool,
    /// Back out all patches that were applied after this patch, date or run.
    pub down_to: Option<String>,
    /// Back out all patches in one run, or none.
    pub all_or_nothing: bool,
    /// The run that is undone; `ids` are its patches.
    pub undone: Option<UndoneRun>,
    /// The directory with the undo archives, when they were moved.
    pub moved_to: Option<PathBuf>,
    /// Plan only; nothing is changed.
    pub dry_run: bool,
    /// Report the texts of the files that a plan changes.
    pub texts: bool,
    /// The note for the history.
    pub note: Option<String>,
    /// The directories whose changes should become visible at once.
    pub exchanges: Vec<ExchangeRequest>,
    /// The options about scripts.
    pub scripts: PatchScriptRequest,
    /// The options about libraries that other files need.
    pub shlibs: LibraryRequest,
    /// Refresh stale registrations first.
    pub refresh: bool,
    /// The plan that must still hold. There is no file of it.
    pub plan_file: PlanFileRequest,
}

/// The outcome of one patch.
#[derive(Debug)]
pub struct BackOutOutcome {
    /// The id of the patch.
    pub id: String,
    /// The plan; `None` if the backout was refused.
    pub plan: Option<Plan>,
    /// The scripts that run.
    pub scripts: Vec<PlannedScript>,
    /// Locally modified objects that it replaces or deletes.
    pub replaced_edits: Vec<ObjectPath>,
    /// Recorded objects that were missing and are made again.
    pub missing: Vec<ObjectPath>,
    /// Objects whose undo data moves to a patch that stays.
    pub moved: Vec<MovedObject>,
    /// The changes of the patch lists of its packages.
    pub lists: Vec<PatchListChange>,
    /// The texts of the files that change (dry run only, on request).
    pub texts: ChangedTexts,
    /// The report on libraries; `None` if they were not examined.
    pub libraries: Option<LibraryReport>,
    /// The receipt of the run, or the reason why there was none. A dry run succeeds without a receipt.
    pub result: Result<Option<Receipt>, Failure>,
}

/// The outcomes of all patches of a command, in the order of their removal.
#[derive(Debug, Default)]
pub struct BackOutReport {
    /// The unfinished run that was recovered first.
    pub recovered: Recovered,
    /// The work before the patches.
    pub preparation: PreparationReport,
    /// The outcomes, patch by patch.
    pub patches: Vec<BackOutOutcome>,
    /// How the changes below each directory to be exchanged became visible, or would.
    pub exchanges: Vec<ExchangeReport>,
    /// The plan as a plan file has it (dry run only, on request).
    pub plan_file: Option<Box<PlanFile>>,
    /// Why the caller could not perform the plan of a dry run: the root is not theirs to change, or read-only.
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
