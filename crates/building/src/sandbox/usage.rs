//! Resources of a sandbox: disk space, memory, processor time, unlinked files, memory files, shared segments.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use patchadm_core::namespaces::{IpcList, open_ipc_list};
use patchadm_core::process::MappedFile;
use patchadm_rootfs::{
    Descent, Dir, FileType, ObjectStatus, ProcBounds, ProcLines, ProcReadError, RootError, Stop, proc_text,
};
use rustix::io::Errno;

use crate::tree_copy::{HeldNames, PER_DIRECTORY, names_up_to};

const LEAST: u64 = 4096;

/// Deepest level examined: in a bind mount the way back takes time by the square of the depth.
const DEEPEST: usize = 4096;

/// The most names of a directory that are looked at. Further names of one file take no blocks of their own.
const MOST_NAMES: usize = 2 << 20;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsedSpace {
    pub(crate) bytes: u64,
    /// The first directory that is unreadable, or too large to be read, and could contain anything. Starts with
    /// the name of its top directory.
    pub(crate) closed: Option<String>,
}

/// Objects removed meanwhile do not count.
pub(crate) fn space_of(directories: &[PathBuf]) -> UsedSpace {
    space_up_to(directories, u64::MAX, &|| false)
}

/// Stops counting above `most`, or when it is asked to.
pub(crate) fn space_up_to(directories: &[PathBuf], most: u64, stop: Stop<'_>) -> UsedSpace {
    space_within(directories, most, HeldNames::new(), stop)
}

fn space_within(directories: &[PathBuf], most: u64, held: HeldNames, stop: Stop<'_>) -> UsedSpace {
    let mut walk = SpaceWalk { used: UsedSpace::default(), seen_files: BTreeSet::new(), held, most, stop };
    for top in directories {
        let Ok(dir) = Dir::of_host(top) else { continue };
        if walk.add(top, &dir).is_err() {
            walk.used.closed.get_or_insert_with(|| shown(top, &dir));
        }
    }
    walk.used
}

struct SpaceWalk<'a> {
    used: UsedSpace,
    seen_files: BTreeSet<((u32, u32), u64)>,
    /// The names of directories on all levels, and the seen files.
    held: HeldNames,
    most: u64,
    stop: Stop<'a>,
}

/// The bytes that a seen file takes.
const PER_FILE: usize = 64;

impl SpaceWalk<'_> {
    fn is_over(&self) -> bool {
        self.used.bytes > self.most || (self.stop)()
    }

    /// Fails if a directory was moved meanwhile and the way back is lost.
    fn add(&mut self, top: &Path, dir: &Dir) -> Result<(), RootError> {
        let mut descent = Descent::below(dir);
        let mut rest = vec![self.look_at(top, dir)];
        while let Some(directories) = rest.last_mut() {
            if self.is_over() {
                break;
            }
            let Some(name) = directories.pop() else {
                rest.pop();
                descent.leave()?;
                continue;
            };
            self.held.give_back(name.len() + PER_DIRECTORY);
            let below = match descent.here().dir(&name) {
                Ok(below) => below,
                Err(error) => {
                    if error.is_refused_access() {
                        let name = String::from_utf8_lossy(&name);
                        let closed = || format!("{}/{name}", shown(top, descent.here()));
                        self.used.closed.get_or_insert_with(closed);
                    }
                    continue;
                }
            };
            if rest.len() >= DEEPEST {
                self.used.closed.get_or_insert_with(|| shown(top, descent.here()));
                continue;
            }
            rest.push(self.look_at(top, &below));
            descent.enter(&name, below)?;
        }
        Ok(())
    }

    /// A file with several names counts for each if there are too many such files to remember.
    fn is_new(&mut self, seen: &ObjectStatus) -> bool {
        let file = (seen.file_system, seen.inode.number);
        !self.seen_files.contains(&file) && (!self.held.try_take(PER_FILE) || self.seen_files.insert(file))
    }

    /// Counts a directory's objects and returns its subdirectories.
    fn look_at(&mut self, top: &Path, dir: &Dir) -> Vec<Vec<u8>> {
        let mut directories = Vec::new();
        let names = names_up_to(dir, MOST_NAMES).unwrap_or_else(|_| Some(Vec::new()));
        if names.is_none() {
            self.used.closed.get_or_insert_with(|| shown(top, dir));
        }
        for name in names.unwrap_or_default() {
            let Ok(Some(seen)) = dir.look(&name) else { continue };
            let is_directory = seen.file_type == FileType::Directory;
            if is_directory || seen.links < 2 || self.is_new(&seen) {
                self.used.bytes += seen.allocated.max(LEAST);
            }
            if is_directory {
                if self.held.try_take(name.len() + PER_DIRECTORY) {
                    directories.push(name);
                } else {
                    self.used.closed.get_or_insert_with(|| shown(top, dir));
                }
            }
            if self.is_over() {
                break;
            }
        }
        directories
    }
}

fn shown(top: &Path, dir: &Dir) -> String {
    let name = top.file_name().unwrap_or_default().to_string_lossy();
    if dir.path().relative().is_empty() { name.into_owned() } else { format!("{name}{}", dir.path()) }
}

