//! Walks and copies trees. Copies share blocks if the file system supports it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use patchadm_bulk_values::conf::IdRange;
use patchadm_bulk_values::result::Digest;
use patchadm_rootfs::{Descent, Dir, FileType, Interrupt, ObjectStatus, Root, RootError, never};
use patchadm_svr4::package::{Mode, ObjectPath};
use rustix::io::Errno;

/// Copies a tree into an empty directory: modes, times, and for the superuser owners mapped into `range`. Leaves out
/// devices, pipes, sockets, other file systems and unreadable objects. Fails with EINTR once a signal comes.
pub(crate) fn copy_tree(
    from: &Path,
    to: &Path,
    range: Option<IdRange>,
    interrupt: Interrupt<'_>,
) -> Result<(), RootError> {
    let owner = |seen: &ObjectStatus| {
        let of = |id: u32| range.map_or(id, |range| range.outside(id));
        rustix::process::geteuid().is_root().then(|| (of(seen.uid), of(seen.gid)))
    };
    // Follows no links, because a directory's owner may exchange its content.
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
            go_on_unless_interrupted("copy", (&source, &name), interrupt)?;
            let Some(seen) = source.look(&name)? else { continue };
            match seen.file_type {
                FileType::Directory => {
                    // Mode and time are set once its content is complete.
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
                FileType::Regular => match copy_file_until(&source, &name, &target, &name, interrupt) {
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

/// Visits all objects below a directory in byte order. If `visit` returns true for a directory, its content follows.
pub(crate) fn each_below<E: From<RootError>>(
    top: &Dir,
    mut visit: impl FnMut(&Dir, &[u8], &ObjectStatus) -> Result<bool, E>,
) -> Result<(), E> {
    let mut descent = Descent::below(top);
    let mut rest = vec![last_first(top)?];
    while let Some(names) = rest.last_mut() {
        let Some(name) = names.pop() else {
            rest.pop();
            descent.leave()?;
            continue;
        };
        let here = descent.here();
        let Some(seen) = here.look(&name)? else { continue };
        if visit(here, &name, &seen)? && seen.file_type == FileType::Directory {
            let dir = here.dir(&name)?;
            rest.push(last_first(&dir)?);
            descent.enter(&name, dir)?;
        }
    }
    Ok(())
}

fn last_first(dir: &Dir) -> Result<Vec<Vec<u8>>, RootError> {
    let mut names = dir.names()?;
    names.sort_unstable_by(|one, other| other.cmp(one));
    Ok(names)
}

const PART: usize = 1 << 18;

/// Passes on each part of a file. `failed` words a read error.
pub(crate) fn each_part<E>(
    file: &File,
    failed: impl Fn(&io::Error) -> E,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // A large buffer would cost more than most files.
    let size = file.metadata().map_err(|error| failed(&error))?.len();
    let part = usize::try_from(size).unwrap_or(PART).saturating_add(1).min(PART);
    let (mut buffer, mut offset) = (vec![0; part], 0);
    loop {
        let read = file.read_at(&mut buffer, offset).map_err(|error| failed(&error))?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        each(bytes)?;
        offset += read as u64;
    }
}

/// `failed` words a read error.
pub(crate) fn digest_of_file<E>(file: &File, failed: impl Fn(&io::Error) -> E) -> Result<Digest, E> {
    let mut hasher = blake3::Hasher::new();
    each_part(file, failed, |bytes| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(Digest::from_bytes(*hasher.finalize().as_bytes()))
}

pub(crate) fn copy_file(from: &Dir, name: &[u8], to: &Dir, new_name: &[u8]) -> Result<(), RootError> {
    copy_file_until(from, name, to, new_name, &never)
}

fn copy_file_until(
    from: &Dir,
    name: &[u8],
    to: &Dir,
    new_name: &[u8],
    interrupt: Interrupt<'_>,
) -> Result<(), RootError> {
    let source = from.open_regular(name)?;
    let mut file = to.create(new_name)?;
    if file.clone_of(&source)? {
        return Ok(());
    }
    let put = |bytes: &[u8]| {
        go_on_unless_interrupted("copy", (from, name), interrupt)?;
        file.put(bytes)
    };
    each_part(&source, |error| from.read_error(name, error), put)
}

pub(crate) fn go_on_unless_interrupted(
    action: &'static str,
    (dir, name): (&Dir, &[u8]),
    interrupt: Interrupt<'_>,
) -> Result<(), RootError> {
    match interrupt() {
        None => Ok(()),
        Some(_) => Err(RootError::Call { action, path: dir.root().show(&dir.at(name)), errno: Errno::INTR }),
    }
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
        copy_tree(&from, &to, None, &never).unwrap();
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

    #[test]
    fn a_signal_ends_the_copy_of_a_tree_in_the_middle_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("file"), vec![b'x'; 40 * PART]).unwrap();
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 10).then_some(15);
        // With shared blocks, there is no middle.
        let source = File::open(from.join("file")).unwrap();
        let is_cloned = Dir::of_host(&to).unwrap().create(b"clone").unwrap().clone_of(&source).unwrap();
        let copied = copy_tree(&from, &to, None, &interrupt);
        if !is_cloned {
            assert_eq!(copied.unwrap_err().errno(), Some(Errno::INTR));
            assert!(fs::metadata(to.join("file")).unwrap().len() < 40 * PART as u64);
        }
        let copied = copy_tree(&from, &to, None, &|| Some(15));
        assert_eq!(copied.unwrap_err().errno(), Some(Errno::INTR), "before a file, too");
    }

    #[test]
    fn wide_and_deep_trees_are_walked_in_order_and_what_is_not_wanted_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..3_000 {
            fs::create_dir(dir.path().join(format!("{number:04}"))).unwrap();
        }
        let deep = dir.path().join("0001/".to_owned() + &"d/".repeat(1_000));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "").unwrap();
        fs::create_dir(dir.path().join("0002/hidden")).unwrap();
        let mut seen_names = Vec::new();
        each_below::<RootError>(&Dir::of_host(dir.path()).unwrap(), |_, name, _| {
            seen_names.push(String::from_utf8(name.to_vec()).unwrap());
            Ok(name != b"0002")
        })
        .unwrap();
        assert_eq!(seen_names.len(), 3_000 + 1_000 + 1);
        assert_eq!((&*seen_names[0], &*seen_names[1], &*seen_names[2]), ("0000", "0001", "d"));
        assert_eq!((&*seen_names[1_002], &*seen_names[1_003]), ("file", "0002"));
        assert_eq!(seen_names[1_004], "0003");
    }
}
