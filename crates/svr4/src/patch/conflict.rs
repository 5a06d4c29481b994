//! Incompatibilities between an incoming patch and the applied ones, in both directions. They name one revision or,
//! with revision zero, all. A later revision is the vendor's repair and does not conflict.

use std::collections::HashMap;

use super::{AppliedPatches, PatchId, PatchList};

/// An incompatibility that keeps a patch from being applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchConflict<'a> {
    /// The incoming patch names an applied one.
    IncomingNames {
        /// The word of the list that names it.
        named: &'a PatchId,
        /// The applied patch that is named, or that contains the named one.
        applied: &'a PatchId,
        /// True if it contains the named one, which stays when it is superseded itself.
        is_contained: bool,
    },
    /// An applied patch names the incoming one, or a patch that it contains.
    AppliedNames {
        /// The applied patch that has the list.
        applied: &'a PatchId,
        /// The word of the list that names it.
        named: &'a PatchId,
    },
}

impl AppliedPatches {
    /// Returns the first conflict with `incoming`, given its own two lists.
    ///
    /// Only effective patches count, and those that they have explicitly obsoleted, except by [`PatchList::beyond`].
    pub fn incompatible_with<'a>(
        &'a self,
        incoming: &'a PatchId,
        obsoletes: &'a PatchList,
        incompatibles: &'a PatchList,
    ) -> Option<PatchConflict<'a>> {
        self.conflicts_with(incoming, obsoletes, incompatibles).next()
    }

    /// Returns all conflicts in the order of [`incompatible_with`](Self::incompatible_with).
    pub fn conflicts_with<'a>(
        &'a self,
        incoming: &'a PatchId,
        obsoletes: &'a PatchList,
        incompatibles: &'a PatchList,
    ) -> impl Iterator<Item = PatchConflict<'a>> {
        let named = incompatibles.iter().flat_map(move |named| {
            let applied = self.present(named).filter(move |(applied, _)| *applied != incoming);
            applied.map(move |(applied, is_contained)| PatchConflict::IncomingNames {
                named,
                applied,
                is_contained,
            })
        });
        let contained = move || std::iter::once(incoming).chain(obsoletes.beyond(incoming));
        let (mut ids, mut bases) = (HashMap::new(), HashMap::new());
        for (place, id) in contained().enumerate() {
            ids.entry(id).or_insert(place);
            bases.entry(id.base()).or_insert(place);
        }
        let first_excluded = move |named: &PatchId| {
            let place = if named.is_revision_zero() { bases.get(named.base()) } else { ids.get(named) };
            place.copied()
        };
        let namers = self.namers(contained()).into_iter().filter(move |id| *id != incoming);
        let naming = namers.filter_map(|id| self.get(id)).filter_map(move |patch| {
            let excluding =
                patch.incompatibles.iter().filter_map(|named| Some((first_excluded(named)?, named)));
            let (_, named) = excluding.min_by_key(|(place, _)| *place)?;
            self.superseded(&patch.id)
                .is_none()
                .then_some(PatchConflict::AppliedNames { applied: &patch.id, named })
        });
        named.chain(naming)
    }

    /// Returns applied patches that `named` matches, and those that contain a match (flag true).
    fn present<'a>(&'a self, named: &'a PatchId) -> impl Iterator<Item = (&'a PatchId, bool)> {
        let itself = self.meant_by(named).filter(|id| self.superseded(id).is_none());
        itself.map(|id| (id, false)).chain(self.obsoleting_meant_by(named).map(|id| (id, true)))
    }
}