/// Usage of all descendants of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ProcessUsage {
    /// Each by the id of its first task that has not ended.
    pub(super) processes: Vec<u32>,
    /// All tasks: processes and further threads.
    pub(super) tasks: u64,
    /// Resident and swapped anonymous memory with page tables, in bytes.
    pub(super) anonymous: u64,
    /// Resident mapped memory files, in bytes; shared pages count for each process.
    pub(super) shared: u64,
    /// Maximum of one process.
    pub(super) longest: Duration,
}

const MOST: usize = 1 << 17;

/// Ignores a process that ends meanwhile. Stops counting when it is asked to.
pub(super) fn usage_below(process: u32, stop: Stop<'_>) -> ProcessUsage {
    let mut usage = ProcessUsage::default();
    let mut open = children(process);
    while let Some(process) = open.pop().filter(|_| !stop()) {
        let (task, [anonymous, shared]) = living_task(process).unwrap_or((process, [0; 2]));
        usage.processes.push(task);
        usage.tasks += tasks_of(process).len().max(1) as u64;
        usage.anonymous += anonymous;
        usage.shared += shared;
        usage.longest = usage.longest.max(processor_time_of(process));
        if usage.processes.len() >= MOST {
            break;
        }
        open.extend(children(process));
    }
    usage
}

fn processor_time_of(process: u32) -> Duration {
    let stat = text_of(Path::new(&format!("/proc/{process}/stat")));
    // The bracketed program name may have blanks; user and system time are the 12th and 13th field after it.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split_ascii_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second().max(1))
}

fn children(process: u32) -> Vec<u32> {
    let lists = tasks_of(process).into_iter().map(|task| {
        let list = text_of(Path::new(&format!("/proc/{process}/task/{task}/children")));
        list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()
    });
    lists.flatten().collect()
}

pub(super) fn tasks_of(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

/// Returns the first task of a process that has not ended, with its resident memory. The others share its memory and,
/// inside a sandbox, its open files. A first thread that has ended has neither, and hides them in `/proc/PID`.
fn living_task(process: u32) -> Option<(u32, [u64; 2])> {
    let with_memory = |task: u32| Some((task, memory_of(task)?));
    with_memory(process).or_else(|| tasks_of(process).into_iter().find_map(with_memory))
}

/// `None` after the end of the task.
fn memory_of(task: u32) -> Option<[u64; 2]> {
    memory_in(&text_of(Path::new(&format!("/proc/{task}/status"))))
}

/// Returns resident, swapped and huge anonymous pages with page tables, and resident shared memory, without reserved memory
/// and mapped disk files. A process may swap out its own memory at any time (`MADV_PAGEOUT`).
fn memory_in(status: &str) -> Option<[u64; 2]> {
    let bytes = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(value.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.saturating_mul(1024))
    };
    let others = ["VmPTE:", "VmSwap:", "HugetlbPages:"].map(|name| bytes(name).unwrap_or_default());
    Some([others.into_iter().fold(bytes("RssAnon:")?, u64::saturating_add), bytes("RssShmem:")?])
}

/// Returns the text of a short file in `/proc`, empty if it is gone.
pub(super) fn text_of(path: &Path) -> String {
    proc_text(path).unwrap_or_default()
}

/// The files of a sandbox cannot be counted: it has too many, or their paths are too long, or the look was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Uncountable;

/// Ignores a process that has ended.
fn unless_overrun<T: Default>(looked: Result<T, ProcReadError>) -> Result<T, Uncountable> {
    match looked {
        Err(error) if error.is_overrun() => Err(Uncountable),
        looked => Ok(looked.unwrap_or_default()),
    }
}

type DeviceInode = (u64, u64);

/// File systems in memory, by their statfs(2) type.
const OF_MEMORY: [i64; 3] = [0x0102_1994, 0x8584_58f6, 0x9584_58f6];

/// Overlayfs stores its files in the upper layer.
const OVERLAY: i64 = 0x794c_7630;

/// Names of mapped memory files without a directory entry.
const MAPPED_MEMORY: [&str; 4] = ["/memfd:", SEGMENT, "/dev/zero (deleted)", "/dev/shm/"];

const SEGMENT: &str = "/SYSV";

/// Unlinked disk files and memory files of processes, each once, with sizes; and their sockets.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    disk: BTreeMap<DeviceInode, u64>,
    memory: BTreeMap<DeviceInode, u64>,
    /// Disk files whose size is unknown beyond the mapped part.
    partly: BTreeSet<DeviceInode>,
    /// Numbers of open files that were sent into a socket and not yet received. They belong to no process.
    sockets: BTreeMap<DeviceInode, u64>,
    /// A memory file has more extended attributes than can be listed.
    is_uncountable: bool,
    mappings: u64,
}

