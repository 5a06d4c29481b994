//! The survey reads everything that a plan needs into one [`Inventory`]: paths and packages of the change
//! ([`Touched`]), and related parents, link targets, other names, kept files, and contents of replaced directories.
//! Regular files are digested once. The caller must hold the lock: live objects are not part of a view.

mod patches;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::io::Read;

use super::contents::{ContentsLines, lines_below, lines_of_paths};
use super::undo_data::OutsideAccess;
use super::{DatabaseError, RecordView, all, installed, marker, places};
use crate::inventory::{FileHead, FileSystem, Installed, Interruption, Inventory, LinkedDirectory, Touched};
use patchadm_rootfs::{
    Digest, Interrupt, InterruptibleRead, KnownFile, Live, LiveKind, ObjectStatus, Resolver, Root, RootError,
    Sums, accounts_of, side_by_side,
};
use patchadm_svr4::package::{Ftype, ObjectPath, PkgInst};

#[derive(Clone, Copy)]
pub struct SurveySettings<'a> {
    /// The running system: for accounts that the root lacks, and undo archives outside the root.
    pub host: &'a Root,
    pub separator: &'a str,
    /// For a root without a journal: 16 random hexadecimal digits.
    pub new_marker: &'a str,
    /// Undo archives outside the root that may be opened.
    pub outside: OutsideAccess<'a>,
    pub interrupt: Interrupt<'a>,
}

impl SurveySettings<'_> {
    fn go_on(&self) -> Result<(), DatabaseError> {
        DatabaseError::unless_interrupted(self.interrupt)
    }
}

/// Returns the path of a root on the host; `None` for `/` and for relative paths.
pub fn prefix(root: &Root) -> Option<ObjectPath> {
    use std::os::unix::ffi::OsStrExt;
    let prefix = ObjectPath::new(root.prefix().as_os_str().as_bytes()).ok()?;
    (prefix != ObjectPath::root()).then_some(prefix)
}

pub fn survey(
    view: &RecordView<'_>,
    touched: &Touched,
    setting: &SurveySettings<'_>,
) -> Result<Inventory, DatabaseError> {
    survey_with(packages(view)?, view, touched, setting)
}

/// Takes [`packages`] or their [`parameters`], which must not have changed since they were read.
pub fn survey_with(
    packages: BTreeMap<PkgInst, Installed>,
    view: &RecordView<'_>,
    touched: &Touched,
    setting: &SurveySettings<'_>,
) -> Result<Inventory, DatabaseError> {
    setting.go_on()?;
    let root = view.root();
    let mut inventory = Inventory {
        marker: marker(root)?.unwrap_or_else(|| setting.new_marker.to_owned()),
        prefix: prefix(root),
        accounts: accounts_of(root, setting.host)?,
        privileged: root.is_privileged(),
        caller: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        contents_size: size(view, &places::contents())?
            + size(view, &places::pkglog())?
            + size(view, &places::contents_stamp())?,
        packages,
        ..Inventory::default()
    };
    for package in &touched.packages {
        if let Some(installed) = inventory.packages.get_mut(package) {
            // Other packages may lack parameters, but changed ones must have them.
            installed::params(view, package)?;
            installed::records(view, package, installed)?;
        }
    }
    let mut walk = ObjectSurvey::new(root, (touched, setting), inventory);
    walk.lines(view)?;
    walk.objects()?;
    let trees: Vec<ObjectPath> = walk.trees.iter().cloned().collect();
    let mut inventory = walk.finish()?;
    if !trees.is_empty() {
        inventory.lines.extend(lines_below(view, &trees)?);
    }
    mark_swap_files(root, &mut inventory)?;
    patches::read(view, touched, setting, &mut inventory)?;
    Ok(inventory)
}

#[cfg(debug_assertions)]
static PACKAGE_READS: std::sync::Mutex<BTreeMap<std::path::PathBuf, u64>> =
    std::sync::Mutex::new(BTreeMap::new());

#[cfg(debug_assertions)]
fn note_package_read(root: &Root) {
    let mut reads = PACKAGE_READS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    *reads.entry(root.prefix().to_owned()).or_default() += 1;
}

/// Returns how often this process has read all packages of the root with this prefix, for a test. Debug builds only.
#[cfg(debug_assertions)]
pub fn package_reads(prefix: &std::path::Path) -> u64 {
    let reads = PACKAGE_READS.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    reads.get(prefix).copied().unwrap_or(0)
}

