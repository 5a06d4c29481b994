//! The table of the mounts that this process sees, and their order.

use std::io;

use rustix::mount::MountFlags;

use patchadm_svr4::package::unescape;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableEntry {
    pub(super) id: u64,
    pub(super) parent: u64,
    /// The mount point, with no symbolic link in it, below the `/` of this process.
    pub(super) point: Vec<u8>,
    /// The flags that a new mount has to keep: without the right to change them, it is refused.
    pub(super) flags: MountFlags,
}

/// The mounts in the order of the kernel: a mount on top of another one comes later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountTable(Vec<TableEntry>);

impl MountTable {
    /// Reads the table of this process.
    pub(super) fn read() -> io::Result<Self> {
        Ok(Self::parse(&std::fs::read("/proc/self/mountinfo")?))
    }

    /// Reads the lines of proc(5) `mountinfo`.
    fn parse(text: &[u8]) -> Self {
        Self(text.split(|&byte| byte == b'\n').filter_map(entry_of).collect())
    }

    /// Returns a mount with all mounts on top of it, at any depth, itself first.
    pub(super) fn tree_of(&self, top: u64) -> Vec<&TableEntry> {
        let mut known = vec![top];
        let mut found: Vec<&TableEntry> = self.0.iter().filter(|entry| entry.id == top).collect();
        loop {
            let is_next = |entry: &&TableEntry| known.contains(&entry.parent) && !known.contains(&entry.id);
            let next: Vec<&TableEntry> = self.0.iter().filter(is_next).collect();
            if next.is_empty() {
                return found;
            }
            known.extend(next.iter().map(|entry| entry.id));
            found.extend(next);
        }
    }

    /// Returns the outermost mount points strictly below a path in the tree of a mount.
    pub(super) fn points_below(&self, top: u64, path: &[u8]) -> Vec<Vec<u8>> {
        let is_below = |point: &[u8], path: &[u8]| {
            let path = if path == b"/" { &b""[..] } else { path };
            point.strip_prefix(path).is_some_and(|rest| rest.len() > 1 && rest.starts_with(b"/"))
        };
        let points = self.tree_of(top).into_iter().map(|entry| entry.point.clone());
        let mut points: Vec<Vec<u8>> = points.filter(|point| is_below(point, path)).collect();
        points.sort();
        points.dedup();
        let all = points.clone();
        points.retain(|point| !all.iter().any(|outer| is_below(point, outer)));
        points
    }
}

fn entry_of(line: &[u8]) -> Option<TableEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut number = || str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let point = unescape(fields.nth(2)?);
    let flags = fields.next()?.split(|&byte| byte == b',').map(flag_of).collect();
    Some(TableEntry { id, parent, point, flags })
}

/// Returns the flag for a mount option. The options about access times stay as they are if none is named.
fn flag_of(option: &[u8]) -> MountFlags {
    match option {
        b"ro" => MountFlags::RDONLY,
        b"nosuid" => MountFlags::NOSUID,
        b"nodev" => MountFlags::NODEV,
        b"noexec" => MountFlags::NOEXEC,
        b"nosymfollow" => MountFlags::NOSYMFOLLOW,
        _ => MountFlags::empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        22 21 0:5 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n\
        40 21 8:1 / / ro,nosymfollow - ext4 /dev/sda1 rw\n\
        41 40 0:5 / /proc rw,nosuid - proc proc rw\n\
        42 40 8:2 / /usr/pkg rw - ext4 /dev/sda2 rw\n\
        43 42 8:3 / /usr/pkg/a\\040b rw - ext4 /dev/sda3 rw\n\
        44 43 8:3 / /usr/pkg/a\\040b/c rw - ext4 /dev/sda3 rw\n\
        45 40 8:3 / /usr/pkgsrc rw - ext4 /dev/sda3 rw\n\
        rubbish\n";

    #[test]
    fn the_mounts_that_stand_on_one_are_told_from_those_under_it() {
        let table = MountTable::parse(TABLE);
        let ids = |top| table.tree_of(top).iter().map(|entry| entry.id).collect::<Vec<_>>();
        assert_eq!(ids(40), [40, 41, 42, 45, 43, 44]);
        assert_eq!(ids(22), [22]);
        assert_eq!(table.tree_of(22)[0].flags, MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC);
        assert_eq!(table.tree_of(40)[0].flags, MountFlags::RDONLY | MountFlags::NOSYMFOLLOW);
    }

    #[test]
    fn of_the_points_below_a_path_the_outermost_count() {
        let table = MountTable::parse(TABLE);
        let below = |path: &[u8]| table.points_below(40, path);
        assert_eq!(below(b"/usr/pkg"), [b"/usr/pkg/a b".to_vec()]);
        assert_eq!(below(b"/usr"), [b"/usr/pkg".to_vec(), b"/usr/pkgsrc".to_vec()]);
        assert_eq!(below(b"/").len(), 3);
        assert!(below(b"/usr/p").is_empty());
    }
}
