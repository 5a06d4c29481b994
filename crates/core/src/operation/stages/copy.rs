//! Copies objects into a stage with all attributes and digests. Files share blocks if possible, never inodes; hard
//! links are kept. Directories are private until complete. An object that changes meanwhile is an error.

use std::collections::HashMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};

use super::StageError;
use super::tree::{
    ObjectKey, TreeObject, Walk, WalkedObject, directory_of, key, known_files, link_groups, live_file,
};
use patchadm_inputs::stage::{CachedFile, ReadFile};
use patchadm_rootfs::{
    Dir, FileType, InterruptibleRead, KnownFile, Live, LiveKind, ObjectStatus, Root, RootError, Summing,
    Sums, Timestamp, WritableFile, Xattrs, side_by_side,
};
use patchadm_svr4::package::{Mode, ObjectPath};
use rustix::io::Errno;

/// Objects per unit of work.
const PIECE: usize = 32;

/// A block of zeros becomes a hole.
const BUFFER: usize = 1 << 17;

pub(super) struct Copier<'a> {
    pub(super) root: &'a Root,
    pub(super) stage: &'a Root,
    pub(super) interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
    pub(super) owners: bool,
    pub(super) is_whole: AtomicBool,
}

#[derive(Default)]
pub(super) struct Copied {
    /// As in the root, sorted by path.
    pub(super) objects: Vec<TreeObject>,
    copies: Vec<(ObjectPath, CachedFile)>,
    /// Counts each file once.
    pub(super) bytes: u64,
    pub(super) reflinked: u64,
}

struct CopiedOne {
    live: Live,
    copy: Option<ObjectStatus>,
    is_reflinked: bool,
}

impl Copied {
    /// Read after `since`.
    pub(super) fn known_files(&self, since: Timestamp) -> impl Iterator<Item = ReadFile<'_>> {
        known_files(&self.objects, since)
    }

    /// Excludes copies modified shortly before `since`.
    pub(super) fn known_copies(&self, since: Timestamp) -> impl Iterator<Item = ReadFile<'_>> {
        let files = self.copies.iter().map(|(path, CachedFile { file, xattrs })| ReadFile {
            path,
            file: *file,
            xattrs,
        });
        files.filter(move |file| file.is_kept(since))
    }
}

