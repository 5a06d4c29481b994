//! Reading records without a lock: all as before a run or all as after it, never a mixture.
//!
//! While a run is between publication and its outcome, a record that the journal names is read as it was before: from
//! its place if the switch has not reached it, else from the stage, where the exchange put it. Afterwards the
//! journal is looked at again; if it changed in between, the answer is thrown away and made anew. Nothing waits for a
//! writer, no writer waits for a reader, and it works as well while a dead run waits for its recovery.

use std::fs::File;
use std::io::Read;
use std::thread;
use std::time::Duration;

use crate::format::journal::{self, HEAD, Head, Identity, Journal, JournalError, Op, OpKind};
use crate::package::ObjectPath;
use crate::root::{Dir, FileType, Root, RootError, Seen};

/// How often an answer is made anew, and how long the pause between is.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(5);

/// The leading lines of a journal are not longer than this.
const LONGEST: u64 = 1 << 30;

/// Why records could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// A file could not be read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The journal is damaged.
    #[error("the journal {path} cannot be read: {reason}")]
    Journal {
        /// Its path.
        path: String,
        /// What is wrong with it.
        reason: JournalError,
    },
    /// Runs followed each other so fast that no steady state was seen.
    #[error("the package database of {0} changes all the time")]
    Busy(String),
    /// The state changed while it was read; `read_consistently` tries again.
    #[error("the package database changed while it was read")]
    Raced,
}

/// The records of a root at one moment.
#[derive(Debug)]
pub struct View<'a> {
    root: &'a Root,
    /// The run in progress, with its records; none when the live files count.
    open: Option<Journal>,
}

/// Where a record is now.
enum Place {
    /// At its own physical path.
    Live(ObjectPath),
    /// The run has moved it here.
    Moved(ObjectPath),
    /// It was not there before the run.
    Hidden,
}

