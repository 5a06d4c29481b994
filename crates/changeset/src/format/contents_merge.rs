//! Makes the next `contents` from the old one and edits. [`merge`] needs a sorted file and holds one line in memory;
//! [`merge_unsorted`] loads and sorts. [`splice`] has the same result, but copies unchanged parts unread; the caller
//! must know that the old file's [`ContentsStamp`] fits. Other lines and comments stay; the trailer is new.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::io;
use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::iter::Peekable;

use chrono::NaiveDateTime;

use crate::format::contents_stamp::{ContentsStamp, Links, OwnerCounts, link_line};
use crate::format::ordered::{Ordered, SortedLinesError};
use patchadm_svr4::format::contents::{ContentsError, ContentsReader, is_comment, key_of};
use patchadm_svr4::package::{ContentsLine, ObjectPath, OwningPackage, PkgInst};

/// In lines.
pub const MOST_UNSORTED_LINES: u64 = 8_000_000;
/// Bytes of comments held back after one line, until the next path is known to differ.
const MOST_COMMENTS_HELD: usize = 1 << 20;

/// New lines by path; `None` deletes a path.
pub type ContentsEdits = BTreeMap<ObjectPath, Option<Box<ContentsLine>>>;

/// The last two comment lines: the program that changed the database last, the package, and the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentsTrailer {
    /// `pkgadd`, `pkgrm`, `installf`, …
    pub program: String,
    /// Or the last of several.
    pub package: PkgInst,
    /// Local time.
    pub when: NaiveDateTime,
}

impl ContentsTrailer {
    /// The date is that of `strftime("%c")` in the C locale.
    pub fn write(&self) -> Vec<u8> {
        let Self { program, package, when } = self;
        let when = when.format("%a %b %e %H:%M:%S %Y");
        format!("# Last modified by {program} for {package} package\n# {when}\n").into_bytes()
    }
}

#[derive(Clone, Debug)]
pub struct MergeResult {
    pub report: MergeReport,
    /// Bytes without the trailer.
    pub body: u64,
    pub links: Links,
    pub owners: OwnerCounts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeReport {
    /// Untouched lines.
    pub kept: u64,
    pub replaced: u64,
    pub inserted: u64,
    pub deleted: u64,
    /// Deletions of missing paths.
    pub absent: u64,
    /// Second and later lines of a path, folded into the first.
    pub duplicates: u64,
}

/// Applies `edits` in one pass, with a new trailer.
///
/// If a path has two lines, the first takes over the owners of the others ([`ContentsLine::adopt_owners`]), so that a
/// later removal cannot delete a shared object. After an error the output is incomplete; after
/// [`ContentsError::Unsorted`] use [`merge_unsorted`].
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

/// Like [`merge`], but keeps the trailer.
pub fn overlay(old: impl BufRead, out: impl Write, edits: &ContentsEdits) -> Result<(), ContentsError> {
    let mut merger = Merger::new(out, edits);
    read_sorted(old, &mut merger, TrailerFilter::default())?;
    merger.finish(None).map(drop)
}

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

/// Loads and sorts a database in any order. A comment stays in front of its line.
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
        // Comments come first, so that none separates two lines of a path.
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

struct Loaded {
    comments: Vec<Vec<u8>>,
    raw: Vec<u8>,
    line: u64,
}

#[derive(Default)]
struct TrailerFilter {
    is_dropping: bool,
    date_may_follow: bool,
}

impl TrailerFilter {
    fn dropping() -> Self {
        Self { is_dropping: true, ..Self::default() }
    }

    /// True for a line of a trailer. The second line is a date in the writer's locale: a comment with a time of day.
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

/// The last old line, held back because a second line of its path may follow.
#[derive(Default)]
struct Held {
    key: Vec<u8>,
    raw: Vec<u8>,
    line: u64,
    comments: Vec<u8>,
    /// The line with the owners of the others, if there are others.
    first: Option<ContentsLine>,
    others: Vec<OwningPackage>,
}

/// Old lines and edits are sorted: each line is one step of a merge sort.
struct Merger<'a, W> {
    out: W,
    edits: Peekable<btree_map::Iter<'a, ObjectPath, Option<Box<ContentsLine>>>>,
    held: Held,
    /// The held line is not written yet.
    waits: bool,
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

