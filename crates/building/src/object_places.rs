//! Places of package objects, with the links of the base and of packages resolved.
//!
//! An object follows links of its own package and of its dependencies; a link of any other package is a conflict.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::convert::Infallible;
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

/// The most bytes of the places of one owner's objects, with all directories above them and with what is remembered of
/// links: four times those of a package without links. A link makes a short path long: without a limit, a package of some megabytes would take gigabytes.
pub(crate) const LARGEST_PLACES: usize = 256 << 20;

/// The most bytes of the paths of a whole set, and of their places: some twenty million paths of forty bytes.
pub(crate) const LARGEST_IN_ALL: usize = 2 << 30;

/// The memory that a path takes besides its own bytes.
pub(crate) const PATH_BYTES: usize = 64;

/// The paths of an owner are too long in all, as symbolic links of a package, of its dependencies or of the base may
/// make them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the paths of its location, including those of symbolic links, have more than {LARGEST_PLACES} bytes, or all paths together have more than {LARGEST_IN_ALL} and these are the most"
)]
pub(crate) struct OverlongPlaces;

/// Items of owners, up to a sum of bytes. The largest owner is left out first, of equal ones the last in byte order:
/// no owner displaces a smaller one.
#[derive(Debug)]
pub(crate) struct FairShares<T> {
    most: usize,
    held: usize,
    kept: BTreeMap<(usize, String), Vec<T>>,
}

impl<T> FairShares<T> {
    pub(crate) fn up_to(most: usize) -> Self {
        Self { most, held: 0, kept: BTreeMap::new() }
    }

    /// Adds all that an owner holds.
    pub(crate) fn add(&mut self, owner: &str, bytes: usize, items: Vec<T>) {
        if bytes > self.most {
            return;
        }
        self.held = self.held.saturating_add(bytes);
        self.kept.insert((bytes, owner.to_owned()), items);
        while self.held > self.most
            && let Some(((bytes, _), _)) = self.kept.pop_last()
        {
            self.held -= bytes;
        }
    }

    /// Returns what is not left out.
    pub(crate) fn into_items(self) -> impl Iterator<Item = T> {
        self.kept.into_values().flatten()
    }
}

/// Maximum symbolic links per path, as in Linux.
const MOST_LINKS: usize = 40;

#[derive(Clone, Debug, Default)]
pub(crate) struct Delivery {
    /// Who answers for its size: a location of a set, or else the package itself.
    pub(crate) owner: String,
    /// The bytes of its paths, links, and all directories above the paths of each package.
    pub(crate) held: usize,
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
        let links: Vec<(ObjectPath, Arc<[u8]>)> = links.collect();
        let paths = placed_objects(package);
        let of_links: usize = links.iter().map(|(_, target)| target.len() + PATH_BYTES).sum();
        let name = package.params.text("PKG").into_owned();
        let depend = package.install.get("depend").map(|text| Depend::parse(text)).unwrap_or_default();
        let needs = depend.dependencies.into_iter().filter(|need| need.kind == DependencyKind::Prerequisite);
        Self {
            owner: name.clone(),
            held: held_with_directories(&paths).saturating_add(of_links),
            paths,
            links,
            packages: BTreeSet::from([name]),
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
        if self.packages.is_empty() {
            self.owner = other.owner;
        }
        self.held = self.held.saturating_add(other.held);
        self.paths.extend(other.paths);
        self.links.extend(other.links);
        self.packages.extend(other.packages);
        self.needs.extend(other.needs);
    }
}

