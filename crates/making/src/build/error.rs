//! Reasons why no patch is made.

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

/// The reason why no patch is made. Nothing new exists afterwards.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The releases make no pairs.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// An object cannot be in a package.
    #[error(transparent)]
    Sparse(#[from] SparseError),
    #[error(transparent)]
    Path(#[from] PathError),
    /// A library cannot be looked into.
    #[error(transparent)]
    Abi(#[from] AbiError),
    /// The releases are the same.
    #[error("{from} and {to} do not differ: there is nothing to deliver")]
    NothingChanged { from: String, to: String },
    /// The patch is no later revision of the one that it must contain.
    #[error("{id} is not a later revision of {previous}")]
    NoLaterRevision {
        id: PatchId,
        /// The revision that was named.
        previous: PatchId,
    },
    /// The earlier revision has a package that neither release has in the required version.
    #[error(
        "the revision before it has package {pkg} of architecture {arch} and version {version}, and the releases do not"
    )]
    PreviousPackage { pkg: String, arch: String, version: String },
    /// The id is not that of a restricted patch.
    #[error("{id} is not the id of a restricted patch: its base does not match {pattern}")]
    NotRestricted { id: PatchId, pattern: String },
    /// The pattern of restricted patches cannot be read.
    #[error("<{0}> is not a pattern for the bases of restricted patches")]
    Pattern(String),
    /// Another patch delivers the same path.
    #[error(transparent)]
    Overlap(#[from] Box<Overlap>),
    /// A remaining object needs a feature that is gone.
    #[error("{0}")]
    AbiBreak(Box<AbiFinding>),
    /// Something exists under the name of the patch.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// A directory that is no patch exists under the name of the patch.
    #[error("{} is a directory and not a patch; it is not replaced", .0.display())]
    Foreign(PathBuf),
    /// A release cannot be read a second time.
    #[error("{origin}: {error}")]
    Read {
        /// Where the package was read from.
        origin: String,
        error: io::Error,
    },
    /// A release changed after the first pass.
    #[error("{origin} changes while it is read: {path} is not what it was")]
    Changed {
        /// Where the package was read from.
        origin: String,
        path: String,
    },
    /// The patch cannot be written.
    #[error("cannot write {}: {error}", .path.display())]
    Write { path: PathBuf, error: io::Error },
    /// The file system refuses something.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The patch cannot be written as a datastream.
    #[error(transparent)]
    Datastream(#[from] DatastreamError),
    /// A file is too large for the form.
    #[error("{path} has {size} bytes, which do not fit into a {form}")]
    TooLarge { path: String, size: u64, form: &'static str },
    /// A name that no zip archive can have.
    #[error("<{0}> is not UTF-8, and a zip archive has no other names")]
    Name(String),
    /// A signal, or the user, stopped it.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}