impl OpenFiles {
    /// Files on the file systems of `written` are disk files.
    pub(super) fn of(processes: &[u32], written: &[PathBuf], stop: Stop<'_>) -> Result<Self, Uncountable> {
        let file_systems = written.iter().filter_map(|path| Some(fs::metadata(path).ok()?.dev())).collect();
        let mut files = Self::default();
        for process in processes {
            let process = Path::new("/proc").join(process.to_string());
            for open in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
                if stop() {
                    return Err(Uncountable);
                }
                let link = open.path();
                let Ok(seen) = fs::metadata(&link) else { continue };
                if seen.file_type().is_socket() {
                    let info = process.join("fdinfo").join(open.file_name());
                    if let Entry::Vacant(sent) = files.sockets.entry((seen.dev(), seen.ino())) {
                        sent.insert(files_in_socket(&info, stop)?);
                    }
                } else {
                    files.take(&link, &seen, &file_systems);
                }
            }
            // The kernel keeps a program open even if it has unmapped itself.
            let program = process.join("exe");
            if let Some(seen) = fs::metadata(&program).ok().filter(|seen| seen.nlink() == 0) {
                files.take(&program, &seen, &file_systems);
            }
            unless_overrun(files.take_mapped(&process, &file_systems, stop))?;
        }
        if files.is_uncountable { Err(Uncountable) } else { Ok(files) }
    }

    /// Adds files of an earlier look, with their last size, that may be in sockets now. A file that is only mapped has
    /// the size that it had while it was open.
    pub(super) fn with_earlier(mut self, earlier: Self) -> Self {
        for id in &self.partly {
            if let (Some(bytes), Some(last)) = (self.disk.get_mut(id), earlier.disk.get(id)) {
                *bytes = (*bytes).max(*last);
            }
        }
        if self.in_sockets() > 0 {
            for (id, bytes) in earlier.disk {
                self.disk.entry(id).or_insert(bytes);
            }
            for (id, bytes) in earlier.memory {
                self.memory.entry(id).or_insert(bytes);
            }
        }
        self
    }

    /// Returns the number of open files in sockets.
    pub(super) fn in_sockets(&self) -> u64 {
        self.sockets.values().fold(0, |all, sent| all.saturating_add(*sent))
    }

    /// Returns true if some files may be larger than they seem, or are not seen at all.
    pub(super) fn hides_files(&self) -> bool {
        self.in_sockets() > 0 || !self.partly.is_empty()
    }

    pub(super) fn on_disk(&self) -> u64 {
        self.disk.values().sum()
    }

    pub(super) fn in_memory(&self) -> u64 {
        self.memory.values().sum()
    }

    /// Returns the memory of the kernel that describes all mappings.
    pub(super) fn of_mappings(&self) -> u64 {
        self.mappings.saturating_mul(PER_MAPPING)
    }

    /// Adds the file behind a link in `/proc`.
    fn take(&mut self, link: &Path, seen: &fs::Metadata, file_systems: &BTreeSet<u64>) {
        if !seen.is_file() {
            return;
        }
        let (id, bytes) = ((seen.dev(), seen.ino()), seen.blocks().saturating_mul(512));
        let magic = || rustix::fs::statfs(link).map_or(0, |system| system.f_type);
        if file_systems.contains(&seen.dev()) {
            if seen.nlink() == 0 {
                self.disk.insert(id, bytes);
            }
        } else if OF_MEMORY.contains(&magic()) {
            if let Entry::Vacant(new) = self.memory.entry(id) {
                let attributes = memory_of_attributes(link);
                self.is_uncountable |= attributes.is_none();
                new.insert(bytes.saturating_add(attributes.unwrap_or_default()));
            }
        } else if seen.nlink() == 0 && magic() == OVERLAY {
            self.disk.insert(id, bytes);
        }
    }

    /// Adds unlinked disk files that a process maps, and its mappings.
    fn take_mapped(
        &mut self,
        process: &Path,
        file_systems: &BTreeSet<u64>,
        stop: Stop<'_>,
    ) -> Result<(), ProcReadError> {
        let mut maps = ProcLines::open(&process.join("maps"), ProcBounds::MAPPINGS, stop)?;
        while let Some(line) = maps.next_line()? {
            self.mappings += 1;
            let Some(mapped) = MappedFile::of_line(line) else { continue };
            let id = id(&mapped);
            let is_open = self.disk.contains_key(&id) && !self.partly.contains(&id);
            if is_open
                || self.memory.contains_key(&id)
                || !mapped.path.ends_with(b" (deleted)")
                || is_memory(&mapped)
            {
                continue;
            }
            let link = process.join("map_files").join(mapped.range());
            if let Ok(seen) = fs::metadata(&link) {
                self.take(&link, &seen, file_systems);
            } else {
                // Only root may look behind it, and the device may be that of an overlay. The file is at least as long
                // as its mapped part.
                self.partly.insert(id);
                let longest = self.disk.entry(id).or_default();
                *longest = (*longest).max(mapped.file_end());
            }
        }
        Ok(())
    }

    /// Returns the resident size of mapped memory files that no process has open. Segments may be counted elsewhere.
    pub(super) fn mapped_memory(
        &self,
        processes: &[u32],
        without_segments: bool,
        stop: Stop<'_>,
    ) -> Result<u64, Uncountable> {
        let mut bytes = 0_u64;
        for process in processes {
            unless_overrun(self.add_mapped_memory(*process, without_segments, stop, &mut bytes))?;
        }
        Ok(bytes)
    }

    fn add_mapped_memory(
        &self,
        process: u32,
        without_segments: bool,
        stop: Stop<'_>,
        bytes: &mut u64,
    ) -> Result<(), ProcReadError> {
        let path = PathBuf::from(format!("/proc/{process}/smaps"));
        let mut mappings = ProcLines::open(&path, ProcBounds::MAPPINGS, stop)?;
        let mut counts = false;
        while let Some(line) = mappings.next_line()? {
            let field = |name: &str| {
                let value = str::from_utf8(line).ok()?.strip_prefix(name)?.trim();
                value.strip_suffix(" kB")?.parse::<u64>().ok()
            };
            // A mapping starts with addresses, its fields with capitals.
            if line.first().is_some_and(|letter| letter.is_ascii_digit() || letter.is_ascii_lowercase()) {
                let is_meant = |mapped: MappedFile<'_>| {
                    is_memory(&mapped)
                        && !self.memory.contains_key(&id(&mapped))
                        && !(without_segments && mapped.path.starts_with(SEGMENT.as_bytes()))
                };
                counts = MappedFile::of_line(line).is_some_and(is_meant);
            } else if let Some(share) = field("Pss:").filter(|_| counts) {
                *bytes = bytes.saturating_add(share.saturating_mul(1024));
            } else if let Some(own) = field("Anonymous:").filter(|_| counts) {
                // A private copy counts as memory of the process.
                *bytes = bytes.saturating_sub(own.saturating_mul(1024));
            }
        }
        Ok(())
    }
}

