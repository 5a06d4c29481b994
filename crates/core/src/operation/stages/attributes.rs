//! The attributes of an object set on its copy: owner, mode, extended attributes, modification time, in an order in which
//! none clears another one.

use rustix::io::Errno;

use patchadm_rootfs::{Dir, ObjectStatus, Result, Root, RootError, Timestamp, WritableFile, Xattrs};
use patchadm_svr4::package::Mode;

/// The bits that make a program run as its owner or group.
const SET_ID: u32 = 0o6000;

/// A copy whose attributes are set.
pub(super) enum CopiedObject<'a> {
    /// A file that is being written.
    File(&'a WritableFile),
    /// An open directory.
    Directory(&'a Dir),
    /// Anything else, by its name.
    Name(&'a Dir, &'a [u8]),
}

/// The attributes of an object.
pub(super) struct Attributes<'a> {
    pub(super) status: &'a ObjectStatus,
    pub(super) xattrs: &'a Xattrs,
    /// Whether it has permission bits, which a symbolic link does not.
    pub(super) has_mode: bool,
    /// Whether owner, set-id bits and the attributes of the system come along.
    pub(super) owners: bool,
}

impl CopiedObject<'_> {
    /// Sets all attributes of the object on the copy. Returns whether it has all of them: without privileges it may have
    /// another owner, and then no set-id bits.
    pub(super) fn give(&self, attributes: &Attributes<'_>, made: &ObjectStatus) -> Result<bool> {
        let Attributes { status, xattrs, has_mode, owners } = attributes;
        let is_owned = *owners && self.give_owner(status, made)?;
        let bits = status.mode.bits();
        let kept = if is_owned { bits } else { bits & !SET_ID };
        if *has_mode {
            self.set_mode(Mode::of(kept))?;
        }
        let mut is_whole = is_owned;
        for (key, value) in xattrs.iter().filter(|(key, _)| *owners || !is_of_system(key)) {
            is_whole &= self.give_xattr(key, value)?;
        }
        self.set_mtime(status.mtime)?;
        Ok(is_whole)
    }

    fn give_owner(&self, wanted: &ObjectStatus, made: &ObjectStatus) -> Result<bool> {
        if (wanted.uid, wanted.gid) == (made.uid, made.gid) {
            return Ok(true);
        }
        match self.set_owner(wanted.uid, wanted.gid) {
            Ok(()) => Ok(true),
            Err(error) if !self.root().is_privileged() && is_forbidden(&error) => Ok(false),
            // The user namespace of the caller does not have this id.
            Err(error) if error.errno() == Some(Errno::INVAL) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets an extended attribute. Returns false for one that this caller or file system cannot set and that therefore does
    /// not count.
    fn give_xattr(&self, key: &[u8], value: &[u8]) -> Result<bool> {
        let is_label = |label: &&str| key.starts_with(label.as_bytes());
        if OF_FILE_SYSTEM.iter().any(|start| key.starts_with(start.as_bytes())) {
            return Ok(true);
        }
        match self.set_xattr(key, value) {
            Ok(()) => Ok(true),
            Err(error) if is_of_system(key) && is_forbidden(&error) => Ok(LABELS.iter().any(is_label)),
            Err(error) => Err(error),
        }
    }

    fn root(&self) -> &Root {
        match self {
            Self::File(file) => file.root(),
            Self::Directory(dir) | Self::Name(dir, _) => dir.root(),
        }
    }

    fn set_owner(&self, uid: u32, gid: u32) -> Result<()> {
        match self {
            Self::File(file) => file.set_owner(uid, gid),
            Self::Directory(dir) => dir.set_own_owner(Some(uid), Some(gid)),
            Self::Name(dir, name) => dir.set_owner(name, Some(uid), Some(gid)),
        }
    }

    fn set_mode(&self, mode: Mode) -> Result<()> {
        match self {
            Self::File(file) => file.set_mode(mode),
            Self::Directory(dir) => dir.set_own_mode(mode),
            Self::Name(dir, name) => dir.set_mode(name, mode),
        }
    }

    fn set_xattr(&self, key: &[u8], value: &[u8]) -> Result<()> {
        match self {
            Self::File(file) => file.set_xattr(key, value),
            Self::Directory(dir) => dir.set_xattr(b"", key, value),
            Self::Name(dir, name) => dir.set_xattr(name, key, value),
        }
    }

    fn set_mtime(&self, mtime: Timestamp) -> Result<()> {
        match self {
            Self::File(file) => file.set_mtime(mtime),
            Self::Directory(dir) => dir.set_own_mtime(mtime),
            Self::Name(dir, name) => dir.set_mtime(name, mtime),
        }
    }
}

/// Labels, which a promotion does not compare: a copy without them is complete.
const LABELS: [&str; 4] = ["security.selinux", "security.SMACK64", "security.ima", "security.evm"];

/// Attributes that belong to an inode and not to its contents.
const OF_FILE_SYSTEM: [&str; 3] = ["trusted.overlay.", "security.evm", "security.ima"];

fn is_of_system(key: &[u8]) -> bool {
    ["security.", "trusted."].iter().any(|start| key.starts_with(start.as_bytes()))
}

fn is_forbidden(error: &RootError) -> bool {
    matches!(error.errno(), Some(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP))
}
