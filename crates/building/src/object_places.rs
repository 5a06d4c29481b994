//! Places of package objects, with the links of the base and of packages resolved.
//!
//! An object follows links of its own package and of its dependencies; a link of any other package is a conflict.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use patchadm_bulk_values::conf::BuildBase;
use patchadm_inputs::source::{Image, PackageImage};
use patchadm_rootfs::{AtPath, FileType, Followed, Interrupt, LinkFollower, LinkMap, Root, RootError};
use patchadm_svr4::format::depend::{Depend, DependencyKind};
use patchadm_svr4::package::{Ftype, ObjectPath, PackagePath, variables};

pub(crate) type PlacedPaths = Vec<(ObjectPath, PathKind)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PathKind {
    Directory,
    Symlink,
    Other,
}

impl PathKind {
    pub(crate) fn goes_with(self, other: Self) -> bool {
        (self, other) == (Self::Directory, Self::Directory)
    }
}

fn placed_objects(package: &PackageImage) -> PlacedPaths {
    let objects = package.pkgmap.entries.iter().filter(|entry| entry.object.ftype != Ftype::Information);
    let placed = objects.filter_map(|entry| {
        let kind = match entry.object.ftype {
            Ftype::Directory | Ftype::Exclusive => PathKind::Directory,
            Ftype::Symlink => PathKind::Symlink,
            _ => PathKind::Other,
        };
        Some((placed(package, &entry.path)?, kind))
    });
    placed.collect()
}

/// Returns where an object is installed, `None` if unknown.
pub(crate) fn placed(package: &PackageImage, path: &PackagePath) -> Option<ObjectPath> {
    let base = match package.params.get("BASEDIR").map(<[u8]>::trim_ascii) {
        None | Some(b"") => ObjectPath::root(),
        Some(base) => ObjectPath::new(base).ok()?,
    };
    path.resolve(&base, |name| variables::value(&package.params, name)).ok()
}

/// The most bytes of the places of one delivery's objects, with all directories above them and with what is remembered of
/// links: four times those of a package without links. A link makes a short path long: without a limit, a package of some megabytes would take gigabytes.
const LARGEST_PLACES: usize = 256 << 20;

/// The symbolic links of a package, of its dependencies or of the base make its paths too long in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("with the symbolic links on the way, its paths have more than {LARGEST_PLACES} bytes")]
pub(crate) struct OverlongPlaces;

/// Maximum symbolic links per path, as in Linux.
const MOST_LINKS: usize = 40;

#[derive(Clone, Debug, Default)]
pub(crate) struct Delivery {
    pub(crate) paths: PlacedPaths,
    pub(crate) links: Vec<(ObjectPath, Arc<[u8]>)>,
    pub(crate) packages: BTreeSet<String>,
    pub(crate) needs: BTreeSet<String>,
}

impl Delivery {
    pub(crate) fn of(package: &PackageImage) -> Self {
        let links = package.pkgmap.entries.iter().filter(|entry| entry.object.ftype == Ftype::Symlink);
        let links = links.filter_map(|entry| {
            Some((placed(package, &entry.path)?, entry.object.target.as_deref().unwrap_or_default().into()))
        });
        let depend = package.install.get("depend").map(|text| Depend::parse(text)).unwrap_or_default();
        let needs =
            depend.dependencies.into_iter().filter(|need| need.binding == DependencyKind::Prerequisite);
        Self {
            paths: placed_objects(package),
            links: links.collect(),
            packages: BTreeSet::from([package.params.text("PKG").into_owned()]),
            needs: needs.map(|need| need.package).collect(),
        }
    }

    pub(crate) fn of_all(image: &Image) -> Self {
        let mut all = Self::default();
        for package in &image.packages {
            all.add_all(Self::of(package));
        }
        all
    }

