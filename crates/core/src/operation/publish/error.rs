//! The reasons why nothing was published.

use std::io;
use std::path::PathBuf;

use crate::operation::depots::FlagsFileError;
use patchadm_inputs::depot::IndexError;
use patchadm_inputs::source::SourceError;
use patchadm_rootfs::{LockError, RootError};
use patchadm_svr4::patch::PatchId;

/// The reason why nothing was published: the index of the depot is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Another command is at work in the depot or the working directory.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The depot could not be read or written.
    #[error(transparent)]
    Depot(#[from] RootError),
    /// The index of the depot is invalid.
    #[error("{path}: {error}")]
    Index {
        /// The file.
        path: String,
        /// The fault.
        error: IndexError,
    },
    /// The new index would be larger than readers take.
    #[error("the index would have {0} bytes, which is more than readers take")]
    TooLarge(usize),
    /// A signature is missing, damaged, or of another key.
    #[error("{path} {reason}")]
    Signature {
        /// The signed file.
        path: String,
        /// The fault, as the end of a sentence.
        reason: String,
    },
    /// A directory of the publisher cannot be read.
    #[error("{}: {error}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// A file of the publisher cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
    /// The depot keeper's statements on single patches cannot be read.
    #[error(transparent)]
    Flags(#[from] FlagsFileError),
    /// A file cannot be read as a patch.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file cannot be published.
    #[error("{}: {reason}", path.display())]
    Patch {
        /// The file.
        path: PathBuf,
        /// The fault.
        reason: String,
    },
    /// A file changed while it was published.
    #[error("{} changed while it was published", .0.display())]
    Changed(PathBuf),
    /// An object of the depot is not what its name says.
    #[error("{0} is in the depot with other bytes than its name says: the depot is damaged")]
    DamagedObject(String),
    /// A patch is in the depot with other bytes.
    #[error("patch {0} is in the depot with other bytes; a change needs a new revision")]
    OtherBytes(PatchId),
    /// Two files of the working directory are the same patch.
    #[error("patch {id} is there twice: {} and {}", first.display(), second.display())]
    Twice {
        /// The patch.
        id: PatchId,
        /// A file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// There is no index to refresh.
    #[error("{} has no index yet", .0.display())]
    NoIndex(PathBuf),
    /// No index waits for its signature, or it does not follow the one in place.
    #[error("the index cannot be finished: {0}")]
    Finish(&'static str),
    /// The version of the index cannot grow.
    #[error("the version of the index cannot grow any more")]
    NoVersion,
    /// The caller asks the publication to end.
    #[error("ended by signal {0}")]
    Interrupted(i32),
}