    fn release(&mut self) -> Result<(), ContentsError> {
        if !std::mem::take(&mut self.waits) {
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.held);
        held.unite();
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
    /// Reuses the memory of the previous line.
    fn hold(&mut self, key: &[u8], raw: &[u8], line: u64) {
        for (room, bytes) in [(&mut self.key, key), (&mut self.raw, raw)] {
            room.clear();
            room.extend_from_slice(bytes);
        }
        self.line = line;
        self.comments.clear();
    }

    fn adopt(&mut self, raw: &[u8], line: u64) -> Result<(), ContentsError> {
        let parse = |raw, line| ContentsLine::parse(raw).map_err(|error| ContentsError::Line { line, error });
        if self.first.is_none() {
            self.first = Some(parse(&self.raw, self.line)?);
        }
        self.others.extend(parse(raw, line)?.owners);
        Ok(())
    }

    fn unite(&mut self) {
        if let Some(mut first) = self.first.take() {
            first.adopt_owners(self.others.drain(..));
            self.raw = first.write();
        }
    }
}

fn write_line(out: &mut impl Write, line: &[u8]) -> io::Result<()> {
    out.write_all(line)?;
    out.write_all(b"\n")
}

const PORTION: usize = 256 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spliced {
    /// Before the trailer.
    pub body: u64,
    /// As in a stamp.
    pub links: Vec<u8>,
    /// As in a stamp; `None` if unknown.
    pub owners: Option<Vec<u8>>,
}

struct Seam {
    start: u64,
    end: u64,
    line: Option<Vec<u8>>,
}

/// `links` and `owners` are lines of the stamp. Returns `None`, with nothing written, if `old` is unsorted.
pub fn splice(
    mut old: impl Read + Seek,
    stamp: &ContentsStamp,
    (links, owners): (&[u8], &[u8]),
    out: impl Write,
    edits: &ContentsEdits,
    trailer: &ContentsTrailer,
) -> Result<Option<Spliced>, ContentsError> {
    let mut changes = LineChanges { owners: OwnerCounts::parse(owners), ..LineChanges::default() };
    let seams = match seams(&mut old, stamp, edits, &mut changes) {
        Ok(seams) => seams,
        Err(SortedLinesError::Io(error)) => return Err(error.into()),
        Err(SortedLinesError::Unsorted | SortedLinesError::TooLong) => return Ok(None),
    };
    let body = copy(&mut old, stamp.body, &seams, out, trailer)?;
    let links = changes.applied(links);
    Ok(Some(Spliced { body, links, owners: changes.owners.and_then(OwnerCounts::into_bytes) }))
}

fn seams(
    old: impl Read + Seek,
    stamp: &ContentsStamp,
    edits: &ContentsEdits,
    changes: &mut LineChanges,
) -> Result<Vec<Seam>, SortedLinesError> {
    let mut lines = Ordered::new(old, 0, stamp.body, object_key);
    let mut seams = Vec::with_capacity(edits.len());
    let mut from = 0;
    for (path, edit) in edits {
        let spot = lines.find_from(from, path.as_bytes())?;
        let at = spot.as_ref().map_or(stamp.body, |spot| spot.start);
        let same = spot.filter(|spot| *key_of(&spot.line) == *path.as_bytes());
        let line = edit.as_ref().map(|line| line.write());
        changes.removed.extend(same.as_ref().and_then(|spot| link_line(&spot.line)));
        changes.added.extend(line.as_deref().and_then(link_line));
        if let Some(owners) = &mut changes.owners {
            if let Some(spot) = &same {
                owners.forget(&spot.line);
            }
            if let Some(line) = &line {
                owners.note(line);
            }
        }
        from = same.as_ref().map_or(at, |spot| spot.end);
        seams.push(Seam { start: at, end: from, line });
    }
    Ok(seams)
}

/// Lines ascend by this key.
pub fn object_key(line: &[u8]) -> Option<Cow<'_, [u8]>> {
    (!is_comment(line)).then(|| key_of(line))
}

fn copy(
    mut old: impl Read + Seek,
    end: u64,
    seams: &[Seam],
    mut out: impl Write,
    trailer: &ContentsTrailer,
) -> io::Result<u64> {
    let mut buffer = vec![0; PORTION];
    let (mut at, mut size) = (0, 0);
    old.seek(SeekFrom::Start(0))?;
    let last = Seam { start: end, end, line: None };
    for seam in seams.iter().chain([&last]) {
        let mut left = seam.start - at;
        size += left;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(PORTION).min(PORTION);
            let count = old.read(&mut buffer[..most])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out.write_all(&buffer[..count])?;
            left -= count as u64;
        }
        if let Some(line) = &seam.line {
            out.write_all(line)?;
            out.write_all(b"\n")?;
            size += line.len() as u64 + 1;
        }
        if seam.end > seam.start {
            old.seek(SeekFrom::Start(seam.end))?;
        }
        at = seam.end;
    }
    out.write_all(&trailer.write())?;
    out.flush()?;
    Ok(size)
}

#[derive(Default)]
struct LineChanges {
    removed: BTreeSet<Vec<u8>>,
    added: BTreeSet<Vec<u8>>,
    owners: Option<OwnerCounts>,
}

impl LineChanges {
    fn applied(&self, links: &[u8]) -> Vec<u8> {
        if self.removed == self.added {
            return links.to_vec();
        }
        let lines = links.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        let mut lines: Vec<&[u8]> = lines.filter(|line| !self.removed.contains(*line)).collect();
        lines.extend(self.added.iter().map(Vec::as_slice));
        lines.sort_unstable();
        lines.into_iter().flat_map(|line| [line, b"\n"]).flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests;
