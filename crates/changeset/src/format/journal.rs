//! The journal of a root, `var/sadm/patchadm/journal` (patchadm-journal(5)): bytes to values and back.
//!
//! Eight sectors of 512 bytes, then lines. A sector is one CRC-32C and one JSON object, padded with blanks and closed
//! by a newline, or blank; the file is text, so that `head -c 4096` shows it. The sectors alone state whether a run
//! is in progress, and how it ended: a sector is written as a whole or not at all.
//!
//! Everyone may read the journal; its lines are those that readers of the package database need. All else is in a
//! second file that only the owner may read, `ops-<run>`: names, owners, sizes and digests of objects that are not
//! public. A record that is not public appears in the journal with its place and inode only, and in the second file
//! with all known facts. The header names length and BLAKE3 of the lines of both. In a journal of an earlier version,
//! only the sectors are read, and only if its run is tidied up.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::io::{BufRead, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::format::run::Run;
use crate::format::undo_files::StoredName;
use patchadm_rootfs::{Digest, Digesting, Timestamp, side_by_side};
use patchadm_svr4::package::rule::holds;

mod check;
mod entry;

pub use check::{
    LONGEST_SCRIPT_NAME, archive_elsewhere, is_boot_id, is_settable, noted_identity, noted_path, noted_stage,
};
pub use entry::{
    Domain, Identity, JournalArchive, JournalEntry, Lack, NotedDigest, Op, OpKind, PatchRecord, RunRecord,
    StoredFiles,
};

/// The version written and read. Versions 1 to 3 had SHA-256 digests.
pub const VERSION: u32 = 4;
/// Bytes of a sector.
pub const SECTOR: usize = 512;
const CHECKSUM: usize = 9;
const USUAL_LINE: usize = 1 << 10;
/// The total size of the sectors, in bytes: the offset of the lines.
pub const HEAD: usize = 8 * SECTOR;

const HEADER: usize = 0;
const PROGRESS: [usize; 2] = [1, 2];
const OUTCOME: usize = 3;
const DONE: usize = 4;

/// The first sector: the run, its root, and the lengths of the parts that follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalHeader {
    /// [`VERSION`], or an earlier one for a run that is tidied up.
    pub version: u32,
    /// The run, as text.
    pub run: String,
    /// The command that made it.
    pub command: String,
    /// The marker of the root: 16 hexadecimal digits, chosen at random for its first journal and inherited ever
    /// since.
    pub root: String,
    /// Bytes of all lines of the journal.
    pub lines: u64,
    /// BLAKE3 of all lines of the journal; empty in an earlier version.
    #[serde(default)]
    pub b3: String,
    /// Bytes of the leading lines that readers of the database need: all.
    pub db: u64,
    /// Bytes of the file `ops-<run>`.
    #[serde(default)]
    pub ops: u64,
    /// BLAKE3 of that file; empty in an earlier version.
    #[serde(default)]
    pub ops_b3: String,
}

/// The outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Everything is in the state after the run.
    Commit,
    /// Everything is in the state before the run.
    RolledBack,
}

/// The progress of a run with procedure scripts. Two sectors are written in turn, so that one of them is always
/// whole; the one with the higher number counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptProgress {
    /// Counts from 1.
    pub number: u64,
    /// The running script; `None` between scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptProcess>,
}

/// A running procedure script. Boot and start time tell its process group from a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptProcess {
    /// Its name in messages.
    pub name: String,
    /// Its process group, by which recovery ends it.
    pub group: i32,
    /// The boot that it runs in, `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// The start time of its first process, in clock ticks since the boot: field 22 of `/proc/PID/stat`.
    pub start_time: u64,
}

#[derive(Serialize, Deserialize)]
struct OutcomeSector {
    outcome: RunOutcome,
}

#[derive(Serialize, Deserialize)]
struct DoneSector {
    done: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    unsynced: bool,
}

/// The content of the sectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHead {
    /// The first sector, written once, before the run is published.
    pub header: JournalHeader,
    /// The outcome of the run; `None` while it is in progress.
    pub outcome: Option<RunOutcome>,
    /// True if it is also tidied up.
    pub done: bool,
    /// True if a power cut may have lost the text written to history and logs when it was tidied up.
    pub is_unsynced: bool,
    /// The progress of a run with scripts; `None` in any other run.
    pub progress: Option<ScriptProgress>,
}

impl JournalHead {
    /// Returns true if the switch may be half done: recovery rolls back, readers take the old records.
    pub fn is_open(&self) -> bool {
        self.outcome.is_none() && !self.done
    }

