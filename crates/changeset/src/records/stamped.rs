//! Looks up lines in a sorted `contents`: reads a few KiB while the stamp of our last write fits.
//! [`contents`](super::contents) falls back to reading everything if the file was changed, contradicts its stamp, or a
//! wanted line is invalid.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::view::inode_of;
use super::{RecordView, places};

use crate::format::contents_merge::object_key;
use crate::format::contents_stamp::{ContentsStamp, OwnerCounts, beginning, name_in};
use crate::format::ordered::{Ordered, Spot};
use crate::records::view::{LastRecords, stamp_of};
use patchadm_svr4::format::contents::{ContentsReader, is_comment, key_of};
use patchadm_svr4::package::{ContentsLine, ObjectPath, rule};

const SEARCH: u64 = 16 << 10;
const LONGEST_END: u64 = 64 << 10;
const SMALL: u64 = 1 << 20;

pub type ContentsLines = BTreeMap<ObjectPath, ContentsLine>;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WantedLines<'a> {
    pub(super) paths: Option<&'a BTreeSet<ObjectPath>>,
    pub(super) with_links: bool,
    pub(super) prefixes: &'a [Vec<u8>],
}

/// Also returns the stamp's file.
pub fn fitting(view: &RecordView<'_>, contents: &File) -> Option<(ContentsStamp, File)> {
    // An unreadable stamp is ignored: the database can be read.
    let mut file = view.open(&places::contents_stamp()).ok()??;
    let stamp = stamp_of(&mut file)?;
    let fits = is_about(&stamp, contents) && stamp.is_listed;
    (fits && rule::holds("stamp.body", closes(contents, &stamp)?)).then_some((stamp, file))
}

/// Compares inode, size and modification time.
pub fn is_about(stamp: &ContentsStamp, contents: &File) -> bool {
    let Ok(metadata) = contents.metadata() else { return false };
    let mtime = (metadata.mtime(), metadata.mtime_nsec());
    metadata.len() == stamp.size
        && mtime == (stamp.mtime.seconds, i64::from(stamp.mtime.nanoseconds))
        && inode_of(contents).is_ok_and(|inode| inode == stamp.inode)
}

pub(crate) fn fitting_lines<'v>(view: &'v RecordView<'_>, contents: &File) -> Option<&'v LastRecords> {
    let (stamp, _) = fitting(view, contents)?;
    view.last_records().filter(|last| last.stamp == stamp)
}

/// Uses a fitting stamp, which names them, without reading `contents`.
pub fn owners(view: &RecordView<'_>, contents: &File) -> Option<OwnerCounts> {
    fitting_lines(view, contents)?.owners()
}

/// Only closing comments may follow the stamped lines: others would be lost in the next merge.
fn closes(contents: &File, stamp: &ContentsStamp) -> Option<bool> {
    let end = stamp.size.checked_sub(stamp.body).filter(|end| *end <= LONGEST_END)?;
    let mut bytes = vec![0; usize::try_from(end).ok()?];
    contents.read_exact_at(&mut bytes, stamp.body).ok()?;
    let mut before = [b'\n'];
    if let Some(at) = stamp.body.checked_sub(1) {
        contents.read_exact_at(&mut before, at).ok()?;
    }
    let mut lines = bytes.split_inclusive(|&byte| byte == b'\n');
    Some(before == [b'\n'] && lines.all(|line| is_comment(line.trim_ascii_end())))
}

pub(super) fn search(
    view: &RecordView<'_>,
    contents: &File,
    wanted: WantedLines<'_>,
) -> Option<ContentsLines> {
    let searches = wanted.paths.map_or(0, BTreeSet::len) + wanted.prefixes.len();
    let size = contents.metadata().ok()?.len();
    if SEARCH.saturating_mul(searches as u64) > size.max(SMALL) {
        return None;
    }
    let (stamp, _) = fitting(view, contents)?;
    let links =
        if wanted.with_links && stamp.links > 0 { fitting_lines(view, contents)?.links() } else { &[] };
    search_in(contents, Cursor::new(links), &stamp, wanted)
}

fn search_in(
    contents: impl Read + Seek,
    links: impl Read + Seek,
    stamp: &ContentsStamp,
    wanted: WantedLines<'_>,
) -> Option<ContentsLines> {
    let mut paths: Cow<'_, BTreeSet<ObjectPath>> = wanted.paths.map_or_else(Cow::default, Cow::Borrowed);
    if wanted.with_links && stamp.links > 0 && !paths.is_empty() {
        let mut links = Ordered::new(links, 0, stamp.links, whole_line);
        let names = links_to(&mut links, &paths)?;
        paths.to_mut().extend(names);
    }
    let mut lines = ContentsLines::new();
    let mut ordered = Ordered::new(contents, 0, stamp.body, object_key);
    let mut from = 0;
    for path in paths.iter() {
        let Some(spot) = ordered.find_from(from, path.as_bytes()).ok()? else { break };
        from = spot.start;
        if *key_of(&spot.line) == *path.as_bytes() {
            lines.insert(path.clone(), ContentsLine::parse(&spot.line).ok()?);
        }
    }
    let starts =
        wanted.prefixes.iter().map(|prefix| ordered.find(prefix)).collect::<Result<Vec<_>, _>>().ok()?;
    let mut contents = ordered.into_inner();
    for (prefix, start) in wanted.prefixes.iter().zip(starts) {
        let Some(Spot { start, .. }) = start else { continue };
        contents.seek(SeekFrom::Start(start)).ok()?;
        read_range((&mut contents).take(stamp.body - start), prefix, &mut lines)?;
    }
    Some(lines)
}

/// Link lines are sorted as a whole.
#[allow(clippy::unnecessary_wraps)] // some lines of other files have no key
fn whole_line(line: &[u8]) -> Option<Cow<'_, [u8]>> {
    Some(Cow::Borrowed(line))
}

fn read_range(from: impl Read, prefix: &[u8], lines: &mut ContentsLines) -> Option<()> {
    let mut reader = ContentsReader::new(BufReader::with_capacity(1 << 16, from));
    while let Some(raw) = reader.next_line().ok()? {
        if is_comment(raw) {
            continue;
        }
        if !key_of(raw).starts_with(prefix) {
            break;
        }
        let line = ContentsLine::parse(raw).ok()?;
        lines.insert(line.path.clone(), line);
    }
    Some(())
}

fn links_to(
    links: &mut Ordered<impl Read + Seek>,
    paths: &BTreeSet<ObjectPath>,
) -> Option<BTreeSet<ObjectPath>> {
    let mut found = BTreeSet::new();
    let mut open: Vec<ObjectPath> = paths.iter().cloned().collect();
    while let Some(source) = open.pop() {
        let prefix = beginning(&source);
        let mut spot = links.find(&prefix).ok()?;
        while let Some(this) = spot.filter(|spot| spot.line.starts_with(&prefix)) {
            let name = name_in(&this.line)?;
            if found.insert(name.clone()) {
                open.push(name);
            }
            spot = links.next(this.end).ok()?;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests;
