//! Finds the users of a directory: processes that hold an object in it, and mounts on it, below it or from it. A failed
//! query gives an empty answer, because the result is only advice.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use serde::Serialize;

use crate::mounts::{Mount, Place, below, joined, parse, place_of, table, table_error};
use crate::proc_files::{ProcBounds, ProcLines, ProcReadError, proc_text};
use crate::{Dir, Result};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DirectoryUser {
    pub process: u32,
    pub program: String,
    /// The path as the system reports it.
    pub path: String,
}

/// Returns other processes with a selected object as working directory, root or open file, one entry per process and
/// path. `is_inside` gets the file system (major, minor) and the inode number. Only the superuser sees processes of
/// others.
pub fn users_of(is_inside: &dyn Fn((u32, u32), u64) -> bool) -> Vec<DirectoryUser> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let used: BTreeMap<u32, Vec<DirectoryUser>> = processes
        .filter_map(|entry| {
            let process = entry.file_name().to_str()?.parse().ok()?;
            (process != std::process::id()).then(|| (process, of_process(process, &entry.path(), is_inside)))
        })
        .collect();
    used.into_values().flatten().collect()
}

fn of_process(
    process: u32,
    directory: &Path,
    is_inside: &dyn Fn((u32, u32), u64) -> bool,
) -> Vec<DirectoryUser> {
    let files = fs::read_dir(directory.join("fd")).into_iter().flatten().flatten().map(|entry| entry.path());
    let links = ["cwd", "root"].map(|name| directory.join(name)).into_iter().chain(files);
    let paths: BTreeSet<PathBuf> = links
        .filter(|link| leads_inside(link, is_inside))
        .filter_map(|link| fs::read_link(link).ok())
        .collect();
    if paths.is_empty() {
        return Vec::new();
    }
    let program = proc_text(&directory.join("comm")).unwrap_or_default().trim().to_owned();
    let user = |path: PathBuf| DirectoryUser {
        process,
        program: program.clone(),
        path: String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned(),
    };
    paths.into_iter().map(user).collect()
}

fn leads_inside(link: &Path, is_inside: &dyn Fn((u32, u32), u64) -> bool) -> bool {
    // Cached attributes are enough: the call must not wait for a server that does not answer.
    let seen = rustix::fs::statx(CWD, link, AtFlags::STATX_DONT_SYNC, StatxFlags::INO);
    seen.is_ok_and(|seen| is_inside((seen.stx_dev_major, seen.stx_dev_minor), seen.stx_ino))
}

impl Dir {
    /// Describes a mount on or below this directory, or of part of it elsewhere, in any visible mount namespace. The
    /// kernel allows renaming a directory that is mounted on in another namespace. The mount moves along, so processes
    /// there see another object at the old path. A table that is too long counts as one with a mount in the way.
    pub fn mount_in_the_way(&self) -> Result<Option<String>> {
        let own = table()?;
        let path = self.host_path().map_err(|error| table_error(&error))?;
        let own = parse(&own);
        let Some(place) = place_of(&own, self.itself()?.mount, &path) else { return Ok(None) };
        if let Some(found) = found_in(&own, &place) {
            return Ok(Some(found));
        }
        drop(own);
        Ok(found_elsewhere(other_tables(), &place, MOST_TABLES))
    }

    /// Returns true if this directory is `other`, or below it, by its place on its file system: a part of `other` that
    /// is mounted elsewhere counts as well.
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

    /// Returns the type in the mount table of this process; `None` if its mount is not in that table.
    pub fn file_system_type(&self) -> Result<Option<String>> {
        let table = table()?;
        let mount = self.itself()?.mount;
        let line = parse(&table).into_iter().find(|line| line.id == mount);
        Ok(line.map(|line| String::from_utf8_lossy(&line.kind).into_owned()))
    }

    fn host_path(&self) -> io::Result<Vec<u8>> {
        let magic = self.magic_path(b"");
        let fd = magic.strip_suffix(b"/.").unwrap_or(&magic);
        let path = fs::read_link(Path::new(std::ffi::OsStr::from_bytes(fd)))?;
        Ok(path.as_os_str().as_bytes().to_vec())
    }
}

/// Describes a mount on or below a place, or of part of it elsewhere.
fn found_in(table: &[Mount], place: &Place) -> Option<String> {
    let by_id: HashMap<u64, &Mount> = table.iter().map(|mount| (mount.id, mount)).collect();
    table.iter().find_map(|mount| {
        let point = String::from_utf8_lossy(&mount.point);
        if place.contains(&mount.device, &mount.root) {
            return Some(format!("it or part of it is also mounted on {point}"));
        }
        let parent = by_id.get(&mount.parent).filter(|_| mount.parent != mount.id)?;
        let on = joined(&parent.root, below(&mount.point, &parent.point)?);
        place.contains(&parent.device, &on).then(|| format!("something is mounted on {point}"))
    })
}

/// Bytes of the tables of all other namespaces.
const MOST_TABLES: u64 = 1 << 30;

