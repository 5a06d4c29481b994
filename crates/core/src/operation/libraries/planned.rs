//! Effects of a plan on programs, libraries and links. New files are read while their source is streamed; of files in
//! undo directories, only the needed parts.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::io::Read;
use std::sync::Arc;

use crate::operation::libraries::scan::has_magic;
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, UndoManifest, decode};
use patchadm_changeset::transaction::ContentSource;
use patchadm_inputs::database::undo_data::{OldRecords, kept_records};
use patchadm_inputs::inventory::{Inventory, KeptLibraries};
use patchadm_inputs::source::PackageImage;
use patchadm_libraries::elf::{ElfSymbols, FilePieces, MissingParts, PartsKeeper, StreamedParts};
use patchadm_libraries::{LibraryFile, LibraryTree, elf};
use patchadm_planning::plan::kept_libraries::ArchivedLibrary;
use patchadm_planning::plan::{Action, Body, Change, Member, NewObject, NewXattrs, Plan};
use patchadm_rootfs::{Digest, Digesting, Dir, FileType, Inode, Interrupt, Live, LiveKind, Root, Timestamp};
use patchadm_svr4::package::{ContentsLine, Mode, ObjectPath, PackagePath, PkgInst};

#[derive(Clone)]
pub(super) enum TreeChange {
    Gone,
    Link(Vec<u8>),
    Member(MemberKey),
    /// The file at this path after the plan.
    SameAs(ObjectPath),
    /// The file at this path before the plan.
    CopyOf(ObjectPath),
}

pub(super) type TreeChanges = Vec<(ObjectPath, TreeChange)>;

/// Maps paths of packages to places on the disk.
#[derive(Clone, Copy)]
pub(super) struct PhysicalPaths<'a> {
    pub(super) root: &'a Root,
    pub(super) inventory: &'a Inventory,
}

impl PhysicalPaths<'_> {
    pub(super) fn of(&self, path: &ObjectPath) -> ObjectPath {
        if let Some(known) = self.inventory.physical.get(path) {
            return known.clone();
        }
        self.root.resolver().locate(path).unwrap_or_else(|_| path.clone())
    }
}

pub(super) fn tree_changes(plan: &Plan, paths: PhysicalPaths<'_>) -> TreeChanges {
    let change = |change: &Change| {
        let what = match &change.action {
            Action::Add(new) | Action::Replace(new) => match &new.body {
                Body::Member(member) => TreeChange::Member((member.package, member.path.clone())),
                Body::Symlink(target) => TreeChange::Link(target.clone()),
                Body::Link(path) => TreeChange::SameAs(paths.of(path)),
                Body::CopyOf(path) => TreeChange::CopyOf(paths.of(path)),
                Body::Directory | Body::Pipe | Body::Device { .. } => TreeChange::Gone,
            },
            Action::Delete => TreeChange::Gone,
            Action::Attributes(_) | Action::RemoveDirectory => return None,
        };
        Some((paths.of(&change.path), what))
    };
    plan.changes.iter().filter_map(|one| change(one)).collect()
}

pub(super) fn members(changes: &TreeChanges) -> BTreeSet<MemberKey> {
    let member = |(_, change): &(ObjectPath, TreeChange)| match change {
        TreeChange::Member(key) => Some(key.clone()),
        _ => None,
    };
    changes.iter().filter_map(member).collect()
}

pub(super) fn apply(tree: &mut LibraryTree, changes: &TreeChanges, files: &PlannedFiles) {
    let before: Vec<_> = changes
        .iter()
        .filter_map(|(path, change)| match change {
            TreeChange::CopyOf(from) => Some((path.clone(), tree.file_at(from).cloned())),
            _ => None,
        })
        .collect();
    for (path, change) in changes {
        match change {
            TreeChange::Link(target) => tree.put_link(path.clone(), target),
            TreeChange::Member((package, member)) => {
                match files.get(*package, member).and_then(|new| new.file.clone()) {
                    Some(file) => tree.put_file(path.clone(), file),
                    None => tree.remove(path),
                }
            }
            TreeChange::Gone | TreeChange::SameAs(_) | TreeChange::CopyOf(_) => tree.remove(path),
        }
    }
    for (path, file) in before {
        if let Some(file) = file {
            tree.put_file(path, file);
        }
    }
    for (path, change) in changes {
        if let TreeChange::SameAs(other) = change
            && let Some(file) = tree.file_at(other).cloned()
        {
            tree.put_file(path.clone(), file);
        }
    }
}

