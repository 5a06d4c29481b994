//! All objects below some directories of the root or of the stage, with all attributes and the digests of their bytes.
//!
//! Files that a [`StageCache`](patchadm_inputs::stage::StageCache) knows are not read; the others are, several at a time. A
//! file that changes or is replaced while it is read is an error, so that every listed state existed. A name that another
//! process creates or removes meanwhile may be listed or not.

use std::collections::HashMap;

use super::error::StageError;
use super::walk::{MetObject, TreeRequest, Walk};
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_inputs::stage::{BaseObject, BaseState, LeftReason, ReadFile};
use patchadm_rootfs::{
    Dir, FileType, KnownFile, Live, LiveKind, ObjectStatus, Root, Sums, Timestamp, side_by_side,
};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;

/// Files that a thread takes at once.
const PIECE: usize = 64;

/// Bytes read at once.
const BUFFER: usize = 1 << 17;

/// The objects of a tree.
#[derive(Debug, Default)]
pub struct Tree {
    /// The objects, sorted by path: the directories of the scope and everything below them, except `/` itself.
    pub objects: Vec<TreeObject>,
    /// The mount points below them, sorted; their contents are not read.
    pub mounts: Vec<ObjectPath>,
    /// The paths that were skipped, sorted, and why. For a directory, only its own path is listed.
    pub left: Vec<(ObjectPath, LeftReason)>,
    /// Whether the cache already has everything that can be known of the files: none was read, none is gone.
    pub is_as_known: bool,
}

/// One object of a tree.
#[derive(Clone, Debug)]
pub struct TreeObject {
    /// Its path, the same in the root and in the stage.
    pub path: ObjectPath,
    /// The state of the object.
    pub live: Live,
    /// The number that all names of one object in the tree share; `None` for an object with no other name there.
    pub group: Option<u32>,
}

/// The key that distinguishes an object from every other one, independent of its path.
pub(super) type ObjectKey = ((u32, u32), u64);

/// Reads a tree.
pub fn read_tree(request: &TreeRequest<'_>) -> Result<Tree, StageError> {
    let mut walk = request.walk(places::is_reserved)?;
    let is_as_known = walk.is_as_known(request.known);
    read_files(request, &mut walk)?;
    let groups = link_groups(&walk.met);
    let Walk { met, mounts, left } = walk;
    let mut objects = Vec::with_capacity(met.len());
    for MetObject { path, status, live } in met {
        let live = live.ok_or_else(|| StageError::Changing(request.root.show(&path)))?;
        objects.push(TreeObject { path, live, group: groups.get(&key(&status)).copied() });
    }
    Ok(Tree { objects, mounts, left, is_as_known })
}

/// Reads the files whose bytes are not known, each once even if it has several names.
fn read_files(request: &TreeRequest<'_>, walk: &mut Walk) -> Result<(), StageError> {
    let mut firsts: HashMap<ObjectKey, usize> = HashMap::new();
    let mut to_read = Vec::new();
    let mut others = Vec::new();
    for (at, met) in walk.met.iter().enumerate().filter(|(_, met)| met.live.is_none()) {
        match firsts.entry(key(&met.status)) {
            std::collections::hash_map::Entry::Occupied(first) if met.status.links > 1 => {
                others.push((at, *first.get()));
            }
            entry => {
                entry.insert_entry(at);
                to_read.push(at);
            }
        }
    }
    let pieces: Vec<&[usize]> = to_read.chunks(PIECE).collect();
    let met = &walk.met;
    let read = side_by_side(request.root.workers(), pieces.len(), || {
        let mut reader = FileReader { request, directory: None, buffer: vec![0; BUFFER] };
        let pieces = &pieces;
        move |piece: usize| {
            let piece = pieces.get(piece).copied().unwrap_or_default();
            let read = piece.iter().filter_map(|at| met.get(*at)).map(|met| reader.file(met));
            read.collect::<Result<Vec<Live>, StageError>>()
        }
    });
    let read = read.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten();
    for (at, live) in to_read.into_iter().zip(read) {
        if let Some(met) = walk.met.get_mut(at) {
            met.live = Some(live);
        }
    }
    for (at, first) in others {
        let live = walk.met.get(first).and_then(|first| first.live.clone());
        if let Some(met) = walk.met.get_mut(at) {
            met.live = live;
        }
    }
    Ok(())
}

/// The state of one reading thread.
struct FileReader<'a> {
    request: &'a TreeRequest<'a>,
    directory: Option<Dir>,
    buffer: Vec<u8>,
}

impl FileReader<'_> {
    fn file(&mut self, met: &MetObject) -> Result<Live, StageError> {
        let root = self.request.root;
        if let Some(signal) = (self.request.interrupt)() {
            return Err(StageError::Interrupted(signal));
        }
        let failed = |error| StageError::of_reading(error, || root.show(&met.path));
        let directory = directory_of(root, &mut self.directory, &met.path).map_err(failed)?;
        let live = directory.live_through(&mut self.buffer, met.path.name(), None).map_err(failed)?;
        let live = live.filter(|live| live.size().is_some() && met.status.is_untouched_in(live));
        live.ok_or_else(|| StageError::Changing(root.show(&met.path)))
    }
}

