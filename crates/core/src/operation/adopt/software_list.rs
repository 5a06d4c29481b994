//! The list of software from a tree, a file, dpkg or rpm: its paths, and its name there.

use std::collections::BTreeMap;

use patchadm_inputs::native::{FileSum, NativeOrigin, NativePackage, NativeRegistration};
use patchadm_svr4::package::{Ftype, ObjectPath};

/// The contents of a list.
#[derive(Debug, Default)]
pub(super) struct SoftwareList {
    /// The kind of the list, which is recorded for the package where there is no origin.
    pub(super) adopted: &'static str,
    /// The native package that is recorded for it.
    pub(super) origin: Option<NativeOrigin>,
    /// What the registration records of a native package.
    pub(super) registration: Option<NativeRegistration>,
    /// The name of the package that follows from the list.
    pub(super) pkg: Option<String>,
    pub(super) version: Option<String>,
    pub(super) arch: Option<String>,
    pub(super) title: Option<String>,
    /// The paths, each with its type if it is a regular file.
    pub(super) paths: BTreeMap<ObjectPath, Ftype>,
    /// The sums of files according to another package manager.
    pub(super) sums: BTreeMap<ObjectPath, FileSum>,
    /// Whether a missing path is a refusal.
    pub(super) must_be_there: bool,
    pub(super) notes: Vec<String>,
}

impl SoftwareList {
    /// Lists a native package.
    pub(super) fn of_native(package: &NativePackage) -> Self {
        let sums =
            package.paths.iter().filter_map(|(path, native)| Some((path.clone(), native.sum?))).collect();
        Self {
            adopted: package.origin.manager.name(),
            origin: Some(package.origin.clone()),
            registration: Some(package.registration()),
            pkg: Some(package.origin.manager.package_name(&package.origin.name)),
            sums,
            paths: package.paths.iter().map(|(path, native)| (path.clone(), native.ftype)).collect(),
            version: Some(package.version.clone()),
            arch: Some(package.arch.clone()),
            title: package.title.clone(),
            must_be_there: false,
            notes: Vec::new(),
        }
    }
}