/// `XATTR_LIST_MAX` and `XATTR_SIZE_MAX`.
const LONGEST_NAMES: usize = 65_536;
const LONGEST_VALUE: usize = 65_536;

/// Returns the memory of a memory file's extended attributes, which are no blocks of it; `None` if they cannot be listed.
fn memory_of_attributes(link: &Path) -> Option<u64> {
    let mut names = vec![0_u8; LONGEST_NAMES];
    let length = match rustix::fs::listxattr(link, &mut *names) {
        Ok(length) => length,
        Err(Errno::TOOBIG | Errno::RANGE) => return None,
        // It is gone, or has none.
        Err(_) => return Some(0),
    };
    let names = names.get(..length).unwrap_or_default().split(|&byte| byte == 0);
    // A user sets no others.
    let sizes = names.filter(|name| name.starts_with(b"user.")).map(|name| {
        let size = match rustix::fs::getxattr_query(link, name) {
            Ok(size) => size,
            Err(Errno::NODATA) => 0,
            Err(_) => LONGEST_VALUE,
        };
        // The kernel takes powers of two.
        size.saturating_add(PER_ATTRIBUTE).next_power_of_two() as u64
    });
    Some(sizes.fold(0, u64::saturating_add))
}

/// The bytes that the kernel takes for an attribute without its value.
const PER_ATTRIBUTE: usize = 128;

/// Linux before 5.5 does not tell.
fn files_in_socket(info: &Path, stop: Stop<'_>) -> Result<u64, Uncountable> {
    let number =
        |line: &[u8]| str::from_utf8(line.strip_prefix(b"scm_fds:")?).ok()?.trim().parse::<u64>().ok();
    let lines = ProcLines::open(info, ProcBounds::DESCRIPTOR, stop).map_err(ProcReadError::from);
    Ok(unless_overrun(lines.and_then(|lines| lines.find(number)))?.unwrap_or_default())
}

fn id(mapped: &MappedFile<'_>) -> DeviceInode {
    (rustix::fs::makedev(mapped.device.0, mapped.device.1), mapped.number)
}

fn is_memory(mapped: &MappedFile<'_>) -> bool {
    MAPPED_MEMORY.iter().any(|begin| mapped.path.starts_with(begin.as_bytes()))
}

/// Bytes that the kernel takes for a mapping, with or without pages.
const PER_MAPPING: u64 = 256;

const MOST_NAMESPACES: usize = 256;

const LONGEST_LIST: u64 = 16 << 20;

/// A sandbox's lists by IPC namespace, as far as they can be opened.
#[derive(Debug, Default)]
pub(super) struct IpcLists(BTreeMap<OsString, Vec<(IpcList, File)>>);

/// Memory of System V objects, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct IpcMemory {
    /// `None` if no list is readable.
    pub(super) segments: Option<u64>,
    /// Of semaphores and messages.
    pub(super) others: u64,
}

impl IpcLists {
    /// Returns the memory of everything that these processes with so many tasks see. `maker` made their sandbox.
    pub(super) fn in_memory(&mut self, maker: u32, processes: &[u32], tasks: u64) -> IpcMemory {
        let own = namespace_of("self");
        let mut seen = BTreeMap::new();
        for process in processes {
            let Some(namespace) = namespace_of(&process.to_string()).filter(|one| Some(one) != own.as_ref())
            else {
                continue;
            };
            if seen.len() < MOST_NAMESPACES {
                seen.entry(namespace).or_insert(*process);
            }
        }
        // An open list keeps its namespace alive.
        self.0.retain(|namespace, _| seen.contains_key(namespace));
        for (namespace, process) in seen {
            self.0.entry(namespace).or_insert_with(|| {
                let all = [IpcList::Segments, IpcList::Semaphores, IpcList::Queues];
                all.into_iter()
                    .filter_map(|list| Some((list, open_ipc_list(list, maker, process).ok()?)))
                    .collect()
            });
        }
        let mut memory = IpcMemory::default();
        for (list, file) in self.0.values_mut().flatten() {
            let Ok(text) = read_list(file) else { continue };
            let bytes = bytes_of(*list, &text, tasks);
            match list {
                IpcList::Segments => {
                    memory.segments = Some(memory.segments.unwrap_or_default().saturating_add(bytes));
                }
                IpcList::Semaphores | IpcList::Queues => memory.others = memory.others.saturating_add(bytes),
            }
        }
        memory
    }
}

