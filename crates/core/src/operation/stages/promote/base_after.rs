//! The base that a promotion leaves.

use std::sync::OnceLock;

use super::made_plan::MadePlan;
use super::sides::PromotedTree;
use crate::operation::stages::error::StageError;
use crate::operation::stages::own_files::put_base;
use patchadm_inputs::stage::{Base, BaseHeader, BaseObjects, base_name};
use patchadm_rootfs::Digest;
use patchadm_svr4::patch::PatchId;

/// The base that a promotion leaves: the stage as it was read, and for all else the contents of the base in force.
pub(super) struct BaseAfter<'a> {
    tree: &'a PromotedTree,
    made: &'a MadePlan,
    objects: OnceLock<BaseObjects>,
}

impl<'a> BaseAfter<'a> {
    /// Begins with the plan.
    pub(super) fn of(tree: &'a PromotedTree, made: &'a MadePlan) -> Self {
        Self { tree, made, objects: OnceLock::new() }
    }

    /// Computes all objects. A thread may do that while the run is staged; those who need them wait for it.
    pub(super) fn prepare(&self) -> &BaseObjects {
        self.objects.get_or_init(|| {
            let objects = self.made.base.as_ref().map(|force| self.made.base_after(&force.base));
            BaseObjects::new(objects.unwrap_or_default())
        })
    }

    /// Returns the seal of the base; `None` if the tree has no bases.
    pub(super) fn seal(&self) -> Option<Digest> {
        let force = self.made.base.as_ref()?;
        Some(self.prepare().seal(&self.header(&force.base, None)))
    }

    fn header(&self, before: &Base, promotion: Option<(PatchId, String)>) -> BaseHeader {
        BaseHeader { promotion, packages: self.made.base_packages(before), ..before.header.clone() }
    }

    /// Writes the base for the run of this name. Afterwards, no power cut loses it.
    pub(super) fn put(&self, run: &str) -> Result<(), StageError> {
        let (Some(stage), Some(force)) = (&self.tree.stage, &self.made.base) else { return Ok(()) };
        let header = self.header(&force.base, Some((self.made.id.clone(), run.to_owned())));
        put_base(&stage.own, &base_name(&self.made.id), &header, self.prepare())
    }
}