fn size(view: &RecordView<'_>, record: &ObjectPath) -> Result<u64, DatabaseError> {
    Ok(view.look(record)?.map_or(0, |seen| seen.size))
}

/// Reads every package with its parameters, and those set aside by an unfinished installation.
pub fn parameters(view: &RecordView<'_>) -> Result<BTreeMap<PkgInst, Installed>, DatabaseError> {
    #[cfg(debug_assertions)]
    note_package_read(view.root());
    let packages = all::each(view, |package| {
        let Some(params) = package.params()? else { return Ok(None) };
        let interruption = Interruption { put_aside: package.put_aside()?, ..Interruption::default() };
        let installed = Installed { params, interruption, ..Installed::default() };
        Ok::<_, DatabaseError>(Some((package.inst().clone(), installed)))
    });
    Ok(packages?.into_iter().collect())
}

/// Also if the package is partial.
pub fn packages(view: &RecordView<'_>) -> Result<BTreeMap<PkgInst, Installed>, DatabaseError> {
    packages_but(view, |_| false)
}

/// Like [`packages`], without damaged packages for which `is_passed_over` holds.
pub fn packages_but(
    view: &RecordView<'_>,
    is_passed_over: impl Fn(&PkgInst) -> bool + Sync,
) -> Result<BTreeMap<PkgInst, Installed>, DatabaseError> {
    #[cfg(debug_assertions)]
    note_package_read(view.root());
    let packages = all::each(view, |package| {
        let params = if is_passed_over(package.inst()) {
            match package.whole_params() {
                Err(DatabaseError::Damaged(_)) => None,
                read => read?,
            }
        } else {
            package.params()?
        };
        let Some(params) = params else { return Ok(None) };
        let partial = package.is_partial()?;
        let installed = Installed { params, partial, ..Installed::default() };
        Ok::<_, DatabaseError>(Some((package.inst().clone(), installed)))
    });
    Ok(packages?.into_iter().collect())
}

/// Marks paths whose live bytes equal the delivered ones.
pub fn fill_identical(inventory: &mut Inventory, delivered: impl IntoIterator<Item = (ObjectPath, Digest)>) {
    for (path, digest) in delivered {
        if inventory.live.get(&path).and_then(Live::digest) == Some(digest) {
            inventory.identical.insert(path);
        }
    }
}

struct ObjectSurvey<'a> {
    root: &'a Root,
    resolver: Resolver<'a>,
    touched: &'a Touched,
    setting: &'a SurveySettings<'a>,
    inventory: Inventory,
    file_systems: FileSystems<'a>,
    open: BTreeSet<ObjectPath>,
    trees: BTreeSet<ObjectPath>,
}

