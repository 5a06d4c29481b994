//! The attributes of an object, read by one statx(2).

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{AtFlags, Statx, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use super::{FileType, Result, RootError, again};
use crate::{Inode, Live, Timestamp};
use patchadm_svr4::package::Mode;

/// The fields requested from statx(2).
const WANTED: StatxFlags = StatxFlags::from_bits_retain(
    StatxFlags::BASIC_STATS.bits() | StatxFlags::BTIME.bits() | StatxFlags::MNT_ID.bits(),
);

/// The unit of `stx_blocks`, on every file system.
const BLOCK: u64 = 512;

/// The result of one statx(2) on an object itself; never on the target of a symbolic link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectStatus {
    /// The type of the file.
    pub file_type: FileType,
    /// The permission bits.
    pub mode: Mode,
    /// The numeric owner.
    pub uid: u32,
    /// The numeric group.
    pub gid: u32,
    /// The size in bytes.
    pub size: u64,
    /// The bytes that it occupies on its file system.
    pub allocated: u64,
    /// The modification time.
    pub mtime: Timestamp,
    /// The status change time.
    pub ctime: Timestamp,
    /// The identity of the object.
    pub inode: Inode,
    /// The number of its names.
    pub links: u64,
    /// The major and minor number of a device.
    pub device: (u32, u32),
    /// The id of its mount.
    pub mount: u64,
    /// Its file system (major and minor of `st_dev`); changes with each boot.
    pub file_system: (u32, u32),
    /// The reason why no rename may touch it: immutable, append-only or a mount point.
    pub obstacle: Option<&'static str>,
    /// Whether the file system encrypts it, so that nothing can be renamed into it from elsewhere.
    pub encrypted: bool,
}

impl ObjectStatus {
    /// Returns the status of an open file; `shown` names it in an error.
    pub fn of(file: impl AsFd, shown: impl FnOnce() -> String) -> Result<Self> {
        Self::of_file(file).map_err(|errno| RootError::Call { action: "look at", path: shown(), errno })
    }

    /// Returns the status of the file that a link of `/proc` leads to, or any other path of the machine: the only call that
    /// follows a symbolic link.
    pub fn behind(path: &Path) -> Result<Self> {
        let failed = |errno| RootError::Call { action: "look at", path: path.display().to_string(), errno };
        Self::at(rustix::fs::CWD, path.as_os_str().as_bytes(), AtFlags::STATX_DONT_SYNC).map_err(failed)
    }

    pub(crate) fn of_file(file: impl AsFd) -> rustix::io::Result<Self> {
        Self::at(file, b"", AtFlags::EMPTY_PATH)
    }

    /// Returns the status of `name` in an open directory.
    pub(crate) fn at(directory: impl AsFd, name: &[u8], flags: AtFlags) -> rustix::io::Result<Self> {
        let statx = again(|| rustix::fs::statx(&directory, name, flags, WANTED))?;
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

    /// Returns the attribute by which nobody may change the object, in words and by its letter.
    pub(crate) fn flag(&self) -> Option<(&'static str, char)> {
        let flag = self.obstacle.filter(|word| !word.contains("mount"))?;
        Some((flag, if flag == "is immutable" { 'i' } else { 'a' }))
    }

    /// Tells whether the object is unchanged between two looks: same identity, size, mtime and ctime.
    pub fn is_untouched(&self, later: &Self) -> bool {
        self.inode == later.inode
            && self.size == later.size
            && self.mtime == later.mtime
            && self.ctime == later.ctime
    }

    /// Tells the same of an object that was read whole since.
    pub fn is_untouched_in(&self, read: &Live) -> bool {
        let is_same = (self.inode, self.mtime, self.ctime) == (read.inode, read.mtime, read.ctime);
        is_same && read.size().is_none_or(|size| size == self.size)
    }
}
