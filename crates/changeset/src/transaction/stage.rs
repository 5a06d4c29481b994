//! Staging: every new object is written beside its target, final in every attribute, while nothing live changes.
//!
//! One thread reads the source, which is a stream; others make the files of what it has read. A large file is written
//! by the reader itself, piece by piece, so that no more than some megabytes are ever held.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use sha2::{Digest as _, Sha256};

use super::error::Cause;
use super::identity::identity;
use super::layout::{Item, Layout, New};
use super::making::{Made, Maker, may_be_left_out};
use super::sites::Sites;
use super::{Content, Doing, StreamError, Watch};
use crate::format::journal::Identity;
use crate::package::{Digest, Mode, ObjectPath, PackagePath, Timestamp, Xattrs};
use crate::plan::{Body, NewObject, TreeContent, TreeFile};
use crate::root::{Dir, Root};

/// Files that are larger are not held in memory.
const LARGEST_HELD: u64 = 1 << 20;

/// Bytes and files that are handed over at once.
const BATCH: (usize, usize) = (1 << 18, 32);

/// What staging knows afterwards.
#[derive(Debug, Default)]
pub(super) struct StagedContent {
    /// SHA-256 of each new regular file, by the path of the plan.
    pub(super) digests: BTreeMap<ObjectPath, Digest>,
    /// Bytes that were written for objects.
    pub(super) bytes: u64,
}

/// Writes the objects of a layout into its stages.
pub(super) struct Stager<'a, 'p> {
    pub(super) root: &'a Root,
    pub(super) sites: &'a Sites,
    pub(super) layout: &'a mut Layout<'p>,
    pub(super) watch: Watch<'a>,
}

/// The items that each file of the source is for.
type WantedItems = BTreeMap<(usize, PackagePath), Vec<usize>>;

/// Files of the source that were read, each with the items it is for.
type Batch<'w> = Vec<(&'w [usize], Vec<u8>)>;

impl<'p> Stager<'_, 'p> {
    /// Stages all objects; `content` streams the files of the source. Records are staged later, because the undo
    /// archives among them need what is known only now.
    pub(super) fn objects(self, content: &mut dyn Content) -> Result<StagedContent, Cause> {
        let made = self.make(content)?;
        for (index, identity) in made.identities {
            if let Some(item) = self.layout.items.get_mut(index) {
                item.op.new = Some(identity);
            }
        }
        Ok(made.content)
    }

    fn make(&self, content: &mut dyn Content) -> Result<Made, Cause> {
        let sizes = self.layout.items.iter().filter_map(|item| match object(item).map(|new| &new.body) {
            Some(Body::Member(member)) => Some(member.size),
            _ => None,
        });
        self.watch.begins(Doing::Staging, sizes.sum());
        let mut maker = Maker::new(self.root, self.sites, self.layout);
        for index in self.select(|body| !matches!(body, Body::Member(_) | Body::Link(_))) {
            self.watch.check()?;
            maker.without_content(index)?;
        }
        let mut made = self.members(content, &mut maker)?;
        for index in self.select(|body| matches!(body, Body::Link(_))) {
            self.watch.check()?;
            maker.link(index, &made.content.digests)?;
        }
        // The innermost first: a directory may take away the right to write into it.
        for index in self.select(|body| matches!(body, Body::Directory)).into_iter().rev() {
            maker.settle_directory(index)?;
        }
        made.add(maker.finish());
        Ok(made)
    }

    fn select(&self, wanted: impl Fn(&Body) -> bool) -> Vec<usize> {
        let bodies = self.layout.items.iter().enumerate();
        bodies
            .filter_map(|(index, item)| object(item).filter(|new| wanted(&new.body)).map(|_| index))
            .collect()
    }

    fn wanted(&self) -> WantedItems {
        let mut wanted = WantedItems::new();
        for (index, item) in self.layout.items.iter().enumerate() {
            if let Some(Body::Member(member)) = object(item).map(|new| &new.body) {
                wanted.entry((member.package, member.path.clone())).or_default().push(index);
            }
        }
        wanted
    }

    /// Streams all files that come from the source.
    fn members(&self, content: &mut dyn Content, own: &mut Maker<'_, 'p>) -> Result<Made, Cause> {
        let wanted = self.wanted();
        if wanted.is_empty() {
            return Ok(Made::default());
        }
        let workers = if self.root.workers() > 1 && wanted.len() > 1 { self.root.workers() } else { 0 };
        let has_failed = AtomicBool::new(false);
        thread::scope(|scope| {
            let (to, jobs) = sync_channel(workers);
            let jobs = Arc::new(Mutex::new(jobs));
            let start = |_| {
                let (jobs, has_failed) = (jobs.clone(), &has_failed);
                let (root, sites, layout) = (self.root, self.sites, &*self.layout);
                scope.spawn(move || work(Maker::new(root, sites, layout), &jobs, has_failed))
            };
            let threads: Vec<_> = (0..workers).map(start).collect();
            // The threads alone hold it, so that handing over fails when all have given up.
            drop(jobs);
            let to = (workers > 0).then_some(to);
            let mut reading = Reading {
                stager: self,
                wanted: &wanted,
                own,
                to,
                batch: Batch::new(),
                held: 0,
                has_failed: &has_failed,
            };
            let read = reading.all(content);
            drop(reading);
            let mut made = Made::default();
            for thread in threads {
                let part =
                    thread.join().map_err(|_| Cause::Internal("a staging thread failed".to_owned()))?;
                made.add(part?);
            }
            read.map(|()| made)
        })
    }
}

