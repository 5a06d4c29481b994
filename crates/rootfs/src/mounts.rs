//! The mount table of this process: places of directories on their file systems, and who mounted these. The user who
//! mounted a file system answers for the owners that it reports ([`Mounts::distrust`]).

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;

use patchadm_svr4::package::{rule, unescape};
use rustix::io::Errno;

use crate::{ACCESS_LIST, Distrust, ObjectStatus, Result, RootError, again};

const TABLE: &str = "/proc/self/mountinfo";

/// Access lists that permission bits do not reflect.
pub(crate) const LISTS: [&[u8]; 3] = [b"system.nfs4_acl", b"system.nfs4_acl_xdr", b"system.richacl"];

/// In bytes. Users can lengthen the table by FUSE mounts, whose directories they can move as deep as they like.
const LONGEST_TABLE: u64 = 256 << 20;

/// Reads the table of this process. The kernel does not report its size; a few large reads are cheaper.
pub(crate) fn table() -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(1 << 14);
    let read = File::open(TABLE).and_then(|file| file.take(LONGEST_TABLE + 1).read_to_end(&mut text));
    match read {
        Ok(read) if read as u64 > LONGEST_TABLE => {
            Err(RootError::Call { action: "read", path: TABLE.to_owned(), errno: Errno::FBIG })
        }
        read => read.map(|_| text).map_err(|error| table_error(&error)),
    }
}

