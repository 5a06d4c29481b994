//! What a tree may put into its root: owners, capabilities and set-id bits, or none of them.
//!
//! The record of the root decides, never the files of the stage, which whoever owns the stage can change. Besides, nobody but
//! the superuser may be able to write the directory of the stage and its own files, so that it is the stage that the
//! record is about. For a stage that version 0.1 listed, and for a tree that is no stage, this is all there is to go by.

use super::error::StageError;
use super::other_writer::other_writer;
use super::own_files::{Stage, StageRecord};
use patchadm_rootfs::Root;

/// The reason why owners, capabilities and set-id bits of a tree do not come to a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LeftOwners {
    /// The root does not list the stage.
    #[error("the root does not list this stage, so root did not make it")]
    NotListed,
    /// Another user made it.
    #[error("uid {0} made this stage")]
    MadeBy(u32),
    /// Its copies could not be given all owners and attributes.
    #[error("the copies in this stage never had all of them")]
    Incomplete,
    /// Somebody else may write the directory, or the stage's own files.
    #[error("{0}")]
    Foreign(String),
}

/// Returns whether owners, capabilities and set-id bits come from a tree when the superuser promotes it.
pub(super) fn owners_of(
    root: &Root,
    tree: &Root,
    stage: Option<&Stage>,
) -> Result<Result<(), LeftOwners>, StageError> {
    let (owner, owners) = match stage.map(|stage| (&stage.record, &stage.identity)) {
        None => (0, true),
        Some((StageRecord::None, _)) => return Ok(Err(LeftOwners::NotListed)),
        Some((StageRecord::Earlier, identity)) => (0, identity.owners),
        Some((StageRecord::Rights(rights), _)) => (rights.owner, rights.owners),
    };
    if owner != 0 {
        return Ok(Err(LeftOwners::MadeBy(owner)));
    }
    // Whose a tree of containers is, the caller said of the root.
    if let Some(other) = other_writer(tree, stage.is_some(), !root.is_trusted())? {
        return Ok(Err(LeftOwners::Foreign(other)));
    }
    Ok(if owners { Ok(()) } else { Err(LeftOwners::Incomplete) })
}
