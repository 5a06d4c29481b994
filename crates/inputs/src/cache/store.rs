//! A cache on disk: opened, searched, filled, and kept within its limit.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
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

/// The permission bits of files: no one else reads them.
const OWN: u32 = 0o600;

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
    /// Opens a cache of at most `limit` bytes, and creates it if it is missing. Refuses one that another user may use.
    pub fn open(path: &Path, limit: u64) -> Result<Self, CacheError> {
        let top = match Dir::of_host(path) {
            Err(error) if error.is_not_found() => made(path)?,
            opened => opened?,
        };
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

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes an object into use: gives it a second name in the spool of a command, where it stays until that is gone, and
    /// reads it to compare it with its digest. `None` if it is not there, or was damaged and is removed.
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
        spool.discard(name)?;
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

    /// Opens the partial file of an object that will be fetched, for one writer. While another command writes it,
    /// `wait` is asked whether to go on waiting and is given the size so far. Returns `None` if the other one has
    /// fetched it meanwhile.
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

    /// Reads the note about an index; `None` if there is none.
    pub fn note(&self, key: &str) -> Result<Option<Vec<u8>>, CacheError> {
        Ok(self.directory(INDEXES)?.read_regular(key.as_bytes(), LARGEST_NOTE)?)
    }

    /// Replaces the note about an index.
    pub fn set_note(&self, key: &str, text: &[u8]) -> Result<(), CacheError> {
        let notes = self.directory(INDEXES)?;
        notes.remove_leftovers(PROGRAM)?;
        Ok(notes.replace_file(PROGRAM, key.as_bytes(), text, Mode::of(OWN))?)
    }

    /// Stores bytes that are known whole, under their digest.
    pub fn store(&self, sha256: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let shelf = self.shelf(sha256)?;
        if shelf.look(sha256.as_bytes())?.is_some() {
            return Ok(());
        }
        shelf.remove_leftovers(PROGRAM)?;
        Ok(shelf.replace_file(PROGRAM, sha256.as_bytes(), bytes, Mode::of(OWN))?)
    }

    /// Reads an object that is small, compared with its digest; `None` if it is not there or damaged.
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

    /// Tells whether an object is not in use: a user gives it a second name.
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

/// Makes the directory of a cache, and those above it where they are missing.
fn made(path: &Path) -> Result<Dir, RootError> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let above = NewTree::at(above)?.directory(b"")?;
    private_directory(&above, path.file_name().unwrap_or_default().as_bytes())
}

/// Opens a directory for the caller alone, and creates it if it is missing.
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::sign::{sha256, sha256_text};

    fn cache(place: &tempfile::TempDir, limit: u64) -> DownloadCache {
        DownloadCache::open(&place.path().join("cache"), limit).unwrap()
    }

    /// Stores bytes; their digest.
    fn stored(cache: &DownloadCache, bytes: &[u8]) -> String {
        let digest = sha256_text(&sha256(bytes));
        cache.store(&digest, bytes).unwrap();
        // The order of uses is that of the clock of the file system, which is not finer than a few milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
        digest
    }

    #[test]
    fn a_cache_is_private_from_its_beginning_and_one_that_is_not_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let cache = cache(&place, 10);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(cache.path()), 0o700);
        assert_eq!(mode(&cache.path().join("objects")), 0o700);
        fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let refused = DownloadCache::open(cache.path(), 10).unwrap_err();
        assert!(matches!(refused, CacheError::NotPrivate(_)), "{refused}");
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first_and_what_is_in_use_stays() {
        let place = tempfile::tempdir().unwrap();
        let cache = cache(&place, 40);
        let digests: Vec<String> = [b"aaaaaaaaaa", b"bbbbbbbbbb", b"cccccccccc"]
            .iter()
            .map(|bytes| stored(&cache, bytes.as_slice()))
            .collect();
        let spool = cache.spool().unwrap();
        let path = cache.take((&digests[0], 10), &spool, "a.zip").unwrap().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"aaaaaaaaaa");
        cache.make_room(25).unwrap();
        let is_there = |at: usize| cache.read(&digests[at], 10).unwrap().is_some();
        assert_eq!([0, 1, 2].map(is_there), [true, false, false], "the first one is in use");
        drop(spool);
        assert!(!path.exists());
        cache.make_room(35).unwrap();
        assert!(!is_there(0));
    }

    #[test]
    fn a_use_makes_an_object_the_youngest() {
        let place = tempfile::tempdir().unwrap();
        let cache = cache(&place, 30);
        let digests: Vec<String> =
            [b"aaaaaaaaaa", b"bbbbbbbbbb"].iter().map(|bytes| stored(&cache, bytes.as_slice())).collect();
        let spool = cache.spool().unwrap();
        cache.take((&digests[0], 10), &spool, "a.zip").unwrap().unwrap();
        drop(spool);
        cache.make_room(15).unwrap();
        assert!(cache.read(&digests[0], 10).unwrap().is_some());
        assert!(cache.read(&digests[1], 10).unwrap().is_none());
    }

    #[test]
    fn an_object_that_was_damaged_is_removed_and_not_given_out() {
        let place = tempfile::tempdir().unwrap();
        let cache = cache(&place, 100);
        let digest = stored(&cache, b"bytes");
        let object = cache.path().join(format!("objects/{}/{digest}", two_digits(&digest)));
        fs::write(&object, b"bYtes").unwrap();
        let spool = cache.spool().unwrap();
        assert_eq!(cache.take((&digest, 5), &spool, "a.zip").unwrap(), None);
        assert!(!object.exists() && !spool.path().join("a.zip").exists());
    }

    #[test]
    fn one_writes_and_the_others_wait_until_it_is_whole() {
        let place = tempfile::tempdir().unwrap();
        let cache = cache(&place, 100);
        let digest = sha256_text(&sha256(b"bytes"));
        let mut first = cache.partial(&digest, &mut |_| panic!("nobody is there")).unwrap().unwrap();
        first.append(b"byt".to_vec()).unwrap();
        let held = cache.partial(&digest, &mut |size| {
            assert_eq!(size, 3);
            Ok(false)
        });
        assert!(matches!(held, Err(CacheError::Held(_))), "{:?}", held.err());
        let mut first = Some(first);
        let second = cache.partial(&digest, &mut |_| {
            let mut first = first.take().unwrap();
            first.append(b"es".to_vec())?;
            assert!(first.is_right());
            first.finish()?;
            Ok(true)
        });
        assert!(second.unwrap().is_none(), "the other one has fetched it");
        let left = fs::read_dir(cache.path().join("partial")).unwrap().count();
        assert_eq!(left, 0);
        assert_eq!(cache.read(&digest, 5).unwrap().unwrap(), b"bytes");
    }
}
