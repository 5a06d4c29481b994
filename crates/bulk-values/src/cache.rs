//! What is known of recipes that were scanned, and of the files that were read for that: the scan cache.
//!
//! JSON lines. An entry is `{"location","key","seen","records"}`: what `scan` printed for a location, and the numbers of
//! the files that were read for it. Files are noted once for all entries, each in its own line before the first entry that
//! refers to it; so are the words of `SCAN_DEPENDS`, which is nearly all of the text of a large tree.
//!
//! Lines are appended as scans end, and the whole is written anew at the end of a run. A last line that was torn is
//! dropped. With any other damage the whole cache is of no use, and everything is scanned again: a cache decides what is
//! *not* looked at, so nothing of it is believed in part.
//!
//! The module has no access to files: bytes in, values out.

mod interned;
mod lines;
mod numbers;
mod records;
mod seen;

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::result::Digest;
use interned::InternedTexts;
use lines::{CacheLine, EntryLine};
use numbers::NumberRuns;
use records::PackedRecords;
pub use seen::{FileStatus, Seen};

/// The number of a noted file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileNumber(u32);

impl FileNumber {
    /// Returns its place in [`ScanCache::files`].
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// A file in the state in which scans read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedFile {
    /// Its path: below the tree, or absolute.
    pub path: String,
    /// Its state.
    pub seen: Seen,
}

/// What is known of one location.
#[derive(Clone, Debug)]
pub struct ScanEntry {
    key: Digest,
    seen: NumberRuns,
    records: PackedRecords,
}

impl ScanEntry {
    /// Returns the digest of all that the scan depended on and that is no file: the names of the files below the
    /// location, the environment, the base.
    pub fn key(&self) -> &Digest {
        &self.key
    }

    /// Returns the files that were read.
    pub fn files(&self) -> impl Iterator<Item = FileNumber> {
        self.seen.iter().map(FileNumber)
    }

    /// Returns whether all files that were read are as they were: `unchanged` says it of each of
    /// [`ScanCache::files`], so that a file that thousands of locations read is looked at once.
    pub fn is_unchanged(&self, unchanged: &[bool]) -> bool {
        self.seen.runs().all(|(first, last)| {
            let run = FileNumber(first).index()..=FileNumber(last).index();
            unchanged.get(run).is_some_and(|run| run.iter().all(|is_unchanged| *is_unchanged))
        })
    }
}

/// Why a cache is not believed: the line, counted from 1, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("scan cache: line {line}: {reason}")]
pub struct CacheDamage {
    /// The line.
    pub line: usize,
    /// The reason.
    pub reason: String,
}

/// The scan cache: entries by location, and the files that they refer to.
#[derive(Clone, Debug, Default)]
pub struct ScanCache {
    files: Vec<NotedFile>,
    /// The last note of each path.
    by_path: HashMap<String, u32, RandomState>,
    words: InternedTexts,
    entries: BTreeMap<String, ScanEntry>,
    /// How many files and words are in the bytes that were read or given out so far.
    written: (usize, usize),
    /// Whether these bytes have the first line.
    has_first_line: bool,
}

impl ScanCache {
    /// Reads a cache. Returns it with the number of its whole bytes: what is behind them was torn, and is to be cut off
    /// before anything is appended.
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
            } else if !lines::is_version_line(line) {
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
                        return Err("a word is there twice".to_owned());
                    }
                }
            }
            CacheLine::Entry(line) => {
                let seen = NumberRuns::parse(&line.seen, self.files.len())
                    .ok_or("it names files that are not noted")?;
                let records = PackedRecords::parse(&line.records, self.words.len())
                    .ok_or("its records name words that are not noted")?;
                self.entries.insert(line.location.into_owned(), ScanEntry { key: line.key, seen, records });
            }
        }
        Ok(())
    }

    fn push_file(&mut self, path: &str, seen: Seen) -> u32 {
        // Four thousand million notes do not fit into memory.
        let number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        self.files.push(NotedFile { path: path.to_owned(), seen });
        self.by_path.insert(path.to_owned(), number);
        number
    }

    /// Returns all noted files, in the order of their numbers. A path can be there several times, in different states.
    pub fn files(&self) -> &[NotedFile] {
        &self.files
    }

    /// Notes a file in the state in which a scan read it. Returns its number: that of an earlier note if the state is
    /// the same.
    pub fn note_file(&mut self, path: &str, seen: Seen) -> FileNumber {
        let known = self.by_path.get(path).copied();
        let same = known.filter(|number| {
            let file = self.files.get(FileNumber(*number).index());
            file.is_some_and(|file| file.seen.is_same_state(&seen))
        });
        FileNumber(same.unwrap_or_else(|| self.push_file(path, seen)))
    }

    /// Renews the note of a file that was found unchanged by its digest, so that its status suffices next time. The
    /// renewal lasts if the cache is written anew.
    pub fn renew_file(&mut self, number: FileNumber, status: FileStatus, noted: i64) {
        let file = self.files.get_mut(number.index());
        if let Some(NotedFile { seen: Seen::File { status: old, noted: then, .. }, .. }) = file {
            (*old, *then) = (status, noted);
        }
    }

    /// Returns the entry of a location.
    pub fn entry(&self, location: &str) -> Option<&ScanEntry> {
        self.entries.get(location)
    }

    /// Returns the locations that have entries, in byte order.
    pub fn locations(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Returns what `scan` printed for an entry.
    pub fn records_of(&self, entry: &ScanEntry) -> String {
        entry.records.text(&self.words)
    }

    /// Drops the entries of locations that are gone.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.entries.retain(|location, _| is_there(location));
    }

    /// Sets the entry of a location: its key ([`ScanEntry::key`]), the files that were read, what `scan` printed. Returns
    /// the bytes to append: its line, and before it those of files and words that are new.
    pub fn set_entry(&mut self, location: &str, key: Digest, files: &[FileNumber], records: &str) -> Vec<u8> {
        let mut numbers: Vec<u32> = files.iter().map(|file| file.0).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let records = PackedRecords::pack(records, &mut self.words);
        let entry = ScanEntry { key, seen: NumberRuns::of(numbers), records };
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.has_first_line, true) {
            lines::put_version(&mut out);
        }
        for file in self.files.iter().skip(self.written.0) {
            lines::put_file(&mut out, &file.path, &file.seen);
        }
        lines::put_words(&mut out, self.words.from(self.written.1));
        self.written = (self.files.len(), self.words.len());
        put_entry(&mut out, location, &entry);
        self.entries.insert(location.to_owned(), entry);
        out
    }

    /// Returns the bytes of the whole cache, without the files and words that no entry refers to any more. Their numbers
    /// are others than here: whoever goes on to append to them reads them first.
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
        lines::put_version(&mut out);
        for file in &compact.files {
            lines::put_file(&mut out, &file.path, &file.seen);
        }
        lines::put_words(&mut out, compact.words.from(0));
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
    lines::put_line(out, &line);
}

#[cfg(test)]
mod tests;
