//! Reads records without a lock: all as before a run or all as after it. During a run, old records come from their
//! place or the stage. An object is opened first, then identified; then the journal is checked again, and a changed one
//! restarts the query. No reader waits for a writer, or vice versa.
//!
//! A run's script, and its commands, see live files, except old parameters of packages that the run replaces or removes
//! (pkgparam(1), [`RecordReader::within`]). In a root copied during a run, inodes differ and live files are shown:
//! recovery must come first.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt as _;
use std::thread;
use std::time::{Duration, SystemTime};

use crate::format::contents_stamp::{BoundPackages, ContentsStamp, OwnerCounts, STAMP_HEAD};
use crate::format::journal;
use crate::format::journal::{HEAD, Identity, Journal, JournalError, JournalHead, Op, OpKind};
use crate::records::journal_head::{head, open_journal, read_to};
use crate::records::{ViewError, failed, places};
use patchadm_rootfs::{
    Digest, Dir, FileType, Inode, ObjectStatus, ReadBudget, Resolver, Root, RootError, Timestamp, is_hollow,
};
use patchadm_svr4::package::ObjectPath;

const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// Of a journal whose lines are damaged.
const READINGS: usize = 2;

/// 256 MiB: about a million records.
const LONGEST: u64 = 256 << 20;

const COMMON: usize = 1 << 13;

/// For the files of save directories that the users of one view read. A thousand patches have a few MB.
const LARGEST_SAVES: u64 = 512 << 20;

/// An outsider, or a command started by a run's script.
#[derive(Clone, Copy, Debug)]
pub struct RecordReader<'a> {
    root: &'a Root,
    run: Option<&'a str>,
}

impl<'a> RecordReader<'a> {
    /// Inside `run`, if that is named and still open; otherwise an outsider.
    pub fn within(root: &'a Root, run: Option<&'a str>) -> Self {
        Self { root, run }
    }

    pub fn root(&self) -> &'a Root {
        self.root
    }
}

impl<'a> From<&'a Root> for RecordReader<'a> {
    fn from(root: &'a Root) -> Self {
        Self { root, run: None }
    }
}

/// Of one moment. It caches directories, so make a new one after a change.
#[derive(Debug)]
pub struct RecordView<'a> {
    root: &'a Root,
    resolver: Resolver<'a>,
    open: Option<Journal>,
    places: OnceCell<OpPlaces>,
    within: Option<ObjectPath>,
    last: OnceCell<Option<LastRecords>>,
    saves: ReadBudget,
}

/// As its scripts know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRun {
    /// `<number>-<16 hexadecimal digits>`.
    pub name: String,
    pub command: String,
    /// Physical path on the records' file system. `None` for a journal without file systems, which no run writes.
    pub stage: Option<ObjectPath>,
}

/// The operations of an open run, which may be very many, by the paths that they name.
#[derive(Debug, Default)]
struct OpPlaces {
    on: HashMap<ObjectPath, Vec<usize>>,
    /// By the directory.
    inside: HashMap<ObjectPath, Vec<usize>>,
}

impl OpPlaces {
    fn of(ops: &[Op]) -> Self {
        let mut places = Self::default();
        for (at, op) in ops.iter().enumerate() {
            for path in std::iter::once(&op.path).chain(&op.to) {
                places.on.entry(path.clone()).or_default().push(at);
                if let Some(directory) = path.parent() {
                    places.inside.entry(directory).or_default().push(at);
                }
            }
        }
        places
    }

    fn on_the_way(&self, path: &ObjectPath) -> Vec<usize> {
        let all = std::iter::once(path.as_bytes()).chain(path.ancestors_bytes());
        all.filter_map(|path| self.on.get(path)).flatten().copied().collect()
    }
}

/// Active, or dead and not recovered.
pub fn open_run(root: &Root) -> Result<Option<OpenRun>, ViewError> {
    read_consistently(root, |view| {
        Ok(view.open.as_ref().map(|journal| OpenRun {
            name: journal.head.header.run.clone(),
            command: journal.head.header.command.clone(),
            stage: journal.domains.first().map(|domain| domain.stage.clone()),
        }))
    })
}

