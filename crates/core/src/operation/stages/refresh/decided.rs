//! The decisions of a refresh about each path.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::stages::promote::brought::MovedPackages;
use crate::operation::stages::tree::{Tree, TreeObject};
use crate::three_way::{Outcome, Outcomes};
use patchadm_inputs::stage::Scope;
use patchadm_planning::plan::promotion::BroughtPatches;
use patchadm_rootfs::Inode;
use patchadm_svr4::package::ObjectPath;

/// The live tree, and the decisions about the paths of the stage.
#[derive(Debug)]
pub(super) struct DecidedRefresh {
    /// The staged paths.
    pub(super) scope: Scope,
    pub(super) live: Tree,
    pub(super) outcomes: Outcomes,
    /// The paths that the root gave up, and that stay because a package of the stage owns them: what both sides had there is
    /// no more, and the stage has them as new ones.
    pub(super) left_to_stage: BTreeSet<ObjectPath>,
    /// The directories of the stage that the decisions are about.
    pub(super) directories: BTreeMap<ObjectPath, Inode>,
    /// The patches of the root whose records come.
    pub(super) patches: BroughtPatches,
    /// The packages that came to the root, or went from it.
    pub(super) packages: MovedPackages,
    /// The base that they were compared with: `0`, or the id of a promotion.
    pub(super) base_name: String,
    /// The paths that an interrupted refresh may have brought: they are the same in both trees, and differ from the base.
    /// `None` if none was interrupted.
    pub(super) brought_before: Option<BTreeSet<ObjectPath>>,
}

impl DecidedRefresh {
    /// Returns whether anything is brought, or was brought by an interrupted refresh.
    pub(super) fn is_anything(&self) -> bool {
        self.brought().next().is_some()
            || !self.left_to_stage.is_empty()
            || self.brought_before.is_some()
            || !self.patches.packages.is_empty()
            || !self.patches.gone.is_empty()
            || !self.packages.in_bases.is_empty()
    }

    /// Returns the paths that are the same in both trees from now on.
    pub(super) fn brought(&self) -> impl Iterator<Item = &ObjectPath> {
        let now = self.outcomes.iter().filter(|(_, outcome)| changes(outcome)).map(|(path, _)| path);
        now.chain(self.brought_before.iter().flatten())
    }

    /// Returns the tree of the stage after the refresh, in a scope.
    pub(super) fn stage_after(&self, stage: Tree, scope: &Scope) -> Tree {
        let next = stage.objects.iter().filter_map(|object| object.group).max().map_or(0, |last| last + 1);
        let mut objects: BTreeMap<ObjectPath, TreeObject> =
            stage.objects.into_iter().map(|object| (object.path.clone(), object)).collect();
        for (path, outcome) in self.outcomes.iter().filter(|(path, _)| scope.contains(path)) {
            let live = self.live.object(path);
            match (outcome, live) {
                (Outcome::TakeTime, Some(live)) => {
                    if let Some(object) = objects.get_mut(path) {
                        object.live.mtime = live.live.mtime;
                    }
                }
                (outcome, Some(live)) if outcome.is_taken() => {
                    let group = live.group.map(|group| next.saturating_add(group));
                    objects.insert(path.clone(), TreeObject { group, ..live.clone() });
                }
                (outcome, _) if outcome.is_deleted() => drop(objects.remove(path)),
                _ => {}
            }
        }
        Tree { objects: objects.into_values().collect(), ..stage }
    }
}

/// Returns whether a path of the stage changes.
pub(super) fn changes(outcome: &Outcome) -> bool {
    outcome.is_taken() || outcome.is_deleted() || *outcome == Outcome::TakeTime
}
