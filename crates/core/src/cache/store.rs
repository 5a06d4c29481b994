//! A cache on disk: opened, searched, filled, and kept within its limit.

use std::io;
use std::path::{Path, PathBuf};

use super::error::CacheError;
use super::objects::digest_of_file;
use super::partial::PartialDownload;
use super::spool::PatchSpool;
use patchadm_rootfs::{Dir, FileType, NewTree, ObjectStatus, RootError};
use patchadm_svr4::package::Mode;

const OBJECTS: &[u8] = b"objects";
const PARTIAL: &[u8] = b"partial";
const INDEXES: &[u8] = b"index";
const SPOOL: &[u8] = b"spool";

/// The name that private names of files have in them.
const PROGRAM: &str = "patchadm-cache";

/// The largest note about an index, in bytes.
const LARGEST_NOTE: u64 = 16 << 10;

/// An object with its directory, its name and its status.
type CachedObject = (Vec<u8>, Vec<u8>, ObjectStatus);

/// A cache that is open; as many commands as like have it open at a time.
#[derive(Debug)]
pub struct DownloadCache {
    path: PathBuf,
    top: Dir,
    limit: u64,
}

impl DownloadCache {
    /// Opens a cache of at most `limit` bytes, and makes it where it is missing. One that somebody else may use is refused.
    pub fn open(path: &Path, limit: u64) -> Result<Self, CacheError> {
        let is_new = matches!(Dir::of_host(path), Err(error) if error.is_not_found());
        let top = NewTree::at(path)?.directory(b"")?;
        if is_new {
            top.set_own_mode(Mode::of(0o700))?;
        }
        let is_shared = top.itself()?.mode.bits() & 0o077 != 0;
        if is_shared || !top.is_own()? {
            return Err(CacheError::NotPrivate(path.display().to_string()));
        }
        let cache = Self { path: path.canonicalize().unwrap_or_else(|_| path.to_owned()), top, limit };
        for name in [OBJECTS, PARTIAL, INDEXES, SPOOL] {
            cache.directory(name)?;
        }
        Ok(cache)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes an object into use: gives it a second name in the spool of a command, where it stays until that is gone, and
    /// reads it to compare it with its digest. `None` where it is not there, or was damaged and is removed.
    pub fn take(
        &self,
        (sha256, size): (&str, u64),
        spool: &PatchSpool,
        name: &str,
    ) -> Result<Option<PathBuf>, CacheError> {
        let Some(path) = self.take_fresh(sha256, spool, name)? else { return Ok(None) };
        let (shelf, own) = (self.shelf(sha256)?, sha256.as_bytes());
        let (mut file, seen) = spool.open(name)?;
        let found = if seen.size == size {
            Some(
                digest_of_file::<io::Error>(&mut file, |_| Ok(()))
                    .map_err(|error| shelf.read_error(own, &error))?,
            )
        } else {
            None
        };
        if found.is_some_and(|found| found.sha256 == sha256) {
            return Ok(Some(path));
        }
        spool.remove(name)?;
        shelf.remove(own)?;
        Ok(None)
    }

    /// Takes an object into use without reading it: this command has written it a moment ago.
    pub fn take_fresh(
        &self,
        sha256: &str,
        spool: &PatchSpool,
        name: &str,
    ) -> Result<Option<PathBuf>, CacheError> {
        match spool.link(&self.shelf(sha256)?, sha256.as_bytes(), name) {
            Err(error) if error.is_not_found() => Ok(None),
            linked => {
                linked?;
                Ok(Some(spool.path().join(name)))
            }
        }
    }

    /// Opens what is there of an object that is to be fetched, for one writer. `wait` is asked whether to wait on while
    /// another one writes, with the size that it has come to. `None` where the other one has fetched it meanwhile.
    pub fn partial(
        &self,
        sha256: &str,
        wait: &mut dyn FnMut(u64) -> Result<bool, CacheError>,
    ) -> Result<Option<PartialDownload>, CacheError> {
        PartialDownload::open(self.directory(PARTIAL)?, self.shelf(sha256)?, sha256, wait)
    }

    /// Begins the spool of a command, which is removed with the value. What killed commands left goes before.
    pub fn spool(&self) -> Result<PatchSpool, CacheError> {
        PatchSpool::begin(&self.directory(SPOOL)?, &self.path.join("spool"))
    }

    /// Reads the note about an index; `None` where there is none.
    pub fn note(&self, key: &str) -> Result<Option<Vec<u8>>, CacheError> {
        Ok(self.directory(INDEXES)?.read_regular(key.as_bytes(), LARGEST_NOTE)?)
    }

    /// Replaces the note about an index.
    pub fn set_note(&self, key: &str, text: &[u8]) -> Result<(), CacheError> {
        let notes = self.directory(INDEXES)?;
        notes.remove_leftovers(PROGRAM)?;
        let (private, mut file) = notes.create_private(PROGRAM)?;
        let written = file.put(text).and_then(|()| notes.rename(&private, key.as_bytes()));
        if written.is_err() {
            // The next one removes what is left under the private name.
            let _ = notes.remove(&private);
        }
        Ok(written?)
    }

    /// Stores bytes that are known whole, under their digest.
    pub fn store(&self, sha256: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let shelf = self.shelf(sha256)?;
        if shelf.look(sha256.as_bytes())?.is_some() {
            return Ok(());
        }
        shelf.remove_leftovers(PROGRAM)?;
        let (private, mut file) = shelf.create_private(PROGRAM)?;
        let written = file
            .put(bytes)
            .and_then(|()| file.sync())
            .and_then(|()| shelf.rename(&private, sha256.as_bytes()));
        if written.is_err() {
            let _ = shelf.remove(&private);
        }
        Ok(written?)
    }

    /// Reads an object that is small, compared with its digest; `None` where it is not there or damaged.
    pub fn read(&self, sha256: &str, limit: u64) -> Result<Option<Vec<u8>>, CacheError> {
        let bytes = self.shelf(sha256)?.read_regular(sha256.as_bytes(), limit)?;
        Ok(bytes.filter(|bytes| crate::sign::sha256_text(&crate::sign::sha256(bytes)) == sha256))
    }

    /// Makes room for so many bytes more: removes what was not used for the longest time, until the cache is within its
    /// limit or only what is in use is left.
    pub fn make_room(&self, wanted: u64) -> Result<(), CacheError> {
        let mut all = self.every_object()?;
        let mut bytes = all.iter().map(|(_, _, seen)| seen.size).fold(wanted, u64::saturating_add);
        if bytes <= self.limit {
            return Ok(());
        }
        // A second name made or removed, which is a use, is a change of status.
        all.sort_by(|(_, name, seen), (_, other, of_other)| (seen.ctime, name).cmp(&(of_other.ctime, other)));
        for (shelf, name, seen) in all {
            if bytes <= self.limit {
                break;
            }
            if self.is_free(&shelf, &name, &seen)? {
                let shelf = self.directory_below(OBJECTS, &shelf)?;
                shelf.remove(&name)?;
                bytes = bytes.saturating_sub(seen.size);
            }
        }
        Ok(())
    }

    /// Whether nobody uses an object: who does has given it a second name.
    fn is_free(&self, shelf: &[u8], name: &[u8], seen: &ObjectStatus) -> Result<bool, RootError> {
        let now = self.directory_below(OBJECTS, shelf)?.look(name)?;
        Ok(now.is_some_and(|now| now.links == 1 && now.ctime == seen.ctime))
    }

    fn every_object(&self) -> Result<Vec<CachedObject>, RootError> {
        let (mut all, objects) = (Vec::new(), self.directory(OBJECTS)?);
        for shelf in objects.directories()? {
            let dir = match objects.dir(&shelf) {
                Err(error) if error.is_not_found() => continue,
                opened => opened?,
            };
            for name in dir.names()? {
                let seen = dir.look(&name)?.filter(|seen| seen.file_type == FileType::Regular);
                all.extend(seen.map(|seen| (shelf.clone(), name, seen)));
            }
        }
        Ok(all)
    }

    fn shelf(&self, sha256: &str) -> Result<Dir, RootError> {
        self.directory_below(OBJECTS, two_digits(sha256).as_bytes())
    }

    fn directory_below(&self, above: &[u8], name: &[u8]) -> Result<Dir, RootError> {
        private_directory(&self.directory(above)?, name)
    }

    fn directory(&self, name: &[u8]) -> Result<Dir, RootError> {
        private_directory(&self.top, name)
    }
}

/// Opens a directory for nobody but the caller, made where it is missing.
fn private_directory(above: &Dir, name: &[u8]) -> Result<Dir, RootError> {
    match above.dir(name) {
        Err(error) if error.is_not_found() => match above.make_dir(name, Mode::of(0o700)) {
            // Another command made it.
            Err(error) if error.errno() == Some(rustix::io::Errno::EXIST) => above.dir(name),
            made => made,
        },
        opened => opened,
    }
}

fn two_digits(sha256: &str) -> &str {
    sha256.get(..2).unwrap_or("00")
}
