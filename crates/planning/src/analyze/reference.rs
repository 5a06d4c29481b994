//! All known patches, base by base, from any source.

use std::collections::{BTreeMap, HashSet};

use chrono::NaiveDate;
use patchadm_svr4::patch::PatchId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencePatch {
    pub id: PatchId,
    pub date: Option<NaiveDate>,
    pub is_recommended: bool,
    pub is_security: bool,
    /// Another patch, or a later revision, contains it.
    pub is_obsolete: bool,
    pub is_bad: bool,
    /// For no release of the system.
    pub is_unbundled: bool,
    /// For packages without an architecture of their own.
    pub archs: Vec<String>,
    /// The patch applies if one of them is installed.
    pub packages: Vec<ReferencePackage>,
    /// Each entry lists alternatives: one patch or a later revision of it.
    pub requires: Vec<Vec<PatchId>>,
    /// The patch that contains it, if known.
    pub obsoleted_by: Option<PatchId>,
    pub synopsis: String,
    /// In bytes, if known.
    pub size: Option<u64>,
    /// The word for the requested reboot, if known.
    pub reboot: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferencePackage {
    pub name: String,
    /// Compared byte by byte.
    pub version: String,
    /// `None` if those of the patch apply.
    pub arch: Option<String>,
}

impl ReferencePatch {
    pub(super) fn is_out_of_use(&self) -> bool {
        self.is_obsolete || self.is_bad
    }

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

// The last line of a base counts, but one that is out of use never replaces one in use. A base stays recommended once a
// counted revision was, and hands that on to the patch that contains it.

#[derive(Clone, Debug, Default)]
pub struct CrossReference {
    as_of: Option<NaiveDate>,
    bases: BTreeMap<String, KnownBase>,
}

#[derive(Clone, Debug)]
pub(super) struct KnownBase {
    revisions: Vec<ReferencePatch>,
    current: usize,
    /// Set by a revision or by a patch that the base contains.
    pub(super) is_recommended: bool,
}

impl KnownBase {
    pub(super) fn current(&self) -> Option<&ReferencePatch> {
        self.revisions.get(self.current)
    }

    pub(super) fn revision(&self, id: &PatchId) -> Option<&ReferencePatch> {
        self.revisions.iter().rev().find(|patch| patch.id == *id)
    }

    fn take(&mut self, patch: ReferencePatch) {
        let stays = patch.is_out_of_use() && self.current().is_some_and(|current| !current.is_out_of_use());
        if !stays {
            self.current = self.revisions.len();
            self.is_recommended |= patch.is_recommended;
        }
        self.revisions.push(patch);
    }
}

impl CrossReference {
    /// The order of the patches matters.
    pub fn new(as_of: Option<NaiveDate>, patches: impl IntoIterator<Item = ReferencePatch>) -> Self {
        let mut bases: BTreeMap<String, KnownBase> = BTreeMap::new();
        for patch in patches {
            let empty = || KnownBase { revisions: Vec::new(), current: 0, is_recommended: false };
            bases.entry(patch.id.base().to_owned()).or_insert_with(empty).take(patch);
        }
        let mut all = Self { as_of, bases };
        all.hand_recommendations_on();
        all
    }

    pub fn as_of(&self) -> Option<NaiveDate> {
        self.as_of
    }

    pub fn patch(&self, id: &PatchId) -> Option<&ReferencePatch> {
        self.base(id.base())?.revision(id)
    }

    /// Returns the names of the packages that current revisions are for; a name may come more than once.
    pub fn package_names(&self) -> impl Iterator<Item = &str> {
        let current = self.bases.values().filter_map(KnownBase::current);
        current.flat_map(|patch| &patch.packages).map(|package| package.name.as_str())
    }

    pub(super) fn bases(&self) -> impl Iterator<Item = (&str, &KnownBase)> {
        self.bases.iter().map(|(base, known)| (base.as_str(), known))
    }

    pub(super) fn base(&self, base: &str) -> Option<&KnownBase> {
        self.bases.get(base)
    }

    /// Returns the patch itself, or the last one in the chain of patches that contain it. `None` for a cycle, or if the
    /// chain leaves the cross-reference.
    pub(super) fn in_place_of<'a>(&'a self, id: &'a PatchId) -> Option<(&'a PatchId, &'a KnownBase)> {
        let (mut id, mut seen) = (id, HashSet::new());
        loop {
            let known = self.base(id.base())?;
            match known.current() {
                Some(current) if current.is_obsolete && seen.insert(id.base()) => {
                    id = current.obsoleted_by.as_ref()?;
                }
                Some(current) if current.is_obsolete => return None,
                _ => return Some((id, known)),
            }
        }
    }

    fn hand_recommendations_on(&mut self) {
        let mut reached: HashSet<String> = HashSet::new();
        for known in self.bases.values().filter(|known| known.is_recommended) {
            let mut next = known.current();
            while let Some(by) =
                next.filter(|patch| patch.is_obsolete).and_then(|patch| patch.obsoleted_by.as_ref())
            {
                if !reached.insert(by.base().to_owned()) {
                    break;
                }
                next = self.base(by.base()).and_then(KnownBase::current);
            }
        }
        for base in reached {
            if let Some(known) = self.bases.get_mut(&base) {
                known.is_recommended = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn obsolete(id: &str, by: &str) -> ReferencePatch {
        let obsoleted_by = PatchId::new(by).ok();
        ReferencePatch { is_obsolete: true, obsoleted_by, ..ReferencePatch::made_up(id, &[]) }
    }

    fn current(all: &CrossReference, base: &str) -> String {
        all.base(base).and_then(KnownBase::current).unwrap().id.to_string()
    }

    #[test]
    fn a_revision_out_of_use_never_replaces_one_in_use() {
        let bad = ReferencePatch { is_bad: true, ..ReferencePatch::made_up("1-03", &[]) };
        let all = CrossReference::new(
            None,
            [
                ReferencePatch::made_up("1-01", &[]),
                obsolete("1-02", "2-01"),
                bad,
                obsolete("3-01", "1-01"),
                obsolete("3-02", "1-01"),
            ],
        );
        assert_eq!((current(&all, "1"), current(&all, "3")), ("1-01".to_owned(), "3-02".to_owned()));
    }

    #[test]
    fn recommended_stays_and_goes_to_what_contains_the_patch() {
        let recommended = |patch| ReferencePatch { is_recommended: true, ..patch };
        let all = CrossReference::new(
            None,
            [
                recommended(ReferencePatch::made_up("1-01", &[])),
                ReferencePatch::made_up("1-02", &[]),
                recommended(obsolete("2-01", "3-01")),
                obsolete("3-01", "4-01"),
                ReferencePatch::made_up("4-02", &[]),
                ReferencePatch::made_up("5-01", &[]),
            ],
        );
        let of = |base| all.base(base).unwrap().is_recommended;
        assert_eq!(["1", "2", "3", "4", "5"].map(of), [true, true, true, true, false]);
    }

    #[test]
    fn patches_that_contain_each_other_end() {
        let all = CrossReference::new(
            None,
            [
                ReferencePatch { is_recommended: true, ..obsolete("1-01", "2-01") },
                obsolete("2-01", "1-01"),
                obsolete("3-01", "3-01"),
            ],
        );
        for id in ["1-01", "2-01", "3-01"] {
            assert!(all.in_place_of(&PatchId::new(id).unwrap()).is_none(), "{id}");
        }
        assert!(all.base("2").unwrap().is_recommended);
    }
}
