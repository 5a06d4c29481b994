//! The offers and the state that they are offered to: the values that the resolver takes instead of files.

use std::collections::HashMap;

use patchadm_svr4::format::params::compact;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{PatchId, PatchList, Requirements};

use patchadm_inputs::depot::DepotPatch;

/// A patch that could go in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The id of the patch.
    pub id: PatchId,
    /// The patches that it needs.
    pub requires: Requirements,
    /// The patches that it contains.
    pub obsoletes: PatchList,
    /// The patches that it cannot be together with.
    pub incompatibles: PatchList,
    /// The packages that it is for.
    pub packages: Vec<OfferedPackage>,
    /// Whether the depot no longer offers it.
    pub is_withdrawn: bool,
    /// What distinguishes its content from another under the same id: a digest, or the path if there is no digest.
    pub content: String,
    /// Its place, as messages name it.
    pub source: String,
}

/// A package that a patch is for; it fits where all three are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OfferedPackage {
    /// The abbreviation.
    pub pkg: String,
    /// The architecture.
    pub arch: String,
    /// The version.
    pub version: String,
}

/// The reason why an entry of an index offers nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadOffer(String);

impl Offer {
    /// Makes an offer of an entry of an index, whose ids have this separator.
    pub fn of_entry(entry: &DepotPatch, separator: &str) -> Result<Self, BadOffer> {
        let id = PatchId::parse(&entry.id, separator).map_err(|error| BadOffer(error.to_string()))?;
        let bad = |error: &dyn std::fmt::Display| BadOffer(format!("patch {}: {error}", entry.id));
        let list =
            |words: &[String]| PatchList::parse(&words.join(" "), separator).map_err(|error| bad(&error));
        let needs: Vec<String> = entry.requires.iter().map(|word| grouped(word)).collect();
        let package = |package: &patchadm_inputs::depot::DepotPackage| OfferedPackage {
            pkg: package.pkg.clone(),
            arch: package.arch.clone(),
            version: package.version.clone(),
        };
        Ok(Self {
            id,
            requires: Requirements::parse(&needs.join(" "), separator).map_err(|error| bad(&error))?,
            obsoletes: list(&entry.obsoletes)?,
            incompatibles: list(&entry.incompat)?,
            packages: entry.packages.iter().map(package).collect(),
            is_withdrawn: entry.has_flag("withdrawn"),
            content: entry.sha256.clone(),
            source: entry.path.clone(),
        })
    }
}

/// Returns an entry of a list of requirements: alternatives stand in parentheses, whether the index has these or not.
fn grouped(entry: &str) -> String {
    let is_bare = entry.contains('|') && !entry.contains('(');
    if is_bare { format!("( {entry} )") } else { entry.to_owned() }
}

/// PKG, ARCH without white space, and VERSION of a package.
type PackageKey = (Vec<u8>, Vec<u8>, Vec<u8>);

/// The installed packages of a root, found by a patch's description of them.
#[derive(Clone, Debug, Default)]
pub struct InstalledPackages {
    instances: HashMap<PackageKey, PkgInst>,
    named: HashMap<Vec<u8>, Vec<String>>,
}

impl InstalledPackages {
    /// Indexes instances with their parameters; of two that a patch cannot tell apart the first counts.
    pub fn of<'a>(installed: impl Iterator<Item = (&'a PkgInst, &'a Params)>) -> Self {
        let mut all = Self::default();
        for (instance, params) in installed {
            let value = |name| params.get(name).unwrap_or_default().to_vec();
            let key = (value("PKG"), compact(&value("ARCH")), value("VERSION"));
            all.instances.entry(key).or_insert_with(|| instance.clone());
            let shown =
                format!("{} ({}) {}", params.text("PKG"), params.text("ARCH"), params.text("VERSION"));
            all.named.entry(value("PKG")).or_default().push(shown);
        }
        all
    }

    /// Tells whether an instance is there that a patch for `package` is for.
    pub fn has(&self, package: &OfferedPackage) -> bool {
        self.find(package).is_some()
    }

    /// Returns the instance that a patch for `package` is for.
    pub(super) fn find(&self, package: &OfferedPackage) -> Option<&PkgInst> {
        let bytes = |text: &str| text.as_bytes().to_vec();
        self.instances.get(&(bytes(&package.pkg), compact(package.arch.as_bytes()), bytes(&package.version)))
    }

    /// Returns a package as a patch wants it, and as it is installed.
    pub(super) fn missed(&self, package: &OfferedPackage) -> String {
        let wanted = format!("{} ({}) {}", package.pkg, package.arch, package.version);
        match self.named.get(package.pkg.as_bytes()) {
            None => format!("{wanted} (not installed)"),
            Some(installed) => format!("{wanted} (installed: {})", installed.join(", ")),
        }
    }
}
