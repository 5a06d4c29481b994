//! A disk that forgets: the possible results of a power cut on changes that were not synced, made on the real tree.
//!
//! The disk stands at the door of a root and records every change together with its inverse. A sync makes durable what
//! it covers: syncfs everything, fsync of a directory the names in it, fsync of a file its bytes and attributes. At a
//! power cut each other change is *kept* or *lost*, and a lost one is undone on the tree itself, so that every object
//! that remains is the one that the journal knows: same inode, same birth time. An unlinked object has a spare name
//! outside the root, and a removed directory is moved there instead.
//!
//! ```text
//!   kept   create a    exchange a b      syncfs     exchange c d     unlink d
//!          ──────────── durable ───────────┤        may be lost      may be lost; not kept where the exchange is lost
//! ```
//! A journaling file system applies changes of one directory entry in their order, makes no entry in a directory that
//! it has lost, and keeps neither bytes nor attributes of an object that it has lost. So only sets of kept changes are
//! tried that contain everything a kept change depends on ([`Journaled::below`]). Within this, any set is possible:
//! ext4 and xfs would lose only the last changes, and bytes; btrfs also those behind an fsync of something else. Each
//! write to a file is kept or lost as a whole, or cut in half if it made the file longer.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::{fs, io};

use patchadm_changeset::format::journal::{RunOutcome, parse_head};
use patchadm_rootfs::{ChangeCall, Door, RootChange};
use patchadm_svr4::package::ObjectPath;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, chmod, chownat, linkat,
    mkdirat, openat, renameat_with, statat, unlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

/// Something by which changes are ordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// A name in the directory with this inode.
    Name(u64, Vec<u8>),
    /// The existence of an object.
    Object(u64),
    /// The bytes of a file.
    Bytes(u64),
    /// Owner, mode, times of an object.
    Attributes(u64),
}

/// A change that is not durable yet, as far as its order is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Journaled {
    /// Index of the change, from 0.
    pub(crate) number: usize,
    touches: BTreeSet<Thing>,
    /// Things that must exist for the change.
    needs: BTreeSet<Thing>,
}

impl Journaled {
    /// True if this change cannot be kept when `earlier` is lost.
    fn stands_on(&self, earlier: &Self) -> bool {
        let meets = |one: &BTreeSet<Thing>, other: &BTreeSet<Thing>| one.intersection(other).next().is_some();
        meets(&self.touches, &earlier.touches)
            || meets(&self.touches, &earlier.needs)
            || meets(&self.needs, &earlier.touches)
    }

    /// For each change, the earlier changes that it depends on, directly or not, and the change itself.
    pub(crate) fn below(changes: &[Self]) -> Vec<Vec<bool>> {
        let mut below: Vec<Vec<bool>> = Vec::new();
        for (index, change) in changes.iter().enumerate() {
            let mut mine = vec![false; changes.len()];
            mine[index] = true;
            for earlier in (0..index).filter(|earlier| change.stands_on(&changes[*earlier])) {
                mine.iter_mut().zip(&below[earlier]).for_each(|(mine, theirs)| *mine |= theirs);
            }
            below.push(mine);
        }
        below
    }
}

/// An object that is held open, whatever happens to its names.
#[derive(Debug)]
struct Held {
    fd: OwnedFd,
    inode: u64,
}

impl Held {
    /// A path to the object, for calls that take only a path.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }

    fn stat(&self) -> Stat {
        statat(&self.fd, "", AtFlags::EMPTY_PATH).unwrap()
    }

    fn set_mode(&self, mode: u32) -> Result<(), Errno> {
        chmod(self.path(), Mode::from_raw_mode(mode & 0o7777))
    }

    /// Sets owner, mode and times.
    fn set(&self, stat: &Stat) -> Result<(), Errno> {
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        chownat(&self.fd, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            return Ok(());
        }
        self.set_mode(stat.st_mode)?;
        let time =
            |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.cast_signed() };
        let last_access = time(stat.st_atime, stat.st_atime_nsec);
        let last_modification = time(stat.st_mtime, stat.st_mtime_nsec);
        utimensat(CWD, self.path(), &Timestamps { last_access, last_modification }, AtFlags::empty())
    }

    /// Restores these bytes; with `torn`, only cuts the bytes behind them in half.
    fn write(&self, bytes: &[u8], torn: bool) -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).open(self.path())?;
        let (before, now) = (bytes.len() as u64, file.metadata()?.len());
        if torn && before < now {
            return file.set_len(before.midpoint(now));
        }
        file.set_len(before)?;
        file.write_all_at(bytes, 0)
    }
}

