//! Undo data as files: old objects stay in undo directories. Each step can be repeated.
//!
//! - Before publication: a file stays only if nobody else can write to it by another name; otherwise it is copied.
//! - After the switch: a process may still have it open for writing. Such files are found in /proc and replaced by
//!   copies; for processes that the caller cannot see, the digest reveals later writes. A process that has more mappings
//!   than can be read counts as one that can write to each file.
//! - After the commit: one rename makes an undo directory of a stage's objects, durable before the journal says `done`,
//!   which lets the stage be removed. A run that removes or replaces `undo.files` drops the objects named there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::archive_file::UnboundArchive;
use crate::format::journal::{
    Identity, Journal, JournalArchive, NotedDigest, Op, OpKind, RunOutcome, StoredFiles,
};
use crate::format::manifest::{ObjectRecord, UndoManifest, encode};
use crate::format::undo_files;
use crate::format::undo_files::{
    IDENTITIES, StoredIdentity, StoredName, UNDO, UndoFiles, run_of_directory, stage_of, undo_directory,
};
use crate::plan::{Plan, UndoArchive, UndoFormat};
use crate::stored_file::{StoredFile, StoredFileError, open_undo_directory};
use crate::transaction::archive::undo_archive::{ArchiveInput, OldObjects, StoredObjects};
use crate::transaction::error::Cause;
use crate::transaction::objects::copies::copy_summed;
use crate::transaction::objects::names::{Dirs, RenameSupport};
use crate::transaction::settings::RunWatch;
use crate::transaction::stage::domains::{FoundStage, HOLDER, OpenDomains, drop_holder, open_own};
use crate::transaction::stage::layout::{LayoutItem, StageLayout};
use crate::transaction::stage::staged_versions::stored_version;
use crate::transaction::switch::op_runner::OpRunner;
use patchadm_rootfs::{
    Dir, FileType, Inode, InterruptibleRead, ProcBounds, ProcLines, ProcReadError, Root, Stop,
};
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::package::{Mode, ObjectPath};

