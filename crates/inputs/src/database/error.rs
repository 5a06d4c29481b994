use std::fmt;

use super::{RecordError, ViewError, places};
use patchadm_changeset::format::history::HistoryError;
use patchadm_rootfs::{Interrupt, Root, RootError};
use patchadm_svr4::format::contents::ContentsError;
use patchadm_svr4::format::params::ParamsError;
use patchadm_svr4::format::pkglog::PkglogError;
use patchadm_svr4::package::PkgInst;

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Damaged(Box<RecordDamage>),
    #[error("{path}: {reason}")]
    Contents {
        /// With the prefix of the root.
        path: String,
        reason: ContentsError,
    },
    #[error("{path}: {reason}")]
    History {
        /// With the prefix of the root.
        path: String,
        reason: HistoryError,
    },
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

impl From<RootError> for DatabaseError {
    fn from(error: RootError) -> Self {
        Self::View(error.into())
    }
}

impl From<RecordDamage> for DatabaseError {
    fn from(damage: RecordDamage) -> Self {
        Self::Damaged(Box::new(damage))
    }
}

impl DatabaseError {
    pub fn unless_interrupted(interrupt: Interrupt<'_>) -> Result<(), Self> {
        interrupt().map_or(Ok(()), |signal| Err(Self::Interrupted(signal)))
    }

    pub fn is_refused_access(&self) -> bool {
        matches!(self, Self::View(error) if error.is_refused_access())
    }

    pub fn damage(&self) -> Option<&RecordDamage> {
        match self {
            Self::Damaged(damage) => Some(damage),
            _ => None,
        }
    }
}

impl From<RecordError> for DatabaseError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::View(error) => Self::View(error),
            RecordError::Contents { root, path, reason } => {
                match RecordDamage::of_contents_error(root, &path, &reason) {
                    Some(damage) => damage.into(),
                    None => Self::Contents { path, reason },
                }
            }
            RecordError::Pkglog { root, path, reason } => RecordDamage::of_pkglog(root, path, &reason).into(),
            RecordError::NoFile { root, path } => RecordDamage::of_no_file(root, path).into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordDamage {
    /// With the prefix of the root.
    pub file: String,
    /// Counted from 1.
    pub line: Option<u64>,
    pub reason: String,
    pub repair: RecordRepair,
    /// As `-R` names it; `None` for the running system.
    pub root: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordRepair {
    /// `pkgadd` or `pkgchk -f PKG` restores the pkginfo.
    Package(PkgInst),
    /// Too little is left to restore the pkginfo: the package must be installed again.
    Installation(PkgInst),
    /// `pkgchk -f PKG` removes this package, which has no directory, from `contents`. If it should exist, it must be
    /// installed again.
    Owner {
        package: PkgInst,
        /// The last run that wrote its pkginfo, if its directory existed after the last run of all: this program did
        /// not remove it.
        lost_after: Option<u64>,
    },
    /// `pkgchk -f` restores `contents`.
    Contents,
    /// The empty directory is removed.
    EmptyDirectory(PkgInst),
    /// The copy of the delivery is restored, or the package is installed again. Changes are still possible.
    LostCopy {
        package: PkgInst,
        /// A package with patches is not installed again.
        is_patched: bool,
    },
    /// The list of stages is removed or restored. Only changes of stages are stopped.
    Stages,
}

impl fmt::Display for RecordDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, reason, .. } = self;
        match line {
            Some(line) => write!(f, "{file}: line {line}: {reason}"),
            None => write!(f, "{file}: {reason}"),
        }
    }
}

impl std::error::Error for RecordDamage {}

impl RecordDamage {
    #[must_use]
    pub fn in_line(self, line: u64) -> Self {
        Self { line: Some(line), ..self }
    }

    #[must_use]
    pub fn beyond_repair(mut self, why: &str) -> Self {
        if let RecordRepair::Package(package) = self.repair {
            self.repair = RecordRepair::Installation(package);
        }
        Self { reason: format!("{}; {why}", self.reason), ..self }
    }

    fn new(root: &Root, file: String, reason: impl Into<String>, repair: RecordRepair) -> Self {
        let named = (!root.is_system()).then(|| root.prefix().display().to_string());
        Self { file, line: None, reason: reason.into(), repair, root: named }
    }

