//! Patches from the released set to the newest one: each source's patch is tried alone, then all together.
//!
//! A patch that fails its trial uses no revision number. One that spoils the common trial is dropped, and the others are
//! tried again. If they conflict for an unknown reason, nothing is published.

mod inside;
mod making;
mod packages;
mod trials;
mod units;

use std::collections::BTreeSet;
use std::path::PathBuf;

use patchadm_bulk_values::report::ReportedPatches;
use patchadm_bulk_values::result::Blake3Digest;
use patchadm_making::build::BuildRequest;
use patchadm_making::delta::DeltaError;
use patchadm_making::release::ReleaseError;
use patchadm_rootfs::{RootError, WorkMeter};
use patchadm_svr4::patch::PatchId;

use crate::base::BaseLayer;
use crate::set::SetError;
use crate::work::{BulkWork, WorkError};

pub use inside::{TrialServeError, serve_trial};
pub(crate) use making::PATCHES;
pub use making::make_patches;
pub use trials::TRIAL;

pub struct PatchesRequest<'a> {
    pub work: &'a BulkWork,
    pub base: (&'a BaseLayer, Blake3Digest),
    pub patch: &'a (dyn Fn(PatchId) -> BuildRequest + Sync),
    /// Checks the syntax of a script.
    pub syntax: fn(&[u8]) -> Result<(), String>,
    pub cores: usize,
    pub is_dry_run: bool,
    /// Ids and SHA-256 of patches from before the run; all others are reported as new. `None`: only those made now are.
    pub before: Option<&'a BTreeSet<(String, String)>>,
    /// Returns the signal to stop.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    pub meter: WorkMeter,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadePatches {
    pub report: ReportedPatches,
    pub failed: usize,
    /// Why the patches conflict. Nothing may be published then.
    pub refused: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum MakePatchesError {
    #[error("no set is released")]
    NothingReleased,
    #[error("there is no set yet")]
    NoSet,
    #[error("{}: {reason}", path.display())]
    Ids { path: PathBuf, reason: String },
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error(transparent)]
    Set(#[from] SetError),
    #[error(transparent)]
    Package(#[from] ReleaseError),
    #[error(transparent)]
    Delta(#[from] DeltaError),
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}
