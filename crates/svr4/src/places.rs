//! The places of records in a root: the paths of `var/sadm` that SVR4 tools share.

use std::fmt::Display;

use crate::package::{ObjectPath, PathError, PkgInst};

mod own;

#[doc(hidden)]
pub use own::{
    BELOW_OWN_DIRECTORY, OWN_DIRECTORY, OWN_LOG, attempts, contents_stamp, depots, history, is_record,
    is_reserved, is_setting, keys, ledger, ledgers, lost, own_directory, policy, root_id, stage_identity,
    stage_list, stages, stages_at_top, trial, trial_record, undo_directories, unprivileged,
};

/// The tree of all records.
pub const RECORDS: &str = "/var/sadm";

/// The prefix of paths below the directory of packages.
pub const BELOW_PACKAGES: &str = "/var/sadm/pkg/";

/// The prefix of paths below the directory of patches.
pub const BELOW_PATCHES: &str = "/var/sadm/patch/";

/// contents(4), the database of installed objects.
pub const CONTENTS: &str = "/var/sadm/install/contents";

/// The log of changes that another tool has not yet written into `contents` (pkglog in contents(5)).
pub const PKGLOG: &str = "/var/sadm/install/pkglog";

/// The files of the classic tools beside `contents`: copies of it, and locks.
pub const BESIDE_CONTENTS: [&str; 4] = [
    "/var/sadm/install/t.contents",
    "/var/sadm/install/s.contents",
    "/var/sadm/install/.lockfile",
    "/var/sadm/install/.pkg.lock",
];

/// `path` must be a constant or have a valid package name.
fn fixed(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap_or_else(|_| ObjectPath::root())
}

/// Returns the tree of all records.
pub fn records() -> ObjectPath {
    fixed(RECORDS)
}

/// Returns the directory of `contents` and the lock.
pub fn install() -> ObjectPath {
    fixed("/var/sadm/install")
}

/// Returns contents(4), the database of installed objects.
pub fn contents() -> ObjectPath {
    fixed(CONTENTS)
}

/// Returns the log of changes that another tool has not yet written into `contents`.
pub fn pkglog() -> ObjectPath {
    fixed(PKGLOG)
}

/// Returns the directory that has one directory per installed package.
pub fn packages() -> ObjectPath {
    fixed("/var/sadm/pkg")
}

/// Returns the directory that has one directory per applied patch.
pub fn patches() -> ObjectPath {
    fixed("/var/sadm/patch")
}

/// Returns the directory of an applied patch; fails if `id` makes no valid path.
pub fn patch(id: impl Display) -> Result<ObjectPath, PathError> {
    ObjectPath::new(format!("{BELOW_PATCHES}{id}").as_bytes())
}

/// Returns the log of an applied patch; fails as [`patch`] does.
pub fn patch_log(id: impl Display) -> Result<ObjectPath, PathError> {
    patch(format_args!("{id}/log"))
}

/// Returns the directory of an installed package.
pub fn package(package: &PkgInst) -> ObjectPath {
    fixed(&format!("{BELOW_PACKAGES}{package}"))
}

/// Returns the pkginfo file of an installed package.
pub fn pkginfo(package: &PkgInst) -> ObjectPath {
    fixed(&format!("{BELOW_PACKAGES}{package}/pkginfo"))
}

/// Returns the directory that has one save directory per patch of a package.
pub fn save(package: &PkgInst) -> ObjectPath {
    fixed(&format!("{BELOW_PACKAGES}{package}/save"))
}

/// Returns the copy of the pkgmap with which a package was delivered.
pub fn delivered_pkgmap(package: &PkgInst) -> ObjectPath {
    fixed(&format!("{BELOW_PACKAGES}{package}/save/pspool/{package}/pkgmap"))
}

/// Returns the directory of the kept scripts of an installed package.
pub fn package_scripts(package: &PkgInst) -> ObjectPath {
    fixed(&format!("{BELOW_PACKAGES}{package}/install"))
}

/// Returns the directory of the class action scripts that the system delivers.
pub fn class_scripts() -> ObjectPath {
    fixed("/usr/sadm/install/scripts")
}
