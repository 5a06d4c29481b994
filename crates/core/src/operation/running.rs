//! Files that processes run or map, from `/proc/PID/exe` and `map_files`. `maps` is the fallback without
//! `CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN`: its devices differ from stat(2) on btrfs and overlayfs.
//!
//! `var/sadm/patchadm/replaced` lists files that runs have replaced or deleted since boot (running system only):
//! processes may still use them.
//!
//! ```text
//! patchadm-replaced 1 BOOT-ID
//! PATH MAJOR:MINOR INODE SECONDS.NANOSECONDS       (birth; `-` if unknown)
//! ```
//!
//! A run writes it before any change, so that no interruption loses a file. It is advice: written without fsync,
//! believed only if nobody else may write it, and empty after a reboot.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::Serialize;

use crate::process::MappedFile;
use crate::script::boot_id;
use patchadm_changeset::plan::{Action, Plan};
use patchadm_rootfs::{
    Dir, FileType, Inode, ObjectStatus, ProcBounds, ProcLines, ProcReadError, Root, RootError, Stop,
    Timestamp, proc_text,
};
use patchadm_svr4::package::{Mode, ObjectPath, escape, unescape};
use patchadm_svr4::places;

pub(in crate::operation) const NOT_ALL_SEEN: &str = "some processes cannot be examined, so some programs that run replaced files may not be \
     named (requires CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN)";

const DELETED: &[u8] = b" (deleted)";

#[derive(Debug)]
pub(in crate::operation) struct ProcessFiles {
    /// `None` if it is hidden or missing.
    pub(in crate::operation) program: Option<UsedFile>,
    /// Each once, usually with the program itself.
    pub(in crate::operation) mapped: Vec<UsedFile>,
    pub(in crate::operation) is_hidden: bool,
    /// It has more mappings than can be read, so it may map anything.
    pub(in crate::operation) is_cut: bool,
}

/// For the mappings of all processes. Only a hostile process makes it take longer.
const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// Returns true after the time for a look at all processes, which begins now.
pub(in crate::operation) fn end_of_look() -> impl Fn() -> bool {
    let until = Instant::now() + LONGEST_LOOK;
    move || Instant::now() >= until
}

#[derive(Clone, Debug)]
pub(in crate::operation) struct UsedFile {
    /// In the root of the process; the last path of a nameless file.
    pub(in crate::operation) path: Vec<u8>,
    pub(in crate::operation) is_deleted: bool,
    pub(in crate::operation) number: u64,
    /// `None` if only number and path are known.
    pub(in crate::operation) status: Option<ObjectStatus>,
}

pub(in crate::operation) fn processes() -> Vec<(u32, PathBuf)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect();
    found.sort();
    found
}

impl ProcessFiles {
    /// `None` if it is gone, or a kernel thread.
    pub(in crate::operation) fn of(directory: &Path, stop: Stop<'_>) -> Option<Self> {
        let exe = directory.join("exe");
        let link = match fs::read_link(&exe) {
            Ok(link) => link.into_os_string().into_vec(),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                return Some(Self { program: None, mapped: Vec::new(), is_hidden: true, is_cut: false });
            }
            // A kernel thread has no program; a process that is gone has nothing.
            Err(_) => return None,
        };
        let program = Some(UsedFile::at(&link, &exe));
        let mut files = Self { program, mapped: Vec::new(), is_hidden: false, is_cut: false };
        match files.read_maps(directory, stop) {
            Ok(()) => {}
            Err(ProcReadError::Io(error)) => {
                files.is_hidden |= error.kind() == std::io::ErrorKind::PermissionDenied;
            }
            Err(_) => files.is_cut = true,
        }
        Some(files)
    }

    fn read_maps(&mut self, directory: &Path, stop: Stop<'_>) -> Result<(), ProcReadError> {
        let mut maps = ProcLines::open(&directory.join("maps"), ProcBounds::MAPPINGS, stop)?;
        let mut known = BTreeSet::new();
        while let Some(line) = maps.next_line()? {
            let Some(mapping) = MappedFile::of_line(line) else { continue };
            if !known.insert((mapping.device, mapping.number)) {
                continue;
            }
            let (path, is_deleted) = parted(mapping.path);
            let link = directory.join("map_files").join(mapping.range());
            let status = match ObjectStatus::behind(&link) {
                Ok(status) => Some(status),
                Err(error) => {
                    let may_not = matches!(error.errno(), Some(Errno::PERM | Errno::ACCESS));
                    self.is_hidden |= may_not;
                    // The path of an existing file leads to it in the process's root.
                    if is_deleted { None } else { in_root_of(directory, path).ok() }
                }
            };
            let (path, number) = (path.to_vec(), mapping.number);
            self.mapped.push(UsedFile { path, is_deleted, number, status });
        }
        Ok(())
    }

    pub(in crate::operation) fn all(&self) -> impl Iterator<Item = &UsedFile> {
        self.program.iter().chain(&self.mapped)
    }
}