/// Describes a mount in one of the tables, or the table that prevents reading at most this many bytes.
fn found_elsewhere<R: Read>(
    tables: impl Iterator<Item = (u32, R)>,
    place: &Place,
    most: u64,
) -> Option<String> {
    let (mut left, mut longest) = (most, (0, 0));
    for (process, table) in tables {
        let bounds = ProcBounds { file: ProcBounds::MOUNTS.file.min(left), ..ProcBounds::MOUNTS };
        let mut lines = ProcLines::of(table, bounds, &|| false);
        match mounts_in(&mut lines) {
            Ok(mounts) => {
                if let Some(found) = found_in(&mounts, place) {
                    return Some(format!("{found}, in the mount namespace of process {process}"));
                }
                let read = bounds.file - lines.left();
                longest = longest.max((read, process));
                left -= read;
            }
            Err(error) if error.is_overrun() => {
                let is_of_all = bounds.file < ProcBounds::MOUNTS.file;
                let (_, longest) = longest.max((bounds.file - lines.left(), process));
                let process = if is_of_all { longest } else { process };
                return Some(format!("the mount table of process {process} is too long to be searched"));
            }
            // The process is gone.
            Err(_) => {}
        }
    }
    None
}

fn mounts_in(lines: &mut ProcLines<'_, impl Read>) -> std::result::Result<Vec<Mount>, ProcReadError> {
    let mut mounts = Vec::new();
    while let Some(line) = lines.next_line()? {
        mounts.extend(Mount::of_line(line).map(|mount| Mount { kind: Vec::new(), ..mount }));
    }
    Ok(mounts)
}

/// Returns the tables of other namespaces, each with the number of a process in it.
fn other_tables() -> impl Iterator<Item = (u32, File)> {
    let view = |process: &Path| -> Option<(PathBuf, PathBuf)> {
        Some((fs::read_link(process.join("ns/mnt")).ok()?, fs::read_link(process.join("root")).ok()?))
    };
    let mut seen: BTreeSet<(PathBuf, PathBuf)> = view(Path::new("/proc/self")).into_iter().collect();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(move |entry| {
        let process = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let is_new = view(&entry.path()).is_some_and(|view| seen.insert(view));
        is_new
            .then(|| File::open(entry.path().join("mountinfo")).ok())
            .flatten()
            .map(|table| (process, table))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_is_found_by_its_working_directory_and_not_by_what_it_does_not_hold() {
        let place = tempfile::tempdir().unwrap();
        let inode = fs::metadata(place.path()).unwrap().ino();
        let mut sleeper = Command::new("sleep").arg("60").current_dir(place.path()).spawn().unwrap();
        let found = |number: u64| {
            let directory = PathBuf::from(format!("/proc/{}", sleeper.id()));
            of_process(sleeper.id(), &directory, &|_, inode| inode == number)
        };
        let (held, other) = (found(inode), found(u64::MAX));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        let paths: Vec<&str> = held.iter().map(|user| user.path.as_str()).collect();
        assert_eq!(paths, [place.path().to_str().unwrap()]);
        assert_eq!(other, []);
    }
}

#[cfg(test)]
mod mounts_tests {
    use super::*;

    const OWN: &[u8] = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        22 21 8:2 /@/srv /srv rw - ext4 /dev/sda2 rw\n\
        23 21 0:5 / /proc rw - proc proc rw\n\
        24 22 0:40 / /srv/www/cache rw - tmpfs tmpfs rw\n";

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
            "it or part of it is also mounted on /data/with blank"
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
    fn a_mount_in_any_other_table_is_found_and_a_table_that_is_too_long_counts_as_one() {
        let place = place_of(&parse(OWN), 22, b"/srv/www").unwrap();
        let inside =
            &b"90 90 8:2 /@ / rw - ext4 /dev/sda2 rw\n91 90 0:44 / /srv/www/tmp rw - tmpfs tmpfs rw\n"[..];
        let elsewhere = &b"77 70 8:9 / /data rw - ext4 /dev/sdb rw\n"[..];
        let found =
            |tables: &[(u32, &[u8])], most: u64| found_elsewhere(tables.iter().copied(), &place, most);
        assert_eq!(found(&[(7, elsewhere), (8, elsewhere)], 1 << 20), None);
        assert_eq!(
            found(&[(7, elsewhere), (8, inside)], 1 << 20).unwrap(),
            "something is mounted on /srv/www/tmp, in the mount namespace of process 8"
        );
        let too_long =
            |process: u32| format!("the mount table of process {process} is too long to be searched");
        let endless_lines = io::repeat(b'\n');
        assert_eq!(found_elsewhere([(9, endless_lines)].into_iter(), &place, 1 << 20), Some(too_long(9)));
        let endless_line = io::repeat(b'x');
        assert_eq!(found_elsewhere([(9, endless_line)].into_iter(), &place, 1 << 20), Some(too_long(9)));
        // All together are too long: the longest one is named.
        let twice = [elsewhere, elsewhere].concat();
        let tables = [(6, elsewhere), (7, &twice[..]), (8, elsewhere)];
        assert_eq!(found(&tables, 3 * elsewhere.len() as u64 + 5), Some(too_long(7)));
    }

    #[test]
    fn a_directory_without_mounts_has_none_in_the_way() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(Dir::of_host(place.path()).unwrap().mount_in_the_way().unwrap(), None);
        let proc = Dir::of_host(Path::new("/proc")).unwrap();
        assert!(proc.mount_in_the_way().unwrap().is_some());
    }
}
