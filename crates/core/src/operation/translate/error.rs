//! The reasons why packages were not moved.

use std::io;
use std::path::PathBuf;

use patchadm_inputs::source::SourceError;
use patchadm_rootfs::RootError;
use patchadm_svr4::format::cpio::CpioError;
use patchadm_svr4::format::datastream::DatastreamError;
use patchadm_svr4::package::{PathError, PkgInst, PkgInstError};

/// The error. The words are those that follow `unable to complete package transfer`.
#[derive(Debug, thiserror::Error)]
pub enum TranslateError {
    /// The source cannot be read, or is not what its pkgmaps say.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No package of the source matches these words.
    #[error("no package associated with {}", listed(.0))]
    NoPackage(Vec<String>),
    /// Both source and destination would be streams, mostly because a named directory does not exist.
    #[error("both source and destination devices cannot be a datastream\n- <{}> is not a directory", .0.display())]
    TwoStreams(PathBuf),
    /// Packages were to become directories in something that is no directory.
    #[error("<{}> is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Source and destination are the same.
    #[error("source and destination represent the same device")]
    SameDevice,
    /// A stream was requested under the name of a directory.
    #[error("<{}> is a directory, and a datastream is a file", .0.display())]
    IsDirectory(PathBuf),
    /// The name of a stream has no last component.
    #[error("<{}> is not the name of a file", .0.display())]
    NoFileName(PathBuf),
    /// The destination has the package in the same architecture and version.
    #[error("identical version of <{0}> already exists on destination device")]
    Identical(PkgInst),
    /// The destination has as many instances of the package as its MAXINST allows.
    #[error("<{name}> exists {there} times on destination device, and MAXINST is {most}")]
    TooManyInstances {
        /// The package.
        name: PkgInst,
        /// The instances that exist.
        there: usize,
        /// The instances that may exist.
        most: usize,
    },
    /// The destination has another package of that name.
    #[error("<{0}> already exists on destination device, in another version or architecture")]
    NameTaken(PkgInst),
    /// An object with the name of a package is not a package, and may belong to someone: it is not replaced.
    #[error("<{0}> on destination device is not a package, and is not overwritten")]
    NoPackageThere(PkgInst),
    /// Two of the packages would have the same name.
    #[error("<{0}> is to be transferred twice")]
    Twice(PkgInst),
    /// The directory of a package has a name that no package has.
    #[error(transparent)]
    Name(#[from] PkgInstError),
    /// A path that no file system holds.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A file that no cpio archive can hold.
    #[error("package {0}: a file is larger than 8 GiB, which a datastream cannot hold")]
    TooLarge(PkgInst),
    /// The stream could not be written.
    #[error("cannot write <{}>: {error}", .path.display())]
    Write {
        /// Its name.
        path: PathBuf,
        /// The reason.
        error: DatastreamError,
    },
    /// A file or directory could not be made, or the directory of packages could not be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A signal ended it.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

fn listed(words: &[String]) -> String {
    words.iter().map(|word| format!("<{word}>")).collect::<Vec<_>>().join(", ")
}

impl TranslateError {
    /// Returns whether no process reads what is written: the pipe behind the stream is closed.
    pub fn is_broken_pipe(&self) -> bool {
        let Self::Write { error, .. } = self else { return false };
        let (DatastreamError::Io(error) | DatastreamError::Archive { source: CpioError::Io(error), .. }) =
            error
        else {
            return false;
        };
        error.kind() == io::ErrorKind::BrokenPipe
    }

    /// Returns whether an existing package is in the way of another one.
    pub fn is_duplicate(&self) -> bool {
        matches!(
            self,
            Self::Identical(_) | Self::NameTaken(_) | Self::Twice(_) | Self::TooManyInstances { .. }
        )
    }
}
