//! `var/sadm/patchadm/journal` (patchadm-journal(5)): eight sectors of 512 bytes, then lines. A sector is a CRC-32C and
//! a JSON object, padded with blanks and a newline, or blank. Sectors are written atomically; they alone tell a run's
//! progress and outcome.
//!
//! Everyone may read the journal, so other facts (names, owners, digests) are in `ops-<run>`, for the owner only. A
//! private record has only place and inode in the journal. Of an earlier version, only the sectors are read, and only
//! after its run is tidied up.

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
    Domain, Identity, JournalArchive, JournalEntry, MissingRenameFlag, NotedDigest, Op, OpKind, PatchRecord,
    RunRecord, StoredFiles,
};

/// Versions 1 to 3 had SHA-256 digests.
pub const VERSION: u32 = 4;
/// Bytes.
pub const SECTOR: usize = 512;
const CHECKSUM: usize = 9;
const USUAL_LINE: usize = 1 << 10;
/// Bytes of all sectors: the offset of the lines.
pub const HEAD: usize = 8 * SECTOR;

const HEADER: usize = 0;
const PROGRESS: [usize; 2] = [1, 2];
const OUTCOME: usize = 3;
const DONE: usize = 4;

/// The first sector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalHeader {
    /// [`VERSION`], or an earlier one for a run that is tidied up.
    pub version: u32,
    pub run: String,
    pub command: String,
    /// The root's marker: 16 hexadecimal digits, random for its first journal, then inherited.
    pub root: String,
    /// Bytes of the lines.
    pub lines: u64,
    /// BLAKE3 of the lines; empty in earlier versions.
    #[serde(default)]
    pub b3: String,
    /// Bytes of the leading lines that readers need: all.
    pub db: u64,
    /// Bytes of `ops-<run>`.
    #[serde(default)]
    pub ops: u64,
    /// BLAKE3 of that file; empty in earlier versions.
    #[serde(default)]
    pub ops_b3: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Everything is as after the run.
    Commit,
    /// Everything is as before the run.
    RolledBack,
}

/// Two sectors are written in turn, so that one is always whole; the higher number counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptProgress {
    /// Counts from 1.
    pub number: u64,
    /// `None` between scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptProcess>,
}

/// Boot and start time tell its process group from a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptProcess {
    /// In messages.
    pub name: String,
    /// Recovery ends this group.
    pub group: i32,
    /// See `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// Clock ticks since boot: field 22 of `/proc/PID/stat`.
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHead {
    /// Written once, before publication.
    pub header: JournalHeader,
    /// `None` while the run is in progress.
    pub outcome: Option<RunOutcome>,
    /// The run is also tidied up.
    pub done: bool,
    /// A power cut may have lost its text in history and logs.
    pub is_unsynced: bool,
    /// `None` without scripts.
    pub progress: Option<ScriptProgress>,
}

impl JournalHead {
    /// The switch may be half done: recovery rolls back, readers use the old records.
    pub fn is_open(&self) -> bool {
        self.outcome.is_none() && !self.done
    }

    /// `None` if invalid.
    pub fn run(&self) -> Option<Run> {
        Run::parse(&self.header.run)
    }
}

/// All parts are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    pub head: JournalHead,
    pub domains: Vec<Domain>,
    pub archives: Vec<JournalArchive>,
    /// For history and logs.
    pub run_record: RunRecord,
    /// In order of execution.
    pub ops: Vec<Op>,
    /// False if only the readers' part was read.
    pub is_whole: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    #[error("it is cut short")]
    Short,
    #[error("{0} does not match its checksum")]
    Checksum(String),
    #[error("its lines do not match the digest in its header")]
    Digest,
    #[error("the file ops-{0} beside it is missing, or not the one that its header names")]
    Ops(String),
    #[error("{0} is not what this program writes")]
    Content(String),
    #[error("the field {field} of {of} is not what this program could have written")]
    Field { field: &'static str, of: String },
    #[error("it is missing, and stage/{0} may belong to an unfinished run")]
    Gone(String),
    #[error("it is not a file")]
    NoFile,
    #[error("it belongs to the root {}, and root-id beside it names the root {}", .0.0, .0.1)]
    OtherRoot(Box<(String, String)>),
    #[error("it is of version {0}, and this program reads version {VERSION}")]
    Version(u32),
    #[error(
        "it belongs to an unfinished run of an earlier version of this program (format {0}; this version writes {VERSION})"
    )]
    Earlier(u32),
}