    pub(crate) fn add_all(&mut self, other: Self) {
        self.paths.extend(other.paths);
        self.links.extend(other.links);
        self.packages.extend(other.packages);
        self.needs.extend(other.needs);
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlacedObject {
    pub(crate) place: ObjectPath,
    /// The path in the package, or the place itself for a directory that no package lists.
    pub(crate) path: ObjectPath,
    pub(crate) kind: PathKind,
}

/// Opens the base if it has its own directory. Packages deliver nothing below host paths.
pub(crate) fn root_of_base(base: &BuildBase) -> Result<Option<Root>, RootError> {
    match base {
        BuildBase::Directory(path) => Root::open(path).map(Some),
        BuildBase::Host(_) => Ok(None),
    }
}

type PlacedLinks = HashMap<ObjectPath, Vec<(usize, Arc<[u8]>)>>;

/// Resolves the paths of packages that are installed together over a base.
pub(crate) struct ObjectPlaces<'a> {
    deliveries: Vec<&'a Delivery>,
    by_name: HashMap<&'a str, usize>,
    links: PlacedLinks,
    /// The dependencies of each delivery.
    known: Vec<OnceCell<HashSet<usize>>>,
    base: Option<&'a Root>,
    of_base: RefCell<HashMap<Vec<u8>, BaseEntry>>,
    /// Deliveries whose links have too long places.
    overlong: BTreeSet<usize>,
    /// The most bytes of the places of one delivery.
    most: usize,
}

#[derive(Clone)]
enum BaseEntry {
    Directory,
    Link(Arc<[u8]>),
    /// Nothing, or a dead end.
    Other,
}

impl<'a> ObjectPlaces<'a> {
    pub(crate) fn of(
        base: Option<&'a Root>,
        deliveries: Vec<&'a Delivery>,
        interrupt: Interrupt<'_>,
    ) -> Result<Self, i32> {
        Self::up_to(LARGEST_PLACES, base, deliveries, interrupt)
    }

    fn up_to(
        most: usize,
        base: Option<&'a Root>,
        deliveries: Vec<&'a Delivery>,
        interrupt: Interrupt<'_>,
    ) -> Result<Self, i32> {
        let mut by_name = HashMap::new();
        for (number, delivery) in deliveries.iter().enumerate() {
            for name in &delivery.packages {
                by_name.entry(name.as_str()).or_insert(number);
            }
        }
        let known = deliveries.iter().map(|_| OnceCell::new()).collect();
        let mut places = Self {
            deliveries,
            by_name,
            links: HashMap::new(),
            known,
            base,
            of_base: RefCell::new(HashMap::new()),
            overlong: BTreeSet::new(),
            most,
        };
        // A link may lie behind another one.
        for _ in 0..MOST_LINKS {
            if let Some(signal) = interrupt() {
                return Err(signal);
            }
            let (links, overlong) = places.placed_links();
            let is_settled = links == places.links;
            places.links = links;
            places.overlong.extend(overlong);
            if is_settled {
                break;
            }
        }
        Ok(places)
    }

    /// The second value has the deliveries whose links would have too long places.
    fn placed_links(&self) -> (PlacedLinks, BTreeSet<usize>) {
        let (mut links, mut overlong) = (PlacedLinks::new(), BTreeSet::new());
        for (number, delivery) in self.deliveries.iter().enumerate() {
            let mut ways = self.ways(number);
            for (path, target) in &delivery.links {
                links.entry(ways.place(path, PathKind::Symlink)).or_default().push((number, target.clone()));
            }
            if ways.are_overlong() {
                overlong.insert(number);
            }
        }
        (links, overlong)
    }

    pub(crate) fn ways(&self, delivery: usize) -> Ways<'_> {
        Ways {
            links: LinkFollower::new(DeliveredLinks { places: self, delivery }),
            directories: HashMap::new(),
            held: 0,
            most: self.most,
        }
    }

    pub(crate) fn objects(&self, delivery: usize) -> Result<Vec<PlacedObject>, OverlongPlaces> {
        let paths = self.deliveries.get(delivery).map(|delivery| delivery.paths.as_slice());
        self.placed(delivery, paths.unwrap_or_default())
    }

