//! Packages of a set with source, dependencies and libraries.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use patchadm_bulk_values::report::SharedPath;
use patchadm_inputs::sign::sha256_text;
use patchadm_inputs::source::{PackageImage, SourceError};
use patchadm_making::build::{LibraryFeature, needed_features, provided_features};
use patchadm_making::release::{ReleaseError, ReleaseProblem, identify};
use patchadm_rootfs::{Root, side_by_side};
use patchadm_svr4::package::ObjectPath;

use super::MakePatchesError;
use crate::object_places::{
    Delivery, FairShares, LARGEST_IN_ALL, LARGEST_PLACES, ObjectPlaces, OverlongPlaces, PathKind,
    PlacedObject,
};
use crate::package_limits::open_package;
use crate::set::{ArchivedObjects, EarlierSet, FILES, PACKAGES, SetFile, is_of_content};
use crate::shared_paths::{conflict_with_base, conflicts};
use crate::task::installing::PackageFile;
use crate::work::WorkError;

#[derive(Clone, Debug)]
pub(super) struct PackageOfSet {
    pub(super) pkgname: String,
    pub(super) pkg: String,
    pub(super) arch: String,
    /// The source whose patch contains it.
    pub(super) source: String,
    pub(super) is_restricted: bool,
    /// True if installing or patching it runs scripts.
    pub(super) is_scripted: bool,
    pub(super) file: PackageFile,
    pub(super) delivery: Arc<Delivery>,
    pub(super) places: Arc<[PlacedObject]>,
    pub(super) delivered: Arc<ArchivedObjects>,
    pub(super) provides: BTreeSet<LibraryFeature>,
    pub(super) requires: BTreeSet<LibraryFeature>,
}