pub(crate) fn store_objects(
    plan: &Plan,
    (run, domains, layout): (&str, &OpenDomains, &StageLayout<'_>),
    material: ArchiveInput<'_>,
    watch: RunWatch<'_>,
) -> Result<BTreeMap<usize, StoredObjects>, Cause> {
    let is_files = |undo: &&UndoArchive| undo.format == UndoFormat::Files;
    if !plan.archives().any(|undo| is_files(&undo)) {
        return Ok(BTreeMap::new());
    }
    let directories = UndoFiles::of(run, domains.iter().map(|domain| &domain.entry.stage));
    let directories = directories.ok_or_else(|| Cause::Internal("a stage has no name".to_owned()))?;
    let moved = moved_names(layout);
    let mut storing = ObjectStore { domains, layout, moved, taken: BTreeSet::new(), copies: 0 };
    let mut all = BTreeMap::new();
    for (index, undo) in plan.undo.iter().enumerate().filter(|(_, undo)| is_files(undo)) {
        let mut names = BTreeMap::new();
        let mut old = OldObjects::of(material, undo, "undo directory", watch);
        for (entry, path) in undo.saved.iter().filter(|(entry, _)| entry.object.ftype.is_regular()) {
            let name = match storing.staged_name(undo, path)? {
                Some(name) => name,
                None => storing.copy(&mut old, path, entry)?,
            };
            names.insert(path.clone(), name);
        }
        all.insert(index, StoredObjects { directories: directories.clone(), names });
    }
    Ok(all)
}

fn moved_names(layout: &StageLayout<'_>) -> HashMap<Inode, u64> {
    let mut moved = HashMap::new();
    for item in layout.items.iter().filter(|item| is_moved(item)) {
        if let Some(old) = &item.op.old {
            *moved.entry(old.inode).or_default() += 1;
        }
    }
    moved
}

fn is_moved(item: &LayoutItem<'_>) -> bool {
    let Op { kind, db, .. } = &item.op;
    matches!(kind, OpKind::Replace | OpKind::Delete) && !db && item.inside.is_none() && item.tree.is_none()
}

struct ObjectStore<'a, 'p> {
    domains: &'a OpenDomains,
    layout: &'a StageLayout<'p>,
    moved: HashMap<Inode, u64>,
    taken: BTreeSet<StoredName>,
    copies: usize,
}

impl ObjectStore<'_, '_> {
    /// `None` if it must be copied.
    fn staged_name(&mut self, undo: &UndoArchive, path: &ObjectPath) -> Result<Option<StoredName>, Cause> {
        if let Some(version) = undo.passing.get(path) {
            let missing =
                || Cause::Internal(format!("the version of {path} that is to be saved is not staged"));
            let number = version.ok_or_else(missing)?;
            return Ok(self.take(stored_version(number)));
        }
        let item = self.layout.place_of(path).and_then(|place| self.layout.items.get(place));
        let Some(item) = item.filter(|item| is_moved(item)) else { return Ok(None) };
        let (Some(live), Some(old)) = (item.live, &item.op.old) else { return Ok(None) };
        if self.moved.get(&old.inode).is_none_or(|names| live.links > *names) {
            return Ok(None);
        }
        let exchanges = RenameSupport::of(&self.domains.get(item.op.domain)?.entry).exchange;
        let is_beside = item.op.kind == OpKind::Replace && !exchanges;
        let staged = if is_beside { item.op.old_stage() } else { item.op.stage.clone() };
        let name = staged.strip_prefix("o/").map(str::to_owned);
        Ok(name.and_then(|name| self.take(StoredName { directory: item.op.domain, name })))
    }

    fn take(&mut self, name: StoredName) -> Option<StoredName> {
        self.taken.insert(name.clone()).then_some(name)
    }

    fn copy(
        &mut self,
        old: &mut OldObjects<'_>,
        path: &ObjectPath,
        entry: &PkgmapEntry,
    ) -> Result<StoredName, Cause> {
        let item = self.layout.place_of(path).and_then(|place| self.layout.items.get(place));
        let directory = item.map_or(0, |item| item.op.domain);
        let name = format!("copy-{}", self.copies);
        self.copies += 1;
        copy_content(old, (path, entry), &self.domains.get(directory)?.objects, name.as_bytes())?;
        Ok(StoredName { directory, name })
    }
}

/// The copy is private; the manifest has the attributes.
fn copy_content(
    old: &mut OldObjects<'_>,
    (path, entry): (&ObjectPath, &PkgmapEntry),
    to: &Dir,
    name: &[u8],
) -> Result<(), Cause> {
    let file = old.open(path, entry)?;
    let mut copy = to.create(name)?;
    copy.reserve(file.seen.size)?;
    let sums = copy_summed(InterruptibleRead::new(&file.file, old.watch.interrupt), &mut copy)?;
    let sums = sums.or_else(|_| {
        old.watch.check()?;
        Err(Cause::Changed(encode(path.as_bytes())))
    })?;
    old.is_as_surveyed(path, &file, sums.cksum, entry)
}

const DEEPEST: usize = 3;

pub(crate) fn records_that_go(layout: &StageLayout<'_>) -> Vec<ObjectPath> {
    let ops = layout.items.iter().map(|item| &item.op);
    ops.filter(|op| is_record_that_goes(op)).map(|op| op.path.clone()).collect()
}

pub(crate) fn dropped_files(root: &Root, records: &[ObjectPath]) -> Result<Vec<JournalArchive>, Cause> {
    let mut dirs = Dirs::new(root);
    let mut found = Vec::new();
    for path in records {
        let Some(parent) = dirs.parent(path)? else { continue };
        search_archives(&parent, path.name(), 0, &mut found)?;
    }
    let drops =
        found.into_iter().map(|drop| JournalArchive { drop: Some(drop), ..JournalArchive::default() });
    Ok(drops.collect())
}

fn is_record_that_goes(op: &Op) -> bool {
    let is_directory = || op.old.as_deref().is_some_and(|old| old.file_type == 'd');
    op.db
        && matches!(op.kind, OpKind::Delete | OpKind::Replace)
        && (UndoFormat::Files.has_archive_named(op.path.name()) || is_directory())
}

fn search_archives(dir: &Dir, name: &[u8], depth: usize, found: &mut Vec<StoredFiles>) -> Result<(), Cause> {
    match dir.look(name)?.map(|seen| seen.file_type) {
        Some(FileType::Directory) if depth <= DEEPEST => {
            let inner = dir.dir(name)?;
            inner.names()?.iter().try_for_each(|name| search_archives(&inner, name, depth + 1, found))
        }
        Some(FileType::Regular) if UndoFormat::Files.has_archive_named(name) => {
            let archive = UnboundArchive::new(dir.open_regular(name)?, dir.root().show(&dir.at(name)));
            // An unreadable archive was refused before, or goes with its package.
            found.extend(archive.manifest().ok().flatten().and_then(|manifest| stored_files(&manifest)));
            Ok(())
        }
        _ => Ok(()),
    }
}

/// `None` if the archive has the objects, or a name is none that a run gives.
fn stored_files(manifest: &UndoManifest) -> Option<StoredFiles> {
    let directories = manifest.header.files.clone().filter(UndoFiles::is_possible)?;
    let names: BTreeSet<String> =
        manifest.all_objects().filter_map(ObjectRecord::stored_name).map(|name| name.to_string()).collect();
    Some(StoredFiles { directories, names: names.into_iter().collect() })
}

const LATE: &[u8] = b"late-";

const ACCESS_MODE: u32 = 0o3;

/// For the files of all processes. Only a hostile process makes it take longer.
const LONGEST_LOOK: Duration = Duration::from_secs(60);

/// Replaces stored objects that processes can still write to by copies.
pub(crate) fn sync_with_copies(journal: &Journal, runner: &mut OpRunner<'_>) -> Result<(), Cause> {
    let stored = journal.stored_names();
    if stored.is_empty() {
        return runner.sync();
    }
    let old = journal.ops.iter().filter(|op| !op.db).filter_map(|op| op.old.as_deref());
    let wanted: HashSet<u64> = old.map(|old| old.inode.number).collect();
    // One waits for the disk, the other for the processor.
    let (open, unread) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let until = Instant::now() + LONGEST_LOOK;
            open_for_writing(Path::new("/proc"), &wanted, &|| Instant::now() >= until)
        });
        let synced = runner.sync();
        let open = looking.join().map_err(|_| Cause::Internal("a thread failed".to_owned()));
        synced.and(open)
    })?;
    if let Some(process) = unread {
        runner.notes.push(format!(
            "undo data was copied, because the open and mapped files of process {process} cannot be read completely"
        ));
    }
    let is_any = !open.is_empty() && copy_open(journal, runner, &stored, &open)?;
    if is_any { runner.sync() } else { Ok(()) }
}

