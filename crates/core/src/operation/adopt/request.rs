//! The request to adopt software.

use std::path::PathBuf;

use patchadm_inputs::native::NativeManager;
use patchadm_inputs::path_glob::PathGlob;
use patchadm_svr4::package::{ObjectPath, Params};

/// The software that becomes a package.
#[derive(Clone, Debug)]
pub struct AdoptRequest {
    /// The list of the software.
    pub source: AdoptSource,
    /// What the package is called, and what is wanted of its objects.
    pub wishes: AdoptWishes,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

/// What an adopted package is called, and what is wanted of its objects.
#[derive(Clone, Debug)]
pub struct AdoptWishes {
    /// The name of the package; `None` for the one that follows from the name in another package manager.
    pub pkg: Option<String>,
    /// Its version; `None` for that in another package manager.
    pub version: Option<String>,
    /// Its architecture; `None` for that in another package manager, otherwise `all`.
    pub arch: Option<String>,
    /// One line about it.
    pub name: Option<String>,
    /// The directory of relative paths.
    pub basedir: ObjectPath,
    /// Files that are edited after installation.
    pub editable: Vec<PathGlob>,
    /// Files that change by themselves.
    pub volatile: Vec<PathGlob>,
    /// The paths that are left out, with everything below them.
    pub exclude: Vec<PathGlob>,
    /// The environment that is recorded: LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
}

impl AdoptWishes {
    /// Returns the wishes of somebody who wants nothing but this environment recorded.
    pub fn none(environment: Params) -> Self {
        Self {
            pkg: None,
            version: None,
            arch: None,
            name: None,
            basedir: ObjectPath::root(),
            editable: Vec::new(),
            volatile: Vec::new(),
            exclude: Vec::new(),
            environment,
        }
    }
}

/// The kinds of lists of software.
#[derive(Clone, Debug)]
pub enum AdoptSource {
    /// Everything in a directory of the root, on its file system.
    Tree(ObjectPath),
    /// The paths in a file of the host, one a line.
    Paths(PathBuf),
    /// The records of dpkg or rpm in the root about a package of this name; for dpkg `NAME` or `NAME:ARCH`.
    Native(NativeManager, String),
}

impl AdoptSource {
    /// Returns the package manager whose records are the list.
    pub(super) fn manager(&self) -> Option<NativeManager> {
        match self {
            Self::Native(manager, _) => Some(*manager),
            Self::Tree(_) | Self::Paths(_) => None,
        }
    }
}
