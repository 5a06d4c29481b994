//! The steps of a run with procedure scripts. The engine makes every object except regular files of a class with a
//! script. Consecutive classes without a script are one batch, which [`refresh`](super::refresh) updates before it is
//! performed.
//!
//! ```text
//!   plan ──► records with the package's lines marked `*` ► preinstall
//!            ► for each class in the order of CLASSES: objects of the engine ► class script ► links to its files
//!            ► postinstall ► removal of objects of another version ► records without marks
//! ```

pub mod steps;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::iter;

use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::source::PackageImage;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{ContentsLine, Ftype, Mode, ObjectPath, OwnerStatus, PkgInst};
use patchadm_svr4::places;

use super::package::install::IntendedInstall;
use super::package::remove::{Fate, IntendedRemoval};
use super::patch::snapshot::add_kept_by_classes;
use super::patch::undo::as_left;
use super::plan_builder::{below, turns};
use super::records::{INSTALL_LOCK, REMOVAL_LOCK, package_path};
use super::refusal::Reason;
use super::script_schedule::steps::{
    ChangeBatch, ClassStep, Concerned, ListedFile, MappedObject, Outcome, PackageStep, Portion,
};
use super::scripts::{InstallScripts, is_passing};
use super::target::classes;
use super::{Action, Body, Change, Plan, RecordChange, TreeContent, TreeFile, UndoArchive};

#[derive(Clone, Debug)]
pub struct ScriptSchedule {
    /// Held, so that everything can be restored.
    pub concerned: Concerned,
    /// Without the closing one, which [`ScriptSchedule::close`] makes from the results of the scripts.
    pub steps: Vec<PackageStep>,
    pub package: PkgInst,
    pub is_removal: bool,
    frame: Plan,
    lines: ContentsEdits,
    passing: Vec<ObjectPath>,
    /// Written last, when the results of the scripts are known.
    undo: Vec<UndoArchive>,
    before: Option<Installed>,
    closing: Vec<RecordChange>,
}

impl ScriptSchedule {
    /// Returns the steps of an installation. `inventory` is the one that it was planned with.
    pub fn of_installation(
        intended: &IntendedInstall,
        image: &PackageImage,
        inventory: &Inventory,
    ) -> Result<Self, Reason> {
        let IntendedInstall { plan, scripts, mapped, params, passing: _ } = intended;
        let package = plan.packages.first().cloned().ok_or(Reason::NoSuchPackage)?;
        let order = Order::new(&classes(params), scripts, mapped, plan);
        let listed = order.listed(plan, inventory);
        let mut lines = plan.contents.clone();
        for file in listed.values().flatten() {
            lines.entry(file.path.clone()).or_insert_with(|| Some(Box::new(file.line.clone())));
        }
        let (opening, closing) = records(intended);
        let mut course = Self {
            concerned: concerned(&package, mapped, plan, inventory)?,
            steps: Vec::new(),
            passing: passing(&package, &intended.passing)?,
            undo: plan.undo.clone(),
            before: inventory.packages.get(&package).filter(|_| !plan.undo.is_empty()).cloned(),
            closing,
            frame: frame(plan),
            is_removal: false,
            package,
            lines,
        };
        course.opening(opening, intended, image)?;
        if scripts.preinstall {
            course.steps.push(PackageStep::Procedure("preinstall"));
        }
        course.classes(&order, plan, scripts, listed);
        if scripts.postinstall {
            course.steps.push(PackageStep::Procedure("postinstall"));
        }
        let changes = order.last(plan);
        if !changes.is_empty() {
            let last = Plan { changes, ..course.frame.clone() };
            course.steps.push(PackageStep::Remove(Box::new(last), Vec::new()));
        }
        Ok(course)
    }

