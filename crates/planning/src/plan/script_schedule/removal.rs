//! The course of a removal in which procedure scripts take part.
//!
//! ```text
//!   plan ──► records with the package's lines marked `-` ► preremove
//!            ► the classes against their order: what the engine removes, or the script of the class
//!            ► postremove ► records without the package
//! ```
//! Consecutive classes without a script are one batch. The objects that the script of a class leaves stay, as the
//! script wants, and no package owns them any more.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use patchadm_svr4::places;

use super::steps::{Concerned, PackageStep};
use super::{ScriptSchedule, frame, kept_packages, mark};
use crate::plan::ledger;
use crate::plan::package::remove::{Fate, IntendedRemoval};
use crate::plan::records::{REMOVAL_LOCK, package_path};
use crate::plan::refusal::Reason;
use crate::plan::{Change, Plan, RecordChange};
use patchadm_inputs::inventory::Inventory;
use patchadm_svr4::package::{ContentsLine, Ftype, Mode, ObjectPath, OwnerStatus, PkgInst};

impl ScriptSchedule {
    /// Returns the course of a removal. `inventory` is the one that it was planned with.
    pub fn of_removal(intended: &IntendedRemoval, inventory: &Inventory) -> Result<Self, Reason> {
        let plan = &intended.plan;
        let package = plan.packages.first().ok_or(Reason::NoSuchPackage)?;
        let frame = frame(plan);
        let mut steps = vec![PackageStep::Records(Box::new(opening(package, inventory, &frame)?))];
        steps.extend(intended.scripts.preremove.then_some(PackageStep::Procedure("preremove")));
        steps.extend(objects(intended, &frame));
        steps.extend(intended.scripts.postremove.then_some(PackageStep::Procedure("postremove")));
        Ok(Self {
            concerned: concerned(intended, inventory),
            steps,
            package: package.clone(),
            is_removal: true,
            frame,
            lines: plan.contents.clone(),
            passing: Vec::new(),
            undo: Vec::new(),
            before: None,
            closing: plan.records.clone(),
        })
    }

    /// Removes the package from the lines of the last batch, regardless of what its scripts have registered for it.
    pub fn disown(&self, last: &mut Plan) {
        for line in last.contents.values_mut().filter(|_| self.is_removal) {
            if let Some(kept) = line {
                kept.owners.retain(|owner| owner.package != self.package);
            }
            if line.as_ref().is_some_and(|line| line.owners.is_empty()) {
                *line = None;
            }
        }
    }
}

/// Returns the records with every line of the package marked as one that goes.
fn opening(package: &PkgInst, inventory: &Inventory, frame: &Plan) -> Result<Plan, Reason> {
    let marked = |(path, line): (&ObjectPath, &ContentsLine)| {
        let mut line = line.clone();
        mark(&mut line, package, Some(OwnerStatus::Removing));
        (path.clone(), Some(Box::new(line)))
    };
    let owned = inventory.lines.iter().filter(|(_, line)| line.is_owned_by(package));
    let lock = RecordChange::Write {
        path: package_path(package, REMOVAL_LOCK.as_bytes())?,
        bytes: Vec::new(),
        mode: Mode::of(0o644),
        mtime: None,
    };
    Ok(Plan { records: vec![lock], contents: owned.map(marked).collect(), ..frame.clone() })
}

/// Returns the classes in their turn.
fn objects(intended: &IntendedRemoval, frame: &Plan) -> Vec<PackageStep> {
    let changes: BTreeMap<&ObjectPath, &Box<Change>> =
        intended.plan.changes.iter().map(|change| (&change.path, change)).collect();
    let mut steps = Vec::new();
    for portion in &intended.portions {
        if portion.deliverer.is_some() {
            steps.push(PackageStep::RemoveClass(portion.clone()));
            continue;
        }
        if !matches!(steps.last(), Some(PackageStep::Remove(..))) {
            steps.push(PackageStep::Remove(Box::new(frame.clone()), Vec::new()));
        }
        let Some(PackageStep::Remove(batch, portions)) = steps.last_mut() else { continue };
        let goes = portion.objects.iter().filter(|going| going.fate == Fate::Goes);
        batch.changes.extend(goes.filter_map(|going| changes.get(&going.path).copied().cloned()));
        batch.changes.sort_by(|a, b| a.path.cmp(&b.path));
        portions.push(portion.clone());
    }
    let package = intended.plan.packages.first();
    let others = intended.plan.changes.iter().filter(|change| Some(&change.package) != package);
    let changes: Vec<Box<Change>> = others.cloned().collect();
    if !changes.is_empty() {
        // Objects that were kept for the package go with it.
        steps.push(PackageStep::Remove(Box::new(Plan { changes, ..frame.clone() }), Vec::new()));
    }
    steps
}

/// Returns everything that the package owns, its records, and those of patches that go with it.
fn concerned(intended: &IntendedRemoval, inventory: &Inventory) -> Concerned {
    let editable = |path: &ObjectPath| {
        let line = inventory.lines.get(path);
        line.is_some_and(|line| matches!(line.object.ftype, Ftype::Editable | Ftype::Volatile))
    };
    let all = intended.portions.iter().flat_map(|portion| &portion.objects).map(|going| &going.path);
    // Objects that were kept for the package go with it.
    let changed = intended.plan.changes.iter().map(|change| &change.path);
    let below_root = all.chain(changed).filter(|path| !path.relative().is_empty());
    let kept = kept_packages(&intended.plan.records, &intended.plan.packages);
    let trees = intended.plan.records.iter().filter_map(|record| match record {
        RecordChange::RemoveTree(path) => Some(path.clone()),
        _ => None,
    });
    Concerned {
        objects: below_root.map(|path| (path.clone(), editable(path))).collect(),
        trees: trees.chain(kept).collect::<BTreeSet<_>>().into_iter().collect(),
        files: iter::once(places::contents()).chain(ledger::paths(&intended.plan.records).cloned()).collect(),
    }
}
