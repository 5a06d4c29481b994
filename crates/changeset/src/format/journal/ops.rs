//! The second file of a journal, `ops-<run>`: the changes of objects, and the entries for history and logs.
//!
//! Names, owners, sizes and digests of objects that are not public concern only the owner. Readers of the package
//! database do not need them, so they are not in the journal, which everyone may read. A record that is not public
//! appears in the journal with its place and its inode only, and here once more with all known facts.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::io::{self, BufRead, Write};

use super::{HEAD, Identity, Journal, JournalEntry, JournalError, JournalHeader, Op, SECTOR, VERSION};
use super::{blank, checked, line, sector, texts};
use patchadm_rootfs::{Digest, Digesting, Timestamp, side_by_side};
use patchadm_svr4::package::rule::holds;

/// The mode bit that lets everyone read.
const EVERYBODY_READS: u32 = 0o004;

/// The smallest number of bytes of lines read at once.
const PORTION: usize = 256 << 10;
/// The number of lines that a thread parses at a time.
const PIECE: usize = 64;

/// The bytes of the two files of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFiles {
    /// The journal, for everyone.
    pub journal: Vec<u8>,
    /// `ops-<run>`, for the owner.
    pub ops: Vec<u8>,
}

/// The lines of the second file while they are written.
struct DigestedLines<'a> {
    file: &'a mut dyn Write,
    b3: Digesting,
    length: u64,
}

impl DigestedLines<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.b3.update(line);
        self.length += line.len() as u64;
        self.file.write_all(line)
    }
}

impl Journal {
    /// Returns the files of a journal of the current version whose run is in progress: header, blank outcome, all
    /// lines. The ops of both files keep their order.
    pub fn to_files(
        header: JournalHeader,
        entries: impl IntoIterator<Item: Borrow<JournalEntry>>,
    ) -> io::Result<JournalFiles> {
        let mut ops = Vec::new();
        let journal = Self::write_beside(header, entries, &mut ops)?;
        Ok(JournalFiles { journal, ops })
    }

    /// Writes the second of these files line by line, so that it is never in memory as a whole; returns the bytes of
    /// the first.
    pub fn write_beside(
        header: JournalHeader,
        entries: impl IntoIterator<Item: Borrow<JournalEntry>>,
        ops: &mut dyn Write,
    ) -> io::Result<Vec<u8>> {
        // The sectors come first; the header is filled in once everything after it is known.
        let mut journal: Vec<u8> = (0..HEAD / SECTOR).flat_map(|_| blank()).collect();
        let mut ops = DigestedLines { file: ops, b3: Digesting::default(), length: 0 };
        for entry in entries {
            let entry = entry.borrow();
            match entry {
                JournalEntry::Domain(_) => journal.extend_from_slice(&line(entry)),
                JournalEntry::Op(op) if op.db => {
                    let shown = op.for_everybody();
                    if shown != **op {
                        ops.write(&line(entry))?;
                    }
                    journal.extend_from_slice(&line(&JournalEntry::Op(Box::new(shown))));
                }
                JournalEntry::Archive(_) | JournalEntry::RunRecord(_) | JournalEntry::Op(_) => {
                    ops.write(&line(entry))?;
                }
            }
        }
        let lines = journal.get(HEAD..).unwrap_or_default();
        let header = JournalHeader {
            version: VERSION,
            lines: lines.len() as u64,
            b3: digest(lines),
            db: lines.len() as u64,
            ops: ops.length,
            ops_b3: ops.b3.finish().to_string(),
            ..header
        };
        journal.splice(..SECTOR, sector(&header));
        Ok(journal)
    }

    /// Adds the content of the second file if it is the one that the header names.
    pub(super) fn add_ops(&mut self, threads: usize, bytes: Option<&[u8]>) -> Result<(), JournalError> {
        let header = &self.head.header;
        let is_it = |bytes: &&[u8]| bytes.len() as u64 == header.ops && digest(bytes) == header.ops_b3;
        let Some(bytes) = bytes.filter(is_it) else { return Err(JournalError::Ops(header.run.clone())) };
        let shown = self.shown();
        self.add_lines(threads, &shown, 0, &texts(bytes).collect::<Vec<_>>())
    }

