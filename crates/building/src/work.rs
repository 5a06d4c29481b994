//! The working directory of a bulk build: layout and ownership.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use patchadm_bulk_values::conf::{Configuration, ConfigurationError};
use patchadm_rootfs::{
    Dir, FileType, ForeignObject, Lock, LockError, LockHolder, ObjectStatus, RootError, look_along, random,
    strange_along,
};
use patchadm_svr4::package::{Mode, ObjectPath};
use rustix::io::Errno;

use crate::ids::free_range;

pub const CONFIGURATION: &str = "bulk.conf";

/// Lock of commands that change something.
const LOCK: &[u8] = b"lock";

const IDENTITY: &[u8] = b"id";

pub(crate) const RUNS: &str = "runs";

pub(crate) const SCAN: &str = "scan";

pub(crate) const PROGRAM: &str = "bulk";

const LARGEST_CONFIGURATION: u64 = 1 << 20;

const DIRECTORIES: [&str; 6] = ["distfiles", "pool", RUNS, SCAN, "sets", "build"];

/// Entries for the owner only: all but distfiles and results, which digests verify.
const OWN_NAMES: [&str; 11] =
    [CONFIGURATION, "id", "lock", "history", "verified", RUNS, SCAN, "sets", "patches", "build", "uploads"];

/// Trusted entries of the build directory. Layers below belong to the ids of sandboxes.
const NAMES_OF_BUILD_DIR: [&str; 7] =
    ["tasks", "installed", "layers", "bases", "base.copy", "base.facts", "failed"];

#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    #[error("{} is not a directory of a bulk build: {reason}", path.display())]
    Missing { path: PathBuf, reason: String },
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    #[error(transparent)]
    NotOurs(#[from] ForeignFile),
    #[error("{}: {error}", path.display())]
    Configuration { path: PathBuf, error: ConfigurationError },
    #[error("{0}")]
    Nested(String),
    #[error("{} is damaged: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Root(#[from] RootError),
}

#[derive(Debug)]
pub struct BulkWork {
    /// Without symbolic links.
    pub path: PathBuf,
    pub dir: Dir,
    pub conf: Configuration,
    /// As read.
    pub conf_text: Vec<u8>,
    pub id: String,
}

impl BulkWork {
    pub fn open(path: &Path) -> Result<Self, WorkError> {
        let missing = |reason: String| WorkError::Missing { path: path.to_owned(), reason };
        let physical = path.canonicalize().map_err(|error| missing(error.to_string()))?;
        let dir = Dir::of_host(&physical)?;
        must_be_ours_at(path)?;
        must_be_ours_in(path, &dir, &OWN_NAMES)?;
        let conf_text = dir.read_regular(CONFIGURATION.as_bytes(), LARGEST_CONFIGURATION)?;
        let conf_text = conf_text.ok_or_else(|| missing(format!("it has no {CONFIGURATION}")))?;
        let conf = Configuration::parse(&conf_text, &physical).map_err(|error| {
            let path = path.join(CONFIGURATION);
            WorkError::Configuration { path, error }
        })?;
        let resolve = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(nested) = conf.find_nested(&physical, resolve) {
            return Err(WorkError::Nested(nested.to_string()));
        }
        match Dir::of_host(&conf.build_dir) {
            Ok(build_dir) => {
                must_be_ours_at(&conf.build_dir)?;
                must_be_ours_in(&conf.build_dir, &build_dir, &NAMES_OF_BUILD_DIR)?;
            }
            Err(error) if error.is_not_found() => must_be_ours_above(&conf.build_dir)?,
            Err(error) => return Err(error.into()),
        }
        let id = dir.read_regular(IDENTITY, 64)?.unwrap_or_default();
        let id = String::from_utf8_lossy(&id).trim_end().to_owned();
        if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let reason = "it has no 16 hexadecimal digits".to_owned();
            return Err(WorkError::Damaged { path: path.join("id"), reason });
        }
        Ok(Self { path: physical, dir, conf, conf_text, id })
    }

    /// Locks out all other commands that change something.
    pub fn lock(&self, wait: impl FnMut(&LockHolder) -> bool) -> Result<Lock, WorkError> {
        Ok(Lock::take_file(&self.dir, LOCK, PROGRAM, wait)?)
    }

    pub fn is_locked(&self) -> Result<bool, WorkError> {
        Ok(Lock::is_file_held(&self.dir, LOCK)?)
    }

    /// Makes and checks the directory of tasks: from then on nobody else can change or replace it.
    pub(crate) fn make_build_dir(&self) -> Result<(), WorkError> {
        make_build_dir(&self.conf.build_dir)
    }

    /// Opens a directory, or makes a missing one.
    pub fn directory(&self, path: &str) -> Result<Dir, RootError> {
        path.split('/').try_fold(self.dir.again()?, |dir, name| made(&dir, name.as_bytes()))
    }
}

