//! A package of dpkg or rpm, as it is recorded.

use std::collections::{BTreeMap, BTreeSet};

use super::registration::{NativeRegistration, differing_text};
use super::{FileSum, NativeOrigin};
use crate::sha256::Sha256;
use patchadm_svr4::package::{Ftype, ObjectPath};

/// Everything that is recorded about an installed package.
#[derive(Clone, Debug)]
pub struct NativePackage {
    /// Whose package it is, and its name.
    pub origin: NativeOrigin,
    /// Its version, epoch and revision or release included.
    pub version: String,
    /// What changes when the same version is installed again.
    pub stamp: String,
    /// Its architecture.
    pub arch: String,
    /// One line about it.
    pub title: Option<String>,
    /// Tells whether another version of it is installed for the same architecture.
    pub has_other_versions: bool,
    /// Its paths, where they lie: a diverted one under the name that it has.
    pub paths: BTreeMap<ObjectPath, NativePath>,
    /// The places among them to which somebody diverted its files.
    pub diverted: BTreeSet<ObjectPath>,
}

/// What is recorded about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativePath {
    /// The type that it has if it is a regular file: `f`, or `e` for a configuration file.
    pub ftype: Ftype,
    /// The sum of its bytes; `None` for what has none, and where it is not recorded.
    pub sum: Option<FileSum>,
}

/// Whether a package is installed, in one look at the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NativePresence {
    /// It is installed.
    Installed {
        /// Its version.
        version: String,
        /// Its architecture.
        arch: String,
        /// What changes when the same version is installed again.
        stamp: String,
    },
    /// It is being changed, or was left half installed.
    Busy(UnfinishedChange),
    /// It is not installed.
    Gone,
}

/// The step that finishes the change of a half-installed package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnfinishedChange {
    /// It was unpacked, and is configured next.
    Configure,
    /// Its files may be those of two versions: it is installed again.
    Reinstall,
}

/// A registration, as far as it says which native package it stands for.
#[derive(Clone, Copy, Debug)]
pub struct RegisteredPackage<'a> {
    /// Whose package it is, and its name.
    pub origin: &'a NativeOrigin,
    /// The version when it was adopted or refreshed.
    pub version: &'a str,
    /// The architecture then.
    pub arch: &'a str,
}

impl NativePackage {
    /// Returns what a registration records of it.
    pub fn registration(&self) -> NativeRegistration {
        NativeRegistration {
            version: self.version.clone(),
            digest: Some(self.digest()),
            stamp: Some(self.stamp.clone()),
            diverted: Some(differing_text(&self.diverted)).filter(|text| !text.is_empty()),
        }
    }

    /// Returns when it was last unpacked, in seconds since 1970; `None` if its records do not say.
    pub fn installed_at(&self) -> Option<i64> {
        let moment = |word: &str| {
            let (_, moment) = word.rsplit_once('@').unwrap_or(("", word));
            moment.split('.').next().and_then(|seconds| seconds.parse().ok())
        };
        self.stamp.split_whitespace().filter_map(moment).max()
    }

    /// Returns the SHA-256 over its paths in their order: path, type and sum of each.
    fn digest(&self) -> String {
        let mut digest = Sha256::new();
        for (path, native) in &self.paths {
            let sum = native.sum.map(|sum| sum.to_string()).unwrap_or_default();
            digest.update(path.as_bytes());
            digest.update([0]);
            digest.update([native.ftype.letter()]);
            digest.update(sum);
            digest.update(b"\n");
        }
        FileSum::Sha256(digest.finalize()).to_string()
    }
}
