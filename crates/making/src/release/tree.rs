//! Directory trees, read in place.
//!
//! No symbolic link below the top is followed, and no `..` leads out (`patchadm_rootfs`). Objects are examined before
//! and after reading: a tree that changes meanwhile is an error.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::path::Path;

use super::archive::content_of;
use super::{ContentReader, ReleaseError, ReleaseForm, ReleasePackage, ReleaseProblem, kept};
use patchadm_releases::{Device, LinkGroup, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};
use patchadm_rootfs::{
    Dir, FileType, Live, LiveKind, ObjectStatus, Root, RootError, Sums, WorkMeter, WorkStep, WorkUnit,
    accounts_of, side_by_side,
};
use patchadm_svr4::package::{Accounts, ObjectPath, Word};

const DEEPEST: usize = 256;

/// Small, so that all threads end at about the same time.
const PIECE: usize = 64;

const BUFFER: usize = 1 << 16;

pub(super) struct MetObject {
    pub(super) path: ObjectPath,
    pub(super) status: ObjectStatus,
}

impl MetObject {
    fn bytes(&self) -> u64 {
        if self.status.file_type == FileType::Regular { self.status.size } else { 0 }
    }
}

type FileKey = ((u32, u32), u64);

pub(super) fn read(
    path: &Path,
    origin: String,
    cores: usize,
    meter: &WorkMeter,
) -> Result<ReleasePackage, ReleaseProblem> {
    let root = Root::open(path)?;
    let host = Root::open(Path::new("/"))?;
    let accounts = accounts_of(&host, &host)?;
    let top = root.dir(&ObjectPath::root())?;
    let before = top.itself()?;
    let met = walk(&root)?;
    let objects = read_met(&root, &accounts, &met, cores, meter)?;
    let is_untouched = |met: &MetObject| {
        Ok::<_, RootError>(look_again(&root, &met.path)?.is_some_and(|now| met.status.is_untouched(&now)))
    };
    for directory in met.iter().filter(|met| met.status.file_type == FileType::Directory) {
        if !is_untouched(directory)? {
            return Err(ReleaseProblem::Changed(root.show(&directory.path)));
        }
    }
    if !before.is_untouched(&top.itself()?) {
        return Err(ReleaseProblem::Changed(root.show(&ObjectPath::root())));
    }
    let stamps = met.into_iter().filter(|met| met.status.file_type == FileType::Regular);
    let contents = TreeContents::new(root, stamps.collect(), &objects);
    Ok(ReleasePackage::unnamed(origin, ReleaseForm::Tree, objects, contents))
}

pub(super) fn read_met(
    root: &Root,
    accounts: &Accounts,
    met: &[MetObject],
    cores: usize,
    meter: &WorkMeter,
) -> Result<Vec<ReleaseObject>, ReleaseProblem> {
    let firsts = first_names(met);
    let is_first = |met: &MetObject| firsts.get(&key(&met.status)).is_none_or(|first| *first == &met.path);
    let to_read: Vec<&MetObject> = met.iter().filter(|met| is_first(met)).collect();
    let pieces: Vec<&[&MetObject]> = to_read.chunks(PIECE).collect();
    let bytes = to_read.iter().map(|met| met.bytes());
    let step = meter.begin(WorkUnit::Bytes, bytes.fold(0, u64::saturating_add));
    let read = side_by_side(cores.max(1), pieces.len(), || {
        let step = &step;
        let mut reader = TreeReader { root, accounts, step, directory: None, buffer: vec![0; BUFFER] };
        let pieces = &pieces;
        move |at| reader.piece(pieces.get(at).copied().unwrap_or_default())
    });
    let read: Vec<ReleaseObject> =
        read.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
    with_links(met, &firsts, read)
}

fn key(status: &ObjectStatus) -> FileKey {
    (status.file_system, status.inode.number)
}

fn look_again(root: &Root, path: &ObjectPath) -> Result<Option<ObjectStatus>, RootError> {
    match path.parent() {
        Some(parent) => root.dir(&parent)?.look(path.name()),
        None => Ok(None),
    }
}

/// Sorted by path. Refuses sockets.
fn walk(root: &Root) -> Result<Vec<MetObject>, ReleaseProblem> {
    let mut met = Vec::new();
    let mut open = vec![ObjectPath::root()];
    while let Some(path) = open.pop() {
        if path.relative().split(|&byte| byte == b'/').count() > DEEPEST {
            return Err(ReleaseProblem::bad("directories are nested too deeply"));
        }
        let directory = root.dir(&path)?;
        for name in directory.names()? {
            let path = path.join(&name)?;
            let Some(status) = directory.look(&name)? else {
                return Err(ReleaseProblem::Changed(root.show(&path)));
            };
            match status.file_type {
                FileType::Directory => open.push(path.clone()),
                FileType::Socket => return Err(ReleaseProblem::Unsupported(format!("<{path}>, a socket"))),
                _ => {}
            }
            met.push(MetObject { path, status });
        }
    }
    leave_out_records(&mut met);
    met.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(met)
}

