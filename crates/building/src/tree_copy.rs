//! Whole trees are copied; the copies of files share their blocks where the file system can.

use std::path::Path;

use patchadm_bulk_values::conf::IdRange;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};
use rustix::io::Errno;

use crate::file_copy::copy_file;

/// Copies everything below one directory into another, empty one, with modes and times, and for the superuser with owners: each
/// as that of a range with its number, if there is one. Left out are devices, pipes and sockets, other file systems, and what
/// the caller may not read.
pub(crate) fn copy_tree(from: &Path, to: &Path, range: Option<IdRange>) -> Result<(), RootError> {
    let owner = |seen: &ObjectStatus| {
        let of = |id: u32| range.map_or(id, |range| range.outside(id));
        rustix::process::geteuid().is_root().then(|| (of(seen.uid), of(seen.gid)))
    };
    // Through no link below them: a directory may belong to somebody who exchanges what is in it.
    let (from, to) = (Root::open(from)?, Root::open(to)?);
    let file_system = from.dir(&ObjectPath::root())?.itself()?.file_system;
    let mut open = vec![ObjectPath::root()];
    let mut directories = Vec::new();
    while let Some(path) = open.pop() {
        let source = match from.dir(&path) {
            Err(error) if error.is_refused_access() => continue,
            other => other?,
        };
        let target = to.dir(&path)?;
        for name in source.names()? {
            let Some(seen) = source.look(&name)? else { continue };
            match seen.file_type {
                FileType::Directory => {
                    // It gets its own mode and time once everything is in it.
                    target.make_dir(&name, Mode::of(0o700))?;
                    if seen.file_system == file_system {
                        let too_long = |_| RootError::Call {
                            action: "copy",
                            path: from.show(&source.at(&name)),
                            errno: Errno::NAMETOOLONG,
                        };
                        open.push(path.join(&name).map_err(too_long)?);
                    }
                    directories.push((target.again()?, name, seen));
                    continue;
                }
                FileType::Regular => match copy_file(&source, &name, &target, &name) {
                    Err(error) if error.is_refused_access() => {
                        target.remove(&name)?;
                        continue;
                    }
                    other => other?,
                },
                FileType::Symlink => target.make_symlink(&name, &source.read_link(&name)?)?,
                _ => continue,
            }
            copy_attributes(&target, &name, &seen, owner(&seen))?;
        }
    }
    // Those below another one come after it.
    for (target, name, seen) in directories.iter().rev() {
        copy_attributes(target, name, seen, owner(seen))?;
    }
    Ok(())
}

fn copy_attributes(
    target: &Dir,
    name: &[u8],
    seen: &ObjectStatus,
    owner: Option<(u32, u32)>,
) -> Result<(), RootError> {
    if let Some((uid, gid)) = owner {
        target.set_owner(name, Some(uid), Some(gid))?;
    }
    if seen.file_type != FileType::Symlink {
        target.set_mode(name, seen.mode)?;
    }
    target.set_mtime(name, seen.mtime)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn a_copy_has_what_the_tree_has_with_modes_and_times() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("closed/deep")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("closed/deep/file"), "text").unwrap();
        std::os::unix::fs::symlink("closed/deep", from.join("link")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            from.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        fs::set_permissions(from.join("closed/deep/file"), fs::Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(from.join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
        copy_tree(&from, &to, None).unwrap();
        assert_eq!(fs::read_to_string(to.join("link/file")).unwrap(), "text");
        assert!(!to.join("pipe").exists());
        for path in ["closed", "closed/deep", "closed/deep/file", "link"] {
            let [before, after] = [&from, &to].map(|top| fs::symlink_metadata(top.join(path)).unwrap());
            let of = |seen: &fs::Metadata| (seen.mode(), seen.uid(), seen.mtime(), seen.mtime_nsec());
            assert_eq!(of(&before), of(&after), "{path}");
        }
        for top in [from, to] {
            fs::set_permissions(top.join("closed"), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}
