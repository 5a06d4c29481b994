//! The information of a cross-reference on one patch revision, from any source.

use chrono::NaiveDate;

use patchadm_svr4::patch::PatchId;

/// A patch revision of a cross-reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencePatch {
    /// The patch.
    pub id: PatchId,
    /// The day of the patch, where it is known.
    pub date: Option<NaiveDate>,
    /// Whether it is recommended.
    pub is_recommended: bool,
    /// Whether it is about security.
    pub is_security: bool,
    /// Whether another patch, or a later revision, contains it.
    pub is_obsolete: bool,
    /// Whether it was withdrawn.
    pub is_bad: bool,
    /// Whether it is for no release of the system.
    pub is_unbundled: bool,
    /// The architectures that hold for packages without one of their own.
    pub archs: Vec<String>,
    /// The packages that it is for; it applies where one of them is installed.
    pub packages: Vec<ReferencePackage>,
    /// Its requirements: for each entry one patch or a later revision of it.
    pub requires: Vec<Vec<PatchId>>,
    /// The patch that contains it, where that is told.
    pub obsoleted_by: Option<PatchId>,
    /// One line about it.
    pub synopsis: String,
    /// Its size in bytes, where that is told.
    pub size: Option<u64>,
    /// The word for the reboot that it asks for, where that is told.
    pub reboot: Option<String>,
}

/// A package in the version that a patch is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencePackage {
    /// The abbreviation of the package.
    pub name: String,
    /// The version, byte by byte.
    pub version: String,
    /// The architecture, or `None` where those of the patch hold.
    pub arch: Option<String>,
}

impl ReferencePatch {
    /// Tells whether it should no longer be applied.
    pub(super) fn is_out_of_use(&self) -> bool {
        self.is_obsolete || self.is_bad
    }

    /// The patch and what it requires, as a line in a test says it.
    #[cfg(test)]
    pub(super) fn made_up(id: &str, requires: &[&str]) -> Self {
        let id = PatchId::new(id).unwrap();
        Self {
            synopsis: format!("patch {id}"),
            id,
            date: None,
            is_recommended: false,
            is_security: false,
            is_obsolete: false,
            is_bad: false,
            is_unbundled: false,
            archs: vec!["all".to_owned()],
            packages: vec![ReferencePackage { name: "A".to_owned(), version: "1".to_owned(), arch: None }],
            requires: requires.iter().map(|id| vec![PatchId::new(id).unwrap()]).collect(),
            obsoleted_by: None,
            size: None,
            reboot: None,
        }
    }
}
