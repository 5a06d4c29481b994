//! The outcome of a patch that was applied or removed, or would be.

use std::collections::BTreeMap;

use crate::operation::changed_texts::ChangedTexts;
use crate::operation::failure::Failure;
use crate::operation::queries::reasons::PatchReasons;
use crate::operation::running::UsingProcess;
use patchadm_changeset::format::history::SignatureRecord;
use patchadm_changeset::transaction::Receipt;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::kept_libraries::{KeptLibrary, LibraryReport};
use patchadm_planning::plan::patch::engine::PlannedScript;
use patchadm_planning::plan::patch::patch_plan::{MovedObject, PatchListChange, PatchPlan};
use patchadm_rootfs::Digest;
use patchadm_svr4::package::ObjectPath;

#[derive(Debug)]
pub struct PatchOutcome {
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

impl PatchOutcome {
    /// Everything else is empty.
    pub fn new(id: String, plan: Option<Plan>, result: Result<Option<Receipt>, Failure>) -> Self {
        Self {
            id,
            plan,
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
            reboot: None,
            in_use: Vec::new(),
            libraries: None,
            kept: Vec::new(),
            set: None,
            result,
        }
    }

    pub(super) fn of(id: String, patch_plan: PatchPlan, result: Result<Option<Receipt>, Failure>) -> Self {
        let scripts = patch_plan.scripts();
        let PatchPlan { plan, replaced_edits, missing, moved, lists, libraries, .. } = patch_plan;
        let outcome = Self::new(id, Some(plan), result);
        Self { scripts, replaced_edits, missing, moved, lists, libraries, ..outcome }
    }

    pub(super) fn refused(id: String, reboot: Option<&'static str>, failure: Failure) -> Self {
        Self { reboot, ..Self::new(id, None, Err(failure)) }
    }
}