impl Copier<'_> {
    /// Parent directories must exist.
    pub(super) fn copy(&self, walk: Walk) -> Result<Copied, StageError> {
        let groups = link_groups(&walk.met);
        self.make_directories(&walk.met)?;
        let mut firsts = HashMap::new();
        let mut linked = Vec::new();
        let mut alone = Vec::new();
        for (at, met) in walk.met.iter().enumerate() {
            if met.status.file_type == FileType::Directory {
                continue;
            }
            if !groups.contains_key(&key(&met.status)) || firsts.insert(key(&met.status), at).is_none() {
                alone.push(at);
            } else {
                linked.push(at);
            }
        }
        // The first name of an object is copied.
        let mut first_of = HashMap::new();
        for &at in &alone {
            if let Some(met) = walk.met.get(at) {
                first_of.insert(key(&met.status), at);
            }
        }
        let mut done: HashMap<usize, CopiedOne> = self.copy_pieces(&walk.met, &alone)?;
        for &at in &linked {
            self.link(&walk.met, at, &first_of, &mut done)?;
        }
        self.finish_directories(&walk.met)?;
        self.collect(walk, done, &groups, &linked)
    }

    fn copy_pieces(
        &self,
        met: &[WalkedObject],
        alone: &[usize],
    ) -> Result<HashMap<usize, CopiedOne>, StageError> {
        let pieces: Vec<&[usize]> = alone.chunks(PIECE).collect();
        let copied = side_by_side(self.root.workers(), pieces.len(), || {
            let mut hands =
                PieceCopier { copier: self, from: None, to: None, buffer: vec![0; BUFFER], clones_not: None };
            let pieces = &pieces;
            move |piece: usize| {
                let piece = pieces.get(piece).copied().unwrap_or_default();
                let met = piece.iter().filter_map(|&at| Some((at, met.get(at)?)));
                met.map(|(at, met)| Ok((at, hands.object(met)?))).collect::<Result<Vec<_>, StageError>>()
            }
        });
        let copied = copied.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(copied.into_iter().flatten().collect())
    }

    fn link(
        &self,
        met: &[WalkedObject],
        at: usize,
        first_of: &HashMap<ObjectKey, usize>,
        done: &mut HashMap<usize, CopiedOne>,
    ) -> Result<(), StageError> {
        let first = met.get(at).and_then(|other| first_of.get(&key(&other.status)));
        let (Some(other), Some(&first_at)) = (met.get(at), first) else { return Ok(()) };
        let Some(first) = met.get(first_at) else { return Ok(()) };
        let from = self.stage.dir(&parent(&first.path))?;
        self.stage.dir(&parent(&other.path))?.make_link(other.path.name(), &from, first.path.name())?;
        if let Some(one) = done.get(&first_at) {
            let one = CopiedOne { live: one.live.clone(), copy: one.copy.clone(), is_reflinked: false };
            done.insert(at, one);
        }
        Ok(())
    }

    fn collect(
        &self,
        walk: Walk,
        mut done: HashMap<usize, CopiedOne>,
        groups: &HashMap<ObjectKey, u32>,
        linked: &[usize],
    ) -> Result<Copied, StageError> {
        let mut copied = Copied::default();
        let linked: std::collections::HashSet<usize> = linked.iter().copied().collect();
        for (at, met) in walk.met.into_iter().enumerate() {
            let group = groups.get(&key(&met.status)).copied();
            let one = if let Some(one) = done.remove(&at) {
                one
            } else {
                let live = met.live.ok_or_else(|| StageError::Changing(self.root.show(&met.path)))?;
                CopiedOne { live, copy: None, is_reflinked: false }
            };
            if !linked.contains(&at) {
                copied.bytes += one.live.size().unwrap_or(0);
            }
            copied.reflinked += u64::from(one.is_reflinked);
            if let (Some(copy), LiveKind::Regular { size, b3, cksum }) = (&one.copy, &one.live.kind) {
                let sums = Sums { size: *size, cksum: *cksum, b3: *b3 };
                let file = KnownFile { inode: copy.inode, mtime: copy.mtime, ctime: copy.ctime, sums };
                let kept = CachedFile { file, xattrs: one.live.xattrs.clone() };
                copied.copies.push((met.path.clone(), kept));
            }
            copied.objects.push(TreeObject { path: met.path, live: one.live, group });
        }
        Ok(copied)
    }

    fn make_directories(&self, met: &[WalkedObject]) -> Result<(), StageError> {
        let mut open = None;
        for met in met.iter().filter(|met| met.status.file_type == FileType::Directory) {
            let above = directory_of(self.stage, &mut open, &met.path)?;
            match above.make_dir(met.path.name(), Mode::of(0o700)) {
                // A shared parent, or a directory of the records, may exist.
                Err(error) if error.errno() == Some(Errno::EXIST) => {}
                made => drop(made?),
            }
        }
        Ok(())
    }

    fn finish_directories(&self, met: &[WalkedObject]) -> Result<(), StageError> {
        let mut open = None;
        for met in met.iter().rev().filter(|met| met.status.file_type == FileType::Directory) {
            let xattrs = met.live.as_ref().map(|live| live.xattrs.clone()).unwrap_or_default();
            let above = directory_of(self.stage, &mut open, &met.path)?;
            self.give(above, met, &xattrs)?;
        }
        Ok(())
    }

    fn give(&self, above: &Dir, met: &WalkedObject, xattrs: &Xattrs) -> Result<(), StageError> {
        let name = met.path.name();
        let made = above.look(name)?.ok_or_else(|| StageError::Changing(self.stage.show(&met.path)))?;
        let has_mode = met.status.file_type != FileType::Symlink;
        let attributes = CopiedAttributes { status: &met.status, xattrs, has_mode, owners: self.owners };
        self.note(CopiedObject::Name(above, name).give(&attributes, &made)?);
        Ok(())
    }

    fn note(&self, is_whole: bool) {
        if !is_whole {
            self.is_whole.store(false, Ordering::Relaxed);
        }
    }

    pub(super) fn make_way(&self, path: &ObjectPath) -> Result<(), StageError> {
        let mut above: Vec<ObjectPath> =
            path.ancestors().filter(|above| !above.relative().is_empty()).collect();
        above.reverse();
        for path in above {
            let place = self.stage.dir(&parent(&path))?;
            match place.make_dir(path.name(), Mode::of(0o755)) {
                Err(error) if error.errno() == Some(Errno::EXIST) => continue,
                made => drop(made?),
            }
            let source = self.root.dir_if_there(&parent(&path))?;
            let status = source.as_ref().map(|source| source.look(path.name())).transpose()?.flatten();
            if let (Some(source), Some(status)) = (source, status)
                && status.file_type == FileType::Directory
            {
                let xattrs = source.xattrs(path.name())?;
                self.give(&place, &WalkedObject { path, status, live: None }, &xattrs)?;
            }
        }
        Ok(())
    }
}