impl Made {
    fn add(&mut self, other: Self) {
        self.content.digests.extend(other.content.digests);
        self.content.bytes += other.content.bytes;
        self.identities.extend(other.identities);
    }
}

/// What each thread does: it makes the files of one batch after another, until there is none or one fails.
fn work(
    mut maker: Maker<'_, '_>,
    jobs: &Mutex<Receiver<Batch<'_>>>,
    has_failed: &AtomicBool,
) -> Result<Made, Cause> {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = next else { return Ok(maker.finish()) };
        for (indexes, data) in batch {
            if let Err(cause) = maker.member(indexes, &mut data.as_slice(), &|_| ()) {
                has_failed.store(true, Ordering::Relaxed);
                return Err(cause);
            }
        }
    }
}

/// The thread that reads the source.
struct Reading<'a, 'w, 'l, 'p> {
    stager: &'a Stager<'a, 'p>,
    wanted: &'w WantedItems,
    own: &'a mut Maker<'l, 'p>,
    /// Where batches go; none where there is one thread only.
    to: Option<SyncSender<Batch<'w>>>,
    batch: Batch<'w>,
    held: usize,
    has_failed: &'a AtomicBool,
}

impl<'w> Reading<'_, 'w, '_, '_> {
    fn all(&mut self, content: &mut dyn Content) -> Result<(), Cause> {
        let wanted = self.wanted;
        let mut missing: BTreeSet<_> = wanted.keys().cloned().collect();
        let is_wanted = |package: usize, path: &PackagePath| wanted.contains_key(&(package, path.clone()));
        let mut sink = |package: usize, path: &PackagePath, data: &mut dyn Read| {
            let key = (package, path.clone());
            let Some(indexes) = wanted.get(&key) else { return Ok(()) };
            missing.remove(&key);
            self.one(indexes, data)
        };
        content.stream(&is_wanted, &mut sink).map_err(|error| match error {
            StreamError::Source(error) => Cause::Source(error),
            StreamError::Sink(cause) => cause,
        })?;
        self.hand_over()?;
        match missing.first().and_then(|key| wanted.get(key)).and_then(|indexes| indexes.first()) {
            Some(&index) => Err(self.own.missing(index)?),
            None => Ok(()),
        }
    }

    fn one(&mut self, indexes: &'w [usize], data: &mut dyn Read) -> Result<(), Cause> {
        let watch = self.stager.watch;
        watch.check()?;
        let Some(&first) = indexes.first() else { return Ok(()) };
        let size = match self.stager.layout.items.get(first).and_then(object).map(|new| &new.body) {
            Some(Body::Member(member)) => member.size,
            _ => return Ok(()),
        };
        if self.to.is_none() || size > LARGEST_HELD {
            let mut data = BufReader::with_capacity(1 << 17, data);
            return self.own.member(indexes, &mut data, &|count| watch.advances(count));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1);
        // One byte more than it should have shows that it has too many.
        let read = data.take(size + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.own.corrupt(first, error.to_string()))?;
        watch.advances(bytes.len() as u64);
        self.held += bytes.len();
        self.batch.push((indexes, bytes));
        if self.held >= BATCH.0 || self.batch.len() >= BATCH.1 { self.hand_over() } else { Ok(()) }
    }

    fn hand_over(&mut self) -> Result<(), Cause> {
        let batch = std::mem::take(&mut self.batch);
        self.held = 0;
        let Some(to) = self.to.as_ref().filter(|_| !batch.is_empty()) else { return Ok(()) };
        if self.has_failed.load(Ordering::Relaxed) || to.send(batch).is_err() {
            // What failed is told by the thread that it happened to.
            return Err(Cause::Internal("a staging thread gave up".to_owned()));
        }
        Ok(())
    }
}

