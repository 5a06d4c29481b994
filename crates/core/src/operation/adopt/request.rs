//! The wishes of somebody who adopts software.

use std::path::PathBuf;

use patchadm_inputs::path_glob::PathGlob;
use patchadm_svr4::package::{ObjectPath, Params};

/// What is to become a package, and how it is called.
#[derive(Clone, Debug)]
pub struct AdoptRequest {
    /// Where the software is listed.
    pub source: AdoptSource,
    /// The name of the package; `None` for the one that follows from the name in another package manager.
    pub pkg: Option<String>,
    /// Its version; `None` for that in another package manager.
    pub version: Option<String>,
    /// Its architecture; `None` for that in another package manager, else `all`.
    pub arch: Option<String>,
    /// One line about it.
    pub name: Option<String>,
    /// The directory of relative paths.
    pub basedir: ObjectPath,
    /// Files that are edited after installation.
    pub editable: Vec<PathGlob>,
    /// Files that change by themselves.
    pub volatile: Vec<PathGlob>,
    /// What is left out, with what is below it.
    pub exclude: Vec<PathGlob>,
    /// The environment that is recorded: LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

/// Where software is listed.
#[derive(Clone, Debug)]
pub enum AdoptSource {
    /// Everything in a directory of the root, on its file system.
    Tree(ObjectPath),
    /// The paths in a file of the host, one a line.
    Paths(PathBuf),
    /// The records of dpkg in the root: `NAME` or `NAME:ARCH`.
    Dpkg(String),
    /// The records of rpm in the root.
    Rpm(String),
}
