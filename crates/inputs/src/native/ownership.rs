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
use super::{NativeManager, NativeOrigin, NativeOwner, NativeReader};
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
                || paths.contains(&resolver.locate_to_compare(&diverted.listed)?);
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

    /// For a single place (a path whose directory is resolved): each call looks at all listed paths with its last component.
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
                let place = resolver.locate_to_compare(&path)?;
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
            let place = resolver.locate_to_compare(&path)?;
            by_directory
                .entry(place.parent().unwrap_or_else(ObjectPath::root))
                .or_default()
                .push((place, owner));
        }
        let mut names: BTreeMap<Inode, Vec<(ObjectPath, NativeOwner)>> = BTreeMap::new();
        for (directory, places) in by_directory {
            let Some(directory) = root.dir_of_object(&directory)? else { continue };
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
            let of_place = found.diverted.entry(resolver.locate_to_compare(&diverted.listed)?).or_default();
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn at(path: &str) -> ObjectPath {
        ObjectPath::new(path.as_bytes()).unwrap()
    }

    /// A root with these lists of packages and diversions of dpkg.
    fn root_with(lists: &[(&str, &str)], diversions: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let records = dir.path().join("var/lib/dpkg");
        fs::create_dir_all(records.join("info")).unwrap();
        fs::write(records.join("status"), "").unwrap();
        fs::write(records.join("diversions"), diversions).unwrap();
        for (name, list) in lists {
            fs::write(records.join(format!("info/{name}.list")), list).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn names(owners: &[NativeOwner]) -> Vec<&str> {
        owners.iter().map(|owner| owner.origin.name.as_str()).collect()
    }

    #[test]
    fn paths_with_one_last_component_have_the_owners_that_list_them_in_any_spelling() {
        let lists = [
            ("one", "/usr/lib/x\n/a/x\n"),
            ("other", "/lib/x\n/b/x\n/circle/x\n"),
            ("third", "/usr//lib/x\n/lib/y\n"),
        ];
        let (dir, root) = root_with(&lists, "");
        fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        symlink("usr/lib", dir.path().join("lib")).unwrap();
        symlink("circle", dir.path().join("circle")).unwrap();
        let (index, resolver) = (NativeIndex::read(&NativeReader::of(&root)), root.resolver());
        let paths = ["/lib/x", "/usr/lib/x", "/a/x", "/b/x", "/c/x", "/lib/y", "/circle/x"].map(at);
        let places = paths.clone().map(|path| resolver.locate_object(&path).unwrap());
        let owners = index.owners_of(paths.iter().zip(&places), &resolver, &never).unwrap();
        let found = paths.each_ref().map(|path| names(owners.of(path)).join(" "));
        let all = "one other third";
        assert_eq!(found, [all, all, "one", "other", "", "third", "other"]);
        for (path, place) in paths.iter().zip(&places) {
            let alone = index.listings(place, &resolver).unwrap();
            let alone: BTreeSet<&NativeOwner> = alone.into_iter().map(|(owner, _)| owner).collect();
            assert!(alone.into_iter().eq(owners.of(path)), "{path}");
        }
        let spelled = index.listings(&at("/usr/lib/x"), &resolver).unwrap();
        let spelled: BTreeSet<&[u8]> = spelled.into_iter().map(|(_, spelled)| spelled).collect();
        assert_eq!(spelled, BTreeSet::from([&b"/usr/lib/x"[..], b"/lib/x", b"/usr//lib/x"]));
    }

    #[test]
    fn a_listed_place_behind_a_link_counts_as_itself_and_as_the_place_to_which_the_link_leads() {
        let (dir, root) = root_with(&[("one", "/lib/x\n")], "");
        fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        symlink("usr/lib", dir.path().join("lib")).unwrap();
        let (index, resolver) = (NativeIndex::read(&NativeReader::of(&root)), root.resolver());
        // A plan that replaces the link by a directory has both places.
        let places = ["/lib/x", "/usr/lib/x"].map(at);
        let found = index.listings_of(&places, &resolver, &never).unwrap();
        assert_eq!(places.map(|place| found[&place].len()), [1, 1]);
    }

    #[test]
    fn spellings_are_those_of_lists_and_of_links_at_the_top() {
        let (dir, root) = root_with(&[("one", "/lib/x\n")], "");
        fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        symlink("usr/lib", dir.path().join("lib")).unwrap();
        let (index, resolver) = (NativeIndex::read(&NativeReader::of(&root)), root.resolver());
        let mut paths = BTreeSet::from([at("/usr/lib/x"), at("/usr/y")]);
        let links = [(at("/top"), at("/usr")), (at("/self"), at("/"))];
        index.add_spellings(&mut paths, &links, &resolver, &never).unwrap();
        let all =
            ["/usr/lib/x", "/lib/x", "/top/lib/x", "/self/usr/lib/x", "/usr/y", "/top/y", "/self/usr/y"];
        assert_eq!(paths, BTreeSet::from(all.map(at)));
    }

    #[test]
    fn a_diverted_path_has_its_place_for_each_package_that_did_not_divert_it() {
        let lists = [("bash", "/bin/sh\n"), ("dash", "/bin/sh\n"), ("zsh", "/usr/bin/sh\n/usr/bin/y\n")];
        let diversions = "/bin/sh\n/bin/sh.distrib\ndash\n/usr/bin/y\n/usr/bin/y.real\n:\n";
        let (dir, root) = root_with(&lists, diversions);
        fs::create_dir_all(dir.path().join("usr/bin")).unwrap();
        symlink("usr/bin", dir.path().join("bin")).unwrap();
        let (index, resolver) = (NativeIndex::read(&NativeReader::of(&root)), root.resolver());
        let places = ["/usr/bin/sh", "/usr/bin/sh.distrib", "/usr/bin/y", "/usr/bin/y.real"].map(at);
        let owners = index.owners_of(places.iter().zip(&places), &resolver, &never).unwrap();
        let found = places.each_ref().map(|path| names(owners.of(path)).join(" "));
        assert_eq!(found, ["dash zsh", "bash", "", "zsh"]);
        let origin = |name: &str| NativeOrigin {
            manager: NativeManager::Dpkg,
            name: name.to_owned(),
            arch: None,
            version: None,
        };
        let diverted = |place: &str, name: &str| {
            owners.diverted(&at(place), &origin(name)).map(|one| one.place.to_string())
        };
        assert_eq!(diverted("/usr/bin/sh", "bash").as_deref(), Some("/bin/sh.distrib"));
        assert_eq!(diverted("/usr/bin/y", "zsh").as_deref(), Some("/usr/bin/y.real"));
        assert_eq!(["dash", "zsh"].map(|name| diverted("/usr/bin/sh", name)), [None, None]);
        let rpm = NativeOrigin { manager: NativeManager::Rpm, ..origin("bash") };
        assert_eq!(owners.diverted(&at("/usr/bin/sh"), &rpm), None);
        let addition = |name: &str| owners.diverted_addition(&at("/bin/sh"), &origin(name));
        assert_eq!(addition("new"), Some(&at("/bin/sh.distrib")));
        assert_eq!(addition("dash"), None, "the diverting package keeps the path");
        let mut paths = BTreeSet::from([at("/usr/bin/sh"), at("/usr/bin/y")]);
        index.add_diverted(&mut paths, &resolver, &never).unwrap();
        assert_eq!(paths.len(), 4, "{paths:?}");
    }

    /// With a comparison of each path with each, this would not end.
    #[test]
    fn very_many_paths_with_one_last_component_are_looked_at_once_each() {
        let list = (0..200_000).map(|number| format!("/a/{number}/x\n")).collect::<Vec<_>>().concat();
        let (_dir, root) = root_with(&[("one", &list)], "");
        let (index, resolver) = (NativeIndex::read(&NativeReader::of(&root)), root.resolver());
        let paths: Vec<ObjectPath> = list.lines().map(at).collect();
        let pairs = || paths.iter().map(|path| (path, path));
        let owners = index.owners_of(pairs(), &resolver, &never).unwrap();
        assert!(paths.iter().all(|path| names(owners.of(path)) == ["one"]));
        let asked = AtomicUsize::new(0);
        let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) > 100).then_some(15);
        assert!(index.owners_of(pairs(), &resolver, &interrupt).is_err());
    }

    #[test]
    fn all_listed_names_of_hard_links_are_known_after_one_search() {
        let (dir, root) = root_with(&[("one", "/usr/a\n/usr/alone\n/usr\n"), ("other", "/lib/b\n")], "");
        fs::create_dir(dir.path().join("usr")).unwrap();
        symlink("usr", dir.path().join("lib")).unwrap();
        fs::write(dir.path().join("usr/a"), "").unwrap();
        fs::write(dir.path().join("usr/alone"), "").unwrap();
        fs::hard_link(dir.path().join("usr/a"), dir.path().join("usr/b")).unwrap();
        let mut owners = NativeOwners::default();
        owners.add_all_names(&NativeIndex::read(&NativeReader::of(&root)), &root, &never).unwrap();
        let of = |path: &str| {
            let live = root.live_at(&at(path)).unwrap().unwrap();
            owners.names(&live).iter().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>()
        };
        assert_eq!(of("/usr/b"), BTreeSet::from([at("/usr/a"), at("/usr/b")]));
        assert!(of("/usr/alone").is_empty() && of("/usr").is_empty());
    }
}
