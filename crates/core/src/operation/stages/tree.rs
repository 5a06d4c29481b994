//! Lists all objects below directories, with attributes and digests. Files unknown to the
//! [`StageCache`](patchadm_inputs::stage::StageCache) are read in parallel. A changing file is an error, so every
//! listed state existed; names may appear or vanish.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use super::StageError;
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_changeset::format::manifest::{RecordedState, StateDifferences};
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::inventory::{Installed, KeptLibraries, is_kept_package};
use patchadm_inputs::stage::{
    BaseObject, BaseState, CacheSide, CachedFiles, DIRECTORY, LeftOut, LeftReason, MOST_OBJECTS, ReadFile,
    Scope,
};
use patchadm_rootfs::{
    Dir, FileType, KnownFile, Live, LiveKind, ObjectStatus, Root, Sums, Timestamp, Xattrs, side_by_side,
};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::places;

/// Files per unit of work.
const PIECE: usize = 64;

const BUFFER: usize = 1 << 17;

#[derive(Debug, Default)]
pub struct Tree {
    /// The scope's directories and everything below, except `/`; sorted by path.
    pub objects: Vec<TreeObject>,
    /// Sorted; not entered.
    pub mounts: Vec<ObjectPath>,
    /// Sorted; a skipped directory stands for its contents.
    pub left: Vec<(ObjectPath, LeftReason)>,
    /// The cache has exactly these files.
    pub is_as_known: bool,
}

#[derive(Clone, Debug)]
pub struct TreeObject {
    /// The same in root and stage.
    pub path: ObjectPath,
    pub live: Live,
    /// Shared by all names of one object; `None` for a single name.
    pub group: Option<u32>,
}

/// Independent of paths.
pub(super) type ObjectKey = ((u32, u32), u64);

pub fn read_tree(request: &TreeRequest<'_>) -> Result<Tree, StageError> {
    let mut walk = request.walk(places::is_reserved)?;
    let is_as_known = walk.is_as_known(request.known);
    read_files(request, &mut walk)?;
    let groups = link_groups(&walk.met);
    let Walk { met, mounts, left } = walk;
    let mut objects = Vec::with_capacity(met.len());
    for WalkedObject { path, status, live } in met {
        let live = live.ok_or_else(|| StageError::Changing(request.root.show(&path)))?;
        objects.push(TreeObject { path, live, group: groups.get(&key(&status)).copied() });
    }
    Ok(Tree { objects, mounts, left, is_as_known })
}

/// Reads each file once, even with several names.
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

struct FileReader<'a> {
    request: &'a TreeRequest<'a>,
    directory: Option<Dir>,
    buffer: Vec<u8>,
}

impl FileReader<'_> {
    fn file(&mut self, met: &WalkedObject) -> Result<Live, StageError> {
        let root = self.request.root;
        if let Some(signal) = (self.request.interrupt)() {
            return Err(StageError::Interrupted(signal));
        }
        let failed = |error| StageError::of_reading(error, || root.show(&met.path));
        let directory = directory_of(root, &mut self.directory, &met.path).map_err(failed)?;
        let interrupt = self.request.interrupt;
        let read = directory.live_until(&mut self.buffer, met.path.name(), None, interrupt);
        // An interrupted read also fails.
        if let Some(signal) = interrupt() {
            return Err(StageError::Interrupted(signal));
        }
        let live = read.map_err(failed)?;
        let live = live.filter(|live| live.size().is_some() && met.status.is_untouched_in(live));
        live.ok_or_else(|| StageError::Changing(root.show(&met.path)))
    }
}

/// Reuses an open directory.
pub(super) fn directory_of<'d>(
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

pub(super) fn key(status: &ObjectStatus) -> ObjectKey {
    (status.file_system, status.inode.number)
}

pub(super) fn link_groups(met: &[WalkedObject]) -> HashMap<ObjectKey, u32> {
    let linked = |met: &&WalkedObject| met.status.links > 1 && met.status.file_type != FileType::Directory;
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
    pub fn object(&self, path: &ObjectPath) -> Option<&TreeObject> {
        let at = self.objects.binary_search_by(|object| object.path.cmp(path)).ok()?;
        self.objects.get(at)
    }

    /// Read after `since`.
    pub fn known_files(&self, since: Timestamp) -> impl Iterator<Item = ReadFile<'_>> {
        known_files(&self.objects, since)
    }

    /// Includes mount points; sorted by path.
    pub fn base_objects(&self) -> Vec<BaseObject> {
        base_objects(&self.objects, &self.mounts)
    }
}

