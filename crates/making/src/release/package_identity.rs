//! A package's description of itself.

/// The words of a package about itself, as [`ReleasePackage`](super::ReleasePackage) has them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageIdentity {
    /// Its name in its own format.
    pub name: String,
    /// Its architecture.
    pub arch: String,
    /// Its version with epoch and release.
    pub version: String,
    /// The name of the source package it was built from; its own name where it says nothing.
    pub source: String,
}
