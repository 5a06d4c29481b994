use std::collections::{BTreeMap, HashMap, HashSet};

use super::reference::ReferencePatch;
use patchadm_svr4::format::package_list::PackageListLine;
use patchadm_svr4::format::showrev::ShowrevLine;
use patchadm_svr4::patch::{AppliedPatch, PatchId};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledPackage {
    /// The part after a dot does not belong to the name of the package.
    pub instance: String,
    pub arch: String,
    pub version: String,
}

/// The facts about an applied patch that matter to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledPatch {
    pub id: PatchId,
    pub obsoletes: Vec<PatchId>,
}

#[derive(Clone, Debug, Default)]
pub struct MachineFacts {
    packages: HashMap<String, HashSet<(String, String)>>,
    installed: BTreeMap<String, PatchId>,
    obsoletes: HashMap<String, Vec<Claim>>,
    /// By base: patches that are not applied but whose changes the packages have.
    contained: HashMap<String, Vec<PatchId>>,
    has_patches_alone: bool,
}

#[derive(Clone, Debug)]
struct Claim {
    obsoleted: PatchId,
    by: PatchId,
}

impl MachineFacts {
    pub fn new(
        packages: impl IntoIterator<Item = InstalledPackage>,
        patches: impl IntoIterator<Item = InstalledPatch>,
    ) -> Self {
        let mut facts = Self::default();
        for InstalledPackage { instance, arch, version } in packages {
            let name = instance.split('.').next().unwrap_or_default().to_owned();
            facts.packages.entry(name).or_default().insert((version, compact(&arch)));
        }
        for InstalledPatch { id, obsoletes } in patches {
            // Its id alone contains the earlier revisions, so only later ones are claimed.
            for obsoleted in obsoletes.into_iter().filter(|entry| !id.contains(entry)) {
                let claims = facts.obsoletes.entry(obsoleted.base().to_owned()).or_default();
                claims.push(Claim { obsoleted, by: id.clone() });
            }
            let highest = facts.installed.entry(id.base().to_owned()).or_insert_with(|| id.clone());
            if *highest < id {
                *highest = id;
            }
        }
        facts
    }

    /// For a machine with unknown packages. A patch is for it if an earlier revision is applied.
    pub fn of_patches_alone(patches: impl IntoIterator<Item = InstalledPatch>) -> Self {
        Self { has_patches_alone: true, ..Self::new([], patches) }
    }

    /// Adds patches that meet requirements without being applied: the packages have their changes from another source.
    #[must_use]
    pub fn with_contained(mut self, ids: impl IntoIterator<Item = PatchId>) -> Self {
        for id in ids {
            self.contained.entry(id.base().to_owned()).or_default().push(id);
        }
        self
    }

    pub(super) fn contains(&self, id: &PatchId) -> bool {
        self.contained.get(id.base()).is_some_and(|ids| ids.iter().any(|other| other.contains(id)))
    }

    pub(super) fn installed(&self, base: &str) -> Option<&PatchId> {
        self.installed.get(base)
    }

    pub(super) fn all_installed(&self) -> impl Iterator<Item = &PatchId> {
        self.installed.values()
    }

    /// A patch never obsoletes itself.
    pub(super) fn obsoletes(&self, id: &PatchId) -> bool {
        let covers = |claim: &Claim| claim.obsoleted.contains(id) && claim.by != *id;
        self.obsoletes.get(id.base()).is_some_and(|claims| claims.iter().any(covers))
    }

    /// A package matches by exact version and one of the architectures.
    pub(super) fn has_package_of(&self, patch: &ReferencePatch) -> bool {
        if self.has_patches_alone {
            return self.installed.contains_key(patch.id.base());
        }
        patch.packages.iter().any(|package| {
            let Some(there) = self.packages.get(&package.name) else { return false };
            there.iter().filter(|(version, _)| *version == package.version).any(|(_, arch)| {
                match &package.arch {
                    Some(wanted) => compact(wanted) == *arch,
                    None => patch.archs.iter().any(|wanted| wanted == arch),
                }
            })
        })
    }
}

impl From<PackageListLine> for InstalledPackage {
    fn from(line: PackageListLine) -> Self {
        Self { instance: line.instance, arch: line.arch, version: line.version }
    }
}

impl From<ShowrevLine> for InstalledPatch {
    fn from(line: ShowrevLine) -> Self {
        Self { obsoletes: line.obsoletes.iter().cloned().collect(), id: line.id }
    }
}

impl From<&AppliedPatch> for InstalledPatch {
    fn from(patch: &AppliedPatch) -> Self {
        Self { id: patch.id.clone(), obsoletes: patch.obsoletes.iter().cloned().collect() }
    }
}

/// Architectures are compared without white space.
fn compact(arch: &str) -> String {
    arch.chars().filter(|letter| !letter.is_whitespace()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::reference::ReferencePackage;

    fn id(text: &str) -> PatchId {
        PatchId::new(text).unwrap()
    }

    #[test]
    fn the_highest_revision_counts_and_obsoletion_covers_lower_ones() {
        let patch = |text, obsoletes: &[&str]| InstalledPatch {
            id: id(text),
            obsoletes: obsoletes.iter().map(|text| id(text)).collect(),
        };
        let facts =
            MachineFacts::new([], [patch("1-02", &["2-03", "1-01"]), patch("1-10", &[]), patch("1-9", &[])]);
        assert_eq!(facts.installed("1").unwrap().as_str(), "1-10");
        let is_obsolete = |text| facts.obsoletes(&id(text));
        assert_eq!(
            ["2-03", "2-01", "2-04", "1-01", "3-01"].map(is_obsolete),
            [true, true, false, false, false]
        );
        let ahead = MachineFacts::new([], [patch("1-03", &["1-05", "1-02"])]);
        let is_obsolete = |text| ahead.obsoletes(&id(text));
        assert_eq!(["1-03", "1-04", "1-05", "1-06"].map(is_obsolete), [false, true, true, false]);
    }

    #[test]
    fn where_packages_are_not_known_an_earlier_revision_tells_that_a_patch_is_for_the_machine() {
        let applied = InstalledPatch { id: id("1-01"), obsoletes: Vec::new() };
        let facts = MachineFacts::of_patches_alone([applied]);
        assert!(facts.has_package_of(&ReferencePatch::made_up("1-02", &[])));
        assert!(!facts.has_package_of(&ReferencePatch::made_up("2-01", &[])));
    }

    #[test]
    fn a_package_fits_in_name_version_and_architecture() {
        let package = |instance: &str, arch: &str, version: &str| InstalledPackage {
            instance: instance.to_owned(),
            arch: arch.to_owned(),
            version: version.to_owned(),
        };
        let facts = MachineFacts::new([package("A", "sparc", "1"), package("A.2", "all", "2")], []);
        let fits = |name: &str, version: &str, arch: Option<&str>, archs: &[&str]| {
            let package = ReferencePackage {
                name: name.to_owned(),
                version: version.to_owned(),
                arch: arch.map(str::to_owned),
            };
            let archs = archs.iter().map(|&arch| arch.to_owned()).collect();
            let patch =
                ReferencePatch { packages: vec![package], archs, ..ReferencePatch::made_up("1-01", &[]) };
            facts.has_package_of(&patch)
        };
        assert!(fits("A", "1", None, &["i386", "sparc"]) && fits("A", "2", Some("all"), &[]));
        assert!(!fits("A", "1", None, &["i386"]) && !fits("A", "1", Some("all"), &["sparc"]));
        assert!(!fits("A", "1.0", None, &["sparc"]) && !fits("A.2", "2", Some("all"), &[]));
    }
}
