//! What is delivered, as far as a planner needs to know it: the text of the packages, never their objects.
//!
//! `source` reads these values; a planner only looks at them. The bytes of objects stay in the source, and a plan
//! names them by package and path ([`Member`](super::Member)).

use std::collections::{BTreeMap, BTreeSet};

use crate::format::patchinfo::PatchinfoFile;
use crate::format::pkgmap::Pkgmap;
use crate::package::{PackagePath, Params};

/// A patch, a package, or an undo archive: one or more packages that belong together.
#[derive(Clone, Debug, Default)]
pub struct Image {
    /// What the user called it, for messages.
    pub name: String,
    /// Its packages, in the order of the source.
    pub packages: Vec<PackageImage>,
    /// Name and bytes of the README.
    pub readme: Option<(String, Vec<u8>)>,
    /// The patchinfo file.
    pub patchinfo: Option<PatchinfoFile>,
    /// Scripts of the patch itself: `prepatch`, `postpatch`, `prebackout`, `postbackout`.
    pub hooks: BTreeMap<String, Vec<u8>>,
}

/// One package of an image.
#[derive(Clone, Debug)]
pub struct PackageImage {
    /// Its directory in the source, for messages.
    pub directory: String,
    /// Its parameters.
    pub params: Params,
    /// Its pkginfo, as delivered.
    pub pkginfo_bytes: Vec<u8>,
    /// Its objects.
    pub pkgmap: Pkgmap,
    /// Its pkgmap, as delivered.
    pub pkgmap_bytes: Vec<u8>,
    /// The files of its `install` directory, by name.
    pub install: BTreeMap<String, Vec<u8>>,
    /// What it takes away (`install/deletes`).
    pub deletes: Vec<PackagePath>,
    /// The names in `install` that are stock patch scripts, whose work is done natively.
    pub stock: BTreeSet<String>,
}

impl PackageImage {
    /// The abbreviation of the package.
    pub fn abbreviation(&self) -> String {
        self.params.text("PKG").trim().to_owned()
    }
}
