//! Finds out whether anybody but the owner and the superuser may write to an object. Permission bits do not say it all:
//! with an access list, the group's bits are its mask, and the list may name another user.

use std::os::fd::{AsFd, AsRawFd as _};
use std::path::Path;

use rustix::io::Errno;

use crate::mounts::LISTS;
use crate::{ACCESS_LIST, Dir, FileType, ObjectStatus, again};

const GROUP: u32 = 0o020;
const OTHERS: u32 = 0o002;

/// `XATTR_SIZE_MAX`.
const LONGEST_LIST: usize = 65_536;

const WRITE: u8 = 2;

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
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use patchadm_svr4::package::ObjectPath;
    use rustix::fs::{Mode, OFlags, XattrFlags};

    use super::*;
    use crate::Root;

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
