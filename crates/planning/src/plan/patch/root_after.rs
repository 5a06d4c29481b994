//! The root as one plan leaves it, as far as the survey of a backout would see it.
//!
//! Where links come or go, paths lead elsewhere afterwards: they are followed among the objects that are known.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_changeset::format::manifest::ObjectRecord;
use patchadm_rootfs::{LinkFollower, LiveKind, Timestamp};
use patchadm_svr4::package::ObjectPath;

use super::projected_root::ProjectedRoot;
use crate::plan::known_links::{KnownLinks, place_of};
use crate::plan::links::root_of;
use crate::plan::plan_builder::below;
use crate::plan::{Action, Body, Change, Plan};
use patchadm_inputs::inventory::{Inventory, Touched};

/// The root that a plan leaves which was made for `inventory`; its file systems have room for everything.
pub(in crate::plan) fn root_after(plan: &Plan, inventory: &Inventory, when: Timestamp) -> Inventory {
    let mut before = concerned(plan, inventory);
    for package in &plan.packages {
        before.packages.entry(package.clone()).or_default();
    }
    let mut root = ProjectedRoot::new(before, Touched::default(), when);
    root.go_on(plan, &BTreeMap::new());
    let mut after = root.inventory;
    change_places(plan, &mut after);
    find_ways(plan, &mut after);
    after
}

/// Puts what a plan leaves at a path behind a link at its place, too, where the survey saw the object as well.
fn change_places(plan: &Plan, after: &mut Inventory) {
    for change in &plan.changes {
        let place = after.physical.get(&change.path).filter(|place| **place != change.path).cloned();
        let Some(place) = place else { continue };
        match after.live.get(&change.path).cloned() {
            Some(live) => drop(after.live.insert(place, live)),
            None => drop(after.live.remove(&place)),
        }
    }
}

/// What of an inventory, which may be one for many patches, a backout of this plan is about.
fn concerned(plan: &Plan, inventory: &Inventory) -> Inventory {
    let paths = concerned_paths(plan, inventory);
    let packages = plan.packages.iter().filter_map(|name| inventory.packages.get_key_value(name));
    Inventory {
        marker: inventory.marker.clone(),
        prefix: inventory.prefix.clone(),
        packages: packages.map(|(name, installed)| (name.clone(), installed.clone())).collect(),
        lines: picked(&inventory.lines, &paths),
        live: picked(&inventory.live, &paths),
        physical: picked(&inventory.physical, &paths),
        linked_directories: picked(&inventory.linked_directories, &paths),
        patched_by: picked(&inventory.patched_by, &paths),
        accounts: inventory.accounts.clone(),
        privileged: inventory.privileged,
        caller: inventory.caller,
        on: picked(&inventory.on, &paths),
        ..Inventory::default()
    }
}

/// The paths of which the undo data of a plan speaks, and what they bring with them: what is above them, below directories
/// that change, and other names of their files.
fn concerned_paths(plan: &Plan, inventory: &Inventory) -> BTreeSet<ObjectPath> {
    let changed: BTreeSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
    let records = plan.undo.iter().flat_map(|undo| &undo.manifest.objects);
    let mut paths: BTreeSet<ObjectPath> = records.filter_map(ObjectRecord::object_path).collect();
    paths.extend(plan.contents.keys().cloned());
    for change in &plan.changes {
        paths.insert(change.path.clone());
        if is_directory_or_link(change) {
            let (lines, live) = (&inventory.lines, &inventory.live);
            paths.extend(below(lines, &change.path).chain(below(live, &change.path)).cloned());
        }
    }
    let files: BTreeSet<u64> =
        plan.changes.iter().filter_map(|change| Some(change.old.as_ref()?.inode.number)).collect();
    let names = inventory.objects_with_names().filter(|(_, live)| files.contains(&live.inode.number));
    paths.extend(names.map(|(path, _)| path.clone()));
    let is_of_changed =
        |path: &&ObjectPath| root_of(path, &inventory.lines).is_some_and(|file| changed.contains(&file));
    paths.extend(inventory.recorded_links().filter(is_of_changed).cloned());
    let places: Vec<ObjectPath> =
        paths.iter().filter_map(|path| inventory.physical.get(path)).cloned().collect();
    paths.extend(places);
    let above: Vec<ObjectPath> = paths.iter().flat_map(ObjectPath::ancestors).collect();
    paths.extend(above);
    paths
}

