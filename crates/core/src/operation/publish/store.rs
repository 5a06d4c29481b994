//! A depot on disk: objects under their digests, and the index that is put in place last.
//!
//! Objects are written under a private name, made durable, and renamed; one that is there is never touched. Of the index a
//! copy and its signature are made durable under the digest of the index before `index.json` is replaced by one rename,
//! so whoever reads it, at any moment, finds everything it names. Leftovers of a killed publisher go with the next one.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::PublishError;
use crate::depot::{DepotFile, DepotIndex, LARGEST_INDEX, object_path};
use crate::sign::LARGEST_SIGNATURE;
use patchadm_rootfs::{Dir, FileType, Lock, LockHolder, NewTree, RootError, WritableFile};
use patchadm_svr4::package::Mode;

/// The part of private names that tells whose they are.
const PROGRAM: &str = "publish";

/// The lock of a depot, below its top.
const LOCK: &[u8] = b".lock";

/// The index, and the directory of its copies.
const INDEX: &[u8] = b"index.json";
const COPIES: &[u8] = b"index";

/// The copy that waits for a signature made elsewhere.
const NEXT: &[u8] = b"next.json";
const NEXT_SIGNATURE: &[u8] = b"next.json.minisig";

/// So many copies of earlier indexes stay.
const COPIES_KEPT: usize = 30;

const READABLE: u32 = 0o644;
const BUFFER: usize = 1 << 18;

/// A depot that is locked for one publisher.
pub(super) struct DepotStore {
    top: Dir,
    copies: Dir,
    tree: NewTree,
    staged: Vec<StagedObject>,
    /// The shelves that were looked through for leftovers.
    swept: BTreeSet<String>,
    _lock: Lock,
}

/// An object that does not have its name yet. The open file keeps others from taking it for a leftover.
struct StagedObject {
    shelf: Dir,
    private: Vec<u8>,
    file: WritableFile,
    sha256: String,
}

/// An index and the digest of its bytes.
pub(super) struct StoredIndex {
    /// The index.
    pub(super) index: DepotIndex,
    /// The SHA-256 of its bytes.
    pub(super) sha256: String,
}

/// The digest and size of what was read.
pub(super) struct Measured {
    pub(super) sha256: String,
    pub(super) size: u64,
}

impl Drop for StagedObject {
    /// Removes the object if it did not get its name.
    fn drop(&mut self) {
        // What cannot be removed now goes with the next publisher.
        let _ = self.shelf.remove(&self.private);
    }
}

impl DepotStore {
    /// Opens a depot, made if it is missing, and locks it.
    pub(super) fn open(path: &Path, wait: &mut dyn FnMut(&LockHolder) -> bool) -> Result<Self, PublishError> {
        let top = NewTree::at(path)?.directory(b"")?;
        let lock = Lock::take_file(&top, LOCK, PROGRAM, wait)?;
        let mut tree = NewTree::below(top.again()?);
        let copies = tree.directory(COPIES)?;
        for dir in [&top, &copies] {
            dir.remove_leftovers(PROGRAM)?;
        }
        Ok(Self { top, copies, tree, staged: Vec::new(), swept: BTreeSet::new(), _lock: lock })
    }

