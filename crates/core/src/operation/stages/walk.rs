//! The objects below some directories of a tree, found by their names and examined, without their bytes.
//!
//! Directories are walked level by level, several at a time, each through a descriptor that no symbolic link leads to. Mount
//! points below are not entered. Records and excluded paths are skipped.

use super::error::StageError;
use patchadm_inputs::stage::{CacheSide, CachedFiles, DIRECTORY, LeftOut, LeftReason, MOST_OBJECTS, Scope};
use patchadm_rootfs::{Dir, FileType, Live, LiveKind, ObjectStatus, Root, Sums, Xattrs, side_by_side};
use patchadm_svr4::package::ObjectPath;

/// The request to read a tree.
#[derive(Clone, Copy)]
pub struct TreeRequest<'a> {
    /// The tree: the root, or the stage.
    pub root: &'a Root,
    /// The directories of the tree that count.
    pub scope: &'a Scope,
    /// The paths that are skipped.
    pub left: &'a LeftOut,
    /// Files that need not be read again.
    pub known: &'a CacheSide,
    /// Returns the signal that asks the walk to end, if any. Called between objects.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

/// An object as the walk found it.
pub(super) struct MetObject {
    pub(super) path: ObjectPath,
    pub(super) status: ObjectStatus,
    /// Everything about it; `None` for a regular file whose bytes are not known.
    pub(super) live: Option<Live>,
}

/// The objects that were found, sorted by path.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) met: Vec<MetObject>,
    /// Mount points.
    pub(super) mounts: Vec<ObjectPath>,
    /// The paths that were skipped.
    pub(super) left: Vec<(ObjectPath, LeftReason)>,
}

impl Walk {
    /// Returns whether everything is known of each file that was found, and of no other one.
    pub(super) fn is_as_known(&self, known: &CacheSide) -> bool {
        let mut files = self.met.iter().filter(|met| met.status.file_type == FileType::Regular);
        let count = files.clone().count();
        count == known.len() && files.all(|met| met.live.is_some())
    }
}

/// A directory that is still to be entered.
struct NextDirectory {
    path: ObjectPath,
    status: ObjectStatus,
    /// Whether it is an object of the tree, which the root directory is not.
    is_object: bool,
}

/// A directory while its names are examined.
#[derive(Clone, Copy)]
struct OpenDirectory<'a> {
    dir: &'a Dir,
    status: &'a ObjectStatus,
    /// The known facts of the files in it.
    known: CachedFiles<'a>,
}

/// The result of one directory.
#[derive(Default)]
struct Entered {
    walk: Walk,
    next: Vec<NextDirectory>,
}

impl TreeRequest<'_> {
    /// Walks all directories. Skips paths that `is_reserved` accepts.
    pub(super) fn walk(&self, is_reserved: impl Fn(&ObjectPath) -> bool + Sync) -> Result<Walk, StageError> {
        let walker = Walker { request: self, is_reserved: &is_reserved };
        walker.walk()
    }
}

/// Walks the directories of a request.
struct Walker<'a> {
    request: &'a TreeRequest<'a>,
    is_reserved: &'a (dyn Fn(&ObjectPath) -> bool + Sync),
}

