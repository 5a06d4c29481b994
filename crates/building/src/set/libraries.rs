//! Libraries needed by a set: each must be in the set or the base, where the loader looks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use patchadm_bulk_values::conf::BuildBase;
use patchadm_bulk_values::report::{LeftOutPackage, UnmetLibrary};
use patchadm_core::operation::libraries::{ScanRequest, read_facts, write_facts};
use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::source::SourceProblem;
use patchadm_libraries::elf::ElfMachine;
use patchadm_libraries::{
    ConfigFiles, LibraryFile, LibraryTree, Loader, LoaderSettings, Loading, NeedSource,
};
use patchadm_rootfs::{Dir, FileType, Interrupt, Root, RootError, Timestamp, cores, side_by_side};
use patchadm_svr4::package::ObjectPath;

use super::delivered::ArchivedObjects;
use super::selection::SetEntry;
use super::{PACKAGES, SetError};
use crate::object_places::{FairShares, LARGEST_PLACES, ObjectPlaces, OverlongPlaces, PathKind};
use crate::work::BulkWork;

const MOST_ROUNDS: usize = 10;

/// Packages left out because their loaders find a library neither in the set nor in the base.
#[derive(Debug, Default)]
pub(super) struct LackingPackages {
    pub(super) packages: Vec<LeftOutPackage>,
    pub(super) unmet: Vec<UnmetLibrary>,
}

/// Removes packages until all libraries are found. Missing libraries remove only the package that needs them.
///
/// Files for machines that the base does not support are data: nothing here runs them.
pub(super) fn leave_out_lacking(
    entries: &mut Vec<(SetEntry, ArchivedObjects)>,
    base: &BaseLibraries<'_>,
    interrupt: Interrupt<'_>,
) -> Result<LackingPackages, SetError> {
    let mut lacking = LackingPackages::default();
    for round in 0.. {
        let delivered = entries.iter().map(|(entry, objects)| (entry.package.as_str(), objects));
        let unmet = unmet_in(delivered.collect(), base, interrupt)?;
        if unmet.is_empty() {
            break;
        }
        let needs: BTreeMap<&str, &str> =
            unmet.iter().rev().map(|unmet| (unmet.package.as_str(), unmet.library.as_str())).collect();
        // Otherwise a long chain of packages would need one round for each.
        let locations: BTreeMap<String, String> = entries
            .iter()
            .filter(|_| round >= MOST_ROUNDS)
            .filter_map(|(entry, _)| {
                Some((entry.location.clone(), (*needs.get(&*entry.package)?).to_owned()))
            })
            .collect();
        entries.retain(|(entry, _)| {
            let library = needs.get(&*entry.package).copied();
            let library = library.or_else(|| locations.get(&entry.location).map(String::as_str));
            lacking.packages.extend(library.map(|library| entry.lacking(library.to_owned())));
            library.is_none()
        });
        lacking.unmet.extend(unmet);
    }
    Ok(lacking)
}

/// Entries with what they deliver, and those that were left out.
type ReadEntries = (Vec<SetEntry>, Vec<ArchivedObjects>, Vec<LeftOutPackage>);

