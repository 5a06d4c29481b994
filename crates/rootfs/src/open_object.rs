//! Objects of the root held by a descriptor that opens nothing (`O_PATH`). chown(2) clears set-id bits and file
//! capabilities, even if the superuser keeps the owner. Therefore every change of a live object's owner goes through
//! [`OpenObject::set_rights`], which restores both.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};

use patchadm_svr4::package::{Mode, ObjectPath};
use rustix::fs::{AtFlags, Mode as Bits, OFlags, XattrFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::{
    CAPABILITY, ChangeCall, Dir, FileType, Interrupt, InterruptibleRead, ObjectStatus, Result, Root,
    RootChange, RootError, Sums, again, never, optional,
};

/// One object, independent of its name: the object checked is the one changed. Of a symbolic link, the link itself.
#[derive(Debug)]
pub struct OpenObject {
    fd: OwnedFd,
    path: ObjectPath,
    root: Root,
}

impl Dir {
    /// Returns `None` if the name is missing.
    pub fn hold(&self, name: &[u8]) -> Result<Option<OpenObject>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = self.place(name).and_then(|(directory, there)| {
            again(|| rustix::fs::openat(directory, there, flags, Bits::empty()))
        });
        let held = optional(held.map_err(|errno| self.error("open", name, errno)))?;
        Ok(held.map(|fd| OpenObject { fd, path: self.at(name), root: self.root().clone() }))
    }
}

impl OpenObject {
    pub fn look(&self) -> Result<ObjectStatus> {
        ObjectStatus::of_file(&self.fd).map_err(|errno| self.error("look at", errno))
    }

    /// Returns `None` for anything but a regular file, which is not opened. Reads at most the initial number of bytes.
    pub fn sums(&self) -> Result<Option<Sums>> {
        self.sums_until(&never)
    }

    /// Fails once a signal came.
    pub fn sums_until(&self, interrupt: Interrupt<'_>) -> Result<Option<Sums>> {
        let seen = self.look()?;
        if seen.file_type != FileType::Regular {
            return Ok(None);
        }
        let path = self.magic_path();
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = again(|| rustix::fs::open(path.as_str(), flags, Bits::empty()))
            .map_err(|errno| self.error("open", errno).through_proc())?;
        let bytes = std::io::Read::take(File::from(file), seen.size.saturating_add(1));
        let sums = Sums::of(&mut InterruptibleRead::new(bytes, interrupt));
        sums.map(Some).map_err(|error| self.error("read", Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    }

    pub fn xattr(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let (path, mut value) = (self.magic_path(), vec![0; 1 << 16]);
        match again(|| rustix::fs::getxattr(path.as_str(), key, value.as_mut_slice())) {
            Ok(length) => {
                value.truncate(length);
                Ok(Some(value))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::LOOP) => Ok(None),
            Err(errno) => Err(self.error("read an extended attribute of", errno).through_proc()),
        }
    }

    /// For a new object; `None` keeps the current id. An object whose bytes stay needs [`OpenObject::set_rights`].
    pub fn set_owner(&self, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        self.change(ChangeCall::SetOwner, "set the owner of", || {
            rustix::fs::chownat(&self.fd, "", uid, gid, AtFlags::EMPTY_PATH)
        })
    }

    /// Fails with ELOOP for a symbolic link, which has no mode.
    pub fn set_mode(&self, mode: Mode) -> Result<()> {
        if self.look()?.file_type == FileType::Symlink {
            return Err(self.error("set the mode of", Errno::LOOP));
        }
        // fchmod(2) takes no such descriptor, but its path leads to the object itself.
        let path = self.magic_path();
        self.change(ChangeCall::SetMode, "set the mode of", || {
            rustix::fs::chmod(path.as_str(), Bits::from_raw_mode(mode.bits()))
        })
    }

    pub fn set_xattr(&self, key: &[u8], value: &[u8]) -> Result<()> {
        let path = self.magic_path();
        self.change(ChangeCall::SetXattr, "set an extended attribute of", || {
            rustix::fs::setxattr(path.as_str(), key, value, XattrFlags::empty())
        })
    }

    pub fn remove_xattr(&self, key: &[u8]) -> Result<()> {
        let path = self.magic_path();
        self.change(ChangeCall::SetXattr, "remove an extended attribute of", || {
            rustix::fs::removexattr(path.as_str(), key)
        })
    }

    fn magic_path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    fn change<T>(
        &self,
        call: ChangeCall,
        action: &'static str,
        mut work: impl FnMut() -> rustix::io::Result<T>,
    ) -> Result<T> {
        let step = RootChange { call, root: self.root.prefix(), path: &self.path, other: None };
        again(|| self.root.door().make(step, &mut work))
            .map_err(|errno| self.error(action, errno).through_proc())
    }

    pub(crate) fn error(&self, action: &'static str, errno: Errno) -> RootError {
        RootError::Call { action, path: self.root.show(&self.path), errno }
    }
}

/// The rights that an object gets; `None` keeps the current value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectRights {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    /// A symbolic link keeps the bits that it shows.
    pub mode: Option<Mode>,
}

impl OpenObject {
    /// Keeps the file capabilities.
    ///
    /// If the caller may not set them, fails before it changes anything. A file that somebody besides the superuser
    /// could write to, and did meanwhile, keeps its owner and gets no rights back: EAGAIN.
    pub fn set_rights(&self, rights: ObjectRights) -> Result<()> {
        self.set_rights_until(rights, &never)
    }