/// The packages with an object at each place. A shared directory has two of different sources.
pub(super) type PathHolders<'a> = HashMap<&'a ObjectPath, Vec<(&'a PackageOfSet, PathKind)>>;

#[derive(Debug)]
pub(super) struct SetPackages {
    pub(super) directory: PathBuf,
    pub(super) packages: Vec<PackageOfSet>,
    /// Packages with files of other formats.
    pub(super) foreign: BTreeSet<String>,
    /// Sources whose packages cannot be used and are missing above, with reasons. An unknown source has the PKGNAME.
    pub(super) unusable: BTreeMap<String, Arc<ReleaseError>>,
}

impl SetPackages {
    pub(super) fn read(
        (set, base): (&EarlierSet, Option<&Root>),
        cores: usize,
        interrupt: &(dyn Fn() -> Option<i32> + Sync),
    ) -> Result<Self, MakePatchesError> {
        let below = |path: &str, top: &str| {
            path.strip_prefix(top).and_then(|rest| rest.strip_prefix('/')).map(str::to_owned)
        };
        let directory = set.path.join(PACKAGES);
        let mut foreign = BTreeSet::new();
        let mut locations: BTreeMap<&str, Vec<(PackageFile, &SetFile)>> = BTreeMap::new();
        for (path, of_set) in &set.manifest.files {
            if let Some(file) = below(path, PACKAGES) {
                let (directory, location) = (directory.clone(), of_set.location.clone());
                let digest = format!("sha256:{}", sha256_text(&of_set.sum));
                let file = PackageFile { directory, file, digest, location };
                locations.entry(&of_set.location).or_default().push((file, of_set));
            } else if below(path, FILES).is_some() {
                foreign.insert(of_set.package.clone());
            }
        }
        let locations: Vec<(&str, Vec<(PackageFile, &SetFile)>)> = locations.into_iter().collect();
        let shares = Mutex::new(FairShares::up_to(LARGEST_IN_ALL));
        let read = side_by_side(cores.max(1), locations.len(), || {
            |at: usize| -> Result<(), MakePatchesError> {
                let Some((location, files)) = locations.get(at) else { return Ok(()) };
                let (mut held, mut own) = (0_usize, Vec::new());
                for (file, of_set) in files {
                    let read = read_packages(file, of_set);
                    if let Some(signal) = interrupt() {
                        return Err(MakePatchesError::Interrupted(signal));
                    }
                    let read = match read {
                        Err(error) if !is_of_package(&error.problem) => return Err(error.into()),
                        read => read.map_err(Arc::new),
                    };
                    let first = read.iter().flatten().next();
                    held = held.saturating_add(first.map_or(0, |package| package.delivered.held()));
                    // Sets of earlier versions have no limit.
                    if held > LARGEST_PLACES {
                        (held, own) = (0, Vec::new());
                        break;
                    }
                    own.push((&*file.file, read));
                }
                shares.lock().unwrap_or_else(PoisonError::into_inner).add(location, held, own);
                Ok(())
            }
        });
        read.into_iter().collect::<Result<(), _>>()?;
        let shares = shares.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut read: BTreeMap<&str, Result<Vec<PackageOfSet>, Arc<ReleaseError>>> =
            shares.into_items().collect();
        let mut all = Self { directory, packages: Vec::new(), foreign, unusable: BTreeMap::new() };
        for (file, of_set) in locations.iter().flat_map(|(_, files)| files) {
            match read.remove(&*file.file).unwrap_or_else(|| Err(overlong(file).into())) {
                Ok(packages) => all.packages.extend(packages),
                Err(error) => {
                    let identities = identify(&file.directory.join(&file.file));
                    let sources = identities.map(|found| found.into_iter().map(|one| one.source).collect());
                    let sources: Vec<String> = sources.unwrap_or_else(|_| vec![of_set.package.clone()]);
                    all.unusable.extend(sources.into_iter().map(|source| (source, error.clone())));
                }
            }
        }
        all.packages.sort_by(|one, other| one.pkgname.cmp(&other.pkgname));
        all.place((LARGEST_PLACES, LARGEST_IN_ALL), base, interrupt)?;
        Ok(all)
    }

    /// Finds the places of all objects. Leaves out the packages of locations that have too long ones.
    fn place(
        &mut self,
        most: (usize, usize),
        base: Option<&Root>,
        interrupt: &(dyn Fn() -> Option<i32> + Sync),
    ) -> Result<(), MakePatchesError> {
        let deliveries = self.packages.iter().map(|package| &*package.delivery).collect();
        let placed = ObjectPlaces::up_to(most, base, deliveries, interrupt)
            .and_then(|places| places.all_objects(interrupt))
            .map_err(MakePatchesError::Interrupted)?;
        for (mut package, objects) in std::mem::take(&mut self.packages).into_iter().zip(placed) {
            if let Ok(objects) = objects {
                package.places = objects.into();
                self.packages.push(package);
            } else {
                let error = overlong(&package.file);
                self.unusable.insert(package.source, error.into());
            }
        }
        Ok(())
    }

    /// Removes packages that deliver a path of the base or of another package, as sets of 0.1 may. Returns the shared
    /// paths and the sources of the removed packages.
    pub(super) fn take_rivals(
        &mut self,
        base: Option<&Root>,
    ) -> Result<(Vec<SharedPath>, BTreeSet<String>), MakePatchesError> {
        let (mut shared, mut sources, mut beside) = (Vec::new(), BTreeSet::new(), Vec::new());
        for package in std::mem::take(&mut self.packages) {
            let conflict = base.map(|base| conflict_with_base(base, &package.places)).transpose();
            match conflict.map_err(WorkError::from)?.flatten() {
                None => beside.push(package),
                Some(conflict) => {
                    shared.push(conflict.to_shared_path(&package.pkgname));
                    sources.insert(package.source);
                }
            }
        }
        self.packages = beside;
        let found = conflicts(self.packages.iter().map(|package| &*package.places));
        let names: Vec<String> = self.packages.iter().map(|package| package.pkgname.clone()).collect();
        let mut stay = Vec::new();
        for (package, conflicts) in std::mem::take(&mut self.packages).into_iter().zip(found) {
            if conflicts.is_empty() {
                stay.push(package);
                continue;
            }
            let name = |number: usize| names.get(number).map(String::as_str).unwrap_or_default();
            shared.extend(conflicts.iter().map(|one| one.to_shared_path(name(one.holder), &package.pkgname)));
            sources.insert(package.source);
        }
        self.packages = stay;
        Ok((shared, sources))
    }

    pub(super) fn holders(&self) -> PathHolders<'_> {
        let mut holders = PathHolders::new();
        for package in &self.packages {
            for object in package.places.iter() {
                let known = holders.entry(&object.place).or_insert_with(|| Vec::with_capacity(1));
                if known.len() < 2 && known.iter().all(|(other, _)| other.source != package.source) {
                    known.push((package, object.kind));
                }
            }
        }
        holders
    }

    /// Returns a path that packages of another source hold too.
    pub(super) fn shared_with(&self, holders: &PathHolders<'_>, source: &str) -> Option<String> {
        let own = self.packages.iter().filter(|package| package.source == source);
        own.flat_map(|package| package.places.iter().map(move |object| (object, package))).find_map(
            |(object, package)| {
                let held = holders.get(&object.place)?;
                let is_shared = |(holder, held): &&(&PackageOfSet, PathKind)| {
                    holder.source != source && !held.goes_with(object.kind)
                };
                let (holder, _) = held.iter().find(is_shared)?;
                Some(format!("{} is in {} and in {}", object.path, holder.pkgname, package.pkgname))
            },
        )
    }

    pub(super) fn by_source(&self) -> BTreeMap<&str, Vec<&PackageOfSet>> {
        let mut sources: BTreeMap<&str, Vec<&PackageOfSet>> = BTreeMap::new();
        for package in &self.packages {
            sources.entry(&package.source).or_default().push(package);
        }
        sources
    }

    /// By name and architecture.
    pub(super) fn by_name(&self) -> HashMap<(&str, &str), &PackageOfSet> {
        let named = self.packages.iter().map(|package| ((&*package.pkg, &*package.arch), package));
        // The first one of each name.
        named.rev().collect()
    }

    /// Returns packages of some sources after their dependencies. The order within a cycle is unspecified.
    pub(super) fn with_needs(&self, sources: &BTreeSet<&str>) -> Vec<&PackageOfSet> {
        let by_name: BTreeMap<&str, usize> =
            self.packages.iter().enumerate().map(|(at, package)| (package.pkg.as_str(), at)).collect();
        let wanted =
            self.packages.iter().enumerate().filter(|(_, package)| sources.contains(&*package.source));
        // Entered packages: the index, and true once its dependencies precede it.
        let mut open: Vec<(usize, bool)> = wanted.map(|(at, _)| (at, false)).collect();
        let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
        while let Some((at, is_ready)) = open.pop() {
            let Some(package) = self.packages.get(at) else { continue };
            if is_ready {
                order.push(package);
            } else if seen.insert(at) {
                open.push((at, true));
                let needs = package.delivery.needs.iter().filter_map(|name| by_name.get(name.as_str()));
                open.extend(needs.map(|need| (*need, false)));
            }
        }
        order
    }

    /// Returns a source, those with packages at its locations, and their direct and indirect dependents. So a recipe that
    /// makes many packages fails at once.
    pub(super) fn with_those_that_need<'s>(&'s self, source: &'s str) -> BTreeSet<&'s str> {
        let own = self.packages.iter().filter(|package| package.source == source);
        let locations: BTreeSet<&str> = own.map(|package| &*package.file.location).collect();
        let beside = self.packages.iter().filter(|package| locations.contains(&*package.file.location));
        let mut gone: BTreeSet<&str> = beside.map(|package| &*package.source).chain([source]).collect();
        loop {
            let named = self.packages.iter().filter(|package| gone.contains(&*package.source));
            let names: BTreeSet<&str> = named.map(|package| &*package.pkg).collect();
            let needs_one = |package: &&PackageOfSet| {
                package.delivery.needs.iter().any(|need| names.contains(need.as_str()))
                    && !gone.contains(&*package.source)
            };
            let more: Vec<&str> =
                self.packages.iter().filter(needs_one).map(|package| &*package.source).collect();
            if more.is_empty() {
                return gone;
            }
            gone.extend(more);
        }
    }
}

