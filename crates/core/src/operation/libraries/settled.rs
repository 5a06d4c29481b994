//! A plan that is asked about libraries, and what is done about them in it.

use std::collections::BTreeMap;

use super::archived::ArchivedLibraries;
use crate::operation::failure::Failure;
use patchadm_inputs::inventory::Inventory;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::kept_libraries::{KeptSettlement, LibraryReport, SavedLibraries};
use patchadm_planning::plan::patch::patch_plan::PatchPlan;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::Live;
use patchadm_svr4::package::ObjectPath;

/// A plan as it is asked about.
pub(in crate::operation) struct PlanToSettle<'a> {
    /// The plan, made as if nothing were kept.
    pub(in crate::operation) plan: &'a Plan,
    /// What it was made against.
    pub(in crate::operation) inventory: &'a Inventory,
    /// The command, for refusals.
    pub(in crate::operation) command: Command,
    /// What takes libraries away, as the records of kept ones have it: a patch, or a command.
    pub(in crate::operation) by: &'a str,
    /// Whether the patch forbids keeping.
    pub(in crate::operation) forbids: bool,
    /// What the archives hold that it restores from.
    pub(in crate::operation) archived: Option<&'a ArchivedLibraries>,
}

/// What is done about libraries in a plan.
pub(in crate::operation) struct SettledLibraries {
    pub(super) settlement: KeptSettlement,
    pub(super) saved: SavedLibraries,
    pub(super) report: Option<LibraryReport>,
    /// The same in sentences.
    pub(super) sentences: Vec<String>,
}

impl SettledLibraries {
    /// Changes the plan of a patch, which has what is to be told then.
    pub(in crate::operation) fn apply(self, patch: &mut PatchPlan) {
        patch.keep_libraries(&self.settlement);
        self.saved.put_into(&mut patch.plan);
        patch.plan.notes.extend(self.sentences);
        patch.libraries = self.report;
    }

    /// Tells whether the plan would take away what is at a path, and it stays.
    pub(in crate::operation) fn leaves(&self, path: &ObjectPath) -> bool {
        self.settlement.unmade.contains(path)
    }

    /// Returns the kept objects that are there before and after the plan.
    pub(in crate::operation) fn staying(&self) -> BTreeMap<ObjectPath, Live> {
        self.settlement.staying()
    }

    /// Changes a plan; what is to be told.
    pub(in crate::operation) fn apply_to_plan(self, plan: &mut Plan) -> Option<LibraryReport> {
        self.settlement.apply(plan);
        self.saved.put_into(plan);
        plan.notes.extend(self.sentences);
        self.report
    }
}

/// The refusal of a plan.
pub(super) fn refused(asked: &PlanToSettle<'_>, reason: Reason) -> Failure {
    let subject = asked.plan.patches.first().cloned();
    let subject = subject.or_else(|| asked.plan.packages.first().map(ToString::to_string));
    reason.shown(asked.inventory).of(asked.command, &subject.unwrap_or_default()).into()
}