    /// The state that scripts may see: records, marked lines, and the scripts themselves.
    fn opening(
        &mut self,
        mut records: Vec<RecordChange>,
        intended: &IntendedInstall,
        image: &PackageImage,
    ) -> Result<(), Reason> {
        let passing = intended.passing.iter().filter(|name| is_passing(name));
        let mut files: Vec<(String, Vec<u8>)> = passing
            .filter_map(|name| Some((format!("install/{name}"), image.install.get(name)?.clone())))
            .collect();
        files.push((INSTALL_LOCK.to_owned(), Vec::new()));
        let own = package_path(&self.package, b"")?;
        let whole = records.iter_mut().find_map(|record| match record {
            RecordChange::AddTree { path, files } if *path == own => Some(files),
            _ => None,
        });
        let mode = Mode::of(0o644);
        if let Some(tree) = whole {
            tree.extend(files.into_iter().map(|(name, bytes)| TreeFile {
                name: name.into_bytes(),
                content: TreeContent::Bytes(bytes),
                mode,
                mtime: None,
            }));
        } else {
            for (name, bytes) in files {
                let path = package_path(&self.package, name.as_bytes())?;
                // a removed record is present again until the end
                records.retain(|record| !matches!(record, RecordChange::RemoveFile(gone) if *gone == path));
                records.push(RecordChange::Write { path, bytes, mode, mtime: None });
            }
        }
        let contents = self.marked();
        let plan = Plan { records, contents, ..self.frame.clone() };
        self.steps.push(PackageStep::Records(Box::new(plan)));
        Ok(())
    }

    fn marked(&self) -> ContentsEdits {
        let lines = self.lines.iter().filter_map(|(path, line)| Some((path, line.clone()?)));
        lines
            .map(|(path, mut line)| {
                mark(&mut line, &self.package, Some(OwnerStatus::ConfirmContents));
                (path.clone(), Some(line))
            })
            .collect()
    }

    fn classes(
        &mut self,
        order: &Order<'_>,
        plan: &Plan,
        scripts: &InstallScripts,
        mut listed: BTreeMap<String, Vec<ListedFile>>,
    ) {
        let mut slots = order.slots(plan);
        let mut open = ChangeBatch { plan: self.frame.clone(), portions: Vec::new() };
        for (at, class) in order.classes.iter().enumerate() {
            let deliverer = scripts.classes.get(class);
            let mut before = slots.remove(&(2 * at)).unwrap_or_default();
            before.1.class.clone_from(class);
            before.1.is_complete = deliverer.is_none() && order.has_objects(class);
            open.add(before);
            let Some(&deliverer) = deliverer else { continue };
            self.flush(&mut open);
            let files = listed.remove(class).unwrap_or_default();
            self.steps.push(PackageStep::InstallClass(ClassStep { class: class.clone(), deliverer, files }));
            let mut after = slots.remove(&(2 * at + 1)).unwrap_or_default();
            after.1.class.clone_from(class);
            open.add(after);
        }
        self.flush(&mut open);
    }

    fn flush(&mut self, open: &mut ChangeBatch) {
        let empty = ChangeBatch { plan: self.frame.clone(), portions: Vec::new() };
        let mut batch = std::mem::replace(open, empty);
        batch.plan.changes.sort_by(|a, b| a.path.cmp(&b.path));
        if !batch.portions.is_empty() {
            self.steps.push(PackageStep::Install(Box::new(batch)));
        }
    }

    /// Returns the package whose records are read again before the closing step, because undo data describes them.
    pub fn saved_package(&self) -> Option<&PkgInst> {
        self.before.as_ref().map(|_| &self.package)
    }

