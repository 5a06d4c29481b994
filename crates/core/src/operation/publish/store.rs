//! A depot on disk: objects by digest, public keys, and the index. Objects, and a copy of the index with its signature,
//! are durable before one rename replaces `index.json`, so readers find everything that it names. The next publisher
//! removes leftovers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::patch_directory::{IndexSigning, PatchDirectoryFiles, PublishError, PublishRequest};
use patchadm_inputs::depot::{DepotFile, DepotIndex, LARGEST_INDEX, object_path};
use patchadm_inputs::input_file::InputFile;
use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::{LARGEST_SIGNATURE, PublicKey, Signature, SignatureFormat, sha256, sha256_text};
use patchadm_rootfs::{Dir, FileType, Lock, LockHolder, NewTree, RootError};
use patchadm_svr4::package::Mode;

pub(super) const PROGRAM: &str = "publish";

const LOCK: &[u8] = b".lock";

const OBJECTS: &[u8] = b"objects";

const NEXT: &[u8] = b"next.json";
const NEXT_SIGNATURE: &[u8] = b"next.json.minisig";

const COPIES_KEPT: usize = 30;

const READABLE: u32 = 0o644;
const BUFFER: usize = 1 << 18;

pub(super) struct DepotStore {
    top: Dir,
    copies: Dir,
    objects: Dir,
    tree: NewTree,
    /// Private names by digest.
    staged: BTreeMap<String, Vec<u8>>,
    _lock: Lock,
}

pub(super) enum ObjectSource {
    File(PathBuf),
    Directory(PatchDirectoryFiles),
    Bytes(Vec<u8>),
}

impl Drop for DepotStore {
    /// Removes unnamed objects.
    fn drop(&mut self) {
        for private in self.staged.values() {
            // The next publisher tries again.
            let _ = self.objects.remove(private);
        }
    }
}

impl DepotStore {
    /// Makes the depot if missing, and locks it.
    pub(super) fn open(path: &Path, wait: &mut dyn FnMut(&LockHolder) -> bool) -> Result<Self, PublishError> {
        let top = NewTree::at(path)?.directory(b"")?;
        let lock = Lock::take_file(&top, LOCK, PROGRAM, wait)?;
        let mut tree = NewTree::below(top.again()?);
        let (copies, objects) = (tree.directory(COPIES)?, tree.directory(OBJECTS)?);
        for dir in [&top, &copies, &objects] {
            dir.remove_leftovers(PROGRAM)?;
        }
        Ok(Self { top, copies, objects, tree, staged: BTreeMap::new(), _lock: lock })
    }