impl PatchId {
    /// Returns true if this word of a list of incompatible patches means `id`.
    pub fn excludes(&self, id: &Self) -> bool {
        self == id || self.is_revision_zero() && self.same_base(id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::applied_patches::tests::{id, root};
    use super::*;

    /// Formats the conflict of a patch that obsoletes and excludes these.
    fn conflict(root: &AppliedPatches, incoming: &str, obsoletes: &str, incompat: &str) -> Option<String> {
        let list = |text: &str| PatchList::parse(text, "-").unwrap();
        let (incoming, obsoletes, incompat) = (id(incoming), list(obsoletes), list(incompat));
        root.incompatible_with(&incoming, &obsoletes, &incompat).map(|conflict| match conflict {
            PatchConflict::IncomingNames { named, applied, .. } => {
                format!("incoming names {named}: {applied}")
            }
            PatchConflict::AppliedNames { applied, named } => format!("{applied} names {named}"),
        })
    }

    #[test]
    fn an_exact_revision_conflicts_and_a_later_one_does_not() {
        let at_03 = root(&["P 650-03"]);
        assert_eq!(conflict(&at_03, "700-01", "", "650-3").as_deref(), Some("incoming names 650-3: 650-03"));
        assert_eq!(conflict(&at_03, "700-01", "", "650-02 650-04"), None);
        let repaired = root(&["P 650-03", "P 650-04"]);
        assert_eq!(conflict(&repaired, "700-01", "", "650-03"), None);
    }

    #[test]
    fn revision_zero_means_every_revision() {
        let at_03 = root(&["P 650-03"]);
        assert_eq!(
            conflict(&at_03, "700-01", "", "650-00").as_deref(),
            Some("incoming names 650-00: 650-03")
        );
        assert_eq!(conflict(&at_03, "700-01", "", "651-00"), None);
        let names_all = root(&["P 650-03 incompat 700-0"]);
        assert_eq!(conflict(&names_all, "700-09", "", "").as_deref(), Some("650-03 names 700-0"));
    }

    #[test]
    fn what_an_applied_patch_contains_by_obsoletion_conflicts() {
        let contains = root(&["P 680-01 obsoletes 650-03"]);
        assert_eq!(
            conflict(&contains, "700-01", "", "650-03").as_deref(),
            Some("incoming names 650-03: 680-01")
        );
        assert_eq!(conflict(&contains, "700-01", "", "650-02"), None);
    }

    #[test]
    fn what_a_patch_says_of_its_own_earlier_revisions_does_not_conflict() {
        for claim in ["650-03", "650-3", "650-01 650-02 650-03"] {
            let claims = format!("P 650-03 obsoletes {claim}");
            let itself = root(&[&claims]);
            let named = conflict(&itself, "700-01", "", "650-03");
            assert_eq!(named.as_deref(), Some("incoming names 650-03: 650-03"), "{claim}");
            assert_eq!(conflict(&itself, "700-01", "", "650-02"), None, "{claim}");
            assert_eq!(conflict(&root(&[&claims, "P 650-04"]), "700-01", "", "650-03"), None, "{claim}");
        }
        let names = root(&["P 700-01 incompat 650-03"]);
        assert_eq!(conflict(&names, "650-04", "650-03", ""), None);
        assert_eq!(conflict(&names, "650-03", "650-03", "").as_deref(), Some("700-01 names 650-03"));
    }

    #[test]
    fn a_later_revision_that_a_patch_says_it_contains_conflicts_and_stays() {
        let ahead = root(&["P 650-03 obsoletes 650-05", "P 680-01 obsoletes 650-05"]);
        for word in ["650-00", "650-05"] {
            let (incoming, none, word) =
                (id("700-01"), PatchList::new(), PatchList::parse(word, "-").unwrap());
            let conflicts: Vec<_> = ahead.conflicts_with(&incoming, &none, &word).collect();
            let contained = |applied| PatchConflict::IncomingNames {
                named: word.iter().next().unwrap(),
                applied,
                is_contained: true,
            };
            assert_eq!(conflicts, [contained(&id("650-03")), contained(&id("680-01"))]);
        }
        let names = root(&["P 700-01 incompat 650-05"]);
        assert_eq!(conflict(&names, "650-03", "650-05", "").as_deref(), Some("700-01 names 650-05"));
    }

    #[test]
    fn an_applied_patch_may_refuse_the_incoming_one() {
        let idr = root(&["SUNWnfsckr IDR148363-26 requires 147441-26 incompat 147441-27"]);
        assert_eq!(conflict(&idr, "147441-27", "", "").as_deref(), Some("IDR148363-26 names 147441-27"));
        assert_eq!(conflict(&idr, "147441-28", "", ""), None);
        assert_eq!(
            conflict(&idr, "150400-01", "147441-27", "").as_deref(),
            Some("IDR148363-26 names 147441-27")
        );
    }

    #[test]
    fn a_superseded_patch_has_no_say_and_a_patch_none_against_itself() {
        let superseded = root(&["P 650-03 incompat 700-01", "P 650-04"]);
        assert_eq!(conflict(&superseded, "700-01", "", ""), None);
        let itself = root(&["P 650-03 obsoletes 640-01 incompat 640-01 650-03"]);
        assert_eq!(conflict(&itself, "650-03", "640-01", "640-01 650-00"), None);
    }
}
