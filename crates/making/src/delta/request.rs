//! The request for a run, with the trials of its patches.
//!
//! A patch is tried after it is made and before it is entered: until it has passed, it is no patch and uses up no
//! revision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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

/// Tries patches. Several may be tried at a time.
pub trait PatchTrials: Sync {
    /// Tries a patch that was made now.
    fn try_patch(&self, patch: &PatchToTry<'_>) -> TriedPatches;

    /// Tries the patches of all sources together.
    fn try_together(&self, patches: &[MadePatch]) -> TriedTogether;
}

/// The outcome of the trial of patches together.
#[derive(Debug)]
pub struct TriedTogether {
    /// The trial of all of them.
    pub tried: TriedPatches,
    /// Where it was not passed, the sources whose patches keep the others from passing, each with the reason. Empty if they are
    /// not known.
    pub guilty: BTreeMap<String, String>,
}

/// A patch that was made and is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct PatchToTry<'a> {
    /// Its source.
    pub source: &'a str,
    /// Its id.
    pub id: &'a PatchId,
    /// The patch.
    pub path: &'a Path,
    /// The patches of other sources that it requires, and those that these require.
    pub required: &'a [MadePatch],
}

/// A patch of the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadePatch {
    /// Its source.
    pub source: String,
    /// Its id.
    pub id: String,
    /// The patch.
    pub path: PathBuf,
}

/// The outcome of a trial.
#[derive(Debug)]
pub struct TriedPatches {
    /// What was printed meanwhile.
    pub log: Vec<u8>,
    /// Why it was not passed.
    pub end: Result<(), TrialFailure>,
}

/// The reason why a trial was not passed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrialFailure {
    /// The patch is not as it must be.
    #[error("{0}")]
    Patch(String),
    /// The machine failed: nothing is known of the patch.
    #[error("it could not be tried: {0}")]
    Machine(String),
    /// A signal came.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

/// The trial of the patches of all sources together.
#[derive(Debug)]
pub struct TogetherReport {
    /// Why it was not passed, if it was not.
    pub failure: Option<TrialFailure>,
    /// Its log.
    pub log: PathBuf,
}
