use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use patchadm_inputs::format::plan_differences::PlanDifferences;
use patchadm_inputs::format::plan_file::{LARGEST_PLAN, PlanFile, PlanFileError, PlanOptions};
use patchadm_inputs::input_file::read_own;
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;

const PROGRAM: &str = "patchadm-plan";

/// Other users must not read what will be done to a root.
const OWN: u32 = 0o600;

#[derive(Clone, Debug, Default)]
pub struct PlanFileRequest {
    pub command: &'static str,
    pub options: PlanOptions,
    /// Saved before anything is done.
    pub save: Option<PathBuf>,
    pub expected: Option<Arc<ExpectedPlan>>,
    /// The report of a dry run includes the plan.
    pub in_report: bool,
}

impl PlanFileRequest {
    pub(in crate::operation) fn is_made(&self) -> bool {
        self.save.is_some() || self.expected.is_some() || self.in_report
    }

    pub(in crate::operation) fn must_hold(&self, plan: &PlanFile) -> Result<(), PlanFault> {
        let Some(expected) = &self.expected else { return Ok(()) };
        match PlanDifferences::between(&expected.plan, plan) {
            None => Ok(()),
            Some(differences) => Err(PlanFault::Differs { path: expected.path.clone(), differences }),
        }
    }
}

#[derive(Clone, Debug)]
pub struct ExpectedPlan {
    /// `None` for a plan that the user has just agreed to.
    pub path: Option<PathBuf>,
    pub plan: PlanFile,
}

#[derive(Debug, thiserror::Error)]
pub enum PlanFault {
    #[error("plan file {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("plan file {}: {error}", path.display())]
    Bad { path: PathBuf, error: PlanFileError },
    #[error("plan file {} cannot be written: {error}", path.display())]
    Unwritable { path: PathBuf, error: RootError },
    #[error("a plan file cannot name {}: {error}", path.display())]
    Source { path: PathBuf, error: io::Error },
    /// It differs from the saved plan, or from the one that the user agreed to.
    #[error("{}: {differences}", outdated(path.as_deref()))]
    Differs { path: Option<PathBuf>, differences: PlanDifferences },
    #[error("the undo data to delete has changed since you confirmed it")]
    OtherUndoData,
}

impl PlanFault {
    /// The file is valid, but outdated.
    pub fn is_difference(&self) -> bool {
        matches!(self, Self::Differs { .. } | Self::OtherUndoData)
    }

    /// Empty if nothing helps.
    pub fn way_on(&self) -> &'static str {
        match self {
            Self::Differs { path: None, .. } | Self::OtherUndoData => {
                "run the command again, and review the new plan"
            }
            Self::Differs { .. } => {
                "save the plan again with `--save-plan`, and review it before you apply it with `--plan`"
            }
            Self::Bad { .. } => "save the plan again with `--save-plan`",
            Self::Unreadable { error, .. } if error.kind() == io::ErrorKind::PermissionDenied => {
                "if you trust the file, copy it: only you and root may be able to write a plan file"
            }
            Self::Unreadable { .. } => "specify a file that `--save-plan` wrote",
            Self::Unwritable { .. } => "specify a file in an existing, writable directory",
            Self::Source { .. } => "",
        }
    }
}

fn outdated(path: Option<&Path>) -> String {
    match path {
        Some(path) => format!("plan file {} is out of date", path.display()),
        None => "the plan has changed since you confirmed it".to_owned(),
    }
}

pub fn read_plan(path: &Path) -> Result<ExpectedPlan, PlanFault> {
    let unreadable = |error| PlanFault::Unreadable { path: path.to_owned(), error };
    let bad = |error| PlanFault::Bad { path: path.to_owned(), error };
    let text = read_own(path, LARGEST_PLAN as u64).map_err(unreadable)?;
    let plan = PlanFile::parse(&text).map_err(bad)?;
    Ok(ExpectedPlan { path: Some(path.to_owned()), plan })
}

pub(in crate::operation) fn save_plan(path: &Path, plan: &PlanFile) -> Result<(), PlanFault> {
    let unwritable = |error| PlanFault::Unwritable { path: path.to_owned(), error };
    let text = plan.text().map_err(|error| PlanFault::Bad { path: path.to_owned(), error })?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default();
    let dir = Dir::of_host(above).map_err(unwritable)?;
    let written = dir.replace_file(PROGRAM, name.as_bytes(), &text, Mode::of(OWN)).and_then(|()| dir.sync());
    written.map_err(unwritable)
}
