//! The places of records in a root: the paths of `var/sadm` that SVR4 tools share, and those of patchadm
//! beside them.

use crate::package::{ObjectPath, PkgInst};

/// Makes a path of a constant or of a valid package name.
fn fixed(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap_or_else(|_| ObjectPath::root())
}

/// Returns the directory of patchadm's own files: journal, stages, history.
pub fn own_directory() -> ObjectPath {
    fixed("/var/sadm/patchadm")
}

/// Returns the mark of a root that an owner other than the superuser changes: owners are recorded only.
pub fn unprivileged() -> ObjectPath {
    fixed("/var/sadm/patchadm/unprivileged")
}

/// Returns the history, one line for each run.
pub fn history() -> ObjectPath {
    fixed("/var/sadm/patchadm/history")
}

/// Returns the directory of `contents` and the lock.
pub fn install() -> ObjectPath {
    fixed("/var/sadm/install")
}

/// Returns contents(4), the database of installed objects.
pub fn contents() -> ObjectPath {
    fixed("/var/sadm/install/contents")
}

/// Returns the stamp of the `contents` that the last run wrote.
pub fn contents_stamp() -> ObjectPath {
    fixed("/var/sadm/patchadm/contents.stamp")
}

/// Returns the directory that has one directory per installed package.
pub fn packages() -> ObjectPath {
    fixed("/var/sadm/pkg")
}

/// Returns the directory that has one directory per applied patch.
pub fn patches() -> ObjectPath {
    fixed("/var/sadm/patch")
}

/// Returns the directory of an installed package.
pub fn package(package: &PkgInst) -> ObjectPath {
    fixed(&format!("/var/sadm/pkg/{package}"))
}

/// Returns the pkginfo file of an installed package.
pub fn pkginfo(package: &PkgInst) -> ObjectPath {
    fixed(&format!("/var/sadm/pkg/{package}/pkginfo"))
}

/// Returns the directory that has one save directory per patch of a package.
pub fn save(package: &PkgInst) -> ObjectPath {
    fixed(&format!("/var/sadm/pkg/{package}/save"))
}

/// Returns the directory of the class action scripts that the system delivers.
pub fn class_scripts() -> ObjectPath {
    fixed("/usr/sadm/install/scripts")
}

/// Returns the policy file of the root.
pub fn policy() -> ObjectPath {
    fixed("/etc/patchadm/policy")
}

/// Returns the directory of the stages on the file system of `var/sadm`.
pub fn stages() -> ObjectPath {
    fixed("/var/sadm/patchadm/stage")
}

/// Returns the directory that has one ledger per package with undo data in this root.
pub fn ledgers() -> ObjectPath {
    fixed("/var/sadm/patchadm/ledger")
}

/// Returns the ledger of a package.
pub fn ledger(package: &PkgInst) -> ObjectPath {
    fixed(&format!("/var/sadm/patchadm/ledger/{package}"))
}
