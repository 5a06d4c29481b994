//! What a promotion is asked for.

use crate::operation::libraries::LibraryRequest;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::operation::plan_file::PlanFileRequest;
use crate::operation::scripts::ScriptSettings;
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::policy::{DeleteLimit, Edited};
use patchadm_svr4::package::ObjectPath;

/// The options of `patchadm promote`; an option not given falls back to the root's policy.
#[derive(Clone, Debug, Default)]
pub struct PromoteRequest {
    /// The stage: its directory or its name; or a tree that is none.
    pub stage: OsString,
    /// The promoted paths; those of the base where none is named.
    pub paths: Vec<ObjectPath>,
    /// The id of the promotion.
    pub id: Option<String>,
    /// Without regard to a base.
    pub two_way: bool,
    /// Without a base: what the tree does not have goes from the root.
    pub delete: bool,
    /// Patches of the stage do not go live: what they changed is promoted as any other object.
    pub tree_only: bool,
    /// How much of a path may be deleted.
    pub max_delete: Option<DeleteLimit>,
    /// What is neither compared nor taken.
    pub exclude: Vec<PathGlob>,
    /// What happens to paths that both sides changed.
    pub edited: Option<Edited>,
    /// Of those, the ones that are replaced in any case.
    pub overridden: Vec<ObjectPath>,
    /// And the ones that are kept in any case.
    pub preserved: Vec<ObjectPath>,
    /// The directory of the host below which undo data is kept.
    pub undo_dir: Option<PathBuf>,
    /// The compression of undo data.
    pub undo_format: Option<UndoFormat>,
    /// Keep no undo data.
    pub no_undo: bool,
    /// Plan only; nothing is changed.
    pub dry_run: bool,
    /// The hooks of the policy do not run.
    pub no_hooks: bool,
    /// How hooks are run.
    pub scripts: ScriptSettings,
    /// What becomes of libraries that others need.
    pub shlibs: LibraryRequest,
    /// What is done with a plan file.
    pub plan_file: PlanFileRequest,
}
