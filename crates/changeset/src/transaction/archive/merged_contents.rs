//! Stages the merged `contents` in one pass, together with its stamp for the next run and for readers.
//!
//! If the stamp of the last run fits, everything between the changed lines is copied as is, and the old digest is
//! taken from the stamp. Otherwise every line is read, and an unsorted database is sorted. A thread computes the new
//! digest while the file is written; meanwhile the system begins to write back a large file, so that the sync that makes
//! it durable has little left to do.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::MetadataExt as _;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use super::stamp::{ContentsFacts, ContentsLists};
use crate::format::contents_merge::{self, ContentsEdits, ContentsTrailer, MergeResult};
use crate::format::contents_splice::splice;
use crate::format::contents_stamp::MOST_LINK_BYTES;
use crate::format::journal::Identity;
use crate::plan::Plan;
use crate::records::{RecordView, pkglog, stamped};
use crate::transaction::error::Cause;
use crate::transaction::stage::layout_items::LayoutItem;
use crate::transaction::stage::staged_files::note_identity;
use patchadm_rootfs::{Digest, Hashing};
use patchadm_rootfs::{Dir, Root, WritableFile};
use patchadm_svr4::format::contents::ContentsError;
use patchadm_svr4::package::{Mode, ObjectPath};

/// The bytes read or written at once.
const PORTION: usize = 256 << 10;
/// The cost of finding the place of one change, in bytes that could be merged in the same time.
const SEARCH: u64 = 8 << 10;
/// The smallest size, in bytes, for which the choice of method and an early flush matter.
const SMALL: u64 = 1 << 20;

/// Size and digest of the bytes written.
struct Passed {
    size: u64,
    b3: Digest,
}

type Merge = fn(
    &mut dyn BufRead,
    &mut dyn Write,
    &ContentsEdits,
    &ContentsTrailer,
) -> Result<MergeResult, ContentsError>;

/// The new file and the facts for its stamp.
struct MergedContents {
    file: WritableFile,
    passed: Passed,
    /// BLAKE3 of the old file.
    old_b3: Option<Digest>,
    lists: ContentsLists,
}

/// A staged `contents`.
pub(crate) struct StagedContents {
    /// The facts for its stamp.
    pub(crate) facts: Option<ContentsFacts>,
    /// The digest of the old file.
    pub(crate) old_b3: Option<Digest>,
    /// The number of changes that another tool had logged and not written into the old file.
    pub(crate) logged: usize,
}

/// Stages the merged `contents` under `name`, and completes its item: the digest of the old file and the identity of
/// the new one. The stamp is that of run number `run`.
pub(crate) fn stage(
    root: &Root,
    plan: &Plan,
    item: &mut LayoutItem<'_>,
    within: &Dir,
    name: &[u8],
    run: u64,
) -> Result<StagedContents, Cause> {
    // What another tool has logged comes before the changes of the plan, which was made with it.
    let logged = pkglog::read(&RecordView::live(root)).map_err(Cause::from)?;
    let logged_changes = logged.as_ref().map_or(0, |log| log.edits.len());
    let edits = match logged.map(|log| log.edits).filter(|edits| !edits.is_empty()) {
        Some(mut edits) => {
            edits.extend(plan.contents.iter().map(|(path, line)| (path.clone(), line.clone())));
            Cow::Owned(edits)
        }
        None => Cow::Borrowed(&plan.contents),
    };
    let merging = Merging { root, plan, path: &item.op.path, edits };
    let old = item.op.old.as_ref().map(|old| Ok::<_, Cause>((merging.open(old)?, old))).transpose()?;
    let file = within.create(name)?;
    let reserved = old.as_ref().map(|(_, identity)| identity.size).filter(|size| *size >= SMALL);
    if let Some(size) = reserved {
        // A file in one piece is written faster, and a full disk shows now.
        file.reserve(size)?;
    }
    let mut written = if let Some((old, identity)) = &old {
        let written = merging.write(old, file)?;
        // The copied bytes must be those that the journal calls the old file.
        merging.must_be(old, identity)?;
        written
    } else {
        let merge: Merge = |old, out, edits, by| contents_merge::merge(old, out, edits, by);
        merging.merge(io::empty(), file, merge).map_err(|failed| merging.wrong(failed.1))?
    };
    if reserved.is_some_and(|reserved| reserved > written.passed.size) {
        written.file.set_size(written.passed.size)?;
    }
    if root.is_privileged() {
        written.file.set_owner(0, 0)?;
    }
    written.file.set_mode(Mode::of(0o644))?;
    if let Some(old) = &mut item.op.old {
        old.b3 = written.old_b3.map(Into::into);
    }
    note_identity(item, within, name, Some(written.passed.b3))?;
    let MergedContents { passed, lists, old_b3, .. } = written;
    let new = item.op.new.as_deref();
    let facts = new.map(|new| ContentsFacts::of_staged(new, passed.b3, lists, run));
    Ok(StagedContents { facts, old_b3, logged: logged_changes })
}