    /// Returns the objects of each delivery.
    pub(crate) fn all_objects(
        &self,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<Result<Vec<PlacedObject>, OverlongPlaces>>, i32> {
        let objects = |delivery| interrupt().map_or_else(|| Ok(self.objects(delivery)), Err);
        (0..self.deliveries.len()).map(objects).collect()
    }

    pub(crate) fn placed(
        &self,
        delivery: usize,
        paths: &[(ObjectPath, PathKind)],
    ) -> Result<Vec<PlacedObject>, OverlongPlaces> {
        if self.overlong.contains(&delivery) {
            return Err(OverlongPlaces);
        }
        let mut ways = self.ways(delivery);
        let mut objects: Vec<PlacedObject> = Vec::new();
        let mut above: HashSet<ObjectPath> = HashSet::new();
        for (path, kind) in paths {
            let place = ways.place(path, *kind);
            for directory in place.ancestors_bytes() {
                if above.contains(directory) {
                    break;
                }
                ways.held = ways.held.saturating_add(directory.len());
                above.extend(ObjectPath::new(directory));
            }
            if ways.are_overlong() {
                return Err(OverlongPlaces);
            }
            objects.push(PlacedObject { place, path: path.clone(), kind: *kind });
        }
        for object in objects.iter().filter(|object| object.kind == PathKind::Directory) {
            above.remove(&object.place);
        }
        objects.extend(above.into_iter().map(|place| PlacedObject {
            path: place.clone(),
            place,
            kind: PathKind::Directory,
        }));
        Ok(objects)
    }

    /// Returns the target of a link, if the delivery depends on that link.
    fn link_at(&self, delivery: usize, place: &[u8]) -> Option<Arc<[u8]>> {
        let links = self.links.get(place).map(Vec::as_slice).unwrap_or_default();
        let own = links.iter().find(|(owner, _)| *owner == delivery);
        let known = || links.iter().find(|(owner, _)| self.knows(delivery, *owner));
        if let Some((_, target)) = own.or_else(known) {
            return Some(target.clone());
        }
        match self.object_of_base(place) {
            BaseEntry::Link(target) => Some(target),
            BaseEntry::Directory | BaseEntry::Other => None,
        }
    }

    /// Includes indirect dependencies.
    fn knows(&self, delivery: usize, other: usize) -> bool {
        let Some(known) = self.known.get(delivery) else { return false };
        let find = || {
            let (mut known, mut open) = (HashSet::new(), vec![delivery]);
            while let Some(next) = open.pop().and_then(|number| self.deliveries.get(number)) {
                let needs = next.needs.iter().filter_map(|name| self.by_name.get(name.as_str()));
                open.extend(needs.filter(|need| known.insert(**need)));
            }
            known
        };
        known.get_or_init(find).contains(&other)
    }

    /// Looks up the base's object. Nothing below the first missing directory is cached.
    fn object_of_base(&self, place: &[u8]) -> BaseEntry {
        let Some(base) = self.base else { return BaseEntry::Other };
        let ends = (1..place.len()).filter(|at| place.get(*at) == Some(&b'/')).chain([place.len()]);
        let mut above: &[u8] = b"";
        for end in ends {
            let here = place.get(..end).unwrap_or_default();
            let known = self.of_base.borrow().get(here).cloned();
            let found = known.unwrap_or_else(|| {
                let found = look_in(base, above, here).unwrap_or(BaseEntry::Other);
                self.of_base.borrow_mut().insert(here.to_vec(), found.clone());
                found
            });
            if end == place.len() {
                return found;
            }
            if !matches!(found, BaseEntry::Directory) {
                break;
            }
            above = here;
        }
        BaseEntry::Other
    }
}

fn look_in(base: &Root, above: &[u8], here: &[u8]) -> Option<BaseEntry> {
    let name = here.get(above.len() + 1..)?;
    let above = if above.is_empty() { b"/" } else { above };
    let dir = base.dir_if_there(&ObjectPath::new(above).ok()?).ok()??;
    match dir.look(name).ok()??.file_type {
        FileType::Directory => Some(BaseEntry::Directory),
        FileType::Symlink => Some(BaseEntry::Link(dir.read_link(name).ok()?.into())),
        _ => None,
    }
}

struct DeliveredLinks<'p> {
    places: &'p ObjectPlaces<'p>,
    delivery: usize,
}

impl LinkMap for DeliveredLinks<'_> {
    fn at(&self, path: &[u8]) -> AtPath {
        self.places.link_at(self.delivery, path).map_or(AtPath::Other, AtPath::Link)
    }
}

pub(crate) struct Ways<'p> {
    links: LinkFollower<DeliveredLinks<'p>>,
    directories: HashMap<ObjectPath, ObjectPath>,
    /// The bytes of all places.
    held: usize,
    most: usize,
}