/// Whether a directory or link comes, goes, or becomes something else.
fn is_directory_or_link(change: &Change) -> bool {
    let was = change.old.as_ref().map(|old| &old.kind);
    let was = matches!(was, Some(LiveKind::Directory | LiveKind::Symlink(_)));
    match &change.action {
        Action::Add(new) | Action::Replace(new) => {
            was || matches!(new.body, Body::Directory | Body::Symlink(_))
        }
        Action::Delete | Action::RemoveDirectory => was,
        Action::Attributes(_) => false,
    }
}

fn picked<V: Clone>(map: &BTreeMap<ObjectPath, V>, paths: &BTreeSet<ObjectPath>) -> BTreeMap<ObjectPath, V> {
    let found = paths.iter().filter_map(|path| map.get_key_value(path));
    found.map(|(path, value)| (path.clone(), value.clone())).collect()
}

/// Finds where paths lead once links have come and gone.
fn find_ways(plan: &Plan, after: &mut Inventory) {
    let turned: Vec<&ObjectPath> =
        plan.changes.iter().filter(|change| turns_way(change)).map(|change| &change.path).collect();
    if turned.is_empty() {
        return;
    }
    // What was seen below them was seen through a link, or has gone.
    let changed: BTreeSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
    let seen = |link| below(&after.live, link).filter(|path| !changed.contains(path)).cloned();
    let unseen: BTreeSet<ObjectPath> = turned.into_iter().flat_map(seen).collect();
    after.live.retain(|path, _| !unseen.contains(path));
    let mut links = LinkFollower::new(KnownLinks(&after.live));
    let known = after.physical.iter().map(|(path, known)| (path, Some(known)));
    let known = known.chain(unseen.iter().map(|path| (path, after.physical.get(path))));
    let again = known.filter_map(|(path, known)| {
        let place = place_of(&mut links, path);
        let is_other = known.is_none_or(|known| *known != place) || unseen.contains(path);
        is_other.then(|| (path.clone(), place))
    });
    let again: BTreeMap<ObjectPath, ObjectPath> = again.collect();
    for (path, place) in again {
        if place != path {
            match after.live.get(&place).cloned() {
                Some(live) => drop(after.live.insert(path.clone(), live)),
                None => drop(after.live.remove(&path)),
            }
        }
        after.physical.insert(path, place);
    }
}

/// The first object that a plan makes by a way that leads elsewhere afterwards, because a link on it goes or changes: by its path
/// nobody would find it.
pub(super) fn first_led_elsewhere<'p>(
    plan: &'p Plan,
    inventory: &Inventory,
    after: &Inventory,
) -> Option<&'p Change> {
    if !plan.changes.iter().any(|change| turns_way(change)) {
        return None;
    }
    let comes = |change: &&Change| matches!(change.action, Action::Add(_) | Action::Replace(_));
    // A name that the plan has found by itself, for a copy, was not looked at: it lies beside one that was.
    let was_seen = |change: &&Change| inventory.physical.contains_key(&change.path);
    let mut coming = plan.changes.iter().map(Box::as_ref).filter(comes).filter(was_seen);
    coming.find(|change| {
        let found_at = after.physical.get(&change.path).unwrap_or(&change.path);
        place_in(plan, inventory, &change.path) != *found_at
    })
}

/// Where a plan puts an object: below a directory that it makes, or where the way led before.
fn place_in(plan: &Plan, inventory: &Inventory, path: &ObjectPath) -> ObjectPath {
    let is_made = |above: &ObjectPath| {
        let at = plan.changes.binary_search_by(|change| change.path.cmp(above)).ok();
        at.and_then(|at| plan.changes.get(at)).is_some_and(|change| match &change.action {
            Action::Add(new) | Action::Replace(new) => matches!(new.body, Body::Directory),
            _ => false,
        })
    };
    let place = match path.ancestors().find(is_made) {
        Some(directory) => {
            let rest = path.as_bytes().get(directory.as_bytes().len() + 1..).unwrap_or_default();
            place_in(plan, inventory, &directory).join(rest).ok()
        }
        None => inventory.physical.get(path).cloned(),
    };
    place.unwrap_or_else(|| path.clone())
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
