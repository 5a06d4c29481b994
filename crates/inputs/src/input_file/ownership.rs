//! Whose word a file is: one that decides what is done belongs to the caller or to the superuser, and nobody else may write
//! to it, or put another one in its place.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use patchadm_rootfs::strange_above;

/// The superuser, and the group that is the superuser's.
const SUPERUSER: u32 = 0;

/// Refuses a regular file or directory that another user than the caller and the superuser may change. A pipe that the
/// caller handed over is the caller's own.
pub(super) fn must_be_own(seen: &Metadata) -> io::Result<()> {
    if !seen.is_file() && !seen.is_dir() {
        return Ok(());
    }
    match stranger(seen, rustix::process::geteuid().as_raw()) {
        None => Ok(()),
        Some(reason) => Err(io::Error::new(io::ErrorKind::PermissionDenied, reason)),
    }
}

/// Refuses a path at which another user could put another file.
pub(super) fn must_be_own_place(path: &Path) -> io::Result<()> {
    match strange_above(path)? {
        None => Ok(()),
        Some(strange) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{strange}: whoever that is could put another file there"),
        )),
    }
}

/// Returns who else may change an object of these attributes.
fn stranger(seen: &Metadata, caller: u32) -> Option<String> {
    if seen.uid() != caller && seen.uid() != SUPERUSER {
        return Some(format!(
            "it belongs to uid {}, and only the caller's own word or root's counts",
            seen.uid()
        ));
    }
    if seen.mode() & 0o002 != 0 {
        return Some("others may write to it".to_owned());
    }
    let is_of_group = seen.gid() != SUPERUSER && seen.mode() & 0o020 != 0;
    is_of_group.then(|| format!("the group {} may write to it", seen.gid()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_somebody_else_may_change_is_nobodys_word() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let mut found = Vec::new();
        for mode in [0o600, 0o644, 0o664, 0o666] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let seen = fs::metadata(&path).unwrap();
            found.push((stranger(&seen, seen.uid()).is_some(), stranger(&seen, seen.uid() + 1).is_some()));
        }
        let is_roots = fs::metadata(&path).unwrap().uid() == SUPERUSER;
        let by_group = fs::metadata(&path).unwrap().gid() != SUPERUSER;
        let others = !is_roots;
        assert_eq!(found, [(false, others), (false, others), (by_group, others || by_group), (true, true)]);
    }
}
