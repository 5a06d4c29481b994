//! The scan cache: output of scanned recipes, and the files that the scans read.
//!
//! JSON lines, appended as scans end and rewritten after a run. Files and words of `SCAN_DEPENDS` are stored once,
//! before the first entry that refers to them. An incomplete last line is dropped; other damage invalidates the cache,
//! because it decides what is *not* scanned.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::result::Blake3Digest;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNumber(u32);

impl FileNumber {
    /// Position in [`ScanCache::files`].
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedFile {
    /// Below the tree, or absolute.
    pub path: String,
    pub seen: NotedState,
}

#[derive(Clone, Debug)]
pub struct ScanEntry {
    key: Blake3Digest,
    seen: NumberRuns,
    records: PackedRecords,
}

impl ScanEntry {
    /// Digest of everything else that the scan depended on: names of files below the location, environment, base.
    pub fn key(&self) -> &Blake3Digest {
        &self.key
    }

    pub fn files(&self) -> impl Iterator<Item = FileNumber> {
        self.seen.iter().map(FileNumber)
    }

    /// `unchanged` answers for all [`ScanCache::files`], so that a file shared by thousands of locations is checked
    /// once.
    pub fn is_unchanged(&self, unchanged: &[bool]) -> bool {
        self.seen.runs().all(|(first, last)| {
            let run = FileNumber(first).index()..=FileNumber(last).index();
            unchanged.get(run).is_some_and(|run| run.iter().all(|is_unchanged| *is_unchanged))
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scan cache: line {line}: {reason}")]
pub struct CacheDamage {
    pub line: usize,
    pub reason: String,
}

#[derive(Clone, Debug, Default)]
pub struct ScanCache {
    files: Vec<NotedFile>,
    by_path: HashMap<String, u32, RandomState>,
    words: InternedTexts,
    entries: BTreeMap<String, ScanEntry>,
    /// Files and words read or written so far.
    written: (usize, usize),
    has_first_line: bool,
}

impl ScanCache {
    /// Parses a cache. Returns it with the number of complete bytes: cut off the rest before appending.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), CacheDamage> {
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let mut cache = Self::default();
        let text = bytes.get(..whole.saturating_sub(1)).unwrap_or_default();
        if whole == 0 {
            return Ok((cache, 0));
        }
        for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
            let damage = |reason| CacheDamage { line: index + 1, reason };
            if index > 0 {
                cache.add_line(line).map_err(damage)?;
            } else if !is_version_line(line) {
                return Err(damage("it is not the first line of this version".to_owned()));
            }
        }
        cache.written = (cache.files.len(), cache.words.len());
        cache.has_first_line = true;
        Ok((cache, whole))
    }

    fn add_line(&mut self, line: &[u8]) -> Result<(), String> {
        match CacheLine::parse(line)? {
            CacheLine::File(path, seen) => {
                self.push_file(&path, seen);
            }
            CacheLine::Words(words) => {
                for word in words {
                    let number = self.words.len();
                    if usize::try_from(self.words.number(&word)) != Ok(number) {
                        return Err("a word is listed twice".to_owned());
                    }
                }
            }
            CacheLine::Entry(line) => {
                let seen = NumberRuns::parse(&line.seen, self.files.len())
                    .ok_or("it names files that are not listed")?;
                let records = PackedRecords::parse(&line.records, self.words.len())
                    .ok_or("its records name words that are not listed")?;
                self.entries.insert(line.location.into_owned(), ScanEntry { key: line.key, seen, records });
            }
        }
        Ok(())
    }

    fn push_file(&mut self, path: &str, seen: NotedState) -> u32 {
        // More than `u32::MAX` notes do not fit into memory.
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(NotedFile { path: path.to_owned(), seen });
        self.by_path.insert(path.to_owned(), number);
        number
    }

    /// In the order of their numbers. A path may occur several times, in different states.
    pub fn files(&self) -> &[NotedFile] {
        &self.files
    }

    /// Notes a file as a scan read it. Returns the number of an equal note if there is one.
    pub fn note_file(&mut self, path: &str, seen: NotedState) -> FileNumber {
        let known = self.by_path.get(path).copied();
        let same = known.filter(|number| {
            let file = self.files.get(FileNumber(*number).index());
            file.is_some_and(|file| file.seen.is_same_state(&seen))
        });
        FileNumber(same.unwrap_or_else(|| self.push_file(path, seen)))
    }

    /// Renews the note of an unchanged file, so that its status suffices from the next rewrite of the cache on.
    pub fn renew_file(&mut self, number: FileNumber, status: FileStatus, noted: i64) {
        let file = self.files.get_mut(number.index());
        if let Some(NotedFile { seen: NotedState::File { status: old, noted: then, .. }, .. }) = file {
            (*old, *then) = (status, noted);
        }
    }

    pub fn entry(&self, location: &str) -> Option<&ScanEntry> {
        self.entries.get(location)
    }

    /// In byte order.
    pub fn locations(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub fn records_of(&self, entry: &ScanEntry) -> String {
        entry.records.text(&self.words)
    }

    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.entries.retain(|location, _| is_there(location));
    }

    /// Sets the entry of a location. Returns the bytes to append: new files and words, then the entry.
    pub fn set_entry(
        &mut self,
        location: &str,
        key: Blake3Digest,
        files: &[FileNumber],
        records: &str,
    ) -> Vec<u8> {
        let mut numbers: Vec<u32> = files.iter().map(|file| file.0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let records = PackedRecords::pack(records, &mut self.words);
        let entry = ScanEntry { key, seen: NumberRuns::of(numbers), records };
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.has_first_line, true) {
            put_version(&mut out);
        }
        for file in self.files.iter().skip(self.written.0) {
            put_file(&mut out, &file.path, &file.seen);
        }
        put_words(&mut out, self.words.from(self.written.1));
        self.written = (self.files.len(), self.words.len());
        put_entry(&mut out, location, &entry);
        self.entries.insert(location.to_owned(), entry);
        out
    }

    /// Returns the whole cache without unreferenced files and words, with new numbers: parse it before appending.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut compact = Self::default();
        let mut renumbered: Vec<Option<u32>> = vec![None; self.files.len()];
        let mut lines = Vec::new();
        for (location, entry) in &self.entries {
            let numbers = entry.seen.iter().filter_map(|number| {
                let file = self.files.get(FileNumber(number).index())?;
                let place = renumbered.get_mut(FileNumber(number).index())?;
                Some(*place.get_or_insert_with(|| compact.push_file(&file.path, file.seen)))
            });
            let mut numbers: Vec<u32> = numbers.collect();
            numbers.sort_unstable();
            let records = entry.records.renumbered(&self.words, &mut compact.words);
            put_entry(
                &mut lines,
                location,
                &ScanEntry { key: entry.key, seen: NumberRuns::of(numbers), records },
            );
        }
        let mut out = Vec::new();
        put_version(&mut out);
        for file in &compact.files {
            put_file(&mut out, &file.path, &file.seen);
        }
        put_words(&mut out, compact.words.from(0));
        out.append(&mut lines);
        out
    }
}

fn put_entry(out: &mut Vec<u8>, location: &str, entry: &ScanEntry) {
    let line = EntryLine {
        location: location.into(),
        key: entry.key,
        seen: entry.seen.text(),
        records: entry.records.parts(),
    };
    put_line(out, &line);
}

/// Minimum age of a file's last change when noted, in nanoseconds. A later change within this time may leave the times
/// unchanged: file systems store them no finer than a tick of the kernel clock, at most 10 ms.
const SETTLED: i64 = 20_000_000;

/// A file's status, without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStatus {
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime: i64,
    /// Last change of the inode, in nanoseconds since 1970.
    pub ctime: i64,
}

/// A file's state when noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotedState {
    Absent,
    File {
        status: FileStatus,
        digest: Blake3Digest,
        /// Taken before the file was read, in nanoseconds since 1970.
        noted: i64,
    },
}

