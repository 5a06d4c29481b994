//! Results under their keys: `<aa>/<key>/`, where `aa` are the first digits of the key.
//!
//! A result enters by one rename; nothing of it changes afterwards. What is found is believed only if it says of itself that it
//! is the result of this key, and its files have the sizes that it names.
//!
//! Either all of a result is on the disk when it enters, or it has the file `.unflushed` until that is so: after a power cut,
//! such a result may be there in part. It is believed if its bytes have the digests that it names. Whoever uses it sees to it
//! that it reaches the disk, many results at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use patchadm_bulk_values::result::{BuildResult, Digest, Key, KeyInputs, LONGEST_RESULT};
use patchadm_rootfs::{Dir, FileType, RootError};

use crate::file_copy::digest_of_file;
use crate::work::{PROGRAM, host_directory, made};

/// The file that says what a result is.
pub(crate) const RESULT: &str = "result.json";

/// The log of a build, compressed.
pub(crate) const LOG: &str = "log.gz";

/// The file of a result that need not be on the disk yet, with the digest of its log.
pub(crate) const UNFLUSHED: &str = ".unflushed";

/// The most results that are written to the disk one by one. To write more of them, the whole file system is written, which takes
/// one wait for all; for few, it would be a wait for what builds are writing.
const MOST_ONE_BY_ONE: usize = 4;

/// The largest description of a result, in bytes.
const LARGEST_RESULT: u64 = LONGEST_RESULT as u64;

/// The directory of all results, each below its key.
#[derive(Debug)]
pub struct Pool {
    path: PathBuf,
    dir: Dir,
}

/// A result in the pool.
#[derive(Clone, Debug)]
pub struct PoolEntry {
    /// Its directory.
    pub path: PathBuf,
    /// What is known of it.
    pub result: BuildResult,
    /// Whether it need not be on the disk yet.
    pub is_unflushed: bool,
}

/// When a result reaches the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Before it enters the pool.
    Now,
    /// Soon, by [`Pool::flush`].
    Later,
}

impl PoolEntry {
    /// Returns it without the inputs of its key, which are the most of it: a run keeps the entries of all packages.
    #[must_use]
    pub(crate) fn without_inputs(mut self) -> Self {
        self.result.inputs = KeyInputs::default();
        self
    }
}

/// What is found under a key.
#[derive(Clone, Debug)]
pub enum FoundResult {
    /// Nothing.
    Nothing,
    /// A result.
    Result(Box<PoolEntry>),
    /// Something that cannot be believed, with the reason.
    Damaged(String),
}

impl Pool {
    /// Opens a pool; makes its directory if it is missing.
    pub fn open(path: &Path) -> Result<Self, RootError> {
        Ok(Self { path: path.to_owned(), dir: host_directory(path)? })
    }

    /// Opens it once more, for another thread.
    pub(crate) fn again(&self) -> Result<Self, RootError> {
        Ok(Self { path: self.path.clone(), dir: self.dir.again()? })
    }

    /// Looks for the result of a key.
    pub fn find(&self, key: &Key) -> Result<FoundResult, RootError> {
        let Some(above) = self.above(key, false)? else { return Ok(FoundResult::Nothing) };
        let name = key.to_string();
        let path = self.path.join(key.prefix()).join(&name);
        match above.look(name.as_bytes())?.map(|seen| seen.file_type) {
            None => return Ok(FoundResult::Nothing),
            Some(FileType::Directory) => {}
            Some(_) => return Ok(FoundResult::Damaged(format!("{}: it is no directory", path.display()))),
        }
        Ok(match read(&above.dir(name.as_bytes())?, key)? {
            Ok((result, is_unflushed)) => {
                FoundResult::Result(Box::new(PoolEntry { path, result, is_unflushed }))
            }
            Err(reason) => FoundResult::Damaged(format!("{}: {reason}", path.display())),
        })
    }

