//! The places of patchadm's own records and settings.

use super::{BELOW_PACKAGES, BELOW_PATCHES, BESIDE_CONTENTS, CONTENTS, PKGLOG, fixed};
use crate::package::{ObjectPath, PkgInst};

/// The directory of patchadm's own files.
pub const OWN_DIRECTORY: &str = "/var/sadm/patchadm";

/// The prefix of the paths of patchadm's own files.
pub const BELOW_OWN_DIRECTORY: &str = "/var/sadm/patchadm/";

/// The log of the root, beside those of its patches.
pub const OWN_LOG: &str = "/var/sadm/patchadm/log";

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

/// Returns the stamp of the `contents` that the last run wrote.
pub fn contents_stamp() -> ObjectPath {
    fixed("/var/sadm/patchadm/contents.stamp")
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

/// Returns the directory of the undo directories on the file system of the records.
pub fn undo_directories() -> ObjectPath {
    fixed("/var/sadm/patchadm/undo")
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
