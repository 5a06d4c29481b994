//! Finds programs, libraries and links (patchadm-shlibs(7), "The scan"). Pseudo and network file systems and nested
//! roots are named, not entered; unreadable objects stop nothing. The cache (patchadm-elf-cache(5)) is trusted only if
//! nobody else may write it; it is written without fsync.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::stage::DIRECTORY;
use patchadm_libraries::cache::{CacheKey, LARGEST, MountName};
use patchadm_libraries::elf::{self, ElfFacts, FilePieces};
use patchadm_libraries::{ConfigFiles, FactsCache, LibraryFile, LibraryTree, LoaderSettings};
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, RootError, Timestamp, side_by_side};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

/// Containers and images load libraries of their own roots.
const FOREIGN: [&str; 6] = [
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/machines",
    "/var/lib/lxc",
    "/var/lib/flatpak",
    "/snap",
];

/// No program starts there.
const DATABASE: &str = "/var/sadm";

/// File systems (statfs(2)) without programs, or across a network.
const NOT_ENTERED: [(u64, &str); 17] = [
    (0x9fa0, "proc"),
    (0x6265_6572, "sysfs"),
    (0x0027_e0eb, "cgroup"),
    (0x6367_7270, "cgroup2"),
    (0x1cd1, "devpts"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0xcafe_4a11, "bpf"),
    (0x6165_676c, "pstore"),
    (0xde5e_81e4, "efivarfs"),
    (0x1980_0202, "mqueue"),
    (0x9584_58f6, "hugetlbfs"),
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb2"),
    (0x6573_5546, "fuse"),
];

#[derive(Clone, Copy)]
pub struct ScanRequest<'a> {
    pub root: &'a Root,
    /// Skipped (`shlib_skip`).
    pub skip: &'a [PathGlob],
    /// Entered although on a network file system or a root of their own (`shlib_scan`).
    pub scan: &'a [ObjectPath],
    pub known: &'a FactsCache,
    /// Returns the signal that asks the scan to end, if any.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

#[derive(Debug, Default)]
pub struct LibraryScan {
    pub tree: LibraryTree,
    /// Dynamically linked programs and libraries.
    pub scanned: u64,
    /// With reasons, sorted.
    pub not_understood: Vec<(ObjectPath, String)>,
    /// Not entered, sorted.
    pub skipped: Vec<ObjectPath>,
    known: Vec<(CacheKey, Option<Arc<ElfFacts>>)>,
    mounts: Vec<MountName>,
}

impl LibraryScan {
    /// `began` is the start of the scan.
    pub fn into_cache(self, began: Timestamp) -> FactsCache {
        FactsCache::new(self.mounts, self.known, began)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

struct DirectoryToScan {
    path: ObjectPath,
    status: ObjectStatus,
    mount: u32,
}

enum ScannedObject {
    Link(ObjectPath, Vec<u8>),
    File { path: ObjectPath, inode: (u32, u64), key: Option<CacheKey>, facts: Option<Arc<ElfFacts>> },
}

#[derive(Default)]
struct ScannedDirectory {
    met: Vec<ScannedObject>,
    others: Vec<CacheKey>,
    not_understood: Vec<(ObjectPath, String)>,
    skipped: Vec<ObjectPath>,
    next: Vec<DirectoryToScan>,
}

impl ScanRequest<'_> {
    pub fn scan(&self) -> Result<LibraryScan, ScanError> {
        let scanner = Scanner { request: self, mounts: Mutex::default() };
        let top = self.root.dir(&ObjectPath::root())?;
        let (status, magic) = (top.itself()?, top.file_system_magic()?);
        let mount = scanner.mount(&ObjectPath::root(), magic);
        let mut level = vec![DirectoryToScan { path: ObjectPath::root(), status, mount }];
        let mut results = ScanResults::default();
        while !level.is_empty() {
            if let Some(signal) = (self.interrupt)() {
                return Err(ScanError::Interrupted(signal));
            }
            let entered = side_by_side(self.root.workers(), level.len(), || {
                let (level, scanner) = (&level, &scanner);
                move |at: usize| level.get(at).map(|directory| scanner.enter(directory)).unwrap_or_default()
            });
            level = entered.into_iter().flat_map(|entered| results.take(entered)).collect();
        }
        let mounts = scanner.mounts.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(results.finished(mounts))
    }
}

struct Scanner<'a> {
    request: &'a ScanRequest<'a>,
    mounts: Mutex<Vec<MountName>>,
}