    /// Fails once a signal came.
    pub fn set_rights_until(&self, rights: ObjectRights, interrupt: Interrupt<'_>) -> Result<()> {
        let seen = self.look()?;
        let digest = || self.sums_until(interrupt).map(|sums| sums.map(|sums| sums.b3));
        let before = if self.could_be_forged(&seen, rights)? { digest()? } else { None };
        let is_same = || Ok(before.is_none() || digest()? == before);
        if self.set_rights_if(rights, is_same)? {
            return Ok(());
        }
        Err(self.error("change the owner of", Errno::AGAIN))
    }

    /// Asks `may_have` once the previous owner can no longer open the object, before it gets set-id bits or
    /// capabilities. If the answer is false or an error, the previous owner is set again, and that is the result.
    pub fn set_rights_if(
        &self,
        rights: ObjectRights,
        may_have: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        let seen = self.look()?;
        if let Some((uid, gid)) = rights.other_owner(&seen) {
            let capability = self.capability(&seen)?;
            if let Some(value) = capability.as_ref().filter(|_| !is_written_by_others(&seen)) {
                // Sets the current value again. If the call is not permitted, nothing has been changed yet.
                self.set_xattr(CAPABILITY, value)?;
            }
            self.set_owner(uid, gid)?;
            let may_have = may_have();
            if !matches!(may_have, Ok(true)) {
                self.set_owner(Some(seen.uid), Some(seen.gid))?;
                return may_have;
            }
            if let Some(value) = &capability {
                self.set_xattr(CAPABILITY, value)?;
            }
        }
        let mode = rights.mode.unwrap_or(seen.mode);
        if seen.file_type != FileType::Symlink && self.look()?.mode != mode {
            self.set_mode(mode)?;
        }
        Ok(true)
    }

    /// Returns true if a file gets another owner and set-id bits or file capabilities, while others could write to it.
    fn could_be_forged(&self, seen: &ObjectStatus, rights: ObjectRights) -> Result<bool> {
        if seen.file_type != FileType::Regular
            || rights.other_owner(seen).is_none()
            || !is_written_by_others(seen)
        {
            return Ok(false);
        }
        Ok(rights.mode.unwrap_or(seen.mode).is_set_id() || self.capability(seen)?.is_some())
    }

    fn capability(&self, seen: &ObjectStatus) -> Result<Option<Vec<u8>>> {
        if seen.file_type == FileType::Regular { self.xattr(CAPABILITY) } else { Ok(None) }
    }
}

impl Dir {
    /// Refuses to give an object of this directory to others, or to open it to them, if anybody but its owner and the
    /// superuser may write here, and so could have put any object under the name. `is_known` says that the object is
    /// new or its bytes are public; an object with other names is never known.
    pub fn must_be_own(
        &self,
        object: &OpenObject,
        rights: ObjectRights,
        is_known: impl FnOnce(&ObjectStatus) -> Result<bool>,
    ) -> Result<()> {
        let (root, seen) = (self.root(), object.look()?);
        if !root.is_privileged() || root.is_trusted() || !rights.are_wider(&seen) {
            return Ok(());
        }
        let by = root.strange(self, b"", self.path(), &self.itself()?, &[0, seen.uid]);
        let Some(by) = by.map(|by| by.to_string()) else { return Ok(()) };
        let has_other_names = seen.file_type != FileType::Directory && seen.links > 1;
        if !has_other_names && is_known(&seen)? {
            return Ok(());
        }
        let (uid, gid) = (rights.uid.unwrap_or(seen.uid), rights.gid.unwrap_or(seen.gid));
        let mode = rights.mode.unwrap_or(seen.mode).bits();
        Err(RootError::Exchangeable { path: root.show(&object.path), by, uid, gid, mode })
    }
}

impl ObjectRights {
    /// Returns true if they allow anybody but the superuser more than the object allows now.
    fn are_wider(self, seen: &ObjectStatus) -> bool {
        let mode = self.mode.unwrap_or(seen.mode).bits();
        let is_given = self.uid.is_some_and(|uid| uid != 0 && uid != seen.uid);
        let is_shared = self.gid.is_some_and(|gid| gid != 0 && gid != seen.gid) && mode & 0o070 != 0;
        is_given || is_shared || mode & !seen.mode.bits() & 0o6077 != 0
    }

