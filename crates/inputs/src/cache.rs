//! The cache of fetched objects: private to the caller (0700), bounded, shared by concurrent commands. An object gets
//! its name when its digest is right and its bytes are durable. Beyond the limit, the least recently used objects go,
//! except those in use.
//!
//! ```text
//! CACHE/objects/ab/<sha256>    complete objects; digested again at each use
//! CACHE/partial/<sha256>       a partial download, locked by its writer; beside it .json, its origin
//! CACHE/index/<sha256>         the last index of each address, under the digest of the address
//! CACHE/spool/                 a directory per running command: its files, under readable names
//! ```

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sha256::{RunningDigest, Sha256};
use crate::sign::sha256_text;
use patchadm_rootfs::{
    Dir, FileType, ForeignObject, NewTree, ObjectStatus, RootError, WritableFile, strange_above,
    strange_along,
};
use patchadm_svr4::package::Mode;

const OBJECTS: &[u8] = b"objects";
const PARTIAL: &[u8] = b"partial";
const INDEXES: &[u8] = b"index";
const SPOOL: &[u8] = b"spool";
const ORIGIN: &[u8] = b".json";
const PROGRAM: &str = "patchadm-cache";
const LARGEST_NOTE: u64 = 16 << 10;
const OWN: u32 = 0o600;

type CachedObject = (Vec<u8>, Vec<u8>, ObjectStatus);

/// Several commands may have it open at the same time.
#[derive(Debug)]
pub struct DownloadCache {
    path: PathBuf,
    top: Dir,
    limit: u64,
}