    /// Uses no lock.
    pub(super) fn look(path: &Path) -> Result<Option<IndexFile>, RootError> {
        match Dir::of_host(path) {
            Ok(top) => IndexFile::in_place(&top),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Uses no lock.
    pub(super) fn look_next(path: &Path) -> Result<Option<IndexFile>, RootError> {
        match Dir::of_host(path).and_then(|top| top.dir(COPIES)) {
            Ok(copies) => IndexFile::waiting(&copies, NEXT, NEXT_SIGNATURE),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn index(&self) -> Result<Option<IndexFile>, RootError> {
        IndexFile::in_place(&self.top)
    }

    pub(super) fn next(&self) -> Result<Option<IndexFile>, RootError> {
        IndexFile::waiting(&self.copies, NEXT, NEXT_SIGNATURE)
    }

    /// Writes an object under a private name, unless it exists. Refuses bytes that differ from the measured ones.
    pub(super) fn stage(
        &mut self,
        source: &ObjectSource,
        wanted: &DepotFile,
        request: &PublishRequest<'_>,
    ) -> Result<(), PublishError> {
        if self.staged.contains_key(&wanted.sha256) || self.has(wanted)? {
            return Ok(());
        }
        let (private, mut file) = self.objects.create_private(PROGRAM)?;
        self.staged.insert(wanted.sha256.clone(), private);
        let measured = match source {
            ObjectSource::Bytes(bytes) => {
                file.put(bytes)?;
                Measured { sha256: digest(bytes), size: bytes.len() as u64 }
            }
            ObjectSource::Directory(directory) => {
                let mut sum = Measuring::default();
                directory.pack(|bytes| {
                    request.go_on()?;
                    sum.add(bytes);
                    Ok(file.put(bytes)?)
                })?;
                sum.finish()
            }
            ObjectSource::File(path) => {
                let mut from = open_source(path)?;
                read_through(path, &mut from, |bytes| {
                    request.go_on()?;
                    Ok(file.put(bytes)?)
                })?
            }
        };
        if measured.sha256 != wanted.sha256 || measured.size != wanted.size {
            let path = match source {
                ObjectSource::File(path) => path.clone(),
                ObjectSource::Directory(directory) => directory.path.clone(),
                ObjectSource::Bytes(_) => PathBuf::from(&wanted.path),
            };
            return Err(PublishError::Changed(path));
        }
        Ok(file.set_mode(Mode::of(READABLE))?)
    }

    /// Reads an existing object: a killed publisher may have left an incomplete one.
    fn has(&mut self, wanted: &DepotFile) -> Result<bool, PublishError> {
        let (shelf, name) = (self.shelf(&wanted.sha256)?, wanted.sha256.as_bytes());
        let damaged = || PublishError::DamagedObject(object_path(&wanted.sha256));
        match shelf.look(name)? {
            None => return Ok(false),
            Some(seen) if seen.file_type == FileType::Regular && seen.size == wanted.size => {}
            Some(_) => return Err(damaged()),
        }
        let mut file = shelf.open_regular(name)?;
        let path = PathBuf::from(shelf.root().show(&shelf.at(name)));
        let found = read_through(&path, &mut file, |_| Ok(()))?;
        if found.sha256 == wanted.sha256 { Ok(true) } else { Err(damaged()) }
    }

    pub(super) fn seems_to_have(&mut self, sha256: &str, size: u64) -> Result<bool, RootError> {
        let seen = self.shelf(sha256)?.look(sha256.as_bytes())?;
        Ok(seen.is_some_and(|seen| seen.file_type == FileType::Regular && seen.size == size))
    }

    /// Renames staged objects after their bytes are durable.
    pub(super) fn settle(&mut self) -> Result<(), RootError> {
        if !self.staged.is_empty() {
            self.objects.sync_file_system()?;
        }
        while let Some((sha256, private)) = self.staged.pop_first() {
            let named = self
                .shelf(&sha256)
                .and_then(|shelf| self.objects.replace(&private, &shelf, sha256.as_bytes()));
            if let Err(error) = named {
                self.staged.insert(sha256, private);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Keeps an existing file.
    pub(super) fn show_key(&mut self, key: &PublicKey) -> Result<(), RootError> {
        let (keys, name) = (self.tree.directory(KEYS)?, format!("{}.pub", key.id));
        keys.remove_leftovers(PROGRAM)?;
        if keys.look(name.as_bytes())?.is_some() {
            return Ok(());
        }
        write_new(&keys, name.as_bytes(), key.write().as_bytes())
    }

    /// Writes copy and signature before the index. Removes old copies; returns the digest.
    pub(super) fn put_index(
        &self,
        index: &DepotIndex,
        text: &[u8],
        signature: Option<&[u8]>,
    ) -> Result<String, PublishError> {
        let sha256 = digest(text);
        self.sync_objects()?;
        write_new(&self.copies, format!("{sha256}.json").as_bytes(), text)?;
        if let Some(signature) = signature {
            write_new(&self.copies, format!("{sha256}.minisig").as_bytes(), signature)?;
        }
        self.copies.sync()?;
        write_new(&self.top, INDEX, text)?;
        self.top.sync()?;
        self.remove_next()?;
        self.remove_old_copies(&sha256, index.previous.clone())?;
        Ok(sha256)
    }

    /// Returns the digest.
    pub(super) fn put_next(&self, text: &[u8]) -> Result<String, PublishError> {
        self.sync_objects()?;
        self.copies.remove(NEXT_SIGNATURE)?;
        write_new(&self.copies, NEXT, text)?;
        self.copies.sync()?;
        Ok(digest(text))
    }

    pub(super) fn remove_next(&self) -> Result<(), RootError> {
        self.copies.remove(NEXT)?;
        self.copies.remove(NEXT_SIGNATURE)
    }

    fn sync_objects(&self) -> Result<(), RootError> {
        self.objects.sync_file_system()
    }

    /// Keeps the last copies, each of which names its predecessor, and all signatures.
    fn remove_old_copies(&self, current: &str, mut previous: Option<String>) -> Result<(), RootError> {
        let mut kept = vec![format!("{current}.json").into_bytes()];
        while let Some(sha256) = previous.take().filter(|_| kept.len() < COPIES_KEPT) {
            let name = format!("{sha256}.json").into_bytes();
            previous = previous_of(&self.copies, &name)?;
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

    fn shelf(&mut self, sha256: &str) -> Result<Dir, RootError> {
        self.tree.directory(object_path(sha256).trim_end_matches(sha256).trim_end_matches('/').as_bytes())
    }
}

pub(super) struct Measured {
    pub(super) sha256: String,
    pub(super) size: u64,
}

#[derive(Default)]
pub(super) struct Measuring {
    sum: Sha256,
    size: u64,
}

impl Measuring {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
        self.size += bytes.len() as u64;
    }

    pub(super) fn finish(self) -> Measured {
        Measured { sha256: sha256_text(&self.sum.finalize()), size: self.size }
    }
}

pub(super) fn measure(path: &Path, request: &PublishRequest<'_>) -> Result<(File, Measured), PublishError> {
    let mut file = open_source(path)?;
    let measured = read_through(path, &mut file, |_| request.go_on())?;
    Ok((file, measured))
}

fn open_source(path: &Path) -> Result<File, PublishError> {
    let opened = InputFile::open(path).and_then(|file| {
        file.into_regular()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
    });
    opened.map_err(|error| PublishError::Read { path: path.to_owned(), error })
}

fn read_through(
    path: &Path,
    source: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> Result<(), PublishError>,
) -> Result<Measured, PublishError> {
    let (mut sum, mut buffer) = (Measuring::default(), vec![0; BUFFER]);
    loop {
        let count = match source.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(PublishError::Read { path: path.to_owned(), error }),
            Ok(count) => count,
        };
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        sum.add(bytes);
        each(bytes)?;
    }
    Ok(sum.finish())
}

/// Fails if the index is larger than readers accept.
pub(super) fn text_of(index: &DepotIndex) -> Result<Vec<u8>, PublishError> {
    let text = index.write();
    if text.len() > LARGEST_INDEX { Err(PublishError::TooLarge(text.len())) } else { Ok(text) }
}

fn write_new(dir: &Dir, name: &[u8], bytes: &[u8]) -> Result<(), RootError> {
    dir.replace_file(PROGRAM, name, bytes, Mode::of(READABLE))
}

pub(super) const INDEX: &[u8] = b"index.json";
const COPIES: &[u8] = b"index";

/// In bytes.
const LARGEST_HEAD: u64 = 4096;

pub(super) struct StoredIndex {
    pub(super) index: DepotIndex,
    pub(super) sha256: String,
}

/// Unverified bytes of an index and its signature.
pub(super) struct IndexFile {
    path: String,
    pub(super) text: Vec<u8>,
    pub(super) sha256: String,
    pub(super) signature: Option<Vec<u8>>,
}

impl IndexFile {
    pub(super) fn in_place(top: &Dir) -> Result<Option<Self>, RootError> {
        let Some(text) = top.read(INDEX, LARGEST_INDEX as u64)? else { return Ok(None) };
        let sha256 = digest(&text);
        let signature = match top.dir(COPIES) {
            Ok(copies) => copies.read(format!("{sha256}.minisig").as_bytes(), LARGEST_SIGNATURE)?,
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        Ok(Some(Self { path: top.root().show(&top.at(INDEX)), text, sha256, signature }))
    }

    pub(super) fn waiting(dir: &Dir, name: &[u8], signature: &[u8]) -> Result<Option<Self>, RootError> {
        let Some(text) = dir.read(name, LARGEST_INDEX as u64)? else { return Ok(None) };
        let (path, sha256) = (dir.root().show(&dir.at(name)), digest(&text));
        Ok(Some(Self { path, text, sha256, signature: dir.read(signature, LARGEST_SIGNATURE)? }))
    }

    /// The index must be signed like the next one, which builds on it.
    pub(super) fn believed(
        self,
        signing: &IndexSigning<'_>,
        may_be_unsigned: bool,
    ) -> Result<StoredIndex, PublishError> {
        match (&self.signature, signing, signing.key()) {
            (Some(_), IndexSigning::Never, _) => {
                return Err(self.fault("is signed, and an unsigned one would replace it"));
            }
            (None, ..) if may_be_unsigned => {}
            (_, _, Some(key)) => self.must_be_signed(std::slice::from_ref(key), false)?,
            (_, _, None) => self.must_be_signed(&[], true)?,
        }
        Ok(StoredIndex { index: self.parsed()?, sha256: self.sha256 })
    }

    /// Refuses an unsigned index, or one not signed by these keys. `others_too` accepts unknown keys.
    pub(super) fn must_be_signed(&self, keys: &[PublicKey], others_too: bool) -> Result<(), PublishError> {
        let Some(signature) = &self.signature else {
            return Err(PublishError::Unsigned(PathBuf::from(&self.path)));
        };
        let signature = Signature::parse(signature, SignatureFormat::Minisign)
            .map_err(|error| self.fault(format!("has an invalid signature: {error}")))?;
        let id = signature.key;
        let mut known = keys.iter().filter(|key| key.id == id).peekable();
        if known.peek().is_none() {
            let refusal = || self.fault(format!("is signed by another key, {id}"));
            return if others_too { Ok(()) } else { Err(refusal()) };
        }
        if !known.any(|key| signature.is_of(key, &self.text)) {
            return Err(self.fault(format!("has a signature by key {id} that does not match it")));
        }
        Ok(())
    }

    pub(super) fn parsed(&self) -> Result<DepotIndex, PublishError> {
        let fault = |error| PublishError::Index { path: self.path.clone(), error };
        DepotIndex::parse(&self.text).map_err(fault)
    }

    fn fault(&self, reason: impl Into<String>) -> PublishError {
        PublishError::Signature { path: self.path.clone(), reason: reason.into() }
    }
}

/// Reads the first line of a copy.
fn previous_of(copies: &Dir, name: &[u8]) -> Result<Option<String>, RootError> {
    let Some((file, _)) = copies.open_seen(name)? else { return Ok(None) };
    let mut head = Vec::new();
    file.take(LARGEST_HEAD).read_to_end(&mut head).map_err(|error| copies.read_error(name, &error))?;
    let Some(end) = head.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
    head.truncate(end);
    head.extend_from_slice(b"]}");
    Ok(DepotIndex::parse(&head).ok().and_then(|index| index.previous))
}

pub(super) fn digest(bytes: &[u8]) -> String {
    sha256_text(&sha256(bytes))
}

const KEYS: &[u8] = b"keys";

const LARGEST_KEY: u64 = 4096;
const MOST_KEYS: usize = 1000;

/// Skips invalid files.
pub(super) fn read_shown_keys(depot: &Path) -> Result<Vec<PublicKey>, RootError> {
    let keys = match Dir::of_host(depot).and_then(|top| top.dir(KEYS)) {
        Ok(keys) => keys,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for name in keys.names_that_are(|name| name.ends_with(b".pub"))?.into_iter().take(MOST_KEYS) {
        let text = match keys.read_regular(&name, LARGEST_KEY) {
            Err(RootError::TooLarge { .. }) => None,
            read => read?,
        };
        found.extend(text.and_then(|text| PublicKey::parse(&text).ok()));
    }
    Ok(found)
}

#[cfg(feature = "sign")]
#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use patchadm_inputs::sign::SecretKey;

    fn key() -> SecretKey {
        let path = format!("{}/../../testdata/signatures/plain.sec", env!("CARGO_MANIFEST_DIR"));
        SecretKey::parse(&std::fs::read(path).unwrap(), None).unwrap()
    }

    fn is_believed(key: &PublicKey, text: &[u8], signature: &[u8]) -> bool {
        let sign = |_: &[u8]| Vec::new();
        let signing = IndexSigning::Here { key: key.clone(), sign: &sign };
        let (text, signature) = (text.to_vec(), Some(signature.to_vec()));
        let file = IndexFile { path: "index.json".to_owned(), sha256: digest(&text), text, signature };
        file.believed(&signing, false).is_ok()
    }

    #[test]
    fn no_flipped_byte_of_an_index_or_its_signature_is_built_upon() {
        let date = DateTime::from_timestamp(1_795_262_400, 0).unwrap();
        let mut text = DepotIndex::new("0f".repeat(16), date).write();
        let mut signature = key().sign(&text, "timestamp:1795262400").write("ours").into_bytes();
        let (key, comment) = (key().public(), signature.iter().position(|&byte| byte == b'\n').unwrap());
        assert!(is_believed(&key, &text, &signature));
        for at in 0..text.len() {
            text[at] ^= 1;
            assert!(!is_believed(&key, &text, &signature), "byte {at} of the index");
            text[at] ^= 1;
        }
        for at in comment..signature.len() {
            signature[at] ^= 1;
            assert!(!is_believed(&key, &text, &signature), "byte {at} of the signature");
            signature[at] ^= 1;
        }
    }

    #[test]
    fn the_head_of_a_copy_tells_which_was_before_it() {
        let place = tempfile::tempdir().unwrap();
        let date = DateTime::from_timestamp(1_795_262_400, 0).unwrap();
        let mut index = DepotIndex::new("0f".repeat(16), date);
        index.previous = Some("ab".repeat(32));
        std::fs::write(place.path().join("copy"), index.write()).unwrap();
        std::fs::write(place.path().join("other"), b"{").unwrap();
        let dir = Dir::of_host(place.path()).unwrap();
        assert_eq!(previous_of(&dir, b"copy").unwrap(), index.previous);
        assert_eq!(previous_of(&dir, b"other").unwrap(), None);
        assert_eq!(previous_of(&dir, b"none").unwrap(), None);
    }
}
