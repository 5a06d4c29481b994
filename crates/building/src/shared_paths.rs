//! Packages that deliver the same path: installed together, one would overwrite what is the other's.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use patchadm_bulk::report::SharedPath;
use patchadm_inputs::source::{self, Extent, Origin, SourceError};
use patchadm_svr4::package::ObjectPath;

use crate::set::{DeliveredPaths, PathKind, placed_objects};

/// What a package has in common with one before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// The number of the one before.
    pub(crate) holder: usize,
    /// The first path.
    pub(crate) path: ObjectPath,
    /// How many more paths these two have in common.
    pub(crate) more: u64,
}

impl Conflict {
    /// Returns what is told of it.
    pub(crate) fn told(&self, holder: &str, package: &str) -> SharedPath {
        SharedPath {
            path: self.path.to_string(),
            more: self.more,
            packages: vec![holder.to_owned(), package.to_owned()],
        }
    }
}

/// Reads the paths of the packages in a file, without their contents.
pub(crate) fn paths_of(file: &Path) -> Result<DeliveredPaths, SourceError> {
    let (_, image) = source::open(Origin::Path(file), Extent::Unchecked)?;
    Ok(image.packages.iter().flat_map(placed_objects).collect())
}

/// Finds, package by package, what each has in common with one before it that has nothing in common with others. Directories may
/// belong to several.
pub(crate) fn conflicts<'p>(packages: impl Iterator<Item = &'p DeliveredPaths>) -> Vec<Vec<Conflict>> {
    let mut holders: HashMap<&ObjectPath, (usize, PathKind)> = HashMap::new();
    let mut found = Vec::new();
    for (number, paths) in packages.enumerate() {
        let mut own: Vec<Conflict> = Vec::new();
        for (path, kind) in paths {
            let Some((holder, _)) = holders.get(path).filter(|(_, held)| !held.goes_with(*kind)) else {
                continue;
            };
            match own.iter_mut().find(|conflict| conflict.holder == *holder) {
                Some(known) => known.more += 1,
                None => own.push(Conflict { holder: *holder, path: path.clone(), more: 0 }),
            }
        }
        if own.is_empty() {
            for (path, kind) in paths {
                holders.entry(path).or_insert((number, *kind));
            }
        }
        found.push(own);
    }
    found
}

/// Returns the paths that several packages deliver and that cannot belong to all of them.
pub(crate) fn disputed_paths<'p>(packages: impl Iterator<Item = &'p DeliveredPaths>) -> BTreeSet<ObjectPath> {
    let mut seen: HashMap<&ObjectPath, PathKind> = HashMap::new();
    let mut disputed = BTreeSet::new();
    for (path, kind) in packages.flatten() {
        if seen.insert(path, *kind).is_some_and(|held| !held.goes_with(*kind)) {
            disputed.insert(path.clone());
        }
    }
    disputed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(named: &[&str]) -> DeliveredPaths {
        let path = |name: &&str| {
            let kind = match name.chars().next_back() {
                Some('/') => PathKind::Directory,
                Some('@') => PathKind::Symlink,
                _ => PathKind::Other,
            };
            (ObjectPath::new(name.trim_end_matches(['/', '@']).as_bytes()).unwrap(), kind)
        };
        named.iter().map(path).collect()
    }

    #[test]
    fn the_first_one_has_a_path_and_directories_belong_to_all() {
        let packages = [
            paths(&["/opt/", "/opt/a", "/opt/both", "/opt/two"]),
            paths(&["/opt/", "/opt/b", "/opt/both", "/opt/two"]),
            paths(&["/opt/", "/opt/b"]),
            paths(&["/opt"]),
            paths(&["/opt@"]),
            paths(&["/opt/a@"]),
        ];
        let disputed: Vec<String> = disputed_paths(packages.iter()).iter().map(ToString::to_string).collect();
        assert_eq!(disputed, ["/opt", "/opt/a", "/opt/b", "/opt/both", "/opt/two"]);
        let found = conflicts(packages.iter());
        let told = |number: usize| {
            let conflict: Option<&Conflict> = found.get(number).and_then(|conflicts| conflicts.first());
            conflict.map(|conflict| (conflict.holder, conflict.path.to_string(), conflict.more))
        };
        assert_eq!(told(0), None);
        assert_eq!(told(1), Some((0, "/opt/both".to_owned(), 1)));
        assert_eq!(told(2), None, "what is left out holds nothing");
        assert_eq!(told(3), Some((0, "/opt".to_owned(), 0)));
        assert_eq!(told(4), None, "a directory may be behind a link");
        assert_eq!(told(5), Some((0, "/opt/a".to_owned(), 0)));
    }
}
