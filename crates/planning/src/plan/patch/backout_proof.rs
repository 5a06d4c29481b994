//! The proof that a patch can be backed out, given before anything is changed.
//!
//! The backout is planned by its own planner, from the undo data that the patch will leave and on the root as it will be. A
//! patch of which that fails is refused. Most patches need no such plan: where objects come, go and are replaced in directories
//! that stay, the way back is the way there, and a look at each change tells so (`is_plain`).
//!
//! The room on the file systems is no part of the proof: it is another one by the time of the backout. Scripts may do what
//! nobody knows before they have run; what is proved is what the program does.

use std::collections::HashSet;

use patchadm_rootfs::{Interrupt, Live, LiveKind};
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::backout_input::{BackOutOptions, BackoutArchive, GoingPatch, UndoSources};
use super::backout_plan::Backout;
use super::root_after::{first_led_elsewhere, root_after};
use crate::plan::clock::Now;
use crate::plan::patch::patch_plan::PatchPlan;
use crate::plan::plan_builder::{below, turns};
use crate::plan::refusal::{ObjectProblem, Reason};
use crate::plan::unprivileged::can_come_back;
use crate::plan::{Action, Body, Change, NewObject, Plan, UndoArchive, UndoPlace};
use patchadm_inputs::inventory::{Inventory, has_names};
use patchadm_inputs::policy::Policy;
use patchadm_inputs::source::PackageImage;

/// The separator of patch ids, the moment, and whether a signal came.
type ProofContext<'a> = (&'a str, &'a Now, Interrupt<'a>);

/// Refuses a plan that keeps undo data from which its patch could not be backed out. The plan was made for `inventory`.
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

/// Plans the backout of the patch of a plan on the root that the plan leaves.
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

/// An object that comes by a way that the same plan turns.
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

/// An archive, as it will be read, with its place among them and its backout package.
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

/// The backout package of an archive.
fn image(undo: &UndoArchive) -> PackageImage {
    let entries = undo.saved.iter().map(|(entry, _)| entry.clone()).collect();
    let map = Pkgmap { parts: 1, max_blocks: 0, compressed_blocks: None, entries };
    let mut image = PackageImage::without_source(undo.pkginfo.clone(), map);
    image.deletes.clone_from(&undo.deletes);
    image
}

/// Whether every change of a plan is one whose reverse can always be planned: its object is in its own place, is not one of
/// several names of a file, and stays a directory or something else; no link comes or goes above an object; and without
/// privileges directories stay as open as they are, and nothing goes that only root can make.
pub(in crate::plan) fn is_plain(plan: &Plan, inventory: &Inventory) -> bool {
    let is_on_link = |path: &ObjectPath| inventory.physical.get(path).is_some_and(|place| place != path);
    let is_plain = |change: &Change| !is_on_link(&change.path) && is_plain_change(plan, change, inventory);
    plan.changes.iter().all(|change| is_plain(change))
        && plan.undo.iter().flat_map(|undo| &undo.saved).all(|(entry, _)| has_plain_name(entry))
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

/// Whether the owner may write to a directory that comes or goes.
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

/// Whether a path lies below `link`, as it is written, of which the plan or the inventory knows.
fn leads_further(plan: &Plan, link: &ObjectPath, inventory: &Inventory) -> bool {
    let first = link.lowest_below();
    let after = plan.changes.partition_point(|change| change.path < first);
    plan.changes.get(after).is_some_and(|change| change.path.is_below(link))
        || below(&inventory.physical, link).next().is_some()
        || below(&inventory.lines, link).next().is_some()
}

/// Whether the backout package can name an object as it is: nothing in its path is taken for a variable.
fn has_plain_name(entry: &PkgmapEntry) -> bool {
    !entry.path.as_bytes().contains(&b'$')
}

/// Whether no path is in the archives of two packages.
fn are_apart(undo: &[UndoArchive]) -> bool {
    if undo.len() < 2 {
        return true;
    }
    let mut seen = HashSet::new();
    let mut records = undo.iter().flat_map(|undo| &undo.manifest.objects);
    records.all(|record| seen.insert(record.path.as_str()))
}
