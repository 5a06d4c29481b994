use std::io;
use std::path::PathBuf;

use super::abi::{AbiError, AbiFinding};
use super::delivery::Overlap;
use super::pairs::PairError;
use super::sparse::SparseError;
use patchadm_rootfs::RootError;
use patchadm_svr4::format::datastream::DatastreamError;
use patchadm_svr4::package::PathError;
use patchadm_svr4::patch::PatchId;

/// Nothing new exists after such an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    #[error(transparent)]
    Pair(#[from] PairError),
    #[error(transparent)]
    Sparse(#[from] SparseError),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    Abi(#[from] AbiError),
    #[error("{from} and {to} do not differ: there is nothing to deliver")]
    NothingChanged { from: String, to: String },
    /// The id is no later revision of `previous`.
    #[error("{id} is not a later revision of {previous}")]
    NoLaterRevision { id: PatchId, previous: PatchId },
    /// Neither release has a package of the earlier revision in the required version.
    #[error(
        "the revision before it has package {pkg} of architecture {arch} and version {version}, and the releases do not"
    )]
    PreviousPackage { pkg: String, arch: String, version: String },
    #[error("{id} is not the id of a restricted patch: its base does not match {pattern}")]
    NotRestricted { id: PatchId, pattern: String },
    #[error("<{0}> is not a pattern for the bases of restricted patches")]
    Pattern(String),
    #[error(transparent)]
    Overlap(#[from] Box<Overlap>),
    #[error("{0}")]
    AbiBreak(Box<AbiFinding>),
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    #[error("{} is a directory and not a patch; it is not replaced", .0.display())]
    Foreign(PathBuf),
    #[error("{origin}: {error}")]
    Read { origin: String, error: io::Error },
    #[error("{origin} changes while it is read: {path} is not what it was")]
    Changed { origin: String, path: String },
    #[error("cannot write {}: {error}", .path.display())]
    Write { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Root(#[from] RootError),
    #[error(transparent)]
    Datastream(#[from] DatastreamError),
    #[error("{path} has {size} bytes, which do not fit into a {form}")]
    TooLarge { path: String, size: u64, form: &'static str },
    #[error("<{0}> is not UTF-8, and a zip archive has no other names")]
    Name(String),
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}
