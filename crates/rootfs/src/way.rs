//! Finds out who else could exchange an object, from owners and modes on the way to it. Directories above a root may be
//! anyone's (`/tmp`), because the root is opened once, but a foreign symbolic link would decide which root is changed.
//! A file that is opened again by its path could be exchanged in any foreign directory above it.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};

use patchadm_svr4::package::{ObjectPath, rule};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::calls::MOST_LINKS;
use crate::mounts::LISTS;
use crate::{
    ACCESS_LIST, Dir, Distrust, FileType, ObjectStatus, Result, Root, RootError, again, each_entry_from_here,
};

const PROC: u64 = 0x9fa0;

/// Requires links on the way to the root to be the superuser's, and the way still to lead there. Checks the path as it
/// was given, and the path that is shown, by which others find the root.
pub(crate) fn look_at_links(root: &Root) -> Result<()> {
    look_at_links_of(root, root.way())?;
    if root.way() == root.prefix() { Ok(()) } else { look_at_links_of(root, root.prefix()) }
}

fn look_at_links_of(root: &Root, path: &Path) -> Result<()> {
    let failed = |errno| root.error("follow the path to", &ObjectPath::root(), errno);
    let mut at = open(None, b"/").map_err(failed)?;
    let (mut shown, mut links) = (PathBuf::from("/"), 0);
    let mut rest = parts(path);
    if path.is_relative() {
        at = open(None, b".").map_err(failed)?;
        shown = PathBuf::new();
    }
    while let Some(part) = rest.pop_front() {
        let next = open(Some(&at), part.as_bytes()).map_err(failed)?;
        let seen = ObjectStatus::of_file(&next).map_err(failed)?;
        if seen.file_type != FileType::Symlink {
            at = next;
            shown.push(&part);
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(RootError::Loop(root.shown_prefix()));
        }
        if !rule::holds("root.way.link", seen.uid == 0) {
            let link = shown.join(&part).display().to_string();
            return Err(root.untrusted(link, seen.uid, Distrust::Link));
        }
        if is_of_proc(&next) {
            at = through(&at, part.as_bytes()).map_err(failed)?;
            shown.push(&part);
            continue;
        }
        if let Some(strange) = strange_above_link(&at).map_err(failed)? {
            return Err(if strange.is_writable {
                root.untrusted(strange.path, strange.uid, Distrust::AboveLink)
            } else {
                root.untrusted(shown.join(&part).display().to_string(), strange.uid, Distrust::Link)
            });
        }
        let target = again(|| rustix::fs::readlinkat(&next, "", Vec::new())).map_err(failed)?;
        let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
        if target.is_absolute() {
            at = open(None, b"/").map_err(failed)?;
            shown = PathBuf::from("/");
        }
        for part in parts(&target).into_iter().rev() {
            rest.push_front(part);
        }
    }
    let (found, opened) = (ObjectStatus::of_file(&at).map_err(failed)?, root.seen()?);
    let is_same = (found.inode, found.file_system) == (opened.inode, opened.file_system);
    if is_same { Ok(()) } else { Err(failed(Errno::STALE)) }
}

/// Returns the nearest directory, this one or one above it, by which others could replace a link in this one.
fn strange_above_link(directory: &OwnedFd) -> rustix::io::Result<Option<ForeignObject>> {
    let mut above: Option<OwnedFd> = None;
    loop {
        let at = above.as_ref().unwrap_or(directory);
        let shown = std::fs::read_link(format!("/proc/self/fd/{}", at.as_raw_fd())).unwrap_or_default();
        if let Some(strange) = strange_directory(at, &shown, 0)? {
            return Ok(Some(strange));
        }
        let next = open(Some(at), b"..")?;
        let seen = |fd: &OwnedFd| ObjectStatus::of_file(fd).map(|seen| (seen.inode, seen.mount));
        if seen(at)? == seen(&next)? {
            return Ok(None);
        }
        above = Some(next);
    }
}

