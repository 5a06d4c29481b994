use std::path::PathBuf;

use crate::operation::failure::Failure;
use crate::operation::libraries::LibraryRequest;
use crate::operation::patches::outcome::PatchOutcome;
use crate::operation::patches::prepared::PreparationReport;
use crate::operation::patches::scripts::PatchScriptRequest;
use crate::operation::patches::undone_run::UndoneRun;
use crate::operation::plan_file::PlanFileRequest;
use patchadm_changeset::transaction::{ExchangeReport, Recovered};
use patchadm_inputs::format::plan_file::PlanFile;
use patchadm_svr4::package::ObjectPath;

#[derive(Clone, Debug, Default)]
pub struct BackOutRequest {
    /// As typed.
    pub ids: Vec<String>,
    /// Even if superseded or obsoleted (`-f`).
    pub force: bool,
    /// Include patches that require them.
    pub with_dependents: bool,
    /// Back out all patches applied after this patch, date or run.
    pub down_to: Option<String>,
    /// One run, or nothing.
    pub all_or_nothing: bool,
    /// `ids` are the patches of this run.
    pub undone: Option<UndoneRun>,
    /// Directory of moved undo archives.
    pub moved_to: Option<PathBuf>,
    pub dry_run: bool,
    /// Report texts of changed files.
    pub texts: bool,
    /// For the history.
    pub note: Option<String>,
    /// Their changes should become visible at once.
    pub exchanges: Vec<ObjectPath>,
    pub scripts: PatchScriptRequest,
    pub shlibs: LibraryRequest,
    /// Refresh stale registrations first.
    pub refresh: bool,
    /// There is no file of it.
    pub plan_file: PlanFileRequest,
}

/// In order of removal.
#[derive(Debug, Default)]
pub struct BackOutReport {
    pub recovered: Recovered,
    pub preparation: PreparationReport,
    pub patches: Vec<PatchOutcome>,
    /// Per directory, actual or projected.
    pub exchanges: Vec<ExchangeReport>,
    /// Dry run only, on request.
    pub plan_file: Option<Box<PlanFile>>,
    /// Why the caller could not perform the plan of a dry run: the root is read-only, or belongs to another user.
    pub refused: Option<Failure>,
}