#[derive(Clone, Debug)]
pub struct NewWork<'a> {
    /// Absent or empty.
    pub path: &'a Path,
    pub tree: &'a str,
    /// A directory with a whole system, instead of the host.
    pub base: Option<&'a str>,
    /// Executables of a driver to copy, by name; empty if the tree has its own.
    pub driver: &'a [(&'static str, &'static str)],
}

pub fn make_work(new: &NewWork<'_>) -> Result<BulkWork, WorkError> {
    let parent = new.path.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let missing = |reason: String| WorkError::Missing { path: new.path.to_owned(), reason };
    let above = Dir::of_host(parent)?;
    let name = new.path.file_name().ok_or_else(|| missing("it has no name".to_owned()))?.as_bytes();
    let dir = made(&above, name)?;
    if !dir.names()?.is_empty() {
        return Err(WorkError::NotEmpty(new.path.to_owned()));
    }
    let physical = new.path.canonicalize().map_err(|error| missing(error.to_string()))?;
    let ids = if rustix::process::geteuid().is_root() { free_range(random()?) } else { None };
    let text = Configuration::fresh_text(&physical, new.tree, new.base, ids);
    let text = text.map_err(|error| {
        let path = new.path.join(CONFIGURATION);
        WorkError::Configuration { path, error }
    })?;
    for name in DIRECTORIES {
        dir.make_dir(name.as_bytes(), Mode::of(0o755))?;
    }
    if !new.driver.is_empty() {
        let driver = dir.make_dir(b"driver", Mode::of(0o755))?;
        for (name, text) in new.driver {
            put(&driver, name, text, 0o755)?;
        }
        driver.sync()?;
    }
    put(&dir, "id", &format!("{:016x}\n", random()?), 0o644)?;
    put(&dir, CONFIGURATION, &text, 0o644)?;
    dir.sync()?;
    above.sync()?;
    BulkWork::open(new.path)
}

fn put(dir: &Dir, name: &str, text: &str, mode: u32) -> Result<(), RootError> {
    let mut file = dir.create(name.as_bytes())?;
    file.put(text.as_bytes())?;
    file.set_mode(Mode::of(mode))?;
    file.sync()
}

pub(crate) fn made(dir: &Dir, name: &[u8]) -> Result<Dir, RootError> {
    match dir.look(name)? {
        Some(_) => dir.dir(name),
        None => match dir.make_dir(name, Mode::of(0o755)) {
            // Another task or thread has made it.
            Err(_) if dir.look(name)?.is_some() => dir.dir(name),
            made => made,
        },
    }
}

/// Like `made`, but only the owner may enter it.
pub(crate) fn made_private(dir: &Dir, name: &[u8]) -> Result<Dir, RootError> {
    let private = made(dir, name)?;
    if private.itself()?.mode.bits() & 0o077 != 0 {
        private.set_own_mode(Mode::of(0o700))?;
    }
    Ok(private)
}

