//! The requirements that applied patches meet, and those that a backout would leave unmet.

use super::{AppliedPatches, PatchId, Requirement};

/// A requirement that no applied patch would meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnmetRequirement {
    /// The applied patch that has the requirement.
    pub patch: PatchId,
    /// The requirement itself.
    pub requirement: Requirement,
}

impl AppliedPatches {
    /// Returns the applied patch that provides `id`: `id` itself, a later revision of it, or one that
    /// obsoletes such a revision, directly or through others. Without one, returns the contained patch that does.
    pub fn provides(&self, id: &PatchId) -> Option<&PatchId> {
        let itself = self.get(id).map(|patch| &patch.id);
        let applied = itself.or_else(|| self.later_revision(id)).or_else(|| self.provided().provider(id));
        applied.or_else(|| self.contained(id))
    }

    /// Returns the patch that meets `requirement`; of alternatives, the first that is met.
    pub fn satisfies(&self, requirement: &Requirement) -> Option<&PatchId> {
        requirement.ids().iter().find_map(|id| self.provides(id))
    }

    /// Returns the requirements of effective patches that are met now and would not be once `id` is backed
    /// out of all its packages. A requirement that is already unmet is not the fault of this backout: the
    /// classic scripts record requirements without enforcing them.
    pub fn dependents_after_removal(&self, id: &PatchId) -> Vec<UnmetRequirement> {
        let all = || self.packages().iter();
        let infos = all().filter_map(|applied| applied.infos.get(id)?.installed());
        let is_provider = |requirement| self.satisfies(requirement) == Some(id);
        let is_used = self.iter().flat_map(|patch| patch.requires.iter()).any(is_provider);
        if !is_used && infos.into_iter().all(|info| info.obsoletes.is_empty()) {
            // Patches that others provide do not depend on it.
            return Vec::new();
        }
        let mut after = self.clone();
        after.record_backed_out(id);
        self.unmet_after(&after)
    }

    /// Returns the requirements of patches that are effective afterwards, which are met now and no longer then.
    pub fn unmet_after(&self, after: &Self) -> Vec<UnmetRequirement> {
        let mut unmet = Vec::new();
        for patch in after.effective() {
            for requirement in &patch.requires {
                if self.satisfies(requirement).is_some() && after.satisfies(requirement).is_none() {
                    unmet
                        .push(UnmetRequirement { patch: patch.id.clone(), requirement: requirement.clone() });
                }
            }
        }
        unmet
    }
}

#[cfg(test)]
mod tests {
    use super::super::applied_patches::tests::{id, root};
    use super::super::{InstalledInfo, PatchList, Requirements};
    use super::*;
    use proptest::prelude::*;

    fn provider(root: &AppliedPatches, requirement: &str) -> Option<String> {
        let requirements = Requirements::parse(requirement, "-").unwrap();
        root.satisfies(requirements.iter().next().unwrap()).map(ToString::to_string)
    }

    fn misses(root: &AppliedPatches, removed: &str) -> Vec<String> {
        let unmet = root.dependents_after_removal(&id(removed));
        unmet.iter().map(|unmet| format!("{} needs {}", unmet.patch, unmet.requirement)).collect()
    }

    #[test]
    fn a_patch_provides_itself_and_lower_revisions() {
        let root = root(&["P 650-03"]);
        assert_eq!(provider(&root, "650-03").as_deref(), Some("650-03"));
        assert_eq!(provider(&root, "650-1").as_deref(), Some("650-03"));
        assert_eq!(provider(&root, "650-04"), None);
        assert_eq!(provider(&root, "( 999-01 | 650-02 )").as_deref(), Some("650-03"));
        assert_eq!(provider(&root, "( 999-01 | 650-04 )"), None);
    }

    #[test]
    fn an_obsoleting_patch_provides_what_it_contains() {
        assert_eq!(provider(&root(&["P 680-01 obsoletes 650-04"]), "650-03").as_deref(), Some("680-01"));
        assert_eq!(provider(&root(&["P 680-01 obsoletes 650-02"]), "650-03"), None);
    }

    #[test]
    fn obsoletion_is_followed_through_the_chain() {
        let chain = root(&["P 30-01 obsoletes 20-01", "P 20-02 obsoletes 10-05"]);
        assert_eq!(provider(&chain, "10-04").as_deref(), Some("20-02"));
        let cumulative = root(&["P 20-01 obsoletes 10-05", "P 40-01 obsoletes 20-07"]);
        assert_eq!(provider(&cumulative, "20-06").as_deref(), Some("40-01"));
        assert_eq!(provider(&cumulative, "10-05").as_deref(), Some("20-01"));
    }

