//! Faults of sources, in kinds that commands map to exit codes.

use std::io;
use std::path::PathBuf;

use crate::sign::Verdict;
use patchadm_changeset::transaction::StreamError;
use patchadm_container::ContainerError;
use patchadm_rootfs::RootError;
use patchadm_svr4::format::cpio::CpioError;
use patchadm_svr4::format::datastream::DatastreamError;
use patchadm_svr4::package::PackagePath;

#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", .path.display())]
pub struct SourceError {
    /// As the user named it.
    pub path: PathBuf,
    pub problem: SourceProblem,
}

impl From<SourceError> for StreamError {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}

/// The numbers are those of patchadd(1M).
#[derive(Debug, thiserror::Error)]
pub enum SourceProblem {
    #[error("no such file or directory")]
    NotFound,
    #[error("{}cannot read{}: {error}", by(.error), of(.file.as_deref()))]
    Io { file: Option<String>, error: io::Error },
    #[error("{0} is not supported yet")]
    Unsupported(String),
    /// No package, patch or archive, or damaged; exit 33.
    #[error("{0}")]
    BadForm(String),
    /// A file of another format; exit 33.
    #[error("{0}")]
    Foreign(&'static str),
    /// Exit 33.
    #[error("{NO_PACKAGE}")]
    NoPackage,
    /// Exit 33.
    #[error("it is a directory of patches, not a patch: it holds {}", listed(.0))]
    HoldsPatches(Vec<String>),
    /// Exit 18.
    #[error("its patches need {needed} bytes to be unpacked, and {place} has {free} besides its reserve")]
    NoSpool { needed: u64, free: u64, place: String },
    /// Exit 36.
    #[error("its patches cannot be unpacked: {0}")]
    Spool(RootError),
    /// A name or link in an archive leads out of the package, or is no file name; exit 33.
    #[error("member <{member}> {reason}")]
    Unsafe { member: String, reason: String },
    /// The compression is damaged; exit 39.
    #[error("{0}")]
    NotDecompressed(String),
    /// Exit 28.
    #[error("package {package}: {file} is corrupt: {reason}")]
    CorruptPackageFile {
        package: String,
        /// `pkginfo`, `pkgmap`, or another necessary file.
        file: String,
        /// With its line if there is one.
        reason: String,
    },
    /// A file is missing or differs from the pkgmap; exit 10.
    #[error("package {package}, file {file}: {reason}")]
    Corrupt {
        package: String,
        /// As in the pkgmap, or `install/…`.
        file: String,
        /// `size 3 expected 4`, `sum 17 expected 18`, `missing from the source`.
        reason: String,
    },
    /// The policy refuses its signature; exit 41.
    #[error("{0}")]
    Signature(Box<Verdict>),
    /// It changed after its signature was verified; exit 41.
    #[error("it is not, or no longer, what was signed: {0}")]
    Changed(String),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
    /// A symbolic link in place of a file; exit 13.
    #[error("package {package}, file {file}: symbolic link included in patch")]
    Symlink {
        package: String,
        /// As in the pkgmap.
        file: PackagePath,
    },
}

impl SourceError {
    pub fn is_missing_file(&self) -> bool {
        matches!(&self.problem, SourceProblem::Corrupt { reason, .. } if reason == MISSING)
    }

    pub fn signature(path: &std::path::Path, verdict: Verdict) -> Self {
        Self { path: path.to_owned(), problem: SourceProblem::Signature(Box::new(verdict)) }
    }

    /// The source changed after its signature was verified.
    pub fn is_exchange(&self) -> bool {
        matches!(self.problem, SourceProblem::Changed(_))
    }

    pub(super) fn changed(path: &std::path::Path, reason: &str) -> Self {
        Self { path: path.to_owned(), problem: SourceProblem::Changed(reason.to_owned()) }
    }
}

const NO_SOURCE: &str = "neither a package, nor a patch, nor an archive";
const DEBIAN_PACKAGE: &str =
    "a Debian package, and neither an SVR4 package nor a patch; make a patch with `patchadm build`";
const RPM_PACKAGE: &str =
    "an RPM package, and neither an SVR4 package nor a patch; make a patch with `patchadm build`";
pub(super) const NO_PACKAGE: &str = "no package in it (no directory with a pkginfo and a pkgmap)";
pub(super) const MISSING: &str = "missing from the source";
const MOST_LISTED: usize = 20;

fn listed(names: &[String]) -> String {
    let shown = names.get(..MOST_LISTED).unwrap_or(names).join(", ");
    match names.len().saturating_sub(MOST_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Names who may not read, which is not always who typed the command.
fn by(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!("uid {} ", rustix::process::geteuid().as_raw()),
        _ => String::new(),
    }
}

fn of(file: Option<&str>) -> String {
    file.map(|name| format!(" {name}")).unwrap_or_default()
}

impl SourceProblem {
    /// The first bytes tell which format it is instead.
    pub(super) fn foreign(start: &[u8]) -> Self {
        Self::Foreign(if start.starts_with(b"!<arch>\ndebian-binary") {
            DEBIAN_PACKAGE
        } else if start.starts_with(b"\xed\xab\xee\xdb") {
            RPM_PACKAGE
        } else {
            NO_SOURCE
        })
    }

    /// Returns true if nothing suggests that the path was meant as a source.
    pub fn is_no_source(&self) -> bool {
        matches!(self, Self::NoPackage | Self::Foreign(NO_SOURCE))
    }

    pub(super) fn of_archive(error: io::Error) -> Self {
        if ContainerError::is_inside(&error) {
            return Self::NotDecompressed(error.to_string());
        }
        match error.downcast::<DatastreamError>() {
            Ok(error) => Self::of_datastream(error),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => Self::NotFound,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                    Self::BadForm(format!("archive is damaged: {error}"))
                }
                // The tar reader's own errors have neither a kind nor an error number.
                io::ErrorKind::Other if error.raw_os_error().is_none() => {
                    Self::BadForm(format!("archive is damaged: {error}"))
                }
                _ => Self::Io { file: None, error },
            },
        }
    }

    pub(super) fn of_member(member: &PackagePath, error: io::Error) -> Self {
        match Self::of_archive(error) {
            Self::Io { error, .. } => Self::read(&member.to_string(), error),
            Self::NotFound => Self::read(&member.to_string(), io::ErrorKind::NotFound.into()),
            Self::BadForm(reason) if !reason.contains("member <") => {
                Self::BadForm(format!("member <{member}>: {reason}"))
            }
            other => other,
        }
    }

    pub(super) fn of_datastream(error: DatastreamError) -> Self {
        match error {
            DatastreamError::Io(error) | DatastreamError::Archive { source: CpioError::Io(error), .. } => {
                Self::of_archive(error)
            }
            other => Self::BadForm(other.to_string()),
        }
    }

    pub(super) fn read(file: &str, error: io::Error) -> Self {
        Self::Io { file: Some(file.to_owned()), error }
    }

    pub(super) fn corrupt(package: &str, file: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Corrupt { package: package.to_owned(), file: file.into(), reason: reason.into() }
    }
}
