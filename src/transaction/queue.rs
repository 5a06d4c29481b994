//! The queue of a run (patchadm-journal(5)), as the scripts of the run fill it through installf(1M) and removef(1M), and
//! what those make at once.
//!
//! Whoever adds to the queue holds its lock, so that calls at the same time follow each other. Before an object is made or
//! changed a line says so, and is durable: a rollback of the run then takes it back ([`undo_queue`]), also after a power
//! cut. The requests themselves become lines of `contents` only with the run's last batch.

use super::dirs::Dirs;
use super::error::Cause;
use crate::format::queue::{Entry, LARGEST, Queue};
use crate::package::{Ftype, Live, LiveKind, Mode, ObjectPath};
use crate::plan::{Action, Body, Change, NewObject};
use crate::root::{Dir, FileType, Node, Root, WritableFile, random};

/// Its name in the stage of the run.
pub(super) const NAME: &[u8] = b"queue";

/// The queue of a run, locked until the value is dropped.
#[derive(Debug)]
pub struct RunQueue {
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
    let path = || stage.root().show(&stage.at(NAME));
    Queue::parse(bytes).map_err(|reason| Cause::Queue { path: path(), reason })
}

impl RunQueue {
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
        let mut hand = Hand { root, dirs: Dirs::new(root) };
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
            Some(Entry::Changed { path, mode: old.mode, uid: old.uid, gid: old.gid, inode: old.inode })
        }
        _ => None,
    }
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
struct Hand<'a> {
    root: &'a Root,
    dirs: Dirs,
}

impl Hand<'_> {
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
            Body::Pipe => parent.make_node(name, Node::Pipe)?,
            Body::Device { block: true, major, minor } => {
                parent.make_node(name, Node::Block(*major, *minor))?;
            }
            Body::Device { major, minor, .. } => parent.make_node(name, Node::Character(*major, *minor))?,
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
    let now = parent.look(name)?.map(|seen| seen.mode);
    if parent.root().is_privileged() && (uid.is_some() || gid.is_some()) {
        parent.set_owner(name, uid, gid)?;
    }
    let is_symlink = parent.look(name)?.is_some_and(|seen| seen.file_type == FileType::Symlink);
    match mode.or(now).filter(|_| !is_symlink) {
        Some(mode) => Ok(parent.set_mode(name, mode)?),
        None => Ok(()),
    }
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
        let (Entry::Made(path, _) | Entry::Changed { path, .. } | Entry::Turned { path, .. }) = entry else {
            continue;
        };
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
            Entry::Changed { mode, uid, gid, inode, .. } if *inode == seen.inode => {
                set_attributes(&parent, name, Some(*mode), Some(*uid), Some(*gid))?;
            }
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

/// Whether an object is of a type that was made. A file is taken for a hard link only while it has another name, so
/// that no bytes are lost.
fn is_of(ftype: Ftype, seen: FileType, links: u64) -> bool {
    match ftype {
        Ftype::Directory | Ftype::Exclusive => seen == FileType::Directory,
        Ftype::Symlink => seen == FileType::Symlink,
        Ftype::Pipe => seen == FileType::Pipe,
        Ftype::Block => seen == FileType::Block,
        Ftype::Character => seen == FileType::Character,
        Ftype::Link => seen != FileType::Directory && links > 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