    /// Returns the closing step: `contents` without marks for the files as scripts left them (`outcomes`, `live`), the
    /// records of [`ScriptSchedule::saved_package`] (`now`), undo data. Records only for the installation are removed.
    /// `is_there` returns true for records that still exist.
    pub fn close(
        &self,
        outcomes: &BTreeMap<ObjectPath, Outcome>,
        live: &BTreeMap<ObjectPath, Live>,
        now: Option<&Installed>,
        is_there: impl Fn(&ObjectPath) -> bool,
    ) -> Plan {
        let mut contents = self.lines.clone();
        for (path, outcome) in outcomes {
            let Some(Some(line)) = contents.get_mut(path) else { continue };
            match outcome {
                Outcome::Missing => mark(line, &self.package, Some(OwnerStatus::Partial)),
                Outcome::File { size, cksum } => {
                    line.object.content.size = Some(*size);
                    line.object.content.cksum = Some(*cksum);
                }
            }
        }
        let gone = self.passing.iter().filter(|path| is_there(path));
        let mut records: Vec<RecordChange> = gone.cloned().map(RecordChange::RemoveFile).collect();
        records.extend(self.closing.iter().cloned());
        let mut undo: Vec<UndoArchive> =
            self.undo.iter().map(|archive| as_left(archive, &contents, live)).collect();
        if let Some((before, now)) = self.before.as_ref().zip(now) {
            for archive in &mut undo {
                add_kept_by_classes(archive, before, now);
            }
        }
        Plan { records, contents, undo, ..self.frame.clone() }
    }

    /// Returns the final line of a path, if the run changes it.
    pub fn line(&self, path: &ObjectPath) -> Option<&ContentsLine> {
        self.lines.get(path).and_then(Option::as_deref)
    }
}

pub(super) fn frame(plan: &Plan) -> Plan {
    Plan {
        changes: Vec::new(),
        records: Vec::new(),
        contents: BTreeMap::new(),
        undo: Vec::new(),
        versions: Vec::new(),
        space: Vec::new(),
        discard: Vec::new(),
        signature: None,
        notes: Vec::new(),
        ..plan.clone()
    }
}

fn mark(line: &mut ContentsLine, package: &PkgInst, status: Option<OwnerStatus>) {
    for owner in line.owners.iter_mut().filter(|owner| owner.package == *package) {
        owner.status = status;
    }
}

fn concerned(
    package: &PkgInst,
    mapped: &[MappedObject],
    plan: &Plan,
    inventory: &Inventory,
) -> Result<Concerned, Reason> {
    let changed = plan.changes.iter().map(|change| (change.path.clone(), false));
    let mut objects: BTreeMap<ObjectPath, bool> = changed.collect();
    let is_editable = |ftype| matches!(ftype, Ftype::Editable | Ftype::Volatile);
    let given_up = plan.contents.iter().filter(|(path, line)| line.is_none() && !path.relative().is_empty());
    for (path, _) in given_up {
        let line = inventory.lines.get(path);
        objects.insert(path.clone(), line.is_some_and(|line| is_editable(line.object.ftype)));
    }
    for each in mapped {
        objects.insert(each.path.clone(), is_editable(each.ftype));
    }
    let files = iter::once(places::contents()).chain(ledger_paths(&plan.records).cloned()).collect();
    let own = package_path(package, b"")?;
    let elsewhere = plan.records.iter().filter_map(|record| match record {
        RecordChange::RemoveTree(path) if !path.is_below(&own) => Some(path.clone()),
        _ => None,
    });
    let others = kept_packages(&plan.records, std::slice::from_ref(package));
    let trees: BTreeSet<ObjectPath> = iter::once(own.clone()).chain(elsewhere).chain(others).collect();
    Ok(Concerned { objects, trees: trees.into_iter().collect(), files })
}

pub fn ledger_paths(records: &[RecordChange]) -> impl Iterator<Item = &ObjectPath> {
    records.iter().filter_map(|record| match record {
        RecordChange::Ledger(change) => Some(&change.path),
        _ => None,
    })
}

/// Directories of kept-library packages, whose records change although the run is about another package.
pub fn kept_packages(records: &[RecordChange], own: &[PkgInst]) -> BTreeSet<ObjectPath> {
    let of_record = |record: &RecordChange| {
        let rest = record.path().as_bytes().strip_prefix(places::BELOW_PACKAGES.as_bytes())?;
        let name = rest.split(|byte| *byte == b'/').next()?;
        let package = PkgInst::new(std::str::from_utf8(name).ok()?).ok()?;
        (!own.contains(&package)).then(|| places::package(&package))
    };
    records.iter().filter_map(of_record).collect()
}