fn has_scripts(package: &PackageImage) -> bool {
    const PROCEDURES: [&str; 6] =
        ["checkinstall", "preinstall", "postinstall", "preremove", "postremove", "request"];
    let is_script = |name: &String| {
        PROCEDURES.contains(&name.as_str()) || name.starts_with("i.") || name.starts_with("r.")
    };
    package.install.keys().any(is_script)
}

/// Returns true if the content of a package is the reason of a problem, and not the machine.
pub(super) fn is_of_package(problem: &ReleaseProblem) -> bool {
    match problem {
        ReleaseProblem::Svr4(problem) => is_of_content(problem),
        ReleaseProblem::NotFound
        | ReleaseProblem::Io(_)
        | ReleaseProblem::Tree(_)
        | ReleaseProblem::Changed(_) => false,
        _ => true,
    }
}

fn overlong(file: &PackageFile) -> ReleaseError {
    let problem = ReleaseProblem::BadForm(OverlongPlaces.to_string());
    ReleaseError { path: file.directory.join(&file.file), problem }
}

fn read_packages(file: &PackageFile, of_set: &SetFile) -> Result<Vec<PackageOfSet>, ReleaseError> {
    let path = file.directory.join(&file.file);
    let failed = |error: SourceError| ReleaseError { path: error.path, problem: error.problem.into() };
    let (_, image) = open_package(&path).map_err(failed)?;
    let mut delivered = ArchivedObjects::read(&path).map_err(failed)?;
    delivered.delivery.owner.clone_from(&file.location);
    let delivered = Arc::new(delivered);
    let facts = || delivered.files.iter().map(|(_, file)| &*file.facts);
    let provides: BTreeSet<_> = facts().flat_map(provided_features).collect();
    let requires: BTreeSet<_> = facts().flat_map(needed_features).collect();
    let identities = identify(&path)?.into_iter();
    let packages = identities.map(|identity| {
        let of_image = image.packages.iter().find(|package| package.params.text("PKG") == identity.name);
        PackageOfSet {
            pkgname: of_set.package.clone(),
            pkg: identity.name,
            arch: identity.arch,
            source: identity.source,
            is_restricted: of_set.is_restricted,
            is_scripted: of_image.is_none_or(has_scripts),
            file: file.clone(),
            delivery: Delivery {
                owner: file.location.clone(),
                ..of_image.map(Delivery::of).unwrap_or_default()
            }
            .into(),
            places: Arc::default(),
            delivered: delivered.clone(),
            provides: provides.clone(),
            requires: requires.clone(),
        }
    });
    Ok(packages.collect())
}

