//! The request for a run, with trials of patches.
//!
//! A patch is tried before it is entered: until it has passed, it uses no revision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::build::{BuildRequest, LibraryFeature, PatchForm};
use patchadm_rootfs::WorkMeter;
use patchadm_svr4::patch::PatchId;

pub struct DeltaRequest<'a> {
    pub release: &'a Path,
    pub stable: &'a Path,
    /// Made if missing.
    pub work: &'a Path,
    /// Bases in the working directory take precedence.
    pub bases: BTreeMap<String, String>,
    /// Sources to build; all if empty.
    pub only: &'a [String],
    /// A form with one file.
    pub form: PatchForm,
    /// Rebuild the highest patch of a source, unless it is signed.
    pub rebuild: bool,
    pub is_dry_run: bool,
    /// Returns the request for a patch, always the same for an id.
    pub patch: &'a (dyn Fn(PatchId) -> BuildRequest + Sync),
    /// Patches, or directories of them, that must not overlap with the new ones.
    pub against: &'a [PathBuf],
    /// Features that only patches of other sources provide: those must be required.
    pub needs: BTreeMap<String, Vec<NeededFeature>>,
    /// Tries patches before they are entered.
    pub trials: Option<&'a dyn PatchTrials>,
    pub cores: usize,
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    pub meter: WorkMeter,
}

/// A feature that another source provides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeededFeature {
    /// The source that provides it.
    pub source: String,
    /// A library, or a symbol version of it.
    pub feature: LibraryFeature,
}

/// Calls may be concurrent.
pub trait PatchTrials: Sync {
    fn try_patch(&self, patch: &PatchToTry<'_>) -> TriedPatches;

    fn try_together(&self, patches: &[MadePatch]) -> TriedTogether;
}

#[derive(Debug)]
pub struct TriedTogether {
    /// The trial of all of them.
    pub tried: TriedPatches,
    /// Sources whose patches spoil the trial, with reasons. Empty if unknown.
    pub guilty: BTreeMap<String, String>,
}

/// A new patch to try.
#[derive(Clone, Copy, Debug)]
pub struct PatchToTry<'a> {
    pub source: &'a str,
    pub id: &'a PatchId,
    pub path: &'a Path,
    /// Required patches of other sources, recursively.
    pub required: &'a [MadePatch],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadePatch {
    pub source: String,
    pub id: String,
    pub path: PathBuf,
}

#[derive(Debug)]
pub struct TriedPatches {
    pub log: Vec<u8>,
    /// Why it failed.
    pub end: Result<(), TrialFailure>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrialFailure {
    /// The patch is faulty.
    #[error("{0}")]
    Patch(String),
    /// The machine failed: nothing is known of the patch.
    #[error("it could not be tried: {0}")]
    Machine(String),
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

#[derive(Debug)]
pub struct TogetherReport {
    /// Why it failed.
    pub failure: Option<TrialFailure>,
    pub log: PathBuf,
}
