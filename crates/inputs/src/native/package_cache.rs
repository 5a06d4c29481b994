//! The native packages that one command has read, and the limits of native records: anybody may have made those of
//! another root. A full system has 5,000 packages with 1,000,000 paths, whose bytes are about 100 MB.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::package::NativePackage;

/// In an index, in a list, and in all packages that a command holds.
pub(super) const MOST_PATHS: usize = 4_000_000;

/// Of the paths of all packages that a command holds.
const LARGEST_PATHS: usize = 256 << 20;

/// All of Debian, for three architectures.
pub(super) const MOST_PACKAGES: usize = 200_000;

/// Versions and architectures of a name: only kernels have more than one for each architecture.
pub(super) const MOST_OF_NAME: usize = 1000;

/// Of one manager, by name, architecture and version. Each package is read at most once.
#[derive(Debug)]
pub(super) struct PackageCache {
    packages: BTreeMap<(String, String, String), Arc<NativePackage>>,
    most_paths: usize,
    paths: usize,
    bytes: usize,
}

impl Default for PackageCache {
    fn default() -> Self {
        Self::of(MOST_PATHS)
    }
}

impl PackageCache {
    fn of(most_paths: usize) -> Self {
        Self { packages: BTreeMap::new(), most_paths, paths: 0, bytes: 0 }
    }

    pub(super) fn get(&self, name: &str, arch: &str, version: &str) -> Option<Arc<NativePackage>> {
        self.packages.get(&(name.to_owned(), arch.to_owned(), version.to_owned())).cloned()
    }

    /// Returns the package that was added first.
    pub(super) fn add(&mut self, package: NativePackage) -> Result<Arc<NativePackage>, String> {
        let NativePackage { origin, arch, version, paths, .. } = &package;
        let key = (origin.name.clone(), arch.clone(), version.clone());
        if let Some(known) = self.packages.get(&key) {
            return Ok(known.clone());
        }
        let count = self.paths + paths.len();
        let bytes = self.bytes + paths.keys().map(|path| path.as_bytes().len()).sum::<usize>();
        if count > self.most_paths || bytes > LARGEST_PATHS {
            return Err(format!(
                "with {}, the packages that this command reads have more than {} paths or {} MiB of them, \
                 and a whole system has about 1000000; check the records of {}, or name fewer packages",
                origin.name,
                self.most_paths,
                LARGEST_PATHS >> 20,
                origin.manager
            ));
        }
        (self.paths, self.bytes) = (count, bytes);
        let package = Arc::new(package);
        self.packages.insert(key, package.clone());
        Ok(package)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::native::{NativeManager, NativeOrigin, NativePath};
    use patchadm_svr4::package::{Ftype, ObjectPath};

    fn package(version: &str, paths: &[&str]) -> NativePackage {
        let none = NativePath { ftype: Ftype::File, sum: None };
        let paths = paths.iter().map(|path| (ObjectPath::new(path.as_bytes()).unwrap(), none));
        NativePackage {
            origin: NativeOrigin {
                manager: NativeManager::Rpm,
                name: "web".to_owned(),
                arch: None,
                version: None,
            },
            version: version.to_owned(),
            stamp: String::new(),
            arch: "x".to_owned(),
            title: None,
            has_other_versions: false,
            paths: paths.collect(),
            diverted: BTreeSet::new(),
        }
    }

    #[test]
    fn a_package_counts_once_and_one_beyond_the_limit_is_refused_with_a_hint() {
        let mut cache = PackageCache::of(3);
        let first = cache.add(package("1", &["/a", "/b"])).unwrap();
        for _ in 0..5 {
            assert!(Arc::ptr_eq(&cache.add(package("1", &["/a", "/b"])).unwrap(), &first));
        }
        let error = cache.add(package("2", &["/a", "/b"])).unwrap_err();
        assert!(error.starts_with("with web, ") && error.contains("more than 3 paths"), "{error}");
        assert!(error.ends_with("check the records of rpm, or name fewer packages"), "{error}");
        assert!(cache.get("web", "x", "2").is_none());
        cache.add(package("3", &["/a"])).unwrap();
        assert!(Arc::ptr_eq(&cache.get("web", "x", "1").unwrap(), &first));
    }
}
