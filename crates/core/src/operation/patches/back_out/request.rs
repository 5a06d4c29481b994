//! What patchrm(1M) is asked for, and what it answers.

use std::path::PathBuf;

use crate::operation::changed_texts::ChangedTexts;
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryRequest;
use crate::operation::patches::prepared::PreparationReport;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::patches::undone_run::UndoneRun;
use patchadm_changeset::transaction::{ExchangeReport, ExchangeRequest, Receipt, Recovered};
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
    /// What requires them goes as well.
    pub with_dependents: bool,
    /// All that were applied after this patch, date or run go.
    pub down_to: Option<String>,
    /// All go in one run, or none of them.
    pub all_or_nothing: bool,
    /// The patches of this run go, which are then `ids`.
    pub undone: Option<UndoneRun>,
    /// The directory with the undo archives, when they were moved.
    pub moved_to: Option<PathBuf>,
    /// Plan only; nothing is changed.
    pub dry_run: bool,
    /// A plan tells the texts of the files that change, too.
    pub texts: bool,
    /// What the history is to tell of it.
    pub note: Option<String>,
    /// The directories whose changes should become visible at once.
    pub exchanges: Vec<ExchangeRequest>,
    /// Which scripts run, and how.
    pub scripts: PatchScriptRequest,
    /// What becomes of libraries that others need.
    pub shlibs: LibraryRequest,
    /// Stale registrations are refreshed first.
    pub refresh: bool,
}

/// The outcome of one patch.
#[derive(Debug)]
pub struct BackOutOutcome {
    /// The id of the patch.
    pub id: String,
    /// The plan, or `None` where the backout was refused.
    pub plan: Option<Plan>,
    /// The scripts that run.
    pub scripts: Vec<PlannedScript>,
    /// Recorded objects that were not there and are made again.
    pub missing: Vec<ObjectPath>,
    /// What undo data of patches that stay takes over.
    pub moved: Vec<MovedObject>,
    /// How the lists of patches of its packages change.
    pub lists: Vec<PatchListChange>,
    /// The texts of the files that change; only of a plan, where they are wanted.
    pub texts: ChangedTexts,
    /// What is told of libraries, where somebody looked for them.
    pub libraries: Option<LibraryReport>,
    /// The receipt of the run, or the reason why there was none. A dry run succeeds without a receipt.
    pub result: Result<Option<Receipt>, Failure>,
}

/// The outcomes of all patches of a command, in the order they were taken.
#[derive(Debug, Default)]
pub struct BackOutReport {
    /// The run that recovery found unfinished before anything else, and what became of it.
    pub recovered: Recovered,
    /// What came before the patches.
    pub preparation: PreparationReport,
    /// The outcomes, patch by patch.
    pub patches: Vec<BackOutOutcome>,
    /// How the changes below each directory became visible, or would, that should be exchanged.
    pub exchanges: Vec<ExchangeReport>,
    /// Why the caller could not do what was only planned: the root is not theirs to change, or read-only.
    pub refused: Option<Failure>,
}

impl BackOutReport {
    /// The same plan for somebody who could not carry it out.
    pub(super) fn but(self, refused: Failure) -> Self {
        Self { refused: Some(refused), ..self }
    }
}

impl BackOutOutcome {
    /// The outcome of a patch, with the plan by which it was backed out.
    pub(super) fn of(id: &PatchId, scripted: PatchPlan, result: Result<Option<Receipt>, Failure>) -> Self {
        let scripts = scripted.scripts();
        let PatchPlan { plan, missing, moved, lists, libraries, .. } = scripted;
        let texts = ChangedTexts::new();
        Self {
            id: id.to_string(),
            plan: Some(plan),
            scripts,
            missing,
            moved,
            lists,
            texts,
            libraries,
            result,
        }
    }

    /// The outcome of a patch that could not be planned, or that stays.
    pub(super) fn refused(id: &impl ToString, failure: Failure) -> Self {
        Self {
            id: id.to_string(),
            plan: None,
            scripts: Vec::new(),
            missing: Vec::new(),
            moved: Vec::new(),
            lists: Vec::new(),
            texts: ChangedTexts::new(),
            libraries: None,
            result: Err(failure),
        }
    }
}