/// Groups of those who maintain the system's software: `root`, `bin` and `sys`. SVR4 packages deliver directories such as
/// `/usr` as `0775 root sys`.
const SYSTEM_GROUPS: [u32; 3] = [0, 2, 3];

/// Returns a directory if users other than the superuser, the caller and `owner` could replace a link in it that is not
/// theirs. A sticky bit protects the link; members of the system's groups are trusted.
pub(crate) fn strange_directory(
    opened: &OwnedFd,
    path: &Path,
    owner: u32,
) -> rustix::io::Result<Option<ForeignObject>> {
    Ok(strange_to(&ObjectOnWay::of(opened, path, &SYSTEM_GROUPS)?, owner))
}

/// Returns the first object above a host path by which a user other than the caller and the superuser could replace the
/// target: a directory, or a link on the way. A sticky directory, such as `/tmp`, protects the objects of others.
pub fn strange_above(path: &Path) -> Result<Option<ForeignObject>> {
    Ok(look_along(path)?.0)
}

/// Like [`strange_above`], but for a directory in which something is to be made: it is checked as well.
pub fn strange_along(path: &Path) -> Result<Option<ForeignObject>> {
    let (objects, last) = objects_on_way(path)?;
    Ok(objects.iter().find_map(strange).or_else(|| strange(&last)))
}

/// Like [`strange_above`], and also returns the status of the object that the path leads to.
pub fn look_along(path: &Path) -> Result<(Option<ForeignObject>, ObjectStatus)> {
    let (objects, last) = objects_on_way(path)?;
    Ok((objects.iter().find_map(strange), last.seen))
}