/// A name in a directory.
#[derive(Clone, Debug)]
struct Place {
    directory: Arc<Held>,
    name: Vec<u8>,
}

impl Place {
    fn thing(&self) -> Thing {
        Thing::Name(self.directory.inode, self.name.clone())
    }

    fn directory(&self) -> Thing {
        Thing::Object(self.directory.inode)
    }

    fn stat(&self) -> Option<Stat> {
        statat(&self.directory.fd, &*self.name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    fn move_to(&self, other: &Self) -> Result<(), Errno> {
        let (from, to) = (&self.directory.fd, &other.directory.fd);
        renameat_with(from, &*self.name, to, &*other.name, RenameFlags::NOREPLACE)
    }

    fn remove(&self, flags: AtFlags) -> Result<(), Errno> {
        unlinkat(&self.directory.fd, &*self.name, flags)
    }
}

/// How a change is undone.
#[derive(Debug)]
enum Back {
    /// Removes an object that was made.
    Remove(Place),
    /// Removes a directory that was made.
    RemoveDirectory(Place),
    Exchange(Place, Place),
    /// Moves an object from the second name back to the first, and restores the previous object of the second name from
    /// its spare name.
    Move(Place, Place, Option<Place>),
    /// Restores a removed object from its spare name.
    Return(Place, Place),
    /// Restores the bytes of a file.
    Bytes(Arc<Held>, Vec<u8>),
    /// Restores the attributes of an object.
    Attributes(Arc<Held>, Box<Stat>),
}

impl Back {
    /// The things that the change touches, and the things that must exist for it.
    fn order(&self, call: ChangeCall) -> (BTreeSet<Thing>, BTreeSet<Thing>) {
        let inode = |place: &Place| Thing::Object(place.stat().map_or(0, |stat| stat.st_ino));
        let (touches, needs) = match self {
            Self::Remove(place) if call == ChangeCall::MakeLink => {
                (vec![place.thing()], vec![place.directory(), inode(place)])
            }
            Self::Remove(place) | Self::RemoveDirectory(place) => {
                (vec![place.thing(), inode(place)], vec![place.directory()])
            }
            Self::Exchange(one, other) | Self::Move(one, other, _) => {
                (vec![one.thing(), other.thing()], vec![one.directory(), other.directory()])
            }
            Self::Return(place, spare) if call == ChangeCall::RemoveDirectory => {
                (vec![place.thing(), inode(spare)], vec![place.directory()])
            }
            Self::Return(place, _) => (vec![place.thing()], vec![place.directory()]),
            Self::Bytes(held, _) => (vec![Thing::Bytes(held.inode)], vec![Thing::Object(held.inode)]),
            Self::Attributes(held, _) => {
                (vec![Thing::Attributes(held.inode)], vec![Thing::Object(held.inode)])
            }
        };
        (touches.into_iter().collect(), needs.into_iter().collect())
    }

    fn undo(self, torn: bool) -> Result<(), Errno> {
        match self {
            Self::Remove(place) => place.remove(AtFlags::empty()),
            Self::RemoveDirectory(place) => place.remove(AtFlags::REMOVEDIR),
            Self::Exchange(one, other) => {
                let (from, to) = (&one.directory.fd, &other.directory.fd);
                renameat_with(from, &*one.name, to, &*other.name, RenameFlags::EXCHANGE)
            }
            Self::Move(from, to, over) => {
                to.move_to(&from)?;
                over.map_or(Ok(()), |over| over.move_to(&to))
            }
            Self::Return(place, spare) => spare.move_to(&place),
            Self::Bytes(held, before) => {
                let now = held.stat();
                held.set_mode(0o600)?;
                held.write(&before, torn).unwrap();
                held.set(&now)
            }
            Self::Attributes(held, before) => held.set(&before),
        }
    }
}

/// The changes of a root, and which of them are durable.
pub(crate) struct Disk {
    spare: PathBuf,
    state: Mutex<State>,
    deaf: Option<Deaf>,
}

/// The syncs that are reported as made but are not. Called with the call, the path, and the number of earlier calls of
/// the same kind on the same path.
pub(crate) type Deaf = fn(ChangeCall, &ObjectPath, usize) -> bool;

#[derive(Default)]
struct State {
    /// How many changes passed.
    passed: usize,
    /// The file that is being written.
    written: Option<ObjectPath>,
    /// How many things were put aside.
    spares: usize,
    /// How to undo a change that has been let through.
    pending: Option<Back>,
    changes: Vec<(Journaled, Back)>,
    held: HashMap<u64, Arc<Held>>,
    syncs: HashMap<(ChangeCall, ObjectPath), usize>,
    /// How many changes had passed at the last sync.
    begins: usize,
    /// Number of runs that are durably committed.
    commits: usize,
    windows: Vec<Window>,
}

/// All changes that were not durable just before a sync, or at the end.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// How many changes had passed at the sync before.
    pub(crate) begins: usize,
    /// How many runs had committed durably.
    pub(crate) commits: usize,
    pub(crate) changes: Vec<Journaled>,
}

impl Disk {
    /// A disk that keeps what it needs in `spare`, a directory of the same file system.
    pub(crate) fn new(spare: PathBuf, deaf: Option<Deaf>) -> Arc<Self> {
        Arc::new(Self { spare, state: Mutex::default(), deaf })
    }

