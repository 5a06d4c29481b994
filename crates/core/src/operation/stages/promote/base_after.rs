//! The base that a promotion leaves.

use super::made_plan::MadePlan;
use super::sides::PromotedTree;
use crate::operation::stages::error::StageError;
use crate::operation::stages::own_files::{Stage, put_base};
use crate::stage::{BaseHeader, BaseObject, base_name};
use patchadm_svr4::patch::PatchId;

/// The base that a promotion leaves.
pub(super) struct BaseAfter<'a> {
    stage: Option<&'a Stage>,
    id: &'a PatchId,
    header: Option<BaseHeader>,
    objects: Vec<BaseObject>,
}

impl<'a> BaseAfter<'a> {
    /// Works it out: the stage as it was read, and beside that what the base in force says.
    pub(super) fn of(tree: &'a PromotedTree, made: &'a MadePlan) -> Self {
        let header = made.base.as_ref().map(|force| BaseHeader {
            packages: made.base_packages(&force.base),
            ..force.base.header.clone()
        });
        let objects = made.base.as_ref().map(|force| made.base_after(&force.base)).unwrap_or_default();
        Self { stage: tree.stage.as_ref(), id: &made.id, header, objects }
    }

    /// Writes it, for the run of this name. Afterwards, no power cut loses it.
    pub(super) fn put(&self, run: &str) -> Result<(), StageError> {
        let (Some(stage), Some(header)) = (self.stage, &self.header) else { return Ok(()) };
        let header = BaseHeader { promotion: Some((self.id.clone(), run.to_owned())), ..header.clone() };
        put_base(&stage.own, &base_name(self.id), &header, &self.objects)
    }
}