#[cfg(test)]
pub(super) mod made_up {
    use patchadm_libraries::elf::ElfMachine;

    use super::*;

    pub(in crate::patches) fn library(soname: &str) -> LibraryFeature {
        let machine = ElfMachine { number: 62, is_64: true };
        LibraryFeature { machine, soname: soname.to_owned(), version: None }
    }

    pub(in crate::patches) fn package(name: &str, provides: &[&str], requires: &[&str]) -> PackageOfSet {
        PackageOfSet {
            pkgname: format!("{name}-1.0"),
            pkg: name.to_owned(),
            arch: "x86_64".to_owned(),
            source: name.to_owned(),
            is_restricted: false,
            is_scripted: false,
            file: PackageFile {
                directory: "/".into(),
                file: format!("{name}.pkg"),
                digest: String::new(),
                location: name.to_owned(),
            },
            delivery: Arc::default(),
            places: Arc::default(),
            delivered: Arc::default(),
            provides: provides.iter().map(|name| library(name)).collect(),
            requires: requires.iter().map(|name| library(name)).collect(),
        }
    }

    pub(in crate::patches) fn set(packages: Vec<PackageOfSet>) -> SetPackages {
        SetPackages { directory: "/".into(), packages, foreign: BTreeSet::new(), unusable: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use patchadm_bulk_values::result::KeyInputs;
    use patchadm_inputs::sign::sha256;

    use super::*;
    use crate::patches::packages::made_up::{package, set};
    use crate::set::SetManifest;
    use crate::set::tests::package as write_package;

    #[test]
    fn a_package_that_cannot_be_used_is_missing_alone_and_its_reason_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("set");
        fs::create_dir_all(path.join(PACKAGES)).unwrap();
        let mut files = BTreeMap::new();
        let settings = vec![b'#'; 100_000];
        for (name, delivered, bytes) in [
            ("big", "/etc/ld.so.conf.d/big.conf", &*settings),
            ("damaged", "/opt/damaged", &b"1"[..]),
            ("fine", "/opt/fine", &b"1"[..]),
        ] {
            let stream = path.join(PACKAGES).join(format!("{name}.pkg"));
            write_package(dir.path(), name, "1", &[(delivered, bytes)], &stream);
            if name == "damaged" {
                fs::write(&stream, "no package").unwrap();
            }
            let file = SetFile {
                run: 1,
                key: KeyInputs::new().key(),
                package: format!("{name}-1"),
                location: format!("x/{name}"),
                is_restricted: false,
                sum: sha256(&fs::read(&stream).unwrap()),
            };
            files.insert(format!("{PACKAGES}/{name}.pkg"), file);
        }
        let set = EarlierSet { path, manifest: SetManifest { set: 1, date: String::new(), files } };
        let read = SetPackages::read((&set, None), 2, &|| None).unwrap();
        let owners: Vec<(&str, &str)> =
            read.packages.iter().map(|package| (&*package.pkg, &*package.delivery.owner)).collect();
        assert_eq!(owners, [("fine", "x/fine")]);
        assert_eq!(read.packages[0].delivered.delivery.owner, "x/fine");
        let unusable: Vec<&str> = read.unusable.keys().map(String::as_str).collect();
        assert_eq!(unusable, ["big", "damaged-1"], "the source of a damaged one is unknown");
        let why = read.unusable["big"].to_string();
        assert!(why.contains("the settings of loaders have more than 65536 bytes: remove comments"), "{why}");
        let ended = SetPackages::read((&set, None), 2, &|| Some(15));
        assert!(matches!(ended, Err(MakePatchesError::Interrupted(15))), "{ended:?}");
    }

    #[test]
    fn many_small_packages_of_one_location_with_places_behind_a_long_link_are_missing_and_no_others() {
        let path = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let with = |name: &str, location: &str, count: usize, target: &str| {
            let top = format!("/opt/{name}");
            let paths = (0..count).map(|n| (path(&format!("{top}/{n}")), PathKind::Other)).collect();
            let delivery = Delivery {
                owner: location.to_owned(),
                paths,
                links: vec![(path(&top), target.as_bytes().into())],
                packages: BTreeSet::from([name.to_owned()]),
                ..Delivery::default()
            };
            PackageOfSet { delivery: delivery.into(), ..package(name, &[], &[]) }
        };
        let far = format!("/{}", "n".repeat(255));
        let mut set = set(vec![
            with("evil1", "x/evil", 20, &far),
            with("evil2", "x/evil", 20, &far),
            with("evil3", "x/evil", 20, &far),
            with("one", "x/one", 60, "two"),
        ]);
        set.place((1 << 20, 24_000), None, &|| None).unwrap();
        let there: Vec<&str> = set.packages.iter().map(|package| &*package.pkg).collect();
        assert_eq!((there, set.packages[0].places.is_empty()), (vec!["one"], false));
        assert_eq!(set.unusable.keys().collect::<Vec<_>>(), ["evil1", "evil2", "evil3"]);
        let why = set.unusable["evil1"].to_string();
        assert!(why.starts_with("/evil1.pkg: the paths of its location"), "{why}");
    }

    #[test]
    fn a_package_is_found_by_name_and_architecture_and_the_first_one_counts() {
        let of = |pkgname: &str, arch: &str| PackageOfSet {
            pkgname: pkgname.to_owned(),
            arch: arch.to_owned(),
            ..package("a", &[], &[])
        };
        let set = set(vec![of("a-1", "x86_64"), of("a-2", "all"), of("a-3", "all")]);
        let by_name = set.by_name();
        let found = |arch: &str| by_name.get(&("a", arch)).map(|package| &*package.pkgname);
        assert_eq!((found("x86_64"), found("all"), found("i386")), (Some("a-1"), Some("a-2"), None));
    }

    #[test]
    fn packages_come_behind_what_they_need_and_a_circle_ends() {
        let with = |name: &str, needs: &[&str]| {
            let needs = needs.iter().map(|need| (*need).to_owned()).collect();
            let delivery = Arc::new(Delivery { needs, ..Delivery::default() });
            PackageOfSet { delivery, ..package(name, &[], &[]) }
        };
        let set = set(vec![
            with("a", &["b", "d"]),
            with("b", &["c"]),
            with("c", &["d", "b"]),
            with("d", &["unknown"]),
            with("e", &[]),
        ]);
        let order = set.with_needs(&BTreeSet::from(["a"]));
        let names: Vec<&str> = order.iter().map(|package| package.pkg.as_str()).collect();
        assert_eq!((names.len(), names.last(), names.contains(&"e")), (4, Some(&"a"), false));
        let at = |name: &str| names.iter().position(|one| *one == name);
        assert!(at("d") < at("c"), "{names:?}");
    }

    #[test]
    fn with_a_source_go_those_of_its_location_and_those_that_need_one_of_them() {
        let with = |name: &str, need: &str, location: &str| {
            let delivery =
                Arc::new(Delivery { needs: BTreeSet::from([need.to_owned()]), ..Delivery::default() });
            let package = package(name, &[], &[]);
            let file = PackageFile { location: location.to_owned(), ..package.file };
            PackageOfSet { file, delivery, ..package }
        };
        let set = set(vec![
            with("evil1", "", "x/evil"),
            with("evil2", "", "x/evil"),
            with("needs", "evil2", "x/needs"),
            with("indirect", "needs", "x/indirect"),
            with("other", "", "x/other"),
        ]);
        let gone = set.with_those_that_need("evil1");
        assert_eq!(gone, BTreeSet::from(["evil1", "evil2", "indirect", "needs"]));
        assert_eq!(set.with_those_that_need("other"), BTreeSet::from(["other"]));
    }
}