impl DownloadCache {
    /// Opens a cache of at most `limit` bytes, and creates it if it is missing. Refuses one that another user may use or
    /// exchange.
    pub fn open(path: &Path, limit: u64) -> Result<Self, CacheError> {
        must_be_in_own_place(path)?;
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

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives an object a second name in a command's spool, and verifies its digest. `None` if it is missing, or was
    /// damaged and is removed.
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

    /// For an object that this command has just written; does not read it.
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

    /// Opens the partial file for one writer. While another command writes it, `wait` gets the size so far and decides
    /// if it goes on waiting. `None` if the other command has fetched the object meanwhile.
    pub fn partial(
        &self,
        sha256: &str,
        wait: &mut dyn FnMut(u64) -> Result<bool, CacheError>,
    ) -> Result<Option<PartialDownload>, CacheError> {
        PartialDownload::open(self.directory(PARTIAL)?, self.shelf(sha256)?, sha256, wait)
    }

    /// Begins the spool of a command, which is removed with the value. Removes leftovers of killed commands.
    pub fn spool(&self) -> Result<PatchSpool, CacheError> {
        PatchSpool::begin(&self.directory(SPOOL)?, &self.path.join("spool"))
    }

    pub fn note(&self, key: &str) -> Result<Option<Vec<u8>>, CacheError> {
        Ok(self.directory(INDEXES)?.read_regular(key.as_bytes(), LARGEST_NOTE)?)
    }

    pub fn set_note(&self, key: &str, text: &[u8]) -> Result<(), CacheError> {
        let notes = self.directory(INDEXES)?;
        notes.remove_leftovers(PROGRAM)?;
        Ok(notes.replace_file(PROGRAM, key.as_bytes(), text, Mode::of(OWN))?)
    }

    pub fn store(&self, sha256: &str, bytes: &[u8]) -> Result<(), CacheError> {
        let shelf = self.shelf(sha256)?;
        if shelf.look(sha256.as_bytes())?.is_some() {
            return Ok(());
        }
        shelf.remove_leftovers(PROGRAM)?;
        Ok(shelf.replace_file(PROGRAM, sha256.as_bytes(), bytes, Mode::of(OWN))?)
    }

    /// Verifies the digest. `None` if the object is missing or damaged.
    pub fn read(&self, sha256: &str, limit: u64) -> Result<Option<Vec<u8>>, CacheError> {
        let bytes = self.shelf(sha256)?.read_regular(sha256.as_bytes(), limit)?;
        Ok(bytes.filter(|bytes| sha256_text(&crate::sign::sha256(bytes)) == sha256))
    }

    /// Fails if this many bytes would take the reserve of the file system.
    pub fn must_have_room(&self, bytes: u64) -> Result<(), CacheError> {
        Ok(self.top.must_have_room(bytes)?)
    }

    /// Removes the least recently used objects and interrupted downloads, except those in use.
    pub fn make_room(&self, wanted: u64) -> Result<(), CacheError> {
        let mut all = self.every_object()?;
        let mut bytes = all.iter().map(|(_, _, seen)| seen.size).fold(wanted, u64::saturating_add);
        if bytes <= self.limit {
            return Ok(());
        }
        // A second name, made or removed, is a use and changes the status.
        all.sort_by(|(_, name, seen), (_, other, of_other)| (seen.ctime, name).cmp(&(of_other.ctime, other)));
        for (shelf, name, seen) in all {
            if bytes <= self.limit {
                break;
            }
            let is_removed = if shelf == PARTIAL {
                self.remove_partial(&name)?
            } else if self.is_free(&shelf, &name, &seen)? {
                self.directory_below(OBJECTS, &shelf)?.remove(&name)?;
                true
            } else {
                false
            };
            if is_removed {
                bytes = bytes.saturating_sub(seen.size);
            }
        }
        Ok(())
    }

    /// Returns false if a command continues the download.
    fn remove_partial(&self, name: &[u8]) -> Result<bool, CacheError> {
        let Ok(sha256) = str::from_utf8(name) else { return Ok(false) };
        match self.partial(sha256, &mut |_| Ok(false)) {
            Err(CacheError::Held(_)) => Ok(false),
            opened => {
                opened?.map_or(Ok(()), PartialDownload::discard)?;
                Ok(true)
            }
        }
    }

    /// A user of the object gives it a second name.
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
        let partial = self.directory(PARTIAL)?;
        for name in partial.names_that_are(|name| !name.ends_with(ORIGIN))? {
            let seen = partial.look(&name)?.filter(|seen| seen.file_type == FileType::Regular);
            all.extend(seen.map(|seen| (PARTIAL.to_vec(), name, seen)));
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

/// Refuses a path where another user could put another directory.
fn must_be_in_own_place(path: &Path) -> Result<(), CacheError> {
    let strange = match strange_above(path) {
        Err(error) if error.is_not_found() => match path.ancestors().skip(1).find(|above| above.is_dir()) {
            Some(above) => strange_along(above)?,
            None => strange_along(Path::new("."))?,
        },
        strange => strange?,
    };
    match strange {
        None => Ok(()),
        Some(strange) => Err(CacheError::InForeignPlace { path: path.display().to_string(), strange }),
    }
}

fn made(path: &Path) -> Result<Dir, RootError> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let above = NewTree::at(above)?.directory(b"")?;
    private_directory(&above, path.file_name().unwrap_or_default().as_bytes())
}

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

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    #[error(transparent)]
    Root(#[from] RootError),
    #[error("the cache {0} must belong to the caller and have mode 0700")]
    NotPrivate(String),
    /// Another user could exchange it.
    #[error("the cache is {path}, and {strange}, so others could replace the cache")]
    InForeignPlace { path: String, strange: ForeignObject },
    /// Another command has been fetching the same object for too long.
    #[error("{0} is being fetched by another command")]
    Held(String),
    #[error("{}", patchadm_rootfs::INTERRUPTED)]
    Interrupted(i32),
}

const BUFFER: usize = 1 << 18;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectDigest {
    pub sha256: String,
    pub size: u64,
}

/// Passes each part on. An error of the receiver ends the reading.
pub fn digest_of_file<E: From<io::Error>>(
    file: &mut impl Read,
    mut each: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<ObjectDigest, E> {
    let (mut sum, mut size, mut buffer) = (Sha256::new(), 0, vec![0; BUFFER]);
    loop {
        let count = match file.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        sum.update(bytes);
        size += count as u64;
        each(bytes)?;
    }
    Ok(ObjectDigest { sha256: sha256_text(&sum.finalize()), size })
}

const LARGEST_ORIGIN: u64 = 16 << 10;

/// The origin of a partial object: the rest can be requested from the same file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartialOrigin {
    pub url: String,
    /// Only a strong one.
    pub etag: Option<String>,
    /// As the server wrote it.
    pub modified: Option<String>,
    /// Of the whole file.
    pub size: u64,
}

/// Locked for one writer while the value exists.
pub struct PartialDownload {
    dir: Dir,
    shelf: Dir,
    sha256: String,
    file: WritableFile,
    sum: RunningDigest,
}

impl PartialDownload {
    fn open(
        dir: Dir,
        shelf: Dir,
        sha256: &str,
        wait: &mut dyn FnMut(u64) -> Result<bool, CacheError>,
    ) -> Result<Option<Self>, CacheError> {
        loop {
            let file = dir.open_or_create(sha256.as_bytes(), Mode::of(0o600))?;
            if !file.try_lock()? {
                if !wait(file.size()?)? {
                    return Err(CacheError::Held(dir.root().show(&dir.at(sha256.as_bytes()))));
                }
                continue;
            }
            if shelf.look(sha256.as_bytes())?.is_some() {
                // Another command was faster: the new file is useless.
                dir.remove(sha256.as_bytes())?;
                return Ok(None);
            }
            let is_current = dir.look(sha256.as_bytes())?.map(|seen| seen.inode) == Some(file.look()?.inode);
            if is_current {
                let sha256 = sha256.to_owned();
                return Ok(Some(Self { dir, shelf, sha256, file, sum: RunningDigest::new() }));
            }
        }
    }

    /// Continues an earlier command's bytes if its note names their origin, and otherwise starts anew.
    pub fn resume(&mut self) -> Result<Option<PartialOrigin>, CacheError> {
        let note = self.dir.read_regular(self.note_name().as_bytes(), LARGEST_ORIGIN)?;
        let origin = note.and_then(|text| serde_json::from_slice::<PartialOrigin>(&text).ok());
        let length = self.file.size()?;
        let Some(origin) = origin.filter(|origin| length > 0 && length <= origin.size) else {
            self.restart()?;
            return Ok(None);
        };
        self.file.rewind()?;
        let mut spare: Option<Vec<u8>> = None;
        loop {
            let mut part = spare.take().unwrap_or_default();
            part.resize(BUFFER, 0);
            let count = match self.file.read(&mut part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.dir.read_error(self.sha256.as_bytes(), &error).into()),
                Ok(count) => count,
            };
            if count == 0 {
                return Ok(Some(origin));
            }
            part.truncate(count);
            spare = self.sum.update(part);
        }
    }

    /// Of the bytes that follow.
    pub fn note_origin(&self, origin: &PartialOrigin) -> Result<(), CacheError> {
        // Strings and a number: serialising these cannot fail.
        let text = serde_json::to_vec(origin).unwrap_or_default();
        let name = self.note_name();
        self.dir.remove(name.as_bytes())?;
        self.dir.create(name.as_bytes())?.put(&text)?;
        Ok(())
    }

    pub fn length(&self) -> u64 {
        self.sum.size()
    }

    pub fn append(&mut self, bytes: Vec<u8>) -> Result<(), CacheError> {
        self.file.put(&bytes)?;
        self.sum.update(bytes);
        Ok(())
    }

    pub fn restart(&mut self) -> Result<(), CacheError> {
        self.dir.remove(self.note_name().as_bytes())?;
        self.file.set_size(0)?;
        self.sum = RunningDigest::new();
        Ok(())
    }

    pub fn is_right(&mut self) -> bool {
        sha256_text(&self.sum.sha256()) == self.sha256
    }

    /// The bytes are durable before the object gets its name.
    pub fn finish(self) -> Result<(), CacheError> {
        self.file.sync()?;
        self.dir.replace(self.sha256.as_bytes(), &self.shelf, self.sha256.as_bytes())?;
        Ok(self.dir.remove(self.note_name().as_bytes())?)
    }

    pub fn discard(self) -> Result<(), RootError> {
        self.dir.remove(self.note_name().as_bytes())?;
        self.dir.remove(self.sha256.as_bytes())
    }

    fn note_name(&self) -> String {
        format!("{}.json", self.sha256)
    }
}

const SPOOL_PROGRAM: &str = "run";

/// A command's directory, removed with the value. A later command removes that of a killed one.
#[derive(Debug)]
pub struct PatchSpool {
    above: Dir,
    name: Vec<u8>,
    dir: Dir,
    path: PathBuf,
}

impl PatchSpool {
    fn begin(above: &Dir, path: &Path) -> Result<Self, CacheError> {
        above.remove_leftovers(SPOOL_PROGRAM)?;
        let (name, dir) = above.make_private(SPOOL_PROGRAM)?;
        let path = path.join(std::ffi::OsStr::from_bytes(&name));
        Ok(Self { above: above.again()?, name, dir, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn place(&self) -> Result<Dir, RootError> {
        self.dir.again()
    }

    fn link(&self, from: &Dir, object: &[u8], name: &str) -> Result<(), RootError> {
        if self.dir.look(name.as_bytes())?.is_some() {
            return Ok(());
        }
        self.dir.make_link(name.as_bytes(), from, object)
    }

    fn open(&self, name: &str) -> Result<(File, ObjectStatus), RootError> {
        self.dir.open_file(name.as_bytes())
    }

    /// Creates an empty file for content without a digest, replacing an existing one.
    pub fn create(&self, name: &str) -> Result<(PathBuf, WritableFile), CacheError> {
        self.dir.remove(name.as_bytes())?;
        Ok((self.path.join(name), self.dir.create(name.as_bytes())?))
    }

    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, CacheError> {
        let (path, mut file) = self.create(name)?;
        file.put(bytes)?;
        Ok(path)
    }

    pub fn discard(&self, name: &str) -> Result<(), CacheError> {
        Ok(self.dir.remove_tree(name.as_bytes())?)
    }
}

impl Drop for PatchSpool {
    fn drop(&mut self) {
        // If it cannot be removed now, the next command removes it.
        let _ = self.above.remove_tree(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::{sha256, sha256_text};

    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    fn cache(place: &tempfile::TempDir, limit: u64) -> DownloadCache {
        DownloadCache::open(&place.path().join("cache"), limit).unwrap()
    }

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
    fn a_cache_that_somebody_else_could_exchange_is_refused_and_nothing_is_made_there() {
        let place = tempfile::tempdir().unwrap();
        let above = place.path().canonicalize().unwrap().join("of-all");
        fs::create_dir(&above).unwrap();
        let set_mode = |mode| fs::set_permissions(&above, fs::Permissions::from_mode(mode)).unwrap();
        let refused = |path: &Path| match DownloadCache::open(path, 10) {
            Err(CacheError::InForeignPlace { strange, .. }) => strange.path,
            other => panic!("{other:?}"),
        };
        set_mode(0o777);
        for name in ["cache", "more/cache"] {
            assert_eq!(Path::new(&refused(&above.join(name))), above, "{name}");
        }
        assert_eq!(fs::read_dir(&above).unwrap().count(), 0);
        set_mode(0o1777);
        DownloadCache::open(&above.join("cache"), 10).unwrap();
        set_mode(0o777);
        assert_eq!(Path::new(&refused(&above.join("cache"))), above, "one that is there");
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
    fn interrupted_downloads_count_and_go_unless_a_command_continues_them() {
        let place = tempfile::tempdir().unwrap();
        let cache = cache(&place, 40);
        let begin = |bytes: &[u8]| {
            let digest = sha256_text(&sha256(bytes));
            let mut partial = cache.partial(&digest, &mut |_| panic!("nobody is there")).unwrap().unwrap();
            partial.note_origin(&PartialOrigin { size: 20, ..PartialOrigin::default() }).unwrap();
            partial.append(vec![b'x'; 15]).unwrap();
            partial
        };
        let left = || fs::read_dir(cache.path().join("partial")).unwrap().count();
        drop(begin(b"first"));
        let second = begin(b"second");
        cache.make_room(10).unwrap();
        assert_eq!(left(), 4, "all fit");
        cache.make_room(40).unwrap();
        assert_eq!(left(), 2, "the second one is in use");
        drop(second);
        cache.make_room(30).unwrap();
        assert_eq!(left(), 0);
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
