//! Ownership checks for the files that a bulk build trusts.

use std::path::{Path, PathBuf};

use patchadm_rootfs::{Dir, FileType, ForeignObject, ObjectStatus, look_along, strange_along};

/// A file or directory that somebody else could change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignFile {
    /// Somebody else has it.
    #[error("{} belongs to {owner}, who is neither you nor root: nothing that others can change is believed", path.display())]
    Owner {
        /// The file or directory.
        path: PathBuf,
        /// The name of its owner.
        owner: String,
    },
    /// Others may write to it.
    #[error("{} belongs to {owner}, and others may write to it (mode {mode:04o}): nothing that others can change is believed", path.display())]
    Mode {
        /// The file or directory.
        path: PathBuf,
        /// The name of its owner.
        owner: String,
        /// Its mode.
        mode: u32,
    },
    /// Another user could replace it.
    #[error("{}: {above}, and so could put something else there: nothing that others can change is believed", path.display())]
    Above {
        /// The file or directory.
        path: PathBuf,
        /// The directory or link by which that can be done.
        above: ForeignObject,
    },
    /// It cannot be found out.
    #[error("{}: {reason}", path.display())]
    Unknown {
        /// The file or directory.
        path: PathBuf,
        /// The reason why not.
        reason: String,
    },
}

/// Checks that only the caller and root can change or replace a file or directory. Links are followed; the target
/// counts.
pub(crate) fn must_be_ours_at(path: &Path) -> Result<(), ForeignFile> {
    let unknown = |reason: String| ForeignFile::Unknown { path: path.to_owned(), reason };
    match look_along(path).map_err(|error| unknown(error.to_string()))? {
        (Some(above), _) => Err(ForeignFile::Above { path: path.to_owned(), above }),
        (None, seen) => must_be_ours(path, &seen),
    }
}

/// Performs the same check for an open directory, and that its path leads to it.
pub(crate) fn must_be_ours_open(path: &Path, dir: &Dir) -> Result<(), ForeignFile> {
    let unknown = |reason: String| ForeignFile::Unknown { path: path.to_owned(), reason };
    let (above, seen) = look_along(path).map_err(|error| unknown(error.to_string()))?;
    if let Some(above) = above {
        return Err(ForeignFile::Above { path: path.to_owned(), above });
    }
    let opened = dir.itself().map_err(|error| unknown(error.to_string()))?;
    if (seen.inode, seen.file_system) != (opened.inode, opened.file_system) {
        return Err(unknown("it was replaced while it was opened".to_owned()));
    }
    must_be_ours(path, &opened)
}

/// Checks that only the caller and root can replace what is yet to be made at a path. Of missing directories above it,
/// the first that is there counts.
pub(crate) fn must_be_ours_above(path: &Path) -> Result<(), ForeignFile> {
    for above in path.ancestors().skip(1) {
        match strange_along(above) {
            Ok(None) => return Ok(()),
            Ok(Some(above)) => return Err(ForeignFile::Above { path: path.to_owned(), above }),
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                return Err(ForeignFile::Unknown { path: path.to_owned(), reason: error.to_string() });
            }
        }
    }
    Ok(())
}

/// Checks the same as [`must_be_ours_at`] for names in a directory that was checked, if they exist.
pub(crate) fn must_be_ours_in(path: &Path, dir: &Dir, names: &[&str]) -> Result<(), ForeignFile> {
    for name in names {
        let unknown = |reason: String| ForeignFile::Unknown { path: path.join(name), reason };
        match dir.look(name.as_bytes()).map_err(|error| unknown(error.to_string()))? {
            None => {}
            Some(seen) if seen.file_type == FileType::Symlink => must_be_ours_at(&path.join(name))?,
            Some(seen) => must_be_ours(&path.join(name), &seen)?,
        }
    }
    Ok(())
}

/// Checks that only the caller and root can change a file or directory.
pub(crate) fn must_be_ours(path: &Path, seen: &ObjectStatus) -> Result<(), ForeignFile> {
    let is_ours = seen.uid == 0 || seen.uid == rustix::process::geteuid().as_raw();
    let mode = seen.mode.bits();
    if is_ours && mode & 0o022 == 0 {
        return Ok(());
    }
    let user = nix::unistd::User::from_uid(seen.uid.into()).ok().flatten();
    let owner = user.map_or_else(|| seen.uid.to_string(), |user| user.name);
    let path = path.to_owned();
    Err(if is_ours { ForeignFile::Mode { path, owner, mode } } else { ForeignFile::Owner { path, owner } })
}
