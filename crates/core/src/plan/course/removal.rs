//! The course of a removal in which procedure scripts take part.
//!
//! ```text
//!   plan ──► records with the package's lines marked `-` ► preremove
//!            ► the classes against their order: what the engine removes, or the script of the class
//!            ► postremove ► records without the package
//! ```
//! Classes that follow each other without a script are one batch. What the script of a class leaves of its objects
//! stays, as the script wants it, and belongs to no package any more.

use std::collections::BTreeMap;

use super::{Concerned, mark};
use crate::inventory::Inventory;
use crate::package::{ContentsLine, Ftype, Mode, ObjectPath, OwnerStatus, PkgInst};
use crate::plan::ledger;
use crate::plan::records::package_path;
use crate::plan::refusal::Reason;
use crate::plan::remove::{Fate, Intended, Portion};
use crate::plan::{Change, Plan, RecordChange};

/// The file in a package's directory that says that its removal is not complete.
pub const REMOVAL_LOCK: &str = "!R-Lock!";

/// The steps of a removal, and what they may touch.
#[derive(Clone, Debug)]
pub struct RemovalCourse {
    /// What has to be held so that everything can be put back.
    pub concerned: Concerned,
    /// The steps, from the first to the last but the closing one.
    pub steps: Vec<RemovalStep>,
    /// The records as they are in the end.
    pub closing: Plan,
}

/// One step.
#[derive(Clone, Debug)]
pub enum RemovalStep {
    /// The records that scripts may look at are put in place.
    Records(Box<Plan>),
    /// A procedure script runs: `preremove`, `postremove`.
    Procedure(&'static str),
    /// The engine removes the objects of these classes.
    Objects(Box<Plan>, Vec<Portion>),
    /// The script of a class removes its objects.
    Class(Portion),
}

impl RemovalCourse {
    /// The course of a removal. `inventory` is the one that it was planned with.
    pub fn of(intended: &Intended, inventory: &Inventory) -> Result<Self, Reason> {
        let plan = &intended.plan;
        let package = plan.packages.first().ok_or(Reason::NoSuchPackage)?;
        let frame = Plan {
            changes: Vec::new(),
            records: Vec::new(),
            contents: BTreeMap::new(),
            space: Vec::new(),
            ..plan.clone()
        };
        let mut steps = vec![RemovalStep::Records(Box::new(opening(package, inventory, &frame)?))];
        steps.extend(intended.scripts.preremove.then_some(RemovalStep::Procedure("preremove")));
        steps.extend(objects(intended, &frame));
        steps.extend(intended.scripts.postremove.then_some(RemovalStep::Procedure("postremove")));
        let closing = Plan { records: plan.records.clone(), contents: plan.contents.clone(), ..frame };
        Ok(Self { concerned: concerned(intended, inventory), steps, closing })
    }
}

/// The records with every line of the package marked as one that goes.
fn opening(package: &PkgInst, inventory: &Inventory, frame: &Plan) -> Result<Plan, Reason> {
    let marked = |(path, line): (&ObjectPath, &ContentsLine)| {
        let mut line = line.clone();
        mark(&mut line, package, Some(OwnerStatus::Removing));
        (path.clone(), Some(line))
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

/// The classes in their turn.
fn objects(intended: &Intended, frame: &Plan) -> Vec<RemovalStep> {
    let changes: BTreeMap<&ObjectPath, &Change> =
        intended.plan.changes.iter().map(|change| (&change.path, change)).collect();
    let mut steps = Vec::new();
    for portion in &intended.portions {
        if portion.deliverer.is_some() {
            steps.push(RemovalStep::Class(portion.clone()));
            continue;
        }
        if !matches!(steps.last(), Some(RemovalStep::Objects(..))) {
            steps.push(RemovalStep::Objects(Box::new(frame.clone()), Vec::new()));
        }
        let Some(RemovalStep::Objects(batch, portions)) = steps.last_mut() else { continue };
        let goes = portion.objects.iter().filter(|going| going.fate == Fate::Goes);
        batch.changes.extend(goes.filter_map(|going| changes.get(&going.path).copied().cloned()));
        batch.changes.sort_by(|a, b| a.path.cmp(&b.path));
        portions.push(portion.clone());
    }
    steps
}

/// Everything that the package owns, its records, and those of patches that go with it.
fn concerned(intended: &Intended, inventory: &Inventory) -> Concerned {
    let editable = |path: &ObjectPath| {
        let line = inventory.lines.get(path);
        line.is_some_and(|line| matches!(line.object.ftype, Ftype::Editable | Ftype::Volatile))
    };
    let all = intended.portions.iter().flat_map(|portion| &portion.objects).map(|going| &going.path);
    let below_root = all.filter(|path| !path.relative().is_empty());
    let trees = intended.plan.records.iter().filter_map(|record| match record {
        RecordChange::RemoveTree(path) => Some(path.clone()),
        _ => None,
    });
    let contents = ObjectPath::new(b"/var/sadm/install/contents");
    Concerned {
        objects: below_root.map(|path| (path.clone(), editable(path))).collect(),
        trees: trees.collect(),
        files: contents.into_iter().chain(ledger::paths(&intended.plan.records).cloned()).collect(),
    }
}
