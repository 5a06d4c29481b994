//! What speaks against a set, and what keeps one from being made.

use std::path::PathBuf;

use patchadm_core::operation::libraries::ScanError;
use patchadm_inputs::source::SourceError;
use patchadm_rootfs::RootError;

use crate::first_names::first_names;

/// The reason why a run has no set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetRefusal {
    /// Packages have no result, and `bulk.conf` says that there is no set then.
    #[error("{} not built: {}", count(.0.len(), "package was", "packages were"), first_names(.0))]
    NotBuilt(Vec<String>),
    /// It would have no package.
    #[error("it would be empty")]
    Empty,
    /// A pattern of `required` means none of its packages, or nothing.
    #[error("required: {0}")]
    Required(String),
    /// It has fewer packages than `minimum`.
    #[error("it has {packages} packages of at least {minimum}")]
    TooFew {
        /// How many it has.
        packages: u64,
        /// The least number.
        minimum: u64,
    },
}

/// The reasons why a set cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// A package that was kept cannot be read any more.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A set is damaged.
    #[error(
        "{} is damaged: {reason}; nothing of it was changed. Let the links that lead to it lead to another set, or remove them",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A manifest would not be read again.
    #[error("the manifest of set {0} would not be read: {1}")]
    Unreadable(u64, String),
    /// A signal came.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
    /// The disk.
    #[error(transparent)]
    Root(#[from] RootError),
}

impl From<ScanError> for SetError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Root(error) => Self::Root(error),
            ScanError::Interrupted(signal) => Self::Interrupted(signal),
        }
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
