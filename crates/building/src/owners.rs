//! Whose the files are that a bulk build believes.

use std::path::{Path, PathBuf};

use patchadm_rootfs::ObjectStatus;

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
}

/// Checks that nobody but the caller and root can change a file or directory.
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
