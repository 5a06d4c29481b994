//! Proves that a patch can be backed out before anything is changed: plans the backout from the future undo data on the
//! future root, and refuses a patch if that fails. Most patches need no such plan (`is_plain`). Free space and the
//! effects of scripts are not part of the proof.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use patchadm_changeset::format::manifest::ObjectRecord;
use patchadm_inputs::inventory::{Inventory, Touched, has_names};
use patchadm_inputs::policy::Policy;
use patchadm_inputs::source::PackageImage;
use patchadm_rootfs::{Interrupt, LinkFollower, Live, LiveKind, Timestamp};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::back_out::Backout;
use super::backout_input::{BackOutOptions, BackoutArchive, GoingPatch, UndoSources};
use super::patch_plan::PatchPlan;
use super::projected_root::ProjectedRoot;
use crate::plan::clock::Now;
use crate::plan::links::root_of;
use crate::plan::plan_builder::{below, can_come_back, turns};
use crate::plan::refusal::{ObjectProblem, Reason};
use crate::plan::target::{KnownLinks, place_of};
use crate::plan::{Action, Body, Change, NewObject, Plan, UndoArchive, UndoPlace};

type ProofContext<'a> = (&'a str, &'a Now, Interrupt<'a>);

/// Refuses a plan whose undo data would not allow the backout of its patch. The plan was made for `inventory`.
pub fn must_have_way_back(
    plan: &Plan,
    id: &PatchId,
    inventory: &Inventory,
    context: ProofContext<'_>,
) -> Result<(), Reason> {
    let keeps_nothing = |undo: &UndoArchive| undo.place == UndoPlace::ManifestOnly;
    if plan.undo.iter().all(keeps_nothing) || is_plain(plan, inventory) {
        return Ok(());
    }
    match plan_backout(plan, id, inventory, context) {
        Ok(_) => Ok(()),
        Err(Reason::Signal(signal)) => Err(Reason::Signal(signal)),
        Err(why) => Err(Reason::NoWayBack(Box::new(why))),
    }
}

/// Plans the backout of the patch of a plan, on the root as it is after the plan.
pub fn plan_backout(
    plan: &Plan,
    id: &PatchId,
    inventory: &Inventory,
    (separator, now, interrupt): ProofContext<'_>,
) -> Result<PatchPlan, Reason> {
    let after = root_after(plan, inventory, now.timestamp());
    if let Some(change) = first_led_elsewhere(plan, inventory, &after) {
        return Err(led_elsewhere(change, inventory));
    }
    let images: Vec<PackageImage> = plan.undo.iter().map(image).collect();
    let undo = plan.undo.iter().zip(&images).enumerate();
    let archives: Vec<BackoutArchive<'_>> =
        undo.map(|(index, (undo, image))| as_read(id, undo, (index, image))).collect();
    let packages: Vec<PkgInst> = plan.undo.iter().map(|undo| undo.package.clone()).collect();
    let backout = Backout {
        going: &[GoingPatch { id: id.clone(), packages }],
        sources: UndoSources { archives: &archives, later: &[] },
        is_elsewhere: false,
        is_installed: false,
        inventory: &after,
        policy: &Policy { separator: separator.to_owned(), ..Policy::default() },
        options: &BackOutOptions::default(),
        now,
        interrupt,
    };
    backout.plan()
}

fn led_elsewhere(change: &Change, inventory: &Inventory) -> Reason {
    let is_link = |above: &ObjectPath| {
        inventory.live.get(above).is_some_and(|live| matches!(live.kind, LiveKind::Symlink(_)))
    };
    let link = change.path.ancestors().find(is_link).unwrap_or_else(|| change.path.clone());
    Reason::Object {
        package: change.package.clone(),
        path: change.path.to_string(),
        problem: ObjectProblem::LeadsElsewhere(link),
    }
}

fn as_read<'a>(
    id: &'a PatchId,
    undo: &'a UndoArchive,
    (index, image): (usize, &'a PackageImage),
) -> BackoutArchive<'a> {
    BackoutArchive {
        patch: id,
        package: &undo.package,
        index,
        image,
        made_by_scripts: None,
        manifest: Some(&undo.manifest),
        records: &undo.records,
        is_bound: true,
        native: None,
        outside: None,
    }
}

fn image(undo: &UndoArchive) -> PackageImage {
    let entries = undo.saved.iter().map(|(entry, _)| entry.clone()).collect();
    let map = Pkgmap { parts: 1, max_blocks: 0, compressed_blocks: None, entries };
    let mut image = PackageImage::without_source(undo.pkginfo.clone(), map);
    image.deletes.clone_from(&undo.deletes);
    image
}