/// Returns true if nobody but the caller and the superuser can write to a directory or anything below it, or exchange
/// them. Below it, symbolic links count as anyone's: they may lead elsewhere.
pub fn is_own_tree(path: &Path) -> Result<bool> {
    if strange_along(path)?.is_some() {
        return Ok(false);
    }
    let mut rest = vec![path.to_owned()];
    while let Some(directory) = rest.pop() {
        let failed =
            |errno| RootError::Call { action: "look at", path: directory.display().to_string(), errno };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let at = again(|| rustix::fs::open(&directory, flags, Mode::empty())).map_err(failed)?;
        let mut is_own = true;
        let listed = each_entry_from_here(&at, |name, _| {
            let opened = open(Some(&at), name)?;
            let object = ObjectOnWay::of(&opened, &directory.join(OsStr::from_bytes(name)), &[0])?;
            // A sticky bit protects what is in a directory, no file.
            is_own &= strange(&object).is_none()
                && match object.seen.file_type {
                    FileType::Directory => true,
                    FileType::Regular => object.seen.mode.bits() & 0o1000 == 0,
                    _ => false,
                };
            if object.seen.file_type == FileType::Directory {
                rest.push(object.path);
            }
            Ok(())
        });
        listed.map_err(failed)?;
        if !is_own {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A directory or symbolic link on the way to a host path, or the target.
struct ObjectOnWay {
    path: PathBuf,
    seen: ObjectStatus,
    /// True if others may exchange what is in it.
    is_writable: bool,
}

impl ObjectOnWay {
    /// Members of the `own` groups do not count as others.
    fn of(opened: &OwnedFd, path: &Path, own: &[u32]) -> rustix::io::Result<Self> {
        let seen = ObjectStatus::of_file(opened)?;
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        // Ordinary users often have a group of their own.
        let is_own_group = own.contains(&seen.gid) || (!uid.is_root() && seen.gid == gid.as_raw());
        let is_safe = seen.file_type == FileType::Symlink || seen.mode.bits() & 0o1000 != 0;
        let is_writable = !is_safe && may_others_write(opened, seen.mode.bits(), is_own_group);
        Ok(Self { path: path.to_owned(), seen, is_writable })
    }
}

fn strange(object: &ObjectOnWay) -> Option<ForeignObject> {
    strange_to(object, 0)
}

/// `owner` is trusted as well.
fn strange_to(object: &ObjectOnWay, owner: u32) -> Option<ForeignObject> {
    let uid = object.seen.uid;
    let is_owned =
        uid == 0 || uid == owner || uid == rustix::process::geteuid().as_raw() || is_of_other_namespace(uid);
    (!is_owned || object.is_writable).then(|| ForeignObject {
        path: object.path.display().to_string(),
        uid,
        is_writable: is_owned,
    })
}

/// Returns true if a user id stands for all users outside this user namespace. Nobody inside can act as they do.
pub(crate) fn is_of_other_namespace(uid: u32) -> bool {
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u32>().ok();
    if number("/proc/sys/kernel/overflowuid") != Some(uid) {
        return false;
    }
    let maps = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let is_in = |line: &str| {
        let mut numbers = line.split_whitespace().map(|word| word.parse::<u64>().ok());
        let (Some(Some(first)), _, Some(Some(count))) = (numbers.next(), numbers.next(), numbers.next())
        else {
            return true;
        };
        (first..first.saturating_add(count)).contains(&u64::from(uid))
    };
    !maps.is_empty() && !maps.lines().any(is_in)
}

fn objects_on_way(path: &Path) -> Result<(Vec<ObjectOnWay>, ObjectOnWay)> {
    let failed =
        |shown: &Path, errno| RootError::Call { action: "look at", path: shown.display().to_string(), errno };
    let absolute = std::path::absolute(path)
        .map_err(|error| failed(path, Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    let mut shown = PathBuf::from("/");
    let mut at = open(None, b"/").map_err(|errno| failed(&shown, errno))?;
    let object =
        |fd: &OwnedFd, shown: &Path| ObjectOnWay::of(fd, shown, &[0]).map_err(|errno| failed(shown, errno));
    let mut last = object(&at, &shown)?;
    let (mut found, mut rest, mut links) = (Vec::new(), parts(&absolute), 0);
    while let Some(part) = rest.pop_front() {
        found.push(last);
        if part == ".." {
            shown.pop();
        } else {
            shown.push(&part);
        }
        let next = open(Some(&at), part.as_bytes()).map_err(|errno| failed(&shown, errno))?;
        last = object(&next, &shown)?;
        if last.seen.file_type != FileType::Symlink {
            at = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(RootError::Loop(path.display().to_string()));
        }
        found.push(last);
        if is_of_proc(&next) {
            at = through(&at, part.as_bytes()).map_err(|errno| failed(&shown, errno))?;
        } else {
            let target = again(|| rustix::fs::readlinkat(&next, "", Vec::new()))
                .map_err(|errno| failed(&shown, errno))?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            shown.pop();
            if target.is_absolute() {
                shown = PathBuf::from("/");
                at = open(None, b"/").map_err(|errno| failed(&shown, errno))?;
            }
            for part in parts(&target).into_iter().rev() {
                rest.push_front(part);
            }
        }
        last = object(&at, &shown)?;
    }
    Ok((found, last))
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let named = |part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().filter_map(named).collect()
}

fn open(at: Option<&OwnedFd>, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    again(|| match at {
        Some(at) => rustix::fs::openat(at, name, flags, Mode::empty()),
        None => rustix::fs::open(name, flags, Mode::empty()),
    })
}

fn through(at: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    again(|| rustix::fs::openat(at, name, flags, Mode::empty()))
}

fn is_of_proc(link: &OwnedFd) -> bool {
    #[allow(clippy::cast_sign_loss)] // a bit pattern
    rustix::fs::fstatfs(link).is_ok_and(|stat| stat.f_type as u64 & 0xffff_ffff == PROC)
}

/// An object that a user other than the caller and the superuser may change or exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignObject {
    pub path: String,
    pub uid: u32,
    /// True if its owner is right but others may write to it.
    pub is_writable: bool,
}

impl std::fmt::Display for ForeignObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_writable {
            write!(f, "{} is writable by users other than its owner", self.path)
        } else {
            write!(f, "{} belongs to uid {}", self.path, self.uid)
        }
    }
}

impl Root {
    /// Returns the first object on the way from the root directory that is not under the sole control of the caller and
    /// the superuser, directories behind links included; `None` if nobody else can exchange the object. Missing objects
    /// have no owner.
    pub fn strange_on_the_way(&self, path: &ObjectPath) -> Result<Option<ForeignObject>> {
        self.on_the_way(path, &[0, rustix::process::geteuid().as_raw()])
    }

    /// Like [`strange_on_the_way`](Self::strange_on_the_way), with the root directory's owner in place of the caller.
    pub fn others_on_the_way(&self, path: &ObjectPath) -> Result<Option<ForeignObject>> {
        let owner = self.dir(&ObjectPath::root())?.itself()?.uid;
        self.on_the_way(path, &[0, owner])
    }

    /// Like [`strange_on_the_way`](Self::strange_on_the_way), but `owner` may also write there.
    pub fn strange_beside(&self, path: &ObjectPath, owner: u32) -> Result<Option<ForeignObject>> {
        self.on_the_way(path, &[0, rustix::process::geteuid().as_raw(), owner])
    }

    /// Returns the first object that others than these owners may change or exchange.
    fn on_the_way(&self, path: &ObjectPath, owners: &[u32]) -> Result<Option<ForeignObject>> {
        let resolver = self.resolver();
        let mut places = BTreeSet::new();
        for at in std::iter::once(path.clone()).chain(path.ancestors()) {
            for place in [resolver.locate(&at)?, resolver.locate_dir(&at)?] {
                places.extend(place.ancestors());
                places.insert(place);
            }
        }
        for place in places {
            let strange = match place.parent() {
                None => {
                    let top = self.dir(&place)?;
                    self.strange(&top, b"", &place, &top.itself()?, owners)
                }
                Some(parent) => match self.dir_if_there(&parent)? {
                    Some(dir) => {
                        let seen = dir.look(place.name())?;
                        seen.and_then(|seen| self.strange(&dir, place.name(), &place, &seen, owners))
                    }
                    None => None,
                },
            };
            if strange.is_some() {
                return Ok(strange);
            }
        }
        Ok(None)
    }

    pub(crate) fn strange(
        &self,
        dir: &Dir,
        name: &[u8],
        place: &ObjectPath,
        seen: &ObjectStatus,
        owners: &[u32],
    ) -> Option<ForeignObject> {
        let is_owned = owners.contains(&seen.uid);
        let is_writable = dir.may_others_write(name, seen, seen.gid == 0);
        let strange = || ForeignObject { path: self.show(place), uid: seen.uid, is_writable: is_owned };
        (!is_owned || is_writable).then(strange)
    }
}

const GROUP: u32 = 0o020;
const OTHERS: u32 = 0o002;

/// `XATTR_SIZE_MAX`.
const LONGEST_LIST: usize = 65_536;

const WRITE: u8 = 2;

/// Returns true if anybody but the owner and the superuser may write to an object. Permission bits do not say it all:
/// with an access list, the group's bits are its mask, and the list may name another user.
///
/// The group counts as others unless `is_own_group`. If the access list cannot be read, the group's bits decide.
pub fn may_others_write(object: impl AsFd, bits: u32, is_own_group: bool) -> bool {
    let object = object.as_fd();
    judge(bits, is_own_group, |name, value| {
        match again(|| rustix::fs::fgetxattr(object, name, &mut *value)) {
            // Opened with `O_PATH`: its path leads to the object itself.
            Err(Errno::BADF) => {
                let path = format!("/proc/self/fd/{}", object.as_raw_fd());
                again(|| rustix::fs::getxattr(path.as_str(), name, &mut *value))
            }
            answer => answer,
        }
    })
}

/// Follows links of the host.
pub fn may_others_write_at(path: &Path, bits: u32, is_own_group: bool) -> bool {
    judge(bits, is_own_group, |name, value| again(|| rustix::fs::getxattr(path, name, &mut *value)))
}

impl Dir {
    /// For the object with this status at `name`, or this directory if the name is empty. A symbolic link has no mode.
    pub fn may_others_write(&self, name: &[u8], seen: &ObjectStatus, is_own_group: bool) -> bool {
        if seen.file_type == FileType::Symlink {
            return false;
        }
        judge(seen.mode.bits(), is_own_group, |key, value| {
            let path = self.magic_path(name);
            again(|| rustix::fs::lgetxattr(path.as_slice(), key, &mut *value))
        })
    }
}

/// Judges by permission bits, and where they do not tell, by the access lists that `ask` reads.
fn judge(bits: u32, is_own_group: bool, ask: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>) -> bool {
    if bits & OTHERS != 0 {
        return true;
    }
    if bits & GROUP == 0 {
        return false;
    }
    if !is_own_group || LISTS.iter().any(|&name| ask(name, &mut []).is_ok()) {
        return true;
    }
    let mut list = vec![0_u8; LONGEST_LIST];
    match ask(ACCESS_LIST, &mut list) {
        Ok(length) => list.get(..length).is_none_or(names_a_writer),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => false,
        Err(_) => true,
    }
}

/// Returns true if a POSIX access list gives its right to write to a user or group that is not the superuser's, or is
/// malformed.
fn names_a_writer(list: &[u8]) -> bool {
    let Some(([2, 0, 0, 0], entries)) = list.split_at_checked(4) else { return true };
    let mut entries = entries.chunks_exact(8);
    let is_whole = entries.remainder().is_empty();
    !is_whole
        || entries.any(|entry| match *entry {
            // The owner, the group, the mask and everybody: the permission bits show them.
            [0x01 | 0x04 | 0x10 | 0x20, 0, ..] => false,
            [0x02 | 0x08, 0, rights, _, a, b, c, d] => rights & WRITE != 0 && [a, b, c, d] != [0; 4],
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustix::fs::XattrFlags;

    use super::*;

    /// Gives user 1234 all rights.
    const LIST: [u8; 44] = [
        2, 0, 0, 0, //
        0x01, 0, 7, 0, 255, 255, 255, 255, //
        0x02, 0, 7, 0, 0xd2, 0x04, 0, 0, //
        0x04, 0, 5, 0, 255, 255, 255, 255, //
        0x10, 0, 7, 0, 255, 255, 255, 255, //
        0x20, 0, 5, 0, 255, 255, 255, 255,
    ];

    #[test]
    fn who_can_exchange_a_directory_or_link_above_a_file_is_named_and_the_file_is_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir_all(top.join("c")).unwrap();
        fs::write(top.join("a/b/f"), "").unwrap();
        symlink("../a/b", top.join("c/link")).unwrap();
        let mode =
            |name: &str, mode| fs::set_permissions(top.join(name), Permissions::from_mode(mode)).unwrap();
        for name in ["", "a", "a/b", "c"] {
            mode(name, 0o755);
        }
        mode("a/b/f", 0o666);
        let strange = |path: &str| {
            strange_above(&top.join(path))
                .unwrap()
                .map(|strange| strange.path.replace(&*top.to_string_lossy(), ""))
        };
        assert_eq!((strange("a/b/f"), strange("c/link/f"), strange("c/../a/b/f")), (None, None, None));
        for name in ["a", "a/b", "c"] {
            mode(name, 0o757);
            assert_eq!(strange("c/link/f"), Some(format!("/{name}")), "{name}");
            mode(name, 0o1757);
            assert_eq!(strange("c/link/f"), None, "a sticky one");
            mode(name, 0o755);
        }
        assert!(strange_above(&top.join("a/none/f")).unwrap_err().is_not_found());
    }

    #[test]
    fn a_tree_is_the_callers_as_long_as_nobody_else_may_write_to_or_exchange_anything_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::write(top.join("a/b/f"), "").unwrap();
        let mode =
            |name: &str, mode| fs::set_permissions(top.join(name), Permissions::from_mode(mode)).unwrap();
        for (name, bits) in [("", 0o755), ("a", 0o755), ("a/b", 0o755), ("a/b/f", 0o644)] {
            mode(name, bits);
        }
        let is_own = || is_own_tree(&top.join("a")).unwrap();
        assert!(is_own());
        for (name, bits, usual) in
            [("", 0o757, 0o755), ("a", 0o757, 0o755), ("a/b", 0o757, 0o755), ("a/b/f", 0o1646, 0o644)]
        {
            mode(name, bits);
            assert!(!is_own(), "{name}");
            mode(name, usual);
        }
        symlink("f", top.join("a/b/link")).unwrap();
        assert!(!is_own(), "a link");
        fs::remove_file(top.join("a/b/link")).unwrap();
        assert!(is_own());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(top.join("a/b/f"), Some(1234), None).unwrap();
            assert!(!is_own(), "a file of another user");
        }
        assert!(is_own_tree(&top.join("none")).is_err());
    }

    #[test]
    fn a_directory_that_an_access_list_opens_to_another_user_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let path = top.join("a");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("f"), "").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o775)).unwrap();
        assert_eq!(strange_above(&path.join("f")).unwrap(), None);
        if rustix::fs::setxattr(&path, ACCESS_LIST, &LIST, XattrFlags::empty()).is_err() {
            println!("skipped: access lists cannot be set here");
            return;
        }
        let strange = strange_above(&path.join("f")).unwrap().unwrap();
        assert_eq!(strange.path, path.display().to_string());
        assert!(strange.is_writable);
        if rustix::process::geteuid().is_root() {
            let root = Root::open(&top).unwrap();
            let strange = root.strange_on_the_way(&ObjectPath::new(b"/a/f").unwrap()).unwrap().unwrap();
            assert!(strange.is_writable && strange.path.ends_with("/a"), "{strange}");
        }
    }

    #[test]
    fn a_link_of_another_user_above_a_file_is_named_in_a_sticky_directory_as_well() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir(top.join("real")).unwrap();
        symlink("real", top.join("link")).unwrap();
        fs::write(top.join("real/f"), "").unwrap();
        fs::set_permissions(&top, Permissions::from_mode(0o1777)).unwrap();
        let link = top.join("link/f");
        assert_eq!(strange_above(&link).unwrap(), None);
        std::os::unix::fs::lchown(top.join("link"), Some(1234), None).unwrap();
        let strange = strange_above(&link).unwrap().map(|strange| strange.to_string()).unwrap_or_default();
        assert!(strange.ends_with("/link belongs to uid 1234"), "{strange}");
    }
}