/// Returns the directory of a path, and opens it unless it is open already.
pub(in crate::operation::stages) fn directory_of<'d>(
    root: &Root,
    open: &'d mut Option<Dir>,
    path: &ObjectPath,
) -> patchadm_rootfs::Result<&'d Dir> {
    let parent = path.parent_bytes().unwrap_or(b"/");
    let directory = match open.take() {
        Some(directory) if directory.path().as_bytes() == parent => directory,
        _ => root.dir(&path.parent().unwrap_or_else(ObjectPath::root))?,
    };
    Ok(open.insert(directory))
}

/// Returns the key that the names of one object share.
pub(super) fn key(status: &ObjectStatus) -> ObjectKey {
    (status.file_system, status.inode.number)
}

/// Numbers the objects with several names among those found, in the order of their first names, from 1 on.
pub(super) fn link_groups(met: &[MetObject]) -> HashMap<ObjectKey, u32> {
    let linked = |met: &&MetObject| met.status.links > 1 && met.status.file_type != FileType::Directory;
    let mut counts: HashMap<ObjectKey, u32> = HashMap::new();
    for met in met.iter().filter(linked) {
        *counts.entry(key(&met.status)).or_default() += 1;
    }
    let mut groups = HashMap::new();
    for met in met.iter().filter(linked) {
        let key = key(&met.status);
        let next = u32::try_from(groups.len() + 1).unwrap_or(u32::MAX);
        if counts.get(&key).is_some_and(|&count| count > 1) {
            groups.entry(key).or_insert(next);
        }
    }
    groups
}

impl Tree {
    /// Returns the object at a path.
    pub fn object(&self, path: &ObjectPath) -> Option<&TreeObject> {
        let at = self.objects.binary_search_by(|object| object.path.cmp(path)).ok()?;
        self.objects.get(at)
    }

    /// Returns the files as a cache keeps them; they were read after the moment `since`.
    pub fn known_files(&self, since: Timestamp) -> impl Iterator<Item = ReadFile<'_>> {
        known_files(&self.objects, since)
    }

    /// Returns its objects and mount points as a base has them, sorted by path.
    pub fn base_objects(&self) -> Vec<BaseObject> {
        base_objects(&self.objects, &self.mounts)
    }
}

/// Returns files as a cache keeps them; they were read after the moment `since`.
pub(super) fn known_files(objects: &[TreeObject], since: Timestamp) -> impl Iterator<Item = ReadFile<'_>> {
    let files = objects.iter().filter_map(|TreeObject { path, live, .. }| {
        let LiveKind::Regular { size, b3, cksum } = live.kind else { return None };
        let sums = Sums { size, cksum, b3 };
        let file = KnownFile { inode: live.inode, mtime: live.mtime, ctime: live.ctime, sums };
        Some(ReadFile { path, file, xattrs: &live.xattrs })
    });
    files.filter(move |file| file.is_kept(since))
}

/// Returns objects and mount points as a base has them, sorted by path.
pub(super) fn base_objects(objects: &[TreeObject], mounts: &[ObjectPath]) -> Vec<BaseObject> {
    let mounts = mounts.iter().map(|path| BaseObject { path: path.clone(), state: BaseState::Mount });
    let mut all: Vec<BaseObject> = objects.iter().map(TreeObject::base_object).chain(mounts).collect();
    all.sort_by(|one, other| one.path.cmp(&other.path));
    all
}

impl TreeObject {
    /// Returns its state as records have it.
    pub fn state(&self) -> RecordedState {
        RecordedState { group: self.group, ..RecordedState::of(&self.live) }
    }

