//! The lines of the scan cache.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::seen::{FileStatus, Seen};
use crate::result::Digest;

/// The version that is written and read.
const VERSION: u32 = 1;

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionLine {
    scan_cache: u32,
}

/// A file in one state; its number is its place among such lines. Without a state it was absent.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileLine<'a> {
    #[serde(borrow)]
    file: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<FileState>,
}

/// Inode, size, mtime, ctime, the time of the note, digits of the digest: as an array, since there are 100,000 of them.
#[derive(Serialize, Deserialize)]
struct FileState(u64, u64, i64, i64, i64, String);

/// Words of `SCAN_DEPENDS`; the number of a word is its place among those of all such lines.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WordsLine<'a> {
    #[serde(borrow)]
    words: Vec<Cow<'a, str>>,
}

/// A location. Its records are text, and in every other place a list of words.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryLine<'a> {
    #[serde(borrow)]
    pub(super) location: Cow<'a, str>,
    pub(super) key: Digest,
    pub(super) seen: String,
    #[serde(borrow)]
    pub(super) records: Vec<Cow<'a, str>>,
}

/// A line of the scan cache.
pub(super) enum CacheLine<'a> {
    File(Cow<'a, str>, Seen),
    Words(Vec<Cow<'a, str>>),
    Entry(EntryLine<'a>),
}

impl<'a> CacheLine<'a> {
    /// Reads a line after the first. Its kind is told by its first name.
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
            Err("it is none of its kinds of lines".to_owned())
        }
    }
}

fn seen_of(state: Option<FileState>) -> Result<Seen, String> {
    let Some(FileState(inode, size, mtime, ctime, noted, digits)) = state else { return Ok(Seen::Absent) };
    let digest = Digest::from_hex(&digits).map_err(|error| error.to_string())?;
    Ok(Seen::File { status: FileStatus { inode, size, mtime, ctime }, digest, noted })
}

/// Returns whether a first line is that of this version.
pub(super) fn is_version_line(line: &[u8]) -> bool {
    serde_json::from_slice::<VersionLine>(line).is_ok_and(|line| line.scan_cache == VERSION)
}

/// Writes the first line.
pub(super) fn put_version(out: &mut Vec<u8>) {
    put_line(out, &VersionLine { scan_cache: VERSION });
}

/// Writes the line of a file.
pub(super) fn put_file(out: &mut Vec<u8>, path: &str, seen: &Seen) {
    let state = match seen {
        Seen::Absent => None,
        Seen::File { status, digest, noted } => {
            Some(FileState(status.inode, status.size, status.mtime, status.ctime, *noted, digest.hex()))
        }
    };
    put_line(out, &FileLine { file: Cow::Borrowed(path), state });
}

/// Writes a line of words, if there are any.
pub(super) fn put_words<'a>(out: &mut Vec<u8>, words: impl Iterator<Item = &'a str>) {
    let words: Vec<Cow<'_, str>> = words.map(Cow::Borrowed).collect();
    if !words.is_empty() {
        put_line(out, &WordsLine { words });
    }
}

/// Writes a line.
pub(super) fn put_line(out: &mut Vec<u8>, line: &impl Serialize) {
    // Strings, numbers and lists of them, written to memory: this cannot fail.
    let _ = serde_json::to_writer(&mut *out, line);
    out.push(b'\n');
}
