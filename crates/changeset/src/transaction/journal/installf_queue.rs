//! A run's queue of installf(1M) and removef(1M) requests (patchadm-journal(5)). A durable line precedes each immediate
//! change, for rollbacks ([`undo_queue`]). Failed calls are noted in a file of fixed size, because the disk may fill
//! up; if even that fails, it is removed, which counts as a failure without a reason.

use crate::format::installf_queue::{InstallfEntry, InstallfQueueError, InstallfRequests, LARGEST};
use crate::plan::{Action, Body, Change, NewObject};
use crate::transaction::error::Cause;
use crate::transaction::objects::identity::is_made_since;
use crate::transaction::objects::names::Dirs;
use patchadm_rootfs::{
    CAPABILITY, Dir, FileType, Live, LiveKind, ObjectRights, OpenObject, Root, Timestamp, WritableFile,
    random,
};
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::package::{Ftype, Mode, ObjectPath};
use patchadm_svr4::places::own_directory;

pub(crate) const NAME: &[u8] = b"queue";

/// Locked for the life of the value.
#[derive(Debug)]
pub struct InstallfQueue {
    file: WritableFile,
    /// The birth of the run's stage.
    begun: Option<Timestamp>,
    /// Read or added so far.
    pub queue: InstallfRequests,
}

/// Empty without requests.
pub fn read_queue(root: &Root, stage: &ObjectPath) -> Result<InstallfRequests, Cause> {
    let Some(dir) = root.dir_if_there(stage)? else { return Ok(InstallfRequests::default()) };
    parse(&dir, &dir.read(NAME, LARGEST)?.unwrap_or_default())
}

fn parse(stage: &Dir, bytes: &[u8]) -> Result<InstallfRequests, Cause> {
    let damaged = |reason| Cause::Queue { path: stage.root().show(&stage.at(NAME)), reason };
    let queue = InstallfRequests::parse(bytes).map_err(damaged)?;
    match record_in(stage.root(), &queue)? {
        None => Ok(queue),
        Some(line) => Err(damaged(InstallfQueueError { line, field: Some("the path") })),
    }
}

