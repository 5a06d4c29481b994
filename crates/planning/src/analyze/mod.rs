//! The patches that a machine lacks: a cross-reference compared with the installed patches. The rules are those of
//! Patch Check Advanced, with three differences: a patch comes once, a foreign patch keeps its name, and an installed
//! patch obsoletes only named patches and their lower revisions, also of its own base.
//!
//! ```text
//! patchdiag.xref ──┐
//!                  ├──► CrossReference ──┐
//! index of a depot ┘                     ├──► analyse ──► Analysis: a row for each patch, in the order to apply them
//! packages, applied patches ► MachineFacts ┘
//! ```

mod conversion;
mod machine;
mod reference;
mod request;

pub use conversion::{DepotCrossReference, from_depot, from_patchdiag, to_patchdiag};
pub use machine::{InstalledPackage, InstalledPatch, MachineFacts};
pub use reference::{CrossReference, ReferencePackage, ReferencePatch};
pub use request::{AnalysisRequest, Group, GroupError, RequestError, SynopsisPattern, UnwantedPatch};

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::NaiveDate;
use patchadm_changeset::format::escaped::as_text_if_any;
use patchadm_svr4::patch::PatchId;
use serde::{Serialize, Serializer};

use reference::KnownBase;
use request::{GroupKind, Narrowing};

/// The standing of each listed patch on a machine, with each patch directly after its requirements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// In the order of application.
    pub patches: Vec<AnalysedPatch>,
    /// Named patches that are neither in the cross-reference nor applied.
    pub unknown: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnalysedPatch {
    #[serde(rename = "id")]
    pub base: String,
    pub installed: Option<String>,
    /// The current or named revision; `None` if the cross-reference lacks the patch.
    pub current: Option<String>,
    pub relation: RevisionRelation,
    pub recommended: FlagOrigin,
    pub security: FlagOrigin,
    /// True if the applied revision, or else the current one, was withdrawn.
    #[serde(rename = "bad")]
    pub is_bad: bool,
    #[serde(rename = "missing")]
    pub is_missing: bool,
    /// The day of the current revision.
    #[serde(serialize_with = "as_text_if_any")]
    pub date: Option<NaiveDate>,
    pub age_days: Option<u32>,
    pub synopsis: String,
    /// Each once.
    pub packages: Vec<String>,
    /// Ids, or alternatives (`1-01 | 2-01`).
    pub requires: Vec<String>,
    /// In bytes, if known.
    pub size: Option<u64>,
    /// The word for the requested reboot, if known.
    pub reboot: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionRelation {
    /// None or a lower one is applied.
    Lower,
    Same,
    /// A higher one is applied, or one that the cross-reference lacks.
    Higher,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagOrigin {
    /// The patch lacks the flag.
    None,
    Given,
    Reference,
}

impl FlagOrigin {
    pub fn is_set(self) -> bool {
        self != Self::None
    }
}

impl Serialize for FlagOrigin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(self.is_set())
    }
}

impl Serialize for RevisionRelation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.sign())
    }
}

impl RevisionRelation {
    /// Returns the sign of the relation: `<`, `=` or `>`.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Lower => "<",
            Self::Same => "=",
            Self::Higher => ">",
        }
    }
}

/// Nothing depends on the order of the request.
pub fn analyse(reference: &CrossReference, machine: &MachineFacts, request: &AnalysisRequest) -> Analysis {
    let question = AnalysisQuestion { reference, machine, request };
    let named: Vec<(&str, Option<PatchId>)> =
        request.named.iter().map(|word| (word.as_str(), PatchId::new(word).ok())).collect();
    let mut chosen = of_groups(question);
    let mut unknown = Vec::new();
    for (word, id) in &named {
        match named_candidate(question, word, id.as_ref()) {
            Some(candidate) => _ = chosen.insert(candidate.base, candidate),
            None => unknown.push((*word).to_owned()),
        }
    }
    let mut candidates: Vec<AnalysisCandidate<'_>> = chosen.into_values().collect();
    candidates.sort_by_cached_key(|candidate| (!comes_first(request, candidate), place_in_lists(candidate)));
    if request.with_requirements {
        candidates = RequirementOrder::of(question, candidates);
    }
    Analysis { patches: candidates.iter().map(|candidate| question.row(candidate)).collect(), unknown }
}

