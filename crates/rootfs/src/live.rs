//! Objects of a root as seen by one statx(2) ([`ObjectStatus`]), or down to the last attribute ([`Live`]).

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use patchadm_svr4::package::{ContentInfo, Ftype, Mode};
use rustix::fs::{AtFlags, FileType as Listed, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::{Digest, Result, RootError, Sums, again};

/// From name (`user.x`, `security.capability`, …) to value. On Linux, ACLs are among them.
pub type Xattrs = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct Timestamp {
    /// Since 1970, negative before.
    pub seconds: i64,
    /// Below 1,000,000,000.
    pub nanoseconds: u32,
}

impl Timestamp {
    /// Makes the time of a whole second, as in a pkgmap.
    pub fn whole(seconds: i64) -> Self {
        Self { seconds, nanoseconds: 0 }
    }

    /// Parses `seconds.nanoseconds`.
    pub fn parse(text: &str) -> Option<Self> {
        let (seconds, nanoseconds) = text.split_once('.')?;
        Some(Self { seconds: seconds.parse().ok()?, nanoseconds: nanoseconds.parse().ok()? })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.seconds, self.nanoseconds)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LiveKind {
    Regular {
        size: u64,
        b3: Digest,
        /// The System V sum.
        cksum: u16,
    },
    Directory,
    Symlink(Vec<u8>),
    Pipe,
    Socket,
    Device {
        block: bool,
        major: u32,
        minor: u32,
    },
}

impl LiveKind {
    pub fn file_type(&self) -> FileType {
        match self {
            Self::Regular { .. } => FileType::Regular,
            Self::Directory => FileType::Directory,
            Self::Symlink(_) => FileType::Symlink,
            Self::Pipe => FileType::Pipe,
            Self::Socket => FileType::Socket,
            Self::Device { block: true, .. } => FileType::Block,
            Self::Device { block: false, .. } => FileType::Character,
        }
    }
}

/// Tells an object from others that look the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Inode {
    pub number: u64,
    /// `None` if the file system keeps no birth time.
    pub born: Option<Timestamp>,
}

/// An object as it was seen; never the target of a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub kind: LiveKind,
    pub mode: Mode,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Timestamp,
    /// Shows changes, together with size and modification time.
    pub ctime: Timestamp,
    pub inode: Inode,
    pub links: u64,
    pub xattrs: Xattrs,
    /// The reason why no rename may touch it: immutable, append-only or a mount point.
    pub obstacle: Option<&'static str>,
}

impl Live {
    pub fn is_directory(&self) -> bool {
        self.kind == LiveKind::Directory
    }

    pub fn size(&self) -> Option<u64> {
        match self.kind {
            LiveKind::Regular { size, .. } => Some(size),
            _ => None,
        }
    }

    /// Returns size, sum and time as a line of `contents` has them: a time before 1970 is unknown.
    pub fn content_info(&self) -> Option<ContentInfo> {
        match self.kind {
            LiveKind::Regular { size, cksum, .. } => {
                let mtime = Some(self.mtime.seconds).filter(|seconds| *seconds >= 0);
                Some(ContentInfo { size: Some(size), cksum: Some(cksum), mtime })
            }
            _ => None,
        }
    }

    pub fn digest(&self) -> Option<Digest> {
        match self.kind {
            LiveKind::Regular { b3, .. } => Some(b3),
            _ => None,
        }
    }

    pub fn device(&self) -> Option<(u32, u32)> {
        match self.kind {
            LiveKind::Device { major, minor, .. } => Some((major, minor)),
            _ => None,
        }
    }
}

/// Manifests, plan files and bases hold the names that serde gives these types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileType {
    #[serde(rename = "file")]
    Regular,
    Directory,
    Symlink,
    Pipe,
    Socket,
    Block,
    Character,
}

impl FileType {
    /// Returns the type of the file that a pkgmap's type makes; `None` for a hard link, which has that of its source.
    pub fn of(ftype: Ftype) -> Option<Self> {
        Some(match ftype {
            Ftype::File | Ftype::Editable | Ftype::Volatile | Ftype::Information => Self::Regular,
            Ftype::Directory | Ftype::Exclusive => Self::Directory,
            Ftype::Symlink => Self::Symlink,
            Ftype::Pipe => Self::Pipe,
            Ftype::Block => Self::Block,
            Ftype::Character => Self::Character,
            Ftype::Link => return None,
        })
    }

