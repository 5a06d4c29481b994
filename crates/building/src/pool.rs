//! The pool of results: `<aa>/<key>/`, with `aa` the first digits of the key. A result enters by one rename and never
//! changes.
//!
//! A result with the file `.unflushed` may be incomplete after a power cut: its bytes are checked before use. Working
//! directories may share a pool: runs share its `lock`, prune takes it exclusively, and `users/<id>` lists them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use patchadm_bulk_values::result::{
    Blake3Digest, BuildResult, KeyInputs, LONGEST_RESULT, ResultKey, VerifiedFile, VerifiedFiles,
};
use patchadm_rootfs::{Dir, FileType, Lock, LockError, LockHolder, RootError};
use patchadm_svr4::package::Mode;

use crate::runs::read_bounded;
use crate::space::must_have_room;
use crate::tree_copy::digest_of_file;
use crate::work::{BulkWork, PROGRAM, host_directory, made};

pub(crate) const RESULT: &str = "result.json";

pub(crate) const LOG: &str = "log.gz";

/// Marks a result that may not be durable yet. Contains the digest of its log.
pub(crate) const UNFLUSHED: &str = ".unflushed";

/// More results are flushed with one syncfs(2); for a few this would wait for unrelated writes of builds.
const MOST_ONE_BY_ONE: usize = 4;

const LARGEST_RESULT: u64 = LONGEST_RESULT as u64;

#[derive(Debug)]
pub struct Pool {
    path: PathBuf,
    dir: Dir,
}

#[derive(Clone, Debug)]
pub struct PoolEntry {
    pub path: PathBuf,
    pub result: BuildResult,
    /// True if not known to be durable.
    pub is_unflushed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    Now,
    /// Soon, by [`Pool::flush`].
    Later,
}

impl PoolEntry {
    /// Drops the key inputs, the largest part: a run keeps the entries of all packages.
    #[must_use]
    pub(crate) fn without_inputs(mut self) -> Self {
        self.result.inputs = KeyInputs::default();
        self
    }
}

#[derive(Clone, Debug)]
pub enum FoundResult {
    Nothing,
    Result(Box<PoolEntry>),
    /// The reason why an entry is damaged.
    Damaged(String),
}

impl FoundResult {
    pub fn into_entry(self) -> Option<PoolEntry> {
        match self {
            Self::Result(entry) => Some(*entry),
            Self::Nothing | Self::Damaged(_) => None,
        }
    }
}

impl Pool {
    pub fn open(path: &Path) -> Result<Self, RootError> {
        Ok(Self { path: path.to_owned(), dir: host_directory(path)? })
    }

    pub(crate) fn again(&self) -> Result<Self, RootError> {
        Ok(Self { path: self.path.clone(), dir: self.dir.again()? })
    }

    pub fn find(&self, key: &ResultKey) -> Result<FoundResult, RootError> {
        let Some(above) = self.above(key, false)? else { return Ok(FoundResult::Nothing) };
        let name = key.to_string();
        let path = self.path.join(key.prefix()).join(&name);
        match above.look(name.as_bytes())?.map(|seen| seen.file_type) {
            None => return Ok(FoundResult::Nothing),
            Some(FileType::Directory) => {}
            Some(_) => return Ok(FoundResult::Damaged(format!("{}: it is not a directory", path.display()))),
        }
        Ok(match read(&above.dir(name.as_bytes())?, key)? {
            Ok((result, is_unflushed)) => {
                FoundResult::Result(Box::new(PoolEntry { path, result, is_unflushed }))
            }
            Err(reason) => FoundResult::Damaged(format!("{}: {reason}", path.display())),
        })
    }