impl UsedFile {
    fn at(link: &[u8], proc: &Path) -> Self {
        let status = ObjectStatus::behind(proc).ok();
        let (path, is_deleted) = parted(link);
        let number = status.as_ref().map_or(0, |status| status.inode.number);
        Self { path: path.to_vec(), is_deleted, number, status }
    }
}

fn in_root_of(directory: &Path, path: &[u8]) -> Result<ObjectStatus, RootError> {
    let relative = path.strip_prefix(b"/").unwrap_or(path);
    ObjectStatus::behind(&directory.join("root").join(std::ffi::OsStr::from_bytes(relative)))
}

fn parted(path: &[u8]) -> (&[u8], bool) {
    match path.strip_suffix(DELETED) {
        Some(path) => (path, true),
        None => (path, false),
    }
}

const NAME: &[u8] = b"replaced";

const PROGRAM: &str = "replaced";

const FORM: &str = "patchadm-replaced 1 ";

/// In bytes.
const LARGEST: u64 = 32 << 20;

const MOST: usize = 100_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::operation) struct ReplacedFile {
    pub(in crate::operation) path: ObjectPath,
    pub(in crate::operation) device: (u32, u32),
    pub(in crate::operation) inode: Inode,
}

/// The last replaced last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::operation) struct ReplacedFiles(pub(in crate::operation) Vec<ReplacedFile>);

impl ReplacedFiles {
    /// Empty unless it is the running system.
    pub(in crate::operation) fn of(root: &Root) -> Self {
        let read = || {
            let boot = boot_id().ok()?;
            let dir = directory(root)?;
            let status = dir.look(NAME).ok()??;
            let is_own = status.uid == 0 || status.uid == rustix::process::geteuid().as_raw();
            let is_private = status.mode.bits() & 0o022 == 0;
            if status.file_type != FileType::Regular || !is_own || !is_private {
                return None;
            }
            Some(Self::parse(&dir.read_regular(NAME, LARGEST).ok()??, &boot))
        };
        if root.is_system() { read().unwrap_or_default() } else { Self::default() }
    }

    /// Records the files that a plan is about to replace or delete. Returns them if a first run has no directory yet.
    pub(in crate::operation) fn remember(root: &Root, plan: &Plan) -> Vec<ReplacedFile> {
        if !root.is_system() {
            return Vec::new();
        }
        let goes = |action: &Action| matches!(action, Action::Replace(_) | Action::Delete);
        let going = plan.changes.iter().filter(|change| goes(&change.action));
        let going = going.filter_map(|change| {
            let physical = root.resolver().locate(&change.path).ok()?;
            ReplacedFile::at(root, physical)
        });
        Self::remember_files(root, going.collect())
    }

    pub(in crate::operation) fn remember_files(root: &Root, going: Vec<ReplacedFile>) -> Vec<ReplacedFile> {
        let (false, Ok(boot)) = (going.is_empty(), boot_id()) else { return Vec::new() };
        let Some(dir) = directory(root) else { return going };
        let mut all = Self::of(root);
        all.add(going);
        // A killed run may have left these.
        let _ = dir.remove_leftovers(PROGRAM);
        let _ = dir.replace_cache(PROGRAM, NAME, all.write(&boot).as_bytes(), Mode::of(0o600));
        Vec::new()
    }

