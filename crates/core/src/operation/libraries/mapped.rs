//! Processes of the running system that have mapped libraries that a plan removes.
//!
//! Processes are examined only for the root of the running system. A process counts if its program file stays: if its
//! program is removed too, the process runs a removed file anyway. Only the superuser sees the processes of other users.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use patchadm_libraries::decision::{OtherConsumer, OtherSource};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;

/// A file by the device and inode that `/proc/PID/maps` names.
type FileId = (u64, u64, u64);

/// Returns the programs that have mapped one of these libraries, by physical path. `stays` tells whether the file of a
/// program exists after the plan.
pub(super) fn mapped_by(
    root: &Root,
    libraries: &BTreeSet<ObjectPath>,
    stays: impl Fn(&ObjectPath) -> bool,
) -> BTreeMap<ObjectPath, BTreeSet<OtherConsumer>> {
    let mut mapped: BTreeMap<ObjectPath, BTreeSet<OtherConsumer>> = BTreeMap::new();
    if !root.is_system() || libraries.is_empty() {
        return mapped;
    }
    let files: HashMap<FileId, &ObjectPath> =
        libraries.iter().filter_map(|path| Some((file_id(path)?, path))).collect();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let directory = entry.path();
        if !is_of_this_root(&directory) {
            continue;
        }
        let Some(program) = program_of(&directory).filter(|program| stays(program)) else { continue };
        let Ok(maps) = fs::read(directory.join("maps")) else { continue };
        let ids: BTreeSet<FileId> = maps.split(|byte| *byte == b'\n').filter_map(id_of_line).collect();
        for path in ids.iter().filter_map(|id| files.get(id)) {
            let consumer = OtherConsumer { path: program.clone(), source: OtherSource::Mapped(process) };
            mapped.entry((*path).clone()).or_default().insert(consumer);
        }
    }
    mapped
}

fn file_id(path: &ObjectPath) -> Option<FileId> {
    let found = fs::symlink_metadata(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()))).ok()?;
    let device = found.dev();
    Some((u64::from(rustix::fs::major(device)), u64::from(rustix::fs::minor(device)), found.ino()))
}

/// Tells whether a process has the same root as this one. Otherwise it is in a container or behind chroot(2).
fn is_of_this_root(directory: &Path) -> bool {
    let identity = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    identity(&directory.join("root")).is_some_and(|root| Some(root) == identity(Path::new("/")))
}

fn program_of(directory: &Path) -> Option<ObjectPath> {
    let program = fs::read_link(directory.join("exe")).ok()?;
    ObjectPath::new(program.as_os_str().as_bytes()).ok()
}

/// Reads device and inode of a line of `/proc/PID/maps` (proc(5)).
fn id_of_line(line: &[u8]) -> Option<FileId> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).skip(3);
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let (major, minor) = text()?.split_once(':')?;
    let inode: u64 = text()?.parse().ok()?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    (inode != 0).then_some((number(major)?, number(minor)?, inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_names_device_and_inode() {
        let line = b"7f1c2a000000-7f1c2a022000 r--p 00000000 fe:01 1835032    /usr/lib/libc.so.6 (deleted)";
        assert_eq!(id_of_line(line), Some((0xfe, 1, 1_835_032)));
        for other in [&b"7ffd1 rw-p 00000000 00:00 0 [stack]"[..], b"", b"a b c d e", b"\xff"] {
            assert_eq!(id_of_line(other), None);
        }
    }

    #[test]
    fn who_has_a_library_mapped_is_named_while_its_program_stays() {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mut library = maps.lines().filter_map(|line| line.split_ascii_whitespace().nth(5));
        let Some(library) = library.find(|path| path.contains(".so")) else { return };
        let library = ObjectPath::new(fs::canonicalize(library).unwrap().as_os_str().as_bytes()).unwrap();
        let root = Root::open(Path::new("/")).unwrap();
        let all = BTreeSet::from([library.clone()]);
        let own = OtherSource::Mapped(std::process::id());
        let found = mapped_by(&root, &all, |_| true);
        assert!(found[&library].iter().any(|consumer| consumer.source == own));
        assert!(mapped_by(&root, &all, |_| false).is_empty());
    }
}