fn records(intended: &IntendedInstall) -> (Vec<RecordChange>, Vec<RecordChange>) {
    let saved: Vec<ObjectPath> = intended.plan.packages.iter().map(places::save).collect();
    let comes_last = |record: &RecordChange| {
        if matches!(record, RecordChange::Ledger(_)) {
            return true;
        }
        let path = record.path().as_bytes();
        let below = saved.iter().find_map(|save| path.strip_prefix(save.as_bytes())?.strip_prefix(b"/"));
        below.is_some_and(|name| !name.starts_with(b"pspool/"))
    };
    let (closing, opening) = intended.plan.records.iter().cloned().partition(comes_last);
    (opening, closing)
}

fn passing(package: &PkgInst, scripts: &[String]) -> Result<Vec<ObjectPath>, Reason> {
    let scripts = scripts.iter().map(|name| format!("install/{name}"));
    scripts.chain([INSTALL_LOCK.to_owned()]).map(|name| package_path(package, name.as_bytes())).collect()
}

/// Each class has two slots: before its script and after it.
struct Order<'a> {
    classes: Vec<String>,
    /// The first of each class.
    places: HashMap<String, usize>,
    scripted: BTreeSet<&'a str>,
    with_objects: HashSet<&'a str>,
    mapped: BTreeMap<&'a ObjectPath, &'a MappedObject>,
    changes: BTreeMap<ObjectPath, &'a Change>,
}

impl<'a> Order<'a> {
    fn new(
        classes: &[String],
        scripts: &'a InstallScripts,
        mapped: &'a [MappedObject],
        plan: &'a Plan,
    ) -> Self {
        Self {
            classes: classes.to_vec(),
            places: classes.iter().enumerate().rev().map(|(at, class)| (class.clone(), at)).collect(),
            with_objects: mapped.iter().map(|each| each.class.as_str()).collect(),
            scripted: scripts.classes.keys().map(String::as_str).collect(),
            mapped: mapped.iter().map(|each| (&each.path, each)).collect(),
            changes: plan.changes.iter().map(|change| (change.path.clone(), &**change)).collect(),
        }
    }

    fn has_objects(&self, class: &str) -> bool {
        self.with_objects.contains(class)
    }

    fn class(&self, path: &ObjectPath) -> Option<usize> {
        let class = &self.mapped.get(path)?.class;
        self.places.get(class.as_str()).copied()
    }

    fn is_listed(&self, change: &Change) -> bool {
        let delivered = matches!(
            &change.action,
            Action::Add(new) | Action::Replace(new) if matches!(new.body, Body::Member(_))
        );
        let scripted = |each: &&MappedObject| self.scripted.contains(each.class.as_str());
        delivered && self.mapped.get(&change.path).is_some_and(scripted)
    }

    fn listed(&self, plan: &Plan, inventory: &Inventory) -> BTreeMap<String, Vec<ListedFile>> {
        let mut listed: BTreeMap<String, Vec<ListedFile>> = BTreeMap::new();
        for change in plan.changes.iter().filter(|change| self.is_listed(change)) {
            let (Action::Add(new) | Action::Replace(new)) = &change.action else { continue };
            let planned = plan.contents.get(&change.path).and_then(Option::as_deref);
            let Some(line) = planned.or_else(|| inventory.lines.get(&change.path)).cloned() else { continue };
            let class = line.object.class.to_string();
            let file = ListedFile { path: change.path.clone(), new: new.clone(), line };
            listed.entry(class).or_default().push(file);
        }
        listed
    }

    /// Objects that go last: not of the package, and in nobody's way.
    fn last(&self, plan: &Plan) -> Vec<Box<Change>> {
        plan.changes.iter().filter(|change| self.comes_last(change)).cloned().collect()
    }

