//! Runs one operation on many roots, some at a time. Each is a transaction of its own, and nothing is undone on one
//! because another failed. Duplicates are found first under any spelling. Roots are opened one by one, to save files
//! and memory.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::os::unix::ffi::OsStrExt as _;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use patchadm_rootfs::{FileType, Root, RootError};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;
use rustix::io::Errno;

/// All are different directories.
#[derive(Clone, Debug)]
pub struct RootList(Vec<RootTarget>);

#[derive(Clone, Debug)]
struct RootTarget {
    /// As it was given.
    path: PathBuf,
    /// The prefix of the root.
    shown: PathBuf,
    found: Option<DirectoryIdentity>,
}

type DirectoryIdentity = ((u32, u32), u64);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} and {} are the same directory", .first.display(), .second.display())]
pub struct SameRoot {
    pub first: PathBuf,
    pub second: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum UnansweredRoot {
    #[error(transparent)]
    Root(#[from] RootError),
    /// Its path leads elsewhere than at the beginning.
    #[error("{0} is not the directory that it was when the command began")]
    Replaced(String),
    #[error("not begun")]
    NotBegun,
    /// A panic, whose message has been printed. The next command recovers the root.
    #[error("internal error: please report it; run `patchadm recover` on this root")]
    Defect,
}

impl RootList {
    /// A missing directory fails later, alone.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, SameRoot> {
        let (mut targets, mut seen) = (Vec::new(), HashMap::<DirectoryIdentity, PathBuf>::new());
        for path in paths {
            let opened = Root::open_as_named(&path);
            let shown = opened.as_ref().map_or(path.as_path(), Root::prefix).to_owned();
            let found = opened.and_then(|root| directory(&root)).ok();
            if let Some(found) = found
                && let Some(first) = seen.insert(found, path.clone())
            {
                return Err(SameRoot { first, second: path });
            }
            targets.push(RootTarget { path, shown, found });
        }
        Ok(Self(targets))
    }

    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|target| target.shown.as_path())
    }

    #[must_use]
    pub fn at(&self, places: &[usize]) -> Self {
        Self(places.iter().filter_map(|place| self.0.get(*place).cloned()).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls `work` for every root, at most `jobs` at a time. The calling thread passes each answer to `ended`, with
    /// the root's index. If `stops` returns true, no other root is begun; `work` itself must end the active ones.
    pub fn each<T: Send>(
        &self,
        jobs: NonZeroUsize,
        stops: &(dyn Fn() -> bool + Sync),
        work: &(dyn Fn(&Root) -> T + Sync),
        mut ended: impl FnMut(usize, Result<T, UnansweredRoot>),
    ) {
        let next = AtomicUsize::new(0);
        let take = || {
            let place = next.fetch_add(1, Ordering::Relaxed);
            self.0.get(place).map(|target| (place, target))
        };
        let (tell, told) = mpsc::sync_channel(1);
        thread::scope(|scope| {
            for _ in 0..jobs.get().min(self.len()) {
                let tell = tell.clone();
                scope.spawn(move || {
                    while let Some((place, target)) = take() {
                        let answer =
                            if stops() { Err(UnansweredRoot::NotBegun) } else { target.answer(work) };
                        if tell.send((place, answer)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(tell);
            for (place, answer) in told {
                ended(place, answer);
            }
        });
    }
}

/// Returns the directory itself if it is a root, otherwise its subdirectories that are roots, by name. Ignores symbolic
/// links. A subdirectory that the caller may not read counts, so that it fails visibly.
pub fn roots_at(directory: &Path) -> Result<Vec<PathBuf>, RootError> {
    let root = Root::open(directory)?;
    if is_root(&root)? {
        return Ok(vec![directory.to_owned()]);
    }
    let dir = root.dir(&ObjectPath::root())?;
    let mut found = Vec::new();
    for name in dir.names()? {
        if dir.look(&name)?.is_none_or(|seen| seen.file_type != FileType::Directory) {
            continue;
        }
        let path = directory.join(OsStr::from_bytes(&name));
        match Root::open(&path).and_then(|root| is_root(&root)) {
            Ok(true) => found.push(path),
            Err(error) if matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM)) => found.push(path),
            Ok(false) | Err(_) => {}
        }
    }
    Ok(found)
}

fn is_root(root: &Root) -> Result<bool, RootError> {
    let records = root.resolver().locate_dir(&places::records())?;
    Ok(root.dir_if_there(&records)?.is_some())
}

impl RootTarget {
    fn answer<T>(&self, work: &(dyn Fn(&Root) -> T + Sync)) -> Result<T, UnansweredRoot> {
        let root = Root::open_as_named(&self.path)?;
        if Some(directory(&root)?) != self.found {
            return Err(UnansweredRoot::Replaced(self.shown.display().to_string()));
        }
        panic::catch_unwind(AssertUnwindSafe(|| work(&root))).map_err(|_| UnansweredRoot::Defect)
    }
}

fn directory(root: &Root) -> Result<DirectoryIdentity, RootError> {
    let seen = root.dir(&ObjectPath::root())?.itself()?;
    Ok((seen.file_system, seen.inode.number))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::AtomicBool;

    use super::*;

    const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

    fn directories(count: usize) -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = (0..count).map(|number| dir.path().join(number.to_string())).collect();
        for path in &paths {
            fs::create_dir(path).unwrap();
        }
        (dir, paths)
    }

    #[test]
    fn every_root_is_answered_for_once_and_a_missing_one_fails_alone() {
        let (dir, mut paths) = directories(20);
        paths.insert(7, dir.path().join("missing"));
        fs::write(dir.path().join("file"), "").unwrap();
        paths.push(dir.path().join("file"));
        let roots = RootList::new(paths.clone()).unwrap();
        let mut answers = BTreeMap::new();
        roots.each(TWO, &|| false, &|root| root.prefix().to_owned(), |place, answer| {
            assert!(answers.insert(place, answer).is_none());
        });
        assert_eq!(answers.len(), 22);
        for (place, answer) in answers {
            match answer {
                Ok(prefix) => assert_eq!(prefix, paths[place]),
                Err(UnansweredRoot::Root(_)) => assert!(place == 7 || place == 21, "{place}"),
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_root_that_is_named_twice_is_found_under_every_name() {
        let (dir, paths) = directories(1);
        let link = dir.path().join("link");
        symlink(&paths[0], &link).unwrap();
        for other in [paths[0].clone(), link, paths[0].join("../0/.")] {
            let error = RootList::new([paths[0].clone(), other.clone()]).unwrap_err();
            assert_eq!(error, SameRoot { first: paths[0].clone(), second: other });
        }
        let missing = dir.path().join("missing");
        assert_eq!(RootList::new([missing.clone(), missing]).unwrap().len(), 2, "each fails by itself");
    }

    #[test]
    fn a_directory_stands_for_the_roots_in_it_or_for_itself_where_it_is_one() {
        let (dir, paths) = directories(4);
        fs::create_dir_all(paths[2].join("var/sadm")).unwrap();
        fs::create_dir_all(paths[0].join("export/sadm")).unwrap();
        fs::create_dir(paths[0].join("var")).unwrap();
        symlink("/export/sadm", paths[0].join("var/sadm")).unwrap();
        fs::create_dir_all(paths[3].join("opt")).unwrap();
        symlink(&paths[2], dir.path().join("link")).unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(roots_at(dir.path()).unwrap(), [paths[0].clone(), paths[2].clone()]);
        assert_eq!(roots_at(&paths[2]).unwrap(), [paths[2].clone()]);
        assert!(roots_at(&paths[3]).unwrap().is_empty());
        assert!(roots_at(&dir.path().join("missing")).is_err());
    }

    #[test]
    fn a_path_that_leads_elsewhere_when_its_turn_comes_is_not_followed() {
        let (dir, paths) = directories(2);
        let link = dir.path().join("link");
        symlink(&paths[0], &link).unwrap();
        let roots = RootList::new([link.clone()]).unwrap();
        fs::remove_file(&link).unwrap();
        symlink(&paths[1], &link).unwrap();
        roots.each(TWO, &|| false, &|_| panic!("it is another root"), |_, answer| {
            assert!(matches!(answer, Err(UnansweredRoot::Replaced(_))), "{answer:?}");
        });
    }

    #[test]
    fn who_is_told_to_stop_begins_no_other_root() {
        let (_dir, paths) = directories(10);
        let stop = AtomicBool::new(false);
        let mut begun = 0;
        let work = |_: &Root| stop.store(true, Ordering::Relaxed);
        RootList::new(paths).unwrap().each(
            NonZeroUsize::MIN,
            &|| stop.load(Ordering::Relaxed),
            &work,
            |_, answer| match answer {
                Ok(()) => begun += 1,
                Err(unanswered) => assert!(matches!(unanswered, UnansweredRoot::NotBegun)),
            },
        );
        assert_eq!(begun, 1);
    }

    #[test]
    fn a_defect_in_one_root_is_none_of_the_others() {
        let (_dir, paths) = directories(3);
        let broken = paths[1].clone();
        let mut answers = Vec::new();
        let work = |root: &Root| assert_ne!(root.prefix(), broken, "a defect, made for this test");
        RootList::new(paths).unwrap().each(NonZeroUsize::MIN, &|| false, &work, |_, answer| {
            answers.push(answer.is_ok());
        });
        assert_eq!(answers, [true, false, true]);
    }
}
