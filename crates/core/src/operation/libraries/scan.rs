//! The programs, libraries and links of a root, found by examining every object once (patchadm-shlibs(7), "The scan").
//!
//! Directories are walked level by level, several at a time, each through a descriptor that no symbolic link leads to. Only
//! regular files that a cache does not know are opened, and of most of them four bytes are read. Pseudo and network file
//! systems and roots inside the root are not entered, but named. What cannot be read is named and counted, and stops
//! nothing.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::stage::DIRECTORY;
use patchadm_libraries::cache::{FactsCache, FileKey, MountName};
use patchadm_libraries::elf::{self, ElfFacts, FilePieces};
use patchadm_libraries::{LibraryFile, LibraryTree};
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, RootError, Timestamp, side_by_side};
use patchadm_svr4::package::ObjectPath;

/// Directories of containers and images, whose programs load the libraries of their own roots.
const FOREIGN: [&str; 6] = [
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/machines",
    "/var/lib/lxc",
    "/var/lib/flatpak",
    "/snap",
];

/// The package database, where no program is started.
const DATABASE: &str = "/var/sadm";

/// The file systems (statfs(2)) that hold no programs, or hold them only across a network.
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

/// What to scan, and how.
#[derive(Clone, Copy)]
pub struct ScanRequest<'a> {
    /// The root.
    pub root: &'a Root,
    /// The paths that are skipped (`shlib_skip`).
    pub skip: &'a [PathGlob],
    /// The paths that are entered although they lie on a network file system or are roots of their own (`shlib_scan`).
    pub scan: &'a [ObjectPath],
    /// The known facts of files.
    pub known: &'a FactsCache,
    /// Returns the signal that asks the scan to end, if any. Called between directories.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

/// The result of a scan.
#[derive(Debug, Default)]
pub struct LibraryScan {
    /// The programs, libraries and links.
    pub tree: LibraryTree,
    /// The number of programs and libraries that are linked dynamically.
    pub scanned: u64,
    /// The files that were not understood, each with the reason, sorted.
    pub not_understood: Vec<(ObjectPath, String)>,
    /// The directories that were not entered, sorted.
    pub skipped: Vec<ObjectPath>,
    known: Vec<(FileKey, Option<Arc<ElfFacts>>)>,
    mounts: Vec<MountName>,
}

impl LibraryScan {
    /// Returns the facts of the files that are now known, for a scan that began at a moment.
    pub fn into_cache(self, began: Timestamp) -> FactsCache {
        FactsCache::new(self.mounts, self.known, began)
    }
}

/// The reason why a scan was given up.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The root itself cannot be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A signal arrived.
    #[error("interrupted by signal {0}")]
    Interrupted(i32),
}

/// A directory that is still to be entered.
struct NextDirectory {
    path: ObjectPath,
    status: ObjectStatus,
    /// The number of its mount.
    mount: u32,
}

/// A file or link as the scan found it.
enum Met {
    Link(ObjectPath, Vec<u8>),
    File { path: ObjectPath, inode: (u32, u64), key: Option<FileKey>, facts: Option<Arc<ElfFacts>> },
}

/// The result of one directory.
#[derive(Default)]
struct Entered {
    met: Vec<Met>,
    /// The files that are known to be no programs and no libraries.
    others: Vec<FileKey>,
    not_understood: Vec<(ObjectPath, String)>,
    skipped: Vec<ObjectPath>,
    next: Vec<NextDirectory>,
}

impl ScanRequest<'_> {
    /// Scans the root.
    pub fn scan(&self) -> Result<LibraryScan, ScanError> {
        let scanner = Scanner { request: self, mounts: Mutex::default() };
        let top = self.root.dir(&ObjectPath::root())?;
        let (status, magic) = (top.itself()?, top.file_system_magic()?);
        let mount = scanner.mount(&ObjectPath::root(), magic);
        let mut level = vec![NextDirectory { path: ObjectPath::root(), status, mount }];
        let mut gathered = Gathered::default();
        while !level.is_empty() {
            if let Some(signal) = (self.interrupt)() {
                return Err(ScanError::Interrupted(signal));
            }
            let entered = side_by_side(self.root.workers(), level.len(), || {
                let (level, scanner) = (&level, &scanner);
                move |at: usize| level.get(at).map(|directory| scanner.enter(directory)).unwrap_or_default()
            });
            level = entered.into_iter().flat_map(|entered| gathered.take(entered)).collect();
        }
        let mounts = scanner.mounts.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(gathered.finished(mounts))
    }
}

/// Walks the directories of a root.
struct Scanner<'a> {
    request: &'a ScanRequest<'a>,
    mounts: Mutex<Vec<MountName>>,
}

