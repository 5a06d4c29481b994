//! The request of a producer.

use std::collections::BTreeMap;

use super::choices::ListChoices;
use super::pairs::PairNaming;
use patchadm_inputs::native::FixedIn;
use patchadm_releases::CompareOptions;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::{FixList, PatchId, PatchList, Requirements};

/// A patch to be made.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// Its id.
    pub id: PatchId,
    /// The moment that it bears, in seconds since 1970.
    pub date: i64,
    /// The names of its packages.
    pub naming: PairNaming,
    /// The settings about objects.
    pub choices: ListChoices,
    /// The differences that count as a change.
    pub compare: CompareOptions,
    /// BASEDIR of packages that have none.
    pub basedir: ObjectPath,
    /// The other patches that it names.
    pub lists: PatchLists,
    /// The words of `SUNW_PATCH_PROPERTIES`.
    pub properties: Vec<String>,
    /// The native versions that have its fix.
    pub fixed_in: Option<FixedIn>,
    /// The text of its README.
    pub readme: ReadmeText,
    /// Whether every package gets the scripts that let a pkgadd apply it which knows no patches.
    pub with_scripts: bool,
    /// Class action scripts of the producer's own, by name (`i.CLASS`); a package gets those of its classes.
    pub class_scripts: BTreeMap<String, Vec<u8>>,
    /// The pattern that the base of a restricted patch matches, if it is to be one.
    pub restricted: Option<String>,
    /// Whether objects may be lost that unchanged ones need.
    pub allow_abi_break: bool,
}

/// The lists of other patches, and of what the patch fixes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchLists {
    /// Those that must be applied.
    pub requires: Requirements,
    /// Those that it contains.
    pub obsoletes: PatchList,
    /// Those that must not be applied.
    pub incompatibles: PatchList,
    /// What it fixes.
    pub fixes: FixList,
}

/// The texts of a README that nothing else says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadmeText {
    /// One line about the patch.
    pub synopsis: Option<String>,
    /// Keywords, without order.
    pub keywords: Vec<String>,
    /// The bugs that it corrects, one line each.
    pub bugs: Vec<String>,
}

impl PatchLists {
    /// Adds the lists of an earlier revision.
    pub fn unite(&mut self, other: &Self) {
        let requires = self.requires.iter().chain(other.requires.iter()).cloned();
        self.requires = requires.collect();
        self.obsoletes.extend(other.obsoletes.iter().cloned());
        self.incompatibles.extend(other.incompatibles.iter().cloned());
        self.fixes.unite(&other.fixes);
    }
}