/// Read after `since`.
pub(super) fn known_files(objects: &[TreeObject], since: Timestamp) -> impl Iterator<Item = ReadFile<'_>> {
    let files = objects.iter().filter_map(|TreeObject { path, live, .. }| {
        let LiveKind::Regular { size, b3, cksum } = live.kind else { return None };
        let sums = Sums { size, cksum, b3 };
        let file = KnownFile { inode: live.inode, mtime: live.mtime, ctime: live.ctime, sums };
        Some(ReadFile { path, file, xattrs: &live.xattrs })
    });
    files.filter(move |file| file.is_kept(since))
}

/// Includes mount points; sorted by path.
pub(super) fn base_objects(objects: &[TreeObject], mounts: &[ObjectPath]) -> Vec<BaseObject> {
    let mounts = mounts.iter().map(|path| BaseObject { path: path.clone(), state: BaseState::Mount });
    let mut all: Vec<BaseObject> = objects.iter().map(TreeObject::base_object).chain(mounts).collect();
    all.sort_by(|one, other| one.path.cmp(&other.path));
    all
}

impl TreeObject {
    pub fn state(&self) -> RecordedState {
        RecordedState { group: self.group, ..RecordedState::of(&self.live) }
    }

    pub fn base_object(&self) -> BaseObject {
        BaseObject { path: self.path.clone(), state: BaseState::Object(Box::new(self.state())) }
    }
}

#[derive(Clone, Copy)]
pub struct TreeRequest<'a> {
    pub root: &'a Root,
    pub scope: &'a Scope,
    pub left: &'a LeftOut,
    /// These are not read again.
    pub known: &'a CacheSide,
    /// Returns the signal that asks for the end, if any.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}

pub(super) struct WalkedObject {
    pub(super) path: ObjectPath,
    pub(super) status: ObjectStatus,
    /// `None` for a regular file with unknown bytes.
    pub(super) live: Option<Live>,
}

#[derive(Default)]
pub(super) struct Walk {
    pub(super) met: Vec<WalkedObject>,
    pub(super) mounts: Vec<ObjectPath>,
    pub(super) left: Vec<(ObjectPath, LeftReason)>,
}

impl Walk {
    /// True if the cache has exactly these files.
    pub(super) fn is_as_known(&self, known: &CacheSide) -> bool {
        let mut files = self.met.iter().filter(|met| met.status.file_type == FileType::Regular);
        let count = files.clone().count();
        count == known.len() && files.all(|met| met.live.is_some())
    }
}

struct PendingDirectory {
    path: ObjectPath,
    status: ObjectStatus,
    is_object: bool,
}

#[derive(Clone, Copy)]
struct OpenDirectory<'a> {
    dir: &'a Dir,
    status: &'a ObjectStatus,
    known: CachedFiles<'a>,
}

#[derive(Default)]
struct EnteredDirectory {
    walk: Walk,
    next: Vec<PendingDirectory>,
}

impl TreeRequest<'_> {
    /// Skips paths that `is_reserved` accepts.
    pub(super) fn walk(&self, is_reserved: impl Fn(&ObjectPath) -> bool + Sync) -> Result<Walk, StageError> {
        let walker = Walker { request: self, is_reserved: &is_reserved, names: AtomicU64::new(0) };
        walker.walk()
    }
}

struct Walker<'a> {
    request: &'a TreeRequest<'a>,
    is_reserved: &'a (dyn Fn(&ObjectPath) -> bool + Sync),
    /// Of all directories.
    names: AtomicU64,
}