type OpenInode = (u64, Option<FileSystemId>);

type FileSystemId = (u32, u32);

fn copy_open(
    journal: &Journal,
    runner: &mut OpRunner<'_>,
    stored: &BTreeSet<StoredName>,
    open: &HashSet<OpenInode>,
) -> Result<bool, Cause> {
    let numbers: HashSet<u64> = open.iter().map(|(number, _)| *number).collect();
    let mut any = false;
    for op in journal.ops.iter().filter(|op| !op.db) {
        let Some(old) = op.old.as_deref().filter(|old| numbers.contains(&old.inode.number)) else { continue };
        let staged = [op.stage.clone(), op.old_stage()];
        let staged = staged.iter().filter_map(|stage| stage.strip_prefix("o/"));
        let mut staged = staged.map(|name| StoredName { directory: op.domain, name: name.to_owned() });
        if let Some(name) = staged.find(|name| stored.contains(name))
            && copy_late(runner, op, (&name, old), open)?
        {
            runner.unchanged.remove(&name);
            any = true;
        }
    }
    Ok(any)
}

/// Copies an object that is open. Its number alone may be that of an object on another file system.
fn copy_late(
    runner: &mut OpRunner<'_>,
    op: &Op,
    (name, old): (&StoredName, &Identity),
    open: &HashSet<OpenInode>,
) -> Result<bool, Cause> {
    let (objects, _) = runner.staged(op)?;
    let changed = || Cause::Changed(op.path.to_string());
    let (from, seen) = objects.open_seen(name.name.as_bytes())?.ok_or_else(changed)?;
    let number = seen.inode.number;
    if !open.contains(&(number, None)) && !open.contains(&(number, Some(seen.file_system))) {
        return Ok(false);
    }
    let late = [LATE, name.name.as_bytes()].concat();
    objects.remove(&late)?;
    let mut to = objects.create(&late)?;
    to.reserve(seen.size)?;
    let copied = copy_summed(from, &mut to)?.map_err(|_| changed())?;
    // A write before the copy is an edit, which undo data must not have.
    let is_same = old.b3.as_ref().and_then(NotedDigest::digest).is_none_or(|b3| b3 == copied.b3);
    if is_same && old.size == copied.size { Ok(true) } else { Err(changed()) }
}

