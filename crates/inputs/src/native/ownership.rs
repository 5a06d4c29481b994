//! The present owners of a path by dpkg and rpm. dpkg compares diversions as text and lists paths in any spelling
//! (`/lib`, `/usr/lib`), so the index finds candidates by their last component and resolves their directories.
//! Unreadable records own nothing, and are reported ([`NativeOwners::unreadable`]).
//!
//! ```text
//! info/*.list ──► diversions ──► links among the parents ──► place ──► owners
//! rpm -qa ─────► file states ──┘
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;

use super::dpkg::{DivertedPath, Diverting, DpkgLists};
use super::package::differing_text;
use super::rpm::RpmRecords;
use super::{NativeManager, NativeOrigin, NativeOwner};
use patchadm_rootfs::{FileType, Inode, Interrupt, Live, ObjectStatus, Resolver, Root, RootError, never};
use patchadm_svr4::package::{ObjectPath, last_component};

/// The paths of all native packages of a root.
#[derive(Debug, Default)]
pub struct NativeIndex {
    /// All paths, concatenated.
    text: Vec<u8>,
    packages: Vec<NativeOwner>,
    /// Sorted by the hash of the last component.
    entries: Vec<Entry>,
    hasher: RandomState,
    diverted: Vec<DivertedPath>,
    /// By the path that they divert, also of files that no package has yet.
    rules: HashMap<ObjectPath, Diverting>,
    /// Installed for several architectures, or with `Multi-Arch: same`.
    multi_arch: BTreeSet<String>,
    unreadable: Vec<String>,
}

/// The owners of a place, each with the spelling in its list; a diverted path is spelled as in the diversion.
pub type NativeListings<'i> = Vec<(&'i NativeOwner, &'i [u8])>;

#[derive(Clone, Debug)]
struct Entry {
    name: u64,
    package: usize,
    path: Range<usize>,
}

impl NativeIndex {
    pub fn read(root: &Root) -> Self {
        let mut index = Self::default();
        match DpkgLists::read(root) {
            Ok(Some(lists)) => index.add_dpkg(lists),
            Ok(None) => {}
            Err(error) => index.unreadable.push(format!("the records of dpkg cannot be read: {error}")),
        }
        match RpmRecords::find(root).and_then(|found| found.map(|records| records.owned()).transpose()) {
            Ok(Some(owned)) => index.add_rpm(owned),
            Ok(None) => {}
            Err(error) => index.unreadable.push(format!("the records of rpm cannot be read: {error}")),
        }
        index.entries.sort_unstable_by_key(|entry| entry.name);
        index
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unreadable.is_empty()
    }

    pub(super) fn diverted_by_package(&self) -> BTreeMap<&str, String> {
        let mut by_package: BTreeMap<&str, BTreeSet<&ObjectPath>> = BTreeMap::new();
        for diverted in &self.diverted {
            by_package.entry(diverted.package.as_str()).or_default().insert(&diverted.place);
        }
        by_package.into_iter().map(|(package, places)| (package, differing_text(places))).collect()
    }

    fn add_dpkg(&mut self, lists: DpkgLists) {
        for list in &lists.lists {
            let package = self.packages.len();
            let (version, origin) = (lists.version(list), list.origin.clone());
            self.packages.push(NativeOwner { origin, version });
            for line in list.lines() {
                match lists.diverted(&list.origin.name, line) {
                    None => self.add(package, line),
                    Some(diverted) => {
                        self.add(package, diverted.place.as_bytes());
                        self.diverted.push(diverted);
                    }
                }
            }
        }
        self.rules.extend(lists.rules().map(|rule| (rule.from.clone(), rule)));
        self.multi_arch.extend(lists.multi_arch);
        self.unreadable.extend(lists.unreadable);
    }

