//! The whole life of a patch: it is built from two releases, brings a root to the new release, and its backout restores
//! the old one.
//!
//! The releases are the real ones of the shared cases. They are read by dpkg-deb, which unpacks them, and a root must
//! look like its output.

mod acme;
mod debs;
mod releases;
mod reproducible;
mod revisions;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use patchadm_svr4::format::pkgmap::Pkgmap;

/// The paths that a patch delivers, without those of its information files.
fn delivered(patch: &Path) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for entry in fs::read_dir(patch).unwrap() {
        let Ok(pkgmap) = fs::read(entry.unwrap().path().join("pkgmap")) else { continue };
        let pkgmap = Pkgmap::parse(&pkgmap).unwrap();
        let objects = pkgmap.entries.iter().filter(|entry| !entry.is_information());
        paths.extend(objects.map(|entry| entry.path.to_string()));
    }
    paths
}
