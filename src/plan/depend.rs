//! depend(4): what a package needs, excludes, and is needed by; and who fails when packages come and go.

use crate::format::params::compact;
use crate::package::{Inventory, Params, PkgInst};

/// How a dependency binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Binding {
    /// `P`: it must be there.
    Prerequisite,
    /// `I`: it must not be there.
    Incompatible,
    /// `R`: it needs this package.
    Reverse,
}

/// One entry with the versions that it is restricted to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Dependency {
    binding: Binding,
    package: String,
    /// Architecture (empty for any) and version.
    versions: Vec<(String, String)>,
}

/// What stands against installing a package with this depend file, in words; empty where nothing does.
pub(super) fn unmet_at_installation(depend: &[u8], inventory: &Inventory) -> Vec<String> {
    let mut found = Vec::new();
    for dependency in parse(depend) {
        let there = dependency.installed(inventory, true);
        match dependency.binding {
            Binding::Prerequisite if there.is_none() => {
                found.push(format!(
                    "it needs package {}, which is not completely installed",
                    dependency.words()
                ));
            }
            Binding::Incompatible => {
                found.extend(
                    dependency
                        .installed(inventory, false)
                        .map(|other| format!("it is incompatible with package {other}, which is installed")),
                );
            }
            _ => {}
        }
    }
    found
}

/// Who needs a package that is to be removed, in words.
pub(super) fn needed_by(package: &PkgInst, inventory: &Inventory) -> Vec<String> {
    let mut found = Vec::new();
    let Some(own) = inventory.packages.get(package) else { return found };
    let depend = |records: &std::collections::BTreeMap<Vec<u8>, crate::package::RecordFile>| {
        records.get(&b"install/depend"[..]).map(|file| parse(&file.bytes)).unwrap_or_default()
    };
    for (other, installed) in inventory.packages.iter().filter(|(other, _)| *other != package) {
        let needs = depend(&installed.records)
            .into_iter()
            .any(|entry| entry.binding == Binding::Prerequisite && entry.means(package, &own.params));
        // another instance may serve as well
        let others = inventory.packages.iter().filter(|(instance, _)| *instance != package);
        let replaced =
            others.map(|(instance, _)| instance).any(|i| i.abbreviation() == package.abbreviation());
        if needs && !replaced {
            found.push(format!("package {other} needs it"));
        }
    }
    for entry in depend(&own.records).iter().filter(|entry| entry.binding == Binding::Reverse) {
        found.extend(entry.installed(inventory, false).map(|other| format!("package {other} needs it")));
    }
    found.dedup();
    found
}

impl Dependency {
    fn means(&self, package: &PkgInst, params: &Params) -> bool {
        if package.abbreviation() != self.package {
            return false;
        }
        let arch = String::from_utf8_lossy(&compact(params.get("ARCH").unwrap_or_default())).into_owned();
        let version = params.text("VERSION");
        let fits = |(of_arch, of_version): &(String, String)| {
            (of_arch.is_empty() || arch.split(',').any(|one| one == of_arch)) && of_version == version.trim()
        };
        self.versions.is_empty() || self.versions.iter().any(fits)
    }

    /// An installed instance that is meant.
    fn installed<'a>(&self, inventory: &'a Inventory, completely: bool) -> Option<&'a PkgInst> {
        let mut packages = inventory.packages.iter();
        let meant = packages.find(|(package, installed)| {
            !(completely && installed.partial) && self.means(package, &installed.params)
        });
        meant.map(|(package, _)| package)
    }

    fn words(&self) -> String {
        let versions: Vec<String> =
            self.versions.iter().map(|(arch, version)| format!("({arch}) {version}")).collect();
        if versions.is_empty() {
            self.package.clone()
        } else {
            format!("{} {}", self.package, versions.join(" or "))
        }
    }
}

/// Reads a depend file; lines that are none are passed over, as the classic reader does.
fn parse(text: &[u8]) -> Vec<Dependency> {
    let mut found: Vec<Dependency> = Vec::new();
    for line in String::from_utf8_lossy(text).lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            if let (Some(last), Some(version)) = (found.last_mut(), version(line.trim())) {
                last.versions.push(version);
            }
            continue;
        }
        let mut words = line.split_whitespace();
        let binding = match words.next() {
            Some("P") => Binding::Prerequisite,
            Some("I") => Binding::Incompatible,
            Some("R") => Binding::Reverse,
            _ => continue,
        };
        if let Some(package) = words.next() {
            found.push(Dependency { binding, package: package.to_owned(), versions: Vec::new() });
        }
    }
    found
}

/// `(arch)version`, the architecture being optional.
fn version(text: &str) -> Option<(String, String)> {
    let (arch, version) = match text.strip_prefix('(') {
        Some(rest) => rest.split_once(')')?,
        None => ("", text),
    };
    Some((arch.trim().to_owned(), version.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_begin_with_a_blank_restrict_the_package_above_them() {
        let text = b"# needs\nP ACMEcore Core\n\t(i386)1.0\n  2.0\nI ACMEold Old\nnonsense\nR ACMEgui Gui\n";
        let found = parse(text);
        let words: Vec<String> = found.iter().map(Dependency::words).collect();
        assert_eq!(words, ["ACMEcore (i386) 1.0 or () 2.0", "ACMEold", "ACMEgui"]);
    }
}
