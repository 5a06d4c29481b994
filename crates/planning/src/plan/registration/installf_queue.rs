//! The effect of installf(1M) and removef(1M) on `contents`, as a pure function of the existing lines, the live objects
//! and the requests, in order.
//!
//! Each call outside of a run makes one request and becomes a run of its own. Calls of the scripts of a run are queued,
//! and [`merged`] turns all of them into lines at once. Both go through here, so that both leave the same lines.

use std::collections::BTreeSet;

use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_changeset::format::installf_queue::{InstallfEntry, InstallfRequests};
use patchadm_inputs::inventory::Inventory;
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::format::registration::Registration;
use patchadm_svr4::package::{
    ContentInfo, ContentsLine, Ftype, Object, ObjectPath, OwnerStatus, OwningPackage, PkgInst, Word,
};

use super::settle::{self, Settled, type_of};
use crate::plan::clock::Now;
use crate::plan::refusal::{Command, Refusal};
use crate::plan::{Change, Plan, space};

/// The class of an object for which none is named.
const NO_CLASS: &str = "none";

/// Returns the lines of `contents` that what is queued changes (`None`: the line goes).
///
/// `inventory` must have, where they are there, the paths that [`InstallfRequests::paths`] names, those that the packages of
/// [`InstallfRequests::finishing`] have marked, and the sources of the hard links among them: what a survey of
/// `database::contents::paths_of_queue` brings. It is of the moment when everything that was queued has been made.
pub fn merged(inventory: &Inventory, queue: &InstallfRequests) -> ContentsEdits {
    let lines = &inventory.lines;
    let mut ledger = LinesDraft { inventory, edits: ContentsEdits::new() };
    for entry in &queue.0 {
        ledger.enter(entry);
    }
    ledger.edits.retain(|path, line| lines.get(path) != line.as_deref());
    ledger.edits
}

/// Returns an inventory in which the lines are as they will be when what is queued has been merged.
pub fn overlaid(mut inventory: Inventory, queue: &InstallfRequests) -> Inventory {
    let edits = merged(&inventory, queue);
    for (path, line) in edits {
        match line {
            Some(line) => drop(inventory.lines.insert(path, *line)),
            None => drop(inventory.lines.remove(&path)),
        }
    }
    inventory
}

/// The lines in the making.
struct LinesDraft<'a> {
    inventory: &'a Inventory,
    edits: ContentsEdits,
}

impl LinesDraft<'_> {
    fn enter(&mut self, entry: &InstallfEntry) {
        match entry {
            InstallfEntry::Add(package, registration) => self.add(package, registration),
            InstallfEntry::Remove(package, path) => self.remove(package, path),
            InstallfEntry::FinishAdd(package, class) => self.finish_add(package, class.as_deref()),
            InstallfEntry::FinishRemove(package) => self.finish_remove(package),
            InstallfEntry::Made(..) | InstallfEntry::Changed { .. } | InstallfEntry::Turned { .. } => {}
        }
    }

    fn line(&self, path: &ObjectPath) -> Option<&ContentsLine> {
        match self.edits.get(path) {
            Some(line) => line.as_deref(),
            None => self.inventory.lines.get(path),
        }
    }

    /// Returns the lines in which a package has this status.
    fn marked(&self, package: &PkgInst, status: OwnerStatus) -> Vec<ContentsLine> {
        let paths: BTreeSet<&ObjectPath> = self.inventory.lines.keys().chain(self.edits.keys()).collect();
        let lines = paths.into_iter().filter_map(|path| self.line(path));
        lines.filter(|line| has_status(line, package, status)).cloned().collect()
    }

    fn add(&mut self, package: &PkgInst, registration: &Registration) {
        let path = &registration.path;
        let known = self.line(path);
        let object = object(registration, known.map(|line| &line.object), self.inventory.live.get(path));
        let mut line = known.cloned().unwrap_or_else(|| ContentsLine {
            path: path.clone(),
            volume: None,
            object: object.clone(),
            owners: Vec::new(),
        });
        line.object = object;
        let class = registration.class.as_deref();
        let differs = |class: &str| (line.object.class != *class).then(|| class.into());
        let own_class = match (class, owner_of(&line, package)) {
            (None, Some(owner)) => owner.class.clone(),
            _ => differs(class.unwrap_or(NO_CLASS)),
        };
        set_status(&mut line, package, OwnerStatus::Pending, own_class);
        self.edits.insert(path.clone(), Some(Box::new(line)));
    }

    fn remove(&mut self, package: &PkgInst, path: &ObjectPath) {
        let owned = self.line(path).filter(|line| line.is_owned_by(package));
        if let Some(mut line) = owned.cloned() {
            let own_class = owner_of(&line, package).and_then(|owner| owner.class.clone());
            set_status(&mut line, package, OwnerStatus::Removing, own_class);
            self.edits.insert(path.clone(), Some(Box::new(line)));
        }
    }

    fn finish_add(&mut self, package: &PkgInst, class: Option<&str>) {
        for mut line in pending(self.marked(package, OwnerStatus::Pending), package, class) {
            let Settled { object, discrepancy } =
                settle::settled(&line, |path| self.line(path), self.inventory);
            let status = discrepancy.map(|_| OwnerStatus::Partial);
            line.object = object;
            for owner in line.owners.iter_mut().filter(|owner| owner.package == *package) {
                owner.status = status;
            }
            self.edits.insert(line.path.clone(), Some(Box::new(line)));
        }
    }

    fn finish_remove(&mut self, package: &PkgInst) {
        for mut line in self.marked(package, OwnerStatus::Removing) {
            line.owners.retain(|owner| owner.package != *package);
            let path = line.path.clone();
            self.edits.insert(path, Some(Box::new(line)).filter(|line| !line.owners.is_empty()));
        }
    }
}