impl Ways<'_> {
    /// Returns true if the places have more bytes in all than those of one delivery may have.
    fn are_overlong(&self) -> bool {
        self.held.saturating_add(self.links.held()) > self.most
    }

    /// Returns the place of an object. A dead end is its own place, and so are all paths once the places are too long.
    pub(crate) fn place(&mut self, path: &ObjectPath, kind: PathKind) -> ObjectPath {
        if self.are_overlong() {
            return path.clone();
        }
        let place = self.place_of(path, kind);
        self.held = self.held.saturating_add(place.as_bytes().len());
        place
    }

    fn place_of(&mut self, path: &ObjectPath, kind: PathKind) -> ObjectPath {
        if kind == PathKind::Directory {
            return self.directory(path);
        }
        let Some(above) = path.parent() else { return path.clone() };
        let place = self.directory(&above);
        if place == above {
            return path.clone();
        }
        place.join(path.name()).unwrap_or_else(|_| path.clone())
    }

    fn directory(&mut self, path: &ObjectPath) -> ObjectPath {
        if let Some(known) = self.directories.get(path) {
            return known.clone();
        }
        let followed = self.links.follow(Followed::default(), path.as_bytes(), &mut false);
        let place = followed.and_then(|followed| ObjectPath::new(followed.path()).ok());
        let place = place.unwrap_or_else(|| path.clone());
        self.held = self.held.saturating_add(path.as_bytes().len() + place.as_bytes().len());
        self.directories.insert(path.clone(), place.clone());
        place
    }
}

#[cfg(test)]
mod tests {
    use patchadm_rootfs::never;