/// Returns true if every change can trivially be reversed: the object is in its own place and has one name, its type
/// stays, no link above it changes, and without privileges nothing changes that only root can restore.
pub(in crate::plan) fn is_plain(plan: &Plan, inventory: &Inventory) -> bool {
    let is_on_link = |path: &ObjectPath| inventory.physical.get(path).is_some_and(|place| place != path);
    let is_plain = |change: &Change| !is_on_link(&change.path) && is_plain_change(plan, change, inventory);
    plan.changes.iter().all(|change| is_plain(change))
        && plan.undo.iter().all(has_plain_names)
        && are_apart(&plan.undo)
}

fn is_plain_change(plan: &Plan, change: &Change, inventory: &Inventory) -> bool {
    let old = change.old.as_deref();
    let new = match &change.action {
        Action::Attributes(new) => {
            let is_open = |old: &Live| !old.is_directory() && can_come_back(old, inventory.caller);
            return inventory.privileged || new.mode.is_none() || old.is_none_or(is_open);
        }
        Action::Add(new) | Action::Replace(new) => Some(new),
        Action::Delete | Action::RemoveDirectory => None,
    };
    let is_of_several = old.is_some_and(has_names);
    let becomes_directory = new.is_some_and(|new| matches!(new.body, Body::Directory));
    let turns = turns(change) || becomes_directory && old.is_some_and(|old| !old.is_directory());
    let is_new_file = new.is_none_or(|new| !matches!(new.body, Body::Link(_) | Body::CopyOf(_)));
    !is_of_several
        && !turns
        && is_new_file
        && (inventory.privileged
            || stays_open(old, new) && old.is_none_or(|old| can_come_back(old, inventory.caller)))
        && !(is_link(old, new) && leads_further(plan, &change.path, inventory))
}

fn stays_open(old: Option<&Live>, new: Option<&NewObject>) -> bool {
    let is_open = |bits: u32| bits & 0o300 == 0o300;
    let new = new.filter(|new| matches!(new.body, Body::Directory));
    old.filter(|old| old.is_directory()).is_none_or(|old| is_open(old.mode.bits()))
        && new.is_none_or(|new| is_open(new.mode.bits()))
}

fn is_link(old: Option<&Live>, new: Option<&NewObject>) -> bool {
    old.is_some_and(|old| matches!(old.kind, LiveKind::Symlink(_)))
        || new.is_some_and(|new| matches!(new.body, Body::Symlink(_)))
}

fn leads_further(plan: &Plan, link: &ObjectPath, inventory: &Inventory) -> bool {
    let first = link.lowest_below();
    let after = plan.changes.partition_point(|change| change.path < first);
    plan.changes.get(after).is_some_and(|change| change.path.is_below(link))
        || below(&inventory.physical, link).next().is_some()
        || below(&inventory.lines, link).next().is_some()
}

/// `$` in a path would be read as a variable.
fn has_plain_names(undo: &UndoArchive) -> bool {
    let saved = undo.saved.iter().map(|(entry, _)| &entry.path);
    saved.chain(&undo.deletes).all(|path| !path.as_bytes().contains(&b'$'))
}

fn are_apart(undo: &[UndoArchive]) -> bool {
    if undo.len() < 2 {
        return true;
    }
    let mut seen = HashSet::new();
    let mut records = undo.iter().flat_map(|undo| &undo.manifest.objects);
    records.all(|record| seen.insert(record.path.as_str()))
}

// The result is the root as a survey of a backout would see it after the plan. Links that come or go change the way of
// paths; they are followed among the known objects.

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

/// The paths in the undo data, their parents, objects below changed directories, and other names of their files.
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

fn find_ways(plan: &Plan, after: &mut Inventory) {
    let turned: Vec<&ObjectPath> =
        plan.changes.iter().filter(|change| turns_way(change)).map(|change| &change.path).collect();
    if turned.is_empty() {
        return;
    }
    // Paths below them were seen through a link, or have gone.
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

/// The first new object whose path leads elsewhere after the run, because a link above it changes. It could not be
/// found again.
fn first_led_elsewhere<'p>(plan: &'p Plan, inventory: &Inventory, after: &Inventory) -> Option<&'p Change> {
    if !plan.changes.iter().any(|change| turns_way(change)) {
        return None;
    }
    let comes = |change: &&Change| matches!(change.action, Action::Add(_) | Action::Replace(_));
    // A copy's name was not looked at: it lies beside one that was.
    let was_seen = |change: &&Change| inventory.physical.contains_key(&change.path);
    let mut coming = plan.changes.iter().map(Box::as_ref).filter(comes).filter(was_seen);
    coming.find(|change| {
        let found_at = after.physical.get(&change.path).unwrap_or(&change.path);
        place_in(plan, inventory, &change.path) != *found_at
    })
}

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

fn turns_way(change: &Change) -> bool {
    let new = match &change.action {
        Action::Add(new) | Action::Replace(new) => Some(&new.body),
        Action::Delete | Action::RemoveDirectory => None,
        Action::Attributes(_) => return false,
    };
    let was_link = change.old.as_ref().is_some_and(|old| matches!(old.kind, LiveKind::Symlink(_)));
    was_link || matches!(new, Some(Body::Symlink(_)))
}
