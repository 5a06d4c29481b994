use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::operands::SignatureRequest;
use crate::operation::changed_texts::ChangedTexts;
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryRequest;
use crate::operation::patches::after_run::AfterRun;
use crate::operation::patches::preparation::{PreparationReport, PreparationRequest};
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::plan_file::PlanFileRequest;
use crate::operation::queries::reasons::PatchReasons;
use crate::operation::running::UsingProcess;
use crate::operation::trial::{TrialOutcome, TrialRequest};
use patchadm_changeset::format::history::SignatureRecord;
use patchadm_changeset::plan::UndoFormat;
use patchadm_changeset::transaction::{ExchangeReport, ExchangeRequest, Receipt, Recovered};
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_inputs::policy::Edited;
use patchadm_planning::analyze::AnalysisRequest;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::edits::EditableFiles;
use patchadm_planning::plan::kept_libraries::{KeptLibrary, LibraryReport};
use patchadm_planning::plan::patch::engine::PlannedScript;
use patchadm_planning::plan::patch::patch_plan::{MovedObject, PatchListChange};
use patchadm_planning::resolve::SetRequest;
use patchadm_rootfs::Digest;
use patchadm_svr4::package::ObjectPath;

/// Missing options fall back to the policy.
#[derive(Clone, Debug, Default)]
pub struct ApplyRequest {
    /// Paths or addresses; not used with a depot.
    pub patches: Vec<PathBuf>,
    /// `None` if the patches are named by their paths.
    pub depot: Option<DepotOperands>,
    /// For a set; its patches and depot are not used.
    pub choices: SetRequest,
    pub no_undo: bool,
    /// Host directory for undo data.
    pub undo_dir: Option<PathBuf>,
    /// Compression of undo data.
    pub undo_format: Option<UndoFormat>,
    pub edited: Option<Edited>,
    /// For files of type `e` if edited files stop a patch.
    pub editable: EditableFiles,
    pub overridden: Vec<ObjectPath>,
    pub preserved: Vec<ObjectPath>,
    /// Apply applied patches again (`-u`).
    pub unconditional: bool,
    pub signature: SignatureRequest,
    pub dry_run: bool,
    /// Report texts of changed files.
    pub texts: bool,
    /// For the history.
    pub note: Option<String>,
    /// Their changes should become visible at once.
    pub exchanges: Vec<ExchangeRequest>,
    /// Prompting is allowed.
    pub conversation: bool,
    pub scripts: PatchScriptRequest,
    pub shlibs: LibraryRequest,
    pub plan_file: PlanFileRequest,
    pub preparation: PreparationRequest,
    /// The trial, and the check after the patches.
    pub trial: TrialRequest,
}

#[derive(Clone, Debug, Default)]
pub struct DepotOperands {
    /// As named; `None` for the policy's.
    pub depot: Option<OsString>,
    pub patches: PatchOperands,
}

#[derive(Clone, Debug)]
pub enum PatchOperands {
    /// Ids, or files that list ids; empty for everything current.
    Words(Vec<OsString>),
    /// Patches that an analysis of the root lists as missing, possibly none.
    Missing(Box<AnalysisRequest>),
}

impl Default for PatchOperands {
    fn default() -> Self {
        Self::Words(Vec::new())
    }
}

#[derive(Debug)]
pub struct ApplyOutcome {
    /// Or the name of the operand.
    pub id: String,
    /// `None` if refused.
    pub plan: Option<Plan>,
    /// Changes by a refused patch (dry run only), if computable.
    pub refused_plan: Option<Plan>,
    /// Requirements and packages of a refused patch (dry run only).
    pub reasons: Option<Box<PatchReasons>>,
    pub scripts: Vec<PlannedScript>,
    /// Edited objects that it replaces or deletes.
    pub replaced_edits: Vec<ObjectPath>,
    /// Recorded objects that were missing and are recreated.
    pub missing: Vec<ObjectPath>,
    /// Objects whose undo data moves to a patch that stays (backout only).
    pub moved: Vec<MovedObject>,
    /// Includes those of a refused patch.
    pub lists: Vec<PatchListChange>,
    /// Dry run only.
    pub delivered: BTreeMap<ObjectPath, Digest>,
    /// Dry run only, on request.
    pub texts: ChangedTexts,
    /// `None` if signatures are not checked, or the patch is unreadable.
    pub signature: Option<SignatureRecord>,
    /// Requested by patchinfo or README.
    pub reboot: Option<&'static str>,
    /// Programs that use replaced files, and need a restart.
    pub in_use: Vec<UsingProcess>,
    /// `None` if not examined.
    pub libraries: Option<LibraryReport>,
    /// Old libraries kept because running programs still use them.
    pub kept: Vec<KeptLibrary>,
    /// `None` for a patch that was named by its path.
    pub set: Option<SetMembership>,
    /// A dry run succeeds without a receipt.
    pub result: Result<Option<Receipt>, Failure>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetMembership {
    pub is_named: bool,
    /// The patches that require it.
    pub because: Vec<String>,
    pub depot: Option<String>,
}

/// In order of application.
#[derive(Debug, Default)]
pub struct ApplyReport {
    pub recovered: Recovered,
    pub preparation: PreparationReport,
    pub patches: Vec<ApplyOutcome>,
    /// Per directory, actual or projected.
    pub exchanges: Vec<ExchangeReport>,
    pub after: AfterRun,
    pub trial: Option<TrialOutcome>,
    /// Dry run only, on request.
    pub plan_file: Option<Box<PlanFile>>,
    /// Why the caller could not perform the plan of a dry run: the root is read-only, or belongs to somebody else.
    pub refused: Option<Failure>,
}

impl ApplyOutcome {
    pub(in crate::operation::patches) fn refused(
        id: String,
        reboot: Option<&'static str>,
        failure: Failure,
    ) -> Self {
        Self {
            id,
            plan: None,
            refused_plan: None,
            reasons: None,
            scripts: Vec::new(),
            replaced_edits: Vec::new(),
            missing: Vec::new(),
            moved: Vec::new(),
            lists: Vec::new(),
            delivered: BTreeMap::new(),
            texts: ChangedTexts::new(),
            signature: None,
            reboot,
            in_use: Vec::new(),
            libraries: None,
            kept: Vec::new(),
            set: None,
            result: Err(failure),
        }
    }
}