/// Calls `read` again while runs begin or end.
pub fn read_consistently<'a, T, E: From<ViewError>>(
    reader: impl Into<RecordReader<'a>>,
    mut read: impl FnMut(&RecordView<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let reader = reader.into();
    let (mut damage, mut readings) = (None, 0);
    for _ in 0..TRIES {
        match attempt(reader, &mut readings, &mut read) {
            Ok(Some(answer)) => return answer,
            Ok(None) => readings = 0,
            // The version of a journal does not change.
            Err(
                error @ ViewError::Journal {
                    reason: JournalError::Version(_) | JournalError::Earlier(_), ..
                },
            ) => return Err(error.into()),
            // Lines are written before publication; only another journal has others.
            Err(error @ ViewError::Journal { .. }) if readings >= READINGS => return Err(error.into()),
            // A sector that is being written looks damaged for a moment.
            Err(error @ ViewError::Journal { .. }) => damage = Some(error),
            Err(error) => return Err(error.into()),
        }
        thread::sleep(PAUSE);
    }
    let busy = || ViewError::Busy(reader.root.prefix().display().to_string());
    Err(damage.unwrap_or_else(busy).into())
}

fn attempt<T, E: From<ViewError>>(
    reader: RecordReader<'_>,
    readings: &mut usize,
    read: &mut impl FnMut(&RecordView<'_>) -> Result<T, E>,
) -> Result<Option<Result<T, E>>, ViewError> {
    let root = reader.root;
    let before = head(root)?;
    let view = match RecordView::at(reader, readings, before.as_ref()) {
        Err(ViewError::Raced) => return Ok(None),
        other => other?,
    };
    let answer = read(&view);
    let after = head(root)?;
    Ok((state(before.as_ref()) == state(after.as_ref())).then_some(answer))
}

/// These facts must not change during a query.
fn state(head: Option<&JournalHead>) -> Option<(&str, bool, Option<journal::RunOutcome>)> {
    head.map(|head| (head.header.run.as_str(), head.is_open(), head.outcome))
}

impl<'a> RecordView<'a> {
    /// `readings` counts how often lines of a journal were read.
    fn at(
        reader: RecordReader<'a>,
        readings: &mut usize,
        head: Option<&JournalHead>,
    ) -> Result<Self, ViewError> {
        let root = reader.root;
        // A root with shown names is already as before the run.
        if root.is_showing() || !head.is_some_and(JournalHead::is_open) {
            return Ok(Self::live(root));
        }
        let Some((mut file, path)) = open_journal(root)? else { return Err(ViewError::Raced) };
        let mut bytes = Vec::new();
        read_to(&mut file, HEAD as u64, &mut bytes, &path)?;
        let bad = |reason| ViewError::Journal { path: path.clone(), reason };
        let length = journal::parse_head(&bytes).map_err(bad)?.header.db;
        *readings += 1;
        let size = file.metadata().map_err(|error| failed("look at", path.clone(), &error))?.len();
        if length > size.saturating_sub(HEAD as u64).min(LONGEST) {
            return Err(bad(JournalError::Short));
        }
        if is_hollow(&file) {
            return Err(RootError::Hollow(path.clone()).into());
        }
        read_to(&mut file, length, &mut bytes, &path)?;
        let journal = Journal::parse_leading(&bytes).map_err(bad)?;
        let resolver = root.resolver();
        journal.must_be_of(&resolver.locate_dir(&places::own_directory())?).map_err(bad)?;
        let is_within = reader.run.is_some_and(|run| run == journal.head.header.run);
        let within = is_within.then(|| resolver.locate_dir(&places::packages())).transpose()?;
        Ok(Self { open: Some(journal), within, resolver, ..Self::live(root) })
    }

    /// For the holder of the lock after recovery, and scripts of a run.
    pub fn live(root: &'a Root) -> Self {
        Self {
            root,
            resolver: root.resolver(),
            open: None,
            places: OnceCell::new(),
            within: None,
            last: OnceCell::new(),
            saves: ReadBudget::of(LARGEST_SAVES),
        }
    }

    pub fn root(&self) -> &'a Root {
        self.root
    }

    /// For files of save directories.
    pub fn saves_budget(&self) -> &ReadBudget {
        &self.saves
    }

    /// The stamp's facts, even if outdated; `None` if it is missing or damaged.
    pub fn last_records(&self) -> Option<&LastRecords> {
        self.last.get_or_init(|| LastRecords::of(self.open(&places::contents_stamp()).ok()??)).as_ref()
    }

    pub fn is_live(&self) -> bool {
        self.open.is_none()
    }

    /// True for an unfinished run, alive or dead, that this reader is no part of.
    pub fn is_during_run(&self) -> bool {
        self.open.is_some() && self.within.is_none()
    }

    /// `None` if missing or no regular file.
    pub fn open(&self, path: &ObjectPath) -> Result<Option<File>, ViewError> {
        self.find(&self.resolver.locate(path)?, |dir, name| {
            if !dir.look(name)?.is_some_and(|seen| seen.file_type == FileType::Regular) {
                return Ok(None);
            }
            let file = match dir.open_regular(name) {
                Err(error) if error.is_not_found() => return Ok(None),
                opened => opened?,
            };
            let inode = inode_of(&file).map_err(|e| failed("look at", self.root.show(path), &e))?;
            Ok(Some((file, inode)))
        })
    }

    /// `None` if missing.
    pub fn read(&self, path: &ObjectPath, limit: u64) -> Result<Option<Vec<u8>>, ViewError> {
        let Some(mut file) = self.open(path)? else { return Ok(None) };
        // Most records need one call.
        let mut bytes = Vec::with_capacity(COMMON);
        let (most, shown) = (limit.saturating_add(1), || self.root.show(path));
        read_to(&mut file, most.min(COMMON as u64), &mut bytes, &shown())?;
        if bytes.len() == COMMON {
            if is_hollow(&file) {
                return Err(RootError::Hollow(shown()).into());
            }
            read_to(&mut file, most.saturating_sub(COMMON as u64), &mut bytes, &shown())?;
        }
        if bytes.len() as u64 > limit {
            return Err(RootError::TooLarge { path: self.root.show(path), limit }.into());
        }
        Ok(Some(bytes))
    }

    /// Like [`read`](Self::read), within a budget.
    pub fn read_within(
        &self,
        path: &ObjectPath,
        limit: u64,
        budget: &ReadBudget,
    ) -> Result<Option<Vec<u8>>, ViewError> {
        let mut other = None;
        let read = budget.read(limit, |limit| match self.read(path, limit) {
            Err(ViewError::Root(error)) => Err(error),
            Err(error) => {
                other = Some(error);
                Ok(None)
            }
            Ok(read) => Ok(read),
        });
        other.map_or_else(|| Ok(read?), Err)
    }

    /// `None` if missing.
    pub fn look(&self, path: &ObjectPath) -> Result<Option<ObjectStatus>, ViewError> {
        self.find(&self.resolver.locate(path)?, |dir, name| {
            Ok(dir.look(name)?.map(|seen| {
                let inode = seen.inode;
                (seen, inode)
            }))
        })
    }

    /// Sorted; `None` if missing.
    pub fn list(&self, path: &ObjectPath) -> Result<Option<Vec<Vec<u8>>>, ViewError> {
        let physical = self.resolver.locate_dir(path)?;
        let listed = self.find(&physical, |dir, name| {
            let directory = match dir.dir(name) {
                Err(error) if error.is_not_found() => return Ok(None),
                opened => opened?,
            };
            Ok(Some((directory.names()?, directory.itself()?.inode)))
        })?;
        let Some(mut names) = listed else { return Ok(None) };
        let ops = self.ops(|places| places.inside.get(&physical).cloned().unwrap_or_default());
        let is_in = |path: &&ObjectPath| path.parent_bytes() == Some(physical.as_bytes());
        if self.within.is_none() {
            let hidden = ops.iter().filter_map(|op| match op.kind {
                OpKind::Add => Some(&op.path),
                OpKind::Move => op.to.as_ref(),
                OpKind::Protect if op.old.is_none() => Some(&op.path),
                _ => None,
            });
            let hidden: HashSet<&[u8]> = hidden.filter(is_in).map(ObjectPath::name).collect();
            names.retain(|name| !hidden.contains(name.as_slice()));
        }
        let mut names: BTreeSet<Vec<u8>> = names.into_iter().collect();
        for op in ops.into_iter().filter(|op| is_in(&&op.path) && self.is_of_before(op, &op.path)) {
            let was_there = matches!(op.kind, OpKind::Delete | OpKind::Move | OpKind::Replace)
                || (op.kind == OpKind::Protect && op.old.is_some());
            if was_there {
                names.insert(op.path.name().to_vec());
            }
        }
        Ok(Some(names.into_iter().collect()))
    }

    /// A reader inside the run sees everything except replaced or removed package directories and parameters.
    fn is_of_before(&self, op: &Op, physical: &ObjectPath) -> bool {
        let Some(packages) = &self.within else { return true };
        let is_package = |path: &ObjectPath| path.parent().as_ref() == Some(packages);
        let is_params = physical.name() == b"pkginfo" && physical.parent().as_ref().is_some_and(is_package);
        let had_one = match op.kind {
            OpKind::Replace | OpKind::Delete => true,
            OpKind::Protect => op.old.is_some(),
            _ => false,
        };
        had_one && (is_package(physical) || is_params)
    }

    /// Returns operations of the open run, in its order.
    fn ops(&self, at: impl FnOnce(&OpPlaces) -> Vec<usize>) -> Vec<&Op> {
        let Some(journal) = &self.open else { return Vec::new() };
        let mut found = at(self.places.get_or_init(|| OpPlaces::of(&journal.ops)));
        found.sort_unstable();
        found.dedup();
        found.into_iter().filter_map(|at| journal.ops.get(at)).collect()
    }

    /// Applies `get` to a record at a physical path, or its old image during a run. `get` also returns the object's
    /// identity.
    fn find<T>(
        &self,
        physical: &ObjectPath,
        get: impl Fn(&Dir, &[u8]) -> Result<Option<(T, Inode)>, ViewError>,
    ) -> Result<Option<T>, ViewError> {
        let live = || Ok(self.image(physical, b"", &get)?.and_then(|(_, value)| value));
        let Some(journal) = &self.open else { return live() };
        // These leave every record in its place.
        let moves = |op: &&Op| !matches!(op.kind, OpKind::Attr | OpKind::Rmdir);
        let ops = self.ops(|places| places.on_the_way(physical)).into_iter();
        for op in ops.filter(moves).filter(|op| self.is_of_before(op, physical)) {
            if op.to.as_ref().is_some_and(|to| to == physical || physical.is_below(to)) {
                return Ok(None);
            }
            if op.path == *physical || physical.is_below(&op.path) {
                let below = physical.as_bytes().get(op.path.as_bytes().len()..).unwrap_or_default();
                return self.old_image(journal, op, below, &get);
            }
        }
        live()
    }

    /// Applies `get` to `below` in the old image: the live object, unless new or gone; else the staged one, unless a
    /// rollback has just put the new one there.
    fn old_image<T>(
        &self,
        journal: &Journal,
        op: &Op,
        below: &[u8],
        get: &impl Fn(&Dir, &[u8]) -> Result<Option<(T, Inode)>, ViewError>,
    ) -> Result<Option<T>, ViewError> {
        let is_held = op.kind == OpKind::Protect;
        if is_held && op.old.is_none() {
            return Ok(None);
        }
        // Scripts and batches change a held record repeatedly; the copy is in the old state, wherever it is.
        let is_old = |inode: &Inode| op.new.as_ref().is_some_and(|new| is(*inode, new)) == is_held;
        let staged = |name: &str| journal.domains.get(op.domain)?.stage.join(name.as_bytes()).ok();
        let elsewhere = if op.kind == OpKind::Move { op.to.clone() } else { staged(&op.stage) };
        // Without exchange, the old object has its own name in the stage.
        let second = (op.kind == OpKind::Replace).then(|| staged(&op.old_stage())).flatten();
        for _ in 0..TRIES {
            if let Some((_, value)) = self.image(&op.path, below, get)?.filter(|(inode, _)| is_old(inode)) {
                return Ok(value);
            }
            if !matches!(op.kind, OpKind::Replace | OpKind::Delete | OpKind::Move | OpKind::Protect) {
                return Ok(None);
            }
            for elsewhere in [&elsewhere, &second].into_iter().flatten() {
                if let Some((_, value)) =
                    self.image(elsewhere, below, get)?.filter(|(inode, _)| is_old(inode))
                {
                    return Ok(value);
                }
            }
            thread::sleep(PAUSE);
        }
        Err(ViewError::Lost {
            path: self.root.show(&op.path),
            run: journal.head.header.run.clone(),
            staged: elsewhere.map(|at| self.root.show(&at)).unwrap_or_default(),
        })
    }

    /// Returns the identity of the object at `at`, and the result of `get` at `below` in it (itself if empty).
    fn image<T>(
        &self,
        at: &ObjectPath,
        below: &[u8],
        get: &impl Fn(&Dir, &[u8]) -> Result<Option<(T, Inode)>, ViewError>,
    ) -> Result<Option<(Inode, Option<T>)>, ViewError> {
        let mut names = below.split(|&b| b == b'/').filter(|name| !name.is_empty());
        let Some(last) = names.next_back() else {
            let Some(parent) = at.parent() else { return Ok(None) };
            let Some(dir) = self.root.dir_if_there(&parent)? else { return Ok(None) };
            return Ok(get(&dir, at.name())?.map(|(value, inode)| (inode, Some(value))));
        };
        let Some(mut dir) = self.root.dir_if_there(at)? else { return Ok(None) };
        let inode = dir.itself()?.inode;
        for name in names {
            dir = match dir.dir(name) {
                Err(error) if error.is_not_found() => return Ok(Some((inode, None))),
                opened => opened?,
            };
        }
        Ok(Some((inode, get(&dir, last)?.map(|(value, _)| value))))
    }
}

