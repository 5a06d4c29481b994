//! The sides of a promotion: the tree that is promoted, the base that is in force, and the live tree.

use super::request::PromoteRequest;
use crate::operation::stages::error::StageError;
use crate::operation::stages::own_files::{Stage, named_tree, own_directory, put_cache};
use crate::stage::{Scope, StageName};
use patchadm_rootfs::Root;
use patchadm_svr4::patch::PatchId;

/// A tree that is promoted.
#[derive(Debug)]
pub(super) struct PromotedTree {
    /// The tree, as a root of its own.
    pub(super) root: Root,
    /// The stage that it is; `None` for a tree without identity.
    pub(super) stage: Option<Stage>,
    /// The base of the ids of its promotions.
    pub(super) name: StageName,
}

impl PromotedTree {
    /// Opens what was named. A tree without identity needs `two_way`.
    pub(super) fn open(root: &Root, request: &PromoteRequest) -> Result<Self, StageError> {
        let tree = named_tree(root, &request.stage)?;
        if own_directory(&tree)?.is_some() {
            let stage = Stage::of_tree(tree.clone())?;
            stage.must_be_of(root)?;
            Ok(Self { root: tree, name: stage.identity.name.clone(), stage: Some(stage) })
        } else if request.two_way {
            let name = name_of(&tree, request)?;
            Ok(Self { root: tree, stage: None, name })
        } else {
            Err(StageError::NoStage(tree.prefix().display().to_string()))
        }
    }

    /// Keeps what was read of both trees, if the stage does not know it, for the next promotion.
    pub(super) fn keep_cache(&self, cache: Option<&[u8]>) {
        if let (Some(stage), Some(cache)) = (&self.stage, cache) {
            put_cache(&stage.own, cache);
        }
    }
}

/// The base of the id that was asked for, else the last component of the tree's path.
fn name_of(tree: &Root, request: &PromoteRequest) -> Result<StageName, StageError> {
    let of_id = request.id.as_deref().and_then(|id| PatchId::new(id).ok()).map(|id| id.base().to_owned());
    let path = tree.physical_path()?;
    let of_path = || path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(StageName::parse(&of_id.or_else(of_path).unwrap_or_default())?)
}

/// Returns the paths that are compared: those that are named, else all of the base, else all of the tree.
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
