//! The places of records in a root: paths of `var/sadm` that SVR4 tools share, and those of patchadm.

use std::fmt::Display;

use crate::package::{ObjectPath, PathError, PkgInst};

/// The tree of all records.
pub const RECORDS: &str = "/var/sadm";

/// The prefix of paths below the directory of packages.
pub const BELOW_PACKAGES: &str = "/var/sadm/pkg/";

/// The prefix of paths below the directory of patches.
pub const BELOW_PATCHES: &str = "/var/sadm/patch/";

/// The directory of patchadm's own files.
pub const OWN_DIRECTORY: &str = "/var/sadm/patchadm";

/// The prefix of the paths of patchadm's own files.
pub const BELOW_OWN_DIRECTORY: &str = "/var/sadm/patchadm/";

/// The log of the root, beside those of its patches.
pub const OWN_LOG: &str = "/var/sadm/patchadm/log";

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

const SETTINGS: &str = "/etc/patchadm";

/// Below these directories, every object is a record.
const RECORD_DIRECTORIES: [&str; 3] = [BELOW_PACKAGES, BELOW_PATCHES, BELOW_OWN_DIRECTORY];

/// Records beside delivered objects, besides [`BESIDE_CONTENTS`].
const RECORD_FILES: [&str; 3] = [OWN_DIRECTORY, CONTENTS, PKGLOG];

/// Returns true if a path belongs to the records of packages or of patchadm.
pub fn is_record(path: &ObjectPath) -> bool {
    let path = path.as_bytes();
    RECORD_FILES.iter().chain(&BESIDE_CONTENTS).any(|file| file.as_bytes() == path)
        || RECORD_DIRECTORIES.iter().any(|directory| path.starts_with(directory.as_bytes()))
}

/// Returns true if a path belongs to the settings of patchadm.
pub fn is_setting(path: &ObjectPath) -> bool {
    let rest = path.as_bytes().strip_prefix(SETTINGS.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Returns true if a path is a record or a setting. No object may be delivered, copied or removed there.
pub fn is_reserved(path: &ObjectPath) -> bool {
    is_record(path) || is_setting(path)
}

/// `path` must be a constant or have a valid package name.
fn fixed(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap_or_else(|_| ObjectPath::root())
}

/// Returns the tree of all records.
pub fn records() -> ObjectPath {
    fixed(RECORDS)
}

/// Returns the directory of patchadm's own files: journal, stages, history.
pub fn own_directory() -> ObjectPath {
    fixed(OWN_DIRECTORY)
}

/// Returns the mark of a root that a user other than the superuser manages: owners are only recorded there.
pub fn unprivileged() -> ObjectPath {
    fixed("/var/sadm/patchadm/unprivileged")
}

/// Returns the identity of the root: one line with its marker.
pub fn root_id() -> ObjectPath {
    fixed("/var/sadm/patchadm/root-id")
}

/// Returns the history, one line for each run.
pub fn history() -> ObjectPath {
    fixed("/var/sadm/patchadm/history")
}

/// Returns the list of runs that failed before changing anything, one line each.
pub fn attempts() -> ObjectPath {
    fixed("/var/sadm/patchadm/attempts")
}

/// Returns the list of patches that ended because the native package manager changed their package.
pub fn lost() -> ObjectPath {
    fixed("/var/sadm/patchadm/lost")
}

/// Returns the directory of the trial. It exists as long as a run is on trial.
pub fn trial() -> ObjectPath {
    fixed("/var/sadm/patchadm/trial")
}

/// Returns the record of the trial.
pub fn trial_record() -> ObjectPath {
    fixed("/var/sadm/patchadm/trial/record")
}

/// Returns the list of the depots known to the root.
pub fn depots() -> ObjectPath {
    fixed("/var/sadm/patchadm/depots")
}

/// Returns the list of the stages made from the root.
pub fn stage_list() -> ObjectPath {
    fixed("/var/sadm/patchadm/stages")
}

/// Returns the identity of a stage. Only a root that is a stage has this file.
pub fn stage_identity() -> ObjectPath {
    fixed("/.patchadm-stage/identity")
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

/// Returns the policy file of the root.
pub fn policy() -> ObjectPath {
    fixed("/etc/patchadm/policy")
}

/// Returns the directory of the keys that the root trusts, unless its policy names another.
pub fn keys() -> ObjectPath {
    fixed("/etc/patchadm/keys")
}

/// Returns the directory of the stages on the file system of `var/sadm`.
pub fn stages() -> ObjectPath {
    fixed("/var/sadm/patchadm/stage")
}

/// Returns the directory of the stages on the file system of the root's topmost directory, where that is another one.
pub fn stages_at_top() -> ObjectPath {
    fixed("/.patchadm")
}

/// Returns the directory that has one ledger per package with undo data in this root.
pub fn ledgers() -> ObjectPath {
    fixed("/var/sadm/patchadm/ledger")
}

/// Returns the ledger of a package.
pub fn ledger(package: &PkgInst) -> ObjectPath {
    fixed(&format!("/var/sadm/patchadm/ledger/{package}"))
}
