//! Where the records of a root are: the paths of `var/sadm` that SVR4 tools share, and our own beside them.

use crate::package::{ObjectPath, PkgInst};

/// A path that is known to be one.
fn fixed(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap_or_else(|_| ObjectPath::root())
}

/// The directory of our own files: journal, stages, history.
pub fn own_directory() -> ObjectPath {
    fixed("/var/sadm/patchadm")
}

/// The mark of a root that is changed by an owner who is not the superuser: owners are recorded only.
pub fn unprivileged() -> ObjectPath {
    fixed("/var/sadm/patchadm/unprivileged")
}

/// One line for each run.
pub fn history() -> ObjectPath {
    fixed("/var/sadm/patchadm/history")
}

/// The directory of `contents` and the lock.
pub fn install() -> ObjectPath {
    fixed("/var/sadm/install")
}

/// contents(4): one line for each object.
pub fn contents() -> ObjectPath {
    fixed("/var/sadm/install/contents")
}

/// What is known of the `contents` that the last run wrote: `format::contents_stamp`.
pub fn contents_stamp() -> ObjectPath {
    fixed("/var/sadm/patchadm/contents.stamp")
}

/// The directory with a directory for each installed package.
pub fn packages() -> ObjectPath {
    fixed("/var/sadm/pkg")
}

/// The directory with a directory for each applied patch.
pub fn patches() -> ObjectPath {
    fixed("/var/sadm/patch")
}

/// The directory of a package.
pub fn package(package: &PkgInst) -> ObjectPath {
    fixed(&format!("/var/sadm/pkg/{package}"))
}

/// The installed parameters of a package.
pub fn pkginfo(package: &PkgInst) -> ObjectPath {
    fixed(&format!("/var/sadm/pkg/{package}/pkginfo"))
}

/// The directory with a save directory for each patch of a package.
pub fn save(package: &PkgInst) -> ObjectPath {
    fixed(&format!("/var/sadm/pkg/{package}/save"))
}

/// The directory of the class action scripts that the system delivers.
pub fn class_scripts() -> ObjectPath {
    fixed("/usr/sadm/install/scripts")
}

/// The policy of the root.
pub fn policy() -> ObjectPath {
    fixed("/etc/patchadm/policy")
}

/// The directory of the stages of runs that are not on other file systems.
pub fn stages() -> ObjectPath {
    fixed("/var/sadm/patchadm/stage")
}

/// The directory with the ledger of each package whose undo data this root keeps.
pub fn ledgers() -> ObjectPath {
    fixed("/var/sadm/patchadm/ledger")
}

/// The ledger of a package: `format::ledger`.
pub fn ledger(package: &PkgInst) -> ObjectPath {
    fixed(&format!("/var/sadm/patchadm/ledger/{package}"))
}
