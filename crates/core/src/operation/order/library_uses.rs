//! The libraries that the programs of a root load, collected from every program, and from each library that none loads.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use patchadm_libraries::{LibraryTree, Loader, LoaderSettings, Loading, NeedSource};
use patchadm_rootfs::Interrupt;
use patchadm_svr4::package::ObjectPath;

/// A library that an object loads by a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LibraryUse {
    /// The name.
    pub(super) name: String,
    /// The library that is found.
    pub(super) library: ObjectPath,
}

/// Two or more versions of one library that a program loads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DoubleLoad {
    /// The program.
    pub(super) program: ObjectPath,
    /// The SONAMEs, sorted.
    pub(super) libraries: Vec<String>,
    /// For each version, the chain from the program to it.
    pub(super) ways: Vec<Vec<ObjectPath>>,
}

/// The libraries that all objects load.
#[derive(Clone, Debug, Default)]
pub(super) struct LibraryUses {
    /// The libraries that each object loads itself.
    pub(super) uses: BTreeMap<ObjectPath, Vec<LibraryUse>>,
    /// The programs that load several versions of a library.
    pub(super) doubles: Vec<DoubleLoad>,
}

impl LibraryUses {
    /// Loads everything in a tree. Once a signal asks for the end, the rest is missing.
    pub(super) fn of(tree: &LibraryTree, settings: &LoaderSettings, interrupt: Interrupt<'_>) -> Self {
        let mut found = Self::default();
        let mut loader = Loader::new(tree, settings).ended_by(interrupt);
        let files: BTreeMap<_, _> = tree.files().collect();
        let mut loaded = HashSet::new();
        for (path, _) in files.iter().filter(|(_, file)| file.facts.is_program()) {
            if let Some(loading) = loader.load(path) {
                loaded.extend(loading.objects.iter().map(|object| Arc::as_ptr(&object.way.file)));
                found.take(&loading);
            }
        }
        for (path, _) in files.iter().filter(|(_, file)| !loaded.contains(&Arc::as_ptr(file))) {
            if let Some(loading) = loader.load(path) {
                found.take(&loading);
            }
        }
        found
    }

    fn take(&mut self, loading: &Loading) {
        for object in &loading.objects {
            let own = match self.uses.get_mut(&object.way.path) {
                Some(own) => own,
                None => self.uses.entry(object.way.path.clone()).or_default(),
            };
            // The settings of the loader are not a need of an object.
            for need in loading.needs_of(object).filter(|need| need.source != NeedSource::Preload) {
                let Some(library) = loading.found(need) else { continue };
                let (library, name) = (&library.way.path, loading.name(need));
                if own.iter().all(|known| *known.name != *name || known.library != *library) {
                    own.push(LibraryUse { name: name.to_string(), library: library.clone() });
                }
            }
        }
        self.doubles.extend(doubles(loading));
    }
}

/// Finds the libraries that come in several versions: those whose SONAMEs are equal up to `.so`.
fn doubles(loading: &Loading) -> Vec<DoubleLoad> {
    let mut versions: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (index, object) in loading.objects.iter().enumerate() {
        let soname = object.way.file.facts.soname.as_deref();
        if let Some((stem, soname)) = soname.and_then(|soname| Some((stem(soname)?, soname))) {
            versions.entry(stem).or_default().entry(soname).or_insert(index);
        }
    }
    let Some(program) = loading.objects.first() else { return Vec::new() };
    let several = versions.into_values().filter(|versions| versions.len() > 1);
    let double = several.map(|versions| DoubleLoad {
        program: program.way.path.clone(),
        libraries: versions.keys().map(|soname| (*soname).to_owned()).collect(),
        ways: versions.values().map(|index| way_to(loading, *index)).collect(),
    });
    double.collect()
}

/// Returns the part of a SONAME before `.so` and the version.
fn stem(soname: &str) -> Option<&str> {
    let ends = soname.match_indices(".so").filter(|(at, found)| {
        let rest = &soname[at + found.len()..];
        rest.is_empty() || rest.starts_with('.')
    });
    ends.map(|(at, _)| &soname[..at]).next()
}

/// Returns the objects from the program to one that it loads: each is loaded for the previous one.
fn way_to(loading: &Loading, index: usize) -> Vec<ObjectPath> {
    let (mut way, mut next, mut seen) = (Vec::new(), Some(index), BTreeSet::new());
    while let Some(index) = next.filter(|index| seen.insert(*index)) {
        let Some(object) = loading.objects.get(index) else { break };
        way.push(object.way.path.clone());
        next = object.loaded_by;
    }
    way.reverse();
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stem_ends_where_the_version_begins() {
        for (soname, expected) in [
            ("libc.so.6", Some("libc")),
            ("libx.so", Some("libx")),
            ("lib.sox.so.1", Some("lib.sox")),
            ("libx-1.2.so", Some("libx-1.2")),
            ("plugin", None),
        ] {
            assert_eq!(stem(soname), expected, "{soname}");
        }
    }
}
