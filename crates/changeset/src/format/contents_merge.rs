//! One pass over a `contents` file that makes the next one: sorted in, sorted out, nothing held but one line.
//!
//! Lines that no edit names are copied byte for byte, and so are comments, in their places. The two trailer lines
//! of earlier tools are dropped and ours come last. A file that is not sorted (edited by hand, written by a foreign
//! tool) is refused by [`merge`] and dealt with by [`merge_unsorted`], which loads it whole. Where the bytes go and
//! when they become the database is the caller's matter.

use std::collections::{BTreeMap, btree_map};
use std::io::{BufRead, Write};
use std::iter::Peekable;

use chrono::NaiveDateTime;

use crate::package::{Line, ObjectPath, PkgInst};

use super::contents::{ContentsError, Reader, is_comment, key_of};
use super::contents_stamp::Links;

/// The most lines that [`merge_unsorted`] takes into memory.
pub const MOST_UNSORTED_LINES: u64 = 8_000_000;
/// Comments that are held back behind one line until it is known that the next path is another one, in bytes.
const MOST_COMMENTS_HELD: usize = 1 << 20;

/// The new line of each path that changes, or `None` where the path leaves the database.
pub type Edits = BTreeMap<ObjectPath, Option<Line>>;

/// The two comment lines at the end of the database: who changed it last, for which package, when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// The program: `pkgadd`, `pkgrm`, `installf`, …
    pub program: String,
    /// The package it worked on; the last one where there were several.
    pub package: PkgInst,
    /// When, in local time.
    pub when: NaiveDateTime,
}

impl Trailer {
    /// Both lines, with their newlines; the date as `strftime("%c")` has it in the C locale.
    pub fn write(&self) -> Vec<u8> {
        let Self { program, package, when } = self;
        let when = when.format("%a %b %e %H:%M:%S %Y");
        format!("# Last modified by {program} for {package} package\n# {when}\n").into_bytes()
    }
}

/// What a merge made.
#[derive(Clone, Debug)]
pub struct MergeResult {
    /// What it did.
    pub report: MergeReport,
    /// Bytes in front of the trailer.
    pub body: u64,
    /// The hard-link lines that are in the database now.
    pub links: Links,
}

/// What a merge did, in lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeReport {
    /// Copied as they were.
    pub kept: u64,
    /// Replaced by an edit.
    pub replaced: u64,
    /// New paths.
    pub inserted: u64,
    /// Taken out.
    pub deleted: u64,
    /// Deletions of paths that were not there.
    pub absent: u64,
    /// Second and later lines of one path, which were folded into the first.
    pub duplicates: u64,
}

/// Writes `old` with `edits` and a new trailer to `out`, in one streaming pass.
///
/// Where `old` has two lines of one path, the first counts and takes over the owners of the others
/// ([`Line::adopt_owners`]), so that no later removal takes away an object that somebody still owns. After an error
/// what is in `out` is incomplete; after [`ContentsError::Unsorted`] begin anew with [`merge_unsorted`].
pub fn merge(
    old: impl BufRead,
    out: impl Write,
    edits: &Edits,
    trailer: &Trailer,
) -> Result<MergeResult, ContentsError> {
    let mut merger = Merger::new(out, edits);
    let mut old = Reader::new(old);
    let mut trailers = TrailerFilter::default();
    while let Some(raw) = old.next_line()? {
        if trailers.drops(raw) {
            continue;
        }
        if is_comment(raw) {
            merger.comment(raw)?;
        } else {
            let raw = raw.to_vec();
            merger.object(raw, old.line())?;
        }
    }
    merger.finish(trailer)
}

/// As [`merge`], for a database in any order: it is loaded and sorted first. A comment stays in front of the line
/// that it stood in front of.
pub fn merge_unsorted(
    old: impl BufRead,
    out: impl Write,
    edits: &Edits,
    trailer: &Trailer,
) -> Result<MergeResult, ContentsError> {
    let mut old = Reader::new(old);
    let mut trailers = TrailerFilter::default();
    let mut loaded: Vec<Loaded> = Vec::new();
    let mut comments = Vec::new();
    while let Some(raw) = old.next_line()? {
        if trailers.drops(raw) {
            continue;
        }
        let (raw, line) = (raw.to_vec(), old.line());
        if line > MOST_UNSORTED_LINES {
            return Err(ContentsError::TooMany { line });
        }
        if is_comment(&raw) {
            comments.push(raw);
        } else {
            loaded.push(Loaded { comments: std::mem::take(&mut comments), raw, line });
        }
    }
    loaded.sort_by(|a, b| key_of(&a.raw).cmp(&key_of(&b.raw)));
    let mut merger = Merger::new(out, edits);
    for same in loaded.chunk_by_mut(|a, b| key_of(&a.raw) == key_of(&b.raw)) {
        // All comments first: one between two lines of a path must not part them.
        for comment in same.iter().flat_map(|line| &line.comments) {
            merger.comment(comment)?;
        }
        for line in same {
            merger.object(std::mem::take(&mut line.raw), line.line)?;
        }
    }
    for comment in comments {
        merger.comment(&comment)?;
    }
    merger.finish(trailer)
}

/// A line of an unsorted database, with the comments in front of it.
struct Loaded {
    comments: Vec<Vec<u8>>,
    raw: Vec<u8>,
    line: u64,
}