    /// Returns the parsed name of the run; `None` if it is invalid.
    pub fn run(&self) -> Option<Run> {
        Run::parse(&self.header.run)
    }
}

/// A journal with its sectors, domains and ops, all checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The sectors.
    pub head: JournalHead,
    /// The domains.
    pub domains: Vec<Domain>,
    /// The undo archives.
    pub archives: Vec<JournalArchive>,
    /// Its entries for history and logs.
    pub run_record: RunRecord,
    /// The changes, in the order of their execution.
    pub ops: Vec<Op>,
    /// True if this is everything that the run wrote; false if only the part for readers was read.
    pub is_whole: bool,
}

/// The reason why a journal cannot be read: the medium is damaged, or another version of the program wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It is shorter than its sectors or its lines.
    #[error("it is cut short")]
    Short,
    /// A sector or line does not match the checksum before it.
    #[error("{0} does not have its checksum")]
    Checksum(String),
    /// The lines are not those that the header describes.
    #[error("its lines do not have the digest that its header names")]
    Digest,
    /// The file with the ops of objects is missing, or is another one.
    #[error("the file ops-{0} beside it is missing, or not the one that its header names")]
    Ops(String),
    /// Some content is malformed.
    #[error("{0} is not what this program writes")]
    Content(String),
    /// A field has a value that this program never writes there, although the checksums are right.
    #[error("the field {field} of {of} is not what this program could have written")]
    Field {
        /// The field.
        field: &'static str,
        /// The record that contains the field.
        of: String,
    },
    /// It is missing, although a stage beside its place shows that a run may be unfinished.
    #[error("it is gone, and stage/{0} beside it may be that of an unfinished run")]
    Gone(String),
    /// An object other than a file is in its place.
    #[error("it is no file")]
    NoFile,
    /// It belongs to another root than the one with this identity.
    #[error("it is of the root {}, and root-id beside it names the root {}", .0.0, .0.1)]
    OtherRoot(
        /// The marker in the header, and that in `root-id`.
        Box<(String, String)>,
    ),
    /// A later version of the program wrote it.
    #[error("it is of version {0}, and this program reads version {VERSION}")]
    Version(u32),
    /// An earlier version of the program wrote it, and its run is not tidied up.
    #[error(
        "it is that of an unfinished run of an earlier form of this program (version {0}, and this one is {VERSION})"
    )]
    Earlier(u32),
}

impl Journal {
    /// Reads a whole journal: its bytes and those of `ops-<run>`.
    pub fn parse(bytes: &[u8], ops: Option<&[u8]>) -> Result<Self, JournalError> {
        Self::parse_by(1, bytes, ops)
    }

    pub(crate) fn parse_by(threads: usize, bytes: &[u8], ops: Option<&[u8]>) -> Result<Self, JournalError> {
        Self::parse_with(bytes, |journal| journal.add_ops(threads, ops))
    }

    /// Reads a whole journal; the second file is read line by line, so that it is never in memory as a whole.
    pub(crate) fn parse_beside(
        threads: usize,
        bytes: &[u8],
        ops: &mut dyn BufRead,
    ) -> Result<Self, JournalError> {
        Self::parse_with(bytes, |journal| journal.read_ops(threads, ops))
    }

    fn parse_with(
        bytes: &[u8],
        add_ops: impl FnOnce(&mut Self) -> Result<(), JournalError>,
    ) -> Result<Self, JournalError> {
        let head = parse_head(bytes)?;
        let lines = part(bytes, head.header.lines)?;
        if Digest::of(lines).to_string() != head.header.b3 {
            return Err(JournalError::Digest);
        }
        let mut journal = Self::collect(head, lines)?;
        add_ops(&mut journal)?;
        journal.is_whole = true;
        check::lines(&journal)?;
        Ok(journal)
    }

    /// Reads a journal as far as readers of the package database need it: `bytes` are its sectors and at least the
    /// leading part of its lines. `ops` then holds only those of the database.
    pub fn parse_leading(bytes: &[u8]) -> Result<Self, JournalError> {
        let head = parse_head(bytes)?;
        let lines = part(bytes, head.header.db)?;
        let journal = Self::collect(head, lines)?;
        check::lines(&journal)?;
        Ok(journal)
    }

    fn collect(head: JournalHead, lines: &[u8]) -> Result<Self, JournalError> {
        let mut journal = Self {
            head,
            domains: Vec::new(),
            archives: Vec::new(),
            run_record: RunRecord::default(),
            ops: Vec::new(),
            is_whole: false,
        };
        for (index, text) in texts(lines).enumerate() {
            journal.add(checked(text, || format!("line {}", index + 1))?);
        }
        Ok(journal)
    }