impl NotedState {
    /// Compares by settled status alone, otherwise by the digest that `read` returns. `now` is `None` for a missing
    /// file.
    pub fn is_unchanged(
        &self,
        now: Option<&FileStatus>,
        read: impl FnOnce() -> Option<Blake3Digest>,
    ) -> bool {
        match (self, now) {
            (Self::Absent, None) => true,
            (Self::File { status, digest, noted }, Some(now)) => {
                let is_settled = status.ctime.checked_add(SETTLED).is_some_and(|settled| settled <= *noted);
                // Another size is another digest, so the file need not be read.
                now.size == status.size && (is_settled && now == status || read() == Some(*digest))
            }
            (Self::Absent, Some(_)) | (Self::File { .. }, None) => false,
        }
    }

    /// Ignores the time of the notes.
    fn is_same_state(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => true,
            (Self::File { status, digest, .. }, Self::File { status: other, digest: same, .. }) => {
                status == other && digest == same
            }
            _ => false,
        }
    }
}

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionLine {
    scan_cache: u32,
}

/// A file in one state, numbered by its position among such lines. Without a state it was absent.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLine<'a> {
    #[serde(borrow)]
    file: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<FileState>,
}

/// Inode, size, mtime, ctime, time of the note, and hex digest; an array, because there are 100,000 of them.
#[derive(Serialize, Deserialize)]
struct FileState(u64, u64, i64, i64, i64, String);