fn namespace_of(process: &str) -> Option<OsString> {
    fs::read_link(Path::new("/proc").join(process).join("ns/ipc")).ok().map(Into::into)
}

fn read_list(list: &mut File) -> io::Result<String> {
    let mut text = String::new();
    list.rewind()?;
    list.take(LONGEST_LIST).read_to_string(&mut text)?;
    Ok(text)
}

/// Bytes that the kernel takes at least for a set of semaphores or a queue, and for a semaphore or the head of a message.
const PER_IPC_OBJECT: u64 = 256;
const PER_IPC_PART: u64 = 64;

fn bytes_of(list: IpcList, text: &str, tasks: u64) -> u64 {
    let of_line = |line: &str| {
        let mut fields = line.split_ascii_whitespace().map(|field| field.parse::<u64>().unwrap_or(0));
        let parts = |number: u64| number.saturating_mul(PER_IPC_PART).saturating_add(PER_IPC_OBJECT);
        match list {
            // Resident and swapped bytes.
            IpcList::Segments => fields.rev().take(2).fold(0, u64::saturating_add),
            IpcList::Semaphores => {
                let number = fields.nth(3).unwrap_or(0);
                // Each task may have an adjustment of each semaphore (`SEM_UNDO`).
                let of_task = number.saturating_mul(2).saturating_add(PER_IPC_PART);
                parts(number).saturating_add(of_task.saturating_mul(tasks))
            }
            // The bytes of all messages, and their number.
            IpcList::Queues => {
                let bytes = fields.nth(3).unwrap_or(0);
                parts(fields.next().unwrap_or(0)).saturating_add(bytes)
            }
        }
    };
    text.lines().skip(1).map(of_line).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Write as _};
    use std::mem::MaybeUninit;
    use std::os::fd::{AsFd as _, BorrowedFd};
    use std::os::unix::net::UnixStream;
    use std::process::{Child, Command, Stdio};

    use patchadm_svr4::package::Mode;
    use rustix::fs::MemfdFlags;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

    use super::*;

    #[test]
    fn a_file_with_two_names_counts_once_and_those_below_directories_count() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        let space = || space_of(&[dir.path().to_owned()]).bytes;
        let empty = space();
        fs::write(below.join("file"), vec![1; 100_000]).unwrap();
        let one = space();
        assert!(one >= empty + 100_000, "{one}");
        fs::hard_link(below.join("file"), dir.path().join("again")).unwrap();
        assert_eq!(space(), one);
    }

    #[test]
    fn more_directories_than_a_walk_remembers_count_as_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..20 {
            fs::create_dir_all(dir.path().join(format!("{number:02}/below"))).unwrap();
        }
        let top = [dir.path().to_owned()];
        let closed = |directories: usize| {
            space_within(&top, u64::MAX, HeldNames::up_to(directories * 300), &|| false).closed
        };
        assert_eq!(closed(21), None);
        assert!(closed(10).is_some());
    }

    #[test]
    fn what_lies_deeper_than_any_path_leads_counts() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let top = Dir::of_host(dir.path()).unwrap();
        let (mut here, name) = (top.again().unwrap(), [b'd'; 250]);
        for _ in 0..40 {
            here = here.make_dir(&name, Mode::of(0o755)).unwrap();
        }
        let before = space_of(&[dir.path().to_owned()]);
        here.create(b"file").unwrap().put(&vec![1; 1 << 20]).unwrap();
        let after = space_of(&[dir.path().to_owned()]);
        assert!(after.bytes >= before.bytes + (1 << 20), "{before:?} {after:?}");
        assert_eq!(after.closed, None);
        top.remove_tree(&name).unwrap();
    }

    #[test]
    fn what_is_deeper_than_any_build_nests_counts_as_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let top = Dir::of_host(dir.path()).unwrap();
        let mut here = top.make_dir(b"d", Mode::of(0o755)).unwrap();
        for _ in 0..DEEPEST {
            here = here.make_dir(b"d", Mode::of(0o755)).unwrap();
        }
        assert!(space_of(&[dir.path().to_owned()]).closed.is_some());
        assert_eq!(space_of(&[dir.path().join("d/d/d")]).closed, None);
        top.remove_tree(b"d").unwrap();
    }

    #[test]
    fn what_has_no_blocks_counts_as_one() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..100 {
            fs::write(dir.path().join(format!("file{number}")), "").unwrap();
            std::os::unix::fs::symlink("x", dir.path().join(format!("link{number}"))).unwrap();
        }
        assert!(space_of(&[dir.path().to_owned()]).bytes >= 200 * LEAST);
        let counted = space_up_to(&[dir.path().to_owned()], 10 * LEAST, &|| false).bytes;
        assert!(
            counted > 10 * LEAST && counted < 100 * LEAST,
            "more than the limit is not counted: {counted}"
        );
    }

    #[test]
    fn the_processes_below_one_count_with_theirs() {
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", "sleep 30 & cat; kill $!"]).stdin(Stdio::piped()).spawn().unwrap();
        let mut usage = ProcessUsage::default();
        for _ in 0..500 {
            usage = usage_below(shell.id(), &|| false);
            if usage.processes.len() == 2 && usage.anonymous > 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(usage.processes.len(), 2);
        assert!(usage.anonymous > 0);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(usage_below(shell.id(), &|| false), ProcessUsage::default());
    }

    /// Starts a shell that runs the script, prints a word, and waits until [`end`].
    fn shell(script: &str, directory: &Path) -> Child {
        let mut shell = Command::new("sh")
            .args(["-c", &format!("{script}\necho done\ncat > /dev/null")])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 5];
        io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut said).unwrap();
        shell
    }

    fn end(mut shell: Child) {
        drop(shell.stdin.take());
        shell.wait().unwrap();
    }

    /// Starts a shell that runs this command in the background, with its arguments, until [`end`].
    fn shell_above(command: &[&str], directory: &Path) -> Child {
        let mut shell = Command::new("sh");
        shell.args(["-c", "\"$0\" \"$@\" & read line; kill $!"]).args(command).current_dir(directory);
        shell.stdin(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn a_process_counts_whatever_the_bytes_of_its_name_are() {
        let dir = tempfile::tempdir().unwrap();
        let script = r"printf 'a\377' > /proc/$$/comm; while :; do :; done";
        let shell = shell_above(&["sh", "-c", script], dir.path());
        let has_name = |process: &u32| {
            fs::read(format!("/proc/{process}/comm")).is_ok_and(|name| name.starts_with(b"a\xff"))
        };
        let mut usage = ProcessUsage::default();
        for _ in 0..500 {
            if children(shell.id()).iter().any(has_name) {
                usage = usage_below(shell.id(), &|| false);
            }
            if usage.anonymous > 0 && usage.longest > Duration::ZERO {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        end(shell);
        assert!(usage.anonymous > 0 && usage.longest > Duration::ZERO, "{usage:?}");
    }

    /// Opens a file without a name, starts a second thread, and ends the first one by `exit`, whose number is an argument.
    const ENDS_FIRST_THREAD: &str = "open(my $f, '+>', 'x') or die; unlink 'x'; $| = 1; print $f 'x' x 300_000; \
        $f->flush; threads->create(sub { sleep 60 }); syscall($ARGV[0] + 0);";

    #[test]
    fn a_process_whose_first_thread_has_ended_still_counts() {
        let perl = ["perl", "-Mthreads", "-MIO::Handle", "-e"];
        let has_threads = Command::new("perl").args(&perl[1..]).arg("1").status();
        if !has_threads.is_ok_and(|status| status.success()) {
            return;
        }
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let exit = if cfg!(target_arch = "x86_64") { "60" } else { "93" };
        let shell = shell_above(&[&perl[..], &[ENDS_FIRST_THREAD, exit]].concat(), dir.path());
        let mut usage = ProcessUsage::default();
        for _ in 0..500 {
            usage = usage_below(shell.id(), &|| false);
            if usage.processes.len() == 1 && usage.processes != children(shell.id()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let files = OpenFiles::of(&usage.processes, &[dir.path().to_owned()], &|| false).unwrap();
        end(shell);
        assert!(usage.anonymous > 0, "{usage:?}");
        assert_eq!(usage.tasks, 2, "the first thread is kept until the others end");
        assert!((300_000..400_000).contains(&files.on_disk()), "{usage:?} {files:?}");
    }

    #[test]
    fn memory_that_describes_reserved_addresses_counts() {
        const LENGTH: usize = 1 << 34;
        let dir = tempfile::tempdir().unwrap();
        let perl = Command::new("perl").args(["-e", "1"]).status();
        if !perl.is_ok_and(|status| status.success()) || !cfg!(target_arch = "x86_64") {
            return;
        }
        // Reads one byte of each 2 MiB: all are the same page of zeros, but each takes a table of its own.
        let script = "my $a = syscall(9, 0, $ARGV[0] + 0, 1, 0x4022, -1, 0); pipe(my $r, my $w); \
            for (my $n = 0; $n < $ARGV[0]; $n += 2 << 20) { syscall(1, fileno($w), $a + $n, 1); sysread($r, my $b, 1) } \
            sleep 60";
        let shell = shell_above(&["perl", "-e", script, &LENGTH.to_string()], dir.path());
        let expected = (LENGTH >> 21) as u64 * 4096;
        let mut usage = ProcessUsage::default();
        for _ in 0..1000 {
            usage = usage_below(shell.id(), &|| false);
            if usage.anonymous >= expected {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        end(shell);
        assert!(usage.anonymous >= expected, "{usage:?}");
    }

    #[test]
    fn a_program_without_a_name_counts_with_all_of_its_file() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let script = "cp \"$(command -v cat)\" cat; head -c 1000000 /dev/zero >> cat; exec ./cat";
        let mut program = Command::new("sh")
            .args(["-c", script])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        program.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        io::Read::read_exact(program.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        fs::remove_file(dir.path().join("cat")).unwrap();
        let files = OpenFiles::of(&[program.id()], &[dir.path().to_owned()], &|| false).unwrap();
        end(program);
        assert!(files.on_disk() >= 1_000_000, "{files:?}");
    }

    #[test]
    fn files_without_a_name_count_while_they_are_open_and_each_once() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let script =
            "exec 3> a 4> b 5> c; exec 6>&4; rm a b; for n in 3 4 5; do head -c 300000 /dev/zero >&$n; done";
        let shell = shell(script, dir.path());
        let files = OpenFiles::of(&[shell.id()], &[dir.path().to_owned()], &|| false).unwrap();
        assert_eq!(files.disk.len(), 2, "{files:?}");
        assert!((600_000..700_000).contains(&files.on_disk()), "{files:?}");
        end(shell);
    }

    #[test]
    fn a_file_in_memory_counts_whether_it_is_mapped_or_only_open() {
        let file = rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(file);
        file.write_all(&vec![1; 1 << 20]).unwrap();
        let again = file.try_clone().unwrap();
        let seen = file.metadata().unwrap();
        let own = [std::process::id()];
        let files = OpenFiles::of(&own, &[], &|| false).unwrap();
        assert_eq!(files.memory.get(&(seen.dev(), seen.ino())), Some(&(1 << 20)));
        assert!(files.in_memory() >= 1 << 20);
        drop((file, again));
        assert!(!OpenFiles::of(&own, &[], &|| false).unwrap().memory.contains_key(&(seen.dev(), seen.ino())));
    }

    #[test]
    fn attributes_of_a_file_in_memory_count_and_more_than_can_be_listed_are_uncountable() {
        let file = File::from(rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        let set = |name: String, value: &[u8]| {
            rustix::fs::fsetxattr(&file, name, value, rustix::fs::XattrFlags::empty())
        };
        if set("user.first".to_owned(), &vec![1; 60_000]).is_err() {
            println!("skipped: memory files have no attributes here");
            return;
        }
        let link = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
        assert_eq!(memory_of_attributes(&link), Some(1 << 16));
        set("user.second".to_owned(), b"").unwrap();
        assert_eq!(memory_of_attributes(&link), Some((1 << 16) + 128));
        for number in 0..300 {
            set(format!("user.{number:0>240}"), b"").unwrap();
        }
        assert_eq!(memory_of_attributes(&link), None);
        assert_eq!(memory_of_attributes(Path::new("/proc/self/fd/none")), Some(0));
    }

    #[test]
    fn each_mapping_counts_with_or_without_pages() {
        let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
        let maps = PathBuf::from(format!("/proc/{}/maps", sleeper.id()));
        // It may still be loading.
        let is_steady = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let lines = text_of(&maps).lines().count() as u64;
            let counted = OpenFiles::of(&[sleeper.id()], &[], &|| false).unwrap().of_mappings();
            lines > 0 && counted == lines * PER_MAPPING
        });
        assert!(is_steady);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
    }

    #[test]
    fn memory_that_was_swapped_out_and_huge_pages_count() {
        let status = "Name:\tsh\nVmPTE:\t      40 kB\nVmSwap:\t    5000 kB\nRssAnon:\t     100 kB\n\
            RssFile:\t    7000 kB\nRssShmem:\t      30 kB\nHugetlbPages:\t    2048 kB\n";
        assert_eq!(memory_in(status), Some([7188 << 10, 30 << 10]));
        assert_eq!(memory_in("Name:\tsh\nState:\tZ (zombie)\n"), None);
    }

    /// A perl that makes nested directories, maps a file in the innermost one, says so, and waits for its standard input.
    const MAPS_DEEP: &str = "for (1..$ARGV[0]) { my $name = 'd' x 250; mkdir $name or die; chdir $name or die } \
        open(my $f, '+>', 'x') or die; truncate($f, 4096); \
        syscall(9, 0, 4096, 1, 1, fileno($f), 0) > 0 or die; syswrite(STDOUT, 'x'); sysread(STDIN, my $end, 1)";

    #[test]
    fn a_mapped_file_with_an_endless_path_makes_files_uncountable_and_a_look_ends_when_it_is_asked_to() {
        let perl = Command::new("perl").args(["-e", "1"]).status();
        if !perl.is_ok_and(|status| status.success()) || !cfg!(target_arch = "x86_64") {
            return;
        }
        for (depth, is_countable) in [(4, true), (400, false)] {
            let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
            let mut perl = Command::new("perl");
            perl.args(["-e", MAPS_DEEP, &depth.to_string()]).current_dir(dir.path());
            let mut perl = perl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            io::Read::read_exact(perl.stdout.as_mut().unwrap(), &mut [0]).unwrap();
            let (processes, written) = ([perl.id()], [dir.path().to_owned()]);
            let files = OpenFiles::of(&processes, &written, &|| false);
            assert_eq!(files.is_ok(), is_countable, "{depth}");
            assert_eq!(
                OpenFiles::default().mapped_memory(&processes, false, &|| false).is_ok(),
                is_countable,
                "{depth}"
            );
            assert_eq!(OpenFiles::of(&processes, &written, &|| true).unwrap_err(), Uncountable);
            assert_eq!(space_up_to(&written, u64::MAX, &|| true).closed, None);
            end(perl);
            Dir::of_host(dir.path()).unwrap().remove_tree(&[b'd'; 250]).unwrap();
            let gone = OpenFiles::of(&processes, &written, &|| false);
            assert!(gone.is_ok_and(|files| files.disk.is_empty()), "a process that has ended has no files");
        }
    }

    #[test]
    fn a_file_that_is_only_mapped_is_as_large_as_while_it_was_open_and_may_be_larger() {
        let files = |bytes, is_partly_known: bool| OpenFiles {
            disk: BTreeMap::from([((1, 2), bytes)]),
            partly: is_partly_known.then_some((1, 2)).into_iter().collect(),
            ..OpenFiles::default()
        };
        let (open, mapped) = (files(1 << 30, false), files(4096, true));
        assert!(!open.hides_files() && mapped.hides_files());
        let still = mapped.with_earlier(open);
        assert_eq!(still.on_disk(), 1 << 30);
        assert_eq!(files(4096, true).with_earlier(still).on_disk(), 1 << 30);
        let again = files(8192, false).with_earlier(files(1 << 30, true));
        assert_eq!(again.on_disk(), 8192, "it is open again, and shorter");
    }

    fn send(socket: &UnixStream, files: [BorrowedFd<'_>; 2]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&files)));
        rustix::net::sendmsg(socket, &[IoSlice::new(b"x")], &mut ancillary, SendFlags::empty()).unwrap();
    }

    #[test]
    fn files_in_a_socket_count_with_their_last_size_until_no_socket_has_any() {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let (own, written) = ([std::process::id()], [dir.path().to_owned()]);
        let mut disk = tempfile::tempfile_in(dir.path()).unwrap();
        disk.write_all(&vec![1; 300_000]).unwrap();
        let mut memory = File::from(rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        memory.write_all(&vec![1; 300_000]).unwrap();
        let [on_disk, in_memory] = [&disk, &memory].map(|file| {
            let seen = file.metadata().unwrap();
            (seen.dev(), seen.ino())
        });
        let look =
            |earlier: OpenFiles| OpenFiles::of(&own, &written, &|| false).unwrap().with_earlier(earlier);
        let sizes =
            |files: &OpenFiles| [files.disk.get(&on_disk).copied(), files.memory.get(&in_memory).copied()];

        let (sends, receives) = UnixStream::pair().unwrap();
        let open = look(OpenFiles::default());
        let expected = sizes(&open);
        assert!(expected.iter().all(|size| size.is_some_and(|size| size >= 300_000)), "{expected:?}");
        assert_eq!(open.in_sockets(), 0);

        send(&sends, [disk.as_fd(), memory.as_fd()]);
        drop((disk, memory));
        let sent = look(open);
        assert_eq!((sent.in_sockets(), sizes(&sent)), (2, expected));
        let still = look(sent);
        assert_eq!((still.in_sockets(), sizes(&still)), (2, expected));
        assert_eq!(sizes(&look(OpenFiles::default())), [None; 2], "they are nobody's");

        drop((sends, receives));
        let closed = look(still);
        assert_eq!((closed.in_sockets(), sizes(&closed)), (0, [None; 2]));
    }

    #[test]
    fn a_mapped_file_in_memory_is_told_by_its_name() {
        let line = b"7f1000-7f3000 rw-s 00001000 00:01 1234                       /memfd:a b (deleted)";
        let mapped = MappedFile::of_line(line).unwrap();
        assert_eq!(id(&mapped), (1, 1234));
        assert!(is_memory(&mapped));
        assert!(!is_memory(&MappedFile { path: b"/usr/lib/x.so (deleted)", ..mapped }));
    }

    #[test]
    fn what_is_resident_or_swapped_counts_and_what_is_only_reserved_does_not() {
        let list = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n         0          0   600              16777216    10    10      0  1234  1234  1234  1234          1          1          1              16777216                  4096\n         0          1   600            1099511627776    10    10      0  1234  1234  1234  1234          0          0          1                     0                     0\n";
        assert_eq!(bytes_of(IpcList::Segments, list, 5), (16 << 20) + 4096);
        assert_eq!(bytes_of(IpcList::Segments, "", 5), 0);
    }

    #[test]
    fn semaphores_and_messages_that_nobody_uses_count() {
        let sets = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n         0          0   600      32000  1234  1234  1234  1234          0 1764399000\n         0          1   600          1  1234  1234  1234  1234          0 1764399000\n";
        assert_eq!(bytes_of(IpcList::Semaphores, sets, 0), 32_001 * 64 + 2 * 256);
        let with_adjustments = 32_001 * (64 + 3 * 2) + 2 * (256 + 3 * 64);
        assert_eq!(bytes_of(IpcList::Semaphores, sets, 3), with_adjustments);
        let queues = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n         0          0   600       16384          2    10     0  1234  1234  1234  1234 1764399000          0 1764399000\n";
        assert_eq!(bytes_of(IpcList::Queues, queues, 5), 16_384 + 2 * 64 + 256);
    }
}
