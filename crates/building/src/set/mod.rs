//! The set of a run: the results of all its packages, complete, under one number.
//!
//! ```text
//! states and results of the run ─┐
//! set before (its MANIFEST) ─────┴─ selection ─► entries ─ libraries ─► nothing unmet ─ publishing ─► sets/<n>, sets/current
//! ```
//! A set that lacks something is none: the reasons against it are a [`SetRefusal`]. The directory is made beside its place,
//! synced, and gets its name by a rename; so does `sets/current`, a symbolic link. Who reads through it sees whole sets only.

mod base_libraries;
mod delivered;
mod error;
mod libraries;
mod manifest;
mod publishing;
mod released;
mod selection;

use patchadm_bulk::journal::PackageState;
use patchadm_bulk::report::SetReport;
use patchadm_rootfs::FileType;

pub use error::{SetError, SetRefusal};
pub use manifest::{SetFile, SetManifest};
pub use released::{ReleaseError, ReleasedSet, release};

use crate::pool::PoolEntry;
use crate::work::Work;

/// The directory of the sets.
pub(crate) const SETS: &str = "sets";

/// The links to the newest set, and to the one that users have.
pub(crate) const CURRENT: &str = "current";
pub(crate) const RELEASED: &str = "released";

/// The directories of a set: packages, and files that are none of ours.
const PACKAGES: &str = "packages";
const FILES: &str = "files";

/// A package that is wanted in a set.
#[derive(Clone, Debug)]
pub struct SetPackage<'a> {
    /// PKGNAME.
    pub package: &'a str,
    /// The location of its recipe.
    pub location: &'a str,
    /// What became of it.
    pub state: PackageState,
    /// Its result; `None` if it has none.
    pub entry: Option<PoolEntry>,
    /// Whether it must not be handed on.
    pub is_restricted: bool,
}

/// What a set is made of.
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

/// Makes the set of a run, unless something speaks against it. The caller holds the lock of the working directory, and the pool.
pub fn make_set(work: &Work, input: &SetInput<'_>) -> Result<Result<SetReport, SetRefusal>, SetError> {
    let previous = publishing::set_behind(work, CURRENT)?;
    let entries = match selection::select((input.run, input.packages), previous.as_ref(), &work.conf) {
        Ok(entries) => entries,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let unmet = libraries::unmet_libraries(&entries, &work.conf.base, input.interrupt)?;
    if !unmet.is_empty() {
        return Ok(Err(SetRefusal::Unmet(unmet)));
    }
    publishing::publish(work, input, &entries)?;
    let kept = entries.iter().filter(|entry| entry.is_kept);
    Ok(Ok(SetReport {
        run: input.run,
        packages: entries.len() as u64,
        kept: kept.map(|entry| format!("{} (run {})", entry.package, entry.run)).collect(),
        unmet,
    }))
}

/// Returns the numbers of the sets of a working directory, sorted.
pub fn set_numbers(work: &Work) -> Result<Vec<u64>, SetError> {
    numbered_directories(&work.directory(SETS)?)
}

/// Returns the set that a link of the sets leads to: `current`, or `released`.
pub fn set_of_link(work: &Work, link: &str) -> Result<Option<u64>, SetError> {
    Ok(publishing::number_behind(&work.directory(SETS)?, link)?)
}

/// Returns the directories of which the name is a number, sorted.
pub(crate) fn numbered_directories(dir: &patchadm_rootfs::Dir) -> Result<Vec<u64>, SetError> {
    let mut numbers = Vec::new();
    for name in dir.names()? {
        let number = std::str::from_utf8(&name).ok().and_then(|name| name.parse::<u64>().ok());
        let Some(number) = number.filter(|number| number.to_string().as_bytes() == name) else { continue };
        if dir.look(&name)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests;
