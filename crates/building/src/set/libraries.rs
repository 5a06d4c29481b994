//! The libraries that the programs and libraries of a set need: each must be in the set or in the base, where its loader looks.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use patchadm_bulk_values::report::{LeftOutPackage, UnmetLibrary};
use patchadm_libraries::elf::ElfMachine;
use patchadm_libraries::{LibraryFile, LibraryTree, Loader, LoaderSettings, Loading, NeedSource};
use patchadm_rootfs::{Interrupt, cores, side_by_side};
use patchadm_svr4::package::ObjectPath;

use super::base_libraries::{BaseLibraries, OverlaidSettings, ScannedBase};
use super::delivered::DeliveredObjects;
use super::error::SetError;
use super::places::PACKAGES;
use super::selection::SetEntry;
use crate::object_places::{Delivery, ObjectPlaces, PathKind};

/// How often single packages are left out before all of their locations are.
const MOST_ROUNDS: usize = 10;

/// Packages that cannot be in a set, since they need libraries that are neither in it nor in the base where their loaders would
/// look.
#[derive(Debug, Default)]
pub(super) struct LackingPackages {
    pub(super) packages: Vec<LeftOutPackage>,
    /// All that they need and does not exist.
    pub(super) unmet: Vec<UnmetLibrary>,
}

/// Takes packages out of a set until every library that one of the others needs is there: no package keeps others out of a
/// set by what it lacks.
///
/// Programs and libraries for machines of which the base has none are data, and need nothing: nothing here starts them.
pub(super) fn leave_out_lacking(
    entries: &mut Vec<(SetEntry, DeliveredObjects)>,
    base: &BaseLibraries<'_>,
    interrupt: Interrupt<'_>,
) -> Result<LackingPackages, SetError> {
    let mut lacking = LackingPackages::default();
    for round in 0.. {
        let delivered = entries.iter().map(|(entry, objects)| (entry.package.as_str(), objects.clone()));
        let unmet = unmet_in(delivered.collect(), base, interrupt)?;
        if unmet.is_empty() {
            break;
        }
        let needs: BTreeMap<&str, &str> =
            unmet.iter().rev().map(|unmet| (unmet.package.as_str(), unmet.library.as_str())).collect();
        // A location that makes a long chain of packages would have as many rounds as that is long.
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
            lacking.packages.extend(library.map(|library| entry.left_out(library.to_owned(), None)));
            library.is_none()
        });
        lacking.unmet.extend(unmet);
    }
    Ok(lacking)
}

/// Reads what each package of a set delivers, in the order of the entries.
pub(super) fn read_delivered(
    entries: &[SetEntry],
    interrupt: Interrupt<'_>,
) -> Result<Vec<DeliveredObjects>, SetError> {
    let files: Vec<(usize, PathBuf)> = entries
        .iter()
        .enumerate()
        .flat_map(|(number, entry)| entry.files.iter().map(move |file| (number, file)))
        .filter(|(_, file)| file.path.starts_with(PACKAGES))
        .map(|(number, file)| (number, file.directory.join(&file.name)))
        .collect();
    let mut delivered: Vec<DeliveredObjects> = entries.iter().map(|_| DeliveredObjects::default()).collect();
    for ((number, _), read) in files.iter().zip(read_files(&files, interrupt)) {
        if let Some(of_entry) = delivered.get_mut(*number) {
            of_entry.add_all(read?);
        }
    }
    Ok(delivered)
}

fn read_files<K: Sync>(
    files: &[(K, PathBuf)],
    interrupt: Interrupt<'_>,
) -> Vec<Result<DeliveredObjects, SetError>> {
    side_by_side(cores(), files.len(), || {
        |at: usize| match (interrupt(), files.get(at)) {
            (Some(signal), _) => Err(SetError::Interrupted(signal)),
            (None, Some((_, file))) => DeliveredObjects::read(file).map_err(SetError::from),
            (None, None) => Ok(DeliveredObjects::default()),
        }
    })
}

/// Returns what some packages, each with its PKGNAME and file, need and would not find if they were installed together.
pub(crate) fn unmet_in_files(
    files: &[(&str, PathBuf)],
    base: &BaseLibraries<'_>,
    interrupt: Interrupt<'_>,
) -> Result<Vec<UnmetLibrary>, SetError> {
    let mut delivered = Vec::with_capacity(files.len());
    for ((package, _), read) in files.iter().zip(read_files(files, interrupt)) {
        delivered.push((*package, read?));
    }
    unmet_in(delivered, base, interrupt)
}

fn unmet_in(
    delivered: Vec<(&str, DeliveredObjects)>,
    base: &BaseLibraries<'_>,
    interrupt: Interrupt<'_>,
) -> Result<Vec<UnmetLibrary>, SetError> {
    if delivered.iter().all(|(_, objects)| objects.files.is_empty()) {
        return Ok(Vec::new());
    }
    InstalledSet::of(base.get()?, delivered, interrupt)?.unmet(interrupt)
}

/// A library that something in a package needs, and that its loader finds.
pub(crate) struct FoundLibrary<'a> {
    pub(crate) package: &'a str,
    pub(crate) machine: ElfMachine,
    pub(crate) library: String,
    /// The package that it is in; `None` if it is that of the base.
    pub(crate) provider: Option<&'a str>,
}

/// Returns where the loaders find what some packages, each with its name, need.
pub(crate) fn found_libraries<'a>(
    delivered: Vec<(&'a str, DeliveredObjects)>,
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

/// A set as if it were installed over the base.
struct InstalledSet<'a> {
    tree: LibraryTree,
    settings: LoaderSettings,
    /// The packages of programs and libraries.
    owners: HashMap<ObjectPath, &'a str>,
    /// The machines of the base.
    machines: HashSet<ElfMachine>,
}

impl<'a> InstalledSet<'a> {
    fn of(
        base: &ScannedBase,
        delivered: Vec<(&'a str, DeliveredObjects)>,
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
        let deliveries: Vec<Delivery> =
            delivered.iter().map(|(_, objects)| objects.delivery.clone()).collect();
        let over = is_directory.then_some(root);
        let places =
            ObjectPlaces::of(over, deliveries.iter().collect(), interrupt).map_err(SetError::Interrupted)?;
        for (number, (package, objects)) in delivered.into_iter().enumerate() {
            if let Some(signal) = interrupt() {
                return Err(SetError::Interrupted(signal));
            }
            let mut ways = places.ways(number);
            let mut physical = |path: &ObjectPath| ways.place(path, PathKind::Other);
            let mut own: BTreeMap<ObjectPath, Arc<LibraryFile>> = BTreeMap::new();
            for (path, file) in objects.files {
                own.insert(physical(&path), file);
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
            settings.extend(objects.settings);
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

    /// Loads each program of the set, then each library that none of them loads.
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

    /// Takes the needs of the objects of the set that were not met.
    fn take(&self, loading: &Loading, unmet: &mut BTreeSet<(&'a str, String)>) {
        for object in &loading.objects {
            let Some(package) = self.owners.get(&object.way.path) else { continue };
            let needs = loading.needs_of(object).filter(|need| {
                // The settings of the loader are not a need of an object, and what may be loaded later may be missing.
                matches!(need.source, NeedSource::Needed | NeedSource::Interpreter)
            });
            let lost = needs.filter(|need| loading.found(need).is_none());
            unmet.extend(lost.map(|need| (*package, loading.name(need).to_string())));
        }
    }
}