/// Reads the packages of entries. Leaves out an entry with a package that cannot be used, as one that an earlier version
/// has built may be: it harms no other entry. The largest locations are left out if all together hold more than `most` bytes.
pub(super) fn read_delivered(
    entries: Vec<SetEntry>,
    most: usize,
    interrupt: Interrupt<'_>,
) -> Result<ReadEntries, SetError> {
    let mut locations: BTreeMap<&str, Vec<(usize, &SetEntry)>> = BTreeMap::new();
    for (number, entry) in entries.iter().enumerate() {
        locations.entry(&entry.location).or_default().push((number, entry));
    }
    let locations: Vec<(&str, Vec<(usize, &SetEntry)>)> = locations.into_iter().collect();
    let shares = Mutex::new(FairShares::up_to(most));
    let read = side_by_side(cores(), locations.len(), || {
        |at: usize| -> Result<(), SetError> {
            let Some((location, entries)) = locations.get(at) else { return Ok(()) };
            let (held, own) = read_location(entries, most.min(LARGEST_PLACES), interrupt)?;
            shares.lock().unwrap_or_else(PoisonError::into_inner).add(location, held, own);
            Ok(())
        }
    });
    read.into_iter().collect::<Result<(), _>>()?;
    let shares = shares.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut read: BTreeMap<usize, Result<ArchivedObjects, String>> = shares.into_items().collect();
    let (mut stay, mut delivered, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for (number, entry) in entries.into_iter().enumerate() {
        match read.remove(&number).unwrap_or_else(|| Err(OverlongPlaces.to_string())) {
            Ok(objects) => {
                stay.push(entry);
                delivered.push(objects);
            }
            Err(reason) => left_out.push(entry.unusable(reason)),
        }
    }
    Ok((stay, delivered, left_out))
}

/// The numbers of entries with what they deliver, or why they cannot be used.
type ReadLocation = Vec<(usize, Result<ArchivedObjects, String>)>;

/// Reads the packages of a location, and returns what they hold in bytes: none of them if that is more than `most`.
fn read_location(
    entries: &[(usize, &SetEntry)],
    most: usize,
    interrupt: Interrupt<'_>,
) -> Result<(usize, ReadLocation), SetError> {
    let (mut all, mut held) = (Vec::new(), 0_usize);
    for (number, entry) in entries {
        let mut of_entry = Ok(ArchivedObjects::default());
        for file in entry.files.iter().filter(|file| file.path.starts_with(PACKAGES)) {
            if let Some(signal) = interrupt() {
                return Err(SetError::Interrupted(signal));
            }
            match ArchivedObjects::read(&file.directory.join(&file.name)) {
                Ok(of_file) => {
                    held = held.saturating_add(of_file.held());
                    if let Ok(of_entry) = &mut of_entry {
                        of_entry.add_all(of_file);
                    }
                }
                Err(error) if is_of_content(&error.problem) => of_entry = Err(error.problem.to_string()),
                Err(error) => return Err(error.into()),
            }
            if held > most {
                return Ok((0, Vec::new()));
            }
        }
        if let Ok(of_entry) = &mut of_entry {
            of_entry.delivery.owner.clone_from(&entry.location);
        }
        all.push((*number, of_entry));
    }
    Ok((held, all))
}

/// Returns true if the content of a package is the reason of a problem, and not the machine.
pub(crate) fn is_of_content(problem: &SourceProblem) -> bool {
    match problem {
        SourceProblem::Io { error, .. } => {
            error.raw_os_error().is_none()
                && matches!(
                    error.kind(),
                    io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                )
        }
        SourceProblem::Unsupported(_)
        | SourceProblem::BadForm(_)
        | SourceProblem::Foreign(_)
        | SourceProblem::NoPackage
        | SourceProblem::HoldsPatches(_)
        | SourceProblem::Unsafe { .. }
        | SourceProblem::NotDecompressed(_)
        | SourceProblem::CorruptPackageFile { .. }
        | SourceProblem::Corrupt { .. } => true,
        _ => false,
    }
}

/// Returns libraries that these packages would lack if installed together.
pub(crate) fn unmet_in(
    delivered: Vec<(&str, &ArchivedObjects)>,
    base: &BaseLibraries<'_>,
    interrupt: Interrupt<'_>,
) -> Result<Vec<UnmetLibrary>, SetError> {
    if delivered.iter().all(|(_, objects)| objects.files.is_empty()) {
        return Ok(Vec::new());
    }
    InstalledSet::of(base.get()?, delivered, interrupt)?.unmet(interrupt)
}

pub(crate) struct FoundLibrary<'a> {
    pub(crate) package: &'a str,
    pub(crate) machine: ElfMachine,
    pub(crate) library: String,
    pub(crate) provider: Option<&'a str>,
}

