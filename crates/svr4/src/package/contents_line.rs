//! One line of `contents`: an object of the root and the packages that own it.

use super::{Object, ObjectPath, OwningPackage, PkgInst};

/// An object of the package database (contents(4)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentsLine {
    /// The object's path.
    pub path: ObjectPath,
    /// The optional volume number before the type, kept as it is.
    pub volume: Option<u32>,
    /// The object's type, class, attributes and content, as recorded.
    pub object: Object,
    /// The packages that own the object, in the order of their installation.
    pub owners: Vec<OwningPackage>,
}

impl ContentsLine {
    /// Returns whether `package` owns the object.
    pub fn is_owned_by(&self, package: &PkgInst) -> bool {
        self.owners.iter().any(|owner| owner.package == *package)
    }
}
