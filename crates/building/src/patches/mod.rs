//! The patches from the released set to the newest one: made source by source, each tried before it counts, then all together.
//!
//! ```text
//! sets/released ─┐  packages by source, their libraries      delta ─► patch ─ lint, sandbox: add, compare, remove ─► entered
//! sets/current  ─┴─ what is taken away, what requires what ──┘                └─ all together on the whole released set
//! ```
//! A patch that fails its trial is none: its source has failed, and no revision is used up. So does one that keeps the others from
//! passing together, which are tried again without it. If they do not fit and nobody knows why, nothing is to be published.

mod inside;
mod making;
mod packages;
mod trials;
mod units;

use std::collections::BTreeSet;
use std::path::PathBuf;

use patchadm_bulk_values::report::PatchesReport;
use patchadm_bulk_values::result::Digest;
use patchadm_inputs::source::SourceError;
use patchadm_making::build::BuildRequest;
use patchadm_making::delta::DeltaError;
use patchadm_making::release::ReleaseError;
use patchadm_rootfs::{RootError, WorkMeter};
use patchadm_svr4::patch::PatchId;

use crate::base::BaseLayer;
use crate::set::SetError;
use crate::work::{Work, WorkError};

pub use inside::{TrialServeError, serve_trial};
pub(crate) use making::PATCHES;
pub use making::make_patches;
pub use trials::TRIAL;

/// A request for patches.
pub struct PatchesRequest<'a> {
    /// The directory of the bulk build, which the caller has locked.
    pub work: &'a Work,
    /// The base and its digest.
    pub base: (&'a BaseLayer, Digest),
    /// The patch to be made, by its id.
    pub patch: &'a (dyn Fn(PatchId) -> BuildRequest + Sync),
    /// The shell's verdict on the syntax of a script.
    pub syntax: fn(&[u8]) -> Result<(), String>,
    /// The number of threads.
    pub cores: usize,
    /// True if nothing is written.
    pub is_dry_run: bool,
    /// The patches that existed before the run, by id and SHA-256. All others are reported as new, even after an
    /// interruption. `None`: only those made now are new.
    pub before: Option<&'a BTreeSet<(String, String)>>,
    /// Returns the signal that asks for the end.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Knows how far the work is.
    pub meter: WorkMeter,
}

/// The patches that were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadePatches {
    /// The report about the patches.
    pub report: PatchesReport,
    /// The number of failed sources.
    pub failed: usize,
    /// The reason why the patches do not fit together. Nothing may be published then.
    pub refused: Option<String>,
}

/// The reason why no patches are made.
#[derive(Debug, thiserror::Error)]
pub enum PatchesError {
    /// No set was released.
    #[error("no set is released")]
    NothingReleased,
    /// There is no set to make patches to.
    #[error("there is no set yet")]
    NoSet,
    /// The list of ids cannot be used.
    #[error("{}: {reason}", path.display())]
    Ids {
        /// The path of the list.
        path: PathBuf,
        /// The read error, or the invalid line.
        reason: String,
    },
    /// Leftovers of earlier trials cannot be removed.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// A set that is damaged, or cannot be read.
    #[error(transparent)]
    Set(#[from] SetError),
    /// A package of a set that cannot be identified.
    #[error(transparent)]
    Package(#[from] ReleaseError),
    /// A package of a set that cannot be opened.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The making of patches.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// A file or directory of the bulk build that cannot be read or written.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A signal that asks for the end.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}