/// Only a root that packages or patches are registered in has it.
pub(super) const DATABASE: &str = "/var/sadm/install/contents";

/// The records and settings that the program makes in a root, each with the directory above.
const OWN: [(&[u8], &[u8]); 2] = [(b"/var", b"/var/sadm"), (b"/etc", b"/etc/patchadm")];

/// A tree may be a live root: its records are no part of a release.
fn leave_out_records(met: &mut Vec<MetObject>) {
    if !met.iter().any(|met| met.path.as_bytes() == DATABASE.as_bytes()) {
        return;
    }
    let is_below = |met: &MetObject, top: &[u8]| {
        met.path.as_bytes().strip_prefix(top).is_some_and(|rest| rest.starts_with(b"/"))
    };
    for (above, own) in OWN {
        let before = met.len();
        met.retain(|met| met.path.as_bytes() != own && !is_below(met, own));
        if met.len() < before && !met.iter().any(|met| is_below(met, above)) {
            met.retain(|met| met.path.as_bytes() != above);
        }
    }
}

fn first_names(met: &[MetObject]) -> HashMap<FileKey, &ObjectPath> {
    let mut firsts = HashMap::new();
    for met in met.iter().filter(|met| met.status.file_type == FileType::Regular && met.status.links > 1) {
        firsts.entry(key(&met.status)).or_insert(&met.path);
    }
    firsts
}

fn with_links(
    met: &[MetObject],
    firsts: &HashMap<FileKey, &ObjectPath>,
    read: Vec<ReleaseObject>,
) -> Result<Vec<ReleaseObject>, ReleaseProblem> {
    let mut counts: HashMap<FileKey, usize> = HashMap::new();
    for met in met.iter().filter(|met| met.status.links > 1) {
        *counts.entry(key(&met.status)).or_default() += 1;
    }
    let mut groups = HashMap::new();
    let mut found: Vec<ReleaseObject> = Vec::with_capacity(met.len());
    let mut read = read.into_iter();
    for met in met {
        let first = firsts.get(&key(&met.status)).copied().filter(|first| **first != met.path);
        let mut object = match first {
            None => read.next(),
            Some(first) => {
                let at = found.binary_search_by(|object| object.path.cmp(first));
                at.ok().and_then(|at| found.get(at).cloned())
            }
        }
        .ok_or_else(|| ReleaseProblem::Changed(met.path.to_string()))?;
        object.path = met.path.clone();
        if let ReleaseObjectKind::File { links, .. } = &mut object.kind
            && counts.get(&key(&met.status)).is_some_and(|&count| count > 1)
        {
            let next = u32::try_from(groups.len()).unwrap_or(u32::MAX);
            *links = Some(*groups.entry(key(&met.status)).or_insert(LinkGroup(next)));
        }
        found.push(object);
    }
    Ok(found)
}

struct TreeReader<'a> {
    root: &'a Root,
    accounts: &'a Accounts,
    step: &'a WorkStep,
    directory: Option<Dir>,
    buffer: Vec<u8>,
}

impl TreeReader<'_> {
    fn piece(&mut self, met: &[&MetObject]) -> Result<Vec<ReleaseObject>, ReleaseProblem> {
        met.iter().map(|met| self.object(met)).collect()
    }

    fn object(&mut self, met: &MetObject) -> Result<ReleaseObject, ReleaseProblem> {
        let directory = directory_of(self.root, &mut self.directory, &met.path)?;
        let live = directory.live_counted(&mut self.buffer, met.path.name(), self.step)?;
        let changed = || ReleaseProblem::Changed(self.root.show(&met.path));
        let live = live.filter(|live| met.status.is_untouched_in(live)).ok_or_else(changed)?;
        Ok(described(live, met.path.clone(), self.accounts))
    }
}

fn directory_of<'d>(root: &Root, open: &'d mut Option<Dir>, path: &ObjectPath) -> Result<&'d Dir, RootError> {
    let parent = path.parent_bytes().unwrap_or(b"/");
    let directory = match open.take() {
        Some(directory) if directory.path().as_bytes() == parent => directory,
        _ => root.dir(&path.parent().unwrap_or_else(ObjectPath::root))?,
    };
    Ok(open.insert(directory))
}

fn described(live: Live, path: ObjectPath, accounts: &Accounts) -> ReleaseObject {
    let kind = match live.kind {
        LiveKind::Regular { size, b3, cksum } => {
            let content = content_of(Sums { size, cksum, b3 });
            ReleaseObjectKind::File { content, upkeep: Upkeep::default(), links: None }
        }
        LiveKind::Directory => ReleaseObjectKind::Directory { exclusive: false },
        LiveKind::Symlink(target) => ReleaseObjectKind::Symlink(target),
        LiveKind::Device { block: true, major, minor } => ReleaseObjectKind::Block(Device { major, minor }),
        LiveKind::Device { block: false, major, minor } => {
            ReleaseObjectKind::Character(Device { major, minor })
        }
        // The walk refused sockets.
        LiveKind::Pipe | LiveKind::Socket => ReleaseObjectKind::Pipe,
    };
    ReleaseObject {
        path,
        kind,
        mode: live.mode,
        owner: owner(live.uid, accounts.user(live.uid)),
        group: owner(live.gid, accounts.group(live.gid)),
        mtime: live.mtime,
        xattrs: kept(live.xattrs),
        class: Word::default(),
    }
}