    #[test]
    fn a_patch_that_only_its_record_remembers_is_a_link_of_the_chain() {
        let mut packages = root(&["P 20-02 obsoletes 10-05", "P 30-01 obsoletes 20-03"]).into_packages();
        packages[0].list = PatchList::parse("30-01", "-").unwrap();
        assert_eq!(provider(&AppliedPatches::new(packages.clone()), "10-04").as_deref(), Some("30-01"));
        packages[0].list = PatchList::new();
        assert_eq!(provider(&AppliedPatches::new(packages), "10-04"), None);
    }

    #[test]
    fn patches_that_obsolete_each_other_do_not_hang_anything() {
        let circle = root(&["P 10-01 obsoletes 20-09", "P 20-01 obsoletes 30-01", "P 30-02 obsoletes 10-09"]);
        for patch in ["10-09", "20-09", "30-02"] {
            assert!(provider(&circle, patch).is_some(), "{patch}");
        }
        assert_eq!(provider(&circle, "30-03"), None);
        assert!(circle.dependents_after_removal(&id("10-01")).is_empty());
    }

    #[test]
    fn a_needed_patch_is_missed_when_it_goes() {
        let only = root(&["P 650-03", "P 700-02 requires 650-03"]);
        assert_eq!(misses(&only, "650-03"), ["700-02 needs 650-03"]);
        assert!(misses(&only, "700-02").is_empty());
        let twice = root(&["P 650-03", "Q 650-04", "P 700-02 requires 650-03"]);
        assert!(misses(&twice, "650-03").is_empty() && misses(&twice, "650-04").is_empty());
        let replaced = root(&["P 650-03", "P 680-01 obsoletes 650-04", "P 700-02 requires 650-03"]);
        assert!(misses(&replaced, "650-03").is_empty());
    }

    #[test]
    fn only_what_this_backout_breaks_is_reported() {
        let never_met = root(&["P 100-01", "P 700-02 requires 999-01"]);
        assert!(misses(&never_met, "100-01").is_empty());
        let superseded = root(&["P 650-03", "P 700-02 requires 650-03", "P 700-03"]);
        assert!(misses(&superseded, "650-03").is_empty());
        let comes_back = root(&["P 700-01 requires 650-03", "P 700-02 obsoletes 650-03"]);
        assert_eq!(misses(&comes_back, "700-02"), ["700-01 needs 650-03"]);
    }

    #[test]
    fn a_contained_patch_meets_requirements_without_being_applied() {
        let root = root(&["P 700-02 requires 650-03", "P 680-01"]);
        assert_eq!(provider(&root, "650-03"), None);
        let root = root.with_ended([id("650-04"), id("680-02")], [id("660-02")]);
        assert_eq!(provider(&root, "650-03").as_deref(), Some("650-04"));
        assert_eq!(provider(&root, "650-05"), None);
        assert_eq!(provider(&root, "64-01"), None);
        assert_eq!(provider(&root, "680-01").as_deref(), Some("680-01"), "what is applied comes first");
        assert!(misses(&root, "680-01").is_empty() && root.get(&id("650-04")).is_none());
        assert!(root.is_lost(&id("660-01")) && !root.is_lost(&id("660-03")) && !root.is_lost(&id("650-03")));
        let lost = root.clone().with_ended([], [id("650-04")]);
        let unmet: Vec<_> =
            root.unmet_after(&lost).into_iter().map(|unmet| unmet.patch.to_string()).collect();
        assert_eq!(unmet, ["700-02"]);
    }

    #[test]
    fn an_earlier_patch_of_the_same_run_provides_too() {
        let mut packages: Vec<crate::patch::PatchRecords> = root(&["P 100-01"]).into_packages();
        packages[0].record_applied(&id("650-03"), InstalledInfo::default());
        assert!(AppliedPatches::new(packages).provides(&id("650-02")).is_some());
    }

    proptest! {
        #[test]
        fn what_is_applied_or_obsoleted_by_an_applied_patch_is_provided(
            lines in prop::collection::btree_map("[1-4]-[1-4]", prop::collection::vec("[1-5]-[1-5]", 1..4), 1..8),
        ) {
            let lines: Vec<String> =
                lines.iter().map(|(patch, list)| format!("P {patch} obsoletes {}", list.join(" "))).collect();
            let root = root(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            for patch in root.iter() {
                prop_assert_eq!(root.provides(&patch.id), Some(&patch.id));
                for obsoleted in &patch.obsoletes {
                    let by = root.provides(obsoleted);
                    prop_assert!(by.is_some_and(|by| root.get(by).is_some()), "{}", obsoleted);
                }
            }
            prop_assert!(root.provides(&id("5-6")).is_none());
        }
    }
}