    /// Returns the stored names of all objects that stay after the commit, as undo data.
    pub fn stored_names(&self) -> BTreeSet<StoredName> {
        let names = self.archives.iter().flat_map(|archive| archive.files.iter().flatten());
        names.filter_map(|name| StoredName::parse(name)).collect()
    }

    fn add(&mut self, entry: JournalEntry) {
        match entry {
            JournalEntry::Domain(domain) => self.domains.push(domain),
            JournalEntry::Archive(archive) => self.archives.push(*archive),
            JournalEntry::RunRecord(run_record) => self.run_record = *run_record,
            JournalEntry::Op(op) => {
                if self.ops.len() == self.ops.capacity() {
                    // Grows by an eighth: doubling would waste as much memory again in a journal of a million
                    // changes.
                    self.ops.reserve_exact(self.ops.len() / 8 + 64);
                }
                self.ops.push(*op);
            }
        }
    }
}

fn part(bytes: &[u8], length: u64) -> Result<&[u8], JournalError> {
    let length = usize::try_from(length).map_err(|_| JournalError::Short)?;
    bytes.get(HEAD..).and_then(|lines| lines.get(..length)).ok_or(JournalError::Short)
}

fn texts(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.split(|&b| b == b'\n').filter(|text| !text.is_empty())
}

/// Reads the sectors at the beginning of a journal.
pub fn parse_head(bytes: &[u8]) -> Result<JournalHead, JournalError> {
    let sectors: Vec<&[u8]> = bytes.get(..HEAD).ok_or(JournalError::Short)?.chunks(SECTOR).collect();
    let read = |place: usize| sectors.get(place).map(|sector| sector.trim_ascii_end()).unwrap_or_default();
    let header: JournalHeader = checked(read(HEADER), || "its header".to_owned())?;
    if header.version > VERSION {
        return Err(JournalError::Version(header.version));
    }
    let outcome = match read(OUTCOME) {
        [] => None,
        text => Some(checked::<OutcomeSector>(text, || "its outcome".to_owned())?.outcome),
    };
    let DoneSector { done, unsynced: is_unsynced } = match read(DONE) {
        [] => DoneSector { done: false, unsynced: false },
        text => checked(text, || "its last sector".to_owned())?,
    };
    let progress = PROGRESS.iter().filter_map(|&place| match read(place) {
        [] => None,
        // A sector that was being written when the run was interrupted does not count; the other one does.
        text => checked::<ScriptProgress>(text, || "its progress".to_owned()).ok(),
    });
    let progress = progress.max_by_key(|progress| progress.number);
    let head = JournalHead { header, outcome, done, is_unsynced, progress };
    check::head(&head)?;
    if head.header.version < VERSION && !head.done {
        return Err(JournalError::Earlier(head.header.version));
    }
    Ok(head)
}

/// Reads the entries of a run for history and logs from the beginning of its ops file, where they precede the ops;
/// `None` if they are not in these bytes.
pub fn run_record_in(ops: &[u8]) -> Result<Option<RunRecord>, JournalError> {
    let whole = ops.iter().rposition(|&b| b == b'\n').unwrap_or_default();
    for (index, text) in texts(ops.get(..whole).unwrap_or_default()).enumerate() {
        match checked(text, || format!("line {}", index + 1))? {
            JournalEntry::RunRecord(run_record) => {
                check::run_record(&run_record)?;
                return Ok(Some(*run_record));
            }
            JournalEntry::Op(_) => break,
            JournalEntry::Domain(_) | JournalEntry::Archive(_) => {}
        }
    }
    Ok(None)
}

/// Returns the bytes of a journal with all unreadable sectors other than the header blanked: the remains of a journal
/// damaged there. `None` if the header itself cannot be read.
pub fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut mended = bytes.to_vec();
    let places = std::iter::once(OUTCOME).chain([DONE]).chain(PROGRESS);
    for place in places {
        let sector = mended.get_mut(place * SECTOR..(place + 1) * SECTOR)?;
        let text = sector.trim_ascii_end();
        if !text.is_empty() && checked::<serde_json::Value>(text, String::new).is_err() {
            sector.copy_from_slice(&blank());
        }
    }
    parse_head(&mended).ok().map(|_| mended)
}