pub(crate) fn found_libraries<'a>(
    delivered: Vec<(&'a str, &ArchivedObjects)>,
    base: &BaseLibraries<'_>,
    interrupt: Interrupt<'_>,
) -> Result<Vec<FoundLibrary<'a>>, SetError> {
    if delivered.iter().all(|(_, objects)| objects.files.is_empty()) {
        return Ok(Vec::new());
    }
    let set = InstalledSet::of(base.get()?, delivered, interrupt)?;
    let mut found = BTreeSet::new();
    set.load_all(interrupt, &mut |loading| {
        for object in &loading.objects {
            let Some(package) = set.owners.get(&object.way.path) else { continue };
            let machine = object.way.file.facts.machine;
            for need in loading.needs_of(object).filter(|need| need.source == NeedSource::Needed) {
                if let Some(library) = loading.found(need) {
                    let provider = set.owners.get(&library.way.path).copied();
                    found.insert((*package, machine, loading.name(need), provider));
                }
            }
        }
    })?;
    let found = found.into_iter().map(|(package, machine, library, provider)| FoundLibrary {
        package,
        machine,
        library: library.to_string(),
        provider,
    });
    Ok(found.collect())
}

struct InstalledSet<'a> {
    tree: LibraryTree,
    settings: LoaderSettings,
    owners: HashMap<ObjectPath, &'a str>,
    machines: HashSet<ElfMachine>,
}