impl Journal {
    /// `ops` are the bytes of `ops-<run>`.
    pub fn parse(bytes: &[u8], ops: Option<&[u8]>) -> Result<Self, JournalError> {
        Self::parse_by(1, bytes, ops)
    }

    pub(crate) fn parse_by(threads: usize, bytes: &[u8], ops: Option<&[u8]>) -> Result<Self, JournalError> {
        Self::parse_with(bytes, |journal| journal.add_ops(threads, ops))
    }

    /// Reads the second file line by line, to save memory.
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

    /// For readers of the database: `bytes` are the sectors and at least the leading lines. Returns only ops of the
    /// database.
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

    /// Returns objects that stay after the commit, as undo data.
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
                    // Doubling would waste much memory for a million changes.
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
        // A sector that was being written does not count; the other one does.
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

/// The record precedes the ops; `None` if it is not in these bytes.
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

/// Blanks unreadable sectors, except the header: without it, returns `None`.
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

/// Replaces the marker; `None` if the header is unreadable.
pub fn with_marker(bytes: &[u8], marker: &str) -> Option<Vec<u8>> {
    let header = JournalHeader { root: marker.to_owned(), ..parse_head(bytes).ok()?.header };
    let mut changed = bytes.to_vec();
    changed.get_mut(..SECTOR)?.copy_from_slice(&sector(&header));
    Some(changed)
}

/// Returns sector and offset.
pub fn outcome_sector(outcome: RunOutcome) -> (Vec<u8>, u64) {
    (sector(&OutcomeSector { outcome }), (OUTCOME * SECTOR) as u64)
}

/// Returns sector and offset.
pub fn progress_sector(progress: &ScriptProgress) -> (Vec<u8>, u64) {
    let place = PROGRESS[usize::from(progress.number.is_multiple_of(2))];
    (sector(progress), (place * SECTOR) as u64)
}

/// Checksum, blank, JSON, newline; for files beside the journal.
pub fn checked_line(value: &impl Serialize) -> Vec<u8> {
    line(value)
}

/// Skips torn and damaged lines.
pub fn checked_values<T: DeserializeOwned>(bytes: &[u8]) -> impl Iterator<Item = T> {
    bytes.split(|&b| b == b'\n').filter_map(|text| checked(text, String::new).ok())
}

/// Returns the sector that marks a run as tidied up, and its offset. `unsynced`: the next command must check history
/// and logs.
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
    // Short by construction: a run, a command word, two digests, the name of a script.
    let length = text.len().min(SECTOR - 1);
    sector[..length].copy_from_slice(&text[..length]);
    sector
}

fn line(value: &impl Serialize) -> Vec<u8> {
    // Serializing strings, numbers and maps with string keys cannot fail.
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalFiles {
    /// For everyone.
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
    /// For a run in progress: header, blank outcome, all lines. Ops keep their order.
    pub fn to_files(
        header: JournalHeader,
        entries: impl IntoIterator<Item: Borrow<JournalEntry>>,
    ) -> io::Result<JournalFiles> {
        let mut ops = Vec::new();
        let journal = Self::write_beside(header, entries, &mut ops)?;
        Ok(JournalFiles { journal, ops })
    }

    /// Writes the second file line by line, to save memory; returns the first.
    pub fn write_beside(
        header: JournalHeader,
        entries: impl IntoIterator<Item: Borrow<JournalEntry>>,
        ops: &mut dyn Write,
    ) -> io::Result<Vec<u8>> {
        // The header is filled in last.
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
            // Whole lines, so that each portion can be read alone.
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

    /// `before` counts earlier lines. Lines are parsed in parallel.
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
    // Readers and recovery must see the same facts.
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