/// Refuses a call as a run of its own for which a file system has no room. What a surrounding run is asked for is not
/// asked this: that run has counted it, and holds back what its rollback needs.
pub fn check_room(command: Command, package: &PkgInst, plan: &Plan) -> Result<(), Refusal> {
    space::enough(&plan.space).map_err(|reason| reason.of(command, package))
}

/// Returns the plan of a call outside of a run.
pub(super) fn planned(
    command: Command,
    package: &PkgInst,
    (changes, contents): (Vec<Box<Change>>, ContentsEdits),
    notes: Vec<String>,
    inventory: &Inventory,
    now: &Now,
) -> Plan {
    let space = space::needs(inventory, &changes, &[], &[], &[]);
    let empty = Plan::empty(command.name(), now.trailer(command.name(), package));
    Plan { packages: vec![package.clone()], changes, contents, space, notes, ..empty }
}

fn owner_of<'l>(line: &'l ContentsLine, package: &PkgInst) -> Option<&'l OwningPackage> {
    line.owners.iter().find(|owner| owner.package == *package)
}

/// Marks a package among the owners of a line, as the last of them, where the classic tools put a marked owner.
fn set_status(line: &mut ContentsLine, package: &PkgInst, status: OwnerStatus, class: Option<Word>) {
    let known = line.owners.iter().position(|owner| owner.package == *package);
    let owner = known.map_or_else(|| OwningPackage::new(package.clone()), |at| line.owners.remove(at));
    line.owners.push(OwningPackage { status: Some(status), class, ..owner });
}

/// Tells whether a package owns a line with this mark.
fn has_status(line: &ContentsLine, package: &PkgInst, status: OwnerStatus) -> bool {
    owner_of(line, package).is_some_and(|owner| owner.status == Some(status))
}

/// Returns those of the lines that a package has registered, or has registered in one class.
pub(super) fn pending(
    lines: impl IntoIterator<Item = ContentsLine>,
    package: &PkgInst,
    class: Option<&str>,
) -> Vec<ContentsLine> {
    let is_meant = |line: &ContentsLine| {
        owner_of(line, package).is_some_and(|owner| {
            let own_class = owner.class.as_deref().unwrap_or(&line.object.class);
            owner.status == Some(OwnerStatus::Pending) && class.is_none_or(|class| class == own_class)
        })
    };
    lines.into_iter().filter(is_meant).collect()
}

/// Returns the object of a registration. Named values count, then the recorded ones; if it does not even name the type,
/// that of the live object counts. The content of an existing file is recorded at once.
pub(super) fn object(registration: &Registration, known: Option<&Object>, live: Option<&Live>) -> Object {
    let ftype = registration.ftype.or(known.map(|object| object.ftype));
    let ftype = ftype.unwrap_or_else(|| live.map_or(Ftype::File, type_of));
    let class = match (known, &registration.class) {
        (Some(object), _) => object.class.as_str(),
        (None, Some(class)) => class,
        (None, None) => NO_CLASS,
    };
    // A link has nothing in common with anything else.
    let is_alike = |known: &&Object| known.ftype == ftype || !known.ftype.is_link() && !ftype.is_link();
    let mut object = known.filter(is_alike).cloned().unwrap_or_else(|| Object::new(ftype, class));
    object.ftype = ftype;
    object.target = match (&registration.target, live.map(|live| &live.kind)) {
        (Some(target), _) => Some(target.clone()),
        (None, Some(LiveKind::Symlink(target))) if object.target.is_none() && ftype == Ftype::Symlink => {
            Some(target.clone())
        }
        _ => object.target.filter(|_| ftype.is_link()),
    };
    object.device = registration.device.or(object.device).filter(|_| ftype.is_device());
    let (given, known) = (&registration.attributes, &mut object.attributes);
    known.mode = given.mode.or(known.mode);
    known.owner = given.owner.clone().or(known.owner.take());
    known.group = given.group.clone().or(known.group.take());
    object.content = match live {
        _ if !ftype.is_regular() => ContentInfo::default(),
        Some(live) => live.content_info().unwrap_or(object.content),
        None => object.content,
    };
    object
}

#[cfg(test)]
mod tests;
