//! The journal of a root, `var/sadm/patchadm/journal` (patchadm-journal(5)): bytes to values and back.
//!
//! Eight sectors of 512 bytes, then lines. A sector is one CRC-32C and one JSON object, padded with blanks and closed
//! by a newline, or blank; the file is text, so that `head -c 4096` shows it. Whether a run is in progress, and which way
//! it ended, is in the sectors alone: one sector is written at once or not at all.
//!
//! Everybody may read the journal, and its lines are what readers of the package database need. All else is in a second
//! file that only the owner may read, `ops-<run>` (`ops`); the header names length and BLAKE3 of the lines of either.
//! Of a journal of an earlier version nothing but the sectors is read, and only when its run is tidied up.

mod check;
mod domain;
mod entry;
mod ops;
mod path_text;

use std::io::BufRead;

use super::run::Run;
use patchadm_rootfs::Digest;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(super) use check::is_marker;
pub use check::{
    LONGEST_SCRIPT_NAME, archive_elsewhere, is_settable, noted_identity, noted_path, noted_stage,
};
pub use domain::{Domain, Lack};
pub use entry::{Identity, JournalArchive, JournalEntry, NotedDigest, Op, OpKind, PatchRecord, RunRecord};
pub use ops::JournalFiles;

/// The version that is written and read. Versions 1 to 3 had SHA-256 digests.
pub const VERSION: u32 = 4;
/// Bytes of a sector.
pub const SECTOR: usize = 512;
/// The bytes of a line before its JSON: checksum and blank.
const CHECKSUM: usize = 9;
/// The room that is made for a line at first; nearly all need no more.
const USUAL_LINE: usize = 1 << 10;
/// Bytes of the sectors together: where the lines begin.
pub const HEAD: usize = 8 * SECTOR;

/// Places of the sectors. 5 to 7 are blank.
const HEADER: usize = 0;
const PROGRESS: [usize; 2] = [1, 2];
const OUTCOME: usize = 3;
const DONE: usize = 4;

/// The first sector: which run, of which root, and how long the parts that follow are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalHeader {
    /// [`VERSION`]; an earlier one of a run that is tidied up.
    pub version: u32,
    /// The run, as text.
    pub run: String,
    /// The command that made it.
    pub command: String,
    /// The marker of the root: 16 hexadecimal digits, random with its first journal, handed on ever since.
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

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunOutcome {
    /// Everything is as after.
    Commit,
    /// Everything is as before.
    RolledBack,
}

/// How far a run with procedure scripts is. Two sectors are written in turn, so that one of them is always whole; the
/// one with the higher number counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptProgress {
    /// Counts from 1.
    pub number: u64,
    /// The script that runs; none between scripts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<ScriptProcess>,
}

/// A procedure script that runs. Boot and start time tell its process group from a later one with the same number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptProcess {
    /// What it is called in messages.
    pub name: String,
    /// Its process group, by which recovery ends it.
    pub group: i32,
    /// The boot that it runs in, `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// When its first process started, in clock ticks since the boot: field 22 of `/proc/PID/stat`.
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

/// What the sectors say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalHead {
    /// The first sector, written once, before the run is published.
    pub header: JournalHeader,
    /// How the run ended; none while it is in progress.
    pub outcome: Option<RunOutcome>,
    /// Whether it is also tidied up.
    pub done: bool,
    /// Whether a power cut may have taken what was written to history and logs when it was tidied up.
    pub is_unsynced: bool,
    /// How far a run with scripts is; none in any other run.
    pub progress: Option<ScriptProgress>,
}

impl JournalHead {
    /// Whether the switch may be half done: recovery rolls back, readers take the old records.
    pub fn is_open(&self) -> bool {
        self.outcome.is_none() && !self.done
    }

    /// Returns the name of the run in its parts; `None` if it is none.
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
    /// What is told of it.
    pub run_record: RunRecord,
    /// The changes, in the order in which they are made.
    pub ops: Vec<Op>,
    /// Whether this is all that the run wrote; false when only what readers need was read.
    pub is_whole: bool,
}