/// Recognises the trailer pairs of earlier tools.
#[derive(Default)]
struct TrailerFilter {
    date_may_follow: bool,
}

impl TrailerFilter {
    /// Whether this line belongs to a trailer. The second line is a date in the locale of its writer: a comment
    /// with a time of day in it.
    fn drops(&mut self, raw: &[u8]) -> bool {
        let headline = raw.starts_with(b"# Last modified by ");
        let date = std::mem::replace(&mut self.date_may_follow, headline)
            && raw.starts_with(b"#")
            && raw.windows(5).any(|w| {
                let [a, b, colon, c, d] = w else { return false };
                *colon == b':' && [a, b, c, d].iter().all(|digit| digit.is_ascii_digit())
            });
        headline || date
    }
}

/// The old line that waits for its successor, because a second line of its path may follow.
struct Held {
    key: Vec<u8>,
    raw: Vec<u8>,
    line: u64,
    /// Comments behind it.
    comments: Vec<u8>,
}

/// Old lines come in by their order, edits are at hand by theirs: one step of a merge sort per line.
struct Merger<'a, W> {
    out: W,
    edits: Peekable<btree_map::Iter<'a, ObjectPath, Option<Line>>>,
    held: Option<Held>,
    /// The key of the line written last, while none is held.
    written: Vec<u8>,
    /// Bytes written.
    size: u64,
    links: Links,
    report: MergeReport,
}

impl<'a, W: Write> Merger<'a, W> {
    fn new(out: W, edits: &'a Edits) -> Self {
        let edits = edits.iter().peekable();
        Self {
            out,
            edits,
            held: None,
            written: Vec::new(),
            size: 0,
            links: Links::default(),
            report: MergeReport::default(),
        }
    }

    fn comment(&mut self, raw: &[u8]) -> Result<(), ContentsError> {
        let Some(held) = &mut self.held else {
            return self.write(raw);
        };
        write_line(&mut held.comments, raw)?;
        if held.comments.len() > MOST_COMMENTS_HELD {
            self.release()?;
        }
        Ok(())
    }

    fn object(&mut self, raw: Vec<u8>, line: u64) -> Result<(), ContentsError> {
        let key = key_of(&raw);
        match &mut self.held {
            Some(held) if *key == held.key => {
                self.report.duplicates += 1;
                return held.adopt(&raw, line);
            }
            Some(held) if *key < *held.key => return Err(ContentsError::Unsorted { line }),
            None if !self.written.is_empty() && *key <= *self.written => {
                return Err(ContentsError::Unsorted { line });
            }
            _ => {}
        }
        let key = key.into_owned();
        self.release()?;
        self.held = Some(Held { key, raw, line, comments: Vec::new() });
        Ok(())
    }

    /// Writes the held line, or what the edits make of it, behind all edits of paths before it.
    fn release(&mut self) -> Result<(), ContentsError> {
        let Some(Held { key, raw, comments, .. }) = self.held.take() else {
            return Ok(());
        };
        self.insert_while(|path| path.as_bytes() < &*key)?;
        match self.edits.next_if(|(path, _)| path.as_bytes() == &*key) {
            Some((_, Some(line))) => {
                self.object_line(&line.write())?;
                self.report.replaced += 1;
            }
            Some((_, None)) => self.report.deleted += 1,
            None => {
                self.object_line(&raw)?;
                self.report.kept += 1;
            }
        }
        self.out.write_all(&comments)?;
        self.size += comments.len() as u64;
        self.written = key;
        Ok(())
    }

    /// Writes the edits that come next, as long as `belongs` says so.
    fn insert_while(&mut self, belongs: impl Fn(&ObjectPath) -> bool) -> Result<(), ContentsError> {
        while let Some((_, edit)) = self.edits.next_if(|(path, _)| belongs(path)) {
            if let Some(line) = edit {
                self.object_line(&line.write())?;
                self.report.inserted += 1;
            } else {
                self.report.absent += 1;
            }
        }
        Ok(())
    }

    fn object_line(&mut self, line: &[u8]) -> Result<(), ContentsError> {
        self.links.note(line);
        self.write(line)
    }

    fn write(&mut self, line: &[u8]) -> Result<(), ContentsError> {
        self.size += line.len() as u64 + 1;
        Ok(write_line(&mut self.out, line)?)
    }

    fn finish(mut self, trailer: &Trailer) -> Result<MergeResult, ContentsError> {
        self.release()?;
        self.insert_while(|_| true)?;
        let body = self.size;
        self.out.write_all(&trailer.write())?;
        self.out.flush()?;
        Ok(MergeResult { report: self.report, body, links: self.links })
    }
}

impl Held {
    /// Takes over the owners of a second line of this path.
    fn adopt(&mut self, raw: &[u8], line: u64) -> Result<(), ContentsError> {
        let parse = |raw, line| Line::parse(raw).map_err(|error| ContentsError::Line { line, error });
        let mut first = parse(&self.raw, self.line)?;
        first.adopt_owners(parse(raw, line)?);
        self.raw = first.write();
        Ok(())
    }
}

fn write_line(out: &mut impl Write, line: &[u8]) -> std::io::Result<()> {
    out.write_all(line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests;