/// A number shown in place of an account's name is no name.
fn owner(id: u32, called: Word) -> ObjectOwner {
    ObjectOwner { name: Some(called).filter(|name| *name != id.to_string()), id: Some(id) }
}

struct TreeContents {
    root: Root,
    files: Vec<MetObject>,
    groups: BTreeMap<ObjectPath, LinkGroup>,
}

impl TreeContents {
    fn new(root: Root, files: Vec<MetObject>, objects: &[ReleaseObject]) -> Self {
        let groups = objects.iter().filter_map(|object| Some((object.path.clone(), object.link_group()?)));
        let groups = groups.collect();
        Self { root, files, groups }
    }

    fn open(&self, open: &mut Option<Dir>, met: &MetObject) -> io::Result<impl Read + use<>> {
        let of_tree = |error: RootError| io::Error::other(error);
        let directory = directory_of(&self.root, open, &met.path).map_err(of_tree)?;
        let (file, now) = directory.open_file(met.path.name()).map_err(of_tree)?;
        if !met.status.is_untouched(&now) {
            return Err(io::Error::other(ReleaseProblem::Changed(self.root.show(&met.path))));
        }
        // One byte more shows that the file grows.
        Ok(file.take(now.size + 1))
    }
}

impl ContentReader for TreeContents {
    fn each(
        &self,
        wanted: &dyn Fn(&ObjectPath) -> bool,
        sink: &mut dyn FnMut(&ObjectPath, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut given = std::collections::HashSet::new();
        let mut directory = None;
        for met in self.files.iter().filter(|met| wanted(&met.path)) {
            if self.groups.get(&met.path).is_some_and(|group| !given.insert(*group)) {
                continue;
            }
            let mut file = self.open(&mut directory, met)?;
            sink(&met.path, &mut file)?;
        }
        Ok(())
    }
}

/// Reads existing objects of a root at some paths, sorted. Follows links above an object within the root.
pub fn objects_at(root: &Root, paths: &[ObjectPath]) -> Result<Vec<ReleaseObject>, ReleaseError> {
    let failed = |problem| ReleaseError { path: root.prefix().to_owned(), problem };
    read_at(root, paths).map_err(failed)
}

fn read_at(root: &Root, paths: &[ObjectPath]) -> Result<Vec<ReleaseObject>, ReleaseProblem> {
    let accounts = accounts_of(root, root)?;
    let resolver = root.resolver();
    let (mut met, mut asked) = (BTreeMap::new(), Vec::with_capacity(paths.len()));
    for path in paths {
        let physical = resolver.locate(path)?;
        let Some(parent) = physical.parent() else { continue };
        let Some(directory) = root.dir_if_there(&parent)? else { continue };
        if let Some(status) = directory.look(physical.name())? {
            met.insert(physical.clone(), status);
            asked.push((path.clone(), physical));
        }
    }
    let met: Vec<MetObject> = met.into_iter().map(|(path, status)| MetObject { path, status }).collect();
    let read_at = read_met(root, &accounts, &met, 1, &WorkMeter::default())?;
    let by_place: BTreeMap<&ObjectPath, &ReleaseObject> =
        read_at.iter().map(|object| (&object.path, object)).collect();
    let mut objects: Vec<ReleaseObject> = asked
        .into_iter()
        .filter_map(|(path, physical)| Some(ReleaseObject { path, ..(*by_place.get(&physical)?).clone() }))
        .collect();
    objects.sort_by(|one, other| one.path.cmp(&other.path));
    objects.dedup_by(|one, other| one.path == other.path);
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_there_is_read_under_the_path_that_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        fs::write(dir.path().join("usr/bin/one"), "1").unwrap();
        fs::hard_link(dir.path().join("usr/bin/one"), dir.path().join("usr/bin/two")).unwrap();
        symlink("usr/bin", dir.path().join("bin")).unwrap();
        let paths = ["/bin/two", "/bin/one", "/bin/three", "/no/such", "/bin"];
        let paths: Vec<ObjectPath> =
            paths.iter().map(|path| ObjectPath::new(path.as_bytes()).unwrap()).collect();
        let found = objects_at(&Root::open(dir.path()).unwrap(), &paths).unwrap();
        let names: Vec<String> = found.iter().map(|object| object.path.to_string()).collect();
        assert_eq!(names, ["/bin", "/bin/one", "/bin/two"]);
        let groups: Vec<_> = found.iter().map(ReleaseObject::link_group).collect();
        assert!(groups[0].is_none() && groups[1].is_some() && groups[1] == groups[2]);
    }
}
