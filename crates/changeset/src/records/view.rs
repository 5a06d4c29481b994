//! Reading records without a lock: all as before a run or all as after it, never a mixture.
//!
//! While a run is between publication and its outcome, a record that the journal names is read as it was before: from
//! its place if the switch has not reached it, otherwise from the stage, where the exchange put it. An object is
//! opened first and identified afterwards, so that a switch between the check and the opening cannot slip the new one
//! in. Afterwards the journal is checked again; if it changed in between, the answer is discarded and made anew. No
//! reader waits for a writer, and no writer for a reader. This also works while a dead run waits for its recovery.
//!
//! A script of a run, for which the run waits, is part of it: commands that it starts see the live files, as it does
//! itself. Only the parameters of packages that the run replaces or removes are the old ones until it has committed:
//! pkgparam(1) shows these during an update ([`RecordReader::within`]).
//!
//! This module cannot tell old from new in a root that was copied while a run was in progress: inodes differ there,
//! and the live files are shown. In such a root, recovery, which compares digests, must come first.

use std::cell::OnceCell;
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
use patchadm_rootfs::{Digest, Dir, FileType, Inode, ObjectStatus, Resolver, Root, RootError, Timestamp};
use patchadm_svr4::package::ObjectPath;

const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(5);

const LONGEST: u64 = 1 << 30;

const COMMON: usize = 1 << 13;

/// The reader of a root's records: an outsider, or a command started by a script of a run.
#[derive(Clone, Copy, Debug)]
pub struct RecordReader<'a> {
    root: &'a Root,
    run: Option<&'a str>,
}

impl<'a> RecordReader<'a> {
    /// Makes a reader inside `run`, if that is named and still open. To any other run it is an outsider.
    pub fn within(root: &'a Root, run: Option<&'a str>) -> Self {
        Self { root, run }
    }

    /// Returns the root whose records are read.
    pub fn root(&self) -> &'a Root {
        self.root
    }
}

impl<'a> From<&'a Root> for RecordReader<'a> {
    fn from(root: &'a Root) -> Self {
        Self { root, run: None }
    }
}

/// The records of a root at one moment. It caches the places of directories, so make a new one after a change.
#[derive(Debug)]
pub struct RecordView<'a> {
    root: &'a Root,
    resolver: Resolver<'a>,
    open: Option<Journal>,
    within: Option<ObjectPath>,
    last: OnceCell<Option<LastRecords>>,
}

/// A run in progress, as its scripts know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRun {
    /// Its name, `<number>-<16 hexadecimal digits>`.
    pub name: String,
    /// The command that began it.
    pub command: String,
    /// Its stage on the file system of the records, as a physical path. `None` for a journal that names no file system,
    /// which no run of this program writes.
    pub stage: Option<ObjectPath>,
}

/// Returns the run in progress, or a dead one that has not been recovered yet.
pub fn open_run(root: &Root) -> Result<Option<OpenRun>, ViewError> {
    read_consistently(root, |view| {
        Ok(view.open.as_ref().map(|journal| OpenRun {
            name: journal.head.header.run.clone(),
            command: journal.head.header.command.clone(),
            stage: journal.domains.first().map(|domain| domain.stage.clone()),
        }))
    })
}

