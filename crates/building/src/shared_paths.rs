//! Packages that deliver the same path, so that one would overwrite the other.
//!
//! [`ObjectPlaces`](crate::object_places::ObjectPlaces) gives the places. A link where another package has a directory
//! is a conflict too: it would redirect that package.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use patchadm_bulk_values::report::SharedPath;
use patchadm_inputs::source::{SourceError, SourceProblem};
use patchadm_rootfs::{FileType, Root, RootError, never};
use patchadm_svr4::package::ObjectPath;

use crate::object_places::{Delivery, ObjectPlaces, OverlongPlaces, PathKind, PlacedObject};
use crate::package_limits::open_package;

/// A conflict with an earlier package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathConflict {
    pub(crate) holder: usize,
    pub(crate) path: ObjectPath,
    pub(crate) more: u64,
}

impl PathConflict {
    pub(crate) fn to_shared_path(&self, holder: &str, package: &str) -> SharedPath {
        SharedPath {
            path: self.path.to_string(),
            more: self.more,
            packages: vec![holder.to_owned(), package.to_owned()],
        }
    }
}

pub(crate) fn delivery_of(file: &Path) -> Result<Delivery, SourceError> {
    let (_, image) = open_package(file)?;
    Ok(Delivery::of_all(&image))
}

/// A package whose objects have no places that can be held.
pub(crate) fn unusable(file: &Path, reason: OverlongPlaces) -> SourceError {
    SourceError { path: file.to_owned(), problem: SourceProblem::BadForm(reason.to_string()) }
}

/// Finds each package's conflicts with earlier ones that have none themselves. Directories may be shared.
pub(crate) fn conflicts<'p>(packages: impl Iterator<Item = &'p [PlacedObject]>) -> Vec<Vec<PathConflict>> {
    let mut holders: HashMap<&ObjectPath, (usize, PathKind)> = HashMap::new();
    let mut found = Vec::new();
    for (number, objects) in packages.enumerate() {
        let mut own: Vec<PathConflict> = Vec::new();
        for PlacedObject { place, path, kind } in objects {
            let Some((holder, _)) = holders.get(place).filter(|(_, held)| !held.goes_with(*kind)) else {
                continue;
            };
            match own.iter_mut().find(|conflict| conflict.holder == *holder) {
                Some(known) => known.more += 1,
                None => own.push(PathConflict { holder: *holder, path: path.clone(), more: 0 }),
            }
        }
        if own.is_empty() {
            for object in objects {
                holders.entry(&object.place).or_insert((number, object.kind));
            }
        }
        found.push(own);
    }
    found
}

pub(crate) const OF_BASE: &str = "the base";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BaseConflict {
    pub(crate) path: ObjectPath,
    pub(crate) more: u64,
}

impl BaseConflict {
    pub(crate) fn to_shared_path(&self, package: &str) -> SharedPath {
        let packages = vec![OF_BASE.to_owned(), package.to_owned()];
        SharedPath { path: self.path.to_string(), more: self.more, packages }
    }
}

/// Finds objects in the place of a separate base's object, which takes precedence. Directories may be shared.
pub(crate) fn conflict_with_base(
    base: &Root,
    objects: &[PlacedObject],
) -> Result<Option<BaseConflict>, RootError> {
    let mut of_directory: BTreeMap<&[u8], Vec<&PlacedObject>> = BTreeMap::new();
    for object in objects {
        if let Some(above) = object.place.parent_bytes() {
            of_directory.entry(above).or_default().push(object);
        }
    }
    let mut found: Option<BaseConflict> = None;
    for (above, objects) in of_directory {
        let Ok(above) = ObjectPath::new(above) else { continue };
        let dir = match base.dir_if_there(&above) {
            Ok(None) => continue,
            Ok(dir) => dir,
            // Too many links in the path.
            Err(error) if !error.is_refused_access() => None,
            Err(error) => return Err(error),
        };
        for object in objects {
            if let Some(dir) = &dir {
                let Some(seen) = dir.look(object.place.name())? else { continue };
                if seen.file_type == FileType::Directory && object.kind == PathKind::Directory {
                    continue;
                }
            }
            match &mut found {
                Some(known) => known.more += 1,
                None => found = Some(BaseConflict { path: object.path.clone(), more: 0 }),
            }
        }
    }
    Ok(found)
}