    /// Sets a damaged result aside, or removes one that was not durable. Returns true if it was set aside.
    pub fn set_aside(&self, key: &ResultKey) -> Result<bool, RootError> {
        let Some(above) = self.above(key, false)? else { return Ok(false) };
        let name = key.to_string();
        if is_directory(&above, name.as_bytes())?
            && above.dir(name.as_bytes())?.look(UNFLUSHED.as_bytes())?.is_some()
        {
            above.remove_tree(name.as_bytes())?;
            return Ok(false);
        }
        for number in 1_u32.. {
            let bad = format!("bad-{name}.{number}");
            if self.dir.look(bad.as_bytes())?.is_none() {
                above.move_to(name.as_bytes(), &self.dir, bad.as_bytes())?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes a directory for a new result. Returns its name and the directory.
    pub fn begin(&self) -> Result<(Vec<u8>, Dir), RootError> {
        must_have_room(&self.dir, 0)?;
        self.dir.make_private(PROGRAM)
    }

    pub fn path_of(&self, name: &[u8]) -> PathBuf {
        crate::work::host_path(&self.path, name)
    }

    /// Adds a result unless there already is one. Returns true if added.
    pub fn enter(
        &self,
        (name, dir): (&[u8], &Dir),
        key: &ResultKey,
        flush: Flush,
    ) -> Result<bool, RootError> {
        dir.set_own_mode(Mode::of(0o755))?;
        match flush {
            Flush::Now => flush_files(dir)?,
            Flush::Later => {
                let log = digest_of(dir, LOG)?.map(|digest| digest.to_string()).unwrap_or_default();
                dir.create(UNFLUSHED.as_bytes())?.put(log.as_bytes())?;
            }
        }
        let Some(above) = self.above(key, true)? else { return Ok(false) };
        let entered = self.dir.move_to(name, &above, key.to_string().as_bytes());
        match entered {
            Ok(()) => {
                if flush == Flush::Now {
                    above.sync()?;
                    self.dir.sync()?;
                }
                Ok(true)
            }
            Err(_) if above.look(key.to_string().as_bytes())?.is_some() => {
                self.dir.remove_tree(name)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes results durable, except those that are gone.
    pub fn flush(&self, keys: &[ResultKey]) -> Result<(), RootError> {
        let mut unflushed = Vec::new();
        for key in keys {
            let Some(above) = self.above(key, false)? else { continue };
            let name = key.to_string();
            if is_directory(&above, name.as_bytes())? {
                unflushed.push((key.prefix(), above, name));
            }
        }
        if unflushed.len() > MOST_ONE_BY_ONE {
            self.dir.sync_file_system()?;
        } else if !unflushed.is_empty() {
            for (_, above, name) in &unflushed {
                flush_files(&above.dir(name.as_bytes())?)?;
            }
            let shelves: BTreeMap<&str, &Dir> =
                unflushed.iter().map(|(prefix, above, _)| (prefix.as_ref(), above)).collect();
            for above in shelves.values() {
                above.sync()?;
            }
            self.dir.sync()?;
        }
        for (_, above, name) in &unflushed {
            above.dir(name.as_bytes())?.remove(UNFLUSHED.as_bytes())?;
        }
        Ok(())
    }

    pub fn give_up(&self, name: &[u8]) -> Result<(), RootError> {
        self.dir.remove_tree(name)
    }

    /// Replaces the description of a result.
    pub fn describe_anew(&self, result: &BuildResult, bytes: &[u8]) -> Result<(), RootError> {
        let Some(above) = self.above(&result.key, false)? else { return Ok(()) };
        let dir = above.dir(result.key.to_string().as_bytes())?;
        dir.remove_leftovers(PROGRAM)?;
        must_have_room(&dir, bytes.len() as u64)?;
        dir.replace_file(PROGRAM, RESULT.as_bytes(), bytes, Mode::of(0o644))
    }

    fn above(&self, key: &ResultKey, is_made: bool) -> Result<Option<Dir>, RootError> {
        let prefix = key.prefix();
        match self.dir.look(prefix.as_bytes())?.map(|seen| seen.file_type) {
            Some(FileType::Directory) => Ok(Some(self.dir.dir(prefix.as_bytes())?)),
            _ if is_made => Ok(Some(made(&self.dir, prefix.as_bytes())?)),
            _ => Ok(None),
        }
    }
}

fn flush_files(dir: &Dir) -> Result<(), RootError> {
    let mut files = Vec::new();
    for name in dir.names()? {
        files.extend(dir.open_writable(&name)?);
    }
    // Start all writes before waiting for one, so that the file system writes its journal once for all.
    for file in &files {
        file.begin_write_back(0, file.size()?);
    }
    for file in &files {
        file.sync()?;
    }
    dir.sync()
}

fn is_directory(above: &Dir, name: &[u8]) -> Result<bool, RootError> {
    Ok(above.look(name)?.is_some_and(|seen| seen.file_type == FileType::Directory))
}

fn digest_of(dir: &Dir, name: &str) -> Result<Option<Blake3Digest>, RootError> {
    if dir.look(name.as_bytes())?.is_none() {
        return Ok(None);
    }
    let file = dir.open_regular(name.as_bytes())?;
    digest_of_file(&file, |error| dir.read_error(name.as_bytes(), error)).map(Some)
}

/// Checks the log of a non-durable result.
fn has_whole_log(dir: &Dir) -> Result<bool, RootError> {
    let noted = dir.read_regular(UNFLUSHED.as_bytes(), 256)?.unwrap_or_default();
    Ok(digest_of(dir, LOG)?.is_some_and(|digest| digest.to_string().as_bytes() == noted))
}

/// Reads a description and checks key and file sizes. The second value is true for a non-durable result.
fn read(dir: &Dir, key: &ResultKey) -> Result<Result<(BuildResult, bool), String>, RootError> {
    let is_unflushed = dir.look(UNFLUSHED.as_bytes())?.is_some();
    let bytes = match dir.read_regular(RESULT.as_bytes(), LARGEST_RESULT) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err(format!("it has no {RESULT}"))),
        Err(error @ (RootError::TooLarge { .. } | RootError::Hollow(_))) => {
            return Ok(Err(error.to_string()));
        }
        Err(error) => return Err(error),
    };
    let result = match BuildResult::parse(&bytes) {
        Ok(result) => result,
        Err(error) => return Ok(Err(error.to_string())),
    };
    if result.key != *key {
        return Ok(Err("it is the result of another key".to_owned()));
    }
    for (name, size, _) in result.stored_files() {
        let seen = dir.look(name.as_bytes())?;
        if seen.is_none_or(|seen| seen.file_type != FileType::Regular || seen.size != size) {
            return Ok(Err(format!("{name} does not exist, or has another size")));
        }
    }
    Ok(Ok((result, is_unflushed)))
}

const LOCK: &[u8] = b"lock";

const USERS: &[u8] = b"users";

const LONGEST_PATH: u64 = 4096;

/// Registers a working directory as a user of its pool, and takes the shared lock. Fails with [`LockError::Held`] while
/// results are being removed.
pub fn use_pool(work: &BulkWork) -> Result<Lock, LockError> {
    let pool = pool_dir(&work.conf.pool)?;
    let lock = Lock::share_file(&pool, LOCK)?;
    let users = made(&pool, USERS)?;
    let path = work.path.as_os_str().as_bytes();
    let known = users.read_regular(work.id.as_bytes(), LONGEST_PATH)?;
    if known.as_deref() != Some(path) {
        users.replace_file(PROGRAM, work.id.as_bytes(), path, Mode::of(0o644))?;
        users.sync()?;
        pool.sync()?;
    }
    Ok(lock)
}

/// Locks the pool exclusively. `wait` gets the holder and decides whether to try again.
pub(crate) fn take_pool(pool: &Path, wait: impl FnMut(&LockHolder) -> bool) -> Result<Lock, LockError> {
    Lock::take_file(&pool_dir(pool)?, LOCK, PROGRAM, wait)
}

pub(crate) fn pool_users(pool: &Path) -> Result<BTreeMap<String, PathBuf>, RootError> {
    let pool = pool_dir(pool)?;
    if pool.look(USERS)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
        return Ok(BTreeMap::new());
    }
    let users = pool.dir(USERS)?;
    let mut found = BTreeMap::new();
    for name in users.names_that_are(|name| !name.starts_with(b"."))? {
        let path = users.read_regular(&name, LONGEST_PATH)?.unwrap_or_default();
        found.insert(String::from_utf8_lossy(&name).into_owned(), OsStr::from_bytes(&path).into());
    }
    Ok(found)
}

fn pool_dir(pool: &Path) -> Result<Dir, RootError> {
    let above = Dir::of_host(pool.parent().unwrap_or(Path::new("/")))?;
    made(&above, pool.file_name().unwrap_or_default().as_bytes())
}

const VERIFIED: &[u8] = b"verified";

const LARGEST_NOTES: u64 = 1 << 28;

pub(crate) fn read_verified(work: &Dir) -> Result<VerifiedFiles, RootError> {
    // Without notes everything is compared.
    let bytes = read_bounded(work, VERIFIED, LARGEST_NOTES)?.unwrap_or_default().unwrap_or_default();
    Ok(VerifiedFiles::parse(&bytes))
}

pub(crate) fn write_verified(work: &Dir, verified: &VerifiedFiles) -> Result<(), RootError> {
    if !verified.has_changed() {
        return Ok(());
    }
    work.replace_file(PROGRAM, VERIFIED, &verified.to_bytes(), Mode::of(0o644))
}

/// Looks up a result. Reads its files unless a note says that they are unchanged.
pub(crate) fn find_verified(
    pool: &Pool,
    key: &ResultKey,
    verified: &mut VerifiedFiles,
) -> Result<FoundResult, RootError> {
    let entry = match pool.find(key)? {
        FoundResult::Result(entry) => entry,
        other => return Ok(other),
    };
    Ok(match first_wrong(&entry, verified)? {
        Some(name) => {
            let reason = format!("{}: {name} does not match its recorded digest", entry.path.display());
            FoundResult::Damaged(reason)
        }
        None => FoundResult::Result(entry),
    })
}

/// Returns the first file with wrong contents. Always reads a non-durable result: a note may be older than a power cut.
fn first_wrong(entry: &PoolEntry, verified: &mut VerifiedFiles) -> Result<Option<String>, RootError> {
    let dir = Dir::of_host(&entry.path)?;
    if entry.is_unflushed && !has_whole_log(&dir)? {
        return Ok(Some(LOG.to_owned()));
    }
    for (name, _, digest) in entry.result.stored_files() {
        let file = dir.open_regular(name.as_bytes())?;
        let failed = |error: &std::io::Error| dir.read_error(name.as_bytes(), error);
        let seen = file.metadata().map_err(|error| failed(&error))?;
        let ctime = seen.ctime().saturating_mul(1_000_000_000).saturating_add(seen.ctime_nsec());
        let state = VerifiedFile { inode: seen.ino(), size: seen.size(), ctime, digest };
        let noted = path_of(&entry.result.key, name);
        if !entry.is_unflushed && verified.has(&noted, &state) {
            continue;
        }
        if digest_of_file(&file, failed)? != digest {
            return Ok(Some(name.to_owned()));
        }
        verified.note(noted, state);
    }
    Ok(None)
}

fn path_of(key: &ResultKey, name: &str) -> String {
    format!("{}/{key}/{name}", key.prefix())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::{NewWork, make_work};

    #[test]
    fn runs_use_a_pool_together_and_who_removes_results_has_it_alone() {
        let dir = tempfile::tempdir().unwrap();
        let new = |name: &str| {
            let path = dir.path().join(name);
            make_work(&NewWork { path: &path, tree: "/nowhere", base: None, driver: &[] }).unwrap()
        };
        let (mut one, mut other) = (new("one"), new("other"));
        one.conf.pool = dir.path().join("pool");
        other.conf.pool.clone_from(&one.conf.pool);
        let first = use_pool(&one).unwrap();
        let second = use_pool(&other).unwrap();
        let users = pool_users(&one.conf.pool).unwrap();
        assert_eq!(users.get(&one.id), Some(&one.path));
        assert_eq!(users.get(&other.id), Some(&other.path));
        drop(first);
        assert!(matches!(take_pool(&one.conf.pool, |_| false), Err(LockError::Held { .. })));
        drop(second);
        let alone = take_pool(&one.conf.pool, |_| false).unwrap();
        assert!(matches!(use_pool(&one), Err(LockError::Held { .. })));
        drop(alone);
        use_pool(&one).unwrap();
    }
}