/// Returns the bytes of a journal with another marker of the root in its header, or `None` if the header cannot be
/// read.
pub fn with_marker(bytes: &[u8], marker: &str) -> Option<Vec<u8>> {
    let header = JournalHeader { root: marker.to_owned(), ..parse_head(bytes).ok()?.header };
    let mut changed = bytes.to_vec();
    changed.get_mut(..SECTOR)?.copy_from_slice(&sector(&header));
    Some(changed)
}

/// Returns the sector with the outcome of a run, and its offset in the file.
pub fn outcome_sector(outcome: RunOutcome) -> (Vec<u8>, u64) {
    (sector(&OutcomeSector { outcome }), (OUTCOME * SECTOR) as u64)
}

/// Returns the sector with the progress of a run with scripts, and its offset in the file.
pub fn progress_sector(progress: &ScriptProgress) -> (Vec<u8>, u64) {
    let place = PROGRESS[usize::from(progress.number.is_multiple_of(2))];
    (sector(progress), (place * SECTOR) as u64)
}

/// Returns a single line as in the journal: checksum, blank, JSON, newline. For the files that a run keeps beside the
/// journal.
pub fn checked_line(value: &impl Serialize) -> Vec<u8> {
    line(value)
}

/// Returns the values of [`checked_line`]s; torn and damaged lines are left out.
pub fn checked_values<T: DeserializeOwned>(bytes: &[u8]) -> impl Iterator<Item = T> {
    bytes.split(|&b| b == b'\n').filter_map(|text| checked(text, String::new).ok())
}

/// Returns the sector that marks a run as tidied up, and its offset in the file. With `unsynced`, the next command
/// checks whether history and logs contain the entries of the run.
pub fn done_sector(unsynced: bool) -> (Vec<u8>, u64) {
    (sector(&DoneSector { done: true, unsynced }), (DONE * SECTOR) as u64)
}

fn blank() -> Vec<u8> {
    let mut sector = vec![b' '; SECTOR];
    sector[SECTOR - 1] = b'\n';
    sector
}

fn sector(value: &impl Serialize) -> Vec<u8> {
    let text = line(value);
    let mut sector = blank();
    let text = text.trim_ascii_end();
    // The values are short by construction: a run, a command word, two digests, the name of a script.
    let length = text.len().min(SECTOR - 1);
    sector[..length].copy_from_slice(&text[..length]);
    sector
}

fn line(value: &impl Serialize) -> Vec<u8> {
    // Strings, numbers and maps with string keys: serialising these cannot fail.
    let mut line = Vec::with_capacity(USUAL_LINE);
    line.extend_from_slice(&[b' '; CHECKSUM]);
    let _ = serde_json::to_writer(&mut line, value);
    if let Some((checksum, json)) = line.split_at_mut_checked(CHECKSUM) {
        checksum[..CHECKSUM - 1].copy_from_slice(format!("{:08x}", crc32c::crc32c(json)).as_bytes());
    }
    line.push(b'\n');
    line
}

fn checked<T: DeserializeOwned>(text: &[u8], what: impl Fn() -> String) -> Result<T, JournalError> {
    let (crc, json) = text.split_at_checked(CHECKSUM).ok_or_else(|| JournalError::Checksum(what()))?;
    let stated = std::str::from_utf8(crc).ok().and_then(|crc| u32::from_str_radix(crc.trim_end(), 16).ok());
    if stated != Some(crc32c::crc32c(json)) {
        return Err(JournalError::Checksum(what()));
    }
    serde_json::from_slice(json).map_err(|_| JournalError::Content(what()))
}

const EVERYBODY_READS: u32 = 0o004;

const PORTION: usize = 256 << 10;
const PIECE: usize = 64;

/// The bytes of the two files of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFiles {
    /// The journal, for everyone.
    pub journal: Vec<u8>,
    /// `ops-<run>`, for the owner.
    pub ops: Vec<u8>,
}

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

    fn add_ops(&mut self, threads: usize, bytes: Option<&[u8]>) -> Result<(), JournalError> {
        let header = &self.head.header;
        let is_it = |bytes: &&[u8]| bytes.len() as u64 == header.ops && digest(bytes) == header.ops_b3;
        let Some(bytes) = bytes.filter(is_it) else { return Err(JournalError::Ops(header.run.clone())) };
        let shown = self.shown();
        self.add_lines(threads, &shown, 0, &texts(bytes).collect::<Vec<_>>())
    }

    fn read_ops(&mut self, threads: usize, file: &mut dyn BufRead) -> Result<(), JournalError> {
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

#[cfg(test)]
mod tests;
