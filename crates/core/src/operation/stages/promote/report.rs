use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::rights::WithheldObject;
use crate::operation::changed_texts::ChangedTexts;
use crate::operation::content::new_bytes;
use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryRequest;
use crate::operation::patches::after_run::AfterRun;
use crate::operation::patches::in_use::UsingProcess;
use crate::operation::plan_file::PlanFileRequest;
use crate::operation::promotion_hooks::HookEnd;
use crate::operation::scripts::ScriptSettings;
use crate::operation::stages::compared::KeptPath;
use crate::operation::stages::error::CompletedRefresh;
use crate::operation::stages::tree::Tree;
use crate::operation::trial::{TrialOutcome, TrialRequest};
use crate::three_way::Conflict;
use patchadm_changeset::plan::UndoFormat;
use patchadm_changeset::transaction::{ExchangeReport, ExchangeWay, Receipt, Recovered};
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::policy::{DeleteLimit, Edited};
use patchadm_inputs::stage::Scope;
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::refusal::SetIdFile;
use patchadm_planning::plan::{Action, Body, Change, Plan};
use patchadm_svr4::package::ObjectPath;

/// Missing options fall back to the policy.
#[derive(Clone, Debug, Default)]
pub struct PromoteRequest {
    /// A stage's directory or name, or another tree.
    pub stage: OsString,
    /// Empty for those of the base.
    pub paths: Vec<ObjectPath>,
    pub id: Option<String>,
    /// Ignore the base.
    pub two_way: bool,
    /// Without a base: delete from the root what the tree lacks.
    pub delete: bool,
    /// Promote changes of patches like other objects, without the patches.
    pub tree_only: bool,
    /// Allow files with set-id bits or capabilities, and new bytes for them.
    pub allow_set_id: bool,
    pub max_delete: Option<DeleteLimit>,
    /// Neither compared nor promoted.
    pub exclude: Vec<PathGlob>,
    /// For paths that both sides changed.
    pub edited: Option<Edited>,
    /// Always replaced, of those.
    pub overridden: Vec<ObjectPath>,
    /// Always kept, of those.
    pub preserved: Vec<ObjectPath>,
    /// Host directory for undo data.
    pub undo_dir: Option<PathBuf>,
    pub undo_format: Option<UndoFormat>,
    pub no_undo: bool,
    pub dry_run: bool,
    /// Report texts of changed files.
    pub texts: bool,
    pub no_hooks: bool,
    pub scripts: ScriptSettings,
    pub shlibs: LibraryRequest,
    pub plan_file: PlanFileRequest,
    pub trial: TrialRequest,
}

