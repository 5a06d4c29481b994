//! What patchadd(1M) is asked for, and what it answers.

use std::collections::BTreeMap;
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
use crate::operation::trial::{TrialOutcome, TrialRequest};
use patchadm_changeset::format::history::SignatureRecord;
use patchadm_changeset::plan::UndoFormat;
use patchadm_changeset::transaction::{ExchangeReport, ExchangeRequest, Receipt, Recovered};
use patchadm_inputs::policy::Edited;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::edits::EditableFiles;
use patchadm_planning::plan::kept_libraries::{KeptLibrary, LibraryReport};
use patchadm_planning::plan::patch::engine::PlannedScript;
use patchadm_planning::plan::patch::patch_plan::{MovedObject, PatchListChange};
use patchadm_rootfs::Digest;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::Requirement;

/// The options of patchadd(1M); an option not given falls back to the root's policy.
#[derive(Clone, Debug, Default)]
pub struct ApplyRequest {
    /// The patches, as they were named.
    pub patches: Vec<PathBuf>,
    /// Keep no undo data.
    pub no_undo: bool,
    /// The directory of the host below which undo data is kept.
    pub undo_dir: Option<PathBuf>,
    /// The compression of undo data.
    pub undo_format: Option<UndoFormat>,
    /// What happens to edited files.
    pub edited: Option<Edited>,
    /// What happens to edited files of type `e`, where edited files stop a patch.
    pub editable: EditableFiles,
    /// Edited files that are replaced in any case.
    pub overridden: Vec<ObjectPath>,
    /// Edited files that are kept in any case.
    pub preserved: Vec<ObjectPath>,
    /// A patch that is applied already is applied again (`-u`).
    pub unconditional: bool,
    /// What is demanded of signatures.
    pub signature: SignatureRequest,
    /// Plan only; nothing is changed.
    pub dry_run: bool,
    /// A plan tells the texts of the files that change, too.
    pub texts: bool,
    /// What the history is to tell of it.
    pub note: Option<String>,
    /// The directories whose changes should become visible at once.
    pub exchanges: Vec<ExchangeRequest>,
    /// Whether the caller can be asked something.
    pub conversation: bool,
    /// Which scripts run, and how.
    pub scripts: PatchScriptRequest,
    /// What becomes of libraries that others need.
    pub shlibs: LibraryRequest,
    /// What is done with a plan file.
    pub plan_file: PlanFileRequest,
    /// What comes before the patches.
    pub preparation: PreparationRequest,
    /// Whether the patches are on trial, and what checks them.
    pub trial: TrialRequest,
}

/// The outcome of one patch.
#[derive(Debug)]
pub struct ApplyOutcome {
    /// Its id, or the name of the operand where it has none.
    pub id: String,
    /// The plan, or `None` where the patch was refused.
    pub plan: Option<Plan>,
    /// Of a patch that is only planned, and refused because of edited objects: the plan that replaces these.
    pub plan_over_edits: Option<Plan>,
    /// The scripts that run.
    pub scripts: Vec<PlannedScript>,
    /// Recorded objects that were not there and are made again.
    pub missing: Vec<ObjectPath>,
    /// Of a backout: what undo data of patches that stay takes over.
    pub moved: Vec<MovedObject>,
    /// How the lists of patches of its packages change, or would have changed.
    pub lists: Vec<PatchListChange>,
    /// The digests of the files that it delivers; only of one that was planned and not carried out.
    pub delivered: BTreeMap<ObjectPath, Digest>,
    /// The texts of the files that change; only of a plan, where they are wanted.
    pub texts: ChangedTexts,
    /// What is known of its signature; `None` where it was not looked for, or the patch could not be read.
    pub signature: Option<SignatureRecord>,
    /// The reboot that patchinfo or README asks for after installation.
    pub reboot: Option<&'static str>,
    /// Programs that run from, or have mapped, what the patch replaces: they run the old version until they are
    /// restarted.
    pub in_use: Vec<UsingProcess>,
    /// What is told of libraries, where somebody looked for them.
    pub libraries: Option<LibraryReport>,
    /// The libraries from before the patch that stay for those who still load them; only of one that was applied.
    pub kept: Vec<KeptLibrary>,
    /// What it is to the set that it is part of; `None` for a patch that was named by its path.
    pub set: Option<SetMembership>,
    /// The receipt of the run, or the reason why there was none. A dry run succeeds without a receipt.
    pub result: Result<Option<Receipt>, Failure>,
}

/// What a patch is to a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetMembership {
    /// Whether it was named.
    pub is_named: bool,
    /// The patches for which it is pulled in.
    pub because: Vec<String>,
    /// The depot that has it.
    pub depot: Option<String>,
    /// The patches that it needs, by what its index says.
    pub requires: Vec<Requirement>,
}

/// The outcomes of all patches of a command, in the order they were taken.
#[derive(Debug, Default)]
pub struct ApplyReport {
    /// The run that recovery found unfinished before anything else, and what became of it.
    pub recovered: Recovered,
    /// What came before the patches.
    pub preparation: PreparationReport,
    /// The outcomes, patch by patch.
    pub patches: Vec<ApplyOutcome>,
    /// How the changes below each directory became visible, or would, that should be exchanged.
    pub exchanges: Vec<ExchangeReport>,
    /// What followed on the patches by the policy.
    pub after: AfterRun,
    /// The trial on which the run put the patches, and what followed.
    pub trial: Option<TrialOutcome>,
    /// Why the caller could not do what was only planned: the root is not theirs to change, or read-only.
    pub refused: Option<Failure>,
}

impl ApplyReport {
    /// The same plan for somebody who could not carry it out.
    pub(in crate::operation::patches) fn but(self, refused: Failure) -> Self {
        Self { refused: Some(refused), ..self }
    }
}

impl ApplyOutcome {
    /// The outcome of a patch that could not be read or planned.
    pub(in crate::operation::patches) fn refused(
        id: String,
        reboot: Option<&'static str>,
        failure: Failure,
    ) -> Self {
        Self {
            id,
            plan: None,
            plan_over_edits: None,
            scripts: Vec::new(),
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