/// Returns kept objects that a plan delivers itself, with the same bytes and attributes.
pub(super) fn returned(
    plan: &Plan,
    kept: &KeptLibraries,
    files: &PlannedFiles,
    owners_count: bool,
) -> BTreeSet<ObjectPath> {
    let is_same = |change: &Change| {
        let (Action::Add(new) | Action::Replace(new)) = &change.action else { return false };
        kept.keeper(&change.path).is_some()
            && kept.live.get(&change.path).is_some_and(|live| is_same_object(new, live, files, owners_count))
    };
    plan.changes.iter().filter(|change| is_same(change)).map(|change| change.path.clone()).collect()
}

fn is_same_object(new: &NewObject, live: &Live, files: &PlannedFiles, owners_count: bool) -> bool {
    let is_same_content = match (&new.body, &live.kind) {
        (Body::Member(member), LiveKind::Regular { size, cksum, b3 }) => {
            let read = files.get(member.package, &member.path).and_then(|file| file.b3);
            let digest = member.b3.as_deref().copied().or(read);
            (member.size, member.cksum) == (*size, *cksum) && digest == Some(*b3)
        }
        (Body::Symlink(target), LiveKind::Symlink(known)) => target == known,
        _ => false,
    };
    let is_link = matches!(new.body, Body::Symlink(_));
    let xattrs = match &new.xattrs {
        NewXattrs::Exact(xattrs) => *xattrs == live.xattrs,
        NewXattrs::Inherited | NewXattrs::Given(_) => live.xattrs.is_empty(),
    };
    is_same_content
        && (is_link || new.mode == live.mode)
        && (!owners_count || (new.uid, new.gid) == (live.uid, live.gid))
        && (is_link || new.mtime.is_none_or(|mtime| mtime == live.mtime))
        && xattrs
}

/// Package index, and path in the package.
pub(super) type MemberKey = (usize, PackagePath);

const BUFFER: usize = 64 << 10;

#[derive(Clone)]
pub(super) struct PlannedFile {
    /// `None` if it is neither program nor library.
    pub(super) file: Option<Arc<LibraryFile>>,
    pub(super) b3: Option<Digest>,
}

#[derive(Clone, Default)]
pub(super) struct PlannedFiles {
    files: BTreeMap<MemberKey, PlannedFile>,
    symbols: HashMap<*const LibraryFile, Arc<ElfSymbols>>,
}