    /// Sets something aside that cannot be believed; returns whether it did. What had not reached the disk is removed.
    pub fn set_aside(&self, key: &Key) -> Result<bool, RootError> {
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

    /// Makes a directory for a result that is to enter; returns its name and the directory.
    pub fn begin(&self) -> Result<(Vec<u8>, Dir), RootError> {
        self.dir.make_private(PROGRAM)
    }

    /// Returns the path of such a directory.
    pub fn path_of(&self, name: &[u8]) -> PathBuf {
        crate::work::host_path(&self.path, name)
    }

    /// Lets a result enter. Returns whether it did: a result that was there before stays.
    pub fn enter(&self, (name, dir): (&[u8], &Dir), key: &Key, flush: Flush) -> Result<bool, RootError> {
        dir.set_own_mode(patchadm_svr4::package::Mode::of(0o755))?;
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

    /// Makes results durable that have entered without that. One that is gone meanwhile is left out.
    pub fn flush(&self, keys: &[Key]) -> Result<(), RootError> {
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

    /// Removes a directory of a result that does not enter.
    pub fn give_up(&self, name: &[u8]) -> Result<(), RootError> {
        self.dir.remove_tree(name)
    }

    /// Puts a new description into the place of that of a result.
    pub fn describe_anew(&self, result: &BuildResult, bytes: &[u8]) -> Result<(), RootError> {
        let Some(above) = self.above(&result.key, false)? else { return Ok(()) };
        let dir = above.dir(result.key.to_string().as_bytes())?;
        dir.remove_leftovers(PROGRAM)?;
        dir.replace_file(PROGRAM, RESULT.as_bytes(), bytes, patchadm_svr4::package::Mode::of(0o644))
    }

    fn above(&self, key: &Key, is_made: bool) -> Result<Option<Dir>, RootError> {
        let prefix = key.prefix();
        match self.dir.look(prefix.as_bytes())?.map(|seen| seen.file_type) {
            Some(FileType::Directory) => Ok(Some(self.dir.dir(prefix.as_bytes())?)),
            _ if is_made => Ok(Some(made(&self.dir, prefix.as_bytes())?)),
            _ => Ok(None),
        }
    }
}

/// Writes the files of a directory to the disk, and their names.
fn flush_files(dir: &Dir) -> Result<(), RootError> {
    let mut files = Vec::new();
    for name in dir.names()? {
        files.extend(dir.open_writable(&name)?);
    }
    // All are on their way before one is waited for: then the file system writes its own journal once for all.
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

/// Returns the digest of a file; `None` if there is none.
fn digest_of(dir: &Dir, name: &str) -> Result<Option<Digest>, RootError> {
    if dir.look(name.as_bytes())?.is_none() {
        return Ok(None);
    }
    let file = dir.open_regular(name.as_bytes())?;
    digest_of_file(&file, |error| dir.read_error(name.as_bytes(), error)).map(Some)
}

/// Tells whether the log of a result that need not be on the disk yet is whole.
pub(crate) fn has_whole_log(dir: &Dir) -> Result<bool, RootError> {
    let noted = dir.read_regular(UNFLUSHED.as_bytes(), 256)?.unwrap_or_default();
    Ok(digest_of(dir, LOG)?.is_some_and(|digest| digest.to_string().as_bytes() == noted))
}

/// Reads the description of a result, and compares it with its key and the sizes of its files. Tells whether it need not be on
/// the disk yet.
fn read(dir: &Dir, key: &Key) -> Result<Result<(BuildResult, bool), String>, RootError> {
    let is_unflushed = dir.look(UNFLUSHED.as_bytes())?.is_some();
    let bytes = match dir.read_regular(RESULT.as_bytes(), LARGEST_RESULT) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err(format!("it has no {RESULT}"))),
        Err(error @ RootError::TooLarge { .. }) => return Ok(Err(error.to_string())),
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
            return Ok(Err(format!("{name} is not there, or has another size")));
        }
    }
    Ok(Ok((result, is_unflushed)))
}