    fn other_owner(self, seen: &ObjectStatus) -> Option<(Option<u32>, Option<u32>)> {
        let (uid, gid) = (self.uid.filter(|uid| *uid != seen.uid), self.gid.filter(|gid| *gid != seen.gid));
        (uid.is_some() || gid.is_some()).then_some((uid, gid))
    }
}

fn is_written_by_others(seen: &ObjectStatus) -> bool {
    seen.uid != 0 || seen.mode.bits() & 0o022 != 0
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn what_is_held_is_changed_and_never_what_took_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
        fs::write(at("file"), "bytes\n").unwrap();
        fs::write(at("theirs"), "theirs\n").unwrap();
        fs::set_permissions(at("theirs"), fs::Permissions::from_mode(0o600)).unwrap();
        let top = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        let held = top.hold(b"file").unwrap().unwrap();
        fs::rename(at("file"), at("moved")).unwrap();
        symlink("theirs", at("file")).unwrap();
        held.set_mode(Mode::of(0o4711)).unwrap();
        assert_eq!((mode("moved"), mode("theirs")), (0o4711, 0o600));
        assert_eq!(held.sums().unwrap().unwrap().size, 6);
        let link = top.hold(b"file").unwrap().unwrap();
        assert_eq!(link.set_mode(Mode::of(0o644)).unwrap_err().errno(), Some(Errno::LOOP));
        assert_eq!((link.sums().unwrap(), mode("theirs")), (None, 0o600));
        assert!(top.hold(b"nothing").unwrap().is_none());
    }

    #[test]
    fn a_signal_ends_the_sums_of_a_file_that_would_take_hours() {
        let dir = tempfile::tempdir().unwrap();
        File::create(dir.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
        let top = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        let held = top.hold(b"sparse").unwrap().unwrap();
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 100).then_some(15);
        assert!(held.sums_until(&interrupt).is_err());
    }
}

