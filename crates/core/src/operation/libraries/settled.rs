//! A plan with its question about libraries, and the changes of the plan that answer it.

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

/// A plan whose libraries are to be settled.
pub(in crate::operation) struct PlanToSettle<'a> {
    /// The plan, made as if nothing were kept.
    pub(in crate::operation) plan: &'a Plan,
    /// The inventory that it was made with.
    pub(in crate::operation) inventory: &'a Inventory,
    /// The command, for refusals.
    pub(in crate::operation) command: Command,
    /// The remover of libraries, by its name in the records of kept ones: a patch, or a command.
    pub(in crate::operation) by: &'a str,
    /// Whether the patch forbids keeping.
    pub(in crate::operation) forbids: bool,
    /// The kept libraries in the archives from which it restores.
    pub(in crate::operation) archived: Option<&'a ArchivedLibraries>,
}

impl<'a> PlanToSettle<'a> {
    /// Returns the plan of a command that takes libraries away in its own name, and has no word about keeping them.
    pub(in crate::operation) fn of(
        (plan, inventory): (&'a Plan, &'a Inventory),
        command: Command,
        by: &'a str,
    ) -> Self {
        Self { plan, inventory, command, by, forbids: false, archived: None }
    }
}

/// The decisions about libraries in a plan.
pub(in crate::operation) struct SettledLibraries {
    pub(super) settlement: KeptSettlement,
    pub(super) saved: SavedLibraries,
    pub(super) report: Option<LibraryReport>,
    /// The same, in sentences.
    pub(super) sentences: Vec<String>,
}

impl SettledLibraries {
    /// Changes the plan of a patch, which then has the report.
    pub(in crate::operation) fn apply(self, patch: &mut PatchPlan) {
        patch.keep_libraries(&self.settlement);
        self.saved.put_into(&mut patch.plan);
        patch.plan.notes.extend(self.sentences);
        patch.libraries = self.report;
    }

    /// Tells whether the plan would remove what is at a path, and it stays.
    pub(in crate::operation) fn leaves(&self, path: &ObjectPath) -> bool {
        self.settlement.unmade.contains(path)
    }

    /// Returns the kept objects that exist before and after the plan.
    pub(in crate::operation) fn staying(&self) -> BTreeMap<ObjectPath, Live> {
        self.settlement.staying()
    }

    /// Returns what stays because a package of dpkg or rpm owns it now, in sentences.
    pub(super) fn native_notes(&self) -> &[String] {
        &self.settlement.notes
    }

    /// Changes a plan. Returns the report.
    pub(in crate::operation) fn apply_to_plan(self, plan: &mut Plan) -> Option<LibraryReport> {
        self.settlement.apply(plan);
        self.saved.put_into(plan);
        plan.notes.extend(self.sentences);
        self.report
    }
}

/// Returns the refusal of a plan.
pub(super) fn refused(asked: &PlanToSettle<'_>, reason: Reason) -> Failure {
    let subject = asked.plan.patches.first().cloned();
    let subject = subject.or_else(|| asked.plan.packages.first().map(ToString::to_string));
    reason.shown(asked.inventory).of(asked.command, &subject.unwrap_or_default()).into()
}
