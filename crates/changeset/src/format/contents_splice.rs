//! Makes the next `contents` from one that is known to be sorted: parts that no edit names are copied unread.
//!
//! The result is that of [`merge`](super::contents_merge::merge), byte for byte. It needs the [`ContentsStamp`] of the
//! old file, which states that every line is in its place. The caller must know that the stamp fits.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::contents_merge::{ContentsEdits, ContentsTrailer};
use super::contents_stamp::{ContentsStamp, OwnerCounts, link_line};
use super::ordered::{OrderError, Ordered};
use patchadm_svr4::format::contents::{ContentsError, is_comment, key_of};

/// The number of bytes copied at once.
const PORTION: usize = 256 << 10;

/// The result of a splice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spliced {
    /// The number of bytes before the trailer.
    pub body: u64,
    /// The hard-link lines now in the database, in the form of a stamp.
    pub links: Vec<u8>,
    /// The lines of a stamp about packages; `None` if nothing is known about them.
    pub owners: Option<Vec<u8>>,
}

/// A changing place of the old file: the new line, if there is one, replaces the bytes from `start` to `end`.
struct Seam {
    start: u64,
    end: u64,
    line: Option<Vec<u8>>,
}

/// Writes `old` with `edits` and a new trailer to `out`. `links` and `owners` are the lines of the stamp about hard
/// links and packages. Returns `None`, with nothing written, if `old` turns out to be unsorted.
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
        Err(OrderError::Io(error)) => return Err(error.into()),
        Err(OrderError::Unsorted | OrderError::TooLong) => return Ok(None),
    };
    let body = copy(&mut old, stamp.body, &seams, out, trailer)?;
    let links = changes.applied(links);
    Ok(Some(Spliced { body, links, owners: changes.owners.and_then(OwnerCounts::into_bytes) }))
}

/// Returns the places of all edits, in the order of the file.
fn seams(
    old: impl Read + Seek,
    stamp: &ContentsStamp,
    edits: &ContentsEdits,
    changes: &mut LineChanges,
) -> Result<Vec<Seam>, OrderError> {
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

/// Returns the key by which the lines of a database ascend.
pub fn object_key(line: &[u8]) -> Option<Cow<'_, [u8]>> {
    (!is_comment(line)).then(|| key_of(line))
}

/// Copies the parts between the seams; returns the number of bytes before the trailer.
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

/// The changes of the lists of hard links and of packages.
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
mod tests {
    use std::io::Cursor;

    use super::super::contents_merge::{MergeResult, merge};
    use super::*;
    use patchadm_rootfs::{Digest, Inode, Timestamp};
    use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
    use proptest::prelude::*;

    fn trailer(program: &str) -> ContentsTrailer {
        let package = PkgInst::new("X").unwrap();
        ContentsTrailer { program: program.to_owned(), package, when: chrono::NaiveDateTime::default() }
    }

    /// Returns a database as a run leaves it, with its stamp and the list of its links.
    fn merged(old: &[u8], edits: &ContentsEdits) -> (Vec<u8>, ContentsStamp, (Vec<u8>, Vec<u8>)) {
        let mut out = Vec::new();
        let MergeResult { body, links, owners, .. } =
            merge(old, &mut out, edits, &trailer("pkgadd")).unwrap();
        let inode = Inode { number: 1, born: None };
        let (size, links) = (out.len() as u64, links.into_bytes().unwrap());
        let packages = owners.into_bytes().unwrap();
        let owners = packages.len() as u64;
        let mtime = Timestamp::default();
        let stamp = ContentsStamp {
            inode,
            size,
            mtime,
            body,
            b3: Digest([0; 32]),
            links: links.len() as u64,
            owners,
            packages: 0,
            run: 1,
            by: 1,
            is_listed: true,
            lines: Digest([0; 32]),
        };
        (out, stamp, (links, packages))
    }

    #[test]
    fn a_file_in_no_order_is_left_to_the_merge() {
        let lines: Vec<u8> =
            (0..2000).rev().flat_map(|n| format!("/{n:06} p none 0600 a b X\n").into_bytes()).collect();
        let (_, mut stamp, _) = merged(b"", &ContentsEdits::new());
        stamp.body = lines.len() as u64;
        let edits = ContentsEdits::from([(ObjectPath::new(b"/001234").unwrap(), None)]);
        let mut out = Vec::new();
        let lists = (&b""[..], &b""[..]);
        assert_eq!(
            splice(Cursor::new(&lines), &stamp, lists, &mut out, &edits, &trailer("a")).unwrap(),
            None
        );
        assert!(out.is_empty());
    }

    #[test]
    fn a_file_that_is_shorter_than_its_stamp_says_is_an_error() {
        let (text, stamp, (links, owners)) = merged(b"/a p none 0600 a b X\n", &ContentsEdits::new());
        let short = Cursor::new(&text[..5]);
        let error =
            splice(short, &stamp, (&links, &owners), io::sink(), &ContentsEdits::new(), &trailer("a"))
                .unwrap_err();
        assert!(matches!(error, ContentsError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof));
    }

    fn line(path: &str, kind: u8) -> ContentsLine {
        let text = match kind {
            0 => format!("{path} p none 0600 a b X"),
            1 => format!("{path}=../a l none X"),
            2 => format!("{path}=b l none X Y"),
            _ => format!("{path}=b s none X"),
        };
        ContentsLine::parse(text.as_bytes()).unwrap()
    }

    proptest! {
        #[test]
        fn a_splice_is_what_a_merge_would_be(
            paths in prop::collection::btree_map("/[a-c]{1,2}(/[a-c ]{1,12}){0,2}", 0u8..4, 0..300),
            comments in prop::collection::vec(0usize..300, 0..5),
            edits in prop::collection::btree_map("/[a-c]{1,2}(/[a-c ]{1,12}){0,2}", prop::option::of(0u8..4), 0..30),
            gone in prop::collection::vec(0usize..300, 0..5),
        ) {
            let escaped = |path: &str| path.replace(' ', "\\040");
            let sorted: std::collections::BTreeMap<ObjectPath, u8> =
                paths.iter().map(|(path, kind)| (ObjectPath::new(path.as_bytes()).unwrap(), *kind)).collect();
            let mut text = Vec::new();
            for (index, (path, kind)) in sorted.iter().enumerate() {
                if comments.contains(&index) {
                    text.extend_from_slice(b"# of mine\n\n");
                }
                text.extend_from_slice(&line(&escaped(&path.to_string()), *kind).write());
                text.push(b'\n');
            }
            let mut changes: ContentsEdits = edits
                .iter()
                .map(|(path, kind)| (ObjectPath::new(path.as_bytes()).unwrap(), kind.map(|kind| Box::new(line(&escaped(path), kind)))))
                .collect();
            changes.extend(sorted.keys().enumerate().filter(|(n, _)| gone.contains(n)).map(|(_, path)| (path.clone(), None)));

            let (old, stamp, (links, owners)) = merged(&text, &ContentsEdits::new());
            let mut expected = Vec::new();
            let merged = merge(&old[..], &mut expected, &changes, &trailer("pkgrm")).unwrap();
            let mut out = Vec::new();
            let made = splice(Cursor::new(&old), &stamp, (&links, &owners), &mut out, &changes, &trailer("pkgrm")).unwrap();
            prop_assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
            let made = made.unwrap();
            prop_assert_eq!(made.body, merged.body);
            prop_assert_eq!(made.links, merged.links.into_bytes().unwrap());
            prop_assert_eq!(made.owners, merged.owners.into_bytes());
        }
    }
}