    /// Returns the plain type that a pkgmap has for such a file; `None` for a socket.
    pub fn ftype(self) -> Option<Ftype> {
        Some(match self {
            Self::Regular => Ftype::File,
            Self::Directory => Ftype::Directory,
            Self::Symlink => Ftype::Symlink,
            Self::Pipe => Ftype::Pipe,
            Self::Block => Ftype::Block,
            Self::Character => Ftype::Character,
            Self::Socket => return None,
        })
    }

    /// Returns the letter of find(1) `-type`, which journals hold.
    pub fn letter(self) -> char {
        match self {
            Self::Regular => 'f',
            Self::Directory => 'd',
            Self::Symlink => 'l',
            Self::Pipe => 'p',
            Self::Socket => 's',
            Self::Block => 'b',
            Self::Character => 'c',
        }
    }

    pub(crate) fn of_listed(listed: Listed) -> Option<Self> {
        Some(match listed {
            Listed::RegularFile => Self::Regular,
            Listed::Directory => Self::Directory,
            Listed::Symlink => Self::Symlink,
            Listed::Fifo => Self::Pipe,
            Listed::Socket => Self::Socket,
            Listed::BlockDevice => Self::Block,
            Listed::CharacterDevice => Self::Character,
            Listed::Unknown => return None,
        })
    }

    pub(crate) fn as_listed(self) -> Listed {
        match self {
            Self::Regular => Listed::RegularFile,
            Self::Directory => Listed::Directory,
            Self::Symlink => Listed::Symlink,
            Self::Pipe => Listed::Fifo,
            Self::Socket => Listed::Socket,
            Self::Block => Listed::BlockDevice,
            Self::Character => Listed::CharacterDevice,
        }
    }
}

const STATX_FIELDS: StatxFlags = StatxFlags::from_bits_retain(
    StatxFlags::BASIC_STATS.bits() | StatxFlags::BTIME.bits() | StatxFlags::MNT_ID.bits(),
);

const BLOCK: u64 = 512;

/// One statx(2) on the object itself; never on the target of a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStatus {
    pub file_type: FileType,
    pub mode: Mode,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Bytes that it occupies on its file system.
    pub allocated: u64,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
    pub inode: Inode,
    pub links: u64,
    pub device: (u32, u32),
    pub mount: u64,
    /// Major and minor of `st_dev`; changes with each boot.
    pub file_system: (u32, u32),
    /// The reason why no rename may touch it: immutable, append-only or a mount point.
    pub obstacle: Option<&'static str>,
    /// True if the file system encrypts it: nothing can be renamed into it from elsewhere.
    pub encrypted: bool,
}

impl ObjectStatus {
    /// Returns the status of an open file; `shown` names it in an error.
    pub fn of(file: impl AsFd, shown: impl FnOnce() -> String) -> Result<Self> {
        Self::of_file(file).map_err(|errno| RootError::Call { action: "look at", path: shown(), errno })
    }

    /// Returns the status of the target of a host path, such as a link of `/proc`. No other call follows a symbolic
    /// link.
    pub fn behind(path: &Path) -> Result<Self> {
        let failed = |errno| RootError::Call { action: "look at", path: path.display().to_string(), errno };
        Self::at(rustix::fs::CWD, path.as_os_str().as_bytes(), AtFlags::STATX_DONT_SYNC).map_err(failed)
    }

    pub(crate) fn of_file(file: impl AsFd) -> rustix::io::Result<Self> {
        Self::at(file, b"", AtFlags::EMPTY_PATH)
    }

    pub(crate) fn at(directory: impl AsFd, name: &[u8], flags: AtFlags) -> rustix::io::Result<Self> {
        let statx = again(|| rustix::fs::statx(&directory, name, flags, STATX_FIELDS))?;
        Self::from_statx(&statx).ok_or(Errno::OPNOTSUPP)
    }

    fn from_statx(statx: &Statx) -> Option<Self> {
        let file_type = FileType::of_listed(rustix::fs::FileType::from_raw_mode(statx.stx_mode.into()))?;
        let time = |t: rustix::fs::StatxTimestamp| Timestamp { seconds: t.tv_sec, nanoseconds: t.tv_nsec };
        let has_birth = statx.stx_mask & StatxFlags::BTIME.bits() != 0;
        let obstacle = [
            (StatxAttributes::IMMUTABLE, "is immutable"),
            (StatxAttributes::APPEND, "is append-only"),
            (StatxAttributes::MOUNT_ROOT, "is a mount point"),
        ];
        Some(Self {
            file_type,
            mode: Mode::of(statx.stx_mode.into()),
            uid: statx.stx_uid,
            gid: statx.stx_gid,
            size: statx.stx_size,
            allocated: statx.stx_blocks.saturating_mul(BLOCK),
            mtime: time(statx.stx_mtime),
            ctime: time(statx.stx_ctime),
            inode: Inode { number: statx.stx_ino, born: has_birth.then(|| time(statx.stx_btime)) },
            links: statx.stx_nlink.into(),
            device: (statx.stx_rdev_major, statx.stx_rdev_minor),
            mount: statx.stx_mnt_id,
            file_system: (statx.stx_dev_major, statx.stx_dev_minor),
            obstacle: obstacle
                .iter()
                .find(|(flag, _)| statx.stx_attributes.contains(*flag))
                .map(|(_, word)| *word),
            encrypted: statx.stx_attributes.contains(StatxAttributes::ENCRYPTED),
        })
    }