/// Returns the patches of the group `missing`, sorted by the bytes of their bases.
pub fn missing<'a>(
    reference: &'a CrossReference,
    machine: &'a MachineFacts,
) -> impl Iterator<Item = &'a ReferencePatch> {
    let current = reference.bases().filter_map(|(_, known)| known.current());
    current.filter(|patch| is_lacking(machine, patch))
}

fn of_groups(question: AnalysisQuestion<'_>) -> BTreeMap<&str, AnalysisCandidate<'_>> {
    let known = question.reference.bases().map(|(base, _)| base);
    let foreign = question.machine.all_installed().map(PatchId::base);
    let bases: HashSet<&str> = known.chain(foreign).collect();
    let candidates = bases.into_iter().map(|base| question.candidate(base));
    let is_asked_for = |candidate: &AnalysisCandidate<'_>| {
        question.request.groups.iter().any(|group| question.is_in(*group, candidate))
            && question.fits(candidate)
            && !question.is_unwanted(candidate)
    };
    let listed = candidates.filter(is_asked_for).map(|candidate| {
        let brings_requirements = question.brings_requirements(&candidate);
        (candidate.base, AnalysisCandidate { brings_requirements, ..candidate })
    });
    listed.collect()
}

fn named_candidate<'a>(
    question: AnalysisQuestion<'a>,
    word: &'a str,
    id: Option<&'a PatchId>,
) -> Option<AnalysisCandidate<'a>> {
    let candidate = question.candidate(word);
    if candidate.patch.is_some() || candidate.installed.is_some() {
        return Some(candidate);
    }
    let candidate = question.candidate_of(id?);
    let is_applied = candidate.installed == id;
    (candidate.patch.is_some() || is_applied).then_some(candidate)
}

fn comes_first(request: &AnalysisRequest, candidate: &AnalysisCandidate<'_>) -> bool {
    candidate
        .patch
        .is_some_and(|patch| patch.packages.iter().any(|package| request.first.contains(&package.name)))
}

/// Lists sort by it: bases compare as ids do.
fn place_in_lists(candidate: &AnalysisCandidate<'_>) -> Option<PatchId> {
    let shown = candidate.patch.map(|patch| &patch.id).or(candidate.installed)?;
    PatchId::new(&format!("{}-0", shown.base())).ok()
}

const NOT_FOUND: &str = "NOT FOUND IN CROSS REFERENCE FILE!";

#[derive(Clone, Copy)]
struct AnalysisQuestion<'a> {
    reference: &'a CrossReference,
    machine: &'a MachineFacts,
    request: &'a AnalysisRequest,
}

#[derive(Clone, Copy)]
struct AnalysisCandidate<'a> {
    base: &'a str,
    /// The current or requested revision.
    patch: Option<&'a ReferencePatch>,
    known: Option<&'a KnownBase>,
    installed: Option<&'a PatchId>,
    brings_requirements: bool,
}

