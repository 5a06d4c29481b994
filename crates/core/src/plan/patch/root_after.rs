//! The root as one plan leaves it, as far as the survey of a backout would see it.
//!
//! Where links come or go, paths lead elsewhere afterwards: they are followed among the objects that are known.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_rootfs::{Live, LiveKind, Timestamp};
use patchadm_svr4::package::ObjectPath;

use super::projected_root::ProjectedRoot;
use crate::inventory::{Inventory, Touched};
use crate::plan::plan_builder::below;
use crate::plan::{Action, Body, Change, Plan};

/// The most links on one way, as the system follows them.
const MOST_LINKS: usize = 40;

/// The root that a plan leaves which was made for `inventory`; its file systems have room for everything.
pub(super) fn root_after(plan: &Plan, inventory: &Inventory, when: Timestamp) -> Inventory {
    let mut before = inventory.clone();
    before.file_systems = Vec::new();
    before.names = None;
    for package in &plan.packages {
        before.packages.entry(package.clone()).or_default();
    }
    let mut root = ProjectedRoot::new(before, Touched::default(), when);
    root.go_on(plan, &BTreeMap::new());
    let mut after = root.inventory;
    find_ways(plan, &mut after);
    after
}

/// Finds where paths lead once links have come and gone.
fn find_ways(plan: &Plan, after: &mut Inventory) {
    let turned: Vec<&ObjectPath> =
        plan.changes.iter().filter(|change| turns_way(change)).map(|change| &change.path).collect();
    if turned.is_empty() {
        return;
    }
    let changed: BTreeSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
    for link in turned {
        // What was seen there was seen through a link, or has gone.
        let gone: Vec<ObjectPath> =
            below(&after.live, link).filter(|path| !changed.contains(path)).cloned().collect();
        for path in gone {
            after.live.remove(&path);
        }
    }
    let ways = KnownLinks(&after.live);
    let moved = |(path, known): (&ObjectPath, &ObjectPath)| {
        let place = ways.place_of(path);
        (place != *known).then(|| (path.clone(), place))
    };
    let moved: Vec<(ObjectPath, ObjectPath)> = after.physical.iter().filter_map(moved).collect();
    for (path, place) in moved {
        if place != path {
            match after.live.get(&place).cloned() {
                Some(live) => drop(after.live.insert(path.clone(), live)),
                None => drop(after.live.remove(&path)),
            }
        }
        after.physical.insert(path, place);
    }
}

/// Whether paths may lead elsewhere after a change: a link comes or goes.
fn turns_way(change: &Change) -> bool {
    let new = match &change.action {
        Action::Add(new) | Action::Replace(new) => Some(&new.body),
        Action::Delete | Action::RemoveDirectory => None,
        Action::Attributes(_) => return false,
    };
    let was_link = change.old.as_ref().is_some_and(|old| matches!(old.kind, LiveKind::Symlink(_)));
    was_link || matches!(new, Some(Body::Symlink(_)))
}

/// The symbolic links among known objects.
pub(in crate::plan) struct KnownLinks<'a>(pub(in crate::plan) &'a BTreeMap<ObjectPath, Live>);

impl KnownLinks<'_> {
    /// Where a path is when the links among its parents are followed; as it is written where they lead in a circle.
    pub(in crate::plan) fn place_of(&self, path: &ObjectPath) -> ObjectPath {
        let place = || self.follow(&path.parent()?, &mut 0)?.join(path.name()).ok();
        place().unwrap_or_else(|| path.clone())
    }

    fn follow(&self, path: &ObjectPath, links: &mut usize) -> Option<ObjectPath> {
        let Some(parent) = path.parent() else { return Some(path.clone()) };
        let parent = self.follow(&parent, links)?;
        let here = parent.join(path.name()).ok()?;
        let Some(LiveKind::Symlink(target)) = self.0.get(&here).map(|live| &live.kind) else {
            return Some(here);
        };
        *links += 1;
        if *links > MOST_LINKS { None } else { self.walk(parent, target, links) }
    }

    fn walk(&self, from: ObjectPath, target: &[u8], links: &mut usize) -> Option<ObjectPath> {
        let mut at = if target.first() == Some(&b'/') { ObjectPath::root() } else { from };
        for part in target.split(|&byte| byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
            at = if part == b".." {
                at.parent().unwrap_or_else(ObjectPath::root)
            } else {
                self.follow(&at.join(part).ok()?, links)?
            };
        }
        Some(at)
    }
}