    fn add(&mut self, going: Vec<ReplacedFile>) {
        let new: BTreeSet<(&ObjectPath, Inode)> = going.iter().map(|file| (&file.path, file.inode)).collect();
        self.0.retain(|file| !new.contains(&(&file.path, file.inode)));
        self.0.extend(going);
        self.0.drain(..self.0.len().saturating_sub(MOST));
    }

    fn write(&self, boot: &str) -> String {
        let mut text = format!("{FORM}{boot}\n");
        for ReplacedFile { path, device: (major, minor), inode } in &self.0 {
            let path = escape(path.as_bytes());
            let born = inode
                .born
                .map_or_else(|| "-".to_owned(), |born| format!("{}.{:09}", born.seconds, born.nanoseconds));
            let path = String::from_utf8_lossy(&path);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{path} {major}:{minor} {} {born}", inode.number);
        }
        text
    }

    fn parse(text: &[u8], boot: &str) -> Self {
        let mut lines = text.split(|&byte| byte == b'\n');
        let first = lines.next().unwrap_or_default();
        if first.strip_prefix(FORM.as_bytes()) != Some(boot.as_bytes()) {
            return Self::default();
        }
        Self(lines.filter_map(ReplacedFile::parse).collect())
    }
}

impl ReplacedFile {
    pub(in crate::operation) fn at(root: &Root, path: ObjectPath) -> Option<Self> {
        let dir = root.dir_if_there(&path.parent()?).ok()??;
        let ObjectStatus { file_type, file_system, inode, .. } = dir.look(path.name()).ok()??;
        (file_type == FileType::Regular).then_some(Self { path, device: file_system, inode })
    }

    pub(in crate::operation) fn is(&self, status: &ObjectStatus) -> bool {
        (status.file_system, status.inode) == (self.device, self.inode)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = std::str::from_utf8(line).ok()?.split(' ');
        let path = ObjectPath::new(&unescape(fields.next()?.as_bytes())).ok()?;
        let (major, minor) = fields.next()?.split_once(':')?;
        let number = fields.next()?.parse().ok()?;
        let born = match fields.next()? {
            "-" => None,
            text => {
                let (seconds, nanoseconds) = text.split_once('.')?;
                Some(Timestamp { seconds: seconds.parse().ok()?, nanoseconds: nanoseconds.parse().ok()? })
            }
        };
        let device = (major.parse().ok()?, minor.parse().ok()?);
        Some(Self { path, device, inode: Inode { number, born } })
    }
}

fn directory(root: &Root) -> Option<Dir> {
    let physical = root.resolver().locate_dir(&places::own_directory()).ok()?;
    root.dir_if_there(&physical).ok()?
}

#[derive(Debug, Default)]
pub(in crate::operation) struct WantedFiles {
    by_inode: HashMap<Inode, Vec<ReplacedFile>>,
    /// By inode number, for files without a known device.
    by_number: HashMap<u64, BTreeSet<ObjectPath>>,
}

impl WantedFiles {
    pub(in crate::operation) fn at<'p>(
        root: &Root,
        paths: impl IntoIterator<Item = &'p ObjectPath>,
        replaced: &ReplacedFiles,
    ) -> Self {
        let mut wanted = Self::default();
        let paths: BTreeSet<&ObjectPath> = paths.into_iter().collect();
        for path in &paths {
            if let Some(file) = ReplacedFile::at(root, (*path).clone()) {
                wanted.add(file);
            }
        }
        for file in replaced.0.iter().filter(|file| paths.contains(&file.path)) {
            wanted.by_number.entry(file.inode.number).or_default().insert(file.path.clone());
            wanted.add(file.clone());
        }
        wanted
    }

    pub(in crate::operation) fn replaced(replaced: &ReplacedFiles) -> Self {
        let mut wanted = Self::default();
        replaced.0.iter().cloned().for_each(|file| wanted.add(file));
        wanted
    }

    fn add(&mut self, file: ReplacedFile) {
        self.by_inode.entry(file.inode).or_default().push(file);
    }

    pub(in crate::operation) fn is_empty(&self) -> bool {
        self.by_inode.is_empty()
    }

    pub(in crate::operation) fn paths_of<'w>(
        &'w self,
        file: &'w UsedFile,
    ) -> Box<dyn Iterator<Item = &'w ObjectPath> + 'w> {
        match &file.status {
            Some(status) => {
                let found = self.by_inode.get(&status.inode).into_iter().flatten();
                Box::new(found.filter(|known| known.is(status)).map(|known| &known.path))
            }
            // Only a replaced file has no path.
            None if file.is_deleted => Box::new(self.by_number.get(&file.number).into_iter().flatten()),
            None => Box::new(std::iter::empty()),
        }
    }

    pub(in crate::operation) fn used_by<'f>(
        &self,
        files: impl IntoIterator<Item = &'f UsedFile>,
    ) -> BTreeSet<ObjectPath> {
        files.into_iter().flat_map(|file| self.paths_of(file).cloned().collect::<Vec<_>>()).collect()
    }
}

