//! `removef`: what giving objects up, and declaring that final, does to a root (removef(1M)).
//!
//! Only `contents` changes: the caller removes the objects that have no other owner.

use std::collections::BTreeSet;

use patchadm_changeset::format::installf_queue::{InstallfEntry, InstallfRequests};
use patchadm_inputs::inventory::Inventory;
use patchadm_svr4::package::{ObjectPath, PkgInst};

use super::installf_queue::{merged, planned};
use crate::plan::Plan;
use crate::plan::clock::Now;
use crate::plan::refusal::Command;

/// The result of a call of removef.
#[derive(Clone, Debug)]
pub struct GivingUp {
    /// Its changes, as a run of its own.
    pub plan: Plan,
    /// The requests to a surrounding run instead.
    pub entries: Vec<InstallfEntry>,
    /// The paths among those given up that no other package owns, sorted: what the caller may remove.
    pub removable: Vec<ObjectPath>,
    /// Sentences for a person.
    pub notes: Vec<String>,
}

/// Plans that a package gives up objects. The inventory must have the lines of the paths.
pub fn give_up(
    package: &PkgInst,
    paths: &BTreeSet<ObjectPath>,
    inventory: &Inventory,
    now: &Now,
) -> GivingUp {
    let owned_by_others = |path: &ObjectPath| {
        let line = inventory.lines.get(path);
        line.is_some_and(|line| line.owners.iter().any(|owner| owner.package != *package))
    };
    let (mut removable, mut notes) = (Vec::new(), Vec::new());
    for path in paths.iter().filter(|path| !owned_by_others(path)) {
        match inventory.foreign_owner(package, path) {
            None => removable.push(path.clone()),
            Some(owner) => {
                let shown = inventory.show(path);
                notes.push(format!("{shown} stays: it belongs to {}", owner.with_manager()));
            }
        }
    }
    let entries = paths.iter().map(|path| InstallfEntry::Remove(package.clone(), path.clone())).collect();
    GivingUp { notes, ..call(package, entries, removable, inventory, now) }
}

/// Plans that a package no longer owns what it has given up. The inventory must have all lines that it has marked.
pub fn finish(package: &PkgInst, inventory: &Inventory, now: &Now) -> GivingUp {
    let entries = vec![InstallfEntry::FinishRemove(package.clone())];
    call(package, entries, Vec::new(), inventory, now)
}

fn call(
    package: &PkgInst,
    entries: Vec<InstallfEntry>,
    removable: Vec<ObjectPath>,
    inventory: &Inventory,
    now: &Now,
) -> GivingUp {
    let queue = InstallfRequests(entries);
    let edits = merged(inventory, &queue);
    let plan = planned(Command::Removef, package, (Vec::new(), edits), Vec::new(), inventory, now);
    GivingUp { plan, entries: queue.0, removable, notes: Vec::new() }
}
