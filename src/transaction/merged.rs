//! Staging `contents`, merged in one pass, and what is known of it for the next run and for readers: its stamp.
//!
//! While the stamp of the last run fits, everything between the changed lines is copied as it is, and the digest of the
//! old file is the one that the stamp names. Else every line is looked at; a database that is not sorted is sorted on
//! this occasion. The digest of the new file is taken by a thread of its own while it is written.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::MetadataExt as _;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use super::error::Cause;
use super::layout::Item;
use super::stage::note_identity;
use crate::database::{View, stamped};
use crate::format::contents::ContentsError;
use crate::format::contents_merge::{self, Edits, Merged, Trailer};
use crate::format::contents_splice::splice;
use crate::format::contents_stamp::{MOST_LINK_BYTES, Stamp};
use crate::format::journal::Identity;
use crate::package::{Digest, Hashing, Mode, ObjectPath};
use crate::plan::Plan;
use crate::root::{Dir, Root, WritableFile};

/// What is read and written at once, in bytes.
const PORTION: usize = 256 << 10;
/// Portions that may wait for the thread that takes the digest.
const WAITING: usize = 8;
/// What finding the place of one change costs, as bytes that could be merged meanwhile.
const SEARCH: u64 = 8 << 10;
/// The size from which on it matters which way is taken, in bytes.
const SMALL: u64 = 1 << 20;

type Merge = fn(&mut dyn BufRead, &mut dyn Write, &Edits, &Trailer) -> Result<Merged, ContentsError>;

/// The new file and what is known of it.
struct Written {
    file: WritableFile,
    sha256: Digest,
    /// Of the old one.
    old_sha256: Option<Digest>,
    body: u64,
    /// None where there are too many for a stamp.
    links: Option<Vec<u8>>,
}

/// Stages the merged `contents` under `name`, and fills in what its item lacks: the digest of the old one and the identity
/// of the new one. What it returns are the bytes of its stamp; none of them where it gets no stamp.
pub(super) fn stage(
    root: &Root,
    plan: &Plan,
    item: &mut Item<'_>,
    within: &Dir,
    name: &[u8],
) -> Result<Vec<u8>, Cause> {
    let merging = Merging { root, plan, path: &item.op.path };
    let old = item.op.old.as_ref().map(|old| Ok::<_, Cause>((merging.open(old)?, old))).transpose()?;
    let file = within.create(name)?;
    let written = if let Some((old, identity)) = &old {
        let written = merging.write(old, file)?;
        // What was copied must be what the journal calls the old one.
        merging.must_be(old, identity)?;
        written
    } else {
        let merge: Merge = |old, out, edits, by| contents_merge::merge(old, out, edits, by);
        merging.merge(io::empty(), file, merge).map_err(|(_, reason)| merging.wrong(reason))?
    };
    if root.is_privileged() {
        written.file.set_owner(0, 0)?;
    }
    written.file.set_mode(Mode::of(0o644))?;
    if let Some(old) = &mut item.op.old {
        old.sha256 = written.old_sha256.map(|digest| digest.to_string());
    }
    note_identity(item, within, name, Some(written.sha256))?;
    let (Some(new), Some(links)) = (&item.op.new, written.links) else { return Ok(Vec::new()) };
    let stamp = Stamp {
        inode: new.inode,
        size: new.size,
        mtime: new.mtime,
        body: written.body,
        sha256: written.sha256,
        links: links.len() as u64,
    };
    Ok(stamp.write(&links))
}

