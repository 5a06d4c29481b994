//! Edges of the graph: uses of libraries between owners of files (by physical path), requirements of patches, and
//! `depend` files.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use patchadm_inputs::database::{DatabaseError, RecordView, contents, pieces};
use patchadm_libraries::{Follower, LibraryTree, Loader, LoaderSettings, Loading, NeedSource};
use patchadm_planning::order::{DependencyGraph, EdgeKind, NeedEdge};
use patchadm_planning::plan::package::depend::fits_version;
use patchadm_rootfs::{Interrupt, never};
use patchadm_svr4::format::depend::{Depend, Dependency, DependencyKind};
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::AppliedPatches;

#[derive(Clone, Debug, Default)]
pub(super) struct ObjectOwners(HashMap<ObjectPath, Vec<String>>);

impl ObjectOwners {
    pub(super) fn read(
        view: &RecordView<'_>,
        tree: &LibraryTree,
        workers: usize,
    ) -> Result<Self, DatabaseError> {
        let mut owners = Self::default();
        if tree.files().next().is_none() {
            return Ok(owners);
        }
        let in_pieces = pieces::every(view, workers, &never, || {
            let mut follower = tree.follower();
            move |line| of_line(tree, &mut follower, line)
        })?;
        let line_by_line = || -> Result<Vec<_>, DatabaseError> {
            let lines = contents::scan(view, |_| true)?;
            let mut follower = tree.follower();
            Ok(lines.into_values().filter_map(|line| of_line(tree, &mut follower, line)).collect())
        };
        for (path, packages) in in_pieces.map_or_else(line_by_line, Ok)? {
            owners.add(path, packages);
        }
        Ok(owners)
    }

    pub(super) fn add(&mut self, path: ObjectPath, packages: Vec<String>) {
        let known = self.0.entry(path).or_default();
        known.extend(packages);
        known.sort();
        known.dedup();
    }

    /// Returns the packages of a file, or else its path.
    pub(super) fn nodes(&self, path: &ObjectPath) -> Vec<String> {
        self.0.get(path).cloned().unwrap_or_else(|| vec![path.to_string()])
    }

    /// Returns edges from loading to loaded packages, except within one package.
    pub(super) fn edges(&self, uses: &LibraryUses) -> Vec<NeedEdge> {
        let mut edges = BTreeSet::new();
        for (path, uses) in &uses.uses {
            let own = self.nodes(path);
            for one in uses {
                let needed = self.nodes(&one.library);
                for from in own.iter().filter(|from| !needed.contains(from)) {
                    edges.extend(needed.iter().map(|to| NeedEdge {
                        from: from.clone(),
                        to: to.clone(),
                        kind: EdgeKind::Elf,
                        object: Some(path.to_string()),
                        need: one.name.clone(),
                    }));
                }
            }
        }
        edges.into_iter().collect()
    }
}