/// Computes an answer from one consistent state of the records; `read` is called again while runs begin or end.
pub fn read_consistently<'a, T, E: From<ViewError>>(
    reader: impl Into<RecordReader<'a>>,
    mut read: impl FnMut(&RecordView<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let reader = reader.into();
    let mut damage = None;
    for _ in 0..TRIES {
        match attempt(reader, &mut read) {
            Ok(Some(answer)) => return answer,
            Ok(None) => {}
            // The version of a journal stays as it is.
            Err(
                error @ ViewError::Journal {
                    reason: JournalError::Version(_) | JournalError::Earlier(_), ..
                },
            ) => return Err(error.into()),
            // A sector that is just being written looks like a damaged one, but not for long.
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
    read: &mut impl FnMut(&RecordView<'_>) -> Result<T, E>,
) -> Result<Option<Result<T, E>>, ViewError> {
    let root = reader.root;
    let before = head(root)?;
    let view = match RecordView::at(reader, before.as_ref()) {
        Err(ViewError::Raced) => return Ok(None),
        other => other?,
    };
    let answer = read(&view);
    let after = head(root)?;
    Ok((state(before.as_ref()) == state(after.as_ref())).then_some(answer))
}

/// Returns the facts that must not change while an answer is computed.
fn state(head: Option<&JournalHead>) -> Option<(&str, bool, Option<journal::RunOutcome>)> {
    head.map(|head| (head.header.run.as_str(), head.is_open(), head.outcome))
}

impl<'a> RecordView<'a> {
    fn at(reader: RecordReader<'a>, head: Option<&JournalHead>) -> Result<Self, ViewError> {
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
        read_to(&mut file, length.min(LONGEST), &mut bytes, &path)?;
        let journal = Journal::parse_leading(&bytes).map_err(bad)?;
        let resolver = root.resolver();
        journal.must_be_of(&resolver.locate_dir(&places::own_directory())?).map_err(bad)?;
        let is_within = reader.run.is_some_and(|run| run == journal.head.header.run);
        let within = is_within.then(|| resolver.locate_dir(&places::packages())).transpose()?;
        Ok(Self { root, resolver, open: Some(journal), within, last: OnceCell::new() })
    }

    /// Makes a view of the live files, for the holder of the lock after recovery, and for scripts of a run.
    pub fn live(root: &'a Root) -> Self {
        Self { root, resolver: root.resolver(), open: None, within: None, last: OnceCell::new() }
    }

    /// Returns the root of the view.
    pub fn root(&self) -> &'a Root {
        self.root
    }

    /// Returns the facts of the stamp of `contents` about the records as the last run left them, whether or not they
    /// still hold; `None` if there is no stamp, or if it is not as it was written.
    pub fn last_records(&self) -> Option<&LastRecords> {
        self.last.get_or_init(|| LastRecords::of(self.open(&places::contents_stamp()).ok()??)).as_ref()
    }

    /// Returns true if every record is the live file.
    pub fn is_live(&self) -> bool {
        self.open.is_none()
    }

    /// Returns true if an unfinished run, alive or dead, exists that this reader is no part of.
    pub fn is_during_run(&self) -> bool {
        self.open.is_some() && self.within.is_none()
    }

    /// Opens a record for reading, or returns `None` if it is missing or no regular file.
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

    /// Reads a whole record of at most `limit` bytes, or returns `None` if it is missing.
    pub fn read(&self, path: &ObjectPath, limit: u64) -> Result<Option<Vec<u8>>, ViewError> {
        let Some(mut file) = self.open(path)? else { return Ok(None) };
        // Enough for most records, so that one call reads them.
        let mut bytes = Vec::with_capacity(COMMON);
        read_to(&mut file, limit.saturating_add(1), &mut bytes, &self.root.show(path))?;
        if bytes.len() as u64 > limit {
            return Err(RootError::TooLarge { path: self.root.show(path), limit }.into());
        }
        Ok(Some(bytes))
    }

    /// Returns the status of a record, or `None` if it is missing.
    pub fn look(&self, path: &ObjectPath) -> Result<Option<ObjectStatus>, ViewError> {
        self.find(&self.resolver.locate(path)?, |dir, name| {
            Ok(dir.look(name)?.map(|seen| {
                let inode = seen.inode;
                (seen, inode)
            }))
        })
    }

    /// Returns the names in a record directory, sorted, or `None` if there is no such directory.
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
        names.retain(|name| !self.is_hidden(&physical, name));
        let of_before = |op: &&Op| self.is_of_before(op, &op.path);
        for op in self.ops().filter(of_before).filter(|op| op.path.parent().as_ref() == Some(&physical)) {
            let was_there = matches!(op.kind, OpKind::Delete | OpKind::Move | OpKind::Replace)
                || (op.kind == OpKind::Protect && op.old.is_some());
            if was_there && !names.iter().any(|name| name == op.path.name()) {
                names.push(op.path.name().to_vec());
            }
        }
        names.sort();
        Ok(Some(names))
    }

    fn is_hidden(&self, directory: &ObjectPath, name: &[u8]) -> bool {
        if self.within.is_some() {
            return false;
        }
        let is = |path: &ObjectPath| path.parent().as_ref() == Some(directory) && path.name() == name;
        self.ops().any(|op| match op.kind {
            OpKind::Add => is(&op.path),
            OpKind::Move => op.to.as_ref().is_some_and(is),
            OpKind::Protect => op.old.is_none() && is(&op.path),
            _ => false,
        })
    }

    /// Returns true if the effect of `op` on the record at a physical path is hidden from the reader. A reader inside
    /// the run sees everything except replaced or removed package directories and their parameters.
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

    fn ops(&self) -> impl Iterator<Item = &Op> {
        self.open.iter().flat_map(|journal| &journal.ops)
    }

    /// Applies `get` to the record at a physical path, or to its old image while a run is in progress. `get` also
    /// returns the identity of its object.
    fn find<T>(
        &self,
        physical: &ObjectPath,
        get: impl Fn(&Dir, &[u8]) -> Result<Option<(T, Inode)>, ViewError>,
    ) -> Result<Option<T>, ViewError> {
        let live = || Ok(self.image(physical, b"", &get)?.and_then(|(_, value)| value));
        let Some(journal) = &self.open else { return live() };
        // Attributes of a directory, and a removal that waits for the commit, leave every record where it is.
        let moves = |op: &&Op| !matches!(op.kind, OpKind::Attr | OpKind::Rmdir);
        for op in journal.ops.iter().filter(moves).filter(|op| self.is_of_before(op, physical)) {
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

    /// Applies `get` to `below` in the old image of `op`: the live object, unless that is new or gone; otherwise the
    /// staged one, unless a rollback has just put the new one back there.
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
        // If names cannot be exchanged, the old object of a replacement has a name of its own in the stage.
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

    /// Returns the identity of the object at `at`, and the result of `get` at `below` in it (in the object itself if
    /// that is empty).
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

/// Returns the stamp in an open file, regardless of the file it describes; the read position is then after its head.
pub(crate) fn stamp_of(file: &mut File) -> Option<ContentsStamp> {
    let mut head = Vec::with_capacity(STAMP_HEAD);
    file.take(STAMP_HEAD as u64).read_to_end(&mut head).ok()?;
    let stamp = ContentsStamp::parse(&head)?;
    (Some(file.metadata().ok()?.len()) == stamp.length()).then_some(stamp)
}

/// The records as the last run left them.
#[derive(Debug)]
pub struct LastRecords {
    /// The facts of the stamp about `contents`.
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

    /// Returns the lines about hard links.
    pub fn links(&self) -> &[u8] {
        self.parts()[0]
    }

    /// Returns the lines about packages that own objects.
    pub fn owner_lines(&self) -> &[u8] {
        self.parts()[1]
    }

    /// Returns the packages that owned objects, with the numbers of their lines, or `None` if they are not listed.
    pub fn owners(&self) -> Option<OwnerCounts> {
        if self.stamp.is_listed { OwnerCounts::parse(self.owner_lines()) } else { None }
    }

    /// Returns the facts about the pkginfo of packages.
    pub fn packages(&self) -> &BoundPackages {
        self.packages.get_or_init(|| BoundPackages::parse(self.parts()[2]).unwrap_or_default())
    }
}

fn split(lines: &[u8], at: u64) -> (&[u8], &[u8]) {
    usize::try_from(at).ok().and_then(|at| lines.split_at_checked(at)).unwrap_or((lines, &[]))
}

#[cfg(test)]
mod tests;