    use super::*;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    fn delivery(name: &str, needs: &[&str], links: &[(&str, &str)]) -> Delivery {
        Delivery {
            paths: PlacedPaths::new(),
            links: links.iter().map(|(at, target)| (path(at), target.as_bytes().into())).collect(),
            packages: BTreeSet::from([name.to_owned()]),
            needs: needs.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn the_links_of_a_package_and_of_what_it_needs_lead_and_those_of_others_do_not() {
        let deliveries = [
            delivery("links", &[], &[("/opt/zz", "one"), ("/opt/zz/lib", "../lib64")]),
            delivery("middle", &["links"], &[]),
            delivery("needs", &["middle"], &[]),
            delivery("other", &[], &[]),
            delivery("round", &[], &[("/opt/a", "b"), ("/opt/b", "a")]),
        ];
        let places = ObjectPlaces::of(None, deliveries.iter().collect(), &never).unwrap();
        let at =
            |number: usize, text: &str| places.ways(number).place(&path(text), PathKind::Other).to_string();
        assert_eq!(at(2, "/opt/zz/bin/v"), "/opt/one/bin/v");
        assert_eq!(at(2, "/opt/one/lib/v"), "/opt/lib64/v", "a link behind a link");
        assert_eq!(at(0, "/opt/zz"), "/opt/zz", "the link itself");
        assert_eq!(at(3, "/opt/zz/bin/v"), "/opt/zz/bin/v");
        assert_eq!(at(4, "/opt/a/v"), "/opt/a/v", "a way without an end");
    }

    #[test]
    fn the_links_of_the_base_lead_everybody() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/lib/x")).unwrap();
        std::os::unix::fs::symlink("usr/lib", dir.path().join("lib")).unwrap();
        std::os::unix::fs::symlink("/lib/x", dir.path().join("usr/y")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let deliveries = [delivery("one", &[], &[])];
        let places = ObjectPlaces::of(Some(&root), deliveries.iter().collect(), &never).unwrap();
        let objects = places
            .placed(0, &[(path("/usr/y/f"), PathKind::Other), (path("/lib"), PathKind::Directory)])
            .unwrap();
        let mut shown: Vec<String> =
            objects.iter().map(|object| format!("{} {}", object.place, object.path)).collect();
        shown.sort();
        assert_eq!(
            shown,
            ["/ /", "/usr /usr", "/usr/lib /lib", "/usr/lib/x /usr/lib/x", "/usr/lib/x/f /usr/y/f"]
        );
    }

    /// Otherwise each path would walk the whole chain: half a billion steps.
    #[test]
    fn many_paths_behind_a_chain_of_links_walk_it_once() {
        let far = |number: usize| format!("{}{}l{}", "d/".repeat(600), "../".repeat(600), number + 1);
        let names: Vec<(String, String)> =
            (0..39).map(|number| (format!("/z/l{number}"), far(number))).collect();
        let links: Vec<(&str, &str)> = names.iter().map(|(at, to)| (at.as_str(), to.as_str())).collect();
        let deliveries = [delivery("chain", &[], &links)];
        let places = ObjectPlaces::of(None, deliveries.iter().collect(), &never).unwrap();
        let paths: Vec<_> =
            (0..10_000).map(|number| (path(&format!("/z/l0/{number}/q")), PathKind::Other)).collect();
        let placed = places.placed(0, &paths).unwrap();
        assert_eq!(placed[9999].place, path("/z/l39/9999/q"));
    }

    /// Otherwise each of half a million short paths would take four kilobytes, or more with the directories above.
    #[test]
    fn links_do_not_make_short_paths_as_long_as_they_like() {
        let (long, deep) = ("n".repeat(255), "d/".repeat(1_000));
        let far = format!("/{}", format!("{long}/").repeat(15));
        let deliveries = [
            delivery("far", &[], &[("/far", &far)]),
            delivery("needs", &["far"], &[]),
            delivery("deep", &[], &[("/one", &format!("/1/{deep}")), ("/two", &format!("/2/{deep}"))]),
            delivery("links", &["far"], &[("/far/1", "x"), ("/far/2", "x"), ("/far/3", "x")]),
        ];
        let places = ObjectPlaces::up_to(3_000_000, None, deliveries.iter().collect(), &never).unwrap();
        let placed = |number: usize, paths: &[&str]| {
            let paths: Vec<_> = paths.iter().map(|text| (path(text), PathKind::Other)).collect();
            places.placed(number, &paths).map(|objects| objects.len())
        };
        let many: Vec<String> = (0..1_000).map(|number| format!("/far/{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(placed(0, &many[..500]), Ok(500 + 15 + 1));
        assert_eq!(placed(0, &many), Err(OverlongPlaces));
        assert_eq!(placed(1, &many), Err(OverlongPlaces), "a link of what it needs");
        assert_eq!(placed(2, &["/one/f"]), Ok(1 + 1_000 + 1 + 1));
        assert_eq!(placed(2, &["/one/f", "/two/f", "/one/g"]), Ok(3 + 2 * 1_001 + 1));
        let few = ObjectPlaces::up_to(1_500_000, None, deliveries.iter().collect(), &never).unwrap();
        let paths = ["/one/f", "/two/f"].map(|text| (path(text), PathKind::Other));
        assert_eq!(few.placed(2, &paths), Err(OverlongPlaces), "directories above count");

        // So do the places of links, and nobody else suffers.
        let few = ObjectPlaces::up_to(15_000, None, deliveries.iter().collect(), &never).unwrap();
        assert_eq!(few.placed(3, &[]), Err(OverlongPlaces));
        assert_eq!(few.placed(0, &[(path("/opt/f"), PathKind::Other)]).map(|objects| objects.len()), Ok(3));
    }

    /// Each part of a target is looked for in the base.
    #[test]
    fn nothing_is_remembered_of_ways_that_the_base_does_not_have() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let target = format!("/usr/{}", "x/".repeat(2000));
        let deliveries = [delivery("one", &[], &[("/opt/l", &target)])];
        let places = ObjectPlaces::of(Some(&root), deliveries.iter().collect(), &never).unwrap();
        places.placed(0, &[(path("/opt/l/q"), PathKind::Other)]).unwrap();
        let mut known: Vec<_> = places.of_base.borrow().keys().cloned().collect();
        known.sort();
        assert_eq!(known, [b"/opt".to_vec(), b"/usr".to_vec(), b"/usr/x".to_vec()]);
    }

    #[test]
    fn an_interrupt_ends_the_search_for_places() {
        let deliveries = [delivery("one", &[], &[("/opt/l", "m")])];
        assert_eq!(ObjectPlaces::of(None, deliveries.iter().collect(), &|| Some(15)).err(), Some(15));
        let places = ObjectPlaces::of(None, deliveries.iter().collect(), &never).unwrap();
        assert_eq!(places.all_objects(&|| Some(15)), Err(15));
    }
}
