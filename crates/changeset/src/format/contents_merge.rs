//! The next `contents` file, made from the old one and a set of edits in one streaming pass.
//!
//! Lines and comments that no edit touches are copied byte for byte and keep their places. The two trailer
//! lines of earlier runs are replaced by new ones at the end. [`merge`] needs a sorted file and holds one
//! line in memory; it refuses an unsorted one (edited by hand, written by another tool), which
//! [`merge_unsorted`] loads whole and sorts. The caller decides where the bytes go and when they become the
//! database.

use std::cmp::Ordering;
use std::collections::{BTreeMap, btree_map};
use std::io::{BufRead, Write};
use std::iter::Peekable;

use chrono::NaiveDateTime;

use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

use super::contents_stamp::{Links, OwnerCounts};
use patchadm_svr4::format::contents::{ContentsError, ContentsReader, is_comment, key_of};

/// The largest number of lines that [`merge_unsorted`] loads.
pub const MOST_UNSORTED_LINES: u64 = 8_000_000;
/// The largest amount of comments held back after one line, in bytes. They wait until the next path is known to be a
/// different one.
const MOST_COMMENTS_HELD: usize = 1 << 20;

/// The edits of a database: the new line of each path that changes, or `None` for a path to be deleted.
pub type ContentsEdits = BTreeMap<ObjectPath, Option<Box<ContentsLine>>>;

/// The two comment lines at the end of the database: the program that changed it last, the package, and the
/// time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentsTrailer {
    /// The program's name: `pkgadd`, `pkgrm`, `installf`, …
    pub program: String,
    /// The package changed, or the last of several.
    pub package: PkgInst,
    /// The time of the change, in local time.
    pub when: NaiveDateTime,
}

impl ContentsTrailer {
    /// Formats both lines, with newlines. The date is that of `strftime("%c")` in the C locale.
    pub fn write(&self) -> Vec<u8> {
        let Self { program, package, when } = self;
        let when = when.format("%a %b %e %H:%M:%S %Y");
        format!("# Last modified by {program} for {package} package\n# {when}\n").into_bytes()
    }
}

/// The outcome of a merge.
#[derive(Clone, Debug)]
pub struct MergeResult {
    /// The number of lines copied, changed and dropped.
    pub report: MergeReport,
    /// The size of the new file without its trailer, in bytes.
    pub body: u64,
    /// The hard links in the new file.
    pub links: Links,
    /// The packages in the new file.
    pub owners: OwnerCounts,
}

/// The number of lines that a merge copied, changed and dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeReport {
    /// The number of lines that no edit touched.
    pub kept: u64,
    /// Lines replaced by an edit.
    pub replaced: u64,
    /// Lines added for new paths.
    pub inserted: u64,
    /// Lines deleted by an edit.
    pub deleted: u64,
    /// Edits that delete a path the database does not have.
    pub absent: u64,
    /// Second and later lines of a path, folded into the first.
    pub duplicates: u64,
}

/// Writes `old` with `edits` applied and a new trailer to `out`, in one streaming pass.
///
/// If `old` has two lines of one path, the first one stays and takes over the owners of the others
/// ([`ContentsLine::adopt_owners`]), so that a later removal cannot delete an object that another package
/// owns. After an error the output is incomplete; after [`ContentsError::Unsorted`] start again with
/// [`merge_unsorted`].
pub fn merge(
    old: impl BufRead,
    out: impl Write,
    edits: &ContentsEdits,
    trailer: &ContentsTrailer,
) -> Result<MergeResult, ContentsError> {
    let mut merger = Merger::new(out, edits);
    read_sorted(old, &mut merger, TrailerFilter::dropping())?;
    merger.finish(Some(trailer))
}

/// Writes `old` with `edits` applied to `out`, as [`merge`] does; the trailer stays.
pub fn overlay(old: impl BufRead, out: impl Write, edits: &ContentsEdits) -> Result<(), ContentsError> {
    let mut merger = Merger::new(out, edits);
    read_sorted(old, &mut merger, TrailerFilter::default())?;
    merger.finish(None).map(drop)
}

/// Does the same for a database in any order.
pub fn overlay_unsorted(
    old: impl BufRead,
    out: impl Write,
    edits: &ContentsEdits,
) -> Result<(), ContentsError> {
    let mut merger = Merger::new(out, edits);
    read_unsorted(old, &mut merger, TrailerFilter::default())?;
    merger.finish(None).map(drop)
}

fn read_sorted<W: Write>(
    old: impl BufRead,
    merger: &mut Merger<'_, W>,
    mut trailers: TrailerFilter,
) -> Result<(), ContentsError> {
    let mut old = ContentsReader::new(old);
    let mut line = 0;
    while let Some(raw) = old.next_line()? {
        line += 1;
        if trailers.drops(raw) {
            continue;
        }
        if is_comment(raw) {
            merger.comment(raw)?;
        } else {
            merger.object(raw, line)?;
        }
    }
    Ok(())
}

/// Does the work of [`merge`] for a database in any order, which it loads and sorts first. A comment stays in
/// front of the line it preceded.
pub fn merge_unsorted(
    old: impl BufRead,
    out: impl Write,
    edits: &ContentsEdits,
    trailer: &ContentsTrailer,
) -> Result<MergeResult, ContentsError> {
    let mut merger = Merger::new(out, edits);
    read_unsorted(old, &mut merger, TrailerFilter::dropping())?;
    merger.finish(Some(trailer))
}

