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

/// The reason why no patch is made. Nothing is there afterwards that was not there before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The releases make no pairs.
    #[error(transparent)]
    Pair(#[from] PairError),
    /// An object cannot be in a package.
    #[error(transparent)]
    Sparse(#[from] SparseError),
    /// A path is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A library cannot be looked into.
    #[error(transparent)]
    Abi(#[from] AbiError),
    /// The releases are the same.
    #[error("{from} and {to} do not differ: there is nothing to deliver")]
    NothingChanged {
        /// The old release.
        from: String,
        /// The new release.
        to: String,
    },
    /// The patch is not a later revision of the one that it must contain.
    #[error("{id} is not a later revision of {previous}")]
    NoLaterRevision {
        /// The patch.
        id: PatchId,
        /// The revision that was named.
        previous: PatchId,
    },
    /// The earlier revision has a package that is in neither release as it must be.
    #[error(
        "the revision before it has package {pkg} of architecture {arch} and version {version}, and the releases do not"
    )]
    PreviousPackage {
        /// PKG.
        pkg: String,
        /// ARCH.
        arch: String,
        /// VERSION.
        version: String,
    },
    /// The id is not that of a restricted patch.
    #[error("{id} is not the id of a restricted patch: its base does not match {pattern}")]
    NotRestricted {
        /// The patch.
        id: PatchId,
        /// The pattern.
        pattern: String,
    },
    /// The pattern of restricted patches cannot be read.
    #[error("<{0}> is not a pattern for the bases of restricted patches")]
    Pattern(String),
    /// Another patch delivers the same path.
    #[error(transparent)]
    Overlap(#[from] Box<Overlap>),
    /// An object that stays needs what the new release no longer has.
    #[error("{0}")]
    AbiBreak(Box<AbiFinding>),
    /// There is something under the name of the patch.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// There is a directory under the name of the patch that is none.
    #[error("{} is a directory and not a patch; it is not replaced", .0.display())]
    Foreign(PathBuf),
    /// A release cannot be read a second time.
    #[error("{origin}: {error}")]
    Read {
        /// Where the package was read from.
        origin: String,
        /// The reason.
        error: io::Error,
    },
    /// A release is another than it was when it was read first.
    #[error("{origin} changes while it is read: {path} is not what it was")]
    Changed {
        /// Where the package was read from.
        origin: String,
        /// The object.
        path: String,
    },
    /// The patch cannot be written.
    #[error("cannot write {}: {error}", .path.display())]
    Write {
        /// The patch.
        path: PathBuf,
        /// The reason.
        error: io::Error,
    },
    /// The file system refuses something.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The patch cannot be written as a datastream.
    #[error(transparent)]
    Datastream(#[from] DatastreamError),
    /// A file is too large for the form.
    #[error("{path} has {size} bytes, which do not fit into a {form}")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        size: u64,
        /// The form.
        form: &'static str,
    },
    /// A name that no zip archive can have.
    #[error("<{0}> is not UTF-8, and a zip archive has no other names")]
    Name(String),
    /// A signal, or the user, ended it.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}