impl<'a> InstalledSet<'a> {
    fn of(
        base: &ScannedBase,
        delivered: Vec<(&'a str, &ArchivedObjects)>,
        interrupt: Interrupt<'_>,
    ) -> Result<Self, SetError> {
        let ScannedBase { root, is_directory, tree } = base;
        let machines = tree.files().map(|(_, file)| file.facts.machine).collect();
        let mut set = Self {
            tree: tree.clone(),
            settings: LoaderSettings::default(),
            owners: HashMap::new(),
            machines,
        };
        let mut settings = Vec::new();
        let deliveries = delivered.iter().map(|(_, objects)| &objects.delivery).collect();
        let over = is_directory.then_some(root);
        let places = ObjectPlaces::of(over, deliveries, interrupt).map_err(SetError::Interrupted)?;
        for (number, (package, objects)) in delivered.into_iter().enumerate() {
            if let Some(signal) = interrupt() {
                return Err(SetError::Interrupted(signal));
            }
            let mut ways = places.ways(number);
            let mut physical = |path: &ObjectPath| ways.place(path, PathKind::Other);
            let mut own: BTreeMap<ObjectPath, Arc<LibraryFile>> = BTreeMap::new();
            for (path, file) in &objects.files {
                own.insert(physical(path), file.clone());
            }
            for (path, file) in &objects.names {
                if let Some(file) = own.get(&physical(file)).cloned() {
                    own.insert(physical(path), file);
                }
            }
            for (path, file) in own {
                set.tree.put_file(path.clone(), file);
                set.owners.insert(path, package);
            }
            for (path, target) in &objects.delivery.links {
                set.tree.put_link(physical(path), target);
            }
            settings.extend(objects.settings.iter().cloned());
        }
        set.settings = LoaderSettings::read(&OverlaidSettings { root, delivered: settings });
        Ok(set)
    }

    fn unmet(&self, interrupt: Interrupt<'_>) -> Result<Vec<UnmetLibrary>, SetError> {
        let mut unmet = BTreeSet::new();
        self.load_all(interrupt, &mut |loading| self.take(loading, &mut unmet))?;
        let unmet = unmet.into_iter();
        Ok(unmet.map(|(package, library)| UnmetLibrary { package: package.to_owned(), library }).collect())
    }

    /// Loads each program, then each library that no program loaded.
    fn load_all(&self, interrupt: Interrupt<'_>, visit: &mut dyn FnMut(&Loading)) -> Result<(), SetError> {
        let mut loader = Loader::new(&self.tree, &self.settings).ended_by(interrupt);
        let mut loaded: HashSet<ObjectPath> = HashSet::new();
        // In one directory, every name of a file loads the same.
        let mut names: HashSet<(*const LibraryFile, &[u8])> = HashSet::new();
        let mut paths: Vec<&ObjectPath> = self.owners.keys().collect();
        paths.sort_unstable();
        let (programs, libraries): (Vec<_>, Vec<_>) = paths
            .into_iter()
            .partition(|path| self.tree.file_at(path).is_some_and(|file| file.facts.is_program()));
        for path in programs.into_iter().chain(libraries) {
            let is_meant = |file: &&Arc<LibraryFile>| {
                self.machines.is_empty() || self.machines.contains(&file.facts.machine)
            };
            let Some(file) = self.tree.file_at(path).filter(|file| is_meant(file)) else { continue };
            let is_new = names.insert((Arc::as_ptr(file), path.parent_bytes().unwrap_or_default()));
            if !is_new || loaded.contains(path) {
                continue;
            }
            let loading = loader.load(path);
            // An interrupted loader misses libraries.
            if let Some(signal) = interrupt() {
                return Err(SetError::Interrupted(signal));
            }
            if let Some(loading) = loading {
                visit(&loading);
                loaded.extend(loading.objects.iter().map(|object| object.way.path.clone()));
            }
        }
        Ok(())
    }

    fn take(&self, loading: &Loading, unmet: &mut BTreeSet<(&'a str, String)>) {
        for object in &loading.objects {
            let Some(package) = self.owners.get(&object.way.path) else { continue };
            let needs = loading.needs_of(object).filter(|need| {
                // Loader settings are no need of an object, and libraries loaded at run time may be missing.
                matches!(need.source, NeedSource::Needed | NeedSource::Interpreter)
            });
            let lost = needs.filter(|need| loading.found(need).is_none());
            unmet.extend(lost.map(|need| (*package, loading.name(need).to_string())));
        }
    }
}

const LARGEST_SETTINGS: u64 = 1 << 20;

const FACTS: &[u8] = b"base.facts";

const PROGRAM: &str = "base-facts";

/// Programs and libraries of the base, scanned once on first use.
pub(crate) struct BaseLibraries<'a> {
    work: &'a BulkWork,
    interrupt: Interrupt<'a>,
    scanned: OnceLock<ScannedBase>,
}

pub(super) struct ScannedBase {
    pub(super) root: Root,
    /// False for the host as base.
    pub(super) is_directory: bool,
    pub(super) tree: LibraryTree,
}

impl<'a> BaseLibraries<'a> {
    pub(crate) fn new(work: &'a BulkWork, interrupt: Interrupt<'a>) -> Self {
        Self { work, interrupt, scanned: OnceLock::new() }
    }