struct Merging<'a> {
    root: &'a Root,
    plan: &'a Plan,
    /// Where the old one is.
    path: &'a ObjectPath,
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

    fn write(&self, old: &File, file: WritableFile) -> Result<Written, Cause> {
        let file = match self.splice(old, file)? {
            Ok(written) => return Ok(written),
            Err(file) => file,
        };
        let merge: Merge = |old, out, edits, by| contents_merge::merge(old, out, edits, by);
        match self.merge(self.again(old)?, file, merge) {
            Err((mut file, ContentsError::Unsorted { .. })) => {
                file.set_size(0)?;
                let sort: Merge = |old, out, edits, by| contents_merge::merge_unsorted(old, out, edits, by);
                self.merge(self.again(old)?, file, sort).map_err(|(_, reason)| self.wrong(reason))
            }
            other => other.map_err(|(_, reason)| self.wrong(reason)),
        }
    }

    /// The old file from its first byte on.
    fn again<'f>(&self, mut old: &'f File) -> Result<&'f File, Cause> {
        old.rewind().map_err(|error| self.failed(error))?;
        Ok(old)
    }

    /// Copies what is known to be in order; gives the file back, with nothing in it, where that is not known.
    fn splice(&self, old: &File, file: WritableFile) -> Result<Result<Written, WritableFile>, Cause> {
        let size = old.metadata().map_err(|error| self.failed(error))?.len();
        let searches = SEARCH.saturating_mul(self.plan.contents.len() as u64);
        let Some((stamp, links)) = stamped::fitting(&View::live(self.root), old) else {
            return Ok(Err(file));
        };
        if searches > size.max(SMALL) || stamp.links > MOST_LINK_BYTES as u64 {
            return Ok(Err(file));
        }
        let mut listed = Vec::new();
        links.take(stamp.links).read_to_end(&mut listed).map_err(|error| self.failed(error))?;
        let Plan { contents: edits, trailer, .. } = self.plan;
        let (made, file, sha256) = digested(file, |out| splice(old, &stamp, &listed, out, edits, trailer));
        Ok(match made.map_err(|reason| self.wrong(reason))? {
            Some(made) => Ok(Written {
                file,
                sha256,
                old_sha256: Some(stamp.sha256),
                body: made.body,
                links: Some(made.links).filter(|links| links.len() <= MOST_LINK_BYTES),
            }),
            None => Err(file),
        })
    }

    /// Merges line by line. An error brings the file along, for another try.
    fn merge(
        &self,
        old: impl Read,
        file: WritableFile,
        merge: Merge,
    ) -> Result<Written, (WritableFile, ContentsError)> {
        let mut old = BufReader::with_capacity(PORTION, Hashing::new(old));
        let Plan { contents: edits, trailer, .. } = self.plan;
        let (made, file, sha256) = digested(file, |out| merge(&mut old, out, edits, trailer));
        match made {
            Ok(Merged { body, links, .. }) => {
                let (_, old_sha256) = old.into_inner().finish();
                let links = links.into_bytes();
                Ok(Written { file, sha256, old_sha256: Some(old_sha256), body, links })
            }
            Err(reason) => Err((file, reason)),
        }
    }
}

/// Lets `work` write a file, and takes the digest of what it writes beside it.
fn digested<T>(
    file: WritableFile,
    work: impl FnOnce(&mut dyn Write) -> Result<T, ContentsError>,
) -> (Result<T, ContentsError>, WritableFile, Digest) {
    thread::scope(|scope| {
        let (hasher, portions) = sync_channel::<Vec<u8>>(WAITING);
        let digest = scope.spawn(move || {
            let mut hashing = Hashing::new(io::sink());
            for portion in portions {
                // A sink takes everything.
                let _ = hashing.write_all(&portion);
            }
            hashing.finish().1
        });
        let mut out = BufWriter::with_capacity(PORTION, Forked { file, hasher });
        let mut made = work(&mut out);
        if let Err(error) = out.flush() {
            made = made.and(Err(error.into()));
        }
        let Forked { file, hasher } = out.into_parts().0;
        drop(hasher);
        let digest = digest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (made, file, digest)
    })
}

/// A file that is written, and the thread that takes its digest.
struct Forked {
    file: WritableFile,
    hasher: SyncSender<Vec<u8>>,
}

impl Write for Forked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        let written = bytes.get(..count).unwrap_or_default().to_vec();
        self.hasher.send(written).map_err(|_| io::Error::other("the thread that takes the digest ended"))?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
