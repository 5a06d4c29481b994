//! What an installation or removal does to libraries that others need.

use crate::operation::failure::Failure;
use crate::operation::libraries::{
    LaterContent, LibraryKeeper, LibraryRequest, PlanToSettle, SettledLibraries,
};
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::transaction::ContentSource;
use patchadm_inputs::inventory::Inventory;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::refusal::Command;

/// A plan about a package.
pub(crate) struct PackagePlanToSettle<'a> {
    pub(crate) ground: &'a RootAndPolicy,
    pub(crate) request: LibraryRequest,
    pub(crate) now: &'a Now,
    /// Whether the lock is held.
    pub(crate) is_run: bool,
    /// The plan, made as if nothing were kept.
    pub(crate) plan: &'a Plan,
    /// What it was made against.
    pub(crate) inventory: &'a Inventory,
    pub(crate) command: Command,
}

impl PackagePlanToSettle<'_> {
    /// Settles what becomes of libraries in the plan.
    pub(crate) fn settle(
        &self,
        content: &mut dyn ContentSource,
    ) -> Result<Option<SettledLibraries>, Failure> {
        let mut keeper = LibraryKeeper::new(self.ground, self.request, self.now, self.is_run);
        let asked = PlanToSettle {
            plan: self.plan,
            inventory: self.inventory,
            command: self.command,
            by: self.command.name(),
            forbids: false,
            archived: None,
        };
        keeper.settle(&asked, content, LaterContent::NotAsked)
    }
}