impl Walker<'_> {
    fn walk(&self) -> Result<Walk, StageError> {
        let mut walk = Walk::default();
        let mut level: Vec<NextDirectory> =
            self.request.scope.paths().iter().map(|path| self.top(path)).collect::<Result<_, _>>()?;
        while !level.is_empty() {
            let entered = side_by_side(self.request.root.workers(), level.len(), || {
                let level = &level;
                move |at: usize| level.get(at).map(|directory| self.enter(directory)).transpose()
            });
            let mut next = Vec::new();
            for entered in entered {
                let Some(entered) = entered? else { continue };
                walk.met.extend(entered.walk.met);
                walk.mounts.extend(entered.walk.mounts);
                walk.left.extend(entered.walk.left);
                next.extend(entered.next);
            }
            if walk.met.len() as u64 > MOST_OBJECTS {
                let path = self.request.root.prefix().display().to_string();
                return Err(StageError::TooMany { path, most: MOST_OBJECTS });
            }
            level = next;
        }
        walk.met.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        walk.mounts.sort_unstable();
        walk.left.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(walk)
    }

    /// Finds one of the directories that count.
    fn top(&self, path: &ObjectPath) -> Result<NextDirectory, StageError> {
        let shown = || self.request.root.show(path);
        let Some(parent) = path.parent() else {
            let status = self.request.root.dir(path)?.itself()?;
            return Ok(NextDirectory { path: path.clone(), status, is_object: false });
        };
        if (self.is_reserved)(path) {
            return Err(StageError::Reserved(shown()));
        }
        let physical = self.request.root.resolver().locate(path)?;
        if physical != *path {
            let (path, physical) = (shown(), self.request.root.show(&physical));
            return Err(StageError::ThroughLink { path, physical });
        }
        let missing = || StageError::Missing(shown());
        let parent =
            self.request.root.dir_if_there(&parent).map_err(|error| StageError::of_reading(error, shown))?;
        let status = parent.ok_or_else(missing)?.look(path.name())?.ok_or_else(missing)?;
        match status.file_type {
            FileType::Directory => Ok(NextDirectory { path: path.clone(), status, is_object: true }),
            FileType::Symlink => Err(StageError::NoDirectory { path: shown(), kind: "symbolic link" }),
            _ => Err(StageError::NoDirectory { path: shown(), kind: "file" }),
        }
    }

    fn enter(&self, directory: &NextDirectory) -> Result<Entered, StageError> {
        let NextDirectory { path, status, is_object } = directory;
        if let Some(signal) = (self.request.interrupt)() {
            return Err(StageError::Interrupted(signal));
        }
        let failed = |error| StageError::of_reading(error, || self.request.root.show(path));
        let dir = self.request.root.dir(path).map_err(failed)?;
        let mut entered = Entered::default();
        let live = dir.live_through(&mut [], b"", None).map_err(failed)?;
        let live = live.filter(|live| live.inode == status.inode);
        let live = live.ok_or_else(|| StageError::Changing(self.request.root.show(path)))?;
        let above = OpenDirectory { dir: &dir, status, known: self.request.known.below(path) };
        for name in dir.names().map_err(failed)? {
            self.meet(above, &name, &mut entered)?;
        }
        if *is_object {
            let (path, status) = (path.clone(), status.clone());
            entered.walk.met.push(MetObject { path, status, live: Some(live) });
        }
        Ok(entered)
    }

    /// Examines one name of a directory.
    fn meet(&self, above: OpenDirectory<'_>, name: &[u8], entered: &mut Entered) -> Result<(), StageError> {
        let dir = above.dir;
        let path = dir.path().join(name)?;
        if name == DIRECTORY || (self.is_reserved)(&path) {
            entered.walk.left.push((path, LeftReason::Excluded));
            return Ok(());
        }
        let failed = |error| StageError::of_reading(error, || self.request.root.show(&path));
        // A name that was removed after the listing counts as removed before it.
        let Some(status) = dir.look(name).map_err(failed)? else { return Ok(()) };
        if let Some(reason) = self.request.left.reason(&path, status.file_type) {
            entered.walk.left.push((path, reason));
            return Ok(());
        }
        if status.mount != above.status.mount {
            entered.walk.mounts.push(path);
            return Ok(());
        }
        let live = match status.file_type {
            FileType::Directory => {
                entered.next.push(NextDirectory { path, status, is_object: true });
                return Ok(());
            }
            FileType::Regular => {
                let known = above.known.file(&path).filter(|known| known.file.is(&status));
                known.map(|known| live_file(&status, known.file.sums, known.xattrs.clone()))
            }
            _ => {
                let live = dir.live_through(&mut [], name, None).map_err(failed)?;
                let live = live.filter(|live| live.inode == status.inode);
                Some(live.ok_or_else(|| StageError::Changing(self.request.root.show(&path)))?)
            }
        };
        entered.walk.met.push(MetObject { path, status, live });
        Ok(())
    }
}

/// Returns everything about a regular file, given its sums and extended attributes.
pub(super) fn live_file(status: &ObjectStatus, sums: Sums, xattrs: Xattrs) -> Live {
    Live {
        kind: LiveKind::Regular { size: sums.size, b3: sums.b3, cksum: sums.cksum },
        mode: status.mode,
        uid: status.uid,
        gid: status.gid,
        mtime: status.mtime,
        ctime: status.ctime,
        inode: status.inode,
        links: status.links,
        xattrs,
        obstacle: status.obstacle,
    }
}
