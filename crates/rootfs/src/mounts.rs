//! The mount tables of `/proc`: which mounts cover or show a directory, and who mounted a file system.
//!
//! The kernel allows renaming a directory that has a mount on it or below it in another mount namespace, or that is
//! itself mounted elsewhere. The mount moves along, so processes there see another object at the old path. For this
//! reason the mount tables of all processes are read, one for each namespace and root directory. Tables that the caller
//! may not read are skipped.
//!
//! The user who mounted a file system is responsible for the owners that it reports ([`Mounts::distrust`]).

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use patchadm_svr4::package::{rule, unescape};
use rustix::io::Errno;

use crate::{ACCESS_LIST, Dir, Distrust, ObjectStatus, Result, RootError, again};

const TABLE: &str = "/proc/self/mountinfo";

/// The attributes of access lists that permission bits do not reflect.
const LISTS: [&[u8]; 3] = [b"system.nfs4_acl", b"system.nfs4_acl_xdr", b"system.richacl"];

/// Reads the table of this process. The kernel does not report its size; a few large reads are cheaper.
pub(crate) fn table() -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(1 << 14);
    let read = File::open(TABLE).and_then(|mut file| file.read_to_end(&mut text));
    read.map(|_| text).map_err(|error| table_error(&error))
}

pub(crate) fn table_error(error: &io::Error) -> RootError {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    RootError::Call { action: "read", path: TABLE.to_owned(), errno }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccessListKind {
    None,
    /// A POSIX access list, whose mask is shown as the group's permission bits.
    Posix,
    /// Any other access list, which permission bits do not reflect.
    Other,
}

#[derive(Debug, Default)]
pub(crate) struct Mounts {
    good: HashSet<u64>,
    /// File systems with POSIX access lists only, by device number.
    without_lists: HashSet<(u32, u32)>,
}

impl Mounts {
    /// Returns the user responsible for the mount of an object, unless it is the superuser of this mount namespace.
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

/// Returns the user responsible for the mount of an object, unless it is the superuser of this mount namespace.
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

/// Returns true if the object is on the mount of `/`. The table hides that mount if `/` of this process is no mount
/// point.
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
    /// Major and minor number of the file system, as the table writes them.
    pub(crate) device: Vec<u8>,
    /// The mounted directory of the file system.
    pub(crate) root: Vec<u8>,
    pub(crate) point: Vec<u8>,
    pub(crate) kind: Vec<u8>,
}

/// The place of a directory on its file system.
pub(crate) struct Place {
    pub(crate) device: Vec<u8>,
    pub(crate) path: Vec<u8>,
}

impl Place {
    pub(crate) fn contains(&self, device: &[u8], path: &[u8]) -> bool {
        device == self.device && below(path, &self.path).is_some()
    }
}

impl Dir {
    /// Describes a mount that is on or below this directory, or that shows part of it elsewhere, in any visible mount
    /// namespace.
    pub fn mount_in_the_way(&self) -> Result<Option<String>> {
        let own = table()?;
        let path = self.host_path().map_err(|error| table_error(&error))?;
        let own = parse(&own);
        let Some(place) = place_of(&own, self.itself()?.mount, &path) else { return Ok(None) };
        if let Some(found) = found_in(&own, &place) {
            return Ok(Some(found));
        }
        let tables = other_tables();
        let others = tables.iter().filter_map(|(process, table)| {
            let found = found_in(&parse(table), &place)?;
            Some(format!("{found}, in the mount namespace of process {process}"))
        });
        Ok(others.into_iter().next())
    }

    /// Returns true if this directory is `other`, or below it, by its place on its file system: a part of `other`
    /// that is mounted elsewhere counts as well.
    pub fn is_within(&self, other: &Self) -> Result<bool> {
        let table = table()?;
        let table = parse(&table);
        let path = self.host_path().map_err(|error| table_error(&error))?;
        let other_path = other.host_path().map_err(|error| table_error(&error))?;
        if below(&path, &other_path).is_some() {
            return Ok(true);
        }
        let Some(place) = place_of(&table, self.itself()?.mount, &path) else { return Ok(false) };
        let mounted = table.iter().filter(|mount| below(&mount.point, &other_path).is_some());
        let areas = mounted.map(|mount| Place { device: mount.device.clone(), path: mount.root.clone() });
        let mut areas = areas.chain(place_of(&table, other.itself()?.mount, &other_path));
        Ok(areas.any(|area| area.contains(&place.device, &place.path)))
    }

    /// Returns the type of the file system as the mount table of this process names it; `None` if its mount is not in
    /// that table.
    pub fn file_system_type(&self) -> Result<Option<String>> {
        let table = table()?;
        let mount = self.itself()?.mount;
        let line = parse(&table).into_iter().find(|line| line.id == mount);
        Ok(line.map(|line| String::from_utf8_lossy(&line.kind).into_owned()))
    }

    /// Returns the path of this directory as this process sees it.
    fn host_path(&self) -> io::Result<Vec<u8>> {
        let magic = self.magic_path(b"");
        let fd = magic.strip_suffix(b"/.").unwrap_or(&magic);
        let path = fs::read_link(Path::new(std::ffi::OsStr::from_bytes(fd)))?;
        Ok(path.as_os_str().as_bytes().to_vec())
    }
}

pub(crate) fn parse(table: &[u8]) -> Vec<Mount> {
    let line = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b' ');
        let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
        Some(Mount {
            id: number(fields.next()?)?,
            parent: number(fields.next()?)?,
            device: fields.next()?.to_vec(),
            root: unescape(fields.next()?),
            point: unescape(fields.next()?),
            // After the optional fields.
            kind: unescape(fields.skip_while(|field| *field != b"-").nth(1)?),
        })
    };
    table.split(|&byte| byte == b'\n').filter_map(line).collect()
}

