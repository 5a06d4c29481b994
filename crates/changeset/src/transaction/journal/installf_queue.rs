//! The queue of a run (patchadm-journal(5)), as the scripts of the run fill it through installf(1M) and removef(1M), and
//! what those make at once.
//!
//! Whoever adds to the queue holds its lock, so that calls at the same time follow each other. Before an object is made or
//! changed a line says so, and is durable: a rollback of the run then takes it back ([`undo_queue`]), also after a power
//! cut. The requests themselves become lines of `contents` only with the run's last batch.

use crate::database::own_directory;
use crate::format::queue::{Entry, LARGEST, Queue, QueueError};
use crate::package::rule::holds;
use crate::package::{Digest, Ftype, Live, LiveKind, Mode, ObjectPath};
use crate::plan::{Action, Body, Change, NewObject};
use crate::root::{Dir, FileType, OpenObject, Root, SpecialFile, WritableFile, random};
use crate::transaction::error::Cause;
use crate::transaction::objects::dirs::Dirs;

/// Its name in the stage of the run.
pub(crate) const NAME: &[u8] = b"queue";

/// The queue of a run, locked until the value is dropped.
#[derive(Debug)]
pub struct InstallfQueue {
    file: WritableFile,
    /// What is in it.
    pub queue: Queue,
}

/// The queue of the run whose stage on the file system of the records this is; empty where no script asked for anything.
pub fn read_queue(root: &Root, stage: &ObjectPath) -> Result<Queue, Cause> {
    let Some(dir) = root.dir_if_there(stage)? else { return Ok(Queue::default()) };
    parse(&dir, &dir.read(NAME, LARGEST)?.unwrap_or_default())
}

fn parse(stage: &Dir, bytes: &[u8]) -> Result<Queue, Cause> {
    let damaged = |reason| Cause::Queue { path: stage.root().show(&stage.at(NAME)), reason };
    let queue = Queue::parse(bytes).map_err(damaged)?;
    match record_in(stage.root(), &queue)? {
        None => Ok(queue),
        Some(line) => Err(damaged(QueueError { line, field: Some("the path") })),
    }
}

/// The number of a line that tells of an object among our own records, if there is one: no script's request makes or
/// changes anything there.
fn record_in(root: &Root, queue: &Queue) -> Result<Option<usize>, Cause> {
    let own = own_directory();
    let records = root.resolver().locate_dir(&own)?;
    for (index, entry) in queue.0.iter().enumerate() {
        let Some(path) = object_of(entry) else { continue };
        let physical = root.resolver().locate(path)?;
        let is_record = [(path, &own), (&physical, &records)]
            .into_iter()
            .any(|(path, records)| path == records || path.is_below(records));
        if !holds("queue.path", !is_record) {
            return Ok(Some(index + 1));
        }
    }
    Ok(None)
}

/// The object that was made or changed at once.
fn object_of(entry: &Entry) -> Option<&ObjectPath> {
    match entry {
        Entry::Made(path, _) | Entry::Changed { path, .. } | Entry::Turned { path, .. } => Some(path),
        _ => None,
    }
}

impl InstallfQueue {
    /// Opens the queue of a run, which is made with the first request, waits for its lock, and reads it.
    pub fn open(root: &Root, stage: &ObjectPath) -> Result<Self, Cause> {
        let dir = root.dir(stage)?;
        let mut file = dir.open_or_create(NAME, Mode::of(0o600))?;
        file.lock()?;
        let bytes = dir.read(NAME, LARGEST)?.unwrap_or_default();
        // A line that was cut short would take the next one with it.
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        // A cut gives back what is reserved behind the end.
        if whole != bytes.len() {
            file.set_size(whole as u64)?;
        }
        Ok(Self { queue: parse(&dir, &bytes)?, file })
    }

    /// Adds entries; when it returns they are durable.
    pub fn add(&mut self, entries: Vec<Entry>) -> Result<(), Cause> {
        self.file.put_at(&Queue::lines(&entries), self.file.size()?)?;
        self.file.sync()?;
        self.queue.0.extend(entries);
        Ok(())
    }

    /// Makes changes at once, each noted before it is made.
    pub fn make(&mut self, root: &Root, changes: &[Change]) -> Result<(), Cause> {
        let notes: Vec<Entry> = changes.iter().filter_map(note).collect();
        if !notes.is_empty() {
            self.add(notes)?;
        }
        let mut hand = LiveChanger { root, dirs: Dirs::new(root) };
        changes.iter().try_for_each(|change| hand.make(change))
    }
}

