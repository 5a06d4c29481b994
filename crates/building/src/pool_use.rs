//! The pool in use: it may be shared by several working directories, and nothing of it goes while one of them uses it.
//!
//! `lock` is shared by all runs and taken alone by who removes results. `users/<id>` has the path of each working directory, so
//! that who removes results knows whose they are.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use patchadm_rootfs::{Dir, FileType, Lock, LockError, LockHolder, RootError};
use patchadm_svr4::package::Mode;

use crate::work::{PROGRAM, Work, made};

/// The file whose lock tells that the pool is used.
const LOCK: &[u8] = b"lock";

/// The directory with the paths of its users.
const USERS: &[u8] = b"users";

/// The longest path of a user, in bytes.
const LONGEST_PATH: u64 = 4096;

/// Enters a working directory as a user of its pool, and holds the pool together with other runs until the lock is dropped.
/// While results are being removed, it is [`LockError::Held`].
pub fn use_pool(work: &Work) -> Result<Lock, LockError> {
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

/// Takes the pool alone: no run uses it. `wait` is called with the holder while one does, and decides whether to try again.
pub(crate) fn take_pool(pool: &Path, wait: impl FnMut(&LockHolder) -> bool) -> Result<Lock, LockError> {
    Lock::take_file(&pool_dir(pool)?, LOCK, PROGRAM, wait)
}

/// Returns the working directories that use a pool, by their identities.
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