impl Scanner<'_> {
    /// Returns the number of a mount.
    fn mount(&self, path: &ObjectPath, magic: u64) -> u32 {
        let mut mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        mounts.push((path.clone(), format!("{magic:x}")));
        u32::try_from(mounts.len() - 1).unwrap_or(u32::MAX)
    }

    fn enter(&self, directory: &NextDirectory) -> Entered {
        let mut entered = Entered::default();
        if self.look_into(directory, &mut entered).is_err() {
            // It was removed, or may not be read.
            entered.skipped.push(directory.path.clone());
        }
        entered
    }

    fn look_into(&self, directory: &NextDirectory, entered: &mut Entered) -> Result<(), RootError> {
        let NextDirectory { path, mount, .. } = directory;
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
            // A name that was removed after the listing counts as removed before it.
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

    /// Tells whether a directory is a root of its own, or a stage of this program.
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

    fn meet_link(&self, dir: &Dir, name: &[u8], entered: &mut Entered) {
        let path = dir.path().join(name).ok().filter(|path| !self.is_skipped(path));
        let target = path.and_then(|path| Some((path, dir.read_link(name).ok()?)));
        entered.met.extend(target.map(|(path, target)| Met::Link(path, target)));
    }

    /// Plans to enter a directory, unless it is not entered.
    fn go_on(&self, above: &NextDirectory, name: &[u8], status: ObjectStatus, entered: &mut Entered) {
        let Ok(path) = above.path.join(name) else { return };
        if self.is_skipped(&path) {
            entered.skipped.push(path);
            return;
        }
        if status.mount == above.status.mount && status.file_system == above.status.file_system {
            entered.next.push(NextDirectory { path, status, mount: above.mount });
            return;
        }
        let magic =
            self.request.root.dir(&path).and_then(|dir| Ok((dir.itself()?, dir.file_system_magic()?)));
        match magic {
            Ok((status, magic)) if self.is_entered(&path, magic) => {
                let mount = self.mount(&path, magic);
                entered.next.push(NextDirectory { path, status, mount });
            }
            _ => entered.skipped.push(path),
        }
    }

    fn is_entered(&self, path: &ObjectPath, magic: u64) -> bool {
        self.request.scan.contains(path) || NOT_ENTERED.iter().all(|(known, _)| *known != magic)
    }

    /// Returns the number that a mount has in the cache.
    fn known_mount(&self, mount: u32) -> Option<u32> {
        let mounts = self.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        mounts.get(mount as usize).and_then(|name| self.request.known.mount(name))
    }

    /// Examines a regular file, unless it is known.
    fn meet(
        &self,
        dir: &Dir,
        name: &[u8],
        status: &ObjectStatus,
        (mount, known): (u32, Option<u32>),
        entered: &mut Entered,
    ) {
        let cached = known.and_then(|known| self.request.known.file(&FactsCache::key(known, status)?));
        let key = FactsCache::key(mount, status);
        if cached == Some(None) {
            // Anywhere in the root, it loads nothing and no file loads it.
            entered.others.extend(key);
            return;
        }
        let Some(path) = dir.path().join(name).ok().filter(|path| !self.is_skipped(path)) else { return };
        let inode = (mount, status.inode.number);
        if let Some(facts) = cached {
            entered.met.push(Met::File { path, inode, key, facts: facts.cloned() });
            return;
        }
        match read_facts(dir, name) {
            Ok((facts, status)) => {
                let key = FactsCache::key(mount, &status);
                entered.met.push(Met::File { path, inode, key, facts: facts.map(Arc::new) });
            }
            Err(reason) => entered.not_understood.push((path, reason)),
        }
    }
}

/// The number of attempts to read a file that changes meanwhile.
const TRIES: usize = 3;

/// Reads the facts of a file, with the status that it had before and after.
fn read_facts(dir: &Dir, name: &[u8]) -> Result<(Option<ElfFacts>, ObjectStatus), String> {
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

/// Tells whether a file begins like an ELF file.
pub(super) fn has_magic(file: &File) -> std::io::Result<bool> {
    let mut head = [0; elf::MAGIC.len()];
    match file.read_exact_at(&mut head, 0) {
        Ok(()) => Ok(head == elf::MAGIC),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The results so far.
#[derive(Default)]
struct Gathered {
    scan: LibraryScan,
    /// The files by mount and inode: two names of one file share an entry.
    files: HashMap<(u32, u64), Arc<LibraryFile>>,
}

impl Gathered {
    /// Adds the result of one directory. Returns the directories in it.
    fn take(&mut self, entered: Entered) -> Vec<NextDirectory> {
        self.scan.known.extend(entered.others.into_iter().map(|key| (key, None)));
        self.scan.not_understood.extend(entered.not_understood);
        self.scan.skipped.extend(entered.skipped);
        for met in entered.met {
            match met {
                Met::Link(path, target) => self.scan.tree.put_link(path, &target),
                Met::File { path, inode, key, facts } => {
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