/// What a rollback has to know of a change.
fn note(change: &Change) -> Option<Entry> {
    let path = change.path.clone();
    match (&change.action, &change.old) {
        (Action::Add(new), _) => Some(Entry::Made(path, ftype(&new.body))),
        (
            Action::Replace(NewObject { body: Body::Symlink(new), .. }),
            Some(Live { kind: LiveKind::Symlink(old), .. }),
        ) => Some(Entry::Turned { path, old: old.clone(), new: new.clone() }),
        (Action::Attributes(_), Some(old)) => {
            let (ftype, sha256) = kind(&old.kind)?;
            let Live { mode, uid, gid, inode, .. } = *old;
            Some(Entry::Changed { path, mode, uid, gid, inode, ftype, sha256 })
        }
        _ => None,
    }
}

/// The type of a live object, with the digest of a file; none of a socket, which no request is about.
fn kind(kind: &LiveKind) -> Option<(Ftype, Option<Digest>)> {
    Some(match kind {
        LiveKind::Regular { sha256, .. } => (Ftype::File, Some(*sha256)),
        LiveKind::Directory => (Ftype::Directory, None),
        LiveKind::Symlink(_) => (Ftype::Symlink, None),
        LiveKind::Pipe => (Ftype::Pipe, None),
        LiveKind::Device { block: true, .. } => (Ftype::Block, None),
        LiveKind::Device { .. } => (Ftype::Character, None),
        LiveKind::Socket => return None,
    })
}

fn ftype(body: &Body) -> Ftype {
    match body {
        Body::Directory => Ftype::Directory,
        Body::Symlink(_) => Ftype::Symlink,
        Body::Link(_) => Ftype::Link,
        Body::Pipe => Ftype::Pipe,
        Body::Device { block: true, .. } => Ftype::Block,
        Body::Device { .. } => Ftype::Character,
        Body::Member(_) | Body::CopyOf(_) => Ftype::File,
    }
}

/// Makes changes to live objects, one by one.
struct LiveChanger<'a> {
    root: &'a Root,
    dirs: Dirs,
}

impl LiveChanger<'_> {
    fn make(&mut self, change: &Change) -> Result<(), Cause> {
        let physical = self.root.resolver().locate(&change.path)?;
        let gone = || Cause::Changed(self.root.show(&change.path));
        let parent = self.dirs.parent(&physical)?.ok_or_else(gone)?;
        let name = physical.name();
        match &change.action {
            Action::Add(new) => self.add(&parent, name, new),
            Action::Replace(NewObject { body: Body::Symlink(target), uid, gid, .. }) => {
                turn(&parent, name, target, (*uid, *gid))
            }
            Action::Attributes(new) => set_attributes(&parent, name, new.mode, new.uid, new.gid),
            Action::Replace(_) | Action::Delete | Action::RemoveDirectory => {
                Err(Cause::Internal(format!("{} cannot be changed at once", change.path)))
            }
        }
    }

    fn add(&mut self, parent: &Dir, name: &[u8], new: &NewObject) -> Result<(), Cause> {
        match &new.body {
            Body::Directory => drop(parent.make_dir(name, Mode::of(0o700))?),
            Body::Symlink(target) => parent.make_symlink(name, target)?,
            Body::Pipe => parent.make_node(name, SpecialFile::Pipe)?,
            Body::Device { block: true, major, minor } => {
                parent.make_node(name, SpecialFile::Block(*major, *minor))?;
            }
            Body::Device { major, minor, .. } => {
                parent.make_node(name, SpecialFile::Character(*major, *minor))?
            }
            Body::Link(source) => {
                let physical = self.root.resolver().locate(source)?;
                let gone = || Cause::Changed(self.root.show(source));
                let from = self.dirs.parent(&physical)?.ok_or_else(gone)?;
                return Ok(parent.make_link(name, &from, physical.name())?);
            }
            Body::Member(_) | Body::CopyOf(_) => {
                return Err(Cause::Internal(format!("{} has content", parent.at(name))));
            }
        }
        let mode = (!matches!(new.body, Body::Symlink(_))).then_some(new.mode);
        set_attributes(parent, name, mode, Some(new.uid), Some(new.gid))
    }
}