#[cfg(test)]
mod owner_tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn whoever_may_write_on_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("a/b")).unwrap();
        fs::create_dir_all(top.join("c")).unwrap();
        fs::write(top.join("a/b/f"), "").unwrap();
        symlink("../a/b", top.join("c/link")).unwrap();
        let mode =
            |name: &str, mode| fs::set_permissions(top.join(name), Permissions::from_mode(mode)).unwrap();
        for (name, bits) in [("a", 0o755), ("a/b", 0o755), ("a/b/f", 0o644), ("c", 0o755), ("", 0o755)] {
            mode(name, bits);
        }
        let root = Root::open(&top).unwrap();
        let strange = |path: &str| {
            let strange = root.strange_on_the_way(&ObjectPath::new(path.as_bytes()).unwrap()).unwrap();
            strange.map(|strange| strange.path.replace(&*top.to_string_lossy(), ""))
        };
        assert_eq!((strange("/a/b/f"), strange("/c/link/f"), strange("/nothing/at/all")), (None, None, None));
        for (name, bits, usual) in [("a", 0o757, 0o755), ("a/b/f", 0o646, 0o644), ("c", 0o777, 0o755)] {
            mode(name, bits);
            assert_eq!(strange("/c/link/f"), Some(format!("/{name}")), "{name}");
            mode(name, usual);
        }
        assert_eq!(strange("/c/link/f"), None);
    }
}