    fn add_rpm(&mut self, owned: Vec<(NativeOwner, Vec<Vec<u8>>)>) {
        for (owner, paths) in owned {
            let package = self.packages.len();
            self.packages.push(owner);
            for path in &paths {
                self.add(package, path);
            }
        }
    }

    fn add(&mut self, package: usize, path: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(path);
        let name = self.hasher.hash_one(last_component(path));
        self.entries.push(Entry { name, package, path: start..self.text.len() });
    }

    pub fn has_diversions(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Adds the places to which files of these paths are diverted.
    pub fn add_diverted(
        &self,
        paths: &mut BTreeSet<ObjectPath>,
        resolver: &Resolver<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<(), RootError> {
        for diverted in &self.diverted {
            resolver.go_on(interrupt)?;
            let is_there = paths.contains(&diverted.listed)
                || paths.contains(&resolver.locate_object(&diverted.listed)?);
            if is_there {
                paths.insert(diverted.place.clone());
            }
        }
        let to: Vec<&ObjectPath> =
            self.rules.values().filter(|rule| paths.contains(&rule.from)).map(|rule| &rule.to).collect();
        paths.extend(to.into_iter().cloned());
        Ok(())
    }

    /// Adds other spellings of paths: those in lists of packages, and those through these links at the top of the root.
    pub fn add_spellings(
        &self,
        paths: &mut BTreeSet<ObjectPath>,
        top_links: &[(ObjectPath, ObjectPath)],
        resolver: &Resolver<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<(), RootError> {
        let mut links: HashMap<&[u8], Vec<&ObjectPath>> = HashMap::new();
        for (link, directory) in top_links {
            links.entry(directory.as_bytes()).or_default().push(link);
        }
        let place = |path| resolver.go_on(interrupt).and_then(|()| resolver.locate_object(path));
        let places = paths.iter().map(place).collect::<Result<BTreeSet<_>, _>>()?;
        for (place, listings) in self.listings_of(&places, resolver, interrupt)? {
            let mut add = |spelled: &[u8]| paths.extend(ObjectPath::new(spelled).ok());
            for (_, spelled) in listings {
                add(spelled);
            }
            for directory in place.ancestors_bytes() {
                let inside = place.as_bytes().strip_prefix(directory).unwrap_or_default();
                for link in links.get(directory).into_iter().flatten() {
                    add(&[link.as_bytes(), b"/", inside].concat());
                }
            }
        }
        paths.extend(places);
        Ok(())
    }

    /// Returns the packages that own a place (a path whose directory is resolved).
    pub fn owners(
        &self,
        place: &ObjectPath,
        resolver: &Resolver<'_>,
    ) -> Result<BTreeSet<&NativeOwner>, RootError> {
        Ok(self.listings(place, resolver)?.into_iter().map(|(owner, _)| owner).collect())
    }

    /// For a single place: each call looks at all listed paths with its last component.
    pub fn listings(
        &self,
        place: &ObjectPath,
        resolver: &Resolver<'_>,
    ) -> Result<NativeListings<'_>, RootError> {
        Ok(self.listings_of([place], resolver, &never)?.remove(place).unwrap_or_default())
    }

    /// Has an entry for each place. Looks at each listed path at most once, however many places share its last
    /// component.
    pub fn listings_of<'p>(
        &self,
        places: impl IntoIterator<Item = &'p ObjectPath>,
        resolver: &Resolver<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<HashMap<ObjectPath, NativeListings<'_>>, RootError> {
        let mut found: HashMap<ObjectPath, NativeListings<'_>> =
            places.into_iter().map(|place| (place.clone(), Vec::new())).collect();
        let mut names: HashMap<u64, usize> = HashMap::new();
        for place in found.keys() {
            *names.entry(self.hasher.hash_one(place.name())).or_default() += 1;
        }
        for (name, count) in names {
            let first = self.entries.partition_point(|entry| entry.name < name);
            for entry in self.entries.iter().skip(first).take_while(|entry| entry.name == name) {
                resolver.go_on(interrupt)?;
                let spelled = self.text.get(entry.path.clone()).unwrap_or_default();
                let Some(owner) = self.packages.get(entry.package) else { continue };
                let exact = found.get_mut(spelled);
                let is_exact = exact.is_some();
                if let Some(listings) = exact {
                    listings.push((owner, spelled));
                }
                // A link may still lead from a place that a plan foresees to another one.
                if is_exact && count == 1 {
                    continue;
                }
                let Ok(path) = ObjectPath::new(spelled) else { continue };
                let place = resolver.locate_object(&path)?;
                if is_exact && place.as_bytes() == spelled {
                    continue;
                }
                if let Some(listings) = found.get_mut(&place) {
                    listings.push((owner, spelled));
                }
            }
        }
        Ok(found)
    }

    fn names_of(
        &self,
        root: &Root,
        is_wanted: impl Fn(&ObjectStatus) -> bool,
        interrupt: Interrupt<'_>,
    ) -> Result<BTreeMap<Inode, Vec<(ObjectPath, NativeOwner)>>, RootError> {
        let resolver = root.resolver();
        let mut by_directory: BTreeMap<ObjectPath, Vec<(ObjectPath, &NativeOwner)>> = BTreeMap::new();
        for entry in &self.entries {
            resolver.go_on(interrupt)?;
            let spelled = self.text.get(entry.path.clone()).unwrap_or_default();
            let (Ok(path), Some(owner)) = (ObjectPath::new(spelled), self.packages.get(entry.package)) else {
                continue;
            };
            let place = resolver.locate_object(&path)?;
            by_directory
                .entry(place.parent().unwrap_or_else(ObjectPath::root))
                .or_default()
                .push((place, owner));
        }
        let mut names: BTreeMap<Inode, Vec<(ObjectPath, NativeOwner)>> = BTreeMap::new();
        for (directory, places) in by_directory {
            let Some(directory) = root.dir_if_there(&directory)? else { continue };
            for (place, owner) in places {
                resolver.go_on(interrupt)?;
                if let Some(seen) = directory.look(place.name())?.filter(&is_wanted) {
                    names.entry(seen.inode).or_default().push((place, owner.clone()));
                }
            }
        }
        Ok(names)
    }

    pub fn diverted(&self) -> &[DivertedPath] {
        &self.diverted
    }

    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }

    /// Returns the owners of these paths, each with its place.
    pub fn owners_of<'p>(
        &self,
        paths: impl IntoIterator<Item = (&'p ObjectPath, &'p ObjectPath)>,
        resolver: &Resolver<'_>,
        interrupt: Interrupt<'_>,
    ) -> Result<NativeOwners, RootError> {
        let mut found = NativeOwners {
            unreadable: self.unreadable.clone(),
            multi_arch: self.multi_arch.clone(),
            rules: self.rules.clone(),
            ..NativeOwners::default()
        };
        if self.entries.is_empty() {
            return Ok(found);
        }
        let paths: Vec<(&ObjectPath, &ObjectPath)> = paths.into_iter().collect();
        let listings = self.listings_of(paths.iter().map(|(_, place)| *place), resolver, interrupt)?;
        for (path, place) in paths {
            let owners: BTreeSet<&NativeOwner> =
                listings.get(place).into_iter().flatten().map(|(owner, _)| *owner).collect();
            if !owners.is_empty() {
                found.owners.insert(path.clone(), owners.into_iter().cloned().collect());
            }
        }
        for diverted in &self.diverted {
            resolver.go_on(interrupt)?;
            let of_place = found.diverted.entry(resolver.locate_object(&diverted.listed)?).or_default();
            of_place.entry(diverted.package.clone()).or_insert_with(|| diverted.clone());
        }
        Ok(found)
    }
}