fn held_with_directories(paths: &PlacedPaths) -> usize {
    let (mut seen, mut held) = (HashSet::new(), 0_usize);
    for (path, _) in paths {
        held = held.saturating_add(path.as_bytes().len() + PATH_BYTES);
        for directory in path.ancestors_bytes().take_while(|directory| seen.insert(*directory)) {
            held = held.saturating_add(directory.len() + PATH_BYTES);
        }
    }
    held
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
    /// The most bytes of the places of one owner, and of all.
    most: (usize, usize),
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
        Self::up_to((LARGEST_PLACES, LARGEST_IN_ALL), base, deliveries, interrupt)
    }

    pub(crate) fn up_to(
        most: (usize, usize),
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
        let place_of: fn(&(ObjectPath, Arc<[u8]>)) -> &ObjectPath = |(place, _)| place;
        let Ok(placed) = self.in_fair_shares(place_of, |number, delivery| {
            let mut ways = self.ways(number);
            let place = |(path, target): &(ObjectPath, Arc<[u8]>)| {
                (ways.place(path, PathKind::Symlink), target.clone())
            };
            let links: Vec<_> = delivery.links.iter().map(place).collect();
            Ok::<_, Infallible>((!ways.are_overlong()).then_some(links))
        });
        let overlong = (0..self.deliveries.len()).filter(|number| !placed.contains_key(number)).collect();
        let mut links = PlacedLinks::new();
        for (number, own) in placed {
            for (place, target) in own {
                links.entry(place).or_default().push((number, target));
            }
        }
        (links, overlong)
    }

    /// Places something of each delivery, owner by owner, by number. Leaves out a delivery with `None`, and all deliveries of
    /// an owner whose places are too long or the longest ones of too many.
    fn in_fair_shares<T, E>(
        &self,
        place_of: fn(&T) -> &ObjectPath,
        mut placed: impl FnMut(usize, &Delivery) -> Result<Option<Vec<T>>, E>,
    ) -> Result<BTreeMap<usize, Vec<T>>, E> {
        let mut owners: BTreeMap<&str, Vec<(usize, &Delivery)>> = BTreeMap::new();
        for (number, delivery) in self.deliveries.iter().copied().enumerate() {
            owners.entry(&delivery.owner).or_default().push((number, delivery));
        }
        let mut shares = FairShares::up_to(self.most.1);
        for (owner, deliveries) in owners {
            let (mut own, mut held) = (Vec::new(), 0_usize);
            for (number, delivery) in deliveries {
                let Some(items) = placed(number, delivery)? else { continue };
                let bytes: usize =
                    items.iter().map(|item| place_of(item).as_bytes().len() + PATH_BYTES).sum();
                held = held.saturating_add(bytes);
                if held > self.most.0 {
                    own.clear();
                    break;
                }
                own.push((number, items));
            }
            shares.add(owner, if own.is_empty() { 0 } else { held }, own);
        }
        Ok(shares.into_items().collect())
    }

    pub(crate) fn ways(&self, delivery: usize) -> Ways<'_> {
        Ways {
            links: LinkFollower::new(DeliveredLinks { places: self, delivery }),
            directories: HashMap::new(),
            held: 0,
            most: self.most.0,
        }
    }

    pub(crate) fn objects(&self, delivery: usize) -> Result<Vec<PlacedObject>, OverlongPlaces> {
        let paths = self.deliveries.get(delivery).map(|delivery| delivery.paths.as_slice());
        self.placed(delivery, paths.unwrap_or_default())
    }

    /// Returns the objects of each delivery. Owners with too long places, or with the longest ones of too many, have none.
    pub(crate) fn all_objects(
        &self,
        interrupt: Interrupt<'_>,
    ) -> Result<Vec<Result<Vec<PlacedObject>, OverlongPlaces>>, i32> {
        let place_of: fn(&PlacedObject) -> &ObjectPath = |object| &object.place;
        let mut all = self.in_fair_shares(place_of, |number, _| {
            interrupt().map_or_else(|| Ok(self.objects(number).ok()), Err)
        })?;
        Ok((0..self.deliveries.len()).map(|number| all.remove(&number).ok_or(OverlongPlaces)).collect())
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
            owner: name.to_owned(),
            links: links.iter().map(|(at, target)| (path(at), target.as_bytes().into())).collect(),
            packages: BTreeSet::from([name.to_owned()]),
            needs: needs.iter().map(|name| (*name).to_owned()).collect(),
            ..Delivery::default()
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
        let places =
            ObjectPlaces::up_to((3_000_000, LARGEST_IN_ALL), None, deliveries.iter().collect(), &never)
                .unwrap();
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
        let few = ObjectPlaces::up_to((1_500_000, LARGEST_IN_ALL), None, deliveries.iter().collect(), &never)
            .unwrap();
        let paths = ["/one/f", "/two/f"].map(|text| (path(text), PathKind::Other));
        assert_eq!(few.placed(2, &paths), Err(OverlongPlaces), "directories above count");

        // So do the places of links. Others are not affected.
        let few =
            ObjectPlaces::up_to((15_000, LARGEST_IN_ALL), None, deliveries.iter().collect(), &never).unwrap();
        assert_eq!(few.placed(3, &[]), Err(OverlongPlaces));
        assert_eq!(few.placed(0, &[(path("/opt/f"), PathKind::Other)]).map(|objects| objects.len()), Ok(3));
    }

    #[test]
    fn the_largest_owner_is_left_out_and_nobody_pushes_out_a_smaller_one() {
        let kept = |most: usize, owners: &[(&str, usize)]| {
            let mut shares = FairShares::up_to(most);
            for (owner, bytes) in owners {
                shares.add(owner, *bytes, vec![*owner]);
            }
            let mut kept: Vec<&str> = shares.into_items().collect();
            kept.sort_unstable();
            kept.concat()
        };
        let owners = [("a", 3), ("b", 5), ("c", 2), ("d", 5)];
        for (most, expected) in [(15, "abcd"), (14, "abc"), (9, "ac"), (4, "c"), (1, "")] {
            assert_eq!(kept(most, &owners), expected, "{most}");
            let mut turned = owners;
            turned.reverse();
            assert_eq!(kept(most, &turned), expected, "{most}");
        }
        assert_eq!(kept(9, &[("evil", usize::MAX), ("a", 9)]), "a");
    }

    #[test]
    fn the_paths_of_all_owners_have_a_limit_and_many_small_packages_of_one_count_together() {
        let many = |name: &str, owner: &str, count: usize| {
            let paths = (0..count).map(|n| (path(&format!("/opt/{name}/{n}")), PathKind::Other)).collect();
            Delivery { paths, owner: owner.to_owned(), ..delivery(name, &[], &[]) }
        };
        let deliveries =
            [many("e1", "evil", 60), many("e2", "evil", 60), many("one", "one", 100), many("two", "two", 50)];
        let there = |most: (usize, usize)| {
            let places = ObjectPlaces::up_to(most, None, deliveries.iter().collect(), &never).unwrap();
            let all = places.all_objects(&never).unwrap();
            all.iter().map(Result::is_ok).collect::<Vec<_>>()
        };
        let size = |count: usize| count * (PATH_BYTES + 12);
        assert_eq!(there((1 << 20, 1 << 20)), [true; 4]);
        assert_eq!(there((1 << 20, size(160))), [false, false, true, true], "the largest owner");
        assert_eq!(there((1 << 20, size(60))), [false, false, false, true]);
        assert_eq!(there((size(110), 1 << 20)), [false, false, true, true], "one owner alone");

        let far = format!("/{}", "n".repeat(255));
        let link = |at: &str| delivery(at, &["far"], &[(&*format!("/far/{at}"), "x")]);
        let deliveries = [delivery("far", &[], &[("/far", &far)]), link("one"), link("two")];
        let places = ObjectPlaces::up_to((1 << 20, 600), None, deliveries.iter().collect(), &never).unwrap();
        let all = places.all_objects(&never).unwrap();
        assert_eq!(all.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false], "places of links");
    }

    #[test]
    fn what_a_delivery_holds_counts_each_directory_of_its_paths_once() {
        let paths = [("/a/b/c", PathKind::Other), ("/a/b/d", PathKind::Other)];
        let paths: PlacedPaths = paths.map(|(text, kind)| (path(text), kind)).into();
        assert_eq!(held_with_directories(&paths), 6 + 6 + 4 + 2 + 1 + 5 * PATH_BYTES);
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