impl Copier<'_> {
    /// Copies attributes from the root; otherwise a directory for temporary files is open to everybody. Keeps an
    /// existing one.
    pub(super) fn make_working_directory(&self, path: &ObjectPath) -> Result<(), StageError> {
        self.make_way(path)?;
        let place = self.stage.dir(&parent(path))?;
        let mode = if path.name() == b"tmp" { 0o1777 } else { 0o755 };
        match place.make_dir(path.name(), Mode::of(mode)) {
            Err(error) if error.errno() == Some(Errno::EXIST) => return Ok(()),
            made => drop(made?),
        }
        let source = self.root.resolver().locate_dir(&parent(path))?;
        let source = self.root.dir_if_there(&source)?;
        let status = source.as_ref().map(|source| source.look(path.name())).transpose()?.flatten();
        match (source, status) {
            (Some(source), Some(status)) if status.file_type == FileType::Directory => {
                let xattrs = source.xattrs(path.name())?;
                self.give(&place, &WalkedObject { path: path.clone(), status, live: None }, &xattrs)
            }
            _ => Ok(()),
        }
    }
}

fn parent(path: &ObjectPath) -> ObjectPath {
    path.parent().unwrap_or_else(ObjectPath::root)
}

struct PieceCopier<'a> {
    copier: &'a Copier<'a>,
    from: Option<Dir>,
    to: Option<Dir>,
    buffer: Vec<u8>,
    /// This file system cannot share blocks with the stage.
    clones_not: Option<(u32, u32)>,
}

impl PieceCopier<'_> {
    fn object(&mut self, met: &WalkedObject) -> Result<CopiedOne, StageError> {
        if let Some(signal) = (self.copier.interrupt)() {
            return Err(StageError::Interrupted(signal));
        }
        match &met.live {
            // An interrupted read also fails.
            None => self
                .file(met)
                .map_err(|error| (self.copier.interrupt)().map_or(error, StageError::Interrupted)),
            Some(live) => {
                let to = directory_of(self.copier.stage, &mut self.to, &met.path)?;
                let name = met.path.name();
                match &live.kind {
                    LiveKind::Symlink(target) => to.make_symlink(name, target)?,
                    // A pipe or device: the walk skips sockets, and regular files have their own way.
                    kind => to.make_node(name, kind.file_type(), live.device().unwrap_or_default())?,
                }
                self.copier.give(to, met, &live.xattrs)?;
                Ok(CopiedOne { live: live.clone(), copy: None, is_reflinked: false })
            }
        }
    }

    fn file(&mut self, met: &WalkedObject) -> Result<CopiedOne, StageError> {
        let Copier { root, stage, .. } = *self.copier;
        let name = met.path.name();
        let changing = || StageError::Changing(root.show(&met.path));
        let failed = |error| StageError::of_reading(error, || root.show(&met.path));
        let from = directory_of(root, &mut self.from, &met.path).map_err(failed)?;
        let (source, seen) = from.open_file(name).map_err(failed)?;
        if !met.status.is_untouched(&seen) {
            return Err(changing());
        }
        let to = directory_of(stage, &mut self.to, &met.path)?;
        let mut copy = to.create(name)?;
        let made = copy.look()?;
        let mut is_reflinked = false;
        if seen.size > 0 && self.clones_not != Some(seen.file_system) {
            is_reflinked = copy.clone_of(&source)?;
            self.clones_not = (!is_reflinked).then_some(seen.file_system);
        }
        let mut source = InterruptibleRead::new(source.take(seen.size), self.copier.interrupt);
        let sums = if is_reflinked {
            Sums::through(&mut self.buffer, &mut source).map_err(|error| from.read_error(name, &error))?
        } else {
            copy_bytes(&mut self.buffer, &mut source, &mut copy, |error| from.read_error(name, error))?
        };
        let xattrs = from.xattrs(name).map_err(failed)?;
        let later = from.look(name).map_err(failed)?.ok_or_else(changing)?;
        if sums.size != seen.size || !seen.is_untouched(&later) {
            return Err(changing());
        }
        let owners = self.copier.owners;
        let attributes = CopiedAttributes { status: &seen, xattrs: &xattrs, has_mode: true, owners };
        self.copier.note(CopiedObject::File(&copy).give(&attributes, &made)?);
        let live = live_file(&seen, sums, xattrs);
        Ok(CopiedOne { live, copy: Some(copy.look()?), is_reflinked })
    }
}

/// Also digests them. Long runs of zeros become holes.
fn copy_bytes(
    buffer: &mut [u8],
    source: &mut impl Read,
    copy: &mut WritableFile,
    failed: impl Fn(&std::io::Error) -> RootError,
) -> Result<Sums, StageError> {
    let mut summing = Summing::default();
    let mut has_hole = false;
    loop {
        let count = match source.read(buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(&error).into()),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        let at = summing.size();
        summing.update(bytes);
        let is_hole = count == buffer.len() && bytes.iter().all(|&byte| byte == 0);
        if !is_hole {
            copy.put_at(bytes, at)?;
        }
        has_hole |= is_hole;
    }
    let sums = summing.finish();
    if has_hole {
        copy.set_size(sums.size)?;
    }
    Ok(sums)
}