    /// Reads the index of a depot without a lock, or `None` where there is no depot.
    pub(super) fn look(path: &Path) -> Result<Option<StoredIndex>, PublishError> {
        match Dir::of_host(path) {
            Ok(top) => read_index(&top, INDEX),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The index in place, or `None` in a depot that nothing was published in yet.
    pub(super) fn index(&self) -> Result<Option<StoredIndex>, PublishError> {
        read_index(&self.top, INDEX)
    }

    /// The index that waits for a signature made elsewhere, and that signature.
    pub(super) fn next(&self) -> Result<Option<(StoredIndex, Option<Vec<u8>>)>, PublishError> {
        let Some(next) = read_index(&self.copies, NEXT)? else { return Ok(None) };
        Ok(Some((next, self.copies.read_regular(NEXT_SIGNATURE, LARGEST_SIGNATURE)?)))
    }

    /// Whether an object is there, whole as far as its size tells: its name was given to it after its bytes were durable.
    pub(super) fn has(&mut self, sha256: &str, size: u64) -> Result<bool, PublishError> {
        let seen = self.shelf(sha256)?.look(sha256.as_bytes())?;
        match seen {
            None => Ok(false),
            Some(seen) if seen.file_type == FileType::Regular && seen.size == size => Ok(true),
            Some(_) => Err(PublishError::DamagedObject(object_path(sha256))),
        }
    }

    /// Writes an object under a private name, and refuses one that is not what was measured. Returns whether it is new.
    pub(super) fn stage(&mut self, source: &mut dyn Read, wanted: &DepotFile) -> Result<bool, PublishError> {
        let is_staged = self.staged.iter().any(|staged| staged.sha256 == wanted.sha256);
        if is_staged || self.has(&wanted.sha256, wanted.size)? {
            return Ok(false);
        }
        let shelf = self.shelf(&wanted.sha256)?;
        let (private, file) = shelf.create_private(PROGRAM)?;
        self.staged.push(StagedObject { shelf, private, file, sha256: wanted.sha256.clone() });
        let Some(staged) = self.staged.last_mut() else { return Ok(true) };
        let measured = copy(source, &mut staged.file)?;
        if measured.sha256 != wanted.sha256 || measured.size != wanted.size {
            return Err(PublishError::Changed);
        }
        staged.file.set_mode(Mode::of(READABLE))?;
        Ok(true)
    }

    /// Gives the staged objects their names, after their bytes are durable.
    pub(super) fn settle(&mut self) -> Result<(), PublishError> {
        if !self.staged.is_empty() {
            self.top.sync_file_system()?;
        }
        while let Some(staged) = self.staged.pop() {
            staged.shelf.rename(&staged.private, staged.sha256.as_bytes())?;
        }
        Ok(())
    }

    /// Puts an index in place: its copy and signature first, then itself. Returns its digest.
    pub(super) fn put_index(&self, text: &[u8], signature: Option<&[u8]>) -> Result<String, PublishError> {
        let sha256 = digest(text);
        // The objects, and the directories they are in.
        self.top.sync_file_system()?;
        if let Some(signature) = signature {
            write_new(&self.copies, format!("{sha256}.minisig").as_bytes(), signature)?;
        }
        write_new(&self.copies, format!("{sha256}.json").as_bytes(), text)?;
        self.copies.sync()?;
        write_new(&self.top, INDEX, text)?;
        self.top.sync()?;
        for name in [NEXT, NEXT_SIGNATURE] {
            if self.copies.look(name)?.is_some() {
                self.copies.remove(name)?;
            }
        }
        Ok(sha256)
    }

    /// Leaves an index to be signed elsewhere; the one in place stays. Returns its digest.
    pub(super) fn put_next(&self, text: &[u8]) -> Result<String, PublishError> {
        self.top.sync_file_system()?;
        if self.copies.look(NEXT_SIGNATURE)?.is_some() {
            self.copies.remove(NEXT_SIGNATURE)?;
        }
        write_new(&self.copies, NEXT, text)?;
        self.copies.sync()?;
        Ok(digest(text))
    }

    /// Removes the copies of indexes but for the last ones, which their `previous` tells. Signatures stay.
    pub(super) fn remove_old_copies(&self, current: &StoredIndex) -> Result<(), PublishError> {
        let mut kept = vec![format!("{}.json", current.sha256).into_bytes()];
        let mut previous = current.index.previous.clone();
        while let Some(sha256) = previous.take().filter(|_| kept.len() < COPIES_KEPT) {
            let name = format!("{sha256}.json").into_bytes();
            previous = read_index(&self.copies, &name)?.and_then(|copy| copy.index.previous);
            kept.push(name);
        }
        let is_copy = |name: &[u8]| name.len() == 64 + ".json".len() && name.ends_with(b".json");
        for name in
            self.copies.names_that_are(|name| is_copy(name) && !kept.iter().any(|kept| kept == name))?
        {
            self.copies.remove(&name)?;
        }
        Ok(())
    }

    /// The directory of an object, made if it is missing, without what killed publishers left in it.
    fn shelf(&mut self, sha256: &str) -> Result<Dir, RootError> {
        let two = sha256.get(..2).unwrap_or_default();
        let shelf = self.tree.directory(format!("objects/{two}").as_bytes())?;
        if self.swept.insert(two.to_owned()) {
            shelf.remove_leftovers(PROGRAM)?;
        }
        Ok(shelf)
    }
}

/// Reads a file of the host from its beginning to its end.
pub(super) fn measure(source: &mut File) -> Result<Measured, PublishError> {
    source.rewind().map_err(PublishError::Read)?;
    copy(source, &mut io::sink())
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn copy(source: &mut (impl Read + ?Sized), target: &mut impl io::Write) -> Result<Measured, PublishError> {
    let (mut sum, mut size, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER]);
    loop {
        let count = source.read(&mut buffer).map_err(PublishError::Read)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        sum.update(bytes);
        size += count as u64;
        target.write_all(bytes).map_err(PublishError::Write)?;
    }
    Ok(Measured { sha256: hex(&sum.finalize()), size })
}

/// Writes a file that replaces the one with this name by a rename of durable bytes.
fn write_new(dir: &Dir, name: &[u8], bytes: &[u8]) -> Result<(), RootError> {
    let (private, mut file) = dir.create_private(PROGRAM)?;
    file.put(bytes)?;
    finish(dir, &private, file, name)
}

fn finish(dir: &Dir, private: &[u8], file: WritableFile, name: &[u8]) -> Result<(), RootError> {
    file.set_mode(Mode::of(READABLE))?;
    file.sync()?;
    dir.rename(private, name)
}

fn read_index(dir: &Dir, name: &[u8]) -> Result<Option<StoredIndex>, PublishError> {
    let Some(text) = dir.read_regular(name, LARGEST_INDEX as u64)? else { return Ok(None) };
    let index =
        DepotIndex::parse(&text).map_err(|error| PublishError::Index { path: dir_path(dir, name), error })?;
    Ok(Some(StoredIndex { index, sha256: digest(&text) }))
}

fn dir_path(dir: &Dir, name: &[u8]) -> String {
    dir.root().show(&dir.at(name))
}
