//! Patches that were chosen for a root before they were read.

use std::path::PathBuf;

use patchadm_svr4::patch::{PatchId, PatchList};

/// Patches in the order in which they are applied.
#[derive(Clone, Debug, Default)]
pub struct ChosenPatches {
    /// The patches.
    pub patches: Vec<ChosenPatch>,
    /// Patches that some of them require and that are not for this root: these requirements count as met.
    pub void: PatchList,
    /// All of them are one transaction, or nothing is done.
    pub all_or_nothing: bool,
}

/// A patch that was chosen.
#[derive(Clone, Debug)]
pub struct ChosenPatch {
    /// The id by which it was chosen; a patch that has another one is refused.
    pub id: PatchId,
    /// The file or directory.
    pub path: PathBuf,
}
