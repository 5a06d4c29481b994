//! depend(4): prerequisites, incompatible packages and dependents, and their checks when packages come and go.

use std::collections::{HashMap, HashSet};

use patchadm_inputs::inventory::{Installed, Inventory, is_kept_package};
use patchadm_svr4::format::depend::{Depend, Dependency, DependencyKind, PackageVersion};
use patchadm_svr4::format::params::compact;
use patchadm_svr4::package::{Params, PkgInst};

/// Tells why a package with this `depend` file cannot be installed. The instance `replaced` does not count.
pub(super) fn unmet_at_installation(
    depend: &Depend,
    inventory: &Inventory,
    replaced: Option<&PkgInst>,
) -> Vec<String> {
    let mut found = Vec::new();
    let instances = instances(inventory);
    for dependency in &depend.dependencies {
        let there = installed(dependency, &instances, true);
        match dependency.kind {
            DependencyKind::Prerequisite if there.is_none() => {
                found.push(format!(
                    "it needs package {}, which is not completely installed",
                    words(dependency)
                ));
            }
            DependencyKind::Incompatible => {
                found.extend(
                    installed(dependency, &instances, false)
                        .filter(|other| Some(*other) != replaced)
                        .map(|other| format!("it is incompatible with package {other}, which is installed")),
                );
            }
            _ => {}
        }
    }
    found
}

/// For a package of kept libraries, only packages that name it count: programs say which libraries they need, not the
/// records of the last run.
pub(super) fn needed_by(package: &PkgInst, inventory: &Inventory) -> Vec<String> {
    let mut found = Vec::new();
    let Some(own) = inventory.packages.get(package) else { return found };
    let is_kept = is_kept_package(&own.params);
    let is_asked = |(other, installed): &(&PkgInst, &Installed)| {
        *other != package && !(is_kept && is_kept_package(&installed.params))
    };
    // Another instance may serve as well.
    let is_replaced = |one: &PkgInst| one != package && one.abbreviation() == package.abbreviation();
    let replaced = inventory.packages.keys().any(is_replaced);
    for (other, installed) in inventory.packages.iter().filter(|_| !replaced).filter(is_asked) {
        let needs = recorded(installed)
            .into_iter()
            .any(|entry| entry.kind == DependencyKind::Prerequisite && means_installed(&entry, package, own));
        if needs {
            found.push(format!("package {other} needs it"));
        }
    }
    let reverse = recorded(own).into_iter().filter(|entry| entry.kind == DependencyKind::Reverse);
    let instances = instances(inventory);
    for entry in reverse.filter(|_| !is_kept) {
        found.extend(installed(&entry, &instances, false).map(|other| format!("package {other} needs it")));
    }
    found.dedup();
    found
}

/// Packages that need the installed version and are not satisfied by the new one.
pub(super) fn needing_installed_version(
    package: &PkgInst,
    (new, compatible): (&Params, &[String]),
    inventory: &Inventory,
) -> Vec<String> {
    let mut found = Vec::new();
    let Some(own) = inventory.packages.get(package) else { return found };
    let others = || inventory.packages.iter().filter(|(other, _)| *other != package);
    let instances: Vec<_> =
        others().filter(|(other, _)| other.abbreviation() == package.abbreviation()).collect();
    for (other, installed) in others() {
        let unserved = recorded(installed).into_iter().filter(|entry| {
            entry.kind == DependencyKind::Prerequisite
                && means_installed(entry, package, own)
                && !means(entry, InstanceFacts { package, params: new, compatible })
                && !instances.iter().any(|(instance, one)| means_installed(entry, instance, one))
        });
        found.extend(unserved.map(|entry| format!("package {other} needs {}", words(&entry))));
    }
    found
}

fn recorded(installed: &Installed) -> Vec<Dependency> {
    let file = installed.records.get(&b"install/depend"[..]);
    file.map(|file| Depend::parse(&file.bytes).dependencies).unwrap_or_default()
}

fn compatible(installed: &Installed) -> Vec<String> {
    let file = installed.records.get(&b"install/compver"[..]);
    file.map(|file| compatible_versions(&file.bytes)).unwrap_or_default()
}

