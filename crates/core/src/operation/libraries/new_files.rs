//! The programs and libraries that a plan brings, read while their source is streamed. Of a file that lies in an undo
//! directory, only what is needed is read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use super::scan::has_magic;
use patchadm_changeset::transaction::ContentSource;
use patchadm_libraries::LibraryFile;
use patchadm_libraries::elf::{self, ElfSymbols, FilePieces, MissingParts, PartsKeeper, StreamedParts};
use patchadm_rootfs::{Digest, Digesting, Dir, Root};
use patchadm_svr4::package::{ObjectPath, PackagePath};

/// A member of a source: the place of its package, and its path in the package.
pub(super) type MemberKey = (usize, PackagePath);

/// The bytes that are read at a time.
const BUFFER: usize = 64 << 10;

/// A file of a source.
#[derive(Clone)]
pub(super) struct NewFile {
    /// Its facts, if it is a program or library.
    pub(super) file: Option<Arc<LibraryFile>>,
    /// The BLAKE3 of a program or library that was streamed; that of a stored file is in the plan.
    pub(super) b3: Option<Digest>,
}

/// The known facts of the files of sources.
#[derive(Clone, Default)]
pub(super) struct NewFiles {
    files: BTreeMap<MemberKey, NewFile>,
    symbols: HashMap<*const LibraryFile, Arc<ElfSymbols>>,
}

impl NewFiles {
    /// Reads these members, and in a second pass those of which the first one did not keep enough. What cannot be read is
    /// not known; the run itself reports errors of its source.
    pub(super) fn read(root: &Root, content: &mut dyn ContentSource, wanted: &BTreeSet<MemberKey>) -> Self {
        let mut read = Self::default();
        let mut again = BTreeMap::new();
        let stored = |key: &&MemberKey| content.stored(key.0, &key.1).is_some();
        let (stored, wanted): (BTreeSet<&MemberKey>, BTreeSet<&MemberKey>) = wanted.iter().partition(stored);
        read.take_stored(root, content, &stored);
        if wanted.is_empty() {
            return read;
        }
        let is_wanted = |package: usize, path: &PackagePath| wanted.contains(&(package, path.clone()));
        let _ = content.stream(&is_wanted, &mut |package, path, data| {
            let key = (package, path.clone());
            again.extend(read.take(&key, PartsKeeper::default(), data).map(|missing| (key, missing)));
            Ok(())
        });
        if !again.is_empty() {
            let is_wanted = |package: usize, path: &PackagePath| again.contains_key(&(package, path.clone()));
            let _ = content.stream(&is_wanted, &mut |package, path, data| {
                let key = (package, path.clone());
                if let Some(missing) = again.get(&key) {
                    read.take(&key, PartsKeeper::again(missing), data);
                }
                Ok(())
            });
        }
        read
    }

    /// Reads files that lie in undo directories. What has been changed there is refused by the run itself.
    fn take_stored(&mut self, root: &Root, content: &dyn ContentSource, wanted: &BTreeSet<&MemberKey>) {
        let mut opened: BTreeMap<&ObjectPath, Option<Dir>> = BTreeMap::new();
        for key in wanted {
            let Some(stored) = content.stored(key.0, &key.1) else { continue };
            let dir = opened.entry(&stored.directory).or_insert_with(|| stored.open_directory(root).ok());
            let Some(Ok((file, _))) = dir.as_ref().map(|dir| stored.open_in(dir)) else { continue };
            let new = self.stored_file(&file);
            self.files.insert((*key).clone(), NewFile { file: new, b3: None });
        }
    }

    fn stored_file(&mut self, file: &File) -> Option<Arc<LibraryFile>> {
        if !has_magic(file).ok()? {
            return None;
        }
        let mut pieces = FilePieces::new(file);
        let facts = elf::read(&mut pieces).ok()??;
        let new = Arc::new(LibraryFile { facts: Arc::new(facts) });
        if let Ok(symbols) = elf::read_symbols(&mut pieces) {
            self.symbols.insert(Arc::as_ptr(&new), Arc::new(symbols));
        }
        Some(new)
    }

    /// Reads one file. Returns what another pass would have to keep to know all of it.
    fn take(&mut self, key: &MemberKey, keeper: PartsKeeper, data: &mut dyn Read) -> Option<MissingParts> {
        let mut new = NewFile { file: None, b3: None };
        let Ok(Some((mut parts, b3))) = streamed(keeper, data) else {
            self.files.insert(key.clone(), new);
            return None;
        };
        if let Ok(Some(facts)) = elf::read(&mut parts) {
            let file = Arc::new(LibraryFile { facts: Arc::new(facts) });
            if let Ok(symbols) = elf::read_symbols(&mut parts) {
                self.symbols.insert(Arc::as_ptr(&file), Arc::new(symbols));
            }
            new = NewFile { file: Some(file), b3: Some(b3) };
        }
        if let Some(old) = self.files.insert(key.clone(), new).and_then(|old| old.file) {
            self.symbols.remove(&Arc::as_ptr(&old));
        }
        parts.missing()
    }

    /// Returns what is known of a member.
    pub(super) fn get(&self, package: usize, path: &PackagePath) -> Option<&NewFile> {
        self.files.get(&(package, path.clone()))
    }

    /// Returns the symbols of the programs and libraries.
    pub(super) fn symbols(&self) -> &HashMap<*const LibraryFile, Arc<ElfSymbols>> {
        &self.symbols
    }

    /// Tells whether there is a program or library.
    pub(super) fn has_objects(&self) -> bool {
        self.files.values().any(|file| file.file.is_some())
    }
}

/// Reads a file without storing it. Returns what was kept of it, and its digest, if it begins like an ELF file.
fn streamed(mut keeper: PartsKeeper, data: &mut dyn Read) -> io::Result<Option<(StreamedParts, Digest)>> {
    let mut magic = Vec::new();
    (&mut *data).take(elf::MAGIC.len() as u64).read_to_end(&mut magic)?;
    if magic != elf::MAGIC {
        return Ok(None);
    }
    let mut digesting = Digesting::default();
    let mut buffer = magic;
    loop {
        keeper.add(&buffer);
        digesting.update(&buffer);
        buffer.resize(BUFFER, 0);
        let count = match data.read(&mut buffer) {
            Ok(0) => return Ok(Some((keeper.finish(), digesting.finish()))),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        buffer.truncate(count);
    }
}