#[cfg(test)]
mod object_rights_tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
    use std::path::Path;

    use super::*;
    use crate::{Dir, Root};
    use patchadm_svr4::package::ObjectPath;

    /// `cap_net_raw=ep`, as the kernel stores it.
    const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    /// A directory with a file that has a capability; `None` if this caller or file system cannot set one.
    fn capable() -> Option<(tempfile::TempDir, Dir)> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "bytes\n").unwrap();
        let top = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        let is_set = top.set_xattr(b"file", CAPABILITY, &NET_RAW).is_ok();
        if !is_set || !rustix::process::geteuid().is_root() {
            println!("skipped: file capabilities cannot be set here");
            return None;
        }
        Some((dir, top))
    }

    fn seen(dir: &Path) -> (u32, u32, u32) {
        let seen = fs::metadata(dir.join("file")).unwrap();
        (seen.uid(), seen.gid(), seen.permissions().mode() & 0o7777)
    }

    #[test]
    fn another_owner_leaves_file_capabilities_and_set_id_bits() {
        let Some((dir, top)) = capable() else { return };
        let file = top.hold(b"file").unwrap().unwrap();
        file.set_mode(Mode::of(0o4755)).unwrap();
        file.set_rights(ObjectRights { gid: Some(4), ..ObjectRights::default() }).unwrap();
        assert_eq!(seen(dir.path()), (0, 4, 0o4755));
        assert_eq!(file.xattr(CAPABILITY).unwrap().as_deref(), Some(&NET_RAW[..]));
        let rights = ObjectRights { uid: Some(7), mode: Some(Mode::of(0o711)), ..ObjectRights::default() };
        file.set_rights(rights).unwrap();
        assert_eq!(seen(dir.path()), (7, 4, 0o711));
        // The file is another user's now; its bytes stay nevertheless.
        file.set_rights(ObjectRights { uid: Some(0), ..ObjectRights::default() }).unwrap();
        assert_eq!(file.xattr(CAPABILITY).unwrap().as_deref(), Some(&NET_RAW[..]));
    }

    #[test]
    fn bytes_that_changed_meanwhile_get_no_rights() {
        let Some((dir, top)) = capable() else { return };
        chown(dir.path().join("file"), Some(7), None).unwrap();
        let file = top.hold(b"file").unwrap().unwrap();
        file.set_xattr(CAPABILITY, &NET_RAW).unwrap();
        let rights = ObjectRights { uid: Some(0), mode: Some(Mode::of(0o4755)), ..ObjectRights::default() };
        assert!(!file.set_rights_if(rights, || Ok(false)).unwrap());
        assert_eq!(seen(dir.path()), (7, 0, 0o644));
        assert_eq!(file.xattr(CAPABILITY).unwrap(), None);
    }

    #[test]
    fn what_another_user_could_have_put_there_is_neither_given_away_nor_opened() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        if !root.is_privileged() {
            println!("skipped: owners cannot be set here");
            return;
        }
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("theirs")).unwrap();
        fs::write(at("theirs/file"), "secret\n").unwrap();
        fs::set_permissions(at("theirs/file"), fs::Permissions::from_mode(0o600)).unwrap();
        let theirs = || root.dir(&ObjectPath::new(b"/theirs").unwrap()).unwrap();
        let given = ObjectRights { uid: Some(7), ..ObjectRights::default() };
        let opened = ObjectRights { mode: Some(Mode::of(0o644)), ..ObjectRights::default() };
        let shared = ObjectRights { gid: Some(7), mode: Some(Mode::of(0o640)), uid: None };
        let closed = ObjectRights { uid: Some(0), gid: Some(7), mode: Some(Mode::of(0o400)) };
        let may_have = |rights, is_known| {
            let object = theirs().hold(b"file").unwrap().unwrap();
            theirs().must_be_own(&object, rights, |_| Ok(is_known)).is_ok()
        };
        assert!(
            [given, opened, shared].into_iter().all(|rights| may_have(rights, false)),
            "only root writes"
        );
        let is_theirs: [&dyn Fn(); 3] = [
            &|| chown(at("theirs"), Some(7), None).unwrap(),
            &|| {
                chown(at("theirs"), Some(0), Some(7)).unwrap();
                fs::set_permissions(at("theirs"), fs::Permissions::from_mode(0o775)).unwrap();
            },
            &|| fs::set_permissions(at("theirs"), fs::Permissions::from_mode(0o1777)).unwrap(),
        ];
        for make in is_theirs {
            make();
            for rights in [given, opened, shared] {
                assert!(!may_have(rights, false) && may_have(rights, true), "{rights:?}");
            }
            assert!(may_have(closed, false), "nobody gets more");
        }
        let object = theirs().hold(b"file").unwrap().unwrap();
        let refused = theirs().must_be_own(&object, given, |_| Ok(false)).unwrap_err().to_string();
        assert!(refused.ends_with("if it is the right one, use `chown 7:0` and `chmod 0600`"), "{refused}");
        fs::hard_link(at("theirs/file"), at("other")).unwrap();
        assert!(!may_have(given, true), "a file with other names is never known");
        fs::remove_file(at("other")).unwrap();

        chown(at("theirs"), Some(7), Some(0)).unwrap();
        fs::set_permissions(at("theirs"), fs::Permissions::from_mode(0o755)).unwrap();
        chown(at("theirs/file"), Some(7), None).unwrap();
        assert!(may_have(opened, false), "it belongs to the only user who writes there");
    }

    #[test]
    fn a_symbolic_link_gets_an_owner_and_no_bits() {
        let dir = tempfile::tempdir().unwrap();
        symlink("elsewhere", dir.path().join("file")).unwrap();
        let top = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        let link = top.hold(b"file").unwrap().unwrap();
        let own = link.look().unwrap().uid;
        link.set_rights(ObjectRights { uid: Some(own), gid: None, mode: Some(Mode::of(0o700)) }).unwrap();
        assert_eq!(fs::read_link(dir.path().join("file")).unwrap(), Path::new("elsewhere"));
    }
}
