//! Mount points inside the tree under construction: resolved so that nothing leads out, and made if missing.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode as Bits, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::namespaces::enclosure::EnclosureError;
use patchadm_rootfs::{Dir, ObjectStatus};
use patchadm_svr4::package::Mode;

#[derive(Debug)]
pub(super) struct FoundPlace {
    pub(super) fd: OwnedFd,
    pub(super) path: OsString,
}

/// Opens a path inside the tree `top`; symbolic links stay inside.
pub(super) fn open_inside(top: impl AsFd, place: &OsStr) -> Result<Option<OwnedFd>, Errno> {
    let relative = place.as_bytes().iter().position(|&byte| byte != b'/');
    let relative = relative.and_then(|at| place.as_bytes().get(at..)).unwrap_or(b".");
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let opened = rustix::io::retry_on_intr(|| {
        rustix::fs::openat2(top.as_fd(), relative, flags, Bits::empty(), resolve)
    });
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

pub(super) fn find(top: &OwnedFd, place: &OsStr) -> Result<Option<FoundPlace>, EnclosureError> {
    let failed = |error: &dyn std::fmt::Display| {
        EnclosureError::failed("find the mount point", place.display(), error)
    };
    let Some(fd) = open_inside(top, place).map_err(|errno| failed(&errno))? else { return Ok(None) };
    let path = std::fs::read_link(path_of(&fd)).map_err(|error| failed(&error))?.into_os_string();
    Ok(Some(FoundPlace { fd, path }))
}

pub(super) fn path_of(fd: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

pub(super) fn mount_of(fd: &OwnedFd) -> Result<u64, EnclosureError> {
    let seen = ObjectStatus::of(fd, || path_of(fd).display().to_string());
    seen.map(|seen| seen.mount).map_err(|error| EnclosureError::Failed(error.to_string()))
}

/// Makes a missing directory or empty file for `owner`, only on one of the mounts `own`.
pub(super) fn make(
    top: &OwnedFd,
    place: &OsStr,
    is_directory: bool,
    (own, owner): (&[u64], Option<(u32, u32)>),
) -> Result<(), EnclosureError> {
    let shown = || place.display().to_string();
    let refused =
        |reason: &dyn std::fmt::Display| EnclosureError::failed("make the mount point", shown(), reason);
    let (above, names) = nearest(top, place).map_err(|errno| refused(&errno))?;
    if !own.contains(&mount_of(&above)?) {
        return Err(refused(&"it is missing, and this part of the tree is read-only"));
    }
    let mut dir = Dir::of_host(&path_of(&above)).map_err(|error| refused(&reason_of(&error)))?;
    let Some((last, between)) = names.split_last() else { return Ok(()) };
    let given = |dir: &Dir, name: &OsString| match owner {
        Some((uid, gid)) => dir.set_owner(name.as_bytes(), Some(uid), Some(gid)),
        None => Ok(()),
    };
    for name in between {
        let made = dir.make_dir(name.as_bytes(), Mode::of(0o755)).and_then(|made| {
            given(&dir, name)?;
            Ok(made)
        });
        dir = made.map_err(|error| refused(&reason_of(&error)))?;
    }
    let made = if is_directory {
        dir.make_dir(last.as_bytes(), Mode::of(0o755)).map(drop)
    } else {
        dir.create(last.as_bytes()).map(drop)
    };
    made.and_then(|()| given(&dir, last)).map_err(|error| refused(&reason_of(&error)))
}

/// Returns the reason of an error, without the path, which means nothing to other processes.
fn reason_of(error: &patchadm_rootfs::RootError) -> String {
    error.errno().map_or_else(|| error.to_string(), |errno| errno.to_string())
}

fn nearest(top: &OwnedFd, place: &OsStr) -> Result<(OwnedFd, Vec<OsString>), Errno> {
    let parts = Path::new(place).components().filter(|part| *part != Component::RootDir);
    let mut there: Vec<OsString> = parts.map(|part| part.as_os_str().to_owned()).collect();
    let mut missing = Vec::new();
    loop {
        let above: PathBuf = there.iter().collect();
        if let Some(fd) = open_inside(top, above.as_os_str())? {
            missing.reverse();
            return Ok((fd, missing));
        }
        missing.push(there.pop().ok_or(Errno::NOENT)?);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn opened(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Bits::empty()).unwrap()
    }

    #[test]
    fn no_link_and_no_way_up_leads_out() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        std::fs::create_dir_all(tree.join("etc")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        symlink("/etc", tree.join("absolute")).unwrap();
        symlink("../../../outside", tree.join("etc/up")).unwrap();
        let top = opened(&tree);
        let path = |place: &str| find(&top, OsStr::new(place)).unwrap().map(|found| found.path);
        assert_eq!(path("/absolute"), Some(tree.join("etc").into()));
        assert_eq!(path("//etc/../../../etc/"), Some(tree.join("etc").into()));
        assert_eq!(path("/etc/up"), None);
        assert_eq!(path("/../../outside"), None);
        assert_eq!(path("/"), Some(tree.into()));
    }

    #[test]
    fn a_missing_place_is_made_with_what_leads_to_it_and_only_on_mounts_of_ours() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("usr")).unwrap();
        let top = opened(dir.path());
        let own = [mount_of(&top).unwrap()];
        make(&top, OsStr::new("/usr/src/a/b"), true, (&own, None)).unwrap();
        make(&top, OsStr::new("/usr/file"), false, (&own, None)).unwrap();
        assert!(dir.path().join("usr/src/a/b").is_dir() && dir.path().join("usr/file").is_file());
        let refused = make(&top, OsStr::new("/usr/other"), true, (&[], None)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "cannot make the mount point /usr/other: it is missing, and this part of the tree is read-only"
        );
        let behind = make(&top, OsStr::new("/usr/file/x"), true, (&own, None)).unwrap_err();
        assert!(behind.to_string().starts_with("cannot make the mount point /usr/file/x: "), "{behind}");
    }
}
