//! Reasons why a release cannot be read.

use std::io;
use std::path::PathBuf;

use patchadm_container::ContainerError;
use patchadm_inputs::source::SourceProblem;
use patchadm_rootfs::RootError;
use patchadm_svr4::package::PathError;

/// A fault of a release.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct ReleaseError {
    /// The file or directory: the operand, or one inside it.
    pub path: PathBuf,
    pub problem: ReleaseProblem,
}

/// The kinds of faults of a release, which commands map to exit codes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseProblem {
    /// There is nothing of that name.
    #[error("no such file or directory")]
    NotFound,
    /// It cannot be read, for a reason of the system.
    #[error("cannot read it: {0}")]
    Io(io::Error),
    /// An object of a tree cannot be read.
    #[error(transparent)]
    Tree(#[from] RootError),
    /// A known form, or a part of one, that is not supported.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// It is no package or archive, or it is damaged; exit 33.
    #[error("{0}")]
    BadForm(String),
    /// A name leads out of the package, or is no file name; exit 33.
    #[error("member <{member}> {reason}")]
    Unsafe { member: String, reason: String },
    /// A path that no package can have; exit 33.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The compression is damaged, or needs too much memory; exit 39.
    #[error("{0}")]
    NotDecompressed(String),
    /// An SVR4 package that cannot be read; its kinds have their own exit codes.
    #[error(transparent)]
    Svr4(#[from] SourceProblem),
    /// A tree or file changed while it was read.
    #[error("{0} changed while it was read")]
    Changed(String),
}

impl ReleaseProblem {
    /// Distinguishes damaged data from a failing disk.
    pub(super) fn of_archive(error: io::Error) -> Self {
        if ContainerError::is_inside(&error) {
            return Self::NotDecompressed(error.to_string());
        }
        let of_data = match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => true,
            // The tar reader's own errors have neither a kind nor an error number.
            io::ErrorKind::Other => error.raw_os_error().is_none(),
            _ => false,
        };
        if of_data { Self::BadForm(format!("archive is damaged: {error}")) } else { Self::Io(error) }
    }

    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self::BadForm(reason.into())
    }
}