/// Returns the place of a directory on the file system of its mount.
pub(crate) fn place_of(table: &[Mount], mount: u64, path: &[u8]) -> Option<Place> {
    let mount = table.iter().find(|line| line.id == mount)?;
    let below = below(path, &mount.point)?;
    Some(Place { device: mount.device.clone(), path: joined(&mount.root, below) })
}

/// Describes a mount that is on or below a place, or that shows part of it elsewhere.
fn found_in(table: &[Mount], place: &Place) -> Option<String> {
    table.iter().find_map(|mount| {
        let point = String::from_utf8_lossy(&mount.point);
        if place.contains(&mount.device, &mount.root) {
            return Some(format!("it is mounted on {point} as well, or part of it"));
        }
        let parent = table.iter().find(|other| other.id == mount.parent && mount.parent != mount.id)?;
        let on = joined(&parent.root, below(&mount.point, &parent.point)?);
        place.contains(&parent.device, &on).then(|| format!("something is mounted on {point}"))
    })
}

/// Returns the part of a path below a directory, without a leading slash.
pub(crate) fn below<'p>(path: &'p [u8], directory: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(directory.strip_suffix(b"/").unwrap_or(directory))?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(b"/") }
}

fn joined(directory: &[u8], below: &[u8]) -> Vec<u8> {
    let directory = directory.strip_suffix(b"/").unwrap_or(directory);
    if below.is_empty() {
        return if directory.is_empty() { b"/".to_vec() } else { directory.to_vec() };
    }
    [directory, b"/", below].concat()
}

/// Returns the tables of other namespaces, each with the number of a process in it.
fn other_tables() -> Vec<(u32, Vec<u8>)> {
    let view = |process: &Path| -> Option<(PathBuf, PathBuf)> {
        Some((fs::read_link(process.join("ns/mnt")).ok()?, fs::read_link(process.join("root")).ok()?))
    };
    let mut seen: BTreeSet<(PathBuf, PathBuf)> = view(Path::new("/proc/self")).into_iter().collect();
    let mut tables = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if view(&entry.path()).is_some_and(|view| seen.insert(view))
            && let Ok(table) = fs::read(entry.path().join("mountinfo"))
        {
            tables.push((process, table));
        }
    }
    tables
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

#[cfg(test)]
mod mount_tables_tests {
    use super::*;

    const OWN: &[u8] = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        22 21 8:2 /@/srv /srv rw - ext4 /dev/sda2 rw\n\
        23 21 0:5 / /proc rw - proc proc rw\n\
        24 22 0:40 / /srv/www/cache rw - tmpfs tmpfs rw\n";

    /// Returns the finding about a directory in a table; its place comes from the process's own table.
    fn found(mount: u64, path: &str, table: &[u8]) -> Option<String> {
        let place = place_of(&parse(OWN), mount, path.as_bytes()).unwrap();
        found_in(&parse(table), &place)
    }

    #[test]
    fn a_mount_on_or_below_a_directory_is_found_and_one_beside_it_is_not() {
        let is_found = |path: &str| found(22, path, OWN).is_some();
        assert!(is_found("/srv/www") && is_found("/srv/www/cache"));
        assert!(!is_found("/srv/www/cached") && !is_found("/srv/web") && !is_found("/srv/www/cache/deeper"));
        assert_eq!(found(21, "/opt", OWN), None);
        assert_eq!(found(21, "/proc", OWN).unwrap(), "something is mounted on /proc");
    }

    #[test]
    fn a_mount_from_a_directory_is_found_wherever_it_is() {
        let inside = b"77 70 8:2 /@/srv/www/htdocs /data/with\\040blank rw - ext4 /dev/sda2 rw\n";
        assert_eq!(
            found(22, "/srv/www", inside).unwrap(),
            "it is mounted on /data/with blank as well, or part of it"
        );
        assert_eq!(found(22, "/srv/www/other", inside), None);
        let elsewhere = b"77 70 8:9 /@/srv/www/htdocs /data rw - ext4 /dev/sdb rw\n";
        assert_eq!(found(22, "/srv/www", elsewhere), None, "another file system");
    }

    #[test]
    fn a_mount_in_another_namespace_is_told_by_what_it_is_mounted_on_there() {
        let inside =
            b"90 90 8:2 /@ / rw - ext4 /dev/sda2 rw\n91 90 0:44 / /srv/www/tmp rw - tmpfs tmpfs rw\n";
        assert_eq!(found(22, "/srv/www", inside).unwrap(), "something is mounted on /srv/www/tmp");
        assert_eq!(found(22, "/srv/ftp", inside), None);
    }

    #[test]
    fn a_directory_without_mounts_has_none_in_the_way() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(Dir::of_host(place.path()).unwrap().mount_in_the_way().unwrap(), None);
        let proc = Dir::of_host(Path::new("/proc")).unwrap();
        assert!(proc.mount_in_the_way().unwrap().is_some());
    }
}