impl Scanner<'_> {
    fn mount(&self, path: &ObjectPath, magic: u64) -> u32 {
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        mounts.push((path.clone(), format!("{magic:x}")));
        u32::try_from(mounts.len() - 1).unwrap_or(u32::MAX)
    }

    fn enter(&self, directory: &DirectoryToScan) -> ScannedDirectory {
        let mut entered = ScannedDirectory::default();
        if self.look_into(directory, &mut entered).is_err() {
            // It was removed, or is unreadable.
            entered.skipped.push(directory.path.clone());
        }
        entered
    }

    fn look_into(
        &self,
        directory: &DirectoryToScan,
        entered: &mut ScannedDirectory,
    ) -> Result<(), RootError> {
        let DirectoryToScan { path, mount, .. } = directory;
        let mut dir = self.request.root.dir(path)?;
        let listing = dir.first_listing()?;
        if self.is_foreign(&dir, &listing)? {
            entered.skipped.push(path.clone());
            return Ok(());
        }
        let mount = (*mount, self.known_mount(*mount));
        for (name, listed) in listing {
            if listed == Some(FileType::Symlink) {
                self.meet_link(&dir, &name, entered);
                continue;
            }
            // Removed after the listing.
            let Ok(Some(status)) = dir.look(&name) else { continue };
            match status.file_type {
                FileType::Directory => self.go_on(directory, &name, status, entered),
                FileType::Symlink => self.meet_link(&dir, &name, entered),
                FileType::Regular => self.meet(&dir, &name, &status, mount, entered),
                _ => {}
            }
        }
        Ok(())
    }

    /// True for a root of its own, or a stage of this program.
    fn is_foreign(&self, dir: &Dir, listing: &[(Vec<u8>, Option<FileType>)]) -> Result<bool, RootError> {
        let has = |name: &[u8]| listing.binary_search_by(|(known, _)| known[..].cmp(name)).is_ok();
        if *dir.path() == ObjectPath::root() || self.request.scan.contains(dir.path()) {
            return Ok(false);
        }
        if has(DIRECTORY) {
            return Ok(true);
        }
        let is_there = |parts: &[&[u8]]| -> Result<bool, RootError> {
            let (Some(last), above) = (parts.last(), parts.iter().rev().skip(1).rev()) else {
                return Ok(false);
            };
            let mut at = dir.again()?;
            for part in above {
                if at.look(part)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
                    return Ok(false);
                }
                at = at.dir(part)?;
            }
            Ok(at.look(last)?.is_some())
        };
        Ok(has(b"etc") && is_there(&[b"etc", b"ld.so.cache"])?
            || has(b"var") && is_there(&[b"var", b"sadm", b"pkg"])?)
    }

    fn is_skipped(&self, path: &ObjectPath) -> bool {
        let request = self.request;
        if request.scan.contains(path) {
            return false;
        }
        let mut built_in = FOREIGN.iter().chain([&DATABASE]);
        built_in.any(|known| known.as_bytes() == path.as_bytes())
            || request.skip.iter().any(|glob| glob.names(path))
    }

    fn meet_link(&self, dir: &Dir, name: &[u8], entered: &mut ScannedDirectory) {
        let path = dir.path().join(name).ok().filter(|path| !self.is_skipped(path));
        let target = path.and_then(|path| Some((path, dir.read_link(name).ok()?)));
        entered.met.extend(target.map(|(path, target)| ScannedObject::Link(path, target)));
    }

    fn go_on(
        &self,
        above: &DirectoryToScan,
        name: &[u8],
        status: ObjectStatus,
        entered: &mut ScannedDirectory,
    ) {
        let Ok(path) = above.path.join(name) else { return };
        if self.is_skipped(&path) {
            entered.skipped.push(path);
            return;
        }
        if status.mount == above.status.mount && status.file_system == above.status.file_system {
            entered.next.push(DirectoryToScan { path, status, mount: above.mount });
            return;
        }
        let magic =
            self.request.root.dir(&path).and_then(|dir| Ok((dir.itself()?, dir.file_system_magic()?)));
        match magic {
            Ok((status, magic)) if self.is_entered(&path, magic) => {
                let mount = self.mount(&path, magic);
                entered.next.push(DirectoryToScan { path, status, mount });
            }
            _ => entered.skipped.push(path),
        }
    }

    fn is_entered(&self, path: &ObjectPath, magic: u64) -> bool {
        self.request.scan.contains(path) || NOT_ENTERED.iter().all(|(known, _)| *known != magic)
    }

    fn known_mount(&self, mount: u32) -> Option<u32> {
        let mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        mounts.get(mount as usize).and_then(|name| self.request.known.mount(name))
    }

    fn meet(
        &self,
        dir: &Dir,
        name: &[u8],
        status: &ObjectStatus,
        (mount, known): (u32, Option<u32>),
        entered: &mut ScannedDirectory,
    ) {
        let cached = known.and_then(|known| self.request.known.file(&FactsCache::key(known, status)?));
        let key = FactsCache::key(mount, status);
        if cached == Some(None) {
            // Neither program nor library, wherever it is.
            entered.others.extend(key);
            return;
        }
        let Some(path) = dir.path().join(name).ok().filter(|path| !self.is_skipped(path)) else { return };
        let inode = (mount, status.inode.number);
        if let Some(facts) = cached {
            entered.met.push(ScannedObject::File { path, inode, key, facts: facts.cloned() });
            return;
        }
        match facts_of(dir, name) {
            Ok((facts, status)) => {
                let key = FactsCache::key(mount, &status);
                entered.met.push(ScannedObject::File { path, inode, key, facts: facts.map(Arc::new) });
            }
            Err(reason) => entered.not_understood.push((path, reason)),
        }
    }
}

