//! The request for a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::trial::PatchTrials;
use crate::build::{BuildRequest, LibraryFeature, PatchForm};
use patchadm_rootfs::WorkMeter;
use patchadm_svr4::patch::PatchId;

/// A run: two directories of packages, and the output to make from them.
pub struct DeltaRequest<'a> {
    /// The packages as they were released.
    pub release: &'a Path,
    /// The packages as they are maintained.
    pub stable: &'a Path,
    /// The working directory, made if it is missing.
    pub work: &'a Path,
    /// The bases of patch ids that are given to sources. What the working directory has is not given again.
    pub bases: BTreeMap<String, String>,
    /// The sources that are looked at; none are all.
    pub only: &'a [String],
    /// The form of the patches; one file.
    pub form: PatchForm,
    /// Whether the highest patch of a source is built again, if it is not signed.
    pub rebuild: bool,
    /// Whether nothing is written.
    pub is_dry_run: bool,
    /// The patch to be made, by its id. For every id it says the same.
    pub patch: &'a (dyn Fn(PatchId) -> BuildRequest + Sync),
    /// Patches, or directories of patches, that none must overlap.
    pub against: &'a [PathBuf],
    /// What sources need that only patches of other sources bring: their patches require those.
    pub needs: BTreeMap<String, Vec<NeededFeature>>,
    /// The trial that patches must pass before they are entered; without one they are entered as they are made.
    pub trials: Option<&'a dyn PatchTrials>,
    /// The number of threads.
    pub cores: usize,
    /// Tells whether a signal wants the work to end.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Knows how far the work is.
    pub meter: WorkMeter,
}

/// Something that the maintained packages of a source need and another source brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededFeature {
    /// The source that brings it.
    pub source: String,
    /// The library, or a symbol version of it.
    pub feature: LibraryFeature,
}
