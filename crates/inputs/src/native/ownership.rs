//! The present owners of a path by dpkg and rpm. dpkg compares diversions as text and lists paths in any spelling
//! (`/lib`, `/usr/lib`), so the index finds candidates by their last component and resolves their directories.
//! Unreadable records own nothing, and are reported ([`NativeOwners::unreadable`]).
//!
//! ```text
//! info/*.list ──► diversions ──► links among the parents ──► place ──► owners
//! rpm -qa ─────► file states ──┘
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;

use super::dpkg::{DivertedPath, Diverting, DpkgLists};
use super::package::differing_text;
use super::{NativeManager, NativeOrigin, NativeOwner, NativeReader};
use patchadm_rootfs::{Inode, Live, Resolver, Root, RootError};
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
    /// Also for files that no package has yet.
    rules: Vec<Diverting>,
    /// Installed for several architectures, or with `Multi-Arch: same`.
    multi_arch: BTreeSet<String>,
    unreadable: Vec<String>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: u64,
    package: usize,
    path: Range<usize>,
}

impl NativeIndex {
    pub fn read(reader: &NativeReader) -> Self {
        let mut index = Self::default();
        match DpkgLists::read(reader.root()) {
            Ok(Some(lists)) => index.add_dpkg(lists),
            Ok(None) => {}
            Err(error) => index.unreadable.push(format!("the records of dpkg cannot be read: {error}")),
        }
        match reader.owned_by_rpm() {
            Ok(owned) => index.add_rpm(owned),
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
        self.rules.extend(lists.rules());
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
    ) -> Result<(), RootError> {
        for diverted in &self.diverted {
            let is_there = paths.contains(&diverted.listed)
                || paths.contains(&resolver.locate_object(&diverted.listed)?);
            if is_there {
                paths.insert(diverted.place.clone());
            }
        }
        let to: Vec<&ObjectPath> =
            self.rules.iter().filter(|rule| paths.contains(&rule.from)).map(|rule| &rule.to).collect();
        paths.extend(to.into_iter().cloned());
        Ok(())
    }

    /// Adds other spellings of paths: those in lists of packages, and those through these links at the top of the root.
    pub fn add_spellings(
        &self,
        paths: &mut BTreeSet<ObjectPath>,
        top_links: &[(ObjectPath, ObjectPath)],
        resolver: &Resolver<'_>,
    ) -> Result<(), RootError> {
        let mut spellings = BTreeSet::new();
        for path in paths.iter() {
            let place = resolver.locate_object(path)?;
            let listed = self.listings(&place, resolver)?.into_iter().map(|(_, spelled)| spelled.to_vec());
            let behind = top_links.iter().filter(|(_, directory)| place.is_below(directory));
            let behind = behind.map(|(link, directory)| {
                let inside = place.as_bytes().get(directory.as_bytes().len()..).unwrap_or_default();
                [link.as_bytes(), inside].concat()
            });
            spellings.extend(listed.chain(behind).filter_map(|spelled| ObjectPath::new(&spelled).ok()));
            spellings.insert(place);
        }
        paths.extend(spellings);
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

    /// With the spelling in the owner's list; a diverted path is spelled as in the diversion.
    pub fn listings(
        &self,
        place: &ObjectPath,
        resolver: &Resolver<'_>,
    ) -> Result<Vec<(&NativeOwner, &[u8])>, RootError> {
        let name = self.hasher.hash_one(place.name());
        let first = self.entries.partition_point(|entry| entry.name < name);
        let mut listings = Vec::new();
        for entry in self.entries.iter().skip(first).take_while(|entry| entry.name == name) {
            let spelled = self.text.get(entry.path.clone()).unwrap_or_default();
            let is_it = spelled == place.as_bytes()
                || last_component(spelled) == place.name() && is_at(spelled, place, resolver)?;
            if is_it {
                listings.extend(self.packages.get(entry.package).map(|owner| (owner, spelled)));
            }
        }
        Ok(listings)
    }

    fn names_of(
        &self,
        root: &Root,
        wanted: &BTreeSet<Inode>,
    ) -> Result<BTreeMap<Inode, Vec<(ObjectPath, NativeOwner)>>, RootError> {
        let resolver = root.resolver();
        let mut by_directory: BTreeMap<ObjectPath, Vec<(ObjectPath, &NativeOwner)>> = BTreeMap::new();
        for entry in &self.entries {
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
                let seen = directory.look(place.name())?;
                if let Some(inode) = seen.map(|seen| seen.inode).filter(|inode| wanted.contains(inode)) {
                    names.entry(inode).or_default().push((place, owner.clone()));
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
        for (path, place) in paths {
            let owners = self.owners(place, resolver)?;
            if !owners.is_empty() {
                found.owners.insert(path.clone(), owners.into_iter().cloned().collect());
            }
        }
        for diverted in &self.diverted {
            let place = resolver.locate_object(&diverted.listed)?;
            found.diverted.push((place, diverted.clone()));
        }
        Ok(found)
    }
}

/// `spelled` is from a list.
fn is_at(spelled: &[u8], place: &ObjectPath, resolver: &Resolver<'_>) -> Result<bool, RootError> {
    let Ok(path) = ObjectPath::new(spelled) else { return Ok(false) };
    Ok(resolver.locate_object(&path)? == *place)
}

#[derive(Clone, Debug, Default)]
pub struct NativeOwners {
    owners: BTreeMap<ObjectPath, Vec<NativeOwner>>,
    diverted: Vec<(ObjectPath, DivertedPath)>,
    rules: Vec<Diverting>,
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
    ) -> Result<(), RootError> {
        let mut known: BTreeMap<Inode, (u64, BTreeSet<&ObjectPath>)> = BTreeMap::new();
        for (place, live) in objects.filter(|(_, live)| live.links > 1 && !live.is_directory()) {
            let names = known.entry(live.inode).or_insert((live.links, BTreeSet::new()));
            names.1.insert(place);
        }
        known.retain(|_, (links, names)| *links > names.len() as u64);
        if !known.is_empty() && !index.entries.is_empty() {
            self.names = index.names_of(root, &known.into_keys().collect())?;
        }
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
        let is_it = |(listed, diverted): &&(ObjectPath, DivertedPath)| {
            listed == place && diverted.package == own.name && own.manager == NativeManager::Dpkg
        };
        self.diverted.iter().find(is_it).map(|(_, diverted)| diverted)
    }

    /// Returns the place of a file in addition to the package's list, if somebody else diverts it. dpkg compares such
    /// paths as text.
    pub fn diverted_addition(&self, path: &ObjectPath, own: &NativeOrigin) -> Option<&ObjectPath> {
        let is_it = |rule: &&Diverting| {
            rule.from == *path
                && own.manager == NativeManager::Dpkg
                && rule.by.as_deref() != Some(own.name.as_str())
        };
        self.rules.iter().find(is_it).map(|rule| &rule.to)
    }

    /// Returns the reasons why owners are unknown.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }
}