const SET_ID: u32 = 0o6000;

pub(super) enum CopiedObject<'a> {
    File(&'a WritableFile),
    Directory(&'a Dir),
    Name(&'a Dir, &'a [u8]),
}

pub(super) struct CopiedAttributes<'a> {
    pub(super) status: &'a ObjectStatus,
    pub(super) xattrs: &'a Xattrs,
    pub(super) has_mode: bool,
    pub(super) owners: bool,
}

impl CopiedObject<'_> {
    /// Returns whether all could be set: without privileges the owner may differ, and set-id bits are dropped.
    pub(super) fn give(
        &self,
        attributes: &CopiedAttributes<'_>,
        made: &ObjectStatus,
    ) -> Result<bool, RootError> {
        let CopiedAttributes { status, xattrs, has_mode, owners } = attributes;
        let is_owned = *owners && self.give_owner(status, made)?;
        let bits = status.mode.bits();
        let kept = if is_owned { bits } else { bits & !SET_ID };
        let mut is_whole = is_owned;
        // Only the superuser could set `user.*` once an access list or the mode forbids the owner to write: backwards.
        for (key, value) in xattrs.iter().rev().filter(|(key, _)| *owners || !is_of_system(key)) {
            is_whole &= self.give_xattr(key, value)?;
        }
        if *has_mode {
            self.set_mode(Mode::of(kept))?;
        }
        self.set_mtime(status.mtime)?;
        Ok(is_whole)
    }

    fn give_owner(&self, wanted: &ObjectStatus, made: &ObjectStatus) -> Result<bool, RootError> {
        if (wanted.uid, wanted.gid) == (made.uid, made.gid) {
            return Ok(true);
        }
        match self.set_owner(wanted.uid, wanted.gid) {
            Ok(()) => Ok(true),
            Err(error) if !self.root().is_privileged() && is_forbidden(&error) => Ok(false),
            // This id does not exist in the caller's user namespace.
            Err(error) if error.errno() == Some(Errno::INVAL) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// False if the caller or file system cannot set it.
    fn give_xattr(&self, key: &[u8], value: &[u8]) -> Result<bool, RootError> {
        let is_label = |label: &&str| key.starts_with(label.as_bytes());
        if OF_FILE_SYSTEM.iter().any(|start| key.starts_with(start.as_bytes())) {
            return Ok(true);
        }
        match self.set_xattr(key, value) {
            Ok(()) => Ok(true),
            Err(error) if is_of_system(key) && is_forbidden(&error) => Ok(LABELS.iter().any(is_label)),
            Err(error) => Err(error),
        }
    }

    fn root(&self) -> &Root {
        match self {
            Self::File(file) => file.root(),
            Self::Directory(dir) | Self::Name(dir, _) => dir.root(),
        }
    }

    fn set_owner(&self, uid: u32, gid: u32) -> Result<(), RootError> {
        match self {
            Self::File(file) => file.set_owner(uid, gid),
            Self::Directory(dir) => dir.set_own_owner(Some(uid), Some(gid)),
            Self::Name(dir, name) => dir.set_owner(name, Some(uid), Some(gid)),
        }
    }

    fn set_mode(&self, mode: Mode) -> Result<(), RootError> {
        match self {
            Self::File(file) => file.set_mode(mode),
            Self::Directory(dir) => dir.set_own_mode(mode),
            Self::Name(dir, name) => dir.set_mode(name, mode),
        }
    }

    fn set_xattr(&self, key: &[u8], value: &[u8]) -> Result<(), RootError> {
        match self {
            Self::File(file) => file.set_xattr(key, value),
            Self::Directory(dir) => dir.set_xattr(b"", key, value),
            Self::Name(dir, name) => dir.set_xattr(name, key, value),
        }
    }

    fn set_mtime(&self, mtime: Timestamp) -> Result<(), RootError> {
        match self {
            Self::File(file) => file.set_mtime(mtime),
            Self::Directory(dir) => dir.set_own_mtime(mtime),
            Self::Name(dir, name) => dir.set_mtime(name, mtime),
        }
    }
}

/// Promotions ignore labels: a copy without them is complete.
const LABELS: [&str; 4] = ["security.selinux", "security.SMACK64", "security.ima", "security.evm"];

/// Attributes of the inode, not of its contents.
const OF_FILE_SYSTEM: [&str; 3] = ["trusted.overlay.", "security.evm", "security.ima"];

fn is_of_system(key: &[u8]) -> bool {
    ["security.", "trusted."].iter().any(|start| key.starts_with(start.as_bytes()))
}

fn is_forbidden(error: &RootError) -> bool {
    matches!(error.errno(), Some(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP))
}