#[derive(Clone, Debug, Default)]
pub struct NativeOwners {
    owners: BTreeMap<ObjectPath, Vec<NativeOwner>>,
    /// By the place of the listed path, and by package.
    diverted: HashMap<ObjectPath, BTreeMap<String, DivertedPath>>,
    rules: HashMap<ObjectPath, Diverting>,
    multi_arch: BTreeSet<String>,
    names: BTreeMap<Inode, Vec<(ObjectPath, NativeOwner)>>,
    unreadable: Vec<String>,
}

impl NativeOwners {
    /// Adds names of these files in lists of packages. Only files with more names than among the objects need the
    /// search, which examines every listed path.
    pub fn add_names<'l>(
        &mut self,
        index: &NativeIndex,
        root: &Root,
        objects: impl Iterator<Item = (&'l ObjectPath, &'l Live)>,
        interrupt: Interrupt<'_>,
    ) -> Result<(), RootError> {
        let mut known: BTreeMap<Inode, (u64, BTreeSet<&ObjectPath>)> = BTreeMap::new();
        for (place, live) in objects.filter(|(_, live)| live.links > 1 && !live.is_directory()) {
            let names = known.entry(live.inode).or_insert((live.links, BTreeSet::new()));
            names.1.insert(place);
        }
        known.retain(|_, (links, names)| *links > names.len() as u64);
        if !known.is_empty() && !index.entries.is_empty() {
            self.names = index.names_of(root, |seen| known.contains_key(&seen.inode), interrupt)?;
        }
        Ok(())
    }

    /// Adds the listed names of all objects with several names: one search for any number of later questions.
    pub fn add_all_names(
        &mut self,
        index: &NativeIndex,
        root: &Root,
        interrupt: Interrupt<'_>,
    ) -> Result<(), RootError> {
        let has_several = |seen: &ObjectStatus| seen.links > 1 && seen.file_type != FileType::Directory;
        self.names = index.names_of(root, has_several, interrupt)?;
        Ok(())
    }

    /// Returns the names of an object in package lists, with their owners, as far as searched.
    pub fn names(&self, live: &Live) -> &[(ObjectPath, NativeOwner)] {
        self.names.get(&live.inode).map(Vec::as_slice).unwrap_or_default()
    }

    pub fn of(&self, path: &ObjectPath) -> &[NativeOwner] {
        self.owners.get(path).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns the first other package that owns a path, apart from instances of this one.
    pub fn foreign(&self, path: &ObjectPath, own: Option<&NativeOrigin>) -> Option<&NativeOwner> {
        let is_own = |owner: &NativeOwner| own.is_some_and(|own| own.is_instance_of(&owner.origin));
        self.of(path).iter().find(|owner| !is_own(owner))
    }

    /// No other package owns the path.
    pub fn is_own_alone(&self, path: &ObjectPath, own: &NativeOrigin) -> bool {
        !self.of(path).is_empty() && self.foreign(path, Some(own)).is_none()
    }

    /// It shares files with installations for other architectures.
    pub fn is_multi_arch(&self, own: &NativeOrigin) -> bool {
        own.manager == NativeManager::Dpkg && self.multi_arch.contains(&own.name)
    }

    /// Returns `None` unless somebody else diverted the file.
    pub fn diverted(&self, place: &ObjectPath, own: &NativeOrigin) -> Option<&DivertedPath> {
        let of_place = self.diverted.get(place).filter(|_| own.manager == NativeManager::Dpkg)?;
        of_place.get(&own.name)
    }

    /// Returns the place of a file in addition to the package's list, if somebody else diverts it. dpkg compares such
    /// paths as text.
    pub fn diverted_addition(&self, path: &ObjectPath, own: &NativeOrigin) -> Option<&ObjectPath> {
        let rule = self.rules.get(path).filter(|_| own.manager == NativeManager::Dpkg)?;
        (rule.by.as_deref() != Some(own.name.as_str())).then_some(&rule.to)
    }

    /// Returns the reasons why owners are unknown.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }
}
