//! The first input of a promotion: the base in force, and both trees.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::thread;

use super::bases::{BaseInForce, in_force};
use super::made_plan::PromotionReader;
use crate::operation::stages::error::StageError;
use crate::operation::stages::refresh::{StageToBe, stage_to_be};
use crate::operation::stages::tree::{Tree, TreeObject, read_tree};
use crate::operation::stages::walk::TreeRequest;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::inventory::{Touched, has_names};
use patchadm_inputs::stage::{LeftOut, Scope, StageCache};
use patchadm_svr4::patch::AppliedPatches;

impl PromotionReader<'_> {
    /// Reads the base in force, unless there is none, and the cached facts of both trees.
    pub(super) fn base_and_cache(
        &self,
        view: &RecordView<'_>,
        applied: &AppliedPatches,
    ) -> Result<(Option<BaseInForce>, StageCache), StageError> {
        let Some(stage) = &self.tree.stage else { return Ok((None, StageCache::default())) };
        // Whoever may write the stage may write its cache, too, and with it what is believed of the live tree.
        let is_believed = self.tree.left_owners.is_none();
        thread::scope(|scope| {
            let known = scope.spawn(move || if is_believed { stage.cache() } else { StageCache::default() });
            let base = (!self.request.two_way).then(|| in_force(stage, view, applied)).transpose();
            let known = known.join().unwrap_or_else(|panic| resume_unwind(panic));
            Ok((base?, known))
        })
    }

    /// Reads both trees, each in the promoted paths.
    pub(super) fn trees(
        &self,
        scope: &Scope,
        left: &LeftOut,
        known: &StageCache,
    ) -> Result<(Tree, Tree), StageError> {
        let interrupt = self.caller.interrupt;
        let request = |root, known| TreeRequest { root, scope, left, known, interrupt };
        let stage = read_tree(&request(&self.tree.root, &known.stage))?;
        let live = if scope.is_all() && self.tree.stage.is_none() {
            self.live_of(&stage)?
        } else {
            read_tree(&request(&self.ground.root, &known.live))?
        };
        Ok((stage, live))
    }

    /// Shows a rehearsal base and stage as they will be once an interrupted refresh is completed.
    pub(super) fn as_refreshed(
        &self,
        base: Option<BaseInForce>,
        stage: &mut Tree,
        scope: &Scope,
    ) -> Result<(Option<BaseInForce>, Option<StageToBe>), StageError> {
        let Some(own) = self.tree.stage.as_ref().filter(|_| self.tree.is_refresh_interrupted) else {
            return Ok((base, None));
        };
        let to_be = stage_to_be(self.ground, own, self.caller)?;
        *stage = to_be.tree(std::mem::take(stage), scope);
        let base = base.map(|force| BaseInForce { base: to_be.base(&force.base), ..force });
        Ok((base, Some(to_be)))
    }

    /// Returns the objects of the live tree at the paths of a tree without a base: nothing else of the root is read.
    fn live_of(&self, tree: &Tree) -> Result<Tree, StageError> {
        let paths = tree.objects.iter().map(|object| object.path.clone()).collect();
        let inventory =
            self.ground.survey(&Touched { paths, ..Touched::default() }, self.caller.interrupt)?;
        let mut numbers = BTreeMap::new();
        let mut objects = Vec::new();
        for TreeObject { path, .. } in &tree.objects {
            let Some(live) = inventory.live.get(path) else { continue };
            let next = u32::try_from(numbers.len() + 1).unwrap_or(u32::MAX);
            let file = (inventory.on.get(path).copied(), live.inode);
            let group = has_names(live).then(|| *numbers.entry(file).or_insert(next));
            objects.push(TreeObject { path: path.clone(), live: live.clone(), group });
        }
        Ok(Tree { objects, ..Tree::default() })
    }
}
