//! The steps of a run in which scripts of a package take part, and their subjects.

use std::collections::BTreeMap;

use crate::plan::package::remove::RemovalPortion;
use crate::plan::scripts::Deliverer;
use crate::plan::target::Wanted;
use crate::plan::{Change, NewObject, Plan};
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath, Word};

/// An object of a package, whether it changes or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedObject {
    /// The path that it goes to.
    pub path: ObjectPath,
    /// Its type.
    pub ftype: Ftype,
    /// Its class.
    pub class: Word,
    /// Whether its mode is `?`: that of the existing object, or the usual one.
    pub is_mode_open: bool,
}

/// Everything that scripts may touch: all that belongs to the packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concerned {
    /// Every path of the packages, with whether it is meant to be edited (types `e` and `v`).
    pub objects: BTreeMap<ObjectPath, bool>,
    /// Directories of records that a script may change as a whole.
    pub trees: Vec<ObjectPath>,
    /// Single records.
    pub files: Vec<ObjectPath>,
}

/// One step of a run in which scripts of a package take part.
#[derive(Clone, Debug)]
pub enum PackageStep {
    /// The engine puts the records in place that scripts may look at.
    Records(Box<Plan>),
    /// A procedure script runs: `preinstall`, `postinstall`, `preremove`, `postremove`.
    Procedure(&'static str),
    /// The engine installs objects.
    Install(Box<ChangeBatch>),
    /// The script of a class installs its files.
    InstallClass(ClassStep),
    /// The engine removes the objects of these classes.
    Remove(Box<Plan>, Vec<RemovalPortion>),
    /// The script of a class removes its objects.
    RemoveClass(RemovalPortion),
}

/// Changes that are carried out in one go.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    /// The changes, as a plan of their own.
    pub plan: Plan,
    /// Which of its paths belong to which class, in the order of CLASSES.
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
    /// The one who delivers the script.
    pub deliverer: Deliverer,
    /// The files for it to install, sorted by path; the script runs even without any.
    pub files: Vec<ListedFile>,
}

/// A file that a class action script installs.
#[derive(Clone, Debug)]
pub struct ListedFile {
    /// The path that it goes to.
    pub path: ObjectPath,
    /// The delivered object: its body is a member of the source.
    pub new: NewObject,
    /// Its line of `contents`, as it would be if the script copied.
    pub line: ContentsLine,
}

/// The state in which a script left a path that it was to install.
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

impl MappedObject {
    pub(in crate::plan) fn of(wanted: &Wanted<'_>) -> Self {
        let object = &wanted.object;
        let is_mode_open = object.attributes.mode.is_none() && !object.ftype.is_link();
        Self { path: wanted.path.clone(), ftype: object.ftype, class: object.class.clone(), is_mode_open }
    }
}

impl ListedFile {
    /// Judges what the script left, seen by `live`.
    pub fn outcome(live: Option<&Live>) -> Outcome {
        match live.map(|live| &live.kind) {
            Some(LiveKind::Regular { size, cksum, .. }) => Outcome::File { size: *size, cksum: *cksum },
            _ => Outcome::Missing,
        }
    }
}

impl ChangeBatch {
    pub(super) fn add(&mut self, (changes, portion): (Vec<Box<Change>>, Portion)) {
        self.plan.changes.extend(changes);
        if portion.is_complete || !portion.paths.is_empty() || !portion.links.is_empty() {
            self.portions.push(portion);
        }
    }
}