impl<'a> AnalysisQuestion<'a> {
    fn candidate(self, base: &'a str) -> AnalysisCandidate<'a> {
        let known = self.reference.base(base);
        let patch = known.and_then(KnownBase::current);
        let installed = self.machine.installed(base);
        AnalysisCandidate { base, patch, known, installed, brings_requirements: true }
    }

    fn candidate_of(self, id: &'a PatchId) -> AnalysisCandidate<'a> {
        let candidate = self.candidate(id.base());
        AnalysisCandidate { patch: candidate.known.and_then(|known| known.revision(id)), ..candidate }
    }

    fn is_missing(self, candidate: &AnalysisCandidate<'a>) -> bool {
        candidate.patch.is_some_and(|patch| is_lacking(self.machine, patch))
    }

    fn is_bad(self, candidate: &AnalysisCandidate<'a>) -> bool {
        let (Some(installed), Some(known)) = (candidate.installed, candidate.known) else { return false };
        known.revision(installed).is_some_and(|patch| patch.is_bad) && !self.machine.obsoletes(installed)
    }

    fn is_in(self, group: Group, candidate: &AnalysisCandidate<'a>) -> bool {
        let is_installed = candidate.installed.is_some();
        let is_of_kind = match group.kind {
            GroupKind::Missing => self.is_missing(candidate),
            GroupKind::Installed => is_installed,
            GroupKind::All => is_installed || self.is_missing(candidate),
            GroupKind::Total => candidate.known.is_some(),
            GroupKind::Unbundled => candidate.patch.is_some_and(|patch| {
                patch.is_unbundled && patch.packages.is_empty() && !patch.is_out_of_use()
            }),
            GroupKind::Bad => self.is_bad(candidate),
            GroupKind::Obsolete => candidate.installed.is_some_and(|id| self.machine.obsoletes(id)),
        };
        let recommended = || self.recommended(candidate).is_set();
        let security = || self.security(candidate).is_set();
        is_of_kind
            && match group.narrowed {
                Narrowing::None => true,
                Narrowing::Recommended => recommended(),
                Narrowing::Security => security(),
                Narrowing::Either => recommended() || security(),
            }
    }

    fn is_unwanted(self, candidate: &AnalysisCandidate<'a>) -> bool {
        candidate.patch.is_some_and(|patch| self.request.unwanted.iter().any(|unwanted| unwanted.is(patch)))
    }

    /// Matches synopsis and age. A patch without a date counts as older than any other.
    fn fits(self, candidate: &AnalysisCandidate<'a>) -> bool {
        let synopsis = candidate.patch.map_or(NOT_FOUND, |patch| patch.synopsis.as_str());
        let age = self.age(candidate).unwrap_or(u32::MAX);
        self.request.patterns.iter().all(|pattern| pattern.fits(synopsis))
            && self.request.min_age.is_none_or(|least| age >= least)
            && self.request.max_age.is_none_or(|most| age <= most)
    }

    fn brings_requirements(self, candidate: &AnalysisCandidate<'a>) -> bool {
        let of_missing = self.request.groups.iter().filter(|group| group.kind == GroupKind::Missing);
        of_missing.into_iter().any(|group| self.is_in(*group, candidate))
    }

    fn age(self, candidate: &AnalysisCandidate<'a>) -> Option<u32> {
        let days = self.request.today.signed_duration_since(candidate.patch?.date?).num_days();
        Some(u32::try_from(days.max(0)).unwrap_or(u32::MAX))
    }

    fn recommended(self, candidate: &AnalysisCandidate<'a>) -> FlagOrigin {
        let is_known = candidate.known.is_some_and(|known| known.is_recommended);
        origin(is_known, self.request.recommended.contains(candidate.base))
    }

    fn security(self, candidate: &AnalysisCandidate<'a>) -> FlagOrigin {
        let is_known = candidate.patch.is_some_and(|patch| patch.is_security);
        origin(is_known, self.request.security.contains(candidate.base))
    }

    fn row(self, candidate: &AnalysisCandidate<'a>) -> AnalysedPatch {
        let patch = candidate.patch;
        let is_bad = match (candidate.installed, candidate.known) {
            (Some(installed), Some(known)) => known.revision(installed).is_some_and(|patch| patch.is_bad),
            _ => patch.is_some_and(|patch| patch.is_bad),
        };
        let mut packages: Vec<String> =
            patch.iter().flat_map(|patch| &patch.packages).map(|package| package.name.clone()).collect();
        packages.sort();
        packages.dedup();
        AnalysedPatch {
            base: candidate.base.to_owned(),
            installed: candidate.installed.map(|id| id.revision().to_owned()),
            current: patch.map(|patch| patch.id.revision().to_owned()),
            relation: relation(candidate),
            recommended: self.recommended(candidate),
            security: self.security(candidate),
            is_bad,
            is_missing: self.is_missing(candidate),
            date: patch.and_then(|patch| patch.date),
            age_days: self.age(candidate),
            synopsis: patch.map_or_else(|| NOT_FOUND.to_owned(), |patch| patch.synopsis.clone()),
            packages,
            requires: patch.iter().flat_map(|patch| &patch.requires).map(|ids| alternatives(ids)).collect(),
            size: patch.and_then(|patch| patch.size),
            reboot: patch.and_then(|patch| patch.reboot.clone()),
        }
    }
}

/// Returns true if the patch is in use and for an installed package, and the machine has neither this or a later
/// revision nor a patch that contains it.
fn is_lacking(machine: &MachineFacts, patch: &ReferencePatch) -> bool {
    !patch.is_out_of_use()
        && machine.installed(patch.id.base()).is_none_or(|installed| *installed < patch.id)
        && !machine.obsoletes(&patch.id)
        && machine.has_package_of(patch)
}

fn origin(is_known: bool, is_given: bool) -> FlagOrigin {
    match (is_known, is_given) {
        (true, _) => FlagOrigin::Reference,
        (false, true) => FlagOrigin::Given,
        (false, false) => FlagOrigin::None,
    }
}

fn relation(candidate: &AnalysisCandidate<'_>) -> RevisionRelation {
    match (candidate.installed, candidate.patch) {
        (None, _) => RevisionRelation::Lower,
        (Some(installed), Some(patch)) if *installed < patch.id => RevisionRelation::Lower,
        (Some(installed), Some(patch)) if *installed == patch.id => RevisionRelation::Same,
        (Some(_), _) => RevisionRelation::Higher,
    }
}

fn alternatives(ids: &[PatchId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
}

struct RequirementOrder<'a> {
    question: AnalysisQuestion<'a>,
    listed: HashMap<&'a str, AnalysisCandidate<'a>>,
    /// A cycle of requirements ends at a visited base.
    begun: HashSet<&'a str>,
    ordered: Vec<AnalysisCandidate<'a>>,
}

struct Turn<'a> {
    candidate: AnalysisCandidate<'a>,
    /// Missing requirements, in reverse order.
    before: Vec<AnalysisCandidate<'a>>,
}

impl<'a> RequirementOrder<'a> {
    /// Sorts patches after their requirements and adds missing requirements where the patch pulls them in.
    fn of(
        question: AnalysisQuestion<'a>,
        candidates: Vec<AnalysisCandidate<'a>>,
    ) -> Vec<AnalysisCandidate<'a>> {
        let listed = candidates.iter().map(|candidate| (candidate.base, *candidate)).collect();
        let mut order = Self { question, listed, begun: HashSet::new(), ordered: Vec::new() };
        for candidate in candidates {
            order.take(candidate);
        }
        order.ordered
    }

