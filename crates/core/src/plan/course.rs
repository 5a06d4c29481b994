//! The course of a run in which procedure scripts take part: which batches of changes and which scripts, in what
//! order.
//!
//! ```text
//!   plan ──► records with the package's lines marked `*` ► preinstall
//!            ► for each class in the order of CLASSES: what the engine makes ► its script ► links to what it made
//!            ► postinstall ► records without marks
//! ```
//! The engine makes every object but the regular files of a class that has a script; classes that follow each other
//! without a script are one batch. A course says nothing about how a script is run, and a batch is planned against
//! the root as it was before the run: [`refresh`](super::refresh) brings it up to date before it is carried out.

use std::collections::BTreeMap;

use crate::inventory::{Installed, Inventory};
use crate::package::{ContentsLine, Ftype, Live, LiveKind, Mode, ObjectPath, OwnerStatus, PkgInst};
use crate::source::PackageImage;

use super::install::Intended;
use super::ledger;
use super::records::package_path;
use super::refusal::Reason;
use super::scripts::{Deliverer, InstallScripts, is_passing};
use super::snapshot::add_kept_by_classes;
use super::target::{Wanted, classes};
use super::undo::as_left;
use super::{Change, NewObject, Plan, RecordChange, TreeContent, TreeFile, UndoArchive};
use order::Order;

mod order;
pub mod removal;

/// The file in a package's directory that says that its installation is not complete.
pub const INSTALL_LOCK: &str = "!I-Lock!";

/// An object of a package, whether it changes or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Where it goes.
    pub path: ObjectPath,
    /// Its type.
    pub ftype: Ftype,
    /// Its class.
    pub class: String,
    /// Whether its mode is `?`: that of what is there, or the usual one.
    pub is_mode_open: bool,
}

/// The steps of a run, and what they may touch.
#[derive(Clone, Debug)]
pub struct Course {
    /// What has to be held so that everything can be put back.
    pub concerned: Concerned,
    /// The steps, from the first to the last but the closing one, which [`Course::close`] makes when it is known what
    /// the scripts left.
    pub steps: Vec<Step>,
    /// The plan of which it is the course, without its changes.
    frame: Plan,
    /// The package.
    package: PkgInst,
    /// The lines of `contents` as they are to be in the end.
    lines: BTreeMap<ObjectPath, Option<ContentsLine>>,
    /// Records that go in the end, if they are there then.
    passing: Vec<ObjectPath>,
    /// The undo archives, which are written in the end: only then it is known what the scripts left.
    undo: Vec<UndoArchive>,
    /// The package before the run, where there are undo archives.
    before: Option<Installed>,
    /// The records that come in the end, together with the archives.
    closing: Vec<RecordChange>,
}

/// What scripts may touch: everything of the packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concerned {
    /// Every path of the packages, with whether it is meant to be edited (types `e` and `v`).
    pub objects: BTreeMap<ObjectPath, bool>,
    /// Directories of records that a script may change as a whole.
    pub trees: Vec<ObjectPath>,
    /// Single records.
    pub files: Vec<ObjectPath>,
}

/// One step.
#[derive(Clone, Debug)]
pub enum Step {
    /// The engine carries changes out.
    Switch(Box<Batch>),
    /// A procedure script runs: `preinstall`, `postinstall`.
    Procedure(&'static str),
    /// The script of a class runs.
    Class(ClassStep),
}

/// Changes that are carried out in one go.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The changes, as a plan of their own.
    pub plan: Plan,
    /// Which of its paths belong to which class, in the order of CLASSES; empty for records alone.
    pub portions: Vec<Portion>,
}

/// The part that one class has of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// The class.
    pub class: String,
    /// Its objects, sorted; hard links apart.
    pub paths: Vec<ObjectPath>,
    /// Its hard links.
    pub links: Vec<ObjectPath>,
    /// Whether the class is complete with it, but for links to what a script makes.
    pub is_complete: bool,
}

/// The work of one class action script.
#[derive(Clone, Debug)]
pub struct ClassStep {
    /// The class.
    pub class: String,
    /// Who delivers the script.
    pub deliverer: Deliverer,
    /// The files that it is to install, sorted by path; the script runs even if there is none.
    pub files: Vec<ListedFile>,
}

