//! Edges from `depend` files.

use std::collections::HashMap;

use patchadm_planning::order::{EdgeKind, NeedEdge};
use patchadm_planning::plan::package::depend::fits_version;
use patchadm_svr4::format::depend::{Depend, Dependency, DependencyKind};
use patchadm_svr4::package::{Params, PkgInst};

/// A package, and the contents of its `depend` file.
#[derive(Clone, Debug)]
pub(super) struct DependingPackage {
    /// Its instance.
    pub(super) instance: PkgInst,
    /// Its parameters.
    pub(super) params: Params,
    /// The file, if it has one, and its contents.
    pub(super) depend: Option<(String, Depend)>,
}

/// Makes the edges of all packages. A line means each instance that it fits; if it fits none, each instance of the package:
/// a changed version does not change which one is renewed first.
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

/// Returns the instances that a line means.
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
    let (from, to, letter) = match dependency.binding {
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

    fn package(instance: &str, version: &str, lines: &str) -> DependingPackage {
        DependingPackage {
            instance: PkgInst::new(instance).unwrap(),
            params: [("ARCH", "i386"), ("VERSION", version)].into_iter().collect(),
            depend: Some((format!("{instance}/install/depend"), Depend::parse(lines.as_bytes()))),
        }
    }

    /// Returns the edges of all packages, without their origins.
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
