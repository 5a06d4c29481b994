//! The places whose owner and mode decide whether the records of a root are trusted.

use patchadm_rootfs::RecordPlaces;
use patchadm_svr4::package::ObjectPath;

use super::places::{self, class_scripts, install, own_directory, packages, patches, stages};

fn fixed(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap_or_else(|_| ObjectPath::root())
}

/// Returns the places of all records of a root. A user who may write there decides what the superuser's changes do.
pub fn records() -> RecordPlaces {
    RecordPlaces {
        tree: places::records(),
        used: vec![install(), packages(), patches(), own_directory(), stages()],
        stages: Some(stages()),
        elsewhere: vec![fixed("/etc/patchadm"), fixed("/etc/passwd"), fixed("/etc/group"), class_scripts()],
    }
}

/// Returns the directory of the host's policy, which binds the superuser.
pub fn host_policy() -> RecordPlaces {
    RecordPlaces { tree: fixed("/etc/patchadm"), used: Vec::new(), stages: None, elsewhere: Vec::new() }
}
