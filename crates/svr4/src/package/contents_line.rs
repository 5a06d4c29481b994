//! A line of `contents`: an object of the root and who owns it.

use super::{Object, ObjectPath, OwningPackage, PkgInst};

/// One object of the package database (contents(4)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentsLine {
    /// Where the object is.
    pub path: ObjectPath,
    /// The volume number that may stand before the type; kept as it is.
    pub volume: Option<u32>,
    /// What it should be.
    pub object: Object,
    /// Its owners, in the order in which they were installed.
    pub owners: Vec<OwningPackage>,
}

impl ContentsLine {
    /// Whether `package` owns it.
    pub fn is_owned_by(&self, package: &PkgInst) -> bool {
        self.owners.iter().any(|owner| owner.package == *package)
    }
}
