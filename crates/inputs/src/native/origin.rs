//! The native package that an adopted package stands for.

use std::fmt;

use patchadm_svr4::package::Params;

/// The parameter of an adopted package that says where its files come from: `dpkg NAME:ARCH`, `rpm NAME`, `tree` or
/// `paths`.
pub const ADOPTED: &str = "PATCHADM_ADOPTED";

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
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NativeOrigin {
    /// Whose package it is.
    pub manager: NativeManager,
    /// Its name.
    pub name: String,
    /// Its architecture, for dpkg.
    pub arch: Option<String>,
}

impl NativeOrigin {
    /// Returns the origin of an installed package; `None` if it was not adopted, or from a tree or from paths.
    pub fn of(params: &Params) -> Option<Self> {
        Self::parse(&params.text(ADOPTED))
    }

    /// Parses the value of [`ADOPTED`].
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
        is_name.then(|| Self { manager, name: name.to_owned(), arch: arch.map(str::to_owned) })
    }
}

impl fmt::Display for NativeOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { manager, name, arch } = self;
        match arch {
            Some(arch) => write!(f, "{manager} {name}:{arch}"),
            None => write!(f, "{manager} {name}"),
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
}
