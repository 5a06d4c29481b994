use std::collections::BTreeMap;

use crate::plan::package::remove::RemovalPortion;
use crate::plan::scripts::Deliverer;
use crate::plan::target::Wanted;
use crate::plan::{Change, NewObject, Plan};
use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath, Word};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedObject {
    pub path: ObjectPath,
    pub ftype: Ftype,
    pub class: Word,
    /// The mode is `?`: that of the existing object, or the usual one.
    pub is_mode_open: bool,
}

/// Everything that scripts may touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Concerned {
    /// With true if the path is meant to be edited (types `e` and `v`).
    pub objects: BTreeMap<ObjectPath, bool>,
    /// Directories of records that a script may change as a whole.
    pub trees: Vec<ObjectPath>,
    /// Single records.
    pub files: Vec<ObjectPath>,
}

#[derive(Clone, Debug)]
pub enum PackageStep {
    /// The engine writes the records that scripts may read.
    Records(Box<Plan>),
    /// `preinstall`, `postinstall`, `preremove`, `postremove`.
    Procedure(&'static str),
    Install(Box<ChangeBatch>),
    /// The script of a class installs its files.
    InstallClass(ClassStep),
    /// The engine removes the objects of these classes.
    Remove(Box<Plan>, Vec<RemovalPortion>),
    /// The script of a class removes its objects.
    RemoveClass(RemovalPortion),
}

/// Changes made in one go.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    /// As a plan of their own.
    pub plan: Plan,
    /// By class, in the order of CLASSES.
    pub portions: Vec<Portion>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portion {
    pub class: String,
    /// Sorted, without hard links.
    pub paths: Vec<ObjectPath>,
    pub links: Vec<ObjectPath>,
    /// The class is complete afterwards, except for links to objects that a script makes.
    pub is_complete: bool,
}

#[derive(Clone, Debug)]
pub struct ClassStep {
    pub class: String,
    pub deliverer: Deliverer,
    /// Sorted by path; the script runs even without any.
    pub files: Vec<ListedFile>,
}

#[derive(Clone, Debug)]
pub struct ListedFile {
    pub path: ObjectPath,
    /// Its body is a member of the source.
    pub new: NewObject,
    /// The line of `contents` if the script copies.
    pub line: ContentsLine,
}

/// How a script left a path that it had to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No regular file exists.
    Missing,
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
