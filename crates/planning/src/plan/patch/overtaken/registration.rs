//! The new registration of a changed package: its lines and records, from the native records and the disk.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_svr4::package::{ContentsLine, ObjectPath, Params, PkgInst};

use crate::plan::RecordChange;
use crate::plan::clock::Now;
use crate::plan::package::adopt::{
    AdoptableSoftware, AdoptionConflict, FoundSoftware, found_software, image,
};
use crate::plan::records::{RecordChanges, files};
use crate::plan::refusal::Reason;
use crate::plan::scripts::{is_passing, is_recorded};
use crate::plan::target::PackageTarget;

/// A path that patches hold or added.
#[derive(Clone, Debug)]
pub struct HeldPath {
    /// Where its object is now: elsewhere if it was diverted since.
    pub place: ObjectPath,
    /// Its line, where a patch that ends recorded another one.
    pub recorded: Option<ContentsLine>,
}

/// Lines that change, each with the package that causes it.
type LineEdits = BTreeMap<ObjectPath, (PkgInst, Option<Box<ContentsLine>>)>;

/// The lines of `contents` while packages are registered anew.
pub(super) struct NewLines<'a> {
    before: &'a Inventory,
    /// The lines of objects that patches which end bring back or take away.
    edits: LineEdits,
    /// The same with the lines as they will be, and without the changed packages.
    after: Inventory,
}

impl<'a> NewLines<'a> {
    /// The lines without the changed packages. `edits` are those of patches that end.
    pub(super) fn without(inventory: &'a Inventory, edits: LineEdits, packages: &BTreeSet<&PkgInst>) -> Self {
        let mut after = inventory.clone();
        let lines = &mut after.lines;
        for (path, (_, line)) in &edits {
            match line {
                Some(line) => drop(lines.insert(path.clone(), ContentsLine::clone(line))),
                None => drop(lines.remove(path)),
            }
        }
        for line in lines.values_mut() {
            line.owners.retain(|owner| !packages.contains(&owner.package));
        }
        lines.retain(|_, line| !line.owners.is_empty());
        Self { before: inventory, edits, after }
    }

    /// Adds the objects of a package as they lie. Returns them, and what stands against it.
    pub(super) fn register(&mut self, software: &AdoptableSoftware) -> Result<FoundSoftware, Reason> {
        let found = found_software(software, &self.after)?;
        for (path, line) in &found.lines {
            match line {
                Some(line) => drop(self.after.lines.insert(path.clone(), ContentsLine::clone(line))),
                None => drop(self.after.lines.remove(path)),
            }
        }
        Ok(found)
    }

    /// Leaves the line of an object that patches of a package hold as they recorded it, at the place where the object is now.
    pub(super) fn hold(
        &mut self,
        package: &PkgInst,
        path: &ObjectPath,
        HeldPath { place, recorded }: &HeldPath,
    ) {
        let held = match self.edits.get(path) {
            Some((_, line)) => line.as_deref(),
            None => self.before.lines.get(path),
        };
        let Some(held) = held.filter(|line| line.is_owned_by(package)) else { return };
        let mut line = ContentsLine { path: place.clone(), ..held.clone() };
        if let Some(recorded) = recorded {
            line.object = recorded.object.clone();
        }
        if let Some(new) = self.after.lines.get(place) {
            let others = new.owners.iter().filter(|owner| owner.package != *package).cloned();
            let own = held.owners.iter().filter(|owner| owner.package == *package).cloned();
            line.owners = others.chain(own).collect();
        } else {
            line.owners.retain(|owner| owner.package == *package);
        }
        self.after.lines.insert(place.clone(), line);
    }

    /// Returns the lines that change.
    pub(super) fn edits(self) -> ContentsEdits {
        let mut edits = ContentsEdits::new();
        for (path, line) in &self.before.lines {
            match self.after.lines.get(path) {
                Some(new) if new == line => {}
                new => drop(edits.insert(path.clone(), new.cloned().map(Box::new))),
            }
        }
        let new = self.after.lines.into_iter().filter(|(path, _)| !self.before.lines.contains_key(path));
        edits.extend(new.map(|(path, line)| (path, Some(Box::new(line)))));
        edits
    }
}

/// Returns the record files of a package that change with its registration.
pub(super) fn records(
    software: &AdoptableSoftware,
    installed: &Installed,
    found: &FoundSoftware,
    params: Params,
    now: &Now,
) -> Result<Vec<RecordChange>, Reason> {
    let package = &software.package;
    let image = image(software, &found.entries, now)?;
    let target = PackageTarget::new(package.clone(), 0, &image, params)?;
    let stays = |name: &str| is_recorded(name) && !is_passing(name);
    let files = files(package, target.image, &target.params, stays)?;
    // Whatever a patch that ends brings back of them does not count.
    let unknown = Installed { records: BTreeMap::new(), ..installed.clone() };
    let mut changes = RecordChanges::of(package, &unknown, files)?.changes;
    for change in &mut changes {
        let RecordChange::Write { path, mode, .. } = change else { continue };
        let known = installed.records.iter().find(|(name, _)| path.as_bytes().ends_with(name));
        if let Some((_, known)) = known {
            *mode = known.mode;
        }
    }
    Ok(changes)
}

/// Returns the refusal where other packages own objects of a changed one.
pub(super) fn refuse_conflicts(conflicts: &[AdoptionConflict]) -> Result<(), Reason> {
    let Some(first) = conflicts.first() else { return Ok(()) };
    Err(Reason::Administration { found: first.to_string(), answer: None })
}