pub(crate) fn table_error(error: &io::Error) -> RootError {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    RootError::Call { action: "read", path: TABLE.to_owned(), errno }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessListKind {
    None,
    /// Its mask is shown as the group's permission bits.
    Posix,
    /// Permission bits do not reflect it.
    Other,
}

#[derive(Debug, Default)]
pub(crate) struct Mounts {
    good: HashSet<u64>,
    /// File systems with POSIX access lists only, by device number.
    without_lists: HashSet<(u32, u32)>,
}

impl Mounts {
    /// Returns the user who answers for the mount of an object, unless it is the superuser of this mount namespace.
    pub(crate) fn distrust(&mut self, seen: &ObjectStatus) -> Result<Option<(u32, Distrust)>> {
        // Kernels before 5.8 do not report the mount.
        if seen.mount == 0 || self.good.contains(&seen.mount) {
            return Ok(None);
        }
        let distrust = judge(seen, mounted_by(&table()?, seen.mount));
        if distrust.is_none() {
            self.good.insert(seen.mount);
        }
        Ok(distrust)
    }

    pub(crate) fn has_list(&mut self, seen: &ObjectStatus, fd: impl AsFd) -> AccessListKind {
        let ask = |name: &[u8]| again(|| rustix::fs::fgetxattr(&fd, name, &mut [0u8; 0][..]));
        if !self.without_lists.contains(&seen.file_system) {
            let answers = LISTS.map(ask);
            if answers.iter().any(std::result::Result::is_ok) {
                return AccessListKind::Other;
            }
            if answers.iter().all(|answer| *answer == Err(Errno::OPNOTSUPP)) {
                self.without_lists.insert(seen.file_system);
            }
        }
        // It matters only if the group may write.
        if seen.mode.bits() & 0o020 != 0 && ask(ACCESS_LIST).is_ok() {
            AccessListKind::Posix
        } else {
            AccessListKind::None
        }
    }
}

fn judge(seen: &ObjectStatus, mounted_by: Option<u32>) -> Option<(u32, Distrust)> {
    if !rule::holds("root.mount.namespace", mounted_by.is_some() || is_of_system(seen)) {
        return Some((seen.uid, Distrust::OtherNamespace));
    }
    let user = mounted_by.unwrap_or_default();
    (!rule::holds("root.mount.user", user == 0)).then_some((user, Distrust::ForeignMount))
}

/// Returns the user who mounted a file system: `user_id` of FUSE, 0 for all others, `None` if it is not in the table.
fn mounted_by(table: &[u8], mount: u64) -> Option<u32> {
    let text = String::from_utf8_lossy(table);
    let line = text
        .lines()
        .find(|line| line.split(' ').next().and_then(|number| number.parse::<u64>().ok()) == Some(mount))?;
    let Some((_, file_system)) = line.split_once(" - ") else { return Some(0) };
    let mut fields = file_system.split(' ');
    let is_fuse =
        fields.next().is_some_and(|kind| kind == "fuse" || kind == "fuseblk" || kind.starts_with("fuse."));
    let options = fields.nth(1).unwrap_or_default();
    let user = options.split(',').find_map(|option| option.strip_prefix("user_id="));
    Some(user.filter(|_| is_fuse).and_then(|user| user.parse().ok()).unwrap_or(0))
}

/// Returns true on the mount of `/`. The table hides that mount if `/` of this process is no mount point.
fn is_of_system(seen: &ObjectStatus) -> bool {
    let system = rustix::fs::open(
        "/",
        rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    );
    system
        .ok()
        .and_then(|fd| ObjectStatus::of_file(&fd).ok())
        .is_some_and(|system| system.mount == seen.mount)
}

pub(crate) struct Mount {
    pub(crate) id: u64,
    pub(crate) parent: u64,
    /// Major and minor number, as the table writes them.
    pub(crate) device: Vec<u8>,
    /// The mounted directory of the file system.
    pub(crate) root: Vec<u8>,
    pub(crate) point: Vec<u8>,
    pub(crate) kind: Vec<u8>,
}

pub(crate) struct Place {
    pub(crate) device: Vec<u8>,
    pub(crate) path: Vec<u8>,
}

impl Place {
    pub(crate) fn contains(&self, device: &[u8], path: &[u8]) -> bool {
        device == self.device && below(path, &self.path).is_some()
    }
}

impl Mount {
    pub(crate) fn of_line(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
        Some(Self {
            id: number(fields.next()?)?,
            parent: number(fields.next()?)?,
            device: fields.next()?.to_vec(),
            root: unescape(fields.next()?),
            point: unescape(fields.next()?),
            // After the optional fields.
            kind: unescape(fields.skip_while(|field| *field != b"-").nth(1)?),
        })
    }
}

pub(crate) fn parse(table: &[u8]) -> Vec<Mount> {
    table.split(|&byte| byte == b'\n').filter_map(Mount::of_line).collect()
}

pub(crate) fn place_of(table: &[Mount], mount: u64, path: &[u8]) -> Option<Place> {
    let mount = table.iter().find(|line| line.id == mount)?;
    let below = below(path, &mount.point)?;
    Some(Place { device: mount.device.clone(), path: joined(&mount.root, below) })
}

/// Returns the part of a path below a directory, without a leading slash.
pub(crate) fn below<'p>(path: &'p [u8], directory: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(directory.strip_suffix(b"/").unwrap_or(directory))?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

pub(crate) fn joined(directory: &[u8], below: &[u8]) -> Vec<u8> {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    if below.is_empty() {
        return if directory.is_empty() { b"/".to_vec() } else { directory.to_vec() };
    }
    [directory, b"/", below].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fuse_mount_is_its_users_and_any_other_the_superusers() {
        let table = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            40 21 0:40 / /home/a/mnt rw,nosuid - fuse.sshfs host: rw,user_id=1004,group_id=1004\n\
            41 21 0:41 / /mnt rw - fuse x rw,user_id=0,group_id=0\n\
            42 21 0:42 / /srv rw - tmpfs user_id=7 rw,user_id=7\n";
        for (mount, user) in [(21, Some(0)), (40, Some(1004)), (41, Some(0)), (42, Some(0)), (43, None)] {
            assert_eq!(mounted_by(table, mount), user, "{mount}");
        }
    }

    #[test]
    fn a_mount_of_another_user_or_of_nobody_here_is_not_the_superusers() {
        let system = ObjectStatus::of_file(File::open("/").unwrap()).unwrap();
        let elsewhere = ObjectStatus { mount: u64::MAX, ..system.clone() };
        assert_eq!(judge(&elsewhere, Some(0)), None);
        assert_eq!(judge(&system, None), None);
        assert_eq!(judge(&elsewhere, Some(1004)), Some((1004, Distrust::ForeignMount)));
        assert_eq!(judge(&elsewhere, None), Some((elsewhere.uid, Distrust::OtherNamespace)));
    }
}