/// Checks a file's packages against the base.
pub(crate) fn must_be_beside(
    base: &Root,
    file: &Path,
) -> Result<Result<Option<BaseConflict>, SourceError>, RootError> {
    let delivery = match delivery_of(file) {
        Ok(delivery) => delivery,
        Err(error) => return Ok(Err(error)),
    };
    // A single package is read at once.
    let Ok(places) = ObjectPlaces::of(Some(base), vec![&delivery], &never) else { return Ok(Ok(None)) };
    match places.objects(0) {
        Ok(objects) => conflict_with_base(base, &objects).map(Ok),
        Err(overlong) => Ok(Err(unusable(file, overlong))),
    }
}

/// Returns places with conflicting deliveries; true if one of them is a directory.
pub(crate) fn disputed_places<'p>(
    packages: impl Iterator<Item = &'p [PlacedObject]>,
) -> BTreeMap<ObjectPath, bool> {
    let mut seen: HashMap<&ObjectPath, PathKind> = HashMap::new();
    let mut disputed = BTreeMap::new();
    for PlacedObject { place, kind, .. } in packages.flatten() {
        match seen.get(place) {
            None => {
                seen.insert(place, *kind);
            }
            Some(held) if held.goes_with(*kind) => {}
            Some(held) => {
                let has_directory = [*held, *kind].contains(&PathKind::Directory);
                *disputed.entry(place.clone()).or_insert(false) |= has_directory;
            }
        }
    }
    disputed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn delivery(name: &str, needs: &[&str], named: &[&str]) -> Delivery {
        let path = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let mut delivery = Delivery {
            packages: BTreeSet::from([name.to_owned()]),
            needs: needs.iter().map(|name| (*name).to_owned()).collect(),
            ..Delivery::default()
        };
        for name in named {
            let (name, kind) = match name.split_once('@') {
                Some((name, target)) => {
                    delivery.links.push((path(name), target.as_bytes().into()));
                    (name, PathKind::Symlink)
                }
                None if name.ends_with('/') => (*name, PathKind::Directory),
                None => (*name, PathKind::Other),
            };
            delivery.paths.push((path(name), kind));
        }
        delivery
    }

    /// Returns for each package the holder, first path and number of further paths of each conflict.
    fn found(deliveries: &[Delivery]) -> Vec<Vec<(usize, String, u64)>> {
        let places = ObjectPlaces::of(None, deliveries.iter().collect(), &never).unwrap();
        let placed = places.all_objects(&never).unwrap().into_iter();
        let placed: Vec<Vec<PlacedObject>> = placed.map(Result::unwrap).collect();
        let found = conflicts(placed.iter().map(Vec::as_slice));
        let parts = |conflict: PathConflict| (conflict.holder, conflict.path.to_string(), conflict.more);
        found.into_iter().map(|own| own.into_iter().map(parts).collect()).collect()
    }

    #[test]
    fn the_first_one_has_a_path_and_directories_belong_to_all() {
        let deliveries = [
            delivery("a", &[], &["/opt/", "/opt/a", "/opt/both", "/opt/two"]),
            delivery("b", &[], &["/opt/", "/opt/b", "/opt/both", "/opt/two"]),
            delivery("c", &[], &["/opt/", "/opt/b"]),
            delivery("d", &[], &["/opt"]),
            delivery("e", &[], &["/opt/a@b"]),
        ];
        let places = ObjectPlaces::of(None, deliveries.iter().collect(), &never).unwrap();
        let placed = places.all_objects(&never).unwrap().into_iter();
        let placed: Vec<Vec<PlacedObject>> = placed.map(Result::unwrap).collect();
        let disputed = disputed_places(placed.iter().map(Vec::as_slice));
        let disputed: Vec<String> = disputed.iter().map(|(path, with)| format!("{path} {with}")).collect();
        assert_eq!(
            disputed,
            ["/opt true", "/opt/a false", "/opt/b false", "/opt/both false", "/opt/two false"]
        );
        let found = found(&deliveries);
        assert_eq!(found[0], []);
        assert_eq!(found[1], [(0, "/opt/both".to_owned(), 1)]);
        assert_eq!(found[2], [], "what is left out holds nothing");
        assert_eq!(found[3], [(0, "/opt".to_owned(), 0)]);
        assert_eq!(found[4], [(0, "/opt/a".to_owned(), 0)]);
    }

    #[test]
    fn the_base_has_its_paths_first_and_its_directories_are_for_all() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/lib/special")).unwrap();
        std::fs::write(dir.path().join("usr/lib/special/lib.so"), "").unwrap();
        std::os::unix::fs::symlink("usr/lib", dir.path().join("lib")).unwrap();
        let base = Root::open(dir.path()).unwrap();
        let found = |named: &[&str]| {
            let delivery = delivery("one", &[], named);
            let places = ObjectPlaces::of(Some(&base), vec![&delivery], &never).unwrap();
            let found = conflict_with_base(&base, &places.objects(0).unwrap()).unwrap();
            found.map(|found| (found.path.to_string(), found.more))
        };
        assert_eq!(
            found(&["/usr/lib/", "/usr/lib/own.so", "/lib/special/", "/lib/special/own.so", "/opt/x"]),
            None
        );
        assert_eq!(found(&["/lib/special/lib.so"]), Some(("/lib/special/lib.so".to_owned(), 0)));
        assert_eq!(found(&["/usr/lib/special@/nowhere"]), Some(("/usr/lib/special".to_owned(), 0)));
        assert_eq!(found(&["/usr/lib@/nowhere", "/usr"]), Some(("/usr".to_owned(), 1)));
        assert_eq!(found(&["/usr/lib/special/lib.so/"]), Some(("/usr/lib/special/lib.so".to_owned(), 0)));
        assert_eq!(found(&["/lib@/nowhere"]), Some(("/lib".to_owned(), 0)));
    }

    #[test]
    fn a_link_where_another_package_has_a_directory_is_a_conflict_unless_that_needs_it() {
        let file = || delivery("file", &[], &["/opt/x/lib/f"]);
        for link in ["/opt@/nowhere", "/opt/x@y", "/opt/x/lib@../bin"] {
            let evil = delivery("evil", &[], &["/opt/x/bin/", link]);
            let at = link.split_once('@').unwrap().0.to_owned();
            let found = found(&[file(), evil]);
            assert_eq!(found[1].first().map(|one| (one.0, &one.1)), Some((0, &at)), "{found:?}");
        }
        let link = || delivery("link", &[], &["/opt/x@y", "/opt/y/"]);
        assert_eq!(found(&[link(), file()])[1], [(0, "/opt/x".to_owned(), 0)]);
        let plugin = || delivery("plugin", &["link"], &["/opt/x/lib/f"]);
        assert_eq!(found(&[link(), plugin()]), [vec![], vec![]]);
        assert_eq!(found(&[plugin(), link()]), [vec![], vec![]]);
    }

    #[test]
    fn what_lies_behind_links_is_compared_where_it_lies() {
        let deliveries = [
            delivery("victim", &[], &["/opt/victim/bin/v"]),
            delivery("link", &["victim"], &["/opt/zz@victim"]),
            delivery("evil", &["link"], &["/opt/zz/bin/v"]),
            delivery("own", &[], &["/opt/own@victim", "/opt/own/bin/v"]),
        ];
        let found = found(&deliveries);
        assert_eq!(found[1], []);
        assert_eq!(found[2], [(0, "/opt/zz/bin/v".to_owned(), 0)]);
        assert_eq!(found[3], [(0, "/opt/own/bin/v".to_owned(), 0)]);
    }
}