    pub(super) fn get(&self) -> Result<&ScannedBase, SetError> {
        if let Some(scanned) = self.scanned.get() {
            return Ok(scanned);
        }
        let scanned = ScannedBase::scan(self.work, self.interrupt)?;
        Ok(self.scanned.get_or_init(|| scanned))
    }
}

impl ScannedBase {
    /// Reads only files changed since the last scan.
    fn scan(work: &BulkWork, interrupt: Interrupt<'_>) -> Result<Self, SetError> {
        let (path, of_host): (&Path, &[PathBuf]) = match &work.conf.base {
            BuildBase::Directory(path) => (path, &[]),
            BuildBase::Host(paths) => (Path::new("/"), paths),
        };
        let is_directory = matches!(work.conf.base, BuildBase::Directory(_));
        let root = Root::open(path)?;
        let skip = if is_directory { Vec::new() } else { beside(&root, of_host)? };
        let entered: Vec<ObjectPath> = of_host
            .iter()
            .filter_map(|path| ObjectPath::new(path.as_os_str().as_encoded_bytes()).ok())
            .collect();
        let facts = FactsFile::open(&work.conf.build_dir);
        let known = facts.as_ref().map(|facts| read_facts(&facts.build_dir, FACTS)).unwrap_or_default();
        let request = ScanRequest { root: &root, skip: &skip, scan: &entered, known: &known, interrupt };
        let mut scan = request.scan()?;
        let tree = std::mem::take(&mut scan.tree);
        if let Some(facts) = facts {
            let found = scan.into_cache(facts.began);
            if found != known {
                write_facts(&facts.build_dir, FACTS, &found);
            }
        }
        Ok(Self { root, is_directory, tree })
    }
}

/// Stored results of earlier scans.
struct FactsFile {
    build_dir: Dir,
    /// Start of the scan, by the clock that dates file changes.
    began: Timestamp,
}

impl FactsFile {
    /// `None` if nothing can be written.
    fn open(build_dir: &Path) -> Option<Self> {
        let build_dir = Dir::of_host(build_dir).ok()?;
        let (name, file) = build_dir.create_private(PROGRAM).ok()?;
        drop(file);
        let began = build_dir.look(&name).ok()??.ctime;
        // This also removes files of killed scans.
        build_dir.remove_leftovers(PROGRAM).ok()?;
        Some(Self { build_dir, began })
    }
}

/// Returns patterns that exclude everything but these host paths and the directories above.
fn beside(host: &Root, paths: &[PathBuf]) -> Result<Vec<PathGlob>, RootError> {
    let mut skip = Vec::new();
    let mut open = vec![(host.dir(&ObjectPath::root())?, PathBuf::from("/"))];
    while let Some((dir, at)) = open.pop() {
        for name in dir.names()? {
            let below = crate::work::host_path(&at, &name);
            if paths.contains(&below) {
                continue;
            }
            let leads_on = paths.iter().any(|path| path.starts_with(&below));
            if leads_on && dir.look(&name)?.is_some_and(|seen| seen.file_type == FileType::Directory) {
                open.push((dir.dir(&name)?, below));
            } else if !leads_on {
                skip.extend(literal(&below).and_then(|text| PathGlob::parse(&text).ok()));
            }
        }
    }
    Ok(skip)
}

fn literal(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    Some(
        text.chars()
            .map(|letter| if matches!(letter, '*' | '?' | '[' | '\\') { '?' } else { letter })
            .collect(),
    )
}

/// Loader settings, where packages take precedence over the base.
pub(super) struct OverlaidSettings<'a> {
    pub(super) root: &'a Root,
    pub(super) delivered: Vec<(ObjectPath, Vec<u8>)>,
}

impl ConfigFiles for OverlaidSettings<'_> {
    fn content(&self, path: &ObjectPath) -> Option<Vec<u8>> {
        if let Some((_, content)) = self.delivered.iter().find(|(known, _)| known == path) {
            return Some(content.clone());
        }
        let physical = self.root.resolver().locate_dir(path).ok()?;
        let dir = self.root.dir_if_there(&physical.parent()?).ok()??;
        dir.read_regular(physical.name(), LARGEST_SETTINGS).ok()?
    }

    fn names(&self, directory: &ObjectPath) -> Vec<Vec<u8>> {
        let physical = self.root.resolver().locate_dir(directory).ok();
        let dir: Option<Dir> = physical.and_then(|physical| self.root.dir_if_there(&physical).ok()?);
        let mut names = dir.and_then(|dir| dir.names().ok()).unwrap_or_default();
        let delivered = self.delivered.iter().filter(|(path, _)| path.parent().as_ref() == Some(directory));
        names.extend(delivered.map(|(path, _)| path.name().to_vec()));
        names.sort();
        names.dedup();
        names
    }
}