/// Actual or planned.
#[derive(Debug)]
pub struct PromoteReport {
    pub recovered: Recovered,
    /// `None` for a tree without identity.
    pub stage: Option<String>,
    pub id: String,
    /// `0`, the id of a promotion, or `None`.
    pub base: Option<String>,
    /// No base was used.
    pub two_way: bool,
    /// Includes other directories to be exchanged.
    pub paths: Vec<PathReport>,
    /// Includes processes that stay in the directories.
    pub exchanges: Vec<ExchangeReport>,
    /// Kept live paths, and skipped ones.
    pub kept: Vec<KeptPath>,
    pub conflicts: BTreeMap<ObjectPath, Conflict>,
    pub packages: Vec<PackageReport>,
    /// `None` if there is nothing to do, or it was refused.
    pub plan: Option<Plan>,
    /// On request, in a dry run.
    pub texts: ChangedTexts,
    /// Completed first, actually or in projection.
    pub refreshed: Option<CompletedRefresh>,
    /// Per patch, the promotion last; empty without patches of the stage.
    pub portions: Vec<Plan>,
    /// Programs that use replaced files.
    pub in_use: Vec<UsingProcess>,
    pub hooks: Vec<HookEnd>,
    pub set_id: Vec<SetIdFile>,
    /// Another user could have chosen them, so they stay in the stage.
    pub withheld: Vec<WithheldObject>,
    /// Of the plan's input, for a plan file.
    pub fingerprint: Option<String>,
    /// Dry run only, on request.
    pub plan_file: Option<Box<PlanFile>>,
    pub libraries: Option<LibraryReport>,
    /// `None` for a dry run, or nothing to do.
    pub result: Result<Option<Receipt>, Failure>,
    pub after: AfterRun,
    pub trial: Option<TrialOutcome>,
    /// Why this caller could not perform a dry run's plan.
    pub refused: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchWay {
    /// Name by name.
    Renames,
    /// All at once.
    Exchange,
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathReport {
    pub path: ObjectPath,
    pub way: SwitchWay,
    /// Why a requested exchange is impossible.
    pub reason: Option<String>,
    /// Objects in the live tree.
    pub live: usize,
    /// Without directories.
    pub added: usize,
    /// New content or type.
    pub replaced: usize,
    pub attributes: usize,
    /// Without directories.
    pub deleted: usize,
    pub directories_made: usize,
    pub directories_removed: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageReport {
    pub name: String,
    pub is_new: bool,
    /// Changed objects.
    pub objects: usize,
}

impl PromoteReport {
    pub fn has_changed(&self) -> bool {
        matches!(self.result, Ok(Some(_)))
    }

    pub fn bytes(&self) -> u64 {
        self.plan.as_ref().map_or(0, new_bytes)
    }
}

pub(super) fn path_reports(
    scope: &Scope,
    live: &Tree,
    changes: &[Box<Change>],
    exchanges: &[ExchangeReport],
) -> Vec<PathReport> {
    let others = exchanges.iter().map(|exchange| &exchange.path);
    let others = others.filter(|path| !scope.paths().contains(path));
    let paths = scope.paths().iter().chain(others);
    paths.map(|path| path_report(path, live, changes, exchanges)).collect()
}

fn path_report(
    path: &ObjectPath,
    live: &Tree,
    changes: &[Box<Change>],
    exchanges: &[ExchangeReport],
) -> PathReport {
    let changes = changes.iter().map(AsRef::as_ref);
    let changes: Vec<&Change> = changes.filter(|change: &&Change| is_in(&change.path, path)).collect();
    let (way, reason) = way(&changes, exchanges);
    let mut report = PathReport {
        path: path.clone(),
        way,
        reason,
        live: live.objects.iter().filter(|object| is_in(&object.path, path)).count(),
        added: 0,
        replaced: 0,
        attributes: 0,
        deleted: 0,
        directories_made: 0,
        directories_removed: 0,
    };
    for change in changes {
        *match &change.action {
            Action::Add(new) if matches!(new.body, Body::Directory) => &mut report.directories_made,
            Action::Add(_) => &mut report.added,
            Action::Replace(_) => &mut report.replaced,
            Action::Attributes(_) => &mut report.attributes,
            Action::Delete => &mut report.deleted,
            Action::RemoveDirectory => &mut report.directories_removed,
        } += 1;
    }
    report
}

fn is_in(at: &ObjectPath, path: &ObjectPath) -> bool {
    at == path || at.is_below(path)
}

/// An exchange shows changes at once only if it covers all of them.
fn way(changes: &[&Change], exchanges: &[ExchangeReport]) -> (SwitchWay, Option<String>) {
    if changes.is_empty() {
        return (SwitchWay::Nothing, None);
    }
    let of = |change: &&Change| exchanges.iter().find(|exchange| is_in(&change.path, &exchange.path));
    let is_exchanged = |change| of(change).is_some_and(|exchange| exchange.way == ExchangeWay::Exchange);
    if changes.iter().all(is_exchanged) {
        return (SwitchWay::Exchange, None);
    }
    (SwitchWay::Renames, changes.iter().filter_map(of).find_map(|exchange| exchange.reason.clone()))
}