/// Returns the inodes that a process has open or mapped for writing. File systems of mappings are ignored: some are
/// named differently there. If the files of a process cannot be read to the end, returns all wanted inodes, and the
/// process.
fn open_for_writing(
    proc: &Path,
    wanted: &HashSet<u64>,
    stop: Stop<'_>,
) -> (HashSet<OpenInode>, Option<String>) {
    let mut found = HashSet::new();
    let mut unread = None;
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    for process in processes {
        let number = process.file_name().to_string_lossy().into_owned();
        if !is_number(&number) {
            continue;
        }
        let process = process.path();
        let looked = descriptors_of(&process, wanted, stop, &mut found)
            .and_then(|()| mappings_of(&process, wanted, stop, &mut found));
        if looked.is_err_and(|error| error.is_overrun()) {
            unread = Some(number);
            found.extend(wanted.iter().map(|inode| (*inode, None)));
            break;
        }
    }
    (found, unread)
}

fn descriptors_of(
    process: &Path,
    wanted: &HashSet<u64>,
    stop: Stop<'_>,
    found: &mut HashSet<OpenInode>,
) -> Result<(), ProcReadError> {
    for descriptor in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
        if stop() {
            return Err(ProcReadError::Stopped);
        }
        let Ok(seen) = fs::metadata(descriptor.path()) else { continue };
        if !wanted.contains(&seen.ino()) {
            continue;
        }
        let info = process.join("fdinfo").join(descriptor.file_name());
        let Ok(info) = ProcLines::open(&info, ProcBounds::DESCRIPTOR, stop) else { continue };
        match info.find(flags_in) {
            Ok(flags) if flags.is_some_and(|flags| flags & ACCESS_MODE != 0) => {
                let device = seen.dev();
                let file_system = (rustix::fs::major(device), rustix::fs::minor(device));
                found.insert((seen.ino(), Some(file_system)));
            }
            Err(error) if error.is_overrun() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn mappings_of(
    process: &Path,
    wanted: &HashSet<u64>,
    stop: Stop<'_>,
    found: &mut HashSet<OpenInode>,
) -> Result<(), ProcReadError> {
    let mut maps = ProcLines::open(&process.join("maps"), ProcBounds::MAPPINGS, stop)?;
    while let Some(line) = maps.next_line()? {
        if let Some(inode) = shared_and_written(line).filter(|inode| wanted.contains(inode)) {
            found.insert((inode, None));
        }
    }
    Ok(())
}

fn is_number(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// The line is from `proc_pid_fdinfo(5)`.
fn flags_in(line: &[u8]) -> Option<u32> {
    let flags = str::from_utf8(line.strip_prefix(b"flags:")?).ok()?;
    u32::from_str_radix(flags.trim(), 8).ok()
}

/// The path behind the first words may have any bytes.
fn shared_and_written(line: &[u8]) -> Option<u64> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let permissions = words.nth(1).filter(|permissions| permissions.get(1) == Some(&b'w'));
    permissions.filter(|permissions| permissions.ends_with(b"s"))?;
    str::from_utf8(words.nth(2)?).ok()?.parse().ok().filter(|inode| *inode != 0)
}

pub(crate) type MountedFileSystem = (u64, (u32, u32));

#[derive(Debug, Default)]
pub(crate) struct LeftFiles {
    pub(crate) notes: Vec<String>,
    pub(crate) can_go: bool,
}

impl LeftFiles {
    fn add(&mut self, cause: &Cause) {
        // A directory that is not ours stays so.
        self.can_go |= !matches!(cause, Cause::StoredFile(StoredFileError::NotOurs { .. }));
        self.notes.push(cause.to_string());
    }
}

/// Until this is done, only the journal knows of the old files. Only the committing process knows most objects' status
/// from before the commit (`unchanged`).
pub(crate) fn keep_stored_files(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    unchanged: Option<&BTreeMap<StoredName, StoredIdentity>>,
) -> Result<(), Cause> {
    if outcome != RunOutcome::Commit {
        return Ok(());
    }
    let stored = journal.stored_names();
    let had_trees = journal.ops.iter().any(|op| op.kind == OpKind::Tree);
    for (index, domain) in journal.domains.iter().enumerate() {
        let of_domain = || stored.iter().filter(|name| name.directory == index);
        let names: BTreeSet<&[u8]> = of_domain().map(|name| name.name.as_bytes()).collect();
        let known = unchanged.map(|unchanged| {
            of_domain().filter_map(|name| Some((name.name.as_bytes(), *unchanged.get(name)?))).collect()
        });
        if !names.is_empty() {
            keep_objects(root, &domain.stage, &WantedObjects { names, known, had_trees })?;
        }
    }
    Ok(())
}

pub(crate) fn has_kept_files(root: &Root, journal: &Journal) -> Result<bool, Cause> {
    let holding: BTreeSet<usize> = journal.stored_names().iter().map(|name| name.directory).collect();
    for domain in holding.into_iter().filter_map(|index| journal.domains.get(index)) {
        let Some(path) = undo_directory(&domain.stage) else { continue };
        let is_moved = match root.dir_if_there(&domain.stage)? {
            Some(stage) => stage.look(b"o")?.is_none(),
            None => true,
        };
        if is_moved && open_undo_directory(root, &path)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn drops_stored_files(journal: &Journal, outcome: RunOutcome) -> bool {
    outcome == RunOutcome::Commit && journal.archives.iter().any(|archive| archive.drop.is_some())
}

/// Durable, unless the file system is `synced_later`. Returns those that stay.
pub(crate) fn drop_stored_files(
    root: &Root,
    journal: &Journal,
    outcome: RunOutcome,
    synced_later: &[MountedFileSystem],
) -> LeftFiles {
    let mut left = LeftFiles::default();
    if !drops_stored_files(journal, outcome) {
        return left;
    }
    let mut directories = BTreeSet::new();
    for drop in journal.archives.iter().filter_map(|archive| archive.drop.as_ref()) {
        if let Err(cause) = drop_stored(root, drop, &mut directories) {
            left.add(&cause);
        }
    }
    // Archives of one run share a directory, which is synced once.
    for path in &directories {
        if let Err(cause) = settle_directory(root, path, synced_later) {
            left.add(&cause);
        }
    }
    left
}

/// For a committed run without journal. `stored` are old files in its undo data; those of other runs stay.
pub(crate) fn keep_proven_files(root: &Root, run: &str, stored: &[StoredFile]) -> Result<(), Cause> {
    let mut wanted: BTreeMap<&ObjectPath, BTreeSet<&[u8]>> = BTreeMap::new();
    for file in stored.iter().filter(|file| run_of_directory(&file.directory) == run) {
        wanted.entry(&file.directory).or_default().insert(file.name.as_bytes());
    }
    for (directory, names) in wanted {
        let Some(stage) = stage_of(directory) else { continue };
        let Some(above) = root.dir_if_there(&stage.parent().unwrap_or_else(ObjectPath::root))? else {
            continue;
        };
        // Nobody has checked the claims of undo data.
        if matches!(open_own(&above, stage.name(), run.as_bytes())?, FoundStage::Ours(_)) {
            keep_objects(root, &stage, &WantedObjects { names, known: None, had_trees: true })?;
        }
    }
    Ok(())
}

struct WantedObjects<'a> {
    names: BTreeSet<&'a [u8]>,
    /// Status before the commit, except for copied or stripped objects; `None` after the first attempt. An object
    /// without known status is read before it is restored.
    known: Option<BTreeMap<&'a [u8], StoredIdentity>>,
    had_trees: bool,
}

fn keep_objects(root: &Root, of_run: &ObjectPath, wanted: &WantedObjects<'_>) -> Result<(), Cause> {
    let Some(stage) = root.dir_if_there(of_run)? else { return Ok(()) };
    let path = undo_directory(of_run);
    let path = path.ok_or_else(|| Cause::Internal(format!("{of_run} has no undo directory")))?;
    if stage.look(b"o")?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        // An interrupted attempt has moved it, perhaps not durably.
        let moved = root.dir_if_there(&path)?;
        return moved.map_or(Ok(()), |moved| Ok(moved.sync_file_system()?));
    }
    let objects = stage.dir(b"o")?;
    let others: Vec<_> =
        objects.entries()?.into_iter().filter(|(name, _)| !wanted.names.contains(&**name)).collect();
    for entry in &others {
        match entry.0.strip_prefix(LATE).filter(|name| wanted.names.contains(name)) {
            Some(name) => objects.replace(&entry.0, &objects, name)?,
            None => objects.remove_entry(entry)?,
        }
    }
    // An interrupted attempt may have removed some, perhaps not durably.
    let is_first = wanted.known.is_some();
    if wanted.had_trees || !others.is_empty() || !is_first {
        // In an undo directory, nobody looks for them any more.
        objects.sync()?;
    }
    match &wanted.known {
        Some(known) => note_identities(&objects, &run_of_directory(&path), &wanted.names, known)?,
        None => drop(objects.remove(IDENTITIES)?),
    }
    let (above, is_new) = make_holder(root, &path)?;
    stage.move_to(b"o", &above, path.name())?;
    // A new directory needs its own name durable, too: one sync serves both.
    let synced = if is_new { above.sync_file_system() } else { above.sync() };
    Ok(synced?)
}

/// Uses the status before the commit, or now if unknown. A hint, so it may fail.
fn note_identities(
    objects: &Dir,
    run: &str,
    wanted: &BTreeSet<&[u8]>,
    known: &BTreeMap<&[u8], StoredIdentity>,
) -> Result<(), Cause> {
    let mut identities = BTreeMap::new();
    for name in wanted {
        let identity = match known.get(name) {
            Some(known) => Some(*known),
            None => objects.look(name)?.map(|seen| StoredIdentity::of(&seen)),
        };
        if let Some(identity) = identity {
            identities.insert(String::from_utf8_lossy(name).into_owned(), identity);
        }
    }
    objects.remove(IDENTITIES)?;
    let written = objects
        .create(IDENTITIES)
        .and_then(|mut file| file.put(&undo_files::write_identities(run, identities)));
    if written.is_err() {
        objects.remove(IDENTITIES)?;
    }
    Ok(())
}

fn make_holder(root: &Root, path: &ObjectPath) -> Result<(Dir, bool), Cause> {
    let above = path.parent().unwrap_or_else(ObjectPath::root);
    if above.name() != UNDO {
        return Ok((root.dir(&above)?, false));
    }
    let holder = root.dir(&above.parent().unwrap_or_else(ObjectPath::root))?;
    if holder.look(UNDO)?.is_none() {
        return Ok((holder.make_dir(UNDO, Mode::of(0o711))?, true));
    }
    // An interrupted run may have made it.
    let undo = holder.dir(UNDO)?;
    let is_empty = undo.names()?.is_empty();
    Ok((undo, is_empty))
}

fn drop_stored(root: &Root, drop: &StoredFiles, directories: &mut BTreeSet<ObjectPath>) -> Result<(), Cause> {
    let names: BTreeSet<StoredName> = drop.names.iter().filter_map(|name| StoredName::parse(name)).collect();
    for index in 0..drop.directories.directories.len() {
        let Some(path) = drop.directories.directory(index) else { continue };
        let Some(dir) = open_undo_directory(root, &path)? else { continue };
        directories.insert(path);
        for name in names.iter().filter(|name| name.directory == index) {
            dir.remove(name.name.as_bytes())?;
        }
    }
    Ok(())
}

/// If not empty, syncs removals.
fn settle_directory(root: &Root, path: &ObjectPath, synced_later: &[MountedFileSystem]) -> Result<(), Cause> {
    let Some(dir) = open_undo_directory(root, path)? else { return Ok(()) };
    if dir.names()?.iter().all(|name| name == IDENTITIES) {
        remove_directory(root, &dir, path, synced_later)
    } else {
        make_durable(&dir, synced_later)
    }
}

fn remove_directory(
    root: &Root,
    dir: &Dir,
    path: &ObjectPath,
    synced_later: &[MountedFileSystem],
) -> Result<(), Cause> {
    dir.remove(IDENTITIES)?;
    let Some(above) = path.parent() else { return Ok(()) };
    let holding = root.dir(&above)?;
    holding.remove_dir(path.name())?;
    make_durable(&holding, synced_later)?;
    if above.name() != UNDO {
        return Ok(());
    }
    let Some(holder) = above.parent() else { return Ok(()) };
    let is_empty = root.dir(&holder)?.remove_dir(UNDO)?;
    if is_empty && holder.name() == HOLDER { drop_holder(root, &holder) } else { Ok(()) }
}

/// No later run repeats removals that a power cut undoes.
fn make_durable(dir: &Dir, synced_later: &[MountedFileSystem]) -> Result<(), Cause> {
    let seen = dir.itself()?;
    if synced_later.contains(&(seen.mount, seen.file_system)) { Ok(()) } else { Ok(dir.sync()?) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_known_by_its_number_and_its_file_system_and_only_if_it_can_be_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let process = dir.path().join("123");
        for below in ["fd", "fdinfo"] {
            fs::create_dir_all(process.join(below)).unwrap();
        }
        let mut wanted = HashSet::new();
        for (descriptor, flags) in [("3", "0100001"), ("4", "0100002"), ("5", "0100000")] {
            let file = dir.path().join(descriptor);
            fs::write(&file, "").unwrap();
            std::os::unix::fs::symlink(&file, process.join("fd").join(descriptor)).unwrap();
            fs::write(process.join("fdinfo").join(descriptor), format!("pos:\t0\nflags:\t{flags}\n"))
                .unwrap();
            wanted.insert(fs::metadata(&file).unwrap().ino());
        }
        let mapped = b"7f00-7f01 rw-s 00000000 00:1f 77   /a\xff b\n7f02-7f03 r--s 00000000 00:1f 78 /b\n\
            7f04-7f05 rw-p 00000000 00:1f 78 /b\n7f06-7f07 rw-s 00000000 00:00 0\n";
        fs::write(process.join("maps"), mapped).unwrap();
        wanted.extend([77, 78]);
        let expected: HashSet<OpenInode> = ["3", "4"]
            .map(|name| fs::metadata(dir.path().join(name)).unwrap())
            .map(|seen| (seen.ino(), Some((rustix::fs::major(seen.dev()), rustix::fs::minor(seen.dev())))))
            .into_iter()
            .chain([(77, None)])
            .collect();
        assert_eq!(open_for_writing(dir.path(), &wanted, &|| false), (expected, None));
    }

    #[test]
    fn a_process_with_more_mappings_than_are_read_counts_as_one_that_can_write_to_each_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("123")).unwrap();
        let wanted = HashSet::from([77, 78]);
        let all: HashSet<OpenInode> = HashSet::from([(77, None), (78, None)]);
        let long = [b"7f00-7f01 r--p 00000000 00:1f 5 /".to_vec(), vec![b'a'; 1 << 20]].concat();
        fs::write(dir.path().join("123/maps"), long).unwrap();
        let found = open_for_writing(dir.path(), &wanted, &|| false);
        assert_eq!(found, (all.clone(), Some("123".to_owned())));
        fs::write(dir.path().join("123/maps"), "7f00-7f01 rw-s 00000000 00:1f 77 /a\n").unwrap();
        assert_eq!(open_for_writing(dir.path(), &wanted, &|| true), (all, Some("123".to_owned())));
        fs::remove_file(dir.path().join("123/maps")).unwrap();
        let found = open_for_writing(dir.path(), &wanted, &|| true);
        assert_eq!(found, (HashSet::new(), None), "it has ended");
    }
}
