//! The request for a run with its trials of patches, the report of the run, and its errors.
//!
//! A patch is tried before it is entered: until it has passed, it uses no revision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use patchadm_rootfs::{LockError, RootError, WorkMeter};
use patchadm_svr4::patch::{PatchId, PatchIdError, RequirementsError};
use serde::{Serialize, Serializer};

use super::state::{BuiltNews, StateError};
use crate::build::{BuildError, BuildRequest, LibraryFeature, PatchForm, PreviousError, UnpairedPackage};
use crate::release::ReleaseError;

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
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

#[derive(Debug)]
pub struct TogetherReport {
    /// Why it failed.
    pub failure: Option<TrialFailure>,
    pub log: PathBuf,
}

/// Ends a run before all sources were built. Finished patches stay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    #[error(transparent)]
    Set(#[from] ReleaseError),
    #[error(transparent)]
    Work(#[from] RootError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error("{}: {error}", .path.display())]
    State { path: PathBuf, error: StateError },
    /// A source already has another base.
    #[error("the patches of source {name} are {had}-NN, and {wanted} cannot become their base")]
    OtherBase { name: String, had: String, wanted: String },
    /// Two sources would get one base.
    #[error("{first} and {second} would both have the base {base}")]
    SameBase { first: String, second: String, base: String },
    #[error("no package of either directory is built from source {0}")]
    UnknownSource(String),
    #[error(transparent)]
    Against(#[from] PreviousError),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

/// Why a source has no current patch. Other sources are still built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceFailure {
    #[error("{0}")]
    Release(Arc<ReleaseError>),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Previous(#[from] PreviousError),
    #[error(transparent)]
    Work(#[from] RootError),
    /// Not possible in a list.
    #[error("<{0}> is not one word, and not a name for a source")]
    Name(String),
    /// Not possible at the start of a patch id.
    #[error("{0}; use --ids to choose another base")]
    Base(#[from] PatchIdError),
    #[error("the base {base} belongs to source {other}; use --ids to choose another one")]
    BaseTaken { base: String, other: String },
    /// A patch in the working directory differs from the built one.
    #[error("{} {fault}, and it cannot be rebuilt; restore it", .path.display())]
    NotAsBuilt { path: PathBuf, fault: &'static str },
    #[error("{} is signed, and state.json does not name it; move it away", .0.display())]
    Signed(PathBuf),
    #[error("there is no revision after {0}")]
    LastRevision(PatchId),
    /// Another source's patch must provide a feature, but does not exist.
    #[error("it needs {feature}, which no patch of {source_name} provides")]
    Required { source_name: String, feature: String },
    #[error(transparent)]
    Requirements(#[from] RequirementsError),
    #[error("its trial failed: {0}")]
    Trial(TrialFailure),
    #[error("{} changed while it was read", .0.display())]
    Changed(PathBuf),
}

#[derive(Debug)]
pub struct DeltaReport {
    /// Sorted by name.
    pub sources: Vec<SourceOutcome>,
    /// Patches that wait for a signature.
    pub to_sign: usize,
    /// The trial of all patches, now or earlier if they are the same.
    pub together: Option<TogetherReport>,
}

#[derive(Debug, Serialize)]
pub struct SourceOutcome {
    /// A source, or a file of no known source.
    pub source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(rename = "state")]
    pub end: SourceEnd,
    /// A sentence without its period.
    pub reason: String,
    /// Packages in the patch; for an existing patch, those with other files.
    pub packages: Vec<String>,
    /// Other packages of both directories.
    pub siblings_unchanged: Vec<String>,
    /// Packages that one directory lacks.
    pub unpaired: Vec<UnpairedPackage>,
    /// Scripts of other package formats, as `PACKAGE: SCRIPT`.
    pub scripts_left_out: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    #[serde(serialize_with = "shown", skip_serializing_if = "Option::is_none")]
    pub log: Option<PathBuf>,
    /// Set for an existing patch, with the report of its build.
    #[serde(skip)]
    pub sha256: Option<String>,
    /// See `sha256`.
    #[serde(skip)]
    pub news: Option<BuiltNews>,
}

#[derive(Debug)]
pub enum SourceEnd {
    /// Built, or to be built in a dry run.
    Built,
    /// The existing patch is current.
    Kept,
    /// Equal in both directories, without a patch.
    Unchanged,
    /// Only in the maintained directory.
    New,
    /// Only in the released directory, or in neither.
    Gone,
    Failed(Box<SourceFailure>),
}

impl SourceEnd {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Built => "built",
            Self::Kept => "kept",
            Self::Unchanged => "unchanged",
            Self::New => "new",
            Self::Gone => "gone",
            Self::Failed(_) => "failed",
        }
    }
}

impl Serialize for SourceEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

#[allow(clippy::ref_option)] // serde hands down a reference to the field
fn shown<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
    path.as_ref().map(|path| path.display().to_string()).serialize(serializer)
}

impl SourceOutcome {
    pub fn lines(&self) -> Vec<String> {
        let Self { source, id, end, reason, .. } = self;
        let id = id.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        let mut lines = vec![format!("{source}: {}{id}: {reason}", end.word())];
        lines.extend(self.path.iter().map(|path| format!("  {}", path.display())));
        for (what, names) in [("packages", &self.packages), ("without a change", &self.siblings_unchanged)] {
            if !names.is_empty() && !matches!(end, SourceEnd::Unchanged) {
                lines.push(format!("  {what}: {}", names.join(" ")));
            }
        }
        lines
    }

    pub(super) fn new(source: &str, end: SourceEnd, reason: impl Into<String>) -> Self {
        Self {
            source: source.to_owned(),
            end,
            reason: reason.into(),
            id: None,
            packages: Vec::new(),
            siblings_unchanged: Vec::new(),
            unpaired: Vec::new(),
            scripts_left_out: Vec::new(),
            key: None,
            path: None,
            log: None,
            sha256: None,
            news: None,
        }
    }

    /// Reports an existing patch as when it was built.
    pub fn tell_as_built(&mut self) {
        let Some(news) = self.news.take().filter(|_| matches!(self.end, SourceEnd::Kept)) else { return };
        self.end = SourceEnd::Built;
        self.reason = news.reason;
        self.packages = news.packages;
        self.siblings_unchanged = news.siblings_unchanged;
        self.scripts_left_out = news.scripts_left_out;
    }

    pub fn failed(source: &str, failure: SourceFailure) -> Self {
        let reason = failure.to_string();
        Self::new(source, SourceEnd::Failed(Box::new(failure)), reason)
    }
}

impl DeltaReport {
    pub fn count(&self, word: &str) -> usize {
        self.sources.iter().filter(|outcome| outcome.end.word() == word).count()
    }

    pub fn first_failure(&self) -> Option<&SourceFailure> {
        self.sources.iter().find_map(|outcome| match &outcome.end {
            SourceEnd::Failed(failure) => Some(&**failure),
            _ => None,
        })
    }
}
