//! Every line of `contents`, by several threads. A line belongs to the piece in which it begins; results are in the
//! order of the file. An unsorted file, or one with a duplicate path or malformed line, gives no result: one thread
//! ([`scan`](super::contents::scan)) reports it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};

use super::RecordError;
use super::contents::open;
use super::{DatabaseError, RecordView};
use patchadm_rootfs::{Interrupt, side_by_side};
use patchadm_svr4::format::contents::{ContentsError, is_comment};
use patchadm_svr4::format::{LONGEST_LINE, numbered_lines};
use patchadm_svr4::package::{ContentsLine, ObjectPath};

/// The bytes that a thread takes at a time: many, so that most objects lie in the directory of the previous one; few
/// near the end, so that no thread waits long for the last one.
const LARGEST: u64 = 64 << 10;
const SMALLEST: u64 = 2 << 10;
/// Of the rest of the file.
const PART: u64 = 6;
/// Read beyond a piece, for the rest of its last line.
const BEYOND: usize = 512;

/// One worker per thread may skip lines. `None` if the file has to be read sequentially; workers may have seen parts of
/// it then. A signal is checked before each piece.
pub fn every<R: Send, W: FnMut(ContentsLine) -> Option<R>>(
    view: &RecordView<'_>,
    threads: usize,
    interrupt: Interrupt<'_>,
    worker: impl Fn() -> W + Sync,
) -> Result<Option<Vec<R>>, DatabaseError> {
    let Some(file) = open(view)? else { return Ok(Some(Vec::new())) };
    let size = file.metadata().map_err(ContentsError::from);
    let size = size.map_err(|reason| RecordError::of_contents(view, reason))?.len();
    let found = every_of(&file, &cuts(size, threads), (threads, interrupt), worker);
    DatabaseError::unless_interrupted(interrupt)?;
    Ok(found)
}

fn cuts(size: u64, threads: usize) -> Vec<u64> {
    let parts = PART * threads.max(1) as u64;
    let next = |at: &u64| {
        let piece = ((size - at) / parts).clamp(SMALLEST, LARGEST);
        (*at < size).then(|| size.min(at + piece))
    };
    std::iter::successors(Some(0), next).collect()
}

fn every_of<R: Send, W: FnMut(ContentsLine) -> Option<R>>(
    file: &File,
    cuts: &[u64],
    (threads, interrupt): (usize, Interrupt<'_>),
    worker: impl Fn() -> W + Sync,
) -> Option<Vec<R>> {
    let pieces: Vec<&[u64]> = cuts.windows(2).collect();
    let is_in_vain = AtomicBool::new(false);
    let worked = side_by_side(threads, pieces.len(), || {
        let (mut work, mut text) = (worker(), Vec::new());
        let (pieces, is_in_vain) = (&pieces, &is_in_vain);
        move |piece| {
            if is_in_vain.load(Ordering::Relaxed) || interrupt().is_some() {
                return None;
            }
            let lines = match pieces.get(piece) {
                Some(&&[start, end]) => lines_of(file, start, end, &mut text),
                _ => None,
            };
            let worked = lines.and_then(|lines| Worked::of(lines, &mut work));
            is_in_vain.fetch_or(worked.is_none(), Ordering::Relaxed);
            worked
        }
    });
    joined(worked)
}

fn lines_of<'t>(file: &File, start: u64, end: u64, text: &'t mut Vec<u8>) -> Option<&'t [u8]> {
    // Shows if a line begins exactly where the piece does.
    let before = u64::from(start > 0);
    let start = start - before;
    let length = usize::try_from(end - start).ok()?;
    text.clear();
    read_on(file, start, length + BEYOND, text)?;
    let begin = if before == 0 { Some(0) } else { behind_newline(text, 0) };
    let Some(begin) = begin.filter(|begin| *begin < length) else { return Some(&[]) };
    // The last line has the last byte of the piece.
    let mut end = behind_newline(text, length - 1);
    while end.is_none() && text.len() <= length + LONGEST_LINE {
        if !read_on(file, start, text.len(), text)? {
            end = Some(text.len());
            break;
        }
        end = behind_newline(text, length - 1);
    }
    text.get(begin..end?)
}

fn read_on(file: &File, start: u64, more: usize, text: &mut Vec<u8>) -> Option<bool> {
    let had = text.len();
    let mut filled = had;
    text.resize(had + more, 0);
    while let Some(room) = text.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, start + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    text.truncate(filled);
    Some(filled > had)
}

fn behind_newline(text: &[u8], from: usize) -> Option<usize> {
    let at = text.get(from..)?.iter().position(|&byte| byte == b'\n')?;
    Some(from + at + 1)
}

struct Worked<R> {
    /// `None` if the piece contains no object line.
    ends: Option<(ObjectPath, ObjectPath)>,
    made: Vec<R>,
}

impl<R> Worked<R> {
    fn of(text: &[u8], work: &mut impl FnMut(ContentsLine) -> Option<R>) -> Option<Self> {
        let (mut made, mut first, mut last) = (Vec::new(), None, None::<ContentsLine>);
        for line in numbered_lines(text) {
            let (_, raw) = line.ok()?;
            if is_comment(raw) {
                continue;
            }
            let line = ContentsLine::parse(raw).ok()?;
            match &last {
                None => first = Some(line.path.clone()),
                Some(last) if last.path < line.path => {}
                Some(_) => return None,
            }
            made.extend(last.replace(line).and_then(&mut *work));
        }
        let ends = first.zip(last.as_ref().map(|last| last.path.clone()));
        made.extend(last.and_then(work));
        Some(Self { ends, made })
    }
}