/// A file that a class action script installs.
#[derive(Clone, Debug)]
pub struct ListedFile {
    /// Where it goes.
    pub path: ObjectPath,
    /// The delivered object: its body is a member of the source.
    pub new: NewObject,
    /// Its line of `contents`, as it would be if the script copied.
    pub line: ContentsLine,
}

/// What a script left at a path that it was to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing, or no regular file.
    Missing,
    /// A regular file of this size and sum.
    File {
        /// Bytes.
        size: u64,
        /// System V sum.
        cksum: u16,
    },
}

impl Mapped {
    pub(super) fn of(wanted: &Wanted<'_>) -> Self {
        let object = &wanted.object;
        let is_mode_open = object.attributes.mode.is_none() && !object.ftype.is_link();
        Self { path: wanted.path.clone(), ftype: object.ftype, class: object.class.clone(), is_mode_open }
    }
}

impl ListedFile {
    /// What the script left, seen by `live`.
    pub fn outcome(live: Option<&Live>) -> Outcome {
        match live.map(|live| &live.kind) {
            Some(LiveKind::Regular { size, cksum, .. }) => Outcome::File { size: *size, cksum: *cksum },
            _ => Outcome::Missing,
        }
    }
}

impl Course {
    /// The course of an installation. `inventory` is the one that it was planned with.
    pub fn of_installation(
        intended: &Intended,
        image: &PackageImage,
        inventory: &Inventory,
    ) -> Result<Self, Reason> {
        let Intended { plan, scripts, mapped, params, passing: _ } = intended;
        let package = plan.packages.first().cloned().ok_or(Reason::NoSuchPackage)?;
        let order = Order::new(&classes(params), scripts, mapped, plan);
        let listed = order.listed(plan, inventory);
        let mut lines = plan.contents.clone();
        for file in listed.values().flatten() {
            lines.entry(file.path.clone()).or_insert_with(|| Some(file.line.clone()));
        }
        let frame = Plan {
            changes: Vec::new(),
            records: Vec::new(),
            contents: BTreeMap::new(),
            undo: Vec::new(),
            versions: Vec::new(),
            space: Vec::new(),
            discard: Vec::new(),
            notes: Vec::new(),
            ..plan.clone()
        };
        let (opening, closing) = records(intended);
        let mut course = Self {
            concerned: concerned(&package, mapped, plan)?,
            steps: Vec::new(),
            passing: passing(&package, &intended.passing)?,
            undo: plan.undo.clone(),
            before: inventory.packages.get(&package).filter(|_| !plan.undo.is_empty()).cloned(),
            closing,
            frame,
            package,
            lines,
        };
        course.opening(opening, intended, image)?;
        if scripts.preinstall {
            course.steps.push(Step::Procedure("preinstall"));
        }
        course.classes(&order, plan, scripts, listed);
        if scripts.postinstall {
            course.steps.push(Step::Procedure("postinstall"));
        }
        Ok(course)
    }