    /// Returns it as a base has it.
    pub fn base_object(&self) -> BaseObject {
        BaseObject { path: self.path.clone(), state: BaseState::Object(Box::new(self.state())) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;
    use patchadm_inputs::path_glob::PathGlob;
    use patchadm_inputs::stage::{CacheSide, LeftOut, Scope, StageCache, staged_path, write_cache};

    fn scope(texts: &[&str]) -> Scope {
        Scope::new(texts.iter().map(|text| staged_path(text.as_bytes()).unwrap()).collect()).unwrap()
    }

    fn read(top: &Path, paths: &[&str], known: &CacheSide, left: &LeftOut) -> Result<Tree, StageError> {
        let root = Root::open(top).unwrap();
        let interrupt = || None;
        let scope = scope(paths);
        read_tree(&TreeRequest { root: &root, scope: &scope, left, known, interrupt: &interrupt })
    }

    fn plain(top: &Path, paths: &[&str]) -> Result<Tree, StageError> {
        read(top, paths, &CacheSide::default(), &LeftOut::default())
    }

    fn shown(tree: &Tree) -> Vec<String> {
        tree.objects.iter().map(|object| object.path.to_string()).collect()
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("usr/pkg/bin")).unwrap();
        fs::create_dir_all(at("usr/other")).unwrap();
        fs::write(at("usr/pkg/bin/a"), "one").unwrap();
        fs::hard_link(at("usr/pkg/bin/a"), at("usr/pkg/b")).unwrap();
        fs::write(at("usr/pkg/a.pid"), "1").unwrap();
        fs::write(at("usr/pkg/x.bak"), "1").unwrap();
        symlink("bin/a", at("usr/pkg/l")).unwrap();
        dir
    }

    #[test]
    fn a_tree_is_all_that_lies_in_the_scope_in_the_order_of_paths() {
        let dir = tree();
        let left = LeftOut::by(vec![PathGlob::parse("*.bak").unwrap()]);
        let tree = read(dir.path(), &["usr/pkg"], &CacheSide::default(), &left).unwrap();
        assert_eq!(shown(&tree), ["/usr/pkg", "/usr/pkg/b", "/usr/pkg/bin", "/usr/pkg/bin/a", "/usr/pkg/l"]);
        let group = |path: &str| tree.object(&staged_path(path.as_bytes()).unwrap()).unwrap().group;
        assert_eq!(
            (group("usr/pkg/b"), group("usr/pkg/bin/a"), group("usr/pkg/l")),
            (Some(1), Some(1), None)
        );
        let left: Vec<_> = tree.left.iter().map(|(path, why)| (path.to_string(), why.word())).collect();
        let expected = [("/usr/pkg/a.pid", "volatile"), ("/usr/pkg/x.bak", "excluded")];
        assert_eq!(left, expected.map(|(path, why)| (path.to_owned(), why)));
        assert_eq!(tree.base_objects().len(), 5);
    }

    #[test]
    fn the_whole_of_a_root_is_without_itself_and_without_its_records() {
        let dir = tree();
        fs::create_dir_all(dir.path().join("var/sadm/pkg/ACMEweb")).unwrap();
        fs::create_dir_all(dir.path().join("var/sadm/patchadm")).unwrap();
        fs::create_dir_all(dir.path().join(".patchadm-stage")).unwrap();
        let tree = plain(dir.path(), &["/"]).unwrap();
        let paths = shown(&tree);
        assert!(!paths.contains(&"/".to_owned()) && paths.contains(&"/usr/other".to_owned()), "{paths:?}");
        assert!(!paths.iter().any(|path| path.contains("ACMEweb") || path.contains("patchadm")), "{paths:?}");
        assert!(matches!(plain(dir.path(), &["var/sadm/pkg/ACMEweb"]), Err(StageError::Reserved(_))));
    }

    #[test]
    fn a_path_that_is_missing_a_file_or_behind_a_link_is_refused_by_name() {
        let dir = tree();
        symlink("usr", dir.path().join("link")).unwrap();
        for (path, reason) in [
            ("usr/nothing", "is not there"),
            ("no/way", "is not there"),
            ("usr/pkg/b", "is no directory but a file"),
            ("usr/pkg/l", "is no directory but a symbolic link"),
            ("link/pkg", "leads through a symbolic link: name"),
        ] {
            let error = plain(dir.path(), &[path]).unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(dir.path().to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn files_that_a_cache_knows_are_not_read() {
        let dir = tree();
        let tree = plain(dir.path(), &["usr/pkg"]).unwrap();
        let late = Timestamp::whole(i64::from(u32::MAX));
        assert_eq!(tree.known_files(late).count(), 3);
        assert_eq!(tree.known_files(Timestamp::default()).count(), 0, "they were touched later");
        // The digest is made up, so a reader that returns it has not read the bytes.
        let with_other_bytes = tree.known_files(late).map(|mut read| {
            read.file.sums.b3 = patchadm_rootfs::Digest([7; 32]);
            read
        });
        let known = StageCache::parse(&write_cache(with_other_bytes, std::iter::empty())).stage;
        let digest = |tree: &Tree| {
            tree.object(&staged_path(b"usr/pkg/b").unwrap()).unwrap().state().b3.unwrap().to_string()
        };
        let again = read(dir.path(), &["usr/pkg"], &known, &LeftOut::default()).unwrap();
        assert_eq!(digest(&again), "07".repeat(32));
        fs::write(dir.path().join("usr/pkg/bin/a"), "two").unwrap();
        let changed = read(dir.path(), &["usr/pkg"], &known, &LeftOut::default()).unwrap();
        assert_eq!(digest(&changed), patchadm_rootfs::Digest::of(b"two").to_string());
    }

    #[test]
    fn a_signal_ends_the_reading() {
        let dir = tree();
        let root = Root::open(dir.path()).unwrap();
        let (scope, left, known) = (scope(&["usr"]), LeftOut::default(), CacheSide::default());
        let interrupt = || Some(15);
        let request =
            TreeRequest { root: &root, scope: &scope, left: &left, known: &known, interrupt: &interrupt };
        assert!(matches!(read_tree(&request), Err(StageError::Interrupted(15))));
    }
}