fn read_unsorted<W: Write>(
    old: impl BufRead,
    merger: &mut Merger<'_, W>,
    mut trailers: TrailerFilter,
) -> Result<(), ContentsError> {
    let mut old = ContentsReader::new(old);
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
    for same in loaded.chunk_by(|a, b| key_of(&a.raw) == key_of(&b.raw)) {
        // All comments come first: a comment between two lines of a path must not separate them.
        for comment in same.iter().flat_map(|line| &line.comments) {
            merger.comment(comment)?;
        }
        for line in same {
            merger.object(&line.raw, line.line)?;
        }
    }
    for comment in comments {
        merger.comment(&comment)?;
    }
    Ok(())
}

/// A line of an unsorted database and the comments in front of it.
struct Loaded {
    comments: Vec<Vec<u8>>,
    raw: Vec<u8>,
    line: u64,
}

/// Recognises the trailers of earlier runs.
#[derive(Default)]
struct TrailerFilter {
    is_dropping: bool,
    date_may_follow: bool,
}

impl TrailerFilter {
    /// Makes a filter that drops them.
    fn dropping() -> Self {
        Self { is_dropping: true, ..Self::default() }
    }

    /// Returns whether a line belongs to a trailer. The second line of a trailer is a date in the locale of its writer:
    /// a comment with a time of day in it.
    fn drops(&mut self, raw: &[u8]) -> bool {
        if !self.is_dropping {
            return false;
        }
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

/// The old line read last. It waits, because a second line of its path may follow.
#[derive(Default)]
struct Held {
    key: Vec<u8>,
    raw: Vec<u8>,
    line: u64,
    /// The comments that follow the line.
    comments: Vec<u8>,
}

/// The state of a merge. Old lines and edits are both sorted, so each line takes one step of a merge sort.
struct Merger<'a, W> {
    out: W,
    edits: Peekable<btree_map::Iter<'a, ObjectPath, Option<Box<ContentsLine>>>>,
    held: Held,
    /// Whether the held line waits; otherwise it was written, or there was none yet.
    waits: bool,
    /// The number of bytes written.
    size: u64,
    links: Links,
    owners: OwnerCounts,
    report: MergeReport,
}

impl<'a, W: Write> Merger<'a, W> {
    fn new(out: W, edits: &'a ContentsEdits) -> Self {
        let edits = edits.iter().peekable();
        Self {
            out,
            edits,
            held: Held::default(),
            waits: false,
            size: 0,
            links: Links::default(),
            owners: OwnerCounts::default(),
            report: MergeReport::default(),
        }
    }

    fn comment(&mut self, raw: &[u8]) -> Result<(), ContentsError> {
        if !self.waits {
            return self.write(raw);
        }
        write_line(&mut self.held.comments, raw)?;
        if self.held.comments.len() > MOST_COMMENTS_HELD {
            self.release()?;
        }
        Ok(())
    }

    fn object(&mut self, raw: &[u8], line: u64) -> Result<(), ContentsError> {
        let key = key_of(raw);
        match (*key).cmp(&self.held.key) {
            Ordering::Equal if self.waits => {
                self.report.duplicates += 1;
                return self.held.adopt(raw, line);
            }
            Ordering::Less | Ordering::Equal if !self.held.key.is_empty() => {
                return Err(ContentsError::Unsorted { line });
            }
            _ => {}
        }
        self.release()?;
        self.held.hold(&key, raw, line);
        self.waits = true;
        Ok(())
    }

    /// Writes the edits of earlier paths, then the held line or its replacement.
    fn release(&mut self) -> Result<(), ContentsError> {
        if !std::mem::take(&mut self.waits) {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        self.insert_while(|path| path.as_bytes() < &*held.key)?;
        match self.edits.next_if(|(path, _)| path.as_bytes() == &*held.key) {
            Some((_, Some(line))) => {
                self.object_line(&line.write())?;
                self.report.replaced += 1;
            }
            Some((_, None)) => self.report.deleted += 1,
            None => {
                self.object_line(&held.raw)?;
                self.report.kept += 1;
            }
        }
        self.out.write_all(&held.comments)?;
        self.size += held.comments.len() as u64;
        self.held = held;
        Ok(())
    }

    /// Writes the next edits while `belongs` holds for their paths.
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
        self.owners.note(line);
        self.write(line)
    }

    fn write(&mut self, line: &[u8]) -> Result<(), ContentsError> {
        self.size += line.len() as u64 + 1;
        Ok(write_line(&mut self.out, line)?)
    }

    fn finish(mut self, trailer: Option<&ContentsTrailer>) -> Result<MergeResult, ContentsError> {
        self.release()?;
        self.insert_while(|_| true)?;
        let body = self.size;
        if let Some(trailer) = trailer {
            self.out.write_all(&trailer.write())?;
        }
        self.out.flush()?;
        Ok(MergeResult { report: self.report, body, links: self.links, owners: self.owners })
    }
}

impl Held {
    /// Takes the next line, reusing the memory of the previous one.
    fn hold(&mut self, key: &[u8], raw: &[u8], line: u64) {
        for (room, bytes) in [(&mut self.key, key), (&mut self.raw, raw)] {
            room.clear();
            room.extend_from_slice(bytes);
        }
        self.line = line;
        self.comments.clear();
    }

    /// Adds the owners of a second line of the held path.
    fn adopt(&mut self, raw: &[u8], line: u64) -> Result<(), ContentsError> {
        let parse = |raw, line| ContentsLine::parse(raw).map_err(|error| ContentsError::Line { line, error });
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