impl PlannedFiles {
    /// A second pass reads members that the first one kept only in part. Unreadable ones are unknown; the run
    /// reports errors of its source, and a signal.
    pub(super) fn read(
        (root, interrupt): (&Root, Interrupt<'_>),
        content: &mut dyn ContentSource,
        wanted: &BTreeSet<MemberKey>,
    ) -> Self {
        let mut read = Self::default();
        let mut again = BTreeMap::new();
        let stored = |key: &&MemberKey| content.stored(key.0, &key.1).is_some();
        let (stored, wanted): (BTreeSet<&MemberKey>, BTreeSet<&MemberKey>) = wanted.iter().partition(stored);
        read.take_stored(root, content, &stored);
        if wanted.is_empty() {
            return read;
        }
        let is_wanted = |package: usize, path: &PackagePath| wanted.contains(&(package, path.clone()));
        let _ = content.stream(&is_wanted, interrupt, &mut |package, path, data| {
            let key = (package, path.clone());
            again.extend(read.take(&key, PartsKeeper::default(), data).map(|missing| (key, missing)));
            Ok(())
        });
        if !again.is_empty() {
            let is_wanted = |package: usize, path: &PackagePath| again.contains_key(&(package, path.clone()));
            let _ = content.stream(&is_wanted, interrupt, &mut |package, path, data| {
                let key = (package, path.clone());
                if let Some(missing) = again.get(&key) {
                    read.take(&key, PartsKeeper::again(missing), data);
                }
                Ok(())
            });
        }
        read
    }

    fn take_stored(&mut self, root: &Root, content: &dyn ContentSource, wanted: &BTreeSet<&MemberKey>) {
        let mut opened: BTreeMap<&ObjectPath, Option<Dir>> = BTreeMap::new();
        for key in wanted {
            let Some(stored) = content.stored(key.0, &key.1) else { continue };
            let dir = opened.entry(&stored.directory).or_insert_with(|| stored.open_directory(root).ok());
            let Some(Ok((file, _))) = dir.as_ref().map(|dir| stored.open_in(dir)) else { continue };
            let new = self.stored_file(&file);
            self.files.insert((*key).clone(), PlannedFile { file: new, b3: None });
        }
    }

    fn stored_file(&mut self, file: &File) -> Option<Arc<LibraryFile>> {
        if !has_magic(file).ok()? {
            return None;
        }
        let mut pieces = FilePieces::new(file);
        let facts = elf::read(&mut pieces).ok()??;
        let new = Arc::new(LibraryFile { facts: Arc::new(facts) });
        if let Ok(symbols) = elf::read_symbols(&mut pieces) {
            self.symbols.insert(Arc::as_ptr(&new), Arc::new(symbols));
        }
        Some(new)
    }

    fn take(&mut self, key: &MemberKey, keeper: PartsKeeper, data: &mut dyn Read) -> Option<MissingParts> {
        let mut new = PlannedFile { file: None, b3: None };
        let Ok(Some((mut parts, b3))) = streamed(keeper, data) else {
            self.files.insert(key.clone(), new);
            return None;
        };
        if let Ok(Some(facts)) = elf::read(&mut parts) {
            let file = Arc::new(LibraryFile { facts: Arc::new(facts) });
            if let Ok(symbols) = elf::read_symbols(&mut parts) {
                self.symbols.insert(Arc::as_ptr(&file), Arc::new(symbols));
            }
            new = PlannedFile { file: Some(file), b3: Some(b3) };
        }
        if let Some(old) = self.files.insert(key.clone(), new).and_then(|old| old.file) {
            self.symbols.remove(&Arc::as_ptr(&old));
        }
        parts.missing()
    }

    pub(super) fn get(&self, package: usize, path: &PackagePath) -> Option<&PlannedFile> {
        self.files.get(&(package, path.clone()))
    }

    pub(super) fn symbols(&self) -> &HashMap<*const LibraryFile, Arc<ElfSymbols>> {
        &self.symbols
    }

    pub(super) fn has_objects(&self) -> bool {
        self.files.values().any(|file| file.file.is_some())
    }
}

fn streamed(mut keeper: PartsKeeper, data: &mut dyn Read) -> io::Result<Option<(StreamedParts, Digest)>> {
    let mut magic = Vec::new();
    (&mut *data).take(elf::MAGIC.len() as u64).read_to_end(&mut magic)?;
    if magic != elf::MAGIC {
        return Ok(None);
    }
    let mut digesting = Digesting::default();
    let mut buffer = magic;
    loop {
        keeper.add(&buffer);
        digesting.update(&buffer);
        buffer.resize(BUFFER, 0);
        let count = match data.read(&mut buffer) {
            Ok(0) => return Ok(Some((keeper.finish(), digesting.finish()))),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        buffer.truncate(count);
    }
}

/// Kept libraries in undo archives (patchadm-undo(5)), which a backout may restore.
#[derive(Clone, Default)]
pub(in crate::operation) struct ArchivedLibraries {
    pub(super) objects: BTreeMap<ObjectPath, ArchivedLibrary>,
    /// Directories that only these libraries had.
    pub(super) directories: BTreeMap<ObjectPath, ArchivedLibrary>,
    pub(super) packages: BTreeMap<PkgInst, OldRecords>,
    /// Needs without a library when the patches were applied: path, name and digest of the object.
    pub(super) unserved: BTreeSet<(ObjectPath, String, Digest)>,
}

impl ArchivedLibraries {
    /// `index` is the archive's position among the sources. Fails if its records name objects of others.
    pub(in crate::operation) fn add(
        &mut self,
        manifest: &UndoManifest,
        image: &PackageImage,
        index: usize,
    ) -> Result<(), String> {
        for (path, name, digest) in &manifest.header.unserved {
            let digest = digest.strip_prefix("b3:").and_then(Digest::from_hex);
            let path = ObjectPath::new(&decode(path)).ok();
            self.unserved.extend(path.zip(digest).map(|(path, digest)| (path, name.clone(), digest)));
        }
        if manifest.shlibs.is_empty() {
            return Ok(());
        }
        for (package, records) in kept_records(image)? {
            if !manifest.header.kept.iter().any(|name| name == package.as_str()) {
                return Err(format!("it has records of package {package}, which its manifest does not name"));
            }
            // The first archive is that of the last applied patch.
            self.packages.insert(package, records);
        }
        for record in &manifest.shlibs {
            let Some(path) = record.object_path() else { continue };
            let package = record.shlib.as_deref().unwrap_or_default();
            if !manifest.header.kept.iter().any(|name| name == package) {
                return Err(format!("it keeps {path} for {package:?}, which its manifest does not name"));
            }
            if record.line.as_deref().and_then(line_of).is_none_or(|line| line.path != path) {
                return Err(format!("the line that it keeps for {path} belongs to another path"));
            }
            if let Some(archived) = archived(record, image, index) {
                let directory = archived.live.is_directory();
                let known = if directory { &mut self.directories } else { &mut self.objects };
                known.insert(path, archived);
            }
        }
        Ok(())
    }

    pub(in crate::operation) fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.objects.keys().chain(self.directories.keys())
    }

    pub(super) fn members(&self) -> impl Iterator<Item = MemberKey> {
        self.objects.values().filter_map(|archived| match &archived.object.body {
            Body::Member(member) => Some((member.package, member.path.clone())),
            _ => None,
        })
    }

    /// Returns such needs of objects that are unchanged since.
    pub(super) fn unserved_of(
        &self,
        digest: impl Fn(&ObjectPath) -> Option<Digest>,
    ) -> BTreeSet<(ObjectPath, String)> {
        let same = self.unserved.iter().filter(|(path, _, known)| digest(path) == Some(*known));
        same.map(|(path, name, _)| (path.clone(), name.clone())).collect()
    }
}

/// The owners are those whose file is there.
fn line_of(line: &str) -> Option<ContentsLine> {
    ContentsLine::parse(&decode(line)).ok()
}

fn archived(record: &ObjectRecord, image: &PackageImage, index: usize) -> Option<ArchivedLibrary> {
    let package = PkgInst::new(record.shlib.as_deref()?).ok()?;
    let line = line_of(record.line.as_deref()?)?;
    let was = record.was.as_ref()?;
    let (body, kind) = match was.kind {
        FileType::Symlink => {
            let target = decode(was.target.as_deref()?).into_owned();
            (Body::Symlink(target.clone()), LiveKind::Symlink(target))
        }
        FileType::Regular => {
            let member = member(record, was, image, index)?;
            let b3 = was.digest()?;
            let kind = LiveKind::Regular { size: member.size, b3, cksum: member.cksum };
            (Body::Member(member), kind)
        }
        FileType::Directory => (Body::Directory, LiveKind::Directory),
        _ => return None,
    };
    let (mode, xattrs) = (Mode::of(was.mode), was.xattrs());
    let (uid, gid, mtime) = (was.uid, was.gid, was.mtime);
    let live = Live {
        kind,
        mode,
        uid,
        gid,
        mtime,
        ctime: Timestamp::default(),
        inode: Inode { number: 0, born: None },
        links: 1,
        xattrs: xattrs.clone(),
        obstacle: None,
    };
    let object = NewObject { body, mode, uid, gid, mtime: Some(mtime), xattrs: NewXattrs::Exact(xattrs) };
    Some(ArchivedLibrary { package, line, object, live })
}

fn member(record: &ObjectRecord, was: &RecordedState, image: &PackageImage, index: usize) -> Option<Member> {
    let path = PackagePath::new(&decode(record.member.as_deref()?)).ok()?;
    let entry = image.files().find(|entry| entry.path == path)?;
    let content = entry.object.content;
    Some(Member {
        package: index,
        path,
        size: content.size?,
        cksum: content.cksum?,
        b3: Some(Box::new(was.digest()?)),
    })
}
