//! The request for a promotion.

use crate::operation::libraries::LibraryRequest;
use std::ffi::OsString;
use std::path::PathBuf;

use crate::operation::plan_file::PlanFileRequest;
use crate::operation::scripts::ScriptSettings;
use crate::operation::trial::TrialRequest;
use patchadm_changeset::plan::UndoFormat;
use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::policy::{DeleteLimit, Edited};
use patchadm_svr4::package::ObjectPath;

/// The options of `patchadm promote`; an option not given falls back to the root's policy.
#[derive(Clone, Debug, Default)]
pub struct PromoteRequest {
    /// The stage: its directory or its name; or a tree that is no stage.
    pub stage: OsString,
    /// The promoted paths; those of the base if empty.
    pub paths: Vec<ObjectPath>,
    /// The id of the promotion.
    pub id: Option<String>,
    /// Without regard to a base.
    pub two_way: bool,
    /// Without a base: what the tree lacks is deleted from the root.
    pub delete: bool,
    /// Patches of the stage do not go live: what they changed is promoted like any other object.
    pub tree_only: bool,
    /// Files with set-id bits or capabilities may come, and may get other bytes.
    pub allow_set_id: bool,
    /// The limit of deletions in a path.
    pub max_delete: Option<DeleteLimit>,
    /// The paths that are neither compared nor taken.
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
    /// A plan tells the texts of the files that change, too.
    pub texts: bool,
    /// The hooks of the policy do not run.
    pub no_hooks: bool,
    /// The settings for hooks.
    pub scripts: ScriptSettings,
    /// What happens to libraries that others need.
    pub shlibs: LibraryRequest,
    /// The use of a plan file.
    pub plan_file: PlanFileRequest,
    /// Whether the promotion is on trial, and what checks it.
    pub trial: TrialRequest,
}