/// Returns physical path and packages of a program's line. The recorded path may lead through links.
fn of_line(
    tree: &LibraryTree,
    follower: &mut Follower<'_>,
    line: ContentsLine,
) -> Option<(ObjectPath, Vec<String>)> {
    if !line.object.ftype.is_regular() && line.object.ftype != Ftype::Link {
        return None;
    }
    let physical = if tree.file_at(&line.path).is_some() {
        line.path
    } else {
        let way = follower.follow(line.path.as_bytes())?;
        if way.path.name() != line.path.name() {
            return None;
        }
        way.path
    };
    Some((physical, line.owners.into_iter().map(|owner| owner.package.to_string()).collect()))
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LibraryUse {
    pub(super) name: String,
    pub(super) library: ObjectPath,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DoubleLoad {
    pub(super) program: ObjectPath,
    /// SONAMEs, sorted.
    pub(super) libraries: Vec<String>,
    pub(super) ways: Vec<Vec<ObjectPath>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct LibraryUses {
    pub(super) uses: BTreeMap<ObjectPath, Vec<LibraryUse>>,
    pub(super) doubles: Vec<DoubleLoad>,
}

impl LibraryUses {
    /// Incomplete after an interruption.
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
            // Settings of the loader are no need of an object.
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

/// Compares SONAMEs up to `.so`.
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

fn stem(soname: &str) -> Option<&str> {
    let ends = soname.match_indices(".so").filter(|(at, found)| {
        let rest = &soname[at + found.len()..];
        rest.is_empty() || rest.starts_with('.')
    });
    ends.map(|(at, _)| &soname[..at]).next()
}

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

/// Each requirement leads to the patch that meets it.
pub(super) fn patch_graph(patches: &AppliedPatches) -> DependencyGraph {
    let names = patches.iter().map(|patch| patch.id.to_string());
    let mut edges = Vec::new();
    for patch in patches.iter() {
        for requirement in &patch.requires {
            let Some(provider) = patches.satisfies(requirement) else { continue };
            edges.push(NeedEdge {
                from: patch.id.to_string(),
                to: provider.to_string(),
                kind: EdgeKind::Patch,
                object: None,
                need: requirement.to_string(),
            });
        }
    }
    DependencyGraph::new(names, edges)
}

#[derive(Clone, Debug)]
pub(super) struct DependingPackage {
    pub(super) instance: PkgInst,
    pub(super) params: Params,
    pub(super) depend: Option<(String, Depend)>,
}

/// A line means each instance that it fits, or else every instance: a changed version does not change the order of
/// renewals.
pub(super) fn depend_edges(packages: &[DependingPackage]) -> Vec<NeedEdge> {
    let mut instances: HashMap<&str, Vec<&DependingPackage>> = HashMap::new();
    for package in packages {
        instances.entry(package.instance.abbreviation()).or_default().push(package);
    }
    let mut edges = Vec::new();
    for package in packages {
        let Some((file, depend)) = &package.depend else { continue };
        for dependency in &depend.dependencies {
            let known = instances.get(&*dependency.package).map(Vec::as_slice).unwrap_or_default();
            for other in meant(dependency, known) {
                edges.extend(edge(package, file, dependency, other));
            }
        }
    }
    edges
}

fn meant<'p>(dependency: &Dependency, known: &[&'p DependingPackage]) -> Vec<&'p DependingPackage> {
    let fitting = known.iter().filter(|package| fits_version(dependency, &package.params, &[])).copied();
    let fitting: Vec<&DependingPackage> = fitting.collect();
    if fitting.is_empty() { known.to_vec() } else { fitting }
}

fn edge(
    package: &DependingPackage,
    file: &str,
    dependency: &Dependency,
    other: &DependingPackage,
) -> Option<NeedEdge> {
    let (from, to, letter) = match dependency.kind {
        DependencyKind::Prerequisite => (package, other, 'P'),
        DependencyKind::Reverse => (other, package, 'R'),
        DependencyKind::Incompatible => return None,
    };
    Some(NeedEdge {
        from: from.instance.to_string(),
        to: to.instance.to_string(),
        kind: EdgeKind::Depend,
        object: Some(file.to_owned()),
        need: format!("{letter} {}", dependency.package),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_library_of_several_packages_is_needed_from_all_of_them_but_by_none_of_them() {
        let mut owners = ObjectOwners::default();
        for (object, package) in [("/bin/a", "A"), ("/lib/x", "X"), ("/lib/x", "Y"), ("/bin/x", "X")] {
            owners.add(path(object), vec![package.to_owned()]);
        }
        let mut uses = LibraryUses::default();
        for object in ["/bin/a", "/bin/x", "/bin/own"] {
            let one = LibraryUse { name: "x".to_owned(), library: path("/lib/x") };
            uses.uses.insert(path(object), vec![one]);
        }
        let edges = owners.edges(&uses);
        let edges: Vec<String> = edges.iter().map(|edge| format!("{}>{}", edge.from, edge.to)).collect();
        assert_eq!(edges, ["/bin/own>X", "/bin/own>Y", "A>X", "A>Y"]);
    }

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

    fn package(instance: &str, version: &str, lines: &str) -> DependingPackage {
        DependingPackage {
            instance: PkgInst::new(instance).unwrap(),
            params: [("ARCH", "i386"), ("VERSION", version)].into_iter().collect(),
            depend: Some((format!("{instance}/install/depend"), Depend::parse(lines.as_bytes()))),
        }
    }

    fn edges(packages: &[DependingPackage]) -> Vec<String> {
        let edges = depend_edges(packages).into_iter();
        edges.map(|edge| format!("{}>{} {}", edge.from, edge.to, edge.need)).collect()
    }

    #[test]
    fn a_line_means_the_instances_that_have_its_version_else_all_of_the_package() {
        let installed =
            |lines: &str| edges(&[package("A", "1", lines), package("B", "1", ""), package("B.2", "2", "")]);
        assert_eq!(installed("P B The b\n"), ["A>B P B", "A>B.2 P B"]);
        assert_eq!(installed("P B The b\n\t(i386) 2\n"), ["A>B.2 P B"]);
        assert_eq!(installed("P B The b\n\t(sparc) 2\n"), ["A>B P B", "A>B.2 P B"]);
        assert!(installed("P C Not there\n").is_empty());
    }

    #[test]
    fn a_reverse_line_is_an_edge_of_the_other_package_and_an_exclusion_is_none() {
        let packages = [package("A", "1", "R B\nI C\n"), package("B", "1", ""), package("C", "1", "")];
        assert_eq!(edges(&packages), ["B>A R B"]);
        assert_eq!(depend_edges(&packages)[0].object.as_deref(), Some("A/install/depend"));
    }
}
