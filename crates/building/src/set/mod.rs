//! The set of a run: the results of its packages under one number, or the [`SetRefusal`] why there is none.
//!
//! A set is filled beside its place, synced and renamed, and `sets/current` likewise: readers see complete sets only.

mod delivered;
mod libraries;
mod making;
mod manifest;
mod publishing;
mod selection;

use std::path::PathBuf;

use patchadm_bulk_values::journal::BuildState;
use patchadm_core::operation::libraries::ScanError;
use patchadm_inputs::source::SourceError;
use patchadm_rootfs::{Dir, FileType, RootError};

use crate::name_list::first_names;
use crate::pool::PoolEntry;
use crate::work::{BulkWork, numbered_directories};

pub(crate) use delivered::ArchivedObjects;
pub(crate) use libraries::{BaseLibraries, found_libraries, unmet_in_files};
pub use making::{MadeSet, make_set};
pub use manifest::{SetFile, SetManifest};
pub(crate) use publishing::{LARGEST_MANIFEST, name_holders, put_file, read_set, verify_set};
pub use publishing::{ReleasedSet, SetReleaseError, release};
pub(crate) use selection::EarlierSet;

#[derive(Clone, Debug)]
pub struct SetPackage<'a> {
    pub package: &'a str,
    pub location: &'a str,
    pub state: BuildState,
    /// `None` without a result.
    pub entry: Option<PoolEntry>,
    /// Must not be distributed.
    pub is_restricted: bool,
}

#[derive(Clone, Copy)]
pub struct SetInput<'a> {
    /// Also the number of the set.
    pub run: u64,
    /// RFC 3339 in UTC, to the second.
    pub date: &'a str,
    /// All packages of the run.
    pub packages: &'a [SetPackage<'a>],
    /// Returns the signal to stop.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetRefusal {
    #[error("{} not built: {}", count(.0.len(), "package was", "packages were"), first_names(.0))]
    NotBuilt(Vec<String>),
    #[error("it would be empty")]
    Empty,
    /// A pattern of `required` matches nothing, or none of its packages.
    #[error("required: {0}")]
    Required(String),
    #[error("it has {packages} packages of at least {minimum}")]
    TooFew { packages: u64, minimum: u64 },
}

#[derive(Debug, thiserror::Error)]
pub enum SetError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "{} is damaged: {reason}; nothing of it was changed. Let the links that lead to it lead to another set, or remove them",
        path.display()
    )]
    Damaged { path: PathBuf, reason: String },
    #[error("the manifest of set {0} would not be read: {1}")]
    Unreadable(u64, String),
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
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

/// Link to the newest set.
pub const CURRENT: &str = "current";

/// Link to the set that users have.
pub const RELEASED: &str = "released";

pub(crate) const PACKAGES: &str = "packages";

pub(crate) const FILES: &str = "files";

/// Sorted.
pub fn set_numbers(work: &BulkWork) -> Result<Vec<u64>, RootError> {
    numbered_directories(&work.directory(SETS)?)
}

/// Returns the set behind the link `current` or `released`.
pub fn set_of_link(work: &BulkWork, link: &str) -> Result<Option<u64>, RootError> {
    number_behind(&work.directory(SETS)?, link)
}

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
