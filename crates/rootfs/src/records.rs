use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

use super::ForeignTree;
use super::mounts::Mounts;
use patchadm_svr4::package::ObjectPath;

/// The places of a root's records, before any link among them is followed.
#[derive(Clone, Debug)]
pub struct RecordPlaces {
    pub tree: ObjectPath,
    /// The directories that every change uses.
    pub used: Vec<ObjectPath>,
    /// Objects two or more levels below it may belong to any user.
    pub stages: Option<ObjectPath>,
    /// Directories and files outside the tree that count as records when they are used.
    pub elsewhere: Vec<ObjectPath>,
}

/// The records of a root, and the objects already found to be the superuser's.
#[derive(Debug)]
pub(crate) struct RecordGuard {
    pub(super) places: RecordPlaces,
    /// Set if the root is not the superuser's, whatever owners it shows.
    pub(super) foreign: Option<ForeignTree>,
    pub(super) areas: OnceLock<Vec<RecordArea>>,
    pub(super) stages: OnceLock<ObjectPath>,
    pub(super) linked: RwLock<Vec<ObjectPath>>,
    pub(super) checked: RwLock<HashSet<ObjectPath>>,
    pub(super) mounts: Mutex<Mounts>,
    pub(super) outside_containers: Mutex<HashSet<u64>>,
}

#[derive(Clone, Debug)]
pub(super) struct RecordArea {
    pub(super) place: ObjectPath,
    /// Every directory on the way, including those reached through links.
    pub(super) way: Vec<ObjectPath>,
}

impl RecordGuard {
    pub(crate) fn new(places: RecordPlaces, foreign: Option<ForeignTree>) -> Self {
        Self {
            places,
            foreign,
            areas: OnceLock::new(),
            stages: OnceLock::new(),
            linked: RwLock::default(),
            checked: RwLock::default(),
            mounts: Mutex::default(),
            outside_containers: Mutex::default(),
        }
    }

    pub(crate) fn holds_records(&self, directory: &ObjectPath) -> bool {
        let areas = self.areas.get().map(Vec::as_slice).unwrap_or_default();
        self.is_record(directory) || areas.iter().any(|area| area.place.parent().as_ref() == Some(directory))
    }

    pub(super) fn is_record(&self, physical: &ObjectPath) -> bool {
        if self.stages.get().is_some_and(|stages| is_of_stage(stages, physical)) {
            return false;
        }
        let is_in = |place: &ObjectPath| physical == place || physical.is_below(place);
        self.areas.get().is_some_and(|areas| areas.iter().any(|area| is_in(&area.place)))
            || self.linked.read().unwrap_or_else(PoisonError::into_inner).iter().any(is_in)
    }

    pub(super) fn is_known(&self, directory: &ObjectPath) -> bool {
        self.checked.read().unwrap_or_else(PoisonError::into_inner).contains(directory)
    }
}

/// Returns true for a path in the stage of a run: objects of all owners, below a private directory.
fn is_of_stage(stages: &ObjectPath, physical: &ObjectPath) -> bool {
    physical.is_below(stages) && physical.parent().is_some_and(|parent| parent.is_below(stages))
}