/// Words of `SCAN_DEPENDS`, numbered by their position among all such lines.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WordsLine<'a> {
    #[serde(borrow)]
    words: Vec<Cow<'a, str>>,
}

/// A location. Its records alternate between text and lists of words.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryLine<'a> {
    #[serde(borrow)]
    pub(super) location: Cow<'a, str>,
    pub(super) key: Blake3Digest,
    pub(super) seen: String,
    #[serde(borrow)]
    pub(super) records: Vec<Cow<'a, str>>,
}

pub(super) enum CacheLine<'a> {
    File(Cow<'a, str>, NotedState),
    Words(Vec<Cow<'a, str>>),
    Entry(EntryLine<'a>),
}

impl<'a> CacheLine<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, String> {
        let reason = |error: serde_json::Error| error.to_string();
        if line.starts_with(b"{\"file\":") {
            let line: FileLine<'a> = serde_json::from_slice(line).map_err(reason)?;
            Ok(Self::File(line.file, seen_of(line.state)?))
        } else if line.starts_with(b"{\"words\":") {
            let line: WordsLine<'a> = serde_json::from_slice(line).map_err(reason)?;
            Ok(Self::Words(line.words))
        } else if line.starts_with(b"{\"location\":") {
            serde_json::from_slice(line).map(Self::Entry).map_err(reason)
        } else {
            Err("it is not a line of this file".to_owned())
        }
    }
}

fn seen_of(state: Option<FileState>) -> Result<NotedState, String> {
    let Some(FileState(inode, size, mtime, ctime, noted, digits)) = state else {
        return Ok(NotedState::Absent);
    };
    let digest = Blake3Digest::from_hex(&digits).map_err(|error| error.to_string())?;
    Ok(NotedState::File { status: FileStatus { inode, size, mtime, ctime }, digest, noted })
}

fn is_version_line(line: &[u8]) -> bool {
    serde_json::from_slice::<VersionLine>(line).is_ok_and(|line| line.scan_cache == VERSION)
}

fn put_version(out: &mut Vec<u8>) {
    put_line(out, &VersionLine { scan_cache: VERSION });
}

fn put_file(out: &mut Vec<u8>, path: &str, seen: &NotedState) {
    let state = match seen {
        NotedState::Absent => None,
        NotedState::File { status, digest, noted } => {
            Some(FileState(status.inode, status.size, status.mtime, status.ctime, *noted, digest.hex()))
        }
    };
    put_line(out, &FileLine { file: Cow::Borrowed(path), state });
}

fn put_words<'a>(out: &mut Vec<u8>, words: impl Iterator<Item = &'a str>) {
    let words: Vec<Cow<'_, str>> = words.map(Cow::Borrowed).collect();
    if !words.is_empty() {
        put_line(out, &WordsLine { words });
    }
}

fn put_line(out: &mut Vec<u8>, line: &impl Serialize) {
    // Strings, numbers and lists of them, written to memory: this cannot fail.
    let _ = serde_json::to_writer(&mut *out, line);
    out.push(b'\n');
}

const SCAN_DEPENDS: &str = "SCAN_DEPENDS=";

