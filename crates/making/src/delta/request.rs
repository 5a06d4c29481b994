//! The request for a run, with the trials of its patches.
//!
//! A patch is tried after it is made and before it is entered: until it has passed, it is no patch and uses up no
//! revision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::build::{BuildRequest, LibraryFeature, PatchForm};
use patchadm_rootfs::WorkMeter;
use patchadm_svr4::patch::PatchId;

/// A run over two directories of packages.
pub struct DeltaRequest<'a> {
    /// The released packages.
    pub release: &'a Path,
    /// The maintained packages.
    pub stable: &'a Path,
    /// The working directory, made if it is missing.
    pub work: &'a Path,
    /// Bases of patch ids for sources. Those in the working directory take precedence.
    pub bases: BTreeMap<String, String>,
    /// The sources to build; all if empty.
    pub only: &'a [String],
    /// A form that is one file.
    pub form: PatchForm,
    /// True if the highest patch of a source is built again, unless it is signed.
    pub rebuild: bool,
    /// Whether nothing is written.
    pub is_dry_run: bool,
    /// Returns the request for a patch by its id, always the same for an id.
    pub patch: &'a (dyn Fn(PatchId) -> BuildRequest + Sync),
    /// Patches, or directories of patches, that must not overlap with the new ones.
    pub against: &'a [PathBuf],
    /// Features that only patches of other sources provide, and which must be required.
    pub needs: BTreeMap<String, Vec<NeededFeature>>,
    /// The trial of patches before they are entered, if any.
    pub trials: Option<&'a dyn PatchTrials>,
    /// The number of threads.
    pub cores: usize,
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Measures progress.
    pub meter: WorkMeter,
}

/// A feature that a source needs and another source provides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededFeature {
    /// The source that brings it.
    pub source: String,
    /// The library, or a symbol version of it.
    pub feature: LibraryFeature,
}

/// Tries patches. Calls may be concurrent.
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
    /// The sources whose patches keep the others from passing, each with the reason. Empty if unknown.
    pub guilty: BTreeMap<String, String>,
}

/// A patch that was made and is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct PatchToTry<'a> {
    pub source: &'a str,
    pub id: &'a PatchId,
    pub path: &'a Path,
    /// Required patches of other sources, recursively.
    pub required: &'a [MadePatch],
}

/// A patch of the working directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadePatch {
    pub source: String,
    pub id: String,
    pub path: PathBuf,
}

/// The outcome of a trial.
#[derive(Debug)]
pub struct TriedPatches {
    /// The output.
    pub log: Vec<u8>,
    /// Why it failed.
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
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

/// The trial of the patches of all sources together.
#[derive(Debug)]
pub struct TogetherReport {
    /// Why it failed.
    pub failure: Option<TrialFailure>,
    pub log: PathBuf,
}
