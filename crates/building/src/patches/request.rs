//! What is asked for about patches, and what came out.

use std::collections::BTreeSet;

use patchadm_bulk_values::report::PatchesReport;
use patchadm_bulk_values::result::Digest;
use patchadm_making::build::BuildRequest;
use patchadm_rootfs::WorkMeter;
use patchadm_svr4::patch::PatchId;

use crate::base::BaseLayer;
use crate::work::Work;

/// Patches that are wanted.
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
    /// Whether nothing is written.
    pub is_dry_run: bool,
    /// The patches that were there before the run, by id and SHA-256: all others are news, also where the run was cut off
    /// behind them. `None`: what is made now is.
    pub before: Option<&'a BTreeSet<(String, String)>>,
    /// Returns the signal that asks for the end.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    /// Knows how far the work is.
    pub meter: WorkMeter,
}

/// The patches that were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadePatches {
    /// What is told of them.
    pub report: PatchesReport,
    /// How many sources failed.
    pub failed: usize,
    /// Why the patches do not fit together, if they do not: then nothing may be published.
    pub refused: Option<String>,
}