struct Merging<'a> {
    root: &'a Root,
    plan: &'a Plan,
    /// The physical path of the old file.
    path: &'a ObjectPath,
    /// The changes of its lines.
    edits: Cow<'a, ContentsEdits>,
}

impl Merging<'_> {
    fn wrong(&self, reason: ContentsError) -> Cause {
        Cause::Contents { path: self.root.show(self.path), reason }
    }

    fn failed(&self, error: io::Error) -> Cause {
        self.wrong(ContentsError::Io(error))
    }

    fn open(&self, identity: &Identity) -> Result<File, Cause> {
        let parent = self.path.parent().unwrap_or_else(ObjectPath::root);
        let file = self.root.dir(&parent)?.open_regular(self.path.name())?;
        self.must_be(&file, identity)?;
        Ok(file)
    }

    fn must_be(&self, file: &File, identity: &Identity) -> Result<(), Cause> {
        let found = file.metadata().map_err(|error| self.failed(error))?;
        let mtime = (found.mtime(), found.mtime_nsec());
        let is_same = found.ino() == identity.inode.number
            && found.len() == identity.size
            && mtime == (identity.mtime.seconds, i64::from(identity.mtime.nanoseconds));
        if is_same { Ok(()) } else { Err(Cause::Changed(self.root.show(self.path))) }
    }

    fn write(&self, old: &File, file: WritableFile) -> Result<MergedContents, Cause> {
        let file = match self.splice(old, file)? {
            Ok(written) => return Ok(written),
            Err(file) => file,
        };
        let merge: Merge = |old, out, edits, by| contents_merge::merge(old, out, edits, by);
        let unsorted = match self.merge(self.again(old)?, file, merge) {
            Ok(merged) => return Ok(merged),
            Err(failed) => *failed,
        };
        let (mut file, ContentsError::Unsorted { .. }) = unsorted else { return Err(self.wrong(unsorted.1)) };
        file.set_size(0)?;
        let sort: Merge = |old, out, edits, by| contents_merge::merge_unsorted(old, out, edits, by);
        self.merge(self.again(old)?, file, sort).map_err(|failed| self.wrong(failed.1))
    }

    /// Rewinds the old file.
    fn again<'f>(&self, mut old: &'f File) -> Result<&'f File, Cause> {
        old.rewind().map_err(|error| self.failed(error))?;
        Ok(old)
    }

    /// Copies the parts known to be sorted. Returns the file, still empty, if the order is unknown.
    fn splice(&self, old: &File, file: WritableFile) -> Result<Result<MergedContents, WritableFile>, Cause> {
        let size = old.metadata().map_err(|error| self.failed(error))?.len();
        let searches = SEARCH.saturating_mul(self.edits.len() as u64);
        let view = RecordView::live(self.root);
        let Some(last) = stamped::fitting_lines(&view, old) else { return Ok(Err(file)) };
        let (stamp, lists) = (&last.stamp, (last.links(), last.owner_lines()));
        if searches > size.max(SMALL) || stamp.links.max(stamp.owners) > MOST_LINK_BYTES as u64 {
            return Ok(Err(file));
        }
        let (edits, trailer) = (&*self.edits, &self.plan.trailer);
        let (made, file) = digested(file, |out| splice(old, stamp, lists, out, edits, trailer));
        Ok(match made.map_err(|reason| self.wrong(reason))? {
            (Some(made), passed) => Ok(MergedContents {
                file,
                passed,
                old_b3: Some(stamp.b3),
                lists: ContentsLists {
                    body: made.body,
                    links: Some(made.links).filter(|links| links.len() <= MOST_LINK_BYTES),
                    owners: made.owners,
                },
            }),
            (None, _) => Err(file),
        })
    }

    /// Merges line by line. An error returns the file, for another try.
    fn merge(
        &self,
        old: impl Read,
        file: WritableFile,
        merge: Merge,
    ) -> Result<MergedContents, Box<(WritableFile, ContentsError)>> {
        let mut old = BufReader::with_capacity(PORTION, Hashing::new(old));
        let (edits, trailer) = (&*self.edits, &self.plan.trailer);
        let (made, file) = digested(file, |out| merge(&mut old, out, edits, trailer));
        match made {
            Ok((MergeResult { body, links, owners, .. }, passed)) => {
                let (_, old_b3) = old.into_inner().finish();
                let lists = ContentsLists { body, links: links.into_bytes(), owners: owners.into_bytes() };
                Ok(MergedContents { file, passed, old_b3: Some(old_b3), lists })
            }
            Err(reason) => Err(Box::new((file, reason))),
        }
    }
}