/// Records of a location: pieces of text, with a list of words after each but the last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PackedRecords {
    pieces: Vec<(Box<str>, NumberRuns)>,
    end: Box<str>,
}

impl PackedRecords {
    fn pack(records: &str, words: &mut InternedTexts) -> Self {
        let (mut pieces, mut text) = (Vec::new(), String::new());
        for line in records.split_inclusive('\n') {
            let Some(value) = line.strip_prefix(SCAN_DEPENDS) else {
                text.push_str(line);
                continue;
            };
            text.push_str(SCAN_DEPENDS);
            let (value, newline) = value.strip_suffix('\n').map_or((value, ""), |value| (value, "\n"));
            // Split at single blanks, so that joining restores the text.
            let numbers = NumberRuns::of(value.split(' ').map(|word| words.number(word)));
            pieces.push((std::mem::take(&mut text).into(), numbers));
            text.push_str(newline);
        }
        Self { pieces, end: text.into() }
    }

    fn text(&self, words: &InternedTexts) -> String {
        let mut out = String::new();
        for (text, numbers) in &self.pieces {
            out.push_str(text);
            for (index, number) in numbers.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(words.get(number).unwrap_or_default());
            }
        }
        out.push_str(&self.end);
        out
    }

    /// Returns the same text with the numbers of other words.
    fn renumbered(&self, words: &InternedTexts, other: &mut InternedTexts) -> Self {
        let pieces = self.pieces.iter().map(|(text, numbers)| {
            let numbers = numbers.iter().filter_map(|number| words.get(number));
            (text.clone(), NumberRuns::of(numbers.map(|word| other.number(word))))
        });
        Self { pieces: pieces.collect(), end: self.end.clone() }
    }

    fn parts(&self) -> Vec<Cow<'_, str>> {
        let pieces = self.pieces.iter();
        let mut parts: Vec<Cow<'_, str>> =
            pieces.flat_map(|(text, numbers)| [Cow::Borrowed(&**text), Cow::Owned(numbers.text())]).collect();
        parts.push(Cow::Borrowed(&self.end));
        parts
    }

    fn parse(parts: &[Cow<'_, str>], words: usize) -> Option<Self> {
        let (end, parts) = parts.split_last()?;
        let pairs = parts.chunks(2).map(|pair| match pair {
            [text, numbers] => Some((Box::from(&**text), NumberRuns::parse(numbers, words)?)),
            _ => None,
        });
        Some(Self { pieces: pairs.collect::<Option<_>>()?, end: Box::from(&**end) })
    }
}

/// Numbers as runs: `0-137 140 150-163`. Most recipes read the same hundred files in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct NumberRuns(Box<[(u32, u32)]>);

impl NumberRuns {
    fn of(numbers: impl IntoIterator<Item = u32>) -> Self {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for number in numbers {
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
                _ => runs.push((number, number)),
            }
        }
        Self(runs.into())
    }

    fn parse(text: &str, end: usize) -> Option<Self> {
        let end = u32::try_from(end).ok()?;
        let runs = text.split_ascii_whitespace().map(|word| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            let run: (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            (run.0 <= run.1 && run.1 < end).then_some(run)
        });
        runs.collect::<Option<_>>().map(Self)
    }

    fn text(&self) -> String {
        let mut text = String::with_capacity(self.0.len() * 8);
        for (first, last) in &self.0 {
            let blank = if text.is_empty() { "" } else { " " };
            // Writing to a string does not fail.
            let _ = if first == last {
                write!(text, "{blank}{first}")
            } else {
                write!(text, "{blank}{first}-{last}")
            };
        }
        text
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    fn runs(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().copied()
    }
}

/// Texts numbered from 0 in order of insertion.
#[derive(Clone, Debug, Default)]
struct InternedTexts {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32, RandomState>,
}

impl InternedTexts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        // More than `u32::MAX` texts do not fit into memory.
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    fn get(&self, number: u32) -> Option<&str> {
        self.texts.get(usize::try_from(number).ok()?).map(AsRef::as_ref)
    }

    fn from(&self, number: usize) -> impl Iterator<Item = &str> {
        self.texts.iter().skip(number).map(AsRef::as_ref)
    }

    fn len(&self) -> usize {
        self.texts.len()
    }
}

#[cfg(test)]
mod tests;