pub fn compatible_versions(compver: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(compver).into_owned();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

#[derive(Clone, Copy)]
struct InstanceFacts<'a> {
    package: &'a PkgInst,
    params: &'a Params,
    compatible: &'a [String],
}

fn means(dependency: &Dependency, candidate: InstanceFacts<'_>) -> bool {
    candidate.package.abbreviation() == dependency.package
        && fits_version(dependency, candidate.params, candidate.compatible)
}

fn means_installed(dependency: &Dependency, package: &PkgInst, installed: &Installed) -> bool {
    let compatible = compatible(installed);
    means(dependency, InstanceFacts { package, params: &installed.params, compatible: &compatible })
}

/// Returns true if a package has one of the versions, or is compatible with one.
pub fn fits_version(dependency: &Dependency, params: &Params, compatible: &[String]) -> bool {
    let arch = String::from_utf8_lossy(&compact(params.get("ARCH").unwrap_or_default())).into_owned();
    if dependency.versions.is_empty() {
        return true;
    }
    let version = params.text("VERSION");
    let archs: HashSet<&str> = arch.split(',').collect();
    let served = compatible.iter().map(String::as_str).chain([&*version]).map(words_of);
    let served: HashSet<Vec<&str>> = served.collect();
    dependency.versions.iter().any(|wanted| {
        let of_arch = wanted.arch.is_empty() || archs.contains(wanted.arch.as_str());
        of_arch && served.contains(&words_of(&wanted.version))
    })
}

fn words_of(version: &str) -> Vec<&str> {
    version.split_whitespace().collect()
}

/// By abbreviation.
type Instances<'a> = HashMap<&'a str, Vec<(&'a PkgInst, &'a Installed)>>;

fn instances(inventory: &Inventory) -> Instances<'_> {
    let mut instances = Instances::new();
    for (package, installed) in &inventory.packages {
        instances.entry(package.abbreviation()).or_default().push((package, installed));
    }
    instances
}

fn installed<'a>(
    dependency: &Dependency,
    instances: &Instances<'a>,
    completely: bool,
) -> Option<&'a PkgInst> {
    let mut packages = instances.get(dependency.package.as_str()).into_iter().flatten().copied();
    let meant = packages.find(|(package, installed)| {
        !(completely && installed.partial) && means_installed(dependency, package, installed)
    });
    meant.map(|(package, _)| package)
}

fn words(dependency: &Dependency) -> String {
    let versions = dependency.versions.iter();
    let versions: Vec<String> = versions.map(version_words).collect();
    if versions.is_empty() {
        dependency.package.clone()
    } else {
        format!("{} {}", dependency.package, versions.join(" or "))
    }
}

fn version_words(wanted: &PackageVersion) -> String {
    if wanted.arch.is_empty() {
        wanted.version.clone()
    } else {
        format!("({}) {}", wanted.arch, wanted.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_is_named_with_the_versions_that_serve() {
        let found = Depend::parse(b"P ACMEcore Core\n\t(i386)1.0\n  2.0\nI ACMEold Old\n");
        let said: Vec<String> = found.dependencies.iter().map(words).collect();
        assert_eq!(said, ["ACMEcore (i386) 1.0 or 2.0", "ACMEold"]);
    }

    #[test]
    fn a_version_serves_by_itself_or_by_a_compatible_one_on_the_wanted_architecture() {
        let found = Depend::parse(b"P ACMEcore Core\n\t(i386)1.0\n  2.0,REV=1 a\nP ACMEany Any\n");
        let [core, any] = &found.dependencies[..] else { panic!("{found:?}") };
        let fits = |arch: &str, version: &str, compatible: &[&str]| {
            let params: Params = [("ARCH", arch), ("VERSION", version)].into_iter().collect();
            let compatible: Vec<String> = compatible.iter().map(|one| (*one).to_owned()).collect();
            assert!(fits_version(any, &params, &compatible));
            fits_version(core, &params, &compatible)
        };
        assert!(fits("sparc, i386", "1.0", &[]));
        assert!(!fits("sparc", "1.0", &[]));
        assert!(fits("sparc", "2.0,REV=1  a", &[]), "blanks do not count");
        assert!(fits("i386", "3.0", &["0.9", " 1.0"]));
        assert!(!fits("i386", "3.0", &["0.9"]));
    }
}