impl Walker<'_> {
    fn walk(&self) -> Result<Walk, StageError> {
        let mut walk = Walk::default();
        let mut level: Vec<PendingDirectory> =
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
            level = next;
        }
        walk.met.sort_unstable_by(|one, other| one.path.cmp(&other.path));
        walk.mounts.sort_unstable();
        walk.left.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        Ok(walk)
    }

    fn top(&self, path: &ObjectPath) -> Result<PendingDirectory, StageError> {
        let shown = || self.request.root.show(path);
        let Some(parent) = path.parent() else {
            let status = self.request.root.dir(path)?.itself()?;
            return Ok(PendingDirectory { path: path.clone(), status, is_object: false });
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
            FileType::Directory => Ok(PendingDirectory { path: path.clone(), status, is_object: true }),
            FileType::Symlink => Err(StageError::NoDirectory { path: shown(), kind: "symbolic link" }),
            _ => Err(StageError::NoDirectory { path: shown(), kind: "file" }),
        }
    }

    fn enter(&self, directory: &PendingDirectory) -> Result<EnteredDirectory, StageError> {
        let PendingDirectory { path, status, is_object } = directory;
        if let Some(signal) = (self.request.interrupt)() {
            return Err(StageError::Interrupted(signal));
        }
        let failed = |error| StageError::of_reading(error, || self.request.root.show(path));
        let dir = self.request.root.dir(path).map_err(failed)?;
        let mut entered = EnteredDirectory::default();
        let live = dir.live_through(&mut [], b"", None).map_err(failed)?;
        let live = live.filter(|live| live.inode == status.inode);
        let live = live.ok_or_else(|| StageError::Changing(self.request.root.show(path)))?;
        let above = OpenDirectory { dir: &dir, status, known: self.request.known.below(path) };
        let names = dir.names().map_err(failed)?;
        // Before anything is known of them: a level of the tree may have far more.
        let count = names.len() as u64;
        if self.names.fetch_add(count, Ordering::Relaxed).saturating_add(count) > MOST_OBJECTS {
            let path = self.request.root.prefix().display().to_string();
            return Err(StageError::TooMany { path, most: MOST_OBJECTS });
        }
        for name in names {
            self.meet(above, &name, &mut entered)?;
        }
        if *is_object {
            let (path, status) = (path.clone(), status.clone());
            entered.walk.met.push(WalkedObject { path, status, live: Some(live) });
        }
        Ok(entered)
    }

    fn meet(
        &self,
        above: OpenDirectory<'_>,
        name: &[u8],
        entered: &mut EnteredDirectory,
    ) -> Result<(), StageError> {
        let dir = above.dir;
        let path = dir.path().join(name)?;
        if name == DIRECTORY || (self.is_reserved)(&path) {
            entered.walk.left.push((path, LeftReason::Excluded));
            return Ok(());
        }
        let failed = |error| StageError::of_reading(error, || self.request.root.show(&path));
        // Removed after the listing.
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
                entered.next.push(PendingDirectory { path, status, is_object: true });
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
        entered.walk.met.push(WalkedObject { path, status, live });
        Ok(())
    }
}

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

const SUFFIX: &str = "-SO";

pub(super) fn kept_in(root: &Root) -> Result<KeptLibraries, Failure> {
    let view = RecordView::live(root);
    if !installed::has_database(&view)? {
        return Ok(KeptLibraries::default());
    }
    let mut packages = BTreeMap::new();
    for package in installed::packages(&view)? {
        if !package.abbreviation().ends_with(SUFFIX) {
            continue;
        }
        let params = installed::params(&view, &package)?.filter(is_kept_package);
        packages.extend(params.map(|params| (package, Installed { params, ..Installed::default() })));
    }
    if packages.is_empty() {
        return Ok(KeptLibraries::default());
    }
    RootAndPolicy::of(root)?.kept_libraries(&packages)
}

pub(super) fn hide_own(tree: &mut Tree, kept: &KeptLibraries) {
    if !kept.is_empty() {
        let paths: BTreeSet<&ObjectPath> = kept.paths().collect();
        tree.objects.retain(|object| !paths.contains(&object.path));
    }
}

/// The stage has old copies of the root's kept objects. Different objects stay.
pub(super) fn hide_copies(stage: &mut Tree, kept: &KeptLibraries) {
    if kept.is_empty() {
        return;
    }
    let of_root: BTreeSet<&ObjectPath> = kept.paths().collect();
    let is_copy = |object: &TreeObject| {
        let known = kept.live.get(&object.path).filter(|_| of_root.contains(&object.path));
        known.is_some_and(|known| {
            let (known, own) = (RecordedState::of(known), RecordedState::of(&object.live));
            StateDifferences::is_found(Some(&known), Some(&own))
        })
    };
    stage.objects.retain(|object| !is_copy(object));
}

/// `None` if no other package owns the line.
pub(super) fn without_kept(
    mut line: ContentsLine,
    kept: &BTreeMap<PkgInst, Installed>,
) -> Option<ContentsLine> {
    line.owners.retain(|owner| !kept.contains_key(&owner.package));
    (!line.owners.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use patchadm_inputs::path_glob::PathGlob;
    use patchadm_inputs::stage::{StageCache, staged_path, write_cache};

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
            ("usr/nothing", "does not exist"),
            ("no/way", "does not exist"),
            ("usr/pkg/b", "is not a directory but a file"),
            ("usr/pkg/l", "is not a directory but a symbolic link"),
            ("link/pkg", "leads through a symbolic link: specify"),
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
        // The digest is invented, so a reader that returns it has not read the bytes.
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

    #[test]
    fn a_signal_ends_the_reading_of_a_file_that_would_take_hours() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("usr/pkg")).unwrap();
        let file = fs::File::create(dir.path().join("usr/pkg/sparse")).unwrap();
        file.set_len(1 << 40).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let (scope, left, known) = (scope(&["usr"]), LeftOut::default(), CacheSide::default());
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let interrupt = || (calls.fetch_add(1, Ordering::Relaxed) > 100).then_some(15);
        let request =
            TreeRequest { root: &root, scope: &scope, left: &left, known: &known, interrupt: &interrupt };
        assert!(matches!(read_tree(&request), Err(StageError::Interrupted(15))));
    }
}