/// Notes which inode a staged object is.
pub(super) fn note_identity(
    item: &mut Item<'_>,
    dir: &Dir,
    name: &[u8],
    digest: Option<Digest>,
) -> Result<(), Cause> {
    item.op.new = Some(identity_of(dir, name, digest)?);
    Ok(())
}

/// The identity of a staged object.
pub(super) fn identity_of(dir: &Dir, name: &[u8], digest: Option<Digest>) -> Result<Identity, Cause> {
    let seen = dir.look(name)?.ok_or_else(|| Cause::Changed(dir.root().show(&dir.at(name))))?;
    let target = match seen.file_type {
        crate::root::FileType::Symlink => Some(dir.read_link(name)?),
        _ => None,
    };
    Ok(identity(&seen, digest, target.as_deref()))
}

/// The object that an item stages, if it stages one of a package.
pub(super) fn object<'p>(item: &Item<'p>) -> Option<&'p NewObject> {
    match item.new {
        Some(New::Object(new)) => Some(new),
        _ => None,
    }
}

/// Sets extended attributes; without privileges those that only root may set are left out.
pub(super) fn set_xattrs(dir: &Dir, name: &[u8], xattrs: &Xattrs) -> Result<(), Cause> {
    for (key, value) in xattrs {
        match dir.set_xattr(name, key, value) {
            Err(error) if may_be_left_out(dir.root(), &error) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Writes a record file with its attributes: those of the file it replaces, else root's.
pub(super) fn record_file(
    dir: &Dir,
    name: &[u8],
    bytes: &[u8],
    mode: Mode,
    mtime: Option<Timestamp>,
) -> Result<Digest, Cause> {
    let mut file = dir.create(name)?;
    file.reserve(bytes.len() as u64)?;
    file.put(bytes)?;
    if dir.root().is_privileged() {
        file.set_owner(0, 0)?;
    }
    file.set_mode(mode)?;
    if let Some(mtime) = mtime {
        file.set_mtime(mtime)?;
    }
    Ok(Digest(Sha256::digest(bytes).into()))
}

/// Writes an undo archive, or the manifest of one that is not kept, by its number, into a directory under a name.
pub(super) type UndoWriter<'u> = dyn FnMut(usize, &Dir, &[u8]) -> Result<(), Cause> + 'u;

/// Writes the files of a record directory; `undo` writes an archive into the directory and under the name given.
pub(super) fn record_tree(
    within: &Dir,
    name: &[u8],
    files: &[TreeFile],
    undo: &mut UndoWriter<'_>,
) -> Result<(), Cause> {
    let top = within.make_dir(name, Mode::of(0o755))?;
    for file in files {
        let mut parts: Vec<&[u8]> = file.name.split(|&b| b == b'/').collect();
        let last = parts.pop().unwrap_or_default();
        let mut dir = top.again()?;
        for part in parts {
            dir = match dir.look(part)? {
                Some(_) => dir.dir(part)?,
                None => dir.make_dir(part, Mode::of(0o755))?,
            };
        }
        match &file.content {
            TreeContent::Bytes(bytes) => drop(record_file(&dir, last, bytes, file.mode, file.mtime)?),
            TreeContent::Undo(index) | TreeContent::Manifest(index) => undo(*index, &dir, last)?,
            // Written when all archives are.
            TreeContent::UndoDigest(_) => {}
            // A file before it may have needed it.
            TreeContent::Directory if dir.look(last)?.is_some() => {}
            TreeContent::Directory => drop(dir.make_dir(last, file.mode)?),
        }
    }
    Ok(())
}
