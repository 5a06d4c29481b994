//! The sides of a promotion: the promoted tree, the base in force, and the live tree.

use super::brought::{has_run_of_refresh, must_be_finished};
use super::request::PromoteRequest;
use crate::operation::failure::Failure;
use crate::operation::stages::error::StageError;
use crate::operation::stages::own_files::{Stage, named_tree, own_directory, put_cache};
use crate::operation::stages::refresh::is_interrupted;
use crate::operation::stages::rights::{LeftOwners, owners_of};
use patchadm_changeset::transaction::{ForeseenRecovery, foresee_recovery};
use patchadm_inputs::stage::{Scope, StageName};
use patchadm_rootfs::{Lock, Root};
use patchadm_svr4::patch::PatchId;

/// The promoted tree.
#[derive(Debug)]
pub(super) struct PromotedTree {
    /// The tree, as a root of its own.
    pub(super) root: Root,
    /// Its stage; `None` for a tree without identity.
    pub(super) stage: Option<Stage>,
    /// The base of the ids of its promotions.
    pub(super) name: StageName,
    /// Whether it is promoted as it will be once its interrupted refresh is completed.
    pub(super) is_refresh_interrupted: bool,
    /// Why its owners, capabilities and set-id bits do not come if the superuser promotes it.
    pub(super) left_owners: Option<LeftOwners>,
}

impl PromotedTree {
    /// Opens the named tree. A tree without identity needs `two_way`.
    pub(super) fn open(root: &Root, request: &PromoteRequest) -> Result<Self, StageError> {
        let tree = named_tree(root, &request.stage)?;
        if own_directory(&tree)?.is_some() {
            let stage = Stage::of_root(root, tree.clone())?;
            let name = stage.identity.name.clone();
            let left_owners = left_owners(root, &tree, Some(&stage))?;
            Ok(Self { root: tree, name, stage: Some(stage), is_refresh_interrupted: false, left_owners })
        } else if request.two_way {
            let name = name_of(&tree, request)?;
            let left_owners = left_owners(root, &tree, None)?;
            Ok(Self { root: tree, stage: None, name, is_refresh_interrupted: false, left_owners })
        } else {
            Err(StageError::NoStage(tree.prefix().display().to_string()))
        }
    }

    /// Returns the same with what the root records of the stage now.
    pub(super) fn on_record(self, root: &Root) -> Result<Self, StageError> {
        let stage = self.stage.map(|stage| stage.on_record(root)).transpose()?;
        let left_owners = left_owners(root, &self.root, stage.as_ref())?;
        Ok(Self { stage, left_owners, ..self })
    }

    /// Returns the same for a plan. A stage with an interrupted refresh counts as a promotion will have completed it, with
    /// its package database as after the recovery of the run that the refresh began there. Any other unfinished run is
    /// refused.
    pub(super) fn foreseen(self) -> Result<Self, StageError> {
        let Some(stage) = &self.stage else { return Ok(self) };
        let is_refresh_interrupted = is_interrupted(stage)?;
        if !has_run_of_refresh(stage)? {
            must_be_finished(stage)?;
            return Ok(Self { is_refresh_interrupted, ..self });
        }
        let is_at_work = Lock::is_held(&stage.root).unwrap_or(true);
        let foreseen = foresee_recovery(&stage.root, None).map_err(Failure::from)?;
        let ForeseenRecovery::Root(foreseen) = foreseen else {
            return must_be_finished(stage).map(|()| self);
        };
        if is_at_work {
            return must_be_finished(stage).map(|()| self);
        }
        let root = foreseen.0;
        let stage = self.stage.map(|stage| Stage { root: root.clone(), ..stage });
        Ok(Self { root, stage, is_refresh_interrupted, ..self })
    }

    /// Keeps what was read of both trees for the next promotion, unless the stage already has it.
    pub(super) fn keep_cache(&self, cache: Option<&[u8]>) {
        if let (Some(stage), Some(cache)) = (&self.stage, cache) {
            put_cache(&stage.own, cache);
        }
    }
}

/// Returns why owners, capabilities and set-id bits of a tree do not come; no reason for a caller who cannot set them anyway.
fn left_owners(root: &Root, tree: &Root, stage: Option<&Stage>) -> Result<Option<LeftOwners>, StageError> {
    if !root.is_privileged() {
        return Ok(None);
    }
    Ok(owners_of(root, tree, stage)?.err())
}

/// Returns the base of the requested id, otherwise the last component of the tree's path.
fn name_of(tree: &Root, request: &PromoteRequest) -> Result<StageName, StageError> {
    let of_id = request.id.as_deref().and_then(|id| PatchId::new(id).ok()).map(|id| id.base().to_owned());
    let path = tree.physical_path()?;
    let of_path = || path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(StageName::parse(&of_id.or_else(of_path).unwrap_or_default())?)
}

/// Returns the paths that are compared: the named ones, otherwise all of the base, otherwise all of the tree.
pub(super) fn scope(request: &PromoteRequest, base: Option<&Scope>) -> Result<Scope, StageError> {
    let named = if request.paths.is_empty() { None } else { Some(Scope::new(request.paths.clone())?) };
    match (named, base) {
        (Some(named), Some(base)) => match base.lacks(&named) {
            Some(path) => Err(StageError::NotStaged(path.clone())),
            None => Ok(named),
        },
        (Some(named), None) => Ok(named),
        (None, Some(base)) => Ok(base.clone()),
        (None, None) => Ok(Scope::all()),
    }
}