/// Lets `work` write a file while a thread computes the digest. The system begins to write it back meanwhile, so that
/// waiting for the digest and for the disk overlap.
fn digested<T>(
    file: WritableFile,
    work: impl FnOnce(&mut dyn Write) -> Result<T, ContentsError>,
) -> (Result<(T, Passed), ContentsError>, WritableFile) {
    let (made, size, digest) = thread::scope(|scope| {
        let (progress, written) = channel();
        let digest = scope.spawn(|| digest(&file, written));
        let mut out =
            BufWriter::with_capacity(PORTION, WatchedWriter { file: &file, size: 0, begun: 0, progress });
        let mut made = work(&mut out);
        if let Err(error) = out.flush() {
            made = made.and(Err(error.into()));
        }
        let WatchedWriter { size, progress, .. } = out.into_parts().0;
        drop(progress);
        (made, size, digest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    let made = made.and_then(|made| Ok((made, Passed { size, b3: digest? })));
    (made, file)
}

/// Computes the digest of a file while it is written; `written` yields the size so far.
fn digest(file: &WritableFile, written: impl IntoIterator<Item = u64>) -> io::Result<Digest> {
    let mut buffer = vec![0; PORTION];
    let (mut hashing, mut at) = (Hashing::new(io::sink()), 0);
    for written in written {
        while at < written {
            let most = usize::try_from(written - at).unwrap_or(PORTION).min(PORTION);
            let portion = buffer.get_mut(..most).unwrap_or_default();
            let count = file.get_into(portion, at)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            hashing.write_all(portion.get(..count).unwrap_or_default())?;
            at += count as u64;
        }
    }
    Ok(hashing.finish().1)
}

/// A file being written, whose reader learns the size so far.
struct WatchedWriter<'f> {
    file: &'f WritableFile,
    /// The bytes written.
    size: u64,
    /// The bytes whose flush has begun.
    begun: u64,
    progress: Sender<u64>,
}

impl Write for WatchedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.put_some(bytes, self.size)?;
        self.size += count as u64;
        // A receiver that no longer listens has failed, and reports that itself.
        let _ = self.progress.send(self.size);
        let whole = self.size - self.size % SMALL;
        if whole > self.begun {
            self.file.begin_write_back(self.begun, whole - self.begun);
            self.begun = whole;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_what_was_written() {
        for size in [0, 1000, (2 << 20) + 5] {
            let dir = tempfile::tempdir().unwrap();
            let root = Root::open(dir.path()).unwrap();
            let file = root.dir(&ObjectPath::root()).unwrap().create(b"contents").unwrap();
            let bytes: Vec<u8> = (0..size).map(|at: usize| at.to_le_bytes()[at % 3]).collect();
            let (made, _) = digested(file, |out| {
                for piece in bytes.chunks(100_003) {
                    out.write_all(piece)?;
                }
                Ok(())
            });
            let ((), passed) = made.unwrap();
            assert!(std::fs::read(dir.path().join("contents")).unwrap() == bytes, "{size} bytes");
            assert_eq!((passed.size, passed.b3), (size as u64, Digest::of(&bytes)));
        }
    }
}
