//! Owner, group and permission bits of an object whose bytes stay.
//!
//! chown(2) clears set-id bits and file capabilities, even if the superuser calls it and the owner stays the same. Every
//! change of the owner of a live object therefore goes through [`OpenObject::set_rights`], which sets both again.

use rustix::io::Errno;

use super::{CAPABILITY, FileType, ObjectStatus, OpenObject, Result};
use patchadm_svr4::package::Mode;

/// Owner, group and permission bits that an object gets; `None` keeps the current value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectRights {
    /// The numeric owner.
    pub uid: Option<u32>,
    /// The numeric group.
    pub gid: Option<u32>,
    /// The permission bits; a symbolic link has none, and keeps those that it shows.
    pub mode: Option<Mode>,
}

impl OpenObject {
    /// Sets owner, group and permission bits, and keeps the file capabilities.
    ///
    /// If the caller may not set file capabilities, the call fails before it changes anything. A file that somebody
    /// besides the superuser could write to, and did meanwhile, keeps its owner and gets no rights back: EAGAIN.
    pub fn set_rights(&self, rights: ObjectRights) -> Result<()> {
        let seen = self.look()?;
        let before =
            if self.could_be_forged(&seen, rights)? { self.sums()?.map(|sums| sums.b3) } else { None };
        let is_same = || Ok(before.is_none() || self.sums()?.map(|sums| sums.b3) == before);
        if self.set_rights_if(rights, is_same)? {
            return Ok(());
        }
        Err(self.error("change the owner of", Errno::AGAIN))
    }

    /// Does the same if `may_have` holds once the previous owner can no longer open the object, and before it gets
    /// set-id bits or file capabilities. Otherwise the previous owner is set again, and the call returns false.
    pub fn set_rights_if(
        &self,
        rights: ObjectRights,
        may_have: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        let seen = self.look()?;
        if let Some((uid, gid)) = rights.other_owner(&seen) {
            let capability = self.capability(&seen)?;
            if let Some(value) = capability.as_ref().filter(|_| !is_written_by_others(&seen)) {
                // It has this value already. Where the call is not permitted, nothing has been changed yet.
                self.set_xattr(CAPABILITY, value)?;
            }
            self.set_owner(uid, gid)?;
            if !may_have()? {
                self.set_owner(Some(seen.uid), Some(seen.gid))?;
                return Ok(false);
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

    /// Tells whether a file gets another owner and set-id bits or file capabilities, and somebody besides the superuser
    /// could write to it meanwhile.
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

impl ObjectRights {
    /// Returns the owner and group to set, if an object has others.
    fn other_owner(self, seen: &ObjectStatus) -> Option<(Option<u32>, Option<u32>)> {
        let (uid, gid) = (self.uid.filter(|uid| *uid != seen.uid), self.gid.filter(|gid| *gid != seen.gid));
        (uid.is_some() || gid.is_some()).then_some((uid, gid))
    }
}

/// Tells whether somebody besides the superuser may write to an object.
fn is_written_by_others(seen: &ObjectStatus) -> bool {
    seen.uid != 0 || seen.mode.bits() & 0o022 != 0
}

#[cfg(test)]
mod tests {
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