pub(in crate::operation) fn by_place<'p>(
    root: &Root,
    paths: impl IntoIterator<Item = &'p ObjectPath>,
) -> BTreeMap<ObjectPath, Vec<&'p ObjectPath>> {
    let resolver = root.resolver();
    let mut places: BTreeMap<ObjectPath, Vec<&ObjectPath>> = BTreeMap::new();
    for path in paths {
        let place = resolver.locate(path).unwrap_or_else(|_| path.clone());
        places.entry(place).or_default().push(path);
    }
    places
}

/// A process that uses a replaced object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsingProcess {
    pub process: u32,
    pub program: String,
    pub paths: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::operation) struct InUse {
    pub(in crate::operation) processes: Vec<UsingProcess>,
    pub(in crate::operation) note: Option<String>,
}

/// Programs that use files that the plan replaces, or that an earlier run replaced there, and need a restart. Only for
/// the running system, only advice: the superuser alone sees other users' processes.
pub(in crate::operation) fn in_use(root: &Root, plan: &Plan) -> InUse {
    in_use_of_each(root, &[plan]).pop().unwrap_or_default()
}

/// One pass over all processes serves all plans.
pub(super) fn in_use_of_each(root: &Root, plans: &[&Plan]) -> Vec<InUse> {
    let mut each: Vec<InUse> = plans.iter().map(|_| InUse::default()).collect();
    if !root.is_system() {
        return each;
    }
    let replaced = ReplacedFiles::of(root);
    let places: Vec<BTreeMap<_, _>> = plans.iter().map(|plan| by_place(root, taken_by(plan))).collect();
    let wanted = WantedFiles::at(root, places.iter().flat_map(BTreeMap::keys), &replaced);
    if wanted.is_empty() {
        return each;
    }
    let (stop, mut cut) = (end_of_look(), None);
    for (process, directory) in processes() {
        let Some(files) = ProcessFiles::of(&directory, &stop) else { continue };
        cut = cut.or(files.is_cut.then_some(process));
        let used = wanted.used_by(files.all());
        for (found, places) in each.iter_mut().zip(&places) {
            if files.is_hidden && !places.is_empty() {
                found.note = Some(NOT_ALL_SEEN.to_owned());
            }
            let own = used.iter().filter_map(|place| places.get(place)).flatten();
            let mut paths: Vec<String> = own.map(ToString::to_string).collect();
            paths.sort();
            if !paths.is_empty() {
                found.processes.push(UsingProcess { process, program: name_of(&directory), paths });
            }
        }
    }
    if let Some(process) = cut {
        for (found, _) in each.iter_mut().zip(&places).filter(|(_, places)| !places.is_empty()) {
            let note = format!(
                "process {process} maps more files than can be read, and may be running files that change"
            );
            found.note = Some(note);
        }
    }
    each
}

fn taken_by(plan: &Plan) -> impl Iterator<Item = &ObjectPath> {
    let changing =
        plan.changes.iter().filter(|change| matches!(change.action, Action::Replace(_) | Action::Delete));
    changing.map(|change| &change.path)
}