impl<'a> ObjectSurvey<'a> {
    fn new(
        root: &'a Root,
        (touched, setting): (&'a Touched, &'a SurveySettings<'a>),
        inventory: Inventory,
    ) -> Self {
        let mut walk = Self {
            root,
            resolver: root.resolver(),
            touched,
            setting,
            inventory,
            file_systems: FileSystems::new(root),
            open: BTreeSet::new(),
            trees: BTreeSet::new(),
        };
        touched.paths.iter().chain(&touched.not_directories).for_each(|path| walk.add(path));
        walk
    }

    fn add(&mut self, path: &ObjectPath) {
        let mut next = (!self.is_known(path.as_bytes())).then(|| path.clone());
        while let Some(path) = next {
            // Parent directories are added with each path, so those of a known path are known.
            let is_led_to = path.parent_bytes().is_none_or(|above| self.is_known(above));
            next = if is_led_to { None } else { path.parent() };
            self.open.insert(path);
        }
    }

    fn is_known(&self, path: &[u8]) -> bool {
        self.open.contains(path) || self.inventory.physical.contains_key(path)
    }

    /// Reads the lines of the paths, and adds the other names of their files to the survey.
    fn lines(&mut self, view: &RecordView<'_>) -> Result<(), DatabaseError> {
        let mut lines = ContentsLines::new();
        let mut new = self.open.clone();
        // A recorded name may be of a file that is itself recorded as a name of another.
        while !new.is_empty() {
            self.setting.go_on()?;
            let found = lines_of_paths(view, &new)?;
            let known = self.open.clone();
            for path in found.keys().chain(&link_sources(&found)) {
                self.add(path);
            }
            new = self.open.difference(&known).cloned().collect();
            lines.extend(found);
        }
        self.inventory.lines = lines;
        Ok(())
    }

    fn objects(&mut self) -> Result<(), DatabaseError> {
        while !self.open.is_empty() {
            let mut by_directory: BTreeMap<ObjectPath, Vec<(ObjectPath, Vec<u8>)>> = BTreeMap::new();
            for path in std::mem::take(&mut self.open) {
                self.setting.go_on()?;
                let physical = self.resolver.locate_object(&path)?;
                // A link among the parents may lead to directories that no path names.
                if physical != path {
                    self.add(&physical);
                }
                self.inventory.physical.insert(path.clone(), physical.clone());
                let directory = physical.parent_bytes().unwrap_or_else(|| physical.as_bytes());
                let of_directory = match by_directory.get_mut(directory) {
                    Some(of_directory) => of_directory,
                    None => {
                        by_directory.entry(physical.parent().unwrap_or_else(ObjectPath::root)).or_default()
                    }
                };
                of_directory.push((path, physical.name().to_vec()));
            }
            self.open.retain(|path| !self.inventory.physical.contains_key(path));
            self.directories(by_directory)?;
        }
        Ok(())
    }

    fn directories(
        &mut self,
        by_directory: BTreeMap<ObjectPath, Vec<(ObjectPath, Vec<u8>)>>,
    ) -> Result<(), DatabaseError> {
        let mut directories = Vec::with_capacity(by_directory.len());
        for (physical, paths) in by_directory {
            let is_listed = paths.iter().any(|(path, _)| self.touched.paths.contains(path));
            directories.push(SurveyedDirectory { physical, paths, is_listed });
        }
        let seen = look(self.root, &directories, &self.touched.known, self.setting.interrupt)?;
        for (directory, DirectorySeen { itself, live, heads, kept }) in directories.iter().zip(seen) {
            self.inventory.heads.extend(heads);
            let file_system = self.file_systems.of(&directory.physical, itself)?;
            self.inventory.on.extend(directory.paths.iter().map(|(path, _)| (path.clone(), file_system)));
            for (path, live) in live {
                self.below(&path, &live)?;
                self.behind(&path, &live)?;
                self.inventory.live.insert(path, live);
            }
            self.beside(&kept, &directory.paths);
        }
        Ok(())
    }

    /// Adds the content of a directory that will become something else.
    fn below(&mut self, path: &ObjectPath, live: &Live) -> Result<(), DatabaseError> {
        let goes = self.touched.not_directories.contains(path)
            || path.ancestors_bytes().any(|above| self.trees.contains(above));
        if !goes || !live.is_directory() {
            return Ok(());
        }
        let physical = self.inventory.physical.get(path).unwrap_or(path);
        for inner in self.root.dir(physical)?.names()? {
            if let Ok(inner) = path.join(&inner) {
                self.add(&inner);
            }
        }
        self.trees.insert(path.clone());
        Ok(())
    }

    /// Follows a symbolic link in place of a delivered or recorded directory.
    fn behind(&mut self, path: &ObjectPath, live: &Live) -> Result<(), DatabaseError> {
        let recorded = self.inventory.lines.get(path).is_some_and(|line| line.object.ftype.is_directory());
        let delivered = self.touched.paths.contains(path) && !self.touched.not_directories.contains(path);
        if !matches!(live.kind, LiveKind::Symlink(_)) || !recorded && !delivered {
            return Ok(());
        }
        if let Some((directory, seen)) = self.resolver.directory_behind(path)? {
            let (mode, uid, gid) = (seen.mode, seen.uid, seen.gid);
            let linked = LinkedDirectory { path: directory, mode, uid, gid };
            self.inventory.linked_directories.insert(path.clone(), linked);
        }
        Ok(())
    }

    /// Adds the files kept beside the paths (`PATH.edited-…`, `PATH.patch-…`), because their names are taken.
    fn beside(&mut self, kept: &[Vec<u8>], paths: &[(ObjectPath, Vec<u8>)]) {
        if kept.is_empty() {
            return;
        }
        let concerned: BTreeMap<&[u8], &ObjectPath> = paths
            .iter()
            .filter(|(path, _)| self.touched.paths.contains(path))
            .map(|(path, name)| (name.as_slice(), path))
            .collect();
        for name in kept {
            let Some(path) = kept_name(name).and_then(|name| concerned.get(name)) else { continue };
            if let Some(kept) = path.parent().and_then(|parent| parent.join(name).ok()) {
                self.add(&kept);
            }
        }
    }

    fn finish(mut self) -> Result<Inventory, DatabaseError> {
        let records = self.resolver.locate_dir(&places::packages())?;
        self.inventory.records_on = self.file_systems.of(&records, None)?;
        self.inventory.file_systems = self.file_systems.into_list();
        let Inventory { lines, live, physical, on, .. } = &mut self.inventory;
        compact(lines);
        compact(live);
        compact(physical);
        compact(on);
        Ok(self.inventory)
    }
}

/// A map filled in key order has half-empty nodes: rebuilds it.
fn compact<K: Ord, V>(map: &mut BTreeMap<K, V>) {
    *map = std::mem::take(map).into_iter().collect();
}

fn link_sources(lines: &ContentsLines) -> BTreeSet<ObjectPath> {
    lines
        .values()
        .filter(|line| line.object.ftype == Ftype::Link)
        .filter_map(|line| line.path.link_source(line.object.target.as_deref()?).ok())
        .collect()
}

/// Marks swap files, which cannot be renamed over.
fn mark_swap_files(root: &Root, inventory: &mut Inventory) -> Result<(), DatabaseError> {
    /// The kernel's table is short.
    const LARGEST: u64 = 1 << 20;
    if !root.is_system() {
        return Ok(());
    }
    let Ok(path) = ObjectPath::new(b"/proc/swaps") else { return Ok(()) };
    let swaps = swap_files(&root.read(&path, LARGEST)?.unwrap_or_default());
    for (path, live) in &mut inventory.live {
        if inventory.physical.get(path).is_some_and(|physical| swaps.contains(physical)) {
            live.obstacle = Some("is a swap file");
        }
    }
    Ok(())
}

fn swap_files(text: &[u8]) -> BTreeSet<ObjectPath> {
    let paths =
        text.split(|&b| b == b'\n').skip(1).filter_map(|line| line.split(u8::is_ascii_whitespace).next());
    paths.filter_map(|path| ObjectPath::new(&patchadm_svr4::package::unescape(path)).ok()).collect()
}

const PIECE: usize = 64;
const BUFFER: usize = 1 << 17;

#[derive(Debug)]
struct SurveyedDirectory {
    physical: ObjectPath,
    paths: Vec<(ObjectPath, Vec<u8>)>,
    is_listed: bool,
}

#[derive(Debug, Default)]
struct DirectorySeen {
    /// `None` if it is missing.
    itself: Option<MountKey>,
    live: Vec<(ObjectPath, Live)>,
    heads: Vec<(ObjectPath, FileHead)>,
    kept: Vec<Vec<u8>>,
}

type PathRange = (usize, usize, usize);

/// Returns the contents of all directories in order; a missing one is empty. Bytes of unchanged `known` files are not
/// read. A signal ends it, even in the middle of a file.
fn look(
    root: &Root,
    directories: &[SurveyedDirectory],
    known: &BTreeMap<ObjectPath, KnownFile>,
    interrupt: Interrupt<'_>,
) -> Result<Vec<DirectorySeen>, DatabaseError> {
    let pieces: Vec<PathRange> = directories.iter().enumerate().flat_map(pieces).collect();
    let seen = side_by_side(root.workers(), pieces.len(), || {
        let (mut buffer, pieces) = (vec![0; BUFFER], &pieces);
        move |at| {
            let piece = pieces.get(at)?;
            let seen = look_at(root, directories, (known, interrupt), *piece, &mut buffer);
            // An interrupted read also fails.
            let interrupted = |error| interrupt().map_or(error, DatabaseError::Interrupted);
            Some((piece.0, seen.map_err(interrupted)))
        }
    });
    let mut all: Vec<DirectorySeen> = directories.iter().map(|_| DirectorySeen::default()).collect();
    // The first error in the order of paths counts, regardless of threads.
    for (directory, found) in seen.into_iter().flatten() {
        let found = found?;
        if let Some(all) = all.get_mut(directory) {
            all.itself = all.itself.or(found.itself);
            all.live.extend(found.live);
            all.heads.extend(found.heads);
            all.kept.extend(found.kept);
        }
    }
    Ok(all)
}

fn pieces((number, directory): (usize, &SurveyedDirectory)) -> impl Iterator<Item = PathRange> {
    let count = directory.paths.len();
    (0..count).step_by(PIECE).map(move |from| (number, from, count.min(from + PIECE)))
}

fn look_at(
    root: &Root,
    directories: &[SurveyedDirectory],
    (known, interrupt): (&BTreeMap<ObjectPath, KnownFile>, Interrupt<'_>),
    (number, from, to): PathRange,
    buffer: &mut [u8],
) -> Result<DirectorySeen, DatabaseError> {
    let mut seen = DirectorySeen::default();
    let Some(directory) = directories.get(number) else { return Ok(seen) };
    let Some(mut dir) = root.dir_of_object(&directory.physical)? else { return Ok(seen) };
    if from == 0 {
        seen.itself = Some(key(&dir.itself()?));
    }
    let is_listed = from == 0 && directory.is_listed;
    if is_listed {
        let kept = dir.first_listing_of(|name| kept_name(name).is_some())?;
        seen.kept = kept.into_iter().map(|(name, _)| name).collect();
    }
    for (path, name) in directory.paths.get(from..to).unwrap_or_default() {
        if let Some(signal) = interrupt() {
            return Err(DatabaseError::Interrupted(signal));
        }
        if is_listed && kept_name(name).is_some() && seen.kept.binary_search(name).is_err() {
            continue;
        }
        let mut head = None;
        let live = dir.live_with(name, known.get(path), |file| {
            let mut file = HeadOfFile { file: InterruptibleRead::new(file, interrupt), head: Vec::new() };
            let sums = Sums::through(buffer, &mut file);
            head = file.head.try_into().ok();
            sums
        })?;
        if let Some(live) = live {
            seen.heads.extend(head.map(|head| (path.clone(), head)));
            seen.live.push((path.clone(), live));
        }
    }
    Ok(seen)
}

/// Keeps the first bytes that are read.
struct HeadOfFile<R> {
    file: R,
    head: Vec<u8>,
}

impl<R: Read> Read for HeadOfFile<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let missing = size_of::<FileHead>() - self.head.len();
        self.head.extend_from_slice(buffer.get(..count.min(missing)).unwrap_or_default());
        Ok(count)
    }
}