/// Returns the first line about an object among our own records, where no request changes anything.
fn record_in(root: &Root, queue: &InstallfRequests) -> Result<Option<usize>, Cause> {
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

fn object_of(entry: &InstallfEntry) -> Option<&ObjectPath> {
    match entry {
        InstallfEntry::Made(path, _)
        | InstallfEntry::Changed { path, .. }
        | InstallfEntry::Turned { path, .. } => Some(path),
        _ => None,
    }
}

impl InstallfQueue {
    /// Waits for the lock; the first request creates the queue.
    pub fn open(root: &Root, stage: &ObjectPath) -> Result<Self, Cause> {
        let dir = root.dir(stage)?;
        let mut file = dir.open_or_create(NAME, Mode::of(0o600))?;
        file.lock()?;
        let bytes = dir.read(NAME, LARGEST)?.unwrap_or_default();
        // A torn line would spoil the next one.
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        // Truncation frees space reserved after the end.
        if whole != bytes.len() {
            file.set_size(whole as u64)?;
        }
        Ok(Self { queue: parse(&dir, &bytes)?, file, begun: dir.itself()?.inode.born })
    }

    /// The change is durable on return.
    pub fn add(&mut self, entries: Vec<InstallfEntry>) -> Result<(), Cause> {
        self.file.put_at(&InstallfRequests::lines(&entries), self.file.size()?)?;
        self.file.sync()?;
        self.queue.0.extend(entries);
        Ok(())
    }

    /// Each change is announced by a durable line. Objects that somebody else could have put there get no wider rights,
    /// unless they were made during the run.
    pub fn make(&mut self, root: &Root, changes: &[Box<Change>]) -> Result<(), Cause> {
        let notes: Vec<InstallfEntry> = changes.iter().filter_map(|change| note(change)).collect();
        if !notes.is_empty() {
            self.add(notes)?;
        }
        let mut hand = LiveChanger { root, begun: self.begun, dirs: Dirs::new(root) };
        changes.iter().try_for_each(|change| hand.make(change))
    }
}

/// For the rollback.
fn note(change: &Change) -> Option<InstallfEntry> {
    let path = change.path.clone();
    match (&change.action, change.old.as_deref()) {
        (Action::Add(new), _) => {
            let is_link = matches!(new.body, Body::Link(_));
            Some(InstallfEntry::Made(path, if is_link { Ftype::Link } else { new.body.file_type().ftype()? }))
        }
        (
            Action::Replace(NewObject { body: Body::Symlink(new), .. }),
            Some(Live { kind: LiveKind::Symlink(old), uid, gid, mtime, .. }),
        ) => {
            let was = Some((*uid, *gid, *mtime));
            Some(InstallfEntry::Turned { path, old: old.clone(), new: new.clone(), was })
        }
        (Action::Attributes(_), Some(old)) => {
            // No request concerns a socket.
            let (ftype, b3) = (old.kind.file_type().ftype()?, old.digest());
            let Live { mode, uid, gid, inode, .. } = *old;
            // A new owner clears them.
            let capability = b3.and_then(|_| old.xattrs.get(CAPABILITY).cloned());
            Some(InstallfEntry::Changed { path, mode, uid, gid, inode, ftype, b3, capability })
        }
        _ => None,
    }
}

struct LiveChanger<'a> {
    root: &'a Root,
    begun: Option<Timestamp>,
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
                turn(&parent, name, target, (*uid, *gid, None))
            }
            Action::Attributes(new) => self.set_attributes(
                &parent,
                name,
                ObjectRights { uid: new.uid, gid: new.gid, mode: new.mode },
            ),
            Action::Replace(_) | Action::Delete | Action::RemoveDirectory => {
                Err(Cause::Internal(format!("{} cannot be changed atomically", change.path)))
            }
        }
    }

    fn add(&mut self, parent: &Dir, name: &[u8], new: &NewObject) -> Result<(), Cause> {
        match &new.body {
            Body::Directory => drop(parent.make_dir(name, Mode::of(0o700))?),
            Body::Symlink(target) => parent.make_symlink(name, target)?,
            Body::Pipe => parent.make_node(name, FileType::Pipe, (0, 0))?,
            Body::Device { major, minor, .. } => {
                parent.make_node(name, new.body.file_type(), (*major, *minor))?;
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
        self.set_attributes(parent, name, ObjectRights { uid: Some(new.uid), gid: Some(new.gid), mode })
    }

    fn set_attributes(&self, parent: &Dir, name: &[u8], rights: ObjectRights) -> Result<(), Cause> {
        let gone = || Cause::Changed(parent.root().show(&parent.at(name)));
        let object = parent.hold(name)?.ok_or_else(gone)?;
        parent.must_be_own(&object, rights, |seen| Ok(is_made_since(self.begun, seen)))?;
        set_permitted(&object, parent.root(), rights)
    }
}

fn set_permitted(object: &OpenObject, root: &Root, rights: ObjectRights) -> Result<(), Cause> {
    let (uid, gid) = if root.is_privileged() { (rights.uid, rights.gid) } else { (None, None) };
    Ok(object.set_rights(ObjectRights { uid, gid, ..rights })?)
}

fn turn(
    parent: &Dir,
    name: &[u8],
    target: &[u8],
    (uid, gid, mtime): (u32, u32, Option<Timestamp>),
) -> Result<(), Cause> {
    let beside = format!(".patchadm-{:016x}", random()?).into_bytes();
    parent.make_symlink(&beside, target)?;
    if parent.root().is_privileged() {
        parent.set_owner(&beside, Some(uid), Some(gid))?;
    }
    if let Some(mtime) = mtime {
        parent.set_mtime(&beside, mtime)?;
    }
    Ok(parent.rename(&beside, name)?)
}

/// Undoes immediate changes, latest first, in a rollback.
///
/// Call this before the run's ops are undone, to empty directories that go, and again for objects hidden until then. It
/// can be repeated. Changed objects and non-empty directories stay, with a note.
pub fn undo_queue(root: &Root, queue: &InstallfRequests) -> Result<Vec<String>, Cause> {
    let mut notes = Vec::new();
    let mut dirs = Dirs::new(root);
    for entry in queue.0.iter().rev() {
        let Some(path) = object_of(entry) else { continue };
        let physical = root.resolver().locate(path)?;
        let Some(parent) = dirs.parent(&physical)? else { continue };
        let Some(seen) = parent.look(physical.name())? else { continue };
        let name = physical.name();
        match entry {
            InstallfEntry::Made(_, ftype) if is_of(*ftype, seen.file_type, seen.links) => {
                if seen.file_type != FileType::Directory {
                    parent.remove(name)?;
                } else if !parent.remove_dir(name)? {
                    notes.push(format!("{} is not empty and was kept", root.show(path)));
                }
                dirs.forget();
            }
            InstallfEntry::Made(..) => {
                notes.push(format!(
                    "{} was changed by another process; it is left unchanged",
                    root.show(path)
                ));
            }
            InstallfEntry::Changed { .. } => notes.extend(change_back(&parent, name, entry)?),
            InstallfEntry::Turned { old, new, was, .. }
                if seen.file_type == FileType::Symlink && parent.read_link(name)? == *new =>
            {
                let was = was.map(|(uid, gid, mtime)| (uid, gid, Some(mtime)));
                turn(&parent, name, old, was.unwrap_or((seen.uid, seen.gid, None)))?;
            }
            _ => {}
        }
    }
    Ok(notes)
}

/// Set-id bits return only to the same bytes; otherwise returns a note.
fn change_back(parent: &Dir, name: &[u8], entry: &InstallfEntry) -> Result<Option<String>, Cause> {
    let InstallfEntry::Changed { mode, uid, gid, inode, ftype, b3, capability, .. } = entry else {
        return Ok(None);
    };
    let Some(object) = parent.hold(name)? else { return Ok(None) };
    let seen = object.look()?;
    let is_it = seen.inode == *inode && is_of_type(*ftype, seen.file_type);
    if !holds("queue.changed.inode", is_it) {
        return Ok(None);
    }
    let is_program = seen.file_type == FileType::Regular && (mode.is_set_id() || capability.is_some());
    let is_known = !is_program || object.sums()?.map(|sums| sums.b3) == *b3;
    let is_known = holds("queue.changed.bytes", is_known);
    let mode = if is_known { *mode } else { Mode::of(mode.bits() & 0o1777) };
    let rights = ObjectRights { uid: Some(*uid), gid: Some(*gid), mode: Some(mode) };
    set_permitted(&object, parent.root(), rights)?;
    if let Some(capability) = capability.as_ref().filter(|_| is_known)
        && object.xattr(CAPABILITY)?.is_none()
    {
        object.set_xattr(CAPABILITY, capability)?;
    }
    let shown = parent.root().show(&parent.at(name));
    Ok((!is_known)
        .then(|| format!("{shown} was written to by another process; it stays without its set-id bits")))
}

fn is_of_type(ftype: Ftype, seen: FileType) -> bool {
    FileType::of(ftype).unwrap_or(FileType::Regular) == seen
}

/// A file counts as a hard link only while it has another name, so that no bytes are lost.
fn is_of(ftype: Ftype, seen: FileType, links: u64) -> bool {
    match ftype {
        Ftype::Link => holds("queue.made.link", seen != FileType::Directory && links > 1),
        _ => holds("queue.made.found", is_of_type(ftype, seen)),
    }
}

pub(crate) const FAILED: &[u8] = b"failed";

const FAILED_SIZE: usize = 4096;

const LONGEST_NOTE: usize = 1000;

const BLANK: u8 = 0;

const RESERVED: u64 = 64 << 10;

pub(crate) fn prepare_notes(stage: &Dir) -> Result<(), Cause> {
    write_blank(&stage.open_or_create(FAILED, Mode::of(0o600))?)?;
    Ok(stage.open_or_create(NAME, Mode::of(0o600))?.reserve_beyond(RESERVED)?)
}

fn write_blank(file: &WritableFile) -> Result<(), Cause> {
    Ok(file.put_at(&[BLANK; FAILED_SIZE], 0)?)
}

/// `text` names the call and the reason.
pub fn note_failed_request(root: &Root, stage: &ObjectPath, text: &str) -> Result<(), Cause> {
    let dir = root.dir(stage)?;
    match write_note(&dir, text) {
        Ok(()) => Ok(()),
        Err(_) => Ok(dir.remove(FAILED)?),
    }
}

fn write_note(dir: &Dir, text: &str) -> Result<(), Cause> {
    let file = dir.open_or_create(FAILED, Mode::of(0o600))?;
    file.lock()?;
    let notes = dir.read(FAILED, FAILED_SIZE as u64)?.unwrap_or_default();
    let end = notes.iter().position(|&byte| byte == BLANK).unwrap_or(notes.len());
    let room = FAILED_SIZE.saturating_sub(end + 1).min(LONGEST_NOTE);
    let cut = text.bytes().map(|byte| if byte == BLANK || byte == b'\n' { b' ' } else { byte }).take(room);
    let line: Vec<u8> = cut.chain([b'\n']).collect();
    // Without room, later failures are not named; it is known that calls failed.
    if room > 0 { Ok(file.put_at(&line, end as u64)?) } else { Ok(()) }
}

pub(crate) fn take_failed_requests(stage: &Dir) -> Result<Vec<String>, Cause> {
    let Some(notes) = stage.read(FAILED, FAILED_SIZE as u64)? else {
        // A later failure gets a note if there is room.
        let _ = prepare_notes(stage);
        return Ok(vec!["installf or removef failed, and there was no space to record why".to_owned()]);
    };
    let lines = notes.split(|&byte| byte == b'\n' || byte == BLANK).filter(|line| !line.is_empty());
    let texts: Vec<String> = lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    if !texts.is_empty() {
        write_blank(&stage.open_or_create(FAILED, Mode::of(0o600))?)?;
    }
    Ok(texts)
}

#[cfg(test)]
mod tests;
