//! Ownership checks for files that a bulk build trusts.

use std::path::{Path, PathBuf};

use patchadm_rootfs::{Dir, FileType, ForeignObject, ObjectStatus, look_along, strange_along};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignFile {
    #[error("{} belongs to {owner}, who is neither you nor root: nothing that others can change is believed", path.display())]
    Owner { path: PathBuf, owner: String },
    #[error("{} belongs to {owner}, and others may write to it (mode {mode:04o}): nothing that others can change is believed", path.display())]
    Mode { path: PathBuf, owner: String, mode: u32 },
    #[error("{}: {above}, and so could put something else there: nothing that others can change is believed", path.display())]
    Above { path: PathBuf, above: ForeignObject },
    #[error("{}: {reason}", path.display())]
    Unknown { path: PathBuf, reason: String },
}

/// Checks that only the caller and root can change or replace a file or directory. Follows links.
pub(crate) fn must_be_ours_at(path: &Path) -> Result<(), ForeignFile> {
    let unknown = |reason: String| ForeignFile::Unknown { path: path.to_owned(), reason };
    match look_along(path).map_err(|error| unknown(error.to_string()))? {
        (Some(above), _) => Err(ForeignFile::Above { path: path.to_owned(), above }),
        (None, seen) => must_be_ours(path, &seen),
    }
}

/// Checks the same for an open directory, and that its path leads to it.
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

/// Checks that only the caller and root can replace a future file; starts at the nearest existing directory above.
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

/// Checks names in a checked directory, if they exist.
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