    /// Returns the attribute that forbids changes to everyone, in words and as the letter of chattr(1).
    pub(crate) fn flag(&self) -> Option<(&'static str, char)> {
        let flag = self.obstacle.filter(|word| !word.contains("mount"))?;
        Some((flag, if flag == "is immutable" { 'i' } else { 'a' }))
    }

    /// Returns true if the object is unchanged between two looks: same identity, size, mtime and ctime.
    pub fn is_untouched(&self, later: &Self) -> bool {
        self.inode == later.inode
            && self.size == later.size
            && self.mtime == later.mtime
            && self.ctime == later.ctime
    }

    /// Like [`is_untouched`](Self::is_untouched), for an object that was read whole in between.
    pub fn is_untouched_in(&self, read: &Live) -> bool {
        let is_same = (self.inode, self.mtime, self.ctime) == (read.inode, read.mtime, read.ctime);
        is_same && read.size().is_none_or(|size| size == self.size)
    }
}

/// A file whose bytes are known as long as it does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFile {
    pub inode: Inode,
    pub mtime: Timestamp,
    /// No program can set it.
    pub ctime: Timestamp,
    pub sums: Sums,
}

impl KnownFile {
    pub fn is(&self, seen: &ObjectStatus) -> bool {
        let same = (self.inode, self.sums.size, self.mtime) == (seen.inode, seen.size, seen.mtime);
        same && self.ctime == seen.ctime
    }
}

pub const CAPABILITY: &[u8] = b"security.capability";

pub const ACCESS_LIST: &[u8] = b"system.posix_acl_access";

/// The POSIX access list of new objects in a directory.
pub const DEFAULT_LIST: &[u8] = b"system.posix_acl_default";

/// Returns true if an extended attribute is a label of a security module.
pub fn is_label(key: &[u8]) -> bool {
    key == b"security.selinux" || key.starts_with(b"security.SMACK64")
}

/// Returns the owning group's three permission bits in a POSIX access list, limited by the mask; 0 for a malformed
/// list.
pub fn group_rights_of_list(list: &[u8]) -> u32 {
    const GROUP: u32 = 0x04;
    const MASK: u32 = 0x10;
    let Some((_version, entries)) = list.split_at_checked(4) else { return 0 };
    let rights_of = |kind: u32| {
        let mut entries = entries.chunks_exact(8);
        entries.find_map(|entry| match *entry {
            [tag, high, rights, ..] if u32::from(tag) | u32::from(high) << 8 == kind => {
                Some(u32::from(rights) & 7)
            }
            _ => None,
        })
    };
    rights_of(GROUP).unwrap_or(0) & rights_of(MASK).unwrap_or(7)
}

impl Live {
    /// Returns the attributes that an object in the place of this one takes over. Capabilities belong to the bytes.
    pub fn handed_on(&self, has_same_bytes: bool) -> Xattrs {
        let is_kept = |key: &[u8]| {
            is_label(key)
                || key.starts_with(b"user.")
                || key == ACCESS_LIST
                || key == CAPABILITY && has_same_bytes
        };
        let kept = self.xattrs.iter().filter(|(key, _)| is_kept(key));
        kept.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_sixty_four_hexadecimal_digits_and_nothing_else() {
        let text = "0123456789abcdef".repeat(4);
        let digest = Digest::from_hex(&text).unwrap();
        assert_eq!((digest.0[0], digest.0[31], digest.to_string()), (0x01, 0xef, text.clone()));
        assert_eq!(Digest::from_hex(&text.to_uppercase()), Some(digest));
        for other in
            [&text[1..], &format!("{text}0"), &text.replacen("01", "+1", 1), &text.replacen('0', "g", 1)]
        {
            assert_eq!(Digest::from_hex(other), None, "{other}");
        }
    }
}
