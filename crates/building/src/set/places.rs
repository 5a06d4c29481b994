//! The places of sets in a working directory: a directory for each under its number, and links to two of them.

use patchadm_rootfs::{Dir, FileType, RootError};

use crate::work::{Work, numbered_directories};

/// The directory of the sets.
pub(crate) const SETS: &str = "sets";

/// The link to the newest set.
pub const CURRENT: &str = "current";

/// The link to the set that users have.
pub const RELEASED: &str = "released";

/// The directory of the packages in a set.
pub(crate) const PACKAGES: &str = "packages";

/// The directory of the files in a set that are no packages of ours.
pub(crate) const FILES: &str = "files";

/// Returns the numbers of the sets of a working directory, sorted.
pub fn set_numbers(work: &Work) -> Result<Vec<u64>, RootError> {
    numbered_directories(&work.directory(SETS)?)
}

/// Returns the set that a link of the sets leads to: `current`, or `released`.
pub fn set_of_link(work: &Work, link: &str) -> Result<Option<u64>, RootError> {
    number_behind(&work.directory(SETS)?, link)
}

/// Lets a link lead to another set, by a rename.
pub(crate) fn lead(sets: &Dir, link: &str, to: &str) -> Result<(), RootError> {
    let new = format!(".{link}.new");
    sets.remove(new.as_bytes())?;
    sets.make_symlink(new.as_bytes(), to.as_bytes())?;
    sets.rename(new.as_bytes(), link.as_bytes())?;
    sets.sync()
}

/// Returns the number of the set that a link leads to.
pub(super) fn number_behind(sets: &Dir, link: &str) -> Result<Option<u64>, RootError> {
    if sets.look(link.as_bytes())?.is_none_or(|seen| seen.file_type != FileType::Symlink) {
        return Ok(None);
    }
    let target = sets.read_link(link.as_bytes())?;
    Ok(std::str::from_utf8(&target).ok().and_then(|target| target.parse().ok()))
}
