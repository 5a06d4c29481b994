//! Request and report of a promotion.

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

/// The options of `patchadm stage promote`; an option not given falls back to the root's policy.
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
    /// How to treat paths that both sides changed.
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
    /// How to treat libraries that other files need.
    pub shlibs: LibraryRequest,
    /// The use of a plan file.
    pub plan_file: PlanFileRequest,
    /// The trial of the promotion, and its check.
    pub trial: TrialRequest,
}

/// The actual or planned changes of a promotion.
#[derive(Debug)]
pub struct PromoteReport {
    /// Result of recovery before the run.
    pub recovered: Recovered,
    /// The id of the stage; `None` for a tree without identity.
    pub stage: Option<String>,
    /// The id of the promotion.
    pub id: String,
    /// The base that was compared with: `0`, the id of a promotion, or `None`.
    pub base: Option<String>,
    /// True if no base was used.
    pub two_way: bool,
    /// The changes of each promoted path, and of other directories that should be exchanged.
    pub paths: Vec<PathReport>,
    /// How the changes below each directory to be exchanged become visible, with the processes that stay in it.
    pub exchanges: Vec<ExchangeReport>,
    /// The paths that stay as they are on the live tree, or are skipped.
    pub kept: Vec<KeptPath>,
    /// The paths that both sides changed.
    pub conflicts: BTreeMap<ObjectPath, Conflict>,
    /// The packages of the promotion.
    pub packages: Vec<PackageReport>,
    /// The plan; `None` if there is nothing to do, or it was refused.
    pub plan: Option<Plan>,
    /// Texts of the changed files, in a dry run that requests them.
    pub texts: ChangedTexts,
    /// The interrupted refresh of the stage that was completed first, or would be.
    pub refreshed: Option<CompletedRefresh>,
    /// The part of each patch in the run, the promotion last, if patches of the stage come; otherwise empty.
    pub portions: Vec<Plan>,
    /// The programs that run from, or have mapped, files that are replaced.
    pub in_use: Vec<UsingProcess>,
    /// The hooks that run before and after the promotion, and their outcomes.
    pub hooks: Vec<HookEnd>,
    /// The files with set-id bits or capabilities that come, get other bytes, or get such rights.
    pub set_id: Vec<SetIdFile>,
    /// The attributes of the stage that do not go live, because another user could have chosen them.
    pub withheld: Vec<WithheldObject>,
    /// The fingerprint of the input of the plan, if a plan file is made or compared.
    pub fingerprint: Option<String>,
    /// The plan as a plan file has it (dry run only, on request).
    pub plan_file: Option<Box<PlanFile>>,
    /// The report on libraries, if they were examined.
    pub libraries: Option<LibraryReport>,
    /// The receipt of the run, or the reason why there is none. A dry run, and one with nothing to do, has no receipt.
    pub result: Result<Option<Receipt>, Failure>,
    /// Work after the run according to the policy.
    pub after: AfterRun,
    /// The trial on which the run put the promotion, and what followed.
    pub trial: Option<TrialOutcome>,
    /// In a dry run, the reason why this caller could not perform it.
    pub refused: Option<Failure>,
}

/// How a path is switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchWay {
    /// Name by name.
    Renames,
    /// All at once.
    Exchange,
    /// Nothing changes there.
    Nothing,
}

/// The changes of one promoted path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathReport {
    /// The path.
    pub path: ObjectPath,
    /// How it is switched.
    pub way: SwitchWay,
    /// The reason why names are renamed one by one although an exchange was requested.
    pub reason: Option<String>,
    /// The objects of the live tree.
    pub live: usize,
    /// The objects that are added, directories apart.
    pub added: usize,
    /// The objects that get other content or another type.
    pub replaced: usize,
    /// The objects that get other attributes.
    pub attributes: usize,
    /// The objects that are deleted, directories apart.
    pub deleted: usize,
    /// The directories that are made.
    pub directories_made: usize,
    /// The directories that are removed.
    pub directories_removed: usize,
}

/// A package of a promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageReport {
    /// Its name.
    pub name: String,
    /// True if the promotion creates it.
    pub is_new: bool,
    /// The number of its objects that change.
    pub objects: usize,
}

impl PromoteReport {
    /// Returns whether the root was changed.
    pub fn has_changed(&self) -> bool {
        matches!(self.result, Ok(Some(_)))
    }

    /// Returns the bytes of the files that come.
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

/// Changes become visible at once only if all of them are in a directory that is exchanged.
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