/// A file may change while it is read.
const TRIES: usize = 3;

fn facts_of(dir: &Dir, name: &[u8]) -> Result<(Option<ElfFacts>, ObjectStatus), String> {
    let told = |error: RootError| error.to_string();
    for _ in 0..TRIES {
        let (file, before) = dir.open_file(name).map_err(told)?;
        let facts = if has_magic(&file).map_err(|error| error.to_string())? {
            elf::read(&mut FilePieces::new(&file))
        } else {
            Ok(None)
        };
        if matches!(facts, Ok(None)) {
            return Ok((None, before));
        }
        let after = ObjectStatus::of(&file, || dir.root().show(&dir.at(name))).map_err(told)?;
        if (before.size, before.mtime, before.ctime) == (after.size, after.mtime, after.ctime) {
            return facts.map(|facts| (facts, before)).map_err(|error| error.to_string());
        }
    }
    Err("it is being written".to_owned())
}

pub(super) fn has_magic(file: &File) -> std::io::Result<bool> {
    let mut head = [0; elf::MAGIC.len()];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => Ok(head == elf::MAGIC),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[derive(Default)]
struct ScanResults {
    scan: LibraryScan,
    /// By mount and inode, for hard links.
    files: HashMap<(u32, u64), Arc<LibraryFile>>,
}

impl ScanResults {
    fn take(&mut self, entered: ScannedDirectory) -> Vec<DirectoryToScan> {
        self.scan.known.extend(entered.others.into_iter().map(|key| (key, None)));
        self.scan.not_understood.extend(entered.not_understood);
        self.scan.skipped.extend(entered.skipped);
        for met in entered.met {
            match met {
                ScannedObject::Link(path, target) => self.scan.tree.put_link(path, &target),
                ScannedObject::File { path, inode, key, facts } => {
                    self.scan.known.extend(key.map(|key| (key, facts.clone())));
                    let Some(facts) = facts else { continue };
                    self.scan.scanned += 1;
                    let file =
                        self.files.entry(inode).or_insert_with(|| Arc::new(LibraryFile { facts })).clone();
                    self.scan.tree.put_file(path, file);
                }
            }
        }
        entered.next
    }

    fn finished(self, mounts: Vec<MountName>) -> LibraryScan {
        let mut scan = self.scan;
        scan.not_understood.sort();
        scan.skipped.sort();
        scan.mounts = mounts;
        scan
    }
}

/// In bytes.
const LARGEST_SETTINGS: u64 = 1 << 20;

struct RootConfigFiles<'a>(&'a Root);

impl ConfigFiles for RootConfigFiles<'_> {
    fn content(&self, path: &ObjectPath) -> Option<Vec<u8>> {
        let physical = self.0.resolver().locate_dir(path).ok()?;
        let dir = self.0.dir_if_there(&physical.parent()?).ok()??;
        dir.read_regular(physical.name(), LARGEST_SETTINGS).ok()?
    }

    fn names(&self, directory: &ObjectPath) -> Vec<Vec<u8>> {
        let physical = self.0.resolver().locate_dir(directory).ok();
        let dir = physical.and_then(|physical| self.0.dir_if_there(&physical).ok()?);
        dir.and_then(|dir| dir.names().ok()).unwrap_or_default()
    }
}

/// Unreadable settings count as empty.
pub fn loader_settings(root: &Root) -> LoaderSettings {
    LoaderSettings::read(&RootConfigFiles(root))
}

const CACHE: &[u8] = b"elf.cache";

const PROGRAM: &str = "elf-cache";

fn directory(root: &Root) -> Option<Dir> {
    let physical = root.resolver().locate_dir(&places::own_directory()).ok()?;
    root.dir_if_there(&physical).ok()?
}

/// A defective cache counts as empty.
pub(in crate::operation) fn known_files(root: &Root) -> FactsCache {
    directory(root).map(|dir| read_facts(&dir, CACHE)).unwrap_or_default()
}

/// A file that others may write, or a defective one, counts as empty.
pub fn read_facts(dir: &Dir, name: &[u8]) -> FactsCache {
    let read = || {
        let status = dir.look(name).ok()??;
        let is_own = status.uid == 0 || status.uid == rustix::process::geteuid().as_raw();
        let is_private = status.mode.bits() & 0o022 == 0;
        if status.file_type != FileType::Regular || !is_own || !is_private {
            return None;
        }
        Some(FactsCache::parse(&dir.read_regular(name, LARGEST).ok()??))
    };
    read().unwrap_or_default()
}

pub(super) fn write_known_files(root: &Root, cache: &FactsCache) {
    if let Some(dir) = directory(root) {
        write_facts(&dir, CACHE, cache);
    }
}

/// A failed write costs only time.
pub fn write_facts(dir: &Dir, name: &[u8], facts: &FactsCache) {
    // A killed run may have left these.
    let _ = dir.remove_leftovers(PROGRAM);
    let _ = dir.replace_cache(PROGRAM, name, &facts.write(), Mode::of(0o600));
}