fn name_of(directory: &Path) -> String {
    proc_text(&directory.join("comm")).unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_of_a_file_without_a_path_is_no_part_of_it() {
        assert_eq!(
            parted(b"/usr/lib/with two blanks.so (deleted)"),
            (&b"/usr/lib/with two blanks.so"[..], true)
        );
        assert_eq!(parted(b"/usr/lib/x.so"), (&b"/usr/lib/x.so"[..], false));
    }

    #[test]
    fn this_process_uses_its_program_and_libraries() {
        let files = ProcessFiles::of(Path::new("/proc/self"), &|| false).unwrap();
        let program = files.program.as_ref().unwrap();
        let there = ObjectStatus::behind(&std::env::current_exe().unwrap()).unwrap();
        assert_eq!(program.status.as_ref().map(|status| status.inode), Some(there.inode));
        assert!(!program.is_deleted && files.mapped.iter().all(|file| file.status.is_some()));
        let inodes: BTreeSet<_> = files.all().filter_map(|file| Some(file.status.as_ref()?.inode)).collect();
        assert!(inodes.contains(&there.inode));
    }

    #[test]
    fn a_process_that_maps_more_than_is_read_may_map_anything() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/usr/bin/program", dir.path().join("exe")).unwrap();
        let line = b"7f00-7f01 r--p 00000000 00:1f 5 /usr/lib/a\xff (deleted)\n".to_vec();
        fs::write(dir.path().join("maps"), &line).unwrap();
        let files = ProcessFiles::of(dir.path(), &|| false).unwrap();
        assert!(!files.is_cut);
        assert_eq!((files.mapped.len(), files.mapped[0].is_deleted, files.mapped[0].number), (1, true, 5));
        fs::write(dir.path().join("maps"), [line, vec![b'a'; 1 << 20]].concat()).unwrap();
        let files = ProcessFiles::of(dir.path(), &|| false).unwrap();
        assert_eq!((files.is_cut, files.mapped.len()), (true, 1));
    }

    fn file(path: &[u8], number: u64, born: Option<i64>) -> ReplacedFile {
        let born = born.map(|seconds| Timestamp { seconds, nanoseconds: 7 });
        ReplacedFile { path: ObjectPath::new(path).unwrap(), device: (8, 1), inode: Inode { number, born } }
    }

    #[test]
    fn what_is_written_is_read_in_the_same_boot_only() {
        let all =
            ReplacedFiles(vec![file(b"/opt/a b", 17, Some(1_577_836_800)), file(b"/opt/\xff", 18, None)]);
        let text = all.write("boot-1");
        assert!(
            text.starts_with("patchadm-replaced 1 boot-1\n/opt/a\\040b 8:1 17 1577836800.000000007\n"),
            "{text}"
        );
        let readable = ReplacedFiles::parse(text.as_bytes(), "boot-1");
        assert_eq!(readable.0[0], all.0[0]);
        assert_eq!(ReplacedFiles::parse(text.as_bytes(), "boot-2"), ReplacedFiles::default());
        for odd in [
            "patchadm-replaced 1 boot-1\n/a\n/b 1:2 x -\nc 1:2 3 -\n/d 1 2 -\n\n",
            "",
            "patchadm-replaced 2 boot-1\n/a 1:2 3 -\n",
        ] {
            assert_eq!(ReplacedFiles::parse(odd.as_bytes(), "boot-1"), ReplacedFiles::default(), "{odd}");
        }
    }

    #[test]
    fn a_file_is_remembered_once_and_the_oldest_are_forgotten() {
        let mut all = ReplacedFiles(vec![file(b"/a", 1, None), file(b"/b", 2, None)]);
        all.add(vec![file(b"/a", 1, None), file(b"/a", 3, None)]);
        let numbers: Vec<u64> = all.0.iter().map(|file| file.inode.number).collect();
        assert_eq!(numbers, [2, 1, 3]);
        all.add((0..MOST as u64).map(|number| file(b"/c", 10 + number, None)).collect());
        assert_eq!((all.0.len(), all.0[0].inode.number), (MOST, 10));
    }
}