fn kept_name(name: &[u8]) -> Option<&[u8]> {
    let is_infix = |rest: &[u8]| rest.starts_with(b".edited-") || rest.starts_with(b".patch-");
    let at = (0..name.len()).find(|at| name.get(*at..).is_some_and(is_infix))?;
    name.get(..at)
}

/// A bind mount shares the file system of its source, but renames between the two fail.
type MountKey = (u64, (u32, u32));

struct FileSystems<'a> {
    root: &'a Root,
    found: Vec<(MountKey, FileSystem)>,
    known: HashMap<ObjectPath, usize>,
}

impl<'a> FileSystems<'a> {
    fn new(root: &'a Root) -> Self {
        Self { root, found: Vec::new(), known: HashMap::new() }
    }

    /// The directory may still have to be made; `seen` if it is known to be there.
    fn of(&mut self, directory: &ObjectPath, seen: Option<MountKey>) -> Result<usize, RootError> {
        let (mut at, mut seen) = (directory.clone(), seen);
        let index = loop {
            if let Some(&index) = self.known.get(&at) {
                break index;
            }
            seen = match seen {
                None => self.look(&at)?.as_ref().map(key),
                seen => seen,
            };
            if let Some(seen) = seen {
                break self.index(&at, seen)?;
            }
            at = at.parent().unwrap_or_else(ObjectPath::root);
        };
        self.known.insert(directory.clone(), index);
        Ok(index)
    }