pub(crate) fn numbered_directories(dir: &Dir) -> Result<Vec<u64>, RootError> {
    let mut numbers = Vec::new();
    for name in dir.names()? {
        let number = std::str::from_utf8(&name).ok().and_then(|name| name.parse::<u64>().ok());
        let Some(number) = number.filter(|number| number.to_string().as_bytes() == name) else { continue };
        if dir.look(&name)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Opens a directory of the host, or makes its last component.
pub(crate) fn host_directory(path: &Path) -> Result<Dir, RootError> {
    let above = Dir::of_host(path.parent().unwrap_or(Path::new("/")))?;
    made(&above, path.file_name().unwrap_or_default().as_bytes())
}

fn make_build_dir(path: &Path) -> Result<(), WorkError> {
    let is_missing = match Dir::of_host(path) {
        Err(error) if error.is_not_found() => true,
        opened => opened.map(|_| false)?,
    };
    if is_missing {
        must_be_ours_above(path)?;
    }
    // Another process may have been faster.
    let dir = host_directory(path)?;
    must_be_ours_open(path, &dir)?;
    Ok(must_be_ours_in(path, &dir, &NAMES_OF_BUILD_DIR)?)
}

/// Opens or makes the directory of tasks; refuses another user's.
pub(crate) fn build_directory(path: &Path) -> Result<Dir, RootError> {
    let dir = host_directory(path)?;
    must_be_own(path, &dir)?;
    Ok(dir)
}

/// Like `build_directory`, but makes nothing; `None` if missing.
pub(crate) fn existing_build_directory(path: &Path) -> Result<Option<Dir>, RootError> {
    let dir = match unlinked_directory(path) {
        Err(error) if error.is_not_found() => return Ok(None),
        opened => opened?,
    };
    must_be_own(path, &dir)?;
    Ok(Some(dir))
}

fn must_be_own(path: &Path, dir: &Dir) -> Result<(), RootError> {
    must_be_ours(path, &dir.itself()?).map_err(|_| RootError::Call {
        action: "trust",
        path: path.display().to_string(),
        errno: Errno::PERM,
    })
}

/// Opens a directory of the host, but not through a symbolic link.
pub(crate) fn unlinked_directory(path: &Path) -> Result<Dir, RootError> {
    let above = Dir::of_host(path.parent().unwrap_or(Path::new("/")))?;
    let dir = above.dir(path.file_name().unwrap_or_default().as_bytes())?;
    dir.into_root().dir(&ObjectPath::root())
}

pub(crate) fn host_path(above: &Path, name: &[u8]) -> PathBuf {
    above.join(OsStr::from_bytes(name))
}

/// Removes leftovers of interrupted commands. The caller holds the directory's lock. Locked files in its pool stay.
pub(crate) fn remove_remains(work: &BulkWork) -> Result<(), RootError> {
    work.dir.remove_leftovers(PROGRAM)?;
    work.directory(SCAN)?.remove_leftovers(PROGRAM)?;
    let runs = work.directory(RUNS)?;
    if let Some(last) = numbered_directories(&runs)?.last() {
        runs.dir(last.to_string().as_bytes())?.remove_leftovers(PROGRAM)?;
    }
    host_directory(&work.conf.pool)?.remove_leftovers(PROGRAM)
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignFile {
    #[error("{} belongs to {owner}, who is neither you nor root: files that others can change are not trusted", path.display())]
    Owner { path: PathBuf, owner: String },
    #[error("{} belongs to {owner}, and others may write to it (mode {mode:04o}): files that others can change are not trusted", path.display())]
    Mode { path: PathBuf, owner: String, mode: u32 },
    #[error("{}: {above}, so others could replace it: files that others can change are not trusted", path.display())]
    Above { path: PathBuf, above: ForeignObject },
    #[error("{}: {reason}", path.display())]
    Unknown { path: PathBuf, reason: String },
}

/// Checks that only the caller and root can change or replace a file or directory. Follows links.
pub(crate) fn must_be_ours_at(path: &Path) -> Result<(), ForeignFile> {
    let unknown = |reason: String| ForeignFile::Unknown { path: path.to_owned(), reason };
    match look_along(path).map_err(|error| unknown(error.to_string()))? {
        (Some(above), _) => Err(ForeignFile::Above { path: path.to_owned(), above }),
        (None, seen) => must_be_ours(path, &seen),
    }
}

/// Checks the same for an open directory, and that its path leads to it.
fn must_be_ours_open(path: &Path, dir: &Dir) -> Result<(), ForeignFile> {
    let unknown = |reason: String| ForeignFile::Unknown { path: path.to_owned(), reason };
    let (above, seen) = look_along(path).map_err(|error| unknown(error.to_string()))?;
    if let Some(above) = above {
        return Err(ForeignFile::Above { path: path.to_owned(), above });
    }
    let opened = dir.itself().map_err(|error| unknown(error.to_string()))?;
    if (seen.inode, seen.file_system) != (opened.inode, opened.file_system) {
        return Err(unknown("it was replaced while it was opened".to_owned()));
    }
    must_be_ours(path, &opened)
}

/// Checks that only the caller and root can replace a future file; starts at the nearest existing directory above.
fn must_be_ours_above(path: &Path) -> Result<(), ForeignFile> {
    for above in path.ancestors().skip(1) {
        match strange_along(above) {
            Ok(None) => return Ok(()),
            Ok(Some(above)) => return Err(ForeignFile::Above { path: path.to_owned(), above }),
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                return Err(ForeignFile::Unknown { path: path.to_owned(), reason: error.to_string() });
            }
        }
    }
    Ok(())
}

/// Checks names in a checked directory, if they exist.
fn must_be_ours_in(path: &Path, dir: &Dir, names: &[&str]) -> Result<(), ForeignFile> {
    for name in names {
        let unknown = |reason: String| ForeignFile::Unknown { path: path.join(name), reason };
        match dir.look(name.as_bytes()).map_err(|error| unknown(error.to_string()))? {
            None => {}
            Some(seen) if seen.file_type == FileType::Symlink => must_be_ours_at(&path.join(name))?,
            Some(seen) => must_be_ours(&path.join(name), &seen)?,
        }
    }
    Ok(())
}

pub(crate) fn must_be_ours(path: &Path, seen: &ObjectStatus) -> Result<(), ForeignFile> {
    let is_ours = seen.uid == 0 || seen.uid == rustix::process::geteuid().as_raw();
    let mode = seen.mode.bits();
    if is_ours && mode & 0o022 == 0 {
        return Ok(());
    }
    let user = nix::unistd::User::from_uid(seen.uid.into()).ok().flatten();
    let owner = user.map_or_else(|| seen.uid.to_string(), |user| user.name);
    let path = path.to_owned();
    Err(if is_ours { ForeignFile::Mode { path, owner, mode } } else { ForeignFile::Owner { path, owner } })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};

    use super::*;

    #[test]
    fn a_missing_build_directory_is_made_only_where_nobody_else_can_replace_it() {
        let dir = tempfile::tempdir().unwrap();
        let above = dir.path().join("above");
        let build_dir = above.join("build");
        fs::create_dir(&above).unwrap();
        let set_mode = |mode| fs::set_permissions(&above, fs::Permissions::from_mode(mode)).unwrap();
        let is_refused = || matches!(make_build_dir(&build_dir), Err(WorkError::NotOurs(_)));
        set_mode(0o777);
        assert!(is_refused() && !build_dir.exists());
        let below = must_be_ours_above(&build_dir.join("not/there"));
        assert!(matches!(below, Err(ForeignFile::Above { .. })), "{below:?}");
        set_mode(0o1777);
        make_build_dir(&build_dir).unwrap();
        assert_eq!(fs::metadata(&build_dir).unwrap().mode() & 0o7777, 0o755);
        make_build_dir(&build_dir).unwrap();
        fs::set_permissions(&build_dir, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(is_refused() && build_directory(&build_dir).is_err(), "others may write to it");
        fs::remove_dir(&build_dir).unwrap();
        if rustix::process::geteuid().is_root() {
            fs::create_dir(&build_dir).unwrap();
            chown(&build_dir, Some(1234), None).unwrap();
            assert!(is_refused() && existing_build_directory(&build_dir).is_err());
            fs::remove_dir(&build_dir).unwrap();
            chown(&above, Some(1234), None).unwrap();
            set_mode(0o755);
            assert!(is_refused() && !build_dir.exists());
        }
    }

    #[test]
    fn a_link_is_no_build_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (build_dir, victim) = (dir.path().join("build"), dir.path().join("victim"));
        assert!(existing_build_directory(&build_dir).unwrap().is_none() && !build_dir.exists());
        fs::create_dir(&victim).unwrap();
        symlink(&victim, &build_dir).unwrap();
        assert!(make_build_dir(&build_dir).is_err() && build_directory(&build_dir).is_err());
        assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
    }
}