    /// Depth-first, with an explicit stack: chains may have any length.
    fn take(&mut self, candidate: AnalysisCandidate<'a>) {
        let mut turns: Vec<Turn<'a>> = self.begin(candidate).into_iter().collect();
        while let Some(turn) = turns.last_mut() {
            match turn.before.pop() {
                Some(required) => turns.extend(self.begin(required)),
                None => self.ordered.extend(turns.pop().map(|turn| turn.candidate)),
            }
        }
    }

    fn begin(&mut self, candidate: AnalysisCandidate<'a>) -> Option<Turn<'a>> {
        self.begun.insert(candidate.base).then(|| {
            let mut before = self.requirements(&candidate);
            before.reverse();
            Turn { candidate, before }
        })
    }

    /// For each unmet requirement, the first alternative that the machine lacks, or its replacement.
    fn requirements(&self, candidate: &AnalysisCandidate<'a>) -> Vec<AnalysisCandidate<'a>> {
        let Some(patch) = candidate.patch else { return Vec::new() };
        let machine = self.question.machine;
        let mut found = Vec::new();
        for alternatives in &patch.requires {
            let in_place = alternatives.iter().filter_map(|id| self.question.reference.in_place_of(id));
            let in_place: Vec<_> = in_place.map(|(id, _)| id).collect();
            let is_met = alternatives.iter().chain(in_place.iter().copied()).any(|id| {
                machine.installed(id.base()).is_some_and(|installed| installed >= id)
                    || machine.obsoletes(id)
                    || machine.contains(id)
            });
            if !is_met {
                found.extend(in_place.iter().find_map(|id| self.lacking(id.base(), candidate)));
            }
        }
        found
    }

    fn lacking(&self, base: &'a str, for_whom: &AnalysisCandidate<'a>) -> Option<AnalysisCandidate<'a>> {
        let listed = self.listed.get(base).copied();
        let candidate =
            listed.or_else(|| for_whom.brings_requirements.then(|| self.question.candidate(base)))?;
        (self.question.is_missing(&candidate) && !self.question.is_unwanted(&candidate)).then_some(candidate)
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;

    use super::*;
    use crate::analyze::{Group, InstalledPackage, InstalledPatch};

    fn request(words: &[&str]) -> AnalysisRequest {
        let groups = words.iter().filter_map(|word| Group::named(word)).collect();
        let named = words.iter().filter(|word| Group::named(word).is_none());
        AnalysisRequest {
            groups,
            named: named.map(|&word| word.to_owned()).collect(),
            unwanted: Vec::new(),
            patterns: Vec::new(),
            min_age: None,
            max_age: None,
            recommended: HashSet::new(),
            security: HashSet::new(),
            with_requirements: true,
            first: Vec::new(),
            today: NaiveDate::from_ymd_opt(2026, 11, 20).unwrap(),
        }
    }

    fn machine(applied: &[&str]) -> MachineFacts {
        let package =
            InstalledPackage { instance: "A".to_owned(), arch: "all".to_owned(), version: "1".to_owned() };
        let patch = |id: &&str| InstalledPatch { id: PatchId::new(id).unwrap(), obsoletes: Vec::new() };
        MachineFacts::new([package], applied.iter().map(patch))
    }

    fn listed(patches: Vec<ReferencePatch>, applied: &[&str], request: &AnalysisRequest) -> String {
        let analysis = analyse(&CrossReference::new(None, patches), &machine(applied), request);
        let rows = analysis.patches.iter().map(|row| {
            let shown = |revision: &Option<String>| revision.clone().unwrap_or_else(|| "--".to_owned());
            format!("{} {}{}{}", row.base, shown(&row.installed), row.relation.sign(), shown(&row.current))
        });
        let unknown = analysis.unknown.iter().map(|patch| format!("no {patch}"));
        rows.chain(unknown).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_a_machine_lacks_is_the_group_missing() {
        let patches = || ["1-01", "1-02", "2-01", "3-01"].map(|id| ReferencePatch::made_up(id, &[])).to_vec();
        let (reference, machine) = (CrossReference::new(None, patches()), machine(&["1-01", "2-02"]));
        let lacking: Vec<&str> = missing(&reference, &machine).map(|patch| patch.id.as_str()).collect();
        assert_eq!(lacking, ["1-02", "3-01"]);
        assert_eq!(listed(patches(), &["1-01", "2-02"], &request(&["missing"])), "1 01<02, 3 --<01");
    }

    #[test]
    fn a_patch_comes_once_and_directly_after_what_it_requires() {
        let patches = || {
            vec![
                ReferencePatch::made_up("1-01", &["5-01", "3-01"]),
                ReferencePatch::made_up("2-01", &[]),
                ReferencePatch::made_up("3-01", &["1-01"]),
                ReferencePatch::made_up("5-02", &["9-01"]),
            ]
        };
        assert_eq!(
            listed(patches(), &[], &request(&["missing"])),
            "5 --<02, 3 --<01, 1 --<01, 2 --<01",
            "a circle ends, and what nobody knows is passed over"
        );
        assert_eq!(listed(patches(), &["5-01"], &request(&["1"])), "3 --<01, 1 --<01");
    }

    #[test]
    fn a_requirement_whose_changes_the_packages_have_already_is_not_listed() {
        let patches = vec![ReferencePatch::made_up("1-01", &["5-01"]), ReferencePatch::made_up("5-02", &[])];
        let reference = CrossReference::new(None, patches);
        let listed = |contained: &str| {
            let machine = machine(&[]).with_contained([PatchId::new(contained).unwrap()]);
            let analysis = analyse(&reference, &machine, &request(&["1"]));
            analysis.patches.iter().map(|row| row.base.clone()).collect::<Vec<_>>()
        };
        assert_eq!(listed("5-01"), ["1"]);
        assert_eq!(listed("5-00"), ["5", "1"], "an earlier revision is not enough");
    }

    #[test]
    fn a_long_chain_of_requirements_is_followed() {
        let of = |number: u32| {
            ReferencePatch::made_up(
                &format!("{}-01", 100_000 + number),
                &[&format!("{}-01", 100_001 + number)],
            )
        };
        let text = listed((0..20_000).map(of).collect(), &[], &request(&["100000"]));
        assert!(text.starts_with("119999 --<01, 119998") && text.ends_with("100000 --<01"));
    }

    #[test]
    fn patches_that_contain_each_other_are_both_obsolete() {
        let obsolete = |id, by| ReferencePatch {
            is_obsolete: true,
            obsoleted_by: PatchId::new(by).ok(),
            ..ReferencePatch::made_up(id, &[])
        };
        let patches = || {
            vec![
                obsolete("1-01", "2-01"),
                obsolete("2-01", "1-01"),
                ReferencePatch::made_up("3-01", &["1-01"]),
            ]
        };
        assert_eq!(listed(patches(), &[], &request(&["missing"])), "3 --<01");
        assert_eq!(listed(patches(), &[], &request(&["total"])), "1 --<01, 2 --<01, 3 --<01");
    }

    #[test]
    fn one_alternative_is_enough_and_the_first_one_is_taken() {
        let patches = || {
            let of_either = vec![vec![PatchId::new("8-01").unwrap(), PatchId::new("9-01").unwrap()]];
            vec![
                ReferencePatch { requires: of_either, ..ReferencePatch::made_up("1-01", &[]) },
                ReferencePatch::made_up("8-01", &[]),
                ReferencePatch::made_up("9-01", &[]),
            ]
        };
        assert_eq!(listed(patches(), &[], &request(&["1"])), "8 --<01, 1 --<01");
        assert_eq!(listed(patches(), &["9-01"], &request(&["1"])), "1 --<01");
    }

    #[test]
    fn a_revision_that_is_named_counts_and_others_are_not_known() {
        let patches = || vec![ReferencePatch::made_up("1-01", &[]), ReferencePatch::made_up("1-02", &[])];
        for (word, row) in
            [("1", "1 --<02"), ("1-01", "1 --<01"), ("1-2", "1 --<02"), ("1-03", "no 1-03"), ("x", "no x")]
        {
            assert_eq!(listed(patches(), &[], &request(&[word])), row, "{word}");
        }
        assert_eq!(listed(patches(), &["IDR1-01"], &request(&["IDR1-01", "installed"])), "IDR1 01>--");
    }

    #[test]
    fn ages_are_days_and_no_date_is_the_oldest() {
        let dated = |id, day| ReferencePatch {
            date: NaiveDate::from_ymd_opt(2026, 11, day),
            ..ReferencePatch::made_up(id, &[])
        };
        let patches = || vec![dated("1-01", 19), dated("2-01", 10), dated("3-01", 31)];
        let of = |min_age, max_age| {
            let request = AnalysisRequest { min_age, max_age, ..request(&["missing"]) };
            listed(patches(), &[], &request)
        };
        assert_eq!(of(Some(10), None), "2 --<01, 3 --<01");
        assert_eq!(of(None, Some(9)), "1 --<01");
        assert_eq!(of(Some(2), Some(20)), "2 --<01");
    }

    #[test]
    fn the_patches_of_certain_packages_come_first() {
        let mut later = ReferencePatch::made_up("2-01", &["3-01"]);
        later.packages[0].name = "SUNWswmt".to_owned();
        let mut fits = ReferencePatch::made_up("2-01", &["3-01"]);
        fits.packages.extend(later.packages);
        let patches = vec![ReferencePatch::made_up("1-01", &[]), fits, ReferencePatch::made_up("3-01", &[])];
        let request = AnalysisRequest { first: vec!["SUNWswmt".to_owned()], ..request(&["missing"]) };
        assert_eq!(listed(patches, &[], &request), "3 --<01, 2 --<01, 1 --<01");
    }
}
