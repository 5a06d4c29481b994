//! The set of a run: the results of all its packages under one number.
//!
//! ```text
//! states and results of the run ─┐
//! set before (its MANIFEST) ─────┴─ selection ─► entries ─ libraries ─► nothing unmet ─ publishing ─► sets/<n>, sets/current
//! ```
//! There are no incomplete sets: the reasons against one are a [`SetRefusal`]. The directory is made beside its place,
//! synced, and renamed; `sets/current`, a symbolic link, is replaced in the same way. Readers of the link see complete
//! sets only.

mod delivered;
mod libraries;
mod making;
mod manifest;
mod publishing;
mod selection;

use std::path::PathBuf;

use patchadm_bulk_values::journal::PackageState;
use patchadm_core::operation::libraries::ScanError;
use patchadm_inputs::source::SourceError;
use patchadm_rootfs::{Dir, FileType, RootError};

use crate::first_names::first_names;
use crate::pool::PoolEntry;
use crate::work::{Work, numbered_directories};

pub(crate) use delivered::DeliveredObjects;
pub(crate) use libraries::{BaseLibraries, found_libraries, unmet_in_files};
pub use making::{MadeSet, make_set};
pub use manifest::{SetFile, SetManifest};
pub(crate) use publishing::{LARGEST_MANIFEST, name_holders, put_file, read_set, verify_set};
pub use publishing::{ReleaseError, ReleasedSet, release};
pub(crate) use selection::EarlierSet;

/// A package requested for a set.
#[derive(Clone, Debug)]
pub struct SetPackage<'a> {
    /// PKGNAME.
    pub package: &'a str,
    /// The location of its recipe.
    pub location: &'a str,
    /// Its state.
    pub state: PackageState,
    /// Its result; `None` if it has none.
    pub entry: Option<PoolEntry>,
    /// True if it must not be distributed.
    pub is_restricted: bool,
}

/// The input of a set.
#[derive(Clone, Copy)]
pub struct SetInput<'a> {
    /// The number of the run, which the set gets.
    pub run: u64,
    /// The time, RFC 3339 in UTC, to the second.
    pub date: &'a str,
    /// All packages of the run.
    pub packages: &'a [SetPackage<'a>],
    /// Returns the signal that asks to end, if any.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

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
        /// The number of packages.
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
        /// The reason.
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

pub(crate) const SETS: &str = "sets";

/// The link to the newest set.
pub const CURRENT: &str = "current";

/// The link to the set that users have.
pub const RELEASED: &str = "released";

pub(crate) const PACKAGES: &str = "packages";

pub(crate) const FILES: &str = "files";

/// Returns the numbers of the sets of a working directory, sorted.
pub fn set_numbers(work: &Work) -> Result<Vec<u64>, RootError> {
    numbered_directories(&work.directory(SETS)?)
}

/// Returns the set that a link of the sets leads to: `current`, or `released`.
pub fn set_of_link(work: &Work, link: &str) -> Result<Option<u64>, RootError> {
    number_behind(&work.directory(SETS)?, link)
}

/// Changes the target of a link, by a rename.
pub(crate) fn lead(sets: &Dir, link: &str, to: &str) -> Result<(), RootError> {
    let new = format!(".{link}.new");
    sets.remove(new.as_bytes())?;
    sets.make_symlink(new.as_bytes(), to.as_bytes())?;
    sets.rename(new.as_bytes(), link.as_bytes())?;
    sets.sync()
}

pub(super) fn number_behind(sets: &Dir, link: &str) -> Result<Option<u64>, RootError> {
    if sets.look(link.as_bytes())?.is_none_or(|seen| seen.file_type != FileType::Symlink) {
        return Ok(None);
    }
    let target = sets.read_link(link.as_bytes())?;
    Ok(std::str::from_utf8(&target).ok().and_then(|target| target.parse().ok()))
}

#[cfg(test)]
mod tests;
