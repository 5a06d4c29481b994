//! The places whose owner and mode decide whether the records of a root are believed.

use crate::package::ObjectPath;
use crate::root::RecordPlaces;

use super::places::{class_scripts, install, own_directory, packages, patches, stages};

fn fixed(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap_or_else(|_| ObjectPath::root())
}

/// Everything of a root that is a record: what whoever may write to it decides when the superuser changes the root.
pub fn records() -> RecordPlaces {
    RecordPlaces {
        tree: fixed("/var/sadm"),
        used: vec![install(), packages(), patches(), own_directory(), stages()],
        stages: Some(stages()),
        elsewhere: vec![fixed("/etc/patchadm"), fixed("/etc/passwd"), fixed("/etc/group"), class_scripts()],
    }
}

/// The directory of the policy of the host, which binds the superuser.
pub fn host_policy() -> RecordPlaces {
    RecordPlaces { tree: fixed("/etc/patchadm"), used: Vec::new(), stages: None, elsewhere: Vec::new() }
}
