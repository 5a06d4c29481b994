//! Matches registrations with the installed packages of a name.

use crate::native::{NativeOrigin, RegisteredPackage};

/// A package that rpm has installed.
#[derive(Debug)]
pub(super) struct InstalledRpm {
    pub(super) name: String,
    pub(super) evr: String,
    pub(super) arch: String,
    pub(super) stamp: String,
}

/// The installed packages of some names, and the names without any.
#[derive(Debug, Default)]
pub(super) struct InstalledOfNames {
    pub(super) found: Vec<InstalledRpm>,
    pub(super) absent: Vec<String>,
}

impl InstalledOfNames {
    pub(super) fn of_name<'i>(&'i self, name: &str) -> impl Iterator<Item = &'i InstalledRpm> {
        self.found.iter().filter(move |one| one.name == name)
    }
}

/// Returns the package for which a registration stands among those of its name; `None` if it is gone.
///
/// That is the registered version, or else the only one for the architecture that no other registration stands for, or else
/// the only one at all: an upgrade may change the architecture. Where several are left, the registered one was removed.
pub(super) fn followed<'i>(
    package: &RegisteredPackage<'_>,
    all: &[RegisteredPackage<'_>],
    installed: impl Iterator<Item = &'i InstalledRpm>,
) -> Option<&'i InstalledRpm> {
    let is_of = |origin: &NativeOrigin, one: &InstalledRpm| {
        let has = |own: &Option<String>, value: &str| own.as_ref().is_none_or(|own| own == value);
        has(&origin.arch, &one.arch) && has(&origin.version, &one.evr)
    };
    let named: Vec<&InstalledRpm> = installed.filter(|one| is_of(package.origin, one)).collect();
    let registered = |one: &&&InstalledRpm| one.evr == package.version && one.arch == package.arch;
    if let Some(one) = named.iter().find(registered) {
        return Some(one);
    }
    let others = || all.iter().filter(|other| other.origin.name == package.origin.name);
    let stands_for = |other: &RegisteredPackage<'_>, one: &InstalledRpm| {
        let is_named = other.origin.arch.is_some() && is_of(other.origin, one);
        is_named || other.version == one.evr && other.arch == one.arch
    };
    let is_free = |one: &&&InstalledRpm| {
        !others().any(|other| other.origin != package.origin && stands_for(other, one))
    };
    let free: Vec<&InstalledRpm> = named.iter().filter(is_free).copied().collect();
    let of_arch: Vec<&InstalledRpm> = free.iter().filter(|one| one.arch == package.arch).copied().collect();
    match (of_arch.as_slice(), free.as_slice()) {
        ([one], _) | ([], [one]) => Some(one),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::NativeManager;

    /// The versions that registrations stand for, by their origin, version and architecture, where these are installed.
    fn found(
        registered: &[(Option<&str>, Option<&str>, &str, &str)],
        installed: &[(&str, &str)],
    ) -> Vec<String> {
        let origins: Vec<NativeOrigin> = registered
            .iter()
            .map(|(arch, version, ..)| NativeOrigin {
                manager: NativeManager::Rpm,
                name: "web".to_owned(),
                arch: arch.map(str::to_owned),
                version: version.map(str::to_owned),
            })
            .collect();
        let packages: Vec<RegisteredPackage<'_>> = origins
            .iter()
            .zip(registered)
            .map(|(origin, (_, _, version, arch))| RegisteredPackage { origin, version, arch })
            .collect();
        let installed: Vec<InstalledRpm> = installed
            .iter()
            .map(|(evr, arch)| InstalledRpm {
                name: "web".to_owned(),
                evr: (*evr).to_owned(),
                arch: (*arch).to_owned(),
                stamp: String::new(),
            })
            .collect();
        let followed = packages.iter().map(|one| followed(one, &packages, installed.iter()));
        followed.map(|one| one.map_or("gone".to_owned(), |one| format!("{}.{}", one.evr, one.arch))).collect()
    }

    #[test]
    fn a_name_follows_the_upgrade_of_its_package_and_one_of_several_versions_does_not() {
        let single = (None, None, "1", "x");
        assert_eq!(found(&[single], &[("2", "x")]), ["2.x"]);
        assert_eq!(found(&[single], &[("2", "y")]), ["2.y"], "with another architecture");
        assert_eq!(found(&[single], &[("1", "x"), ("2", "x")]), ["1.x"], "as it was adopted");
        assert_eq!(found(&[single], &[("2", "x"), ("3", "x")]), ["gone"]);
        assert_eq!(found(&[single], &[]), ["gone"]);
        let exact = (Some("x"), Some("2"), "2", "x");
        assert_eq!(found(&[single, exact], &[("1", "x"), ("2", "x")]), ["1.x", "2.x"]);
        assert_eq!(found(&[single, exact], &[("2", "x")]), ["gone", "2.x"]);
        assert_eq!(found(&[single, exact], &[("3", "x")]), ["3.x", "gone"]);
    }

    #[test]
    fn each_of_two_architectures_follows_its_own_upgrade() {
        let both = [(None, None, "1", "x"), (Some("i"), None, "1", "i")];
        assert_eq!(found(&both, &[("2", "i"), ("2", "x")]), ["2.x", "2.i"]);
        assert_eq!(found(&both, &[("2", "i"), ("1", "x")]), ["1.x", "2.i"]);
        assert_eq!(found(&both, &[("2", "i")]), ["gone", "2.i"]);
        assert_eq!(found(&both, &[("2", "x")]), ["2.x", "gone"]);
    }
}
