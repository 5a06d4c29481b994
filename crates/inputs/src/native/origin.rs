//! A native package: as the origin of an adopted package, and as the owner of a path.

use std::fmt;

use patchadm_svr4::package::Params;

/// The parameter of an adopted package that says where its files come from: `dpkg NAME:ARCH`, `rpm NAME`, `rpm NAME.ARCH`,
/// `rpm NAME-VERSION-RELEASE.ARCH`, `tree` or `paths`.
pub const ADOPTED: &str = "PATCHADM_ADOPTED";

/// The name of the rpm package, where [`ADOPTED`] has more than that behind `rpm`.
pub const NATIVE_NAME: &str = "NATIVE_NAME";

/// A package manager of the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NativeManager {
    /// dpkg(1).
    Dpkg,
    /// rpm(8).
    Rpm,
}

impl NativeManager {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Dpkg, Self::Rpm];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dpkg => "dpkg",
            Self::Rpm => "rpm",
        }
    }

    /// Returns the manager of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|manager| manager.name() == name)
    }
}

impl fmt::Display for NativeManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A package of dpkg or rpm, as the registration of an adopted package names it.
///
/// An rpm package that is installed once is named by its name alone, and followed through every upgrade. Of one that is
/// installed for several architectures, the others are named and followed by name and architecture; of one that is installed
/// in several versions, each is named exactly and followed nowhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NativeOrigin {
    /// Whose package it is.
    pub manager: NativeManager,
    /// Its name.
    pub name: String,
    /// Its architecture; always there for dpkg.
    pub arch: Option<String>,
    /// Its version with epoch and release, for one of several rpm packages of a name.
    pub version: Option<String>,
}

impl NativeOrigin {
    /// Returns the origin of an installed package; `None` if it was not adopted, or from a tree or from paths.
    pub fn of(params: &Params) -> Option<Self> {
        let origin = Self::parse(&params.text(ADOPTED))?;
        let name = params.text(NATIVE_NAME);
        let one_of_several = || {
            let rest = origin.name.strip_prefix(name.trim()).filter(|_| !name.trim().is_empty())?;
            let (version, arch) = rest.rsplit_once('.')?;
            let version = match version {
                "" => None,
                version => Some(version.strip_prefix('-')?.to_owned()),
            };
            Some(Self {
                name: name.trim().to_owned(),
                arch: Some(arch.to_owned()),
                version,
                manager: origin.manager,
            })
        };
        Some(match origin.manager {
            NativeManager::Rpm => one_of_several().unwrap_or(origin),
            NativeManager::Dpkg => origin,
        })
    }

    /// Writes it into the parameters of a package.
    pub fn write(&self, params: &mut Params) {
        params.set(ADOPTED, self.to_string());
        match (self.manager, &self.arch) {
            (NativeManager::Rpm, Some(_)) => params.set(NATIVE_NAME, self.name.as_str()),
            _ => params.remove(NATIVE_NAME),
        }
    }

    /// Parses the value of [`ADOPTED`]. What follows `rpm` is taken for a name.
    pub fn parse(text: &str) -> Option<Self> {
        let (manager, package) = text.trim().split_once(' ')?;
        let manager = NativeManager::named(manager)?;
        let (name, arch) = match manager {
            NativeManager::Dpkg => {
                package.split_once(':').map_or((package, None), |(name, arch)| (name, Some(arch)))
            }
            NativeManager::Rpm => (package, None),
        };
        let is_name = !name.is_empty() && !name.starts_with('-') && !name.contains(['/', ' ', '\t', '\n']);
        is_name.then(|| Self { manager, name: name.to_owned(), arch: arch.map(str::to_owned), version: None })
    }

    /// Tells whether another package is this one, perhaps for another architecture or in another version.
    pub fn is_instance_of(&self, other: &Self) -> bool {
        self.manager == other.manager && self.name == other.name
    }

    /// Returns its name as its manager takes it.
    pub fn queried(&self) -> String {
        let whole = self.to_string();
        whole.split_once(' ').map_or_else(|| whole.clone(), |(_, package)| package.to_owned())
    }
}

impl fmt::Display for NativeOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { manager, name, arch, version } = self;
        match (manager, arch, version) {
            (_, None, _) => write!(f, "{manager} {name}"),
            (NativeManager::Dpkg, Some(arch), _) => write!(f, "{manager} {name}:{arch}"),
            (NativeManager::Rpm, Some(arch), None) => write!(f, "{manager} {name}.{arch}"),
            (NativeManager::Rpm, Some(arch), Some(version)) => {
                write!(f, "{manager} {name}-{version}.{arch}")
            }
        }
    }
}

/// A native package that owns a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NativeOwner {
    /// The package.
    pub origin: NativeOrigin,
    /// Its version; empty where its records do not say.
    pub version: String,
}

impl NativeOwner {
    /// Returns it in words with its manager, as `openssl 3.0.22-1 (dpkg)`.
    pub fn with_manager(&self) -> String {
        format!("{self} ({})", self.origin.manager)
    }
}

impl fmt::Display for NativeOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, version } = self;
        let arch = origin.arch.as_ref().filter(|_| version.is_empty());
        write!(f, "{}", origin.name)?;
        match arch {
            Some(arch) => write!(f, ":{arch}"),
            None if version.is_empty() => Ok(()),
            None => write!(f, " {version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_as_it_was_written_and_a_tree_has_none() {
        for text in ["dpkg libssl3:amd64", "rpm openssl-libs"] {
            assert_eq!(NativeOrigin::parse(text).unwrap().to_string(), text);
        }
        for text in ["tree", "paths", "", "dpkg ", "dpkg ../../etc:amd64", "rpm -e", "apt web"] {
            assert_eq!(NativeOrigin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn one_of_several_rpm_packages_keeps_its_name_apart_from_its_version() {
        let origin = |arch: Option<&str>, version: Option<&str>| NativeOrigin {
            manager: NativeManager::Rpm,
            name: "kernel-rt".to_owned(),
            arch: arch.map(str::to_owned),
            version: version.map(str::to_owned),
        };
        for (origin, text) in [
            (origin(None, None), "rpm kernel-rt"),
            (origin(Some("i686"), None), "rpm kernel-rt.i686"),
            (origin(Some("x86_64"), Some("1:6.1-1.el9")), "rpm kernel-rt-1:6.1-1.el9.x86_64"),
        ] {
            let mut params: Params = [(NATIVE_NAME, "of before")].into_iter().collect();
            origin.write(&mut params);
            assert_eq!(params.text(ADOPTED), text);
            assert_eq!(NativeOrigin::of(&params), Some(origin));
        }
        let dotted: Params = [(ADOPTED, "rpm python3.11")].into_iter().collect();
        assert_eq!(NativeOrigin::of(&dotted).unwrap().name, "python3.11", "a name may have a full stop");
    }
}
