//! The choices of `bulk.conf`: settings whose value is one of some words.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The system that builds see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// These paths of the host, each that exists.
    Host(Vec<PathBuf>),
    /// A directory with a whole system.
    Directory(PathBuf),
}

/// The user id of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildIdentity {
    /// That of the caller, or of `build_user` if the caller is root.
    User,
    /// 0, inside the sandbox.
    Root,
}

/// The network of builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildNetwork {
    /// None.
    No,
    /// That of the host.
    Yes,
    /// That of the host for the packages that these patterns mean.
    For(Vec<String>),
}

/// The files, besides those of its recipe, that the key of a result depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDepends {
    /// Those that the scan of its recipe read.
    Scan,
    /// None.
    Location,
}

/// The check of a result, the weaker ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckLevel {
    /// None.
    None,
    /// It is installed and removed.
    Install,
    /// Installed and removed, it leaves nothing over.
    Strict,
}

/// The least number of packages of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetMinimum {
    /// This many.
    Packages(u32),
    /// This share of the previous set, in percent.
    Percent(u32),
}

/// What a set has in the place of a package that was not built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetOnFailure {
    /// That of the previous set.
    Old,
    /// Nothing.
    Without,
    /// There is no set.
    NoSet,
}

impl BuildIdentity {
    pub(super) const WORDS: &[(&str, Self)] = &[("user", Self::User), ("root", Self::Root)];
}

impl KeyDepends {
    pub(super) const WORDS: &[(&str, Self)] = &[("scan", Self::Scan), ("location", Self::Location)];
}

impl CheckLevel {
    pub(super) const WORDS: &[(&str, Self)] =
        &[("none", Self::None), ("install", Self::Install), ("strict", Self::Strict)];
}

impl SetOnFailure {
    pub(super) const WORDS: &[(&str, Self)] =
        &[("old", Self::Old), ("without", Self::Without), ("none", Self::NoSet)];
}
