//! The course of a run in which procedure scripts take part: the batches of changes and the scripts, in order.
//!
//! ```text
//!   plan ──► records with the package's lines marked `*` ► preinstall
//!            ► for each class in the order of CLASSES: what the engine makes ► its script ► links to what it made
//!            ► postinstall ► what only another version had goes ► records without marks
//! ```
//! The engine makes every object except the regular files of a class that has a script. Consecutive classes without a
//! script are one batch. A course does not say how a script is run. A batch is planned against the root as it was
//! before the run: [`refresh`](super::refresh) brings it up to date before it is carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use patchadm_svr4::places;

use patchadm_inputs::inventory::{Installed, Inventory};
use patchadm_inputs::source::PackageImage;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{ContentsLine, Ftype, Mode, ObjectPath, OwnerStatus, PkgInst};

use super::ledger;
use super::package::install::IntendedInstall;
use super::patch::snapshot::add_kept_by_classes;
use super::patch::undo::as_left;
use super::records::{INSTALL_LOCK, package_path};
use super::refusal::Reason;
use super::scripts::{InstallScripts, is_passing};
use super::target::classes;
use super::{Plan, RecordChange, TreeContent, TreeFile, UndoArchive};
use order::Order;
use patchadm_changeset::format::contents_merge::ContentsEdits;
use steps::{ChangeBatch, ClassStep, Concerned, ListedFile, MappedObject, Outcome, PackageStep};

mod order;
pub mod removal;
pub mod steps;

/// The steps of a run, and what they may touch.
#[derive(Clone, Debug)]
pub struct ScriptSchedule {
    /// The objects that must be held so that everything can be put back.
    pub concerned: Concerned,
    /// The steps, from the first to the last but the closing one, which [`ScriptSchedule::close`] makes when it is known what
    /// the scripts left.
    pub steps: Vec<PackageStep>,
    /// The package.
    pub package: PkgInst,
    /// Whether the package goes.
    pub is_removal: bool,
    /// The plan that the schedule carries out, without its changes.
    frame: Plan,
    /// The lines of `contents` as they are to be in the end.
    lines: ContentsEdits,
    /// Records that go in the end, if they are there then.
    passing: Vec<ObjectPath>,
    /// The undo archives, which are written in the end: only then it is known what the scripts left.
    undo: Vec<UndoArchive>,
    /// The package before the run, where there are undo archives.
    before: Option<Installed>,
    /// The records that come in the end, together with the archives.
    closing: Vec<RecordChange>,
}

impl ScriptSchedule {
    /// Returns the course of an installation. `inventory` is the one that it was planned with.
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

    /// Returns the opening step: the state that scripts may look at. It has the records, with the lines of the package
    /// marked, and the scripts themselves.
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
                // what would go for good is there again, until the end
                records.retain(|record| !matches!(record, RecordChange::RemoveFile(gone) if *gone == path));
                records.push(RecordChange::Write { path, bytes, mode, mtime: None });
            }
        }
        let contents = self.marked();
        let plan = Plan { records, contents, ..self.frame.clone() };
        self.steps.push(PackageStep::Records(Box::new(plan)));
        Ok(())
    }

    /// Returns the lines that will be, marked as not confirmed.
    fn marked(&self) -> ContentsEdits {
        let lines = self.lines.iter().filter_map(|(path, line)| Some((path, line.clone()?)));
        lines
            .map(|(path, mut line)| {
                mark(&mut line, &self.package, Some(OwnerStatus::ConfirmContents));
                (path.clone(), Some(line))
            })
            .collect()
    }

    /// The classes in their order.
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

    /// Returns the package whose records have to be looked at again before the closing step, as undo data speaks of them.
    pub fn saved_package(&self) -> Option<&PkgInst> {
        self.before.as_ref().map(|_| &self.package)
    }

    /// Returns the closing step. It has `contents` without marks, as the scripts left the files (`outcomes`, and the
    /// present objects in `live`), and the records of [`ScriptSchedule::saved_package`] (`now`). The records that only
    /// an installation has go, and undo data come. `is_there` says which records are still there.
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

    /// Returns the final line of a path, where the run changes it.
    pub fn line(&self, path: &ObjectPath) -> Option<&ContentsLine> {
        self.lines.get(path).and_then(Option::as_deref)
    }
}

/// Returns the plan without its changes and records.
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
    let files = iter::once(places::contents()).chain(ledger::paths(&plan.records).cloned()).collect();
    let own = package_path(package, b"")?;
    let elsewhere = plan.records.iter().filter_map(|record| match record {
        RecordChange::RemoveTree(path) if !path.is_below(&own) => Some(path.clone()),
        _ => None,
    });
    let others = kept_packages(&plan.records, std::slice::from_ref(package));
    let trees: BTreeSet<ObjectPath> = iter::once(own.clone()).chain(elsewhere).chain(others).collect();
    Ok(Concerned { objects, trees: trees.into_iter().collect(), files })
}

/// Returns the directories of packages whose records change although the run is not about them: those of kept libraries.
pub fn kept_packages(records: &[RecordChange], own: &[PkgInst]) -> BTreeSet<ObjectPath> {
    let of_record = |record: &RecordChange| {
        let rest = record.path().as_bytes().strip_prefix(places::BELOW_PACKAGES.as_bytes())?;
        let name = rest.split(|byte| *byte == b'/').next()?;
        let package = PkgInst::new(std::str::from_utf8(name).ok()?).ok()?;
        (!own.contains(&package)).then(|| places::package(&package))
    };
    records.iter().filter_map(of_record).collect()
}

/// Returns the records that come before the scripts, and the undo data, which come after them.
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

/// Returns the records that go in the end: the lock, and the scripts that only an installation has a use for.
fn passing(package: &PkgInst, scripts: &[String]) -> Result<Vec<ObjectPath>, Reason> {
    let scripts = scripts.iter().map(|name| format!("install/{name}"));
    scripts.chain([INSTALL_LOCK.to_owned()]).map(|name| package_path(package, name.as_bytes())).collect()
}