#[cfg(test)]
mod writer_tests {
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustix::fs::XattrFlags;

    use super::*;

    const USER: u8 = 0x02;
    const NAMED_GROUP: u8 = 0x08;

    fn list(tag: u8, id: u32, rights: u8, mask: u8) -> Vec<u8> {
        let nobody = u32::MAX;
        let mut entries = vec![(0x01, 6, nobody), (0x04, 4, nobody), (tag, rights, id)];
        entries.extend([(0x10, mask, nobody), (0x20, 4, nobody)]);
        entries.sort_by_key(|(tag, _, _)| *tag);
        let mut list = vec![2, 0, 0, 0];
        for (tag, rights, id) in entries {
            list.extend([tag, 0, rights, 0]);
            list.extend(id.to_le_bytes());
        }
        list
    }

    #[test]
    fn an_access_list_shows_another_writer_behind_the_bits_of_the_group() {
        let dir = tempfile::tempdir().unwrap();
        let top = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        let path = dir.path().join("file");
        for (list, expected) in [
            (list(USER, 1234, 6, 6), true),
            (list(NAMED_GROUP, 1234, 6, 6), true),
            (list(USER, 1234, 4, 6), false),
            (list(USER, 1234, 6, 4), false),
            (list(USER, 0, 6, 6), false),
        ] {
            fs::write(&path, "").unwrap();
            assert!(!may_others_write_at(&path, 0o664, true), "without a list");
            if rustix::fs::setxattr(&path, ACCESS_LIST, &list, XattrFlags::empty()).is_err() {
                println!("skipped: access lists cannot be set here");
                return;
            }
            let seen = top.look(b"file").unwrap().unwrap();
            let bits = seen.mode.bits();
            let place = rustix::fs::open(&path, OFlags::PATH, Mode::empty()).unwrap();
            let told = [
                may_others_write(File::open(&path).unwrap(), bits, true),
                may_others_write(place, bits, true),
                may_others_write_at(&path, bits, true),
                top.may_others_write(b"file", &seen, true),
            ];
            assert_eq!(told, [expected; 4], "{list:?} {bits:o}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn without_a_list_the_bits_tell() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        for (bits, is_own_group, expected) in [
            (0o644, false, false),
            (0o664, true, false),
            (0o664, false, true),
            (0o646, true, true),
            (0o602, false, true),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
            assert_eq!(may_others_write_at(&path, bits, is_own_group), expected, "{bits:o} {is_own_group}");
        }
        symlink("file", dir.path().join("link")).unwrap();
        let top = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        let link = top.look(b"link").unwrap().unwrap();
        assert!(!top.may_others_write(b"link", &link, false), "{link:?}");
    }

    fn answer(errno: Errno) -> impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize> {
        move |name, _| Err(if name == ACCESS_LIST { errno } else { Errno::OPNOTSUPP })
    }

    #[test]
    fn a_list_that_cannot_be_read_or_understood_lets_others_write() {
        assert!(judge(0o664, true, answer(Errno::ACCESS)) && !judge(0o644, true, answer(Errno::ACCESS)));
        assert!(!judge(0o664, true, answer(Errno::NODATA)) && !judge(0o664, true, answer(Errno::OPNOTSUPP)));
        assert!(judge(0o664, true, |_: &[u8], _: &mut [u8]| Ok(0)), "a list of another kind");
        let good = list(USER, 1234, 4, 6);
        assert!(!names_a_writer(&good));
        let mut of_version_1 = good.clone();
        of_version_1[0] = 1;
        let mut with_unknown_entry = good.clone();
        with_unknown_entry.extend([0x40, 0, 0, 0, 0, 0, 0, 0]);
        let cut = good[..good.len() - 1].to_vec();
        for list in [Vec::new(), vec![2, 0], cut, of_version_1, with_unknown_entry] {
            assert!(names_a_writer(&list), "{list:?}");
        }
    }
}
