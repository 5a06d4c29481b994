//! One patch of a depot's index.

use serde::{Deserialize, Serialize};

use patchadm_svr4::patch::{FixId, PatchId};

use super::{is_digest, object_path};

/// The most entries of one list of a patch.
const LONGEST_LIST: usize = 10_000;

/// The longest name of a file, in bytes.
const LONGEST_NAME: usize = 255;

/// A patch and all that a reader must know of it before the patch itself is fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepotPatch {
    /// The id of the patch.
    pub id: String,
    /// The path of the patch below the top of the depot: that of its digest, or of a depot that was indexed in place the
    /// plain name of a file or directory.
    pub path: String,
    /// The SHA-256 of the file, in hexadecimal digits; of a directory that of its sorted list of files.
    pub sha256: String,
    /// The size of the file in bytes; of a directory that of all its files.
    pub size: u64,
    /// The form of the file: `zip`, `tar`, `tar.gz`, `datastream` and others; `dir` is a directory, which only a reader on
    /// the same machine can use.
    pub format: String,
    /// The manifest beside the patch, or `None` for an unsigned one.
    #[serde(default)]
    pub manifest: Option<DepotFile>,
    /// The signature of the manifest, or `None` for an unsigned one.
    #[serde(default)]
    pub signature: Option<DepotFile>,
    /// The `README.<id>` of the patch, or `None` if it has none.
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
    /// The flags that the depot's maintainer gave the patch: `recommended`, `security`, `withdrawn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Whether the patch has scripts of its own.
    #[serde(default, skip_serializing_if = "is_false")]
    pub scripts: bool,
    /// The size in bytes of all files that the patch delivers.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unpacked: u64,
    /// The ids of what the patch fixes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixes: Vec<String>,
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
    /// Describes an object of a published depot by its digest and size.
    pub fn new(sha256: &str, size: u64) -> Self {
        Self { path: object_path(sha256), sha256: sha256.to_owned(), size }
    }

    fn fault(&self) -> Option<&'static str> {
        path_fault(&self.path, &self.sha256)
    }
}

impl DepotPatch {
    /// Creates a minimal patch for tests, of one package.
    #[cfg(test)]
    pub(crate) fn plain(id: &str) -> Self {
        let sha256 = "ab".repeat(32);
        let (arch, version) = ("all".to_owned(), "2.0".to_owned());
        Self {
            id: id.to_owned(),
            path: object_path(&sha256),
            sha256,
            size: 7,
            format: "tar.gz".to_owned(),
            manifest: None,
            signature: None,
            readme: None,
            date: "2026-11-20T12:00:00Z".to_owned(),
            synopsis: "web server".to_owned(),
            keywords: Vec::new(),
            properties: Vec::new(),
            packages: vec![DepotPackage { pkg: "ACMEweb".to_owned(), arch, version }],
            requires: Vec::new(),
            obsoletes: Vec::new(),
            incompat: Vec::new(),
            files: 1,
            flags: Vec::new(),
            scripts: false,
            unpacked: 0,
            fixes: Vec::new(),
        }
    }

    /// Returns the fault of the entry, if there is one: an invalid id, an object whose path leads elsewhere, a list
    /// that is too long.
    pub(super) fn fault(&self) -> Option<&'static str> {
        if PatchId::new(&self.id).is_err() {
            return Some("its id is not a patch id");
        }
        let beside = [&self.manifest, &self.signature, &self.readme];
        path_fault(&self.path, &self.sha256)
            .or_else(|| beside.into_iter().flatten().find_map(DepotFile::fault))
            .or_else(|| self.relation_fault())
            .or_else(|| self.is_bad_directory().then_some("a directory has no plain name"))
    }

    fn relation_fault(&self) -> Option<&'static str> {
        let relations = [&self.requires, &self.obsoletes, &self.incompat];
        let words = [&self.keywords, &self.properties, &self.flags, &self.fixes];
        let mut lists = relations.into_iter().chain(words);
        if self.packages.len() > LONGEST_LIST || lists.any(|list| list.len() > LONGEST_LIST) {
            return Some("a list of it has more than 10000 entries");
        }
        if self.fixes.iter().any(|id| FixId::new(id).is_err()) {
            return Some("it fixes what is not the id of a fix");
        }
        let required = self.requires.iter().flat_map(|entry| entry.split('|').map(str::trim));
        let named = self.obsoletes.iter().chain(&self.incompat).map(String::as_str);
        required
            .chain(named)
            .any(|id| PatchId::new(id).is_err())
            .then_some("it requires, obsoletes or excludes what is not a patch id")
    }

    fn is_bad_directory(&self) -> bool {
        self.is_directory() && !is_plain_name(&self.path)
    }

    /// Tells whether the patch is a directory, which cannot be fetched from another machine.
    pub fn is_directory(&self) -> bool {
        self.format == "dir"
    }

    /// Tells whether the depot's maintainer gave the patch this flag.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }

    /// Returns the digests of all objects of the patch.
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
    (path != object_path(sha256) && !is_plain_name(path))
        .then_some("the path of an object is neither that of its digest nor a plain name")
}

/// Tells whether a path is the name of something in the directory of the depot itself, and of none of its own files.
pub fn is_plain_name(path: &str) -> bool {
    let is_harmless = |letter: char| letter != '/' && !letter.is_control();
    !path.is_empty() && path.len() <= LONGEST_NAME && !path.starts_with('.') && path.chars().all(is_harmless)
}

// serde hands references down.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(value: &bool) -> bool {
    !*value
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}