    /// A door to it that lets changes through until `limit` have passed the disk, by all of its doors together.
    /// Consecutive writes to one file count as one change: their number may depend on how well the file compresses.
    pub(crate) fn door(self: &Arc<Self>, limit: usize) -> Door {
        let (before, after) = (self.clone(), self.clone());
        let watcher = move |step: &RootChange<'_>| {
            let mut state = before.state.lock().unwrap();
            let written = (step.call == ChangeCall::Write).then(|| step.path.clone());
            let goes_on = written.is_some() && written == state.written;
            if !goes_on && state.passed >= limit {
                return Err(Errno::IO);
            }
            state.passed += usize::from(!goes_on);
            state.pending = if goes_on { None } else { state.back(step, &before.spare) };
            state.written = written;
            Ok(())
        };
        Door::watched(watcher).witnessed(move |step, made| after.note(step, made))
    }

    /// Every set of changes that were not durable at the same time: just before each sync, and now.
    pub(crate) fn windows(&self) -> Vec<Window> {
        let state = self.state.lock().unwrap();
        state.windows.iter().cloned().chain([state.window()]).collect()
    }

    /// Cuts the power: of the changes that are not durable, those with a false `kept` are lost. With `torn`, half of
    /// the lost bytes that made a file longer are kept.
    pub(crate) fn cut(&self, kept: &[bool], torn: bool) {
        let mut state = self.state.lock().unwrap();
        let changes = std::mem::take(&mut state.changes);
        assert_eq!(changes.len(), kept.len(), "what is done is the same each time");
        for ((change, back), _) in changes.into_iter().zip(kept).rev().filter(|(_, kept)| !**kept) {
            let text = format!("{change:?} {back:?}");
            back.undo(torn).unwrap_or_else(|errno| panic!("{text} cannot be lost: {errno}"));
        }
    }

    /// Records the result of a change.
    fn note(&self, step: &RootChange<'_>, made: Result<(), Errno>) {
        let mut state = self.state.lock().unwrap();
        let pending = state.pending.take();
        if made.is_err() {
            if let (ChangeCall::RemoveDirectory, Some(back)) = (step.call, pending) {
                back.undo(false).unwrap();
            }
            return;
        }
        if matches!(step.call, ChangeCall::Sync | ChangeCall::SyncFileSystem) {
            let count = state.syncs.entry((step.call, step.path.clone())).or_default();
            *count += 1;
            let before = *count - 1;
            if !self.deaf.is_some_and(|deaf| deaf(step.call, step.path, before)) {
                state.settle(step);
            }
        } else if let Some(back) = pending {
            let (touches, needs) = back.order(step.call);
            let number = state.passed - 1;
            state.changes.push((Journaled { number, touches, needs }, back));
        }
    }
}

impl State {
    fn window(&self) -> Window {
        let changes = self.changes.iter().map(|(change, _)| change.clone()).collect();
        Window { begins: self.begins, commits: self.commits, changes }
    }

    /// Handles a sync that was made.
    fn settle(&mut self, step: &RootChange<'_>) {
        let window = self.window();
        let target = step.root.join(relative(step.path));
        if step.call == ChangeCall::SyncFileSystem {
            self.changes.clear();
            self.held.clear();
        } else {
            let durable = covered(&target, &window.changes);
            let mut durable = durable.iter();
            self.changes.retain(|_| !durable.next().unwrap());
        }
        if !window.changes.is_empty() {
            self.windows.push(window);
        }
        self.begins = self.passed;
        if target.ends_with("var/sadm/patchadm/journal") {
            let head = fs::read(&target).unwrap();
            let head = parse_head(head.get(..4096).unwrap()).unwrap();
            self.commits += usize::from(head.outcome == Some(RunOutcome::Commit));
        }
    }