pub(crate) fn inode_of(file: &File) -> std::io::Result<Inode> {
    let metadata = file.metadata()?;
    let born = metadata.created().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let born = born.and_then(|since| {
        let seconds = i64::try_from(since.as_secs()).ok()?;
        Some(Timestamp { seconds, nanoseconds: since.subsec_nanos() })
    });
    Ok(Inode { number: metadata.ino(), born })
}

fn is(inode: Inode, identity: &Identity) -> bool {
    identity.inode == inode
}

const LONGEST_LINES: u64 = 64 << 20;

/// Ignores which file it describes; leaves the position after its head.
pub(crate) fn stamp_of(file: &mut File) -> Option<ContentsStamp> {
    let mut head = Vec::with_capacity(STAMP_HEAD);
    file.take(STAMP_HEAD as u64).read_to_end(&mut head).ok()?;
    let stamp = ContentsStamp::parse(&head)?;
    (Some(file.metadata().ok()?.len()) == stamp.length()).then_some(stamp)
}

/// As the last run left them.
#[derive(Debug)]
pub struct LastRecords {
    pub stamp: ContentsStamp,
    lines: Vec<u8>,
    packages: OnceCell<BoundPackages>,
}

impl LastRecords {
    pub(crate) fn of(mut file: File) -> Option<Self> {
        let stamp = stamp_of(&mut file)?;
        let length =
            stamp.length()?.checked_sub(STAMP_HEAD as u64).filter(|length| *length <= LONGEST_LINES)?;
        let mut lines = Vec::with_capacity(usize::try_from(length).ok()?);
        file.take(length).read_to_end(&mut lines).ok()?;
        let is_whole = Digest::of(&lines) == stamp.lines;
        is_whole.then(|| Self { stamp, lines, packages: OnceCell::new() })
    }

    fn parts(&self) -> [&[u8]; 3] {
        let (links, rest) = split(&self.lines, self.stamp.links);
        let (owners, packages) = split(rest, self.stamp.owners);
        [links, owners, packages]
    }

    pub fn links(&self) -> &[u8] {
        self.parts()[0]
    }

    pub fn owner_lines(&self) -> &[u8] {
        self.parts()[1]
    }

    /// `None` if they are not listed.
    pub fn owners(&self) -> Option<OwnerCounts> {
        if self.stamp.is_listed { OwnerCounts::parse(self.owner_lines()) } else { None }
    }

    pub fn packages(&self) -> &BoundPackages {
        self.packages.get_or_init(|| BoundPackages::parse(self.parts()[2]).unwrap_or_default())
    }
}

fn split(lines: &[u8], at: u64) -> (&[u8], &[u8]) {
    usize::try_from(at).ok().and_then(|at| lines.split_at_checked(at)).unwrap_or((lines, &[]))
}

#[cfg(test)]
mod tests;
