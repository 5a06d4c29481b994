//! Packages of a set with source, dependencies and libraries.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use patchadm_bulk_values::report::SharedPath;
use patchadm_inputs::sign::sha256_text;
use patchadm_inputs::source::PackageImage;
use patchadm_making::build::{LibraryFeature, needed_features, provided_features};
use patchadm_making::release::identify;
use patchadm_rootfs::{Root, side_by_side};
use patchadm_svr4::package::ObjectPath;

use super::MakePatchesError;
use crate::object_places::{Delivery, LARGEST_IN_ALL, ObjectPlaces, OverlongPlaces, PathKind, PlacedObject};
use crate::package_limits::open_package;
use crate::set::{ArchivedObjects, EarlierSet, FILES, PACKAGES};
use crate::shared_paths::{conflict_with_base, conflicts, unusable};
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
        let (mut foreign, mut files) = (BTreeSet::new(), Vec::new());
        for (path, file) in &set.manifest.files {
            if let Some(name) = below(path, PACKAGES) {
                files.push((name, file));
            } else if below(path, FILES).is_some() {
                foreign.insert(file.package.clone());
            }
        }
        let held = AtomicUsize::new(0);
        let read = side_by_side(cores.max(1), files.len(), || {
            |at: usize| -> Result<Vec<PackageOfSet>, MakePatchesError> {
                match (interrupt(), files.get(at)) {
                    (Some(signal), _) => Err(MakePatchesError::Interrupted(signal)),
                    (None, Some((name, file))) => {
                        let digest = format!("sha256:{}", sha256_text(&file.sum));
                        let (directory, location) = (directory.clone(), file.location.clone());
                        let of_set = PackageFile { directory, file: name.clone(), digest, location };
                        let read = read_packages(&of_set, &file.package, file.is_restricted);
                        let read =
                            read.map_err(|error| interrupt().map_or(error, MakePatchesError::Interrupted))?;
                        let bytes = read.first().map_or(0, |package| package.delivered.held());
                        // Sets of earlier versions have no limit.
                        if held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) > LARGEST_IN_ALL {
                            return Err(unusable(&of_set.directory.join(name), OverlongPlaces).into());
                        }
                        Ok(read)
                    }
                    (None, None) => Ok(Vec::new()),
                }
            }
        });
        let read = read.into_iter().collect::<Result<Vec<_>, _>>()?;
        let mut packages: Vec<PackageOfSet> = read.into_iter().flatten().collect();
        packages.sort_by(|one, other| one.pkgname.cmp(&other.pkgname));
        let deliveries = packages.iter().map(|package| &*package.delivery).collect();
        let placed = ObjectPlaces::of(base, deliveries, interrupt)
            .and_then(|places| places.all_objects(interrupt))
            .map_err(MakePatchesError::Interrupted)?;
        for (package, objects) in packages.iter_mut().zip(placed) {
            let file = package.file.directory.join(&package.file.file);
            package.places = objects.map_err(|overlong| unusable(&file, overlong))?.into();
        }
        Ok(Self { directory, packages, foreign })
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

fn read_packages(
    file: &PackageFile,
    pkgname: &str,
    is_restricted: bool,
) -> Result<Vec<PackageOfSet>, MakePatchesError> {
    let path = file.directory.join(&file.file);
    let (_, image) = open_package(&path)?;
    let delivered = Arc::new(ArchivedObjects::read(&path)?);
    let facts = || delivered.files.iter().map(|(_, file)| &*file.facts);
    let provides: BTreeSet<_> = facts().flat_map(provided_features).collect();
    let requires: BTreeSet<_> = facts().flat_map(needed_features).collect();
    let identities = identify(&path)?.into_iter();
    let packages = identities.map(|identity| {
        let of_image = image.packages.iter().find(|package| package.params.text("PKG") == identity.name);
        PackageOfSet {
            pkgname: pkgname.to_owned(),
            pkg: identity.name,
            arch: identity.arch,
            source: identity.source,
            is_restricted,
            is_scripted: of_image.is_none_or(has_scripts),
            file: file.clone(),
            delivery: of_image.map(Delivery::of).unwrap_or_default().into(),
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
        SetPackages { directory: "/".into(), packages, foreign: BTreeSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patches::packages::made_up::{package, set};

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