    pub fn of_pkginfo(root: &Root, package: &PkgInst, reason: impl Into<String>) -> Self {
        let repair = RecordRepair::Package(package.clone());
        Self::new(root, root.show(&places::pkginfo(package)), reason, repair)
    }

    pub fn of_params(root: &Root, package: &PkgInst, error: &ParamsError) -> Self {
        let (line, reason) = parted(&error.to_string());
        Self { line, ..Self::of_pkginfo(root, package, reason) }
    }

    pub(super) fn of_empty_directory(root: &Root, package: &PkgInst) -> Self {
        let repair = RecordRepair::EmptyDirectory(package.clone());
        Self::new(root, root.show(&places::package(package)), "it is empty: it has no pkginfo", repair)
    }

    pub(super) fn of_lost_copy(root: &Root, package: &PkgInst, run: u64, is_patched: bool) -> Self {
        let reason = format!("it is missing, although it existed after run {run}");
        let repair = RecordRepair::LostCopy { package: package.clone(), is_patched };
        Self::new(root, root.show(&places::delivered_pkgmap(package)), reason, repair)
    }

    /// No changes and queries are possible.
    pub fn stops_changes(&self) -> bool {
        !matches!(self.repair, RecordRepair::LostCopy { .. } | RecordRepair::Stages)
    }

    pub fn of_stages(root: &Root, reason: impl Into<String>) -> Self {
        Self::new(root, root.show(&places::stage_list()), reason, RecordRepair::Stages)
    }

    pub fn of_contents(root: &Root, reason: impl Into<String>) -> Self {
        Self::new(root, root.show(&places::contents()), reason, RecordRepair::Contents)
    }

    pub(super) fn of_owner(root: &Root, package: &PkgInst, lost_after: Option<u64>) -> Self {
        let directory = root.show(&places::package(package));
        let reason = format!("package {package} owns objects, and {directory} does not exist");
        let repair = RecordRepair::Owner { package: package.clone(), lost_after };
        Self::new(root, root.show(&places::contents()), reason, repair)
    }

    /// Returns the damage of a malformed line; `None` if the file could not be read at all.
    pub fn of_line(root: &Root, error: &ContentsError) -> Option<Self> {
        let (line, reason) = line_and_reason(error)?;
        Some(Self { line, ..Self::of_contents(root, reason) })
    }

    pub(super) fn of_contents_error(root: Option<String>, file: &str, error: &ContentsError) -> Option<Self> {
        let (line, reason) = line_and_reason(error)?;
        Some(Self { file: file.to_owned(), line, reason, repair: RecordRepair::Contents, root })
    }

    pub(super) fn of_pkglog(root: Option<String>, file: String, error: &PkglogError) -> Self {
        let (line, reason) = parted(&error.to_string());
        Self { file, line, reason, repair: RecordRepair::Contents, root }
    }

    pub(super) fn of_unfinished_log(root: &Root, bytes: u64) -> Self {
        let reason =
            format!("its last {bytes} bytes belong to a change that another tool began and did not complete");
        Self::new(root, root.show(&places::pkglog()), reason, RecordRepair::Contents)
    }

    pub(super) fn of_no_file(root: Option<String>, file: String) -> Self {
        let reason = "it is not a regular file".to_owned();
        Self { file, line: None, reason, repair: RecordRepair::Contents, root }
    }

    /// Returns the package of the record; `None` for `contents`.
    pub fn package(&self) -> Option<&PkgInst> {
        match &self.repair {
            RecordRepair::Package(package)
            | RecordRepair::Installation(package)
            | RecordRepair::EmptyDirectory(package)
            | RecordRepair::Owner { package, .. }
            | RecordRepair::LostCopy { package, .. } => Some(package),
            RecordRepair::Contents | RecordRepair::Stages => None,
        }
    }
}

fn line_and_reason(error: &ContentsError) -> Option<(Option<u64>, String)> {
    match error {
        ContentsError::Io(_) => None,
        ContentsError::Line { line, error } => Some((Some(*line), error.to_string())),
        other => Some(parted(&other.to_string())),
    }
}

fn parted(text: &str) -> (Option<u64>, String) {
    let numbered = || {
        let (number, reason) = text.strip_prefix("line ")?.split_once(": ")?;
        Some((Some(number.parse().ok()?), reason.to_owned()))
    };
    numbered().unwrap_or_else(|| (None, text.to_owned()))
}