    /// Does the same portion by portion; only its end shows whether it is the file that the header names.
    pub(super) fn read_ops(&mut self, threads: usize, file: &mut dyn BufRead) -> Result<(), JournalError> {
        let shown = self.shown();
        let other = |journal: &Self| JournalError::Ops(journal.head.header.run.clone());
        let (mut digest, mut length, mut portion, mut before) = (Digesting::default(), 0, Vec::new(), 0);
        loop {
            portion.clear();
            // Whole lines, so that each portion can be read by itself.
            while portion.len() < PORTION
                && file.read_until(b'\n', &mut portion).map_err(|_| other(self))? > 0
            {}
            if portion.is_empty() {
                break;
            }
            length += portion.len() as u64;
            digest.update(&portion);
            let lines = portion.split_inclusive(|&byte| byte == b'\n');
            let lines: Vec<_> = lines.map(|line| line.strip_suffix(b"\n").unwrap_or(line)).collect();
            self.add_lines(threads, &shown, before, &lines)?;
            before += lines.len();
        }
        let header = &self.head.header;
        let is_it = length == header.ops && digest.finish().to_string() == header.ops_b3;
        if is_it { Ok(()) } else { Err(other(self)) }
    }

    /// Returns the places of the changes in the first file, by domain and staged name.
    fn shown(&self) -> HashMap<(usize, String), usize> {
        self.ops.iter().enumerate().map(|(index, op)| ((op.domain, op.stage.clone()), index)).collect()
    }

    /// Adds lines in order; `before` is the number of lines before them. They are checked and parsed in parallel.
    fn add_lines(
        &mut self,
        threads: usize,
        shown: &HashMap<(usize, String), usize>,
        before: usize,
        lines: &[&[u8]],
    ) -> Result<(), JournalError> {
        let run = &self.head.header.run;
        let read =
            |index: usize, text: &[u8]| checked(text, || format!("line {} of ops-{run}", before + index + 1));
        let pieces: Vec<_> = lines.chunks(PIECE).collect();
        let entries: Vec<Vec<Result<JournalEntry, JournalError>>> =
            side_by_side(threads, pieces.len(), || {
                |at| {
                    let texts = pieces.get(at).into_iter().copied().flatten();
                    texts.zip(at * PIECE..).map(|(text, index)| read(index, text)).collect()
                }
            });
        entries.into_iter().flatten().try_for_each(|entry| self.add_entry(shown, entry?))
    }

    fn add_entry(
        &mut self,
        shown: &HashMap<(usize, String), usize>,
        entry: JournalEntry,
    ) -> Result<(), JournalError> {
        match entry {
            JournalEntry::Op(op) if op.db => {
                let place = shown.get(&(op.domain, op.stage.clone()));
                fill_in(place.and_then(|place| self.ops.get_mut(*place)), *op)?;
            }
            entry => self.add(entry),
        }
        Ok(())
    }
}

/// Replaces the public facts about a record by all known facts.
fn fill_in(shown: Option<&mut Op>, op: Op) -> Result<(), JournalError> {
    let error = || JournalError::Field { field: "path", of: format!("the change of {}", op.path) };
    let shown = shown.ok_or_else(error)?;
    // Readers and recovery must not get different facts.
    if !holds("journal.ops.record", *shown == op.for_everybody()) {
        return Err(error());
    }
    *shown = op;
    Ok(())
}

impl Op {
    /// Returns the public facts about a record.
    fn for_everybody(&self) -> Self {
        let mut identities = [&self.old, &self.new, &self.copy].into_iter().flatten();
        if identities.all(|identity| identity.mode & EVERYBODY_READS != 0) && self.undo.is_none() {
            return self.clone();
        }
        let bare =
            |identity: &Option<Box<Identity>>| identity.as_ref().map(|identity| Box::new(identity.bare()));
        Self {
            old: bare(&self.old),
            new: bare(&self.new),
            copy: bare(&self.copy),
            undo: None,
            ..self.clone()
        }
    }
}

impl Identity {
    /// Returns only the identity of the object, without its properties.
    fn bare(&self) -> Self {
        Self {
            file_type: self.file_type,
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Timestamp::whole(0),
            inode: self.inode,
            b3: None,
            target: None,
            xattrs: None,
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}
