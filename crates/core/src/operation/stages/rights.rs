//! What a tree may put into its root: owners, capabilities and set-id bits, or none of them.
//!
//! The record of the root decides, never the files of the stage, which whoever owns the stage can change. Besides, nobody but
//! the superuser may be able to write the directory of the stage and its own files, so that it is the stage that the
//! record is about. For a stage that version 0.1 listed, and for a tree that is no stage, this is all there is to go by.

use super::error::StageError;
use super::foreign_stage::{ForeignStage, Undertaking};
use super::other_writer::other_writer;
use super::own_files::{Stage, StageRecord};
use patchadm_rootfs::Root;

/// The reason why owners, capabilities and set-id bits of a tree do not come to a root.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LeftOwners {
    /// The root does not list the stage.
    #[error("the root does not list this stage, so root did not make it")]
    NotListed,
    /// The root lists a stage of this id that is another one.
    #[error("the root lists the stage of this id in another directory, or of another owner")]
    Elsewhere,
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
    let has_owners = match stage.map(|stage| (&stage.record, &stage.identity)) {
        None => true,
        Some((StageRecord::None, _)) => return Ok(Err(LeftOwners::NotListed)),
        Some((StageRecord::Elsewhere, _)) => {
            return Ok(Err(foreign(root, tree, stage)?.unwrap_or(LeftOwners::Elsewhere)));
        }
        Some((StageRecord::Earlier, identity)) => identity.owners,
        Some((StageRecord::Rights(rights), _)) => rights.owners,
    };
    if let Some(foreign) = foreign(root, tree, stage)? {
        return Ok(Err(foreign));
    }
    Ok(if has_owners { Ok(()) } else { Err(LeftOwners::Incomplete) })
}

/// Returns why a tree is not the superuser's alone: the root records that another user made it, or somebody else may write it.
pub(super) fn foreign(
    root: &Root,
    tree: &Root,
    stage: Option<&Stage>,
) -> Result<Option<LeftOwners>, StageError> {
    if let Some(StageRecord::Rights(rights)) = stage.map(|stage| &stage.record)
        && rights.owner != 0
    {
        return Ok(Some(LeftOwners::MadeBy(rights.owner)));
    }
    // The caller has said of the root whether a tree of containers is trusted.
    Ok(other_writer(tree, stage.is_some(), !root.is_trusted())?.map(LeftOwners::Foreign))
}

/// Refuses the stage of another user to the superuser, who would `undertake` something in it.
///
/// Whoever may write the stage could exchange what is in it meanwhile: what root starts there would be theirs, and what root
/// copies there could be read by them, although the live tree keeps it from them.
pub(super) fn must_be_own(root: &Root, stage: &Stage, undertake: Undertaking) -> Result<(), StageError> {
    if !root.is_privileged() {
        return Ok(());
    }
    let Some(reason) = foreign(root, &stage.root, Some(stage))? else {
        // What its refresh would record belongs to the listed one, which may be this one under another name for a moment.
        return if undertake == Undertaking::Refresh && stage.record == StageRecord::Elsewhere {
            Err(StageError::ListedElsewhere(stage.root.prefix().display().to_string()))
        } else {
            Ok(())
        };
    };
    let uid = stage.own.itself()?.uid;
    // A stage that the root has recorded is refreshed by those who can record its bases there.
    let may_refresh = match &stage.record {
        StageRecord::Rights(rights) => rights.owner == uid,
        StageRecord::Elsewhere => false,
        StageRecord::None | StageRecord::Earlier => true,
    };
    let is_theirs = uid != 0 && (undertake == Undertaking::Enter || may_refresh);
    Err(StageError::OfAnother(Box::new(ForeignStage {
        name: stage.identity.name.to_string(),
        path: stage.root.prefix().to_owned(),
        undertake,
        reason: reason.to_string(),
        user: is_theirs.then_some(uid),
    })))
}
