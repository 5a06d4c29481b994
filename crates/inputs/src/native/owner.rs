//! A native package as the owner of paths.

use std::fmt;

use super::NativeOrigin;
use patchadm_svr4::package::Params;

/// A native package that owns a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NativeOwner {
    /// The package.
    pub origin: NativeOrigin,
    /// Its version; empty where its records do not say.
    pub version: String,
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

impl NativeOrigin {
    /// Tells whether another package is this one, perhaps for another architecture or in another version.
    pub fn is_instance_of(&self, other: &Self) -> bool {
        self.manager == other.manager && self.name == other.name
    }

    /// Returns its name as its manager takes it.
    pub fn queried(&self) -> String {
        let whole = self.to_string();
        whole.split_once(' ').map_or_else(|| whole.clone(), |(_, package)| package.to_owned())
    }

    /// Returns the native package that an installed package stands for.
    pub fn of_installed(params: Option<&Params>) -> Option<Self> {
        params.and_then(Self::of)
    }
}