    fn hold(&mut self, path: &Path) -> Arc<Held> {
        let fd = openat(CWD, path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
        let fd = fd.unwrap_or_else(|errno| panic!("{}: {errno}", path.display()));
        let inode = statat(&fd, "", AtFlags::EMPTY_PATH).unwrap().st_ino;
        self.held.entry(inode).or_insert_with(|| Arc::new(Held { fd, inode })).clone()
    }

    fn place(&mut self, root: &Path, path: &ObjectPath) -> Place {
        let parent = path.parent().expect("the root itself is never changed");
        Place { directory: self.hold(&root.join(relative(&parent))), name: path.name().to_vec() }
    }

    /// A new spare place.
    fn spare(&mut self, spare: &Path) -> Place {
        self.spares += 1;
        Place { directory: self.hold(spare), name: self.spares.to_string().into_bytes() }
    }

    /// How to undo a change that is about to be made; none if it changes nothing.
    fn back(&mut self, step: &RootChange<'_>, spare: &Path) -> Option<Back> {
        let target = step.root.join(relative(step.path));
        let mut place = |path| self.place(step.root, path);
        Some(match step.call {
            ChangeCall::Create | ChangeCall::MakeSymlink | ChangeCall::MakeNode | ChangeCall::MakeLink => {
                Back::Remove(place(step.path))
            }
            ChangeCall::OpenWrite => {
                Some(place(step.path)).filter(|place| place.stat().is_none()).map(Back::Remove)?
            }
            ChangeCall::MakeDirectory => Back::RemoveDirectory(place(step.path)),
            ChangeCall::Exchange => Back::Exchange(place(step.path), place(step.other?)),
            ChangeCall::Move => Back::Move(place(step.path), place(step.other?), None),
            ChangeCall::Rename => {
                let (from, to) = (place(step.path), place(step.other?));
                let over = to.stat().map(|_| self.keep(&to, spare));
                Back::Move(from, to, over)
            }
            ChangeCall::Unlink => {
                let place = place(step.path);
                place.stat()?;
                Back::Return(place.clone(), self.keep(&place, spare))
            }
            ChangeCall::RemoveDirectory => {
                let place = place(step.path);
                let is_empty = fs::read_dir(&target).ok()?.next().is_none();
                is_empty.then(|| self.swap(place, spare))?
            }
            ChangeCall::Write | ChangeCall::Truncate | ChangeCall::Allocate => {
                let held = self.hold(&target);
                Back::Bytes(held, fs::read(&target).unwrap())
            }
            ChangeCall::SetOwner | ChangeCall::SetMode | ChangeCall::SetTimes => {
                let held = self.hold(&target);
                let stat = Box::new(held.stat());
                Back::Attributes(held, stat)
            }
            // The stories set no extended attributes.
            ChangeCall::SetXattr | ChangeCall::Sync | ChangeCall::SyncFileSystem => return None,
        })
    }

    /// Gives an object that is about to be unlinked a spare name.
    fn keep(&mut self, place: &Place, spare: &Path) -> Place {
        let kept = self.spare(spare);
        linkat(&place.directory.fd, &*place.name, &kept.directory.fd, &*kept.name, AtFlags::empty()).unwrap();
        kept
    }

    /// Puts an empty directory aside, and another in its place to be removed.
    fn swap(&mut self, place: Place, spare: &Path) -> Back {
        let kept = self.spare(spare);
        place.move_to(&kept).unwrap();
        mkdirat(&place.directory.fd, &*place.name, Mode::RWXU).unwrap();
        Back::Return(place, kept)
    }
}

/// The changes that an fsync of the object at `path` makes durable.
fn covered(path: &Path, changes: &[Journaled]) -> Vec<bool> {
    let seen = fs::metadata(path).unwrap();
    let inode = seen.ino();
    let is_covered = |thing: &Thing| match thing {
        Thing::Name(directory, _) => seen.is_dir() && *directory == inode,
        Thing::Bytes(object) | Thing::Attributes(object) => *object == inode,
        Thing::Object(_) => false,
    };
    let below = Journaled::below(changes);
    let mut durable = vec![false; changes.len()];
    for (index, _) in changes.iter().enumerate().filter(|(_, change)| change.touches.iter().any(is_covered)) {
        if seen.is_dir() {
            durable.iter_mut().zip(&below[index]).for_each(|(durable, below)| *durable |= below);
        } else {
            durable[index] = true;
        }
    }
    durable
}

fn relative(path: &ObjectPath) -> &Path {
    Path::new(OsStr::from_bytes(path.relative()))
}