/// Why a journal cannot be read: the medium is damaged, or another version of the program wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// It is shorter than its sectors or its lines.
    #[error("it is cut short")]
    Short,
    /// A sector or line does not have the checksum that stands before it.
    #[error("{0} does not have its checksum")]
    Checksum(String),
    /// The lines are not those that the header is about.
    #[error("its lines do not have the digest that its header names")]
    Digest,
    /// The file with the ops of objects is not there, or another one.
    #[error("the file ops-{0} beside it is missing, or not the one that its header names")]
    Ops(String),
    /// Something is not written as it should be.
    #[error("{0} is not what this program writes")]
    Content(String),
    /// A field has a value that this program never writes there, although the checksums are right.
    #[error("the field {field} of {of} is not what this program could have written")]
    Field {
        /// The field.
        field: &'static str,
        /// What it is a field of.
        of: String,
    },
    /// It is not there, although a stage beside its place says that a run may be unfinished.
    #[error("it is gone, and stage/{0} beside it may be that of an unfinished run")]
    Gone(String),
    /// Something else than a file is in its place.
    #[error("it is no file")]
    NoFile,
    /// It is of another root than the identity of this one says.
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

    /// Does the same with so many threads.
    pub(crate) fn parse_by(threads: usize, bytes: &[u8], ops: Option<&[u8]>) -> Result<Self, JournalError> {
        Self::parse_with(bytes, |journal| journal.add_ops(threads, ops))
    }

    /// Does the same with the second file read line by line, so that its bytes are never all in memory.
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

    fn add(&mut self, entry: JournalEntry) {
        match entry {
            JournalEntry::Domain(domain) => self.domains.push(domain),
            JournalEntry::Archive(archive) => self.archives.push(archive),
            JournalEntry::RunRecord(run_record) => self.run_record = *run_record,
            JournalEntry::Op(op) => {
                if self.ops.len() == self.ops.capacity() {
                    // By an eighth: a journal of a million changes would take as much again for changes that do not come.
                    self.ops.reserve_exact(self.ops.len() / 8 + 64);
                }
                self.ops.push(*op);
            }
        }
    }
}

/// So many bytes of the lines of a journal.
fn part(bytes: &[u8], length: u64) -> Result<&[u8], JournalError> {
    let length = usize::try_from(length).map_err(|_| JournalError::Short)?;
    bytes.get(HEAD..).and_then(|lines| lines.get(..length)).ok_or(JournalError::Short)
}

/// The lines of a file.
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
        // A sector that was being written when the run was cut does not count; the other one does.
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

/// What is told of a run, from the beginning of its file of ops, where it stands before the ops; `None` where it is not in
/// these bytes.
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

/// The bytes of a journal of which the header can be read, with those other sectors blank that cannot: what is left of
/// one that is damaged there. `None` where the header itself cannot be read.
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

/// The bytes of a journal with another marker of the root in its header. `None` where that cannot be read.
pub fn with_marker(bytes: &[u8], marker: &str) -> Option<Vec<u8>> {
    let header = JournalHeader { root: marker.to_owned(), ..parse_head(bytes).ok()?.header };
    let mut changed = bytes.to_vec();
    changed.get_mut(..SECTOR)?.copy_from_slice(&sector(&header));
    Some(changed)
}

/// The sector that says how a run ended, and where it belongs in the file.
pub fn outcome_sector(outcome: RunOutcome) -> (Vec<u8>, u64) {
    (sector(&OutcomeSector { outcome }), (OUTCOME * SECTOR) as u64)
}

/// The sector that says how far a run with scripts is, and where it belongs in the file.
pub fn progress_sector(progress: &ScriptProgress) -> (Vec<u8>, u64) {
    let place = PROGRESS[usize::from(progress.number.is_multiple_of(2))];
    (sector(progress), (place * SECTOR) as u64)
}

/// A line by itself, as in the journal: checksum, blank, JSON, newline. For the files that a run keeps beside it.
pub fn checked_line(value: &impl Serialize) -> Vec<u8> {
    line(value)
}

/// The values of [`checked_line`]s; what is torn or damaged is left out.
pub fn checked_values<T: DeserializeOwned>(bytes: &[u8]) -> impl Iterator<Item = T> {
    bytes.split(|&b| b == b'\n').filter_map(|text| checked(text, String::new).ok())
}

/// The sector that says that a run is tidied up, and where it belongs in the file. With `unsynced` the next command looks
/// whether history and logs have what was told of the run.
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

#[cfg(test)]
mod tests;
