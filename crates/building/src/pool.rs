//! Results under their keys: `<aa>/<key>/`, where `aa` are the first digits of the key.
//!
//! A result enters by one rename, when all of it is on the disk; nothing of it changes afterwards. What is found is believed only
//! if it says of itself that it is the result of this key, and its files have the sizes that it names.

use std::path::{Path, PathBuf};

use patchadm_bulk::result::{BuildResult, Key, KeyInputs};
use patchadm_rootfs::{Dir, FileType, RootError};

use crate::work::{PROGRAM, host_directory, made};

/// The file that says what a result is.
pub(crate) const RESULT: &str = "result.json";

/// The log of a build, compressed.
pub(crate) const LOG: &str = "log.gz";

/// The largest description of a result, in bytes.
const LARGEST_RESULT: u64 = 16 << 20;

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
            Ok(result) => FoundResult::Result(Box::new(PoolEntry { path, result })),
            Err(reason) => FoundResult::Damaged(format!("{}: {reason}", path.display())),
        })
    }

    /// Sets something aside that cannot be believed.
    pub fn set_aside(&self, key: &Key) -> Result<(), RootError> {
        let Some(above) = self.above(key, false)? else { return Ok(()) };
        let name = key.to_string();
        for number in 1_u32.. {
            let bad = format!("bad-{name}.{number}");
            if self.dir.look(bad.as_bytes())?.is_none() {
                return above.move_to(name.as_bytes(), &self.dir, bad.as_bytes());
            }
        }
        Ok(())
    }

    /// Makes a directory for a result that is to enter; returns its name and the directory.
    pub fn begin(&self) -> Result<(Vec<u8>, Dir), RootError> {
        self.dir.make_private(PROGRAM)
    }

    /// Returns the path of such a directory.
    pub fn path_of(&self, name: &[u8]) -> PathBuf {
        crate::work::host_path(&self.path, name)
    }

    /// Lets a result enter, durably. Returns whether it did: a result that was there before stays.
    pub fn enter(&self, (name, dir): (&[u8], &Dir), key: &Key) -> Result<bool, RootError> {
        dir.set_own_mode(patchadm_svr4::package::Mode::of(0o755))?;
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
        dir.sync()?;
        let Some(above) = self.above(key, true)? else { return Ok(false) };
        let entered = self.dir.move_to(name, &above, key.to_string().as_bytes());
        match entered {
            Ok(()) => {
                above.sync()?;
                self.dir.sync()?;
                Ok(true)
            }
            Err(_) if above.look(key.to_string().as_bytes())?.is_some() => {
                self.dir.remove_tree(name)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
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

/// Reads the description of a result, and compares it with its key and the sizes of its files.
fn read(dir: &Dir, key: &Key) -> Result<Result<BuildResult, String>, RootError> {
    let Some(bytes) = dir.read_regular(RESULT.as_bytes(), LARGEST_RESULT)? else {
        return Ok(Err(format!("it has no {RESULT}")));
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
    Ok(Ok(result))
}