    /// What scripts may look at: the records, with the lines of the package marked, and the scripts themselves.
    fn opening(
        &mut self,
        mut records: Vec<RecordChange>,
        intended: &Intended,
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
                records.push(RecordChange::Write { path, bytes, mode, mtime: None });
            }
        }
        let contents = self.marked();
        let plan = Plan { records, contents, ..self.frame.clone() };
        self.steps.push(Step::Switch(Box::new(Batch { plan, portions: Vec::new() })));
        Ok(())
    }

    /// The lines that will be, marked as not confirmed.
    fn marked(&self) -> BTreeMap<ObjectPath, Option<ContentsLine>> {
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
        let mut open = Batch { plan: self.frame.clone(), portions: Vec::new() };
        for (at, class) in order.classes.iter().enumerate() {
            let deliverer = scripts.classes.get(class);
            let mut before = slots.remove(&(2 * at)).unwrap_or_default();
            before.1.class.clone_from(class);
            before.1.is_complete = deliverer.is_none() && order.has_objects(class);
            open.add(before);
            let Some(&deliverer) = deliverer else { continue };
            self.flush(&mut open);
            let files = listed.remove(class).unwrap_or_default();
            self.steps.push(Step::Class(ClassStep { class: class.clone(), deliverer, files }));
            let mut after = slots.remove(&(2 * at + 1)).unwrap_or_default();
            after.1.class.clone_from(class);
            open.add(after);
        }
        self.flush(&mut open);
    }

    fn flush(&mut self, open: &mut Batch) {
        let empty = Batch { plan: self.frame.clone(), portions: Vec::new() };
        let mut batch = std::mem::replace(open, empty);
        batch.plan.changes.sort_by(|a, b| a.path.cmp(&b.path));
        if !batch.portions.is_empty() {
            self.steps.push(Step::Switch(Box::new(batch)));
        }
    }

    /// The package whose records have to be looked at again before the closing step, as undo data speaks of them.
    pub fn saved_package(&self) -> Option<&PkgInst> {
        self.before.as_ref().map(|_| &self.package)
    }

    /// The closing step: `contents` without marks, as the scripts left the files (`outcomes`, and what is there now in
    /// `live`) and the records of [`Course::saved_package`] (`now`), the records that only an installation has gone,
    /// undo data come. `is_there` says which records are still there.
    pub fn close(
        &self,
        outcomes: &BTreeMap<ObjectPath, Outcome>,
        live: &BTreeMap<ObjectPath, Live>,
        now: Option<&Installed>,
        is_there: impl Fn(&ObjectPath) -> bool,
    ) -> Batch {
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
        Batch { plan: Plan { records, contents, undo, ..self.frame.clone() }, portions: Vec::new() }
    }

    /// The final line of a path, where the run changes it.
    pub fn line(&self, path: &ObjectPath) -> Option<&ContentsLine> {
        self.lines.get(path).and_then(Option::as_ref)
    }
}

impl Batch {
    fn add(&mut self, (changes, portion): (Vec<Change>, Portion)) {
        self.plan.changes.extend(changes);
        if portion.is_complete || !portion.paths.is_empty() || !portion.links.is_empty() {
            self.portions.push(portion);
        }
    }
}

fn mark(line: &mut ContentsLine, package: &PkgInst, status: Option<OwnerStatus>) {
    for owner in line.owners.iter_mut().filter(|owner| owner.package == *package) {
        owner.status = status;
    }
}

fn concerned(package: &PkgInst, mapped: &[Mapped], plan: &Plan) -> Result<Concerned, Reason> {
    let changed = plan.changes.iter().map(|change| (change.path.clone(), false));
    let mut objects: BTreeMap<ObjectPath, bool> = changed.collect();
    for each in mapped {
        let editable = matches!(each.ftype, Ftype::Editable | Ftype::Volatile);
        objects.insert(each.path.clone(), editable);
    }
    let contents = ObjectPath::new(b"/var/sadm/install/contents");
    let files = contents.into_iter().chain(ledger::paths(&plan.records).cloned()).collect();
    Ok(Concerned { objects, trees: vec![package_path(package, b"")?], files })
}

/// The records that come before the scripts, and the undo data, which come after them.
fn records(intended: &Intended) -> (Vec<RecordChange>, Vec<RecordChange>) {
    let saved: Vec<Vec<u8>> = intended
        .plan
        .packages
        .iter()
        .map(|package| format!("/var/sadm/pkg/{package}/save/").into())
        .collect();
    let comes_last = |record: &RecordChange| {
        if matches!(record, RecordChange::Ledger(_)) {
            return true;
        }
        let path = record.path().as_bytes();
        let below = saved.iter().find_map(|save| path.strip_prefix(save.as_slice()));
        below.is_some_and(|name| !name.starts_with(b"pspool/"))
    };
    let (closing, opening) = intended.plan.records.iter().cloned().partition(comes_last);
    (opening, closing)
}

/// The records that go in the end: the lock, and the scripts that only an installation has a use for.
fn passing(package: &PkgInst, scripts: &[String]) -> Result<Vec<ObjectPath>, Reason> {
    let scripts = scripts.iter().map(|name| format!("install/{name}"));
    scripts.chain([INSTALL_LOCK.to_owned()]).map(|name| package_path(package, name.as_bytes())).collect()
}
