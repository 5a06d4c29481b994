use std::io;
use std::path::PathBuf;

use patchadm_container::ContainerError;
use patchadm_inputs::source::SourceProblem;
use patchadm_rootfs::RootError;
use patchadm_svr4::package::PathError;

#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct ReleaseError {
    /// The operand, or a file or directory inside it.
    pub path: PathBuf,
    pub problem: ReleaseProblem,
}

/// Commands map these to exit codes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseProblem {
    #[error("no such file or directory")]
    NotFound,
    #[error("cannot read it: {0}")]
    Io(io::Error),
    #[error(transparent)]
    Tree(#[from] RootError),
    /// A known form, or a part of one, that is not supported.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// No package or archive, or damaged; exit 33.
    #[error("{0}")]
    BadForm(String),
    /// A name leads out of the package, or is no file name; exit 33.
    #[error("member <{member}> {reason}")]
    Unsafe { member: String, reason: String },
    /// Exit 33.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Damaged, or needs too much memory; exit 39.
    #[error("{0}")]
    NotDecompressed(String),
    /// Its kinds have their own exit codes.
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