/// Sets owner and group where the caller may, then the mode, which chown(2) may have cut.
fn set_attributes(
    parent: &Dir,
    name: &[u8],
    mode: Option<Mode>,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<(), Cause> {
    let object = parent.hold(name)?.ok_or_else(|| Cause::Changed(parent.root().show(&parent.at(name))))?;
    set_attributes_of(&object, parent.root(), mode, uid, gid)
}

fn set_attributes_of(
    object: &OpenObject,
    root: &Root,
    mode: Option<Mode>,
    uid: Option<u32>,
    gid: Option<u32>,
) -> Result<(), Cause> {
    let seen = object.look()?;
    if root.is_privileged() && (uid.is_some() || gid.is_some()) {
        object.set_owner(uid, gid)?;
    }
    if seen.file_type == FileType::Symlink {
        return Ok(());
    }
    Ok(object.set_mode(mode.unwrap_or(seen.mode))?)
}

/// Puts a symbolic link with another target in the place of one.
fn turn(parent: &Dir, name: &[u8], target: &[u8], (uid, gid): (u32, u32)) -> Result<(), Cause> {
    let beside = format!(".patchadm-{:016x}", random()?).into_bytes();
    parent.make_symlink(&beside, target)?;
    if parent.root().is_privileged() {
        parent.set_owner(&beside, Some(uid), Some(gid))?;
    }
    Ok(parent.rename(&beside, name)?)
}

/// Takes back what the calls of a run made and changed at once, the latest first, for the rollback of the run.
///
/// The run's own ops may have come before, between and after them, so it is to be called twice: before the ops are undone,
/// so that nothing lies in directories that go, and after, when what those hid is back. It does nothing twice, and may be
/// cut off anywhere and done again. What has become something else in the meantime, or is a directory that holds
/// something, stays; the answer says so, in sentences.
pub fn undo_queue(root: &Root, queue: &Queue) -> Result<Vec<String>, Cause> {
    let mut notes = Vec::new();
    let mut dirs = Dirs::new(root);
    for entry in queue.0.iter().rev() {
        let Some(path) = object_of(entry) else { continue };
        let physical = root.resolver().locate(path)?;
        let Some(parent) = dirs.parent(&physical)? else { continue };
        let Some(seen) = parent.look(physical.name())? else { continue };
        let name = physical.name();
        match entry {
            Entry::Made(_, ftype) if is_of(*ftype, seen.file_type, seen.links) => {
                if seen.file_type != FileType::Directory {
                    parent.remove(name)?;
                } else if !parent.remove_dir(name)? {
                    notes.push(format!("{} is not empty and stays", root.show(path)));
                }
                dirs.forget();
            }
            Entry::Made(..) => {
                notes.push(format!("{} was changed by somebody else; it is left as it is", root.show(path)));
            }
            Entry::Changed { .. } => notes.extend(change_back(&parent, name, entry)?),
            Entry::Turned { old, new, .. }
                if seen.file_type == FileType::Symlink && parent.read_link(name)? == *new =>
            {
                turn(&parent, name, old, (seen.uid, seen.gid))?;
            }
            _ => {}
        }
    }
    Ok(notes)
}

/// Gives an object the attributes that it had, if it is the one that a line tells of. Set-id bits come back only to the
/// bytes that had them; a note where they do not.
fn change_back(parent: &Dir, name: &[u8], entry: &Entry) -> Result<Option<String>, Cause> {
    let Entry::Changed { mode, uid, gid, inode, ftype, sha256, .. } = entry else { return Ok(None) };
    let Some(object) = parent.hold(name)? else { return Ok(None) };
    let seen = object.look()?;
    let is_it = seen.inode == *inode && is_of_type(*ftype, seen.file_type);
    if !holds("queue.changed.inode", is_it) {
        return Ok(None);
    }
    let is_program = seen.file_type == FileType::Regular && mode.is_set_id();
    let is_known = !is_program || object.sums()?.map(|sums| sums.sha256) == *sha256;
    let is_known = holds("queue.changed.bytes", is_known);
    let mode = if is_known { *mode } else { Mode::of(mode.bits() & 0o1777) };
    set_attributes_of(&object, parent.root(), Some(mode), Some(*uid), Some(*gid))?;
    let shown = parent.root().show(&parent.at(name));
    Ok((!is_known)
        .then(|| format!("{shown} was written to by somebody else; it stays without its set-id bits")))
}

/// Whether an object is of a type.
fn is_of_type(ftype: Ftype, seen: FileType) -> bool {
    match ftype {
        Ftype::Directory | Ftype::Exclusive => seen == FileType::Directory,
        Ftype::Symlink => seen == FileType::Symlink,
        Ftype::Pipe => seen == FileType::Pipe,
        Ftype::Block => seen == FileType::Block,
        Ftype::Character => seen == FileType::Character,
        _ => seen == FileType::Regular,
    }
}

/// Whether an object is of a type that was made. A file is taken for a hard link only while it has another name, so
/// that no bytes are lost.
fn is_of(ftype: Ftype, seen: FileType, links: u64) -> bool {
    match ftype {
        Ftype::Link => holds("queue.made.link", seen != FileType::Directory && links > 1),
        _ => holds("queue.made.found", is_of_type(ftype, seen)),
    }
}

#[cfg(test)]
mod tests;
