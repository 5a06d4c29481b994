//! The values that a settlement of kept libraries rests on.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_changeset::RecordFile;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

use crate::plan::clock::Now;
use crate::plan::{NewObject, Plan};
use patchadm_inputs::inventory::{Inventory, KeptLibraries};

/// Why libraries are kept.
#[derive(Clone, Copy, Debug)]
pub struct KeepingCause<'a> {
    /// The change that takes them away, as `KEPT_BY` has it: a patch, or a command.
    pub by: &'a str,
    /// Whether the patch forbids keeping, and it was demanded all the same.
    pub is_forced: bool,
}

/// Where an object is from that is kept after a plan.
#[derive(Clone, Debug)]
pub enum StayingOrigin {
    /// The plan would take it away.
    TakenAway,
    /// It is kept already.
    Kept,
    /// An undo archive brings it back.
    Archived(Box<ArchivedLibrary>),
}

/// A kept object that an undo archive has.
#[derive(Clone, Debug)]
pub struct ArchivedLibrary {
    /// The package that kept it.
    pub package: PkgInst,
    /// Its line of `contents`.
    pub line: ContentsLine,
    /// The object that is made.
    pub object: NewObject,
    /// The same as it will be seen.
    pub live: Live,
}

/// An object that is kept after a plan.
#[derive(Clone, Debug)]
pub struct StayingLibrary {
    /// Its origin.
    pub origin: StayingOrigin,
    /// Its consumers: how they need it, and the path. Processes are not among them.
    pub consumers: BTreeSet<(&'static str, ObjectPath)>,
    /// The packages that own a consumer of it.
    pub dependents: BTreeSet<PkgInst>,
    /// The packages that own what it needs itself.
    pub needs: BTreeSet<PkgInst>,
}

/// The inputs of a settlement.
#[derive(Clone, Copy, Debug)]
pub struct KeptInput<'a> {
    /// The plan, made as if nothing were kept.
    pub plan: &'a Plan,
    /// The inventory that it was made against.
    pub inventory: &'a Inventory,
    /// The libraries that are kept before.
    pub kept: &'a KeptLibraries,
    /// The libraries that are kept afterwards; `None` if no consumers were determined: then all kept libraries stay.
    pub staying: Option<&'a BTreeMap<ObjectPath, StayingLibrary>>,
    /// The records of packages that archives bring back, by package and name.
    pub archived_packages: &'a BTreeMap<PkgInst, BTreeMap<Vec<u8>, RecordFile>>,
    /// Directories that archives bring back, if libraries in them come back.
    pub archived_directories: &'a BTreeMap<ObjectPath, ArchivedLibrary>,
    /// Kept objects that the plan brings itself, with the same bytes and attributes.
    pub returned: &'a BTreeSet<ObjectPath>,
    /// Why libraries are kept that the plan takes away.
    pub cause: KeepingCause<'a>,
    /// The moment of the run.
    pub now: &'a Now,
}
