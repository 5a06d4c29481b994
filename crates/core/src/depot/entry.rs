//! One patch of a depot's index.

use serde::{Deserialize, Serialize};

use patchadm_svr4::patch::PatchId;

use super::{is_digest, object_path};

/// A patch and all that a reader must know of it before the patch itself is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepotPatch {
    /// The id of the patch.
    pub id: String,
    /// The path of the patch, one file, below the top of the depot.
    pub path: String,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
    /// The size of the file in bytes.
    pub size: u64,
    /// The form of the file: `zip`, `tar`, `tar.gz`, `datastream`.
    pub format: String,
    /// The manifest beside the patch, or `None` for an unsigned one.
    #[serde(default)]
    pub manifest: Option<DepotFile>,
    /// The signature of the manifest, or `None` for an unsigned one.
    #[serde(default)]
    pub signature: Option<DepotFile>,
    /// The `README.<id>` of the patch, or `None` where it has none.
    #[serde(default)]
    pub readme: Option<DepotFile>,
    /// The date of the patch, RFC 3339 in UTC.
    pub date: String,
    /// One line about the patch.
    pub synopsis: String,
    /// Words to search by.
    pub keywords: Vec<String>,
    /// The words of `SUNW_PATCH_PROPERTIES`.
    pub properties: Vec<String>,
    /// The packages that the patch is for.
    pub packages: Vec<DepotPackage>,
    /// The patches that must be applied before, one alternative or several (`1-01 | 2-01`) an entry.
    pub requires: Vec<String>,
    /// The patches that this one contains.
    pub obsoletes: Vec<String>,
    /// The patches that must not be applied.
    pub incompat: Vec<String>,
    /// The number of objects that the patch delivers or deletes.
    pub files: u64,
}

/// An object of a depot beside a patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepotFile {
    /// The path below the top of the depot.
    pub path: String,
    /// The SHA-256 of the object, in hexadecimal digits.
    pub sha256: String,
    /// The size in bytes.
    pub size: u64,
}

/// A package that a patch is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepotPackage {
    /// The abbreviation of the package.
    pub pkg: String,
    /// The architecture.
    pub arch: String,
    /// The version.
    pub version: String,
}

impl DepotFile {
    /// Describes an object by its digest and size.
    pub fn new(sha256: &str, size: u64) -> Self {
        Self { path: object_path(sha256), sha256: sha256.to_owned(), size }
    }

    fn fault(&self) -> Option<&'static str> {
        path_fault(&self.path, &self.sha256)
    }
}

impl DepotPatch {
    /// Returns what is wrong with the entry, if anything: an id that is none, an object whose path is not that of its
    /// digest.
    pub(super) fn fault(&self) -> Option<&'static str> {
        if PatchId::new(&self.id).is_err() {
            return Some("its id is not a patch id");
        }
        let beside = [&self.manifest, &self.signature, &self.readme];
        path_fault(&self.path, &self.sha256)
            .or_else(|| beside.into_iter().flatten().find_map(DepotFile::fault))
    }

    /// The digests of all objects of the patch.
    pub fn objects(&self) -> impl Iterator<Item = (&str, u64)> {
        let beside = [&self.manifest, &self.signature, &self.readme];
        let beside = beside.into_iter().flatten().map(|file| (file.sha256.as_str(), file.size));
        std::iter::once((self.sha256.as_str(), self.size)).chain(beside)
    }
}

fn path_fault(path: &str, sha256: &str) -> Option<&'static str> {
    if !is_digest(sha256) {
        return Some("a digest is not 64 hexadecimal digits");
    }
    (path != object_path(sha256)).then_some("the path of an object is not that of its digest")
}