    fn into_list(self) -> Vec<FileSystem> {
        self.found.into_iter().map(|(_, file_system)| file_system).collect()
    }

    fn look(&self, directory: &ObjectPath) -> Result<Option<ObjectStatus>, RootError> {
        self.root.dir_of_object(directory)?.map(|dir| dir.itself()).transpose()
    }

    fn index(&mut self, directory: &ObjectPath, of: MountKey) -> Result<usize, RootError> {
        if let Some(index) = self.found.iter().position(|(known, _)| *known == of) {
            return Ok(index);
        }
        let mut top = directory.clone();
        while let Some(parent) = top.parent() {
            if self.look(&parent)?.is_none_or(|seen| key(&seen) != of) {
                break;
            }
            top = parent;
        }
        let directory = self.root.dir(directory)?;
        let space = directory.space()?;
        let file_system = FileSystem {
            name: self.root.show(&top),
            free: space.bytes,
            inodes: space.inodes,
            unit: space.unit,
            is_read_only: directory.is_read_only()?,
            unsupported: directory.unsupported()?,
        };
        self.found.push((of, file_system));
        Ok(self.found.len() - 1)
    }
}

fn key(seen: &ObjectStatus) -> MountKey {
    (seen.mount, seen.file_system)
}

#[cfg(test)]
mod tests;
