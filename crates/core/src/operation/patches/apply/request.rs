//! The request to patchadd(1M), and the report.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::signatures::SignatureRequest;
use crate::operation::changed_texts::ChangedTexts;
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryRequest;
use crate::operation::patches::after_run::AfterRun;
use crate::operation::patches::in_use::UsingProcess;
use crate::operation::patches::prepared::{PreparationReport, PreparationRequest};
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::plan_file::PlanFileRequest;
use crate::operation::queries::reasons::PatchReasons;
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

/// A request to apply patches. An option that is not given falls back to the policy of the root.
#[derive(Clone, Debug, Default)]
pub struct ApplyRequest {
    /// The paths or addresses of the patches; not used with a depot.
    pub patches: Vec<PathBuf>,
    /// The depot that has the patches; `None` if they are named by their paths.
    pub depot: Option<DepotOperands>,
    /// The choices for a set of patches; the patches and the depot in it are not used.
    pub choices: SetRequest,
    /// Keep no undo data.
    pub no_undo: bool,
    /// The directory of the host below which undo data is kept.
    pub undo_dir: Option<PathBuf>,
    /// The compression of undo data.
    pub undo_format: Option<UndoFormat>,
    /// The treatment of edited files.
    pub edited: Option<Edited>,
    /// The treatment of edited files of type `e` if edited files stop a patch.
    pub editable: EditableFiles,
    /// Edited files that are always replaced.
    pub overridden: Vec<ObjectPath>,
    /// Edited files that are always kept.
    pub preserved: Vec<ObjectPath>,
    /// Apply patches again that are applied (`-u`).
    pub unconditional: bool,
    /// The demands on signatures.
    pub signature: SignatureRequest,
    /// Plan only; nothing is changed.
    pub dry_run: bool,
    /// Report the texts of the files that a plan changes.
    pub texts: bool,
    /// The note for the history.
    pub note: Option<String>,
    /// The directories whose changes should become visible at once.
    pub exchanges: Vec<ExchangeRequest>,
    /// True if prompting is allowed.
    pub conversation: bool,
    /// The options about scripts.
    pub scripts: PatchScriptRequest,
    /// The options about libraries that other files need.
    pub shlibs: LibraryRequest,
    /// How to use a plan file.
    pub plan_file: PlanFileRequest,
    /// The work before the patches.
    pub preparation: PreparationRequest,
    /// The trial of the patches, and the check that follows them.
    pub trial: TrialRequest,
}

/// The named patches of a depot.
#[derive(Clone, Debug, Default)]
pub struct DepotOperands {
    /// The depot, as it was named; `None` for the one of the policy.
    pub depot: Option<OsString>,
    /// Its patches that are named.
    pub patches: PatchOperands,
}

/// The patches of a depot that are named.
#[derive(Clone, Debug)]
pub enum PatchOperands {
    /// Ids, or files that list ids; everything current if there are none.
    Words(Vec<OsString>),
    /// The patches that an analysis of the root lists as missing; there may be none.
    Missing(Box<AnalysisRequest>),
}

impl Default for PatchOperands {
    fn default() -> Self {
        Self::Words(Vec::new())
    }
}

/// The outcome of one patch.
#[derive(Debug)]
pub struct ApplyOutcome {
    /// Its id, or the name of the operand if it has none.
    pub id: String,
    /// The plan; `None` if the patch was refused.
    pub plan: Option<Plan>,
    /// What a refused patch would change (dry run only); `None` if that cannot be computed.
    pub refused_plan: Option<Plan>,
    /// The requirements and packages of a refused patch (dry run only).
    pub reasons: Option<Box<PatchReasons>>,
    /// The scripts that run.
    pub scripts: Vec<PlannedScript>,
    /// Locally modified objects that it replaces or deletes.
    pub replaced_edits: Vec<ObjectPath>,
    /// Recorded objects that were missing and are made again.
    pub missing: Vec<ObjectPath>,
    /// Objects whose undo data moves to a patch that stays (backout only).
    pub moved: Vec<MovedObject>,
    /// The changes of the patch lists of its packages, also those of a refused patch.
    pub lists: Vec<PatchListChange>,
    /// The digests of the files that it delivers (dry run only).
    pub delivered: BTreeMap<ObjectPath, Digest>,
    /// The texts of the files that change (dry run only, on request).
    pub texts: ChangedTexts,
    /// Its signature; `None` if signatures are not checked, or the patch could not be read.
    pub signature: Option<SignatureRecord>,
    /// The reboot that patchinfo or README requests after installation.
    pub reboot: Option<&'static str>,
    /// Programs that run from, or have mapped, what the patch replaces: they run the old version until they are
    /// restarted.
    pub in_use: Vec<UsingProcess>,
    /// The report on libraries; `None` if they were not examined.
    pub libraries: Option<LibraryReport>,
    /// Old libraries kept because running programs still use them.
    pub kept: Vec<KeptLibrary>,
    /// Its place in the set that it is part of; `None` for a patch that was named by its path.
    pub set: Option<SetMembership>,
    /// The receipt of the run, or the reason why there was none. A dry run succeeds without a receipt.
    pub result: Result<Option<Receipt>, Failure>,
}

/// The place of a patch in a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetMembership {
    /// True if it was named.
    pub is_named: bool,
    /// The patches for which it is pulled in.
    pub because: Vec<String>,
    /// The depot that has it.
    pub depot: Option<String>,
}

/// The outcomes of all patches of a command, in the order of application.
#[derive(Debug, Default)]
pub struct ApplyReport {
    /// The unfinished run that was recovered first.
    pub recovered: Recovered,
    /// The work before the patches.
    pub preparation: PreparationReport,
    /// The outcomes, patch by patch.
    pub patches: Vec<ApplyOutcome>,
    /// How the changes below each directory to be exchanged became visible, or would.
    pub exchanges: Vec<ExchangeReport>,
    /// The work after the run, by the policy.
    pub after: AfterRun,
    /// The trial of the patches, and its end.
    pub trial: Option<TrialOutcome>,
    /// The plan as a plan file has it (dry run only, on request).
    pub plan_file: Option<Box<PlanFile>>,
    /// Why the caller could not perform the plan of a dry run: the root is not theirs to change, or read-only.
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