    fn comes_last(&self, change: &Change) -> bool {
        let goes = matches!(change.action, Action::Delete | Action::RemoveDirectory);
        let in_turned = |above: &[u8]| self.changes.get(above).is_some_and(|change| turns(change));
        goes && !change.path.ancestors_bytes().any(in_turned)
    }

    fn slot(&self, change: &Change) -> usize {
        let own = self.class(&change.path).map(|class| 2 * class);
        let (Action::Add(new) | Action::Replace(new)) = &change.action else {
            return own.unwrap_or_default();
        };
        match &new.body {
            Body::Directory => {
                // a directory comes with the first object in it
                let inner = below(&self.changes, &change.path).filter_map(|path| self.changes.get(path));
                let inner = inner.filter_map(|inner| {
                    if is_directory(inner) {
                        self.class(&inner.path).map(|class| 2 * class)
                    } else {
                        Some(self.slot(inner))
                    }
                });
                own.into_iter().chain(inner).min().unwrap_or_default()
            }
            Body::Link(source) => {
                let made =
                    self.changes.get(source).map(|made| self.slot(made) + usize::from(self.is_listed(made)));
                own.into_iter().chain(made).max().unwrap_or_default()
            }
            // the copy of an edited file is made with the file that comes in its place
            Body::CopyOf(path) => self.class(path).map(|class| 2 * class).or(own).unwrap_or_default(),
            _ => own.unwrap_or_default(),
        }
    }

    fn slots(&self, plan: &Plan) -> BTreeMap<usize, (Vec<Box<Change>>, Portion)> {
        let mut slots: BTreeMap<usize, (Vec<Box<Change>>, Portion)> = BTreeMap::new();
        let has_turn = |change: &Change| !self.is_listed(change) && !self.comes_last(change);
        for change in plan.changes.iter().filter(|change| has_turn(change)) {
            let (changes, portion) = slots.entry(self.slot(change)).or_default();
            let is_link = matches!(
                &change.action,
                Action::Add(new) | Action::Replace(new) if matches!(new.body, Body::Link(_))
            );
            let paths = if is_link { &mut portion.links } else { &mut portion.paths };
            paths.push(change.path.clone());
            changes.push(change.clone());
        }
        slots
    }
}

fn is_directory(change: &Change) -> bool {
    matches!(
        &change.action,
        Action::Add(new) | Action::Replace(new) if matches!(new.body, Body::Directory)
    )
}

//   plan ──► records with the package's lines marked `-` ► preremove
//            ► the classes in reverse order: what the engine removes, or the script of the class
//            ► postremove ► records without the package
// Consecutive classes without a script are one batch. Objects that the script of a class leaves stay without an owner.

impl ScriptSchedule {
    /// Returns the steps of a removal. `inventory` is the one that it was planned with.
    pub fn of_removal(intended: &IntendedRemoval, inventory: &Inventory) -> Result<Self, Reason> {
        let plan = &intended.plan;
        let package = plan.packages.first().ok_or(Reason::NoSuchPackage)?;
        let frame = frame(plan);
        let mut steps = vec![PackageStep::Records(Box::new(opening_of_removal(package, inventory, &frame)?))];
        steps.extend(intended.scripts.preremove.then_some(PackageStep::Procedure("preremove")));
        steps.extend(removal_steps(intended, &frame));
        steps.extend(intended.scripts.postremove.then_some(PackageStep::Procedure("postremove")));
        Ok(Self {
            concerned: concerned_by_removal(intended, inventory),
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

    /// Removes the package from the lines of the last batch, regardless of the registrations of its scripts.
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

fn opening_of_removal(package: &PkgInst, inventory: &Inventory, frame: &Plan) -> Result<Plan, Reason> {
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

fn removal_steps(intended: &IntendedRemoval, frame: &Plan) -> Vec<PackageStep> {
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

fn concerned_by_removal(intended: &IntendedRemoval, inventory: &Inventory) -> Concerned {
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
        files: iter::once(places::contents()).chain(ledger_paths(&intended.plan.records).cloned()).collect(),
    }
}
