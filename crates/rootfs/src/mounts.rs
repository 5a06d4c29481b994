//! Decides whether the owners that a file system reports can be trusted, by the user who mounted it and by its access
//! lists.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd;

use rustix::io::Errno;

use super::{ACCESS_LIST, Distrust, ObjectStatus, Result, RootError, again};
use patchadm_svr4::package::rule;

/// The table of mounts visible to this process.
pub(crate) const TABLE: &str = "/proc/self/mountinfo";

/// The attributes through which file systems show access lists that permission bits do not reflect.
const LISTS: [&[u8]; 3] = [b"system.nfs4_acl", b"system.nfs4_acl_xdr", b"system.richacl"];

/// Reads the table. The kernel does not report its size; a few large reads are cheaper.
pub(crate) fn table() -> io::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(1 << 14);
    File::open(TABLE)?.read_to_end(&mut text)?;
    Ok(text)
}

/// The kind of access list on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessListKind {
    /// None.
    None,
    /// A POSIX access list, whose mask is the group's permission bits.
    Posix,
    /// Any other access list, which the permission bits do not reflect.
    Other,
}

/// The mounts encountered so far.
#[derive(Debug, Default)]
pub(crate) struct Mounts {
    good: HashSet<u64>,
    /// File systems with POSIX access lists only, by device number.
    without_lists: HashSet<(u32, u32)>,
}

impl Mounts {
    /// Returns the user responsible for an object's mount, if it is not the superuser of this mount namespace.
    pub(crate) fn distrust(&mut self, seen: &ObjectStatus) -> Result<Option<(u32, Distrust)>> {
        // Kernels before 5.8 do not report the mount.
        if seen.mount == 0 || self.good.contains(&seen.mount) {
            return Ok(None);
        }
        let failed = |errno| RootError::Call { action: "read", path: TABLE.to_owned(), errno };
        let table = table().map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        let distrust = judge(seen, mounted_by(&table, seen.mount));
        if distrust.is_none() {
            self.good.insert(seen.mount);
        }
        Ok(distrust)
    }

    /// Returns the kind of access list on an open object.
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

/// Returns the user responsible for an object on a mount made by this user, if it is not the superuser of this mount
/// namespace.
fn judge(seen: &ObjectStatus, mounted_by: Option<u32>) -> Option<(u32, Distrust)> {
    if !rule::holds("root.mount.namespace", mounted_by.is_some() || is_of_system(seen)) {
        return Some((seen.uid, Distrust::OtherNamespace));
    }
    let user = mounted_by.unwrap_or_default();
    (!rule::holds("root.mount.user", user == 0)).then_some((user, Distrust::ForeignMount))
}

/// Returns the user who mounted a file system (`user_id` of FUSE): 0 for all others, `None` if it is not in the
/// table.
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

/// Tells whether the object is on the mount of `/`, which the table hides from a process whose `/` is no mount point.
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
