//! The steps of a run in which scripts of a package take part, and their subjects.

use std::collections::BTreeMap;

use crate::plan::package::remove::RemovalPortion;
use crate::plan::scripts::Deliverer;
use crate::plan::target::Wanted;
use crate::plan::{Change, NewObject, Plan};
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath, Word};

/// An object of a package, changed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedObject {
    /// Its destination.
    pub path: ObjectPath,
    /// Its type.
    pub ftype: Ftype,
    /// Its class.
    pub class: Word,
    /// True if its mode is `?`: that of the existing object, or the usual one.
    pub is_mode_open: bool,
}

/// Everything that scripts may touch: all objects and records of the packages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concerned {
    /// Every path of the packages, with true if it is meant to be edited (types `e` and `v`).
    pub objects: BTreeMap<ObjectPath, bool>,
    /// Directories of records that a script may change as a whole.
    pub trees: Vec<ObjectPath>,
    /// Single records.
    pub files: Vec<ObjectPath>,
}

/// One step of a run in which scripts of a package take part.
#[derive(Clone, Debug)]
pub enum PackageStep {
    /// The engine writes the records that scripts may read.
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
    /// The paths of each class among them, in the order of CLASSES.
    pub portions: Vec<Portion>,
}

/// The part of one class in a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// The class.
    pub class: String,
    /// Its objects, sorted; hard links apart.
    pub paths: Vec<ObjectPath>,
    /// Its hard links.
    pub links: Vec<ObjectPath>,
    /// True if the class is complete after it, except for links to objects that a script makes.
    pub is_complete: bool,
}

/// The work of one class action script.
#[derive(Clone, Debug)]
pub struct ClassStep {
    /// The class.
    pub class: String,
    /// The provider of the script.
    pub deliverer: Deliverer,
    /// The files that it installs, sorted by path; the script runs even without any.
    pub files: Vec<ListedFile>,
}

/// A file that a class action script installs.
#[derive(Clone, Debug)]
pub struct ListedFile {
    /// Its destination.
    pub path: ObjectPath,
    /// The delivered object: its body is a member of the source.
    pub new: NewObject,
    /// Its line of `contents` if the script copies.
    pub line: ContentsLine,
}

/// The state in which a script left a path that it had to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No regular file exists.
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
    /// Judges the result of the script, as `live` shows it.
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
