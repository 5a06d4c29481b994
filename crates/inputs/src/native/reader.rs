//! Reads native records for one command: opens the records of each manager once, and reads each package at most once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use super::dpkg::DpkgRecords;
use super::package::{
    NativeError, NativeManager, NativeOwner, NativePackage, NativePresence, RegisteredPackage,
};
use super::rpm::{OwnedPaths, RpmRecords};
use patchadm_rootfs::Root;

type Opened<R> = OnceLock<Result<Option<R>, NativeError>>;

/// Shows the records as they were at the first use.
pub struct NativeReader {
    root: Root,
    dpkg: Opened<DpkgRecords>,
    rpm: Opened<RpmRecords>,
}

impl NativeReader {
    /// Reads nothing yet.
    pub fn of(root: &Root) -> Self {
        Self { root: root.clone(), dpkg: OnceLock::new(), rpm: OnceLock::new() }
    }

    pub(super) fn root(&self) -> &Root {
        &self.root
    }

    /// Returns `None` if the root has none.
    pub fn records(&self, manager: NativeManager) -> Result<Option<NativeRecords<'_>>, NativeError> {
        Ok(match manager {
            NativeManager::Dpkg => {
                opened(&self.dpkg, || DpkgRecords::find(&self.root))?.map(NativeRecords::Dpkg)
            }
            NativeManager::Rpm => opened(&self.rpm, || RpmRecords::find(&self.root))?.map(NativeRecords::Rpm),
        })
    }

    fn existing(&self, manager: NativeManager) -> Result<NativeRecords<'_>, NativeError> {
        self.records(manager)?.ok_or_else(|| match manager {
            NativeManager::Dpkg => DpkgRecords::missing(&self.root),
            NativeManager::Rpm => RpmRecords::missing(),
        })
    }

    /// `NAME` or `NAME:ARCH` for dpkg; `NAME`, `NAME.ARCH` or `NAME-VERSION-RELEASE.ARCH` for rpm.
    pub fn package(&self, manager: NativeManager, name: &str) -> Result<Arc<NativePackage>, NativeError> {
        self.existing(manager)?.package(name)
    }

    /// Reads registered packages together. Each has this version and architecture now.
    pub fn registered(
        &self,
        packages: &[RegisteredPackage<'_>],
    ) -> Vec<Result<Arc<NativePackage>, NativeError>> {
        let mut read = BTreeMap::new();
        for manager in NativeManager::ALL {
            let of_manager = packages.iter().filter(|one| one.origin.manager == manager);
            let of_manager: Vec<RegisteredPackage<'_>> = of_manager.copied().collect();
            if of_manager.is_empty() {
                continue;
            }
            let found: Vec<Result<Arc<NativePackage>, NativeError>> = match self.existing(manager) {
                Ok(NativeRecords::Dpkg(records)) => records.registered(&of_manager),
                Ok(NativeRecords::Rpm(records)) => records.registered(&of_manager),
                Err(error) => of_manager.iter().map(|_| Err(error.clone())).collect(),
            };
            read.insert(manager, found.into_iter());
        }
        packages.iter().filter_map(|one| read.get_mut(&one.origin.manager)?.next()).collect()
    }

    pub(super) fn presences(
        &self,
        manager: NativeManager,
        packages: &[RegisteredPackage<'_>],
    ) -> Result<Vec<Result<NativePresence, NativeError>>, NativeError> {
        match self.existing(manager)? {
            NativeRecords::Dpkg(records) => Ok(records.presences(packages)),
            NativeRecords::Rpm(records) => records.presences(packages),
        }
    }

    pub(super) fn owned_by_rpm(&self) -> Result<Vec<OwnedPaths>, NativeError> {
        let records = opened(&self.rpm, || RpmRecords::find(&self.root))?;
        records.map_or_else(|| Ok(Vec::new()), RpmRecords::owned)
    }

    /// Returns the first installed package that replaces another one, as far as records can be read.
    pub fn successor(
        &self,
        manager: NativeManager,
        name: &str,
        is_wanted: impl Fn(&NativeOwner) -> bool,
    ) -> Option<NativeOwner> {
        let successors = match self.records(manager).ok()?? {
            NativeRecords::Dpkg(records) => records.successors(),
            NativeRecords::Rpm(records) => records.successors(),
        };
        successors.ok()?.of(name).find(|owner| is_wanted(owner)).cloned()
    }

    /// Oldest first, by name; without packages that the manager is changing, or that cannot be read.
    pub fn installed_versions_of(
        &self,
        manager: NativeManager,
        names: &BTreeSet<&str>,
    ) -> BTreeMap<String, Vec<String>> {
        if names.is_empty() {
            return BTreeMap::new();
        }
        let mut found = match self.records(manager) {
            Ok(Some(NativeRecords::Dpkg(records))) => records.installed_versions(names),
            Ok(Some(NativeRecords::Rpm(records))) => records.installed_versions(names).unwrap_or_default(),
            Ok(None) | Err(_) => BTreeMap::new(),
        };
        for versions in found.values_mut() {
            versions.sort_by(|one, other| manager.compare(one, other));
        }
        found
    }
}

/// Keeps a failure as well: finding it again may take as long.
fn opened<R>(
    place: &Opened<R>,
    find: impl FnOnce() -> Result<Option<R>, NativeError>,
) -> Result<Option<&R>, NativeError> {
    place.get_or_init(find).as_ref().map(Option::as_ref).map_err(Clone::clone)
}

pub enum NativeRecords<'r> {
    Dpkg(&'r DpkgRecords),
    Rpm(&'r RpmRecords),
}

impl NativeRecords<'_> {
    /// Reads every installed or half-installed package, one at a time.
    pub fn packages(
        &self,
    ) -> Result<Box<dyn Iterator<Item = Result<NativePackage, NativeError>> + '_>, NativeError> {
        Ok(match self {
            Self::Dpkg(records) => Box::new(records.packages()),
            Self::Rpm(records) => Box::new(records.packages()?),
        })
    }

    /// Like [`NativeReader::package`].
    pub fn package(&self, name: &str) -> Result<Arc<NativePackage>, NativeError> {
        match self {
            Self::Dpkg(records) => records.package(name),
            Self::Rpm(records) => records.package(name),
        }
    }

    /// Returns the names of installed packages, as [`Self::package`] takes them, by possible names of their
    /// registrations: the name, or name and architecture, as in an earlier form.
    pub fn names(&self) -> Result<BTreeMap<String, Vec<String>>, NativeError> {
        let (manager, names): (_, Vec<(String, String, String)>) = match self {
            Self::Dpkg(records) => (NativeManager::Dpkg, records.names().collect()),
            Self::Rpm(records) => (NativeManager::Rpm, records.names()?),
        };
        let mut called: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, arch, own) in names {
            for pkg in [manager.package_name(&name), manager.package_name(&format!("{name}-{arch}"))] {
                called.entry(pkg).or_default().push(own.clone());
            }
        }
        Ok(called)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::native::NativeOrigin;

    /// A root with these packages of dpkg, each with one path.
    fn root(at: &Path, packages: &[(&str, &str)]) -> Root {
        let info = at.join("var/lib/dpkg/info");
        fs::create_dir_all(&info).unwrap();
        let stanza = |(name, version): &(&str, &str)| {
            format!(
                "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\
                 Replaces: old-{name} (<< {version}), old-{name}, {name}\n\n"
            )
        };
        fs::write(at.join("var/lib/dpkg/status"), packages.iter().map(stanza).collect::<String>()).unwrap();
        for (name, _) in packages {
            fs::write(info.join(format!("{name}:amd64.list")), format!("/usr/bin/{name}\n")).unwrap();
        }
        Root::open(at).unwrap()
    }

    #[test]
    fn a_package_that_many_patches_registered_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let native = NativeReader::of(&root(dir.path(), &[("web", "1"), ("lib", "2")]));
        let origins = ["dpkg web:amd64", "dpkg lib:amd64", "dpkg gone:amd64"];
        let origins = origins.map(|origin| NativeOrigin::parse(origin).unwrap());
        let of = |origin| RegisteredPackage { origin, version: "1", arch: "amd64" };
        let all: Vec<_> = origins.iter().map(of).collect();
        let first = native.registered(&all);
        let web = first[0].as_ref().unwrap();
        assert_eq!(first[1].as_ref().unwrap().version, "2");
        assert!(first[2].as_ref().unwrap_err().to_string().contains("dpkg has not installed it"));
        // A second reading would find nothing.
        fs::remove_dir_all(dir.path().join("var/lib/dpkg")).unwrap();
        let again: Vec<RegisteredPackage<'_>> = (0..1000).map(|_| of(&origins[0])).collect();
        assert!(native.registered(&again).iter().all(|one| Arc::ptr_eq(one.as_ref().unwrap(), web)));
        assert!(Arc::ptr_eq(&native.package(NativeManager::Dpkg, "web").unwrap(), web));
        assert!(native.package(NativeManager::Rpm, "web").is_err());
    }

    #[test]
    fn records_that_cannot_be_read_are_not_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let root = root(dir.path(), &[("web", "1")]);
        let status = dir.path().join("var/lib/dpkg/status");
        let whole = fs::read_to_string(&status).unwrap();
        fs::write(&status, whole.trim_end()).unwrap();
        let native = NativeReader::of(&root);
        let reason = || native.package(NativeManager::Dpkg, "web").unwrap_err().to_string();
        assert_eq!(reason(), "the dpkg status file ends in the middle of a line");
        fs::write(&status, whole).unwrap();
        assert_eq!(reason(), "the dpkg status file ends in the middle of a line");
        assert!(NativeReader::of(&root).package(NativeManager::Dpkg, "web").is_ok());
    }

    #[test]
    fn a_successor_and_versions_are_known_from_one_reading() {
        let dir = tempfile::tempdir().unwrap();
        let native = NativeReader::of(&root(dir.path(), &[("web", "1"), ("web", "0")]));
        let names = BTreeSet::from(["gone", "web"]);
        let versions = || native.installed_versions_of(NativeManager::Dpkg, &names);
        let expected = BTreeMap::from([("web".to_owned(), vec!["0".to_owned(), "1".to_owned()])]);
        assert_eq!(versions(), expected);
        fs::remove_dir_all(dir.path().join("var/lib/dpkg")).unwrap();
        assert_eq!(versions(), expected);
        let successor = |name: &str, version: &str| {
            let found = native.successor(NativeManager::Dpkg, name, |owner| owner.version == version);
            found.map(|owner| owner.to_string())
        };
        assert_eq!(successor("old-web", "0").as_deref(), Some("web 0"));
        assert_eq!(successor("old-web", "2"), None);
        assert_eq!(successor("web", "1"), None, "no package follows itself");
    }
}
