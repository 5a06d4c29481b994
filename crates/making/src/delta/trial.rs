//! The trial of patches between their making and their entry: what was made is no patch until it has passed, and uses up no
//! revision before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchadm_svr4::patch::PatchId;

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