fn joined<R>(pieces: Vec<Option<Worked<R>>>) -> Option<Vec<R>> {
    let (mut all, mut end) = (Vec::new(), None::<ObjectPath>);
    for piece in pieces {
        let Worked { ends, made } = piece?;
        if let Some((first, last)) = ends {
            if end.is_some_and(|end| end >= first) {
                return None;
            }
            end = Some(last);
        }
        all.extend(made);
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::database::contents::scan;
    use patchadm_rootfs::{Root, never};

    /// Returns `None` if one thread has to read the file.
    fn pieces_of<R: Send, W: FnMut(ContentsLine) -> Option<R>>(
        text: &[u8],
        length: usize,
        threads: usize,
        worker: impl Fn() -> W + Sync,
    ) -> Option<Vec<R>> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let size = text.len() as u64;
        let cuts: Vec<u64> = (0..size).step_by(length).chain([size]).collect();
        every_of(&file, &cuts, (threads, &never), worker)
    }

    fn paths(text: &[u8], length: usize, threads: usize) -> Option<Vec<String>> {
        pieces_of(text, length, threads, || |line: ContentsLine| Some(line.path.to_string()))
    }

    fn line(path: &str) -> String {
        format!("{path} d none 0755 root root X\n")
    }

    #[test]
    fn every_line_is_in_one_piece_wherever_the_cuts_are() {
        let text = line("/") + "# a comment\n" + &line("/a") + "\n" + &line("/b/c") + &line("/b/d");
        let all = ["/", "/a", "/b/c", "/b/d"].map(str::to_owned).to_vec();
        for length in 1..=text.len() + 1 {
            for threads in [1, 3] {
                assert_eq!(paths(text.as_bytes(), length, threads).as_ref(), Some(&all), "{length}");
                let open = text.trim_end().as_bytes();
                assert_eq!(paths(open, length, threads).as_ref(), Some(&all), "{length}");
            }
        }
        assert_eq!(paths(b"", 1000, 2), Some(Vec::new()));
    }

    #[test]
    fn pieces_have_every_byte_once_and_become_smaller() {
        for (size, threads) in [(0, 2), (1, 0), (5000, 1), (1_500_000, 2), (30_000_000, 8)] {
            let cuts = cuts(size, threads);
            assert_eq!((cuts[0], *cuts.last().unwrap()), (0, size));
            let lengths: Vec<u64> = cuts.windows(2).map(|ends| ends[1] - ends[0]).collect();
            assert!(lengths.iter().all(|length| (1..=LARGEST).contains(length)), "{lengths:?}");
            assert!(lengths.is_sorted_by(|a, b| a >= b), "{lengths:?}");
        }
    }

    #[test]
    fn a_database_that_is_damaged_or_not_in_order_is_left_to_one_thread() {
        let (a, b, c) = (line("/a"), line("/b"), line("/c"));
        for text in [
            [&*b, &*a].concat(),
            [&*a, &*b, &*b, &*c].concat(),
            [&*a, "/b f none broken\n", &*c].concat(),
            [&*a, &*b, "/b/../c d none 0755 root root X\n"].concat(),
        ] {
            for length in [1, 20, 33, 1000] {
                assert_eq!(paths(text.as_bytes(), length, 2), None, "{text} {length}");
            }
        }
        let long = line(&format!("/a={}", "x".repeat(LONGEST_LINE)));
        assert_eq!(paths((long + &c).as_bytes(), 1000, 2), None);
    }

    #[test]
    fn a_worker_passes_over_what_it_does_not_want_and_a_root_without_contents_has_no_lines() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let view = RecordView::live(&root);
        let wanted = || |line: ContentsLine| (line.path.name() != b"b").then(|| line.path.to_string());
        assert_eq!(every(&view, 2, &never, wanted).unwrap(), Some(Vec::new()));
        std::fs::create_dir_all(dir.path().join("var/sadm/install")).unwrap();
        let text = line("/a") + &line("/b") + &line("/c");
        std::fs::write(dir.path().join("var/sadm/install/contents"), text).unwrap();
        assert_eq!(every(&view, 2, &never, wanted).unwrap(), Some(vec!["/a".to_owned(), "/c".to_owned()]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_answer_is_that_of_one_thread(
            names in prop::collection::vec("[a-c]{1,9}", 0..30), sorts: bool, length in 1usize..300,
        ) {
            let mut names = names;
            if sorts {
                names.sort();
                names.dedup();
            }
            let text: String = names.iter().map(|name| line(&format!("/{name}"))).collect();
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(dir.path().join("var/sadm/install")).unwrap();
            let path = dir.path().join("var/sadm/install/contents");
            std::fs::write(&path, &text).unwrap();
            let root = Root::open(dir.path()).unwrap();
            let lines = scan(&RecordView::live(&root), |_| true).unwrap();
            let made = pieces_of(text.as_bytes(), length, 3, || Some);
            if sorts {
                prop_assert!(made.is_some());
            }
            if let Some(made) = made {
                let made: BTreeMap<_, _> = made.into_iter().map(|line| (line.path.clone(), line)).collect();
                prop_assert_eq!(made, lines);
            }
        }
    }
}