/// Makes an answer from one consistent state of the records: `read` is called again while runs begin or end.
pub fn read_consistently<T, E: From<ViewError>>(
    root: &Root,
    mut read: impl FnMut(&View<'_>) -> Result<T, E>,
) -> Result<T, E> {
    for _ in 0..TRIES {
        let before = head(root)?;
        let answer = View::at(root, before.as_ref()).map_err(E::from).and_then(|view| read(&view));
        let after = head(root)?;
        if state(before.as_ref()) == state(after.as_ref()) {
            return answer;
        }
        thread::sleep(PAUSE);
    }
    Err(ViewError::Busy(root.prefix().display().to_string()).into())
}

/// What must not change while an answer is made.
fn state(head: Option<&Head>) -> Option<(&str, bool, Option<journal::Outcome>)> {
    head.map(|head| (head.header.run.as_str(), head.is_open(), head.outcome))
}

/// The directory of our own files.
pub fn own_directory() -> ObjectPath {
    ObjectPath::new(b"/var/sadm/patchadm").unwrap_or_else(|_| ObjectPath::root())
}

/// The sectors of the journal, if there is one.
fn head(root: &Root) -> Result<Option<Head>, ViewError> {
    let Some((mut file, path)) = open_journal(root)? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(HEAD);
    read_to(&mut file, HEAD as u64, &mut bytes, &path)?;
    journal::parse_head(&bytes).map(Some).map_err(|reason| ViewError::Journal { path, reason })
}

fn open_journal(root: &Root) -> Result<Option<(File, String)>, ViewError> {
    let directory = root.resolver().locate_dir(&own_directory())?;
    let Some(dir) = root.dir_if_there(&directory)? else { return Ok(None) };
    if dir.look(b"journal")?.is_none() {
        return Ok(None);
    }
    Ok(Some((dir.open_regular(b"journal")?, root.show(&dir.at(b"journal")))))
}

fn read_to(file: &mut File, limit: u64, bytes: &mut Vec<u8>, path: &str) -> Result<(), ViewError> {
    file.take(limit).read_to_end(bytes).map(drop).map_err(|error| {
        let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
        RootError::Call { action: "read", path: path.to_owned(), errno }.into()
    })
}

impl<'a> View<'a> {
    /// The view that `head` calls for: live, or as before the run in progress.
    fn at(root: &'a Root, head: Option<&Head>) -> Result<Self, ViewError> {
        if !head.is_some_and(Head::is_open) {
            return Ok(Self::live(root));
        }
        let Some((mut file, path)) = open_journal(root)? else { return Err(ViewError::Raced) };
        let mut bytes = Vec::new();
        read_to(&mut file, HEAD as u64, &mut bytes, &path)?;
        let bad = |reason| ViewError::Journal { path: path.clone(), reason };
        let length = journal::parse_head(&bytes).map_err(bad)?.header.db;
        read_to(&mut file, length.min(LONGEST), &mut bytes, &path)?;
        Ok(Self { root, open: Some(Journal::parse_leading(&bytes).map_err(bad)?) })
    }

    /// The live files as they are: for whoever holds the lock and has recovered, and for scripts of a run.
    pub fn live(root: &'a Root) -> Self {
        Self { root, open: None }
    }

    /// The root it is of.
    pub fn root(&self) -> &'a Root {
        self.root
    }

    /// Whether a run is in progress, or dead and not yet recovered.
    pub fn is_during_run(&self) -> bool {
        self.open.is_some()
    }

    /// Opens a record for reading; none if it is not there.
    pub fn open(&self, path: &ObjectPath) -> Result<Option<File>, ViewError> {
        let Some((dir, name)) = self.find(path)? else { return Ok(None) };
        match dir.look(&name)?.map(|seen| seen.file_type) {
            Some(FileType::Regular) => Ok(Some(dir.open_regular(&name)?)),
            _ => Ok(None),
        }
    }

    /// Reads a whole record of at most `limit` bytes; none if it is not there.
    pub fn read(&self, path: &ObjectPath, limit: u64) -> Result<Option<Vec<u8>>, ViewError> {
        match self.find(path)? {
            Some((dir, name)) => Ok(dir.read(&name, limit)?),
            None => Ok(None),
        }
    }

    /// Looks at a record; none if it is not there.
    pub fn look(&self, path: &ObjectPath) -> Result<Option<Seen>, ViewError> {
        match self.find(path)? {
            Some((dir, name)) => Ok(dir.look(&name)?),
            None => Ok(None),
        }
    }

    /// The names in a record directory, sorted; none if it is not there.
    pub fn list(&self, path: &ObjectPath) -> Result<Option<Vec<Vec<u8>>>, ViewError> {
        let physical = self.root.resolver().locate_dir(path)?;
        let directory = match self.place(&physical)? {
            Place::Live(at) | Place::Moved(at) => self.root.dir_if_there(&at)?,
            Place::Hidden => None,
        };
        let Some(directory) = directory else { return Ok(None) };
        let mut names = directory.names()?;
        names.retain(|name| !self.is_hidden(&physical, name));
        for op in self.ops().filter(|op| op.path.parent().as_ref() == Some(&physical)) {
            let gone_for_now = matches!(op.kind, OpKind::Delete | OpKind::Move);
            if gone_for_now && !names.iter().any(|name| name == op.path.name()) {
                names.push(op.path.name().to_vec());
            }
        }
        names.sort();
        Ok(Some(names))
    }

    /// Whether the run brought this name into the directory.
    fn is_hidden(&self, directory: &ObjectPath, name: &[u8]) -> bool {
        let is = |path: &ObjectPath| path.parent().as_ref() == Some(directory) && path.name() == name;
        self.ops().any(|op| match op.kind {
            OpKind::Add => is(&op.path),
            OpKind::Move => op.to.as_ref().is_some_and(is),
            _ => false,
        })
    }

    fn ops(&self) -> impl Iterator<Item = &Op> {
        self.open.iter().flat_map(|journal| &journal.ops)
    }

    /// The directory that holds a record now, and its name there.
    fn find(&self, path: &ObjectPath) -> Result<Option<(Dir, Vec<u8>)>, ViewError> {
        let physical = self.root.resolver().locate(path)?;
        let at = match self.place(&physical)? {
            Place::Live(at) | Place::Moved(at) => at,
            Place::Hidden => return Ok(None),
        };
        let Some(parent) = at.parent() else { return Ok(None) };
        Ok(self.root.dir_if_there(&parent)?.map(|dir| (dir, at.name().to_vec())))
    }

    /// Where the old image of a record is: the innermost op on it or on a directory above it decides.
    fn place(&self, physical: &ObjectPath) -> Result<Place, ViewError> {
        let Some(journal) = &self.open else { return Ok(Place::Live(physical.clone())) };
        for op in &journal.ops {
            if op.to.as_ref().is_some_and(|to| to == physical) {
                return Ok(Place::Hidden);
            }
            if op.path != *physical && !physical.is_below(&op.path) {
                continue;
            }
            let below = &physical.as_bytes()[op.path.as_bytes().len()..];
            let staged = journal.domains.get(op.domain).map(|domain| domain.stage.join(op.stage.as_bytes()));
            let Some(Ok(staged)) = staged else { return Err(ViewError::Raced) };
            return self.place_of(op, &staged, below, physical);
        }
        Ok(Place::Live(physical.clone()))
    }

    fn place_of(
        &self,
        op: &Op,
        staged: &ObjectPath,
        below: &[u8],
        physical: &ObjectPath,
    ) -> Result<Place, ViewError> {
        let elsewhere = |at: &ObjectPath| at.join(below).map_err(|_| ViewError::Raced).map(Place::Moved);
        let live = self.identify(&op.path)?;
        let is_new = live.as_ref().is_some_and(|seen| is(seen, op.new.as_ref()));
        match op.kind {
            OpKind::Add if is_new || live.is_none() => Ok(Place::Hidden),
            OpKind::Replace if is_new => {
                // A rollback may have exchanged the two since: then the stage has the new one.
                match self.identify(staged)? {
                    Some(seen) if !is(&seen, op.new.as_ref()) => elsewhere(staged),
                    _ => Err(ViewError::Raced),
                }
            }
            OpKind::Delete if live.is_none() => elsewhere(staged),
            OpKind::Move if live.is_none() => op.to.as_ref().map_or(Err(ViewError::Raced), elsewhere),
            _ => Ok(Place::Live(physical.clone())),
        }
    }

    fn identify(&self, physical: &ObjectPath) -> Result<Option<Seen>, ViewError> {
        let Some(parent) = physical.parent() else { return Ok(None) };
        match self.root.dir_if_there(&parent)? {
            Some(dir) => Ok(dir.look(physical.name())?),
            None => Ok(None),
        }
    }
}

/// Whether what is seen is the object of this identity: same inode, born at the same time.
fn is(seen: &Seen, identity: Option<&Identity>) -> bool {
    identity.is_some_and(|identity| identity.inode == seen.inode)
}
