//! The analysis: the listed patches and their order.

use std::collections::{BTreeMap, HashSet};

use super::cross_reference::CrossReference;
use super::machine::MachineFacts;
use super::order::RequirementOrder;
use super::reference::ReferencePatch;
use super::request::AnalysisRequest;
use super::row::Analysis;
use super::standing::{Candidate, Question, is_lacking};
use patchadm_svr4::patch::PatchId;

/// Lists the patches that are asked for. Nothing depends on the order of the request.
pub fn analyse(reference: &CrossReference, machine: &MachineFacts, request: &AnalysisRequest) -> Analysis {
    let question = Question { reference, machine, request };
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
    let mut candidates: Vec<Candidate<'_>> = chosen.into_values().collect();
    candidates.sort_by_cached_key(|candidate| (!comes_first(request, candidate), place_in_lists(candidate)));
    if request.with_requirements {
        candidates = RequirementOrder::of(question, candidates);
    }
    Analysis { patches: candidates.iter().map(|candidate| question.row(candidate)).collect(), unknown }
}

/// Returns the patches that a machine lacks, by the bytes of their bases: the group `missing`, without anything that narrows
/// it.
pub fn missing<'a>(
    reference: &'a CrossReference,
    machine: &'a MachineFacts,
) -> impl Iterator<Item = &'a ReferencePatch> {
    let current = reference.bases().filter_map(|(_, known)| known.current());
    current.filter(|patch| is_lacking(machine, patch))
}

/// Returns the patches of all groups, by base.
fn of_groups(question: Question<'_>) -> BTreeMap<&str, Candidate<'_>> {
    let known = question.reference.bases().map(|(base, _)| base);
    let foreign = question.machine.all_installed().map(PatchId::base);
    let bases: HashSet<&str> = known.chain(foreign).collect();
    let candidates = bases.into_iter().map(|base| question.candidate(base));
    let is_asked_for = |candidate: &Candidate<'_>| {
        question.request.groups.iter().any(|group| question.is_in(*group, candidate))
            && question.fits(candidate)
            && !question.is_unwanted(candidate)
    };
    let listed = candidates.filter(is_asked_for).map(|candidate| {
        let brings_requirements = question.brings_requirements(&candidate);
        (candidate.base, Candidate { brings_requirements, ..candidate })
    });
    listed.collect()
}

/// Returns the patch that a word names: a base, or an id that the cross-reference has or that is applied.
fn named_candidate<'a>(
    question: Question<'a>,
    word: &'a str,
    id: Option<&'a PatchId>,
) -> Option<Candidate<'a>> {
    let candidate = question.candidate(word);
    if candidate.patch.is_some() || candidate.installed.is_some() {
        return Some(candidate);
    }
    let candidate = question.candidate_of(id?);
    let is_applied = candidate.installed == id;
    (candidate.patch.is_some() || is_applied).then_some(candidate)
}

fn comes_first(request: &AnalysisRequest, candidate: &Candidate<'_>) -> bool {
    candidate
        .patch
        .is_some_and(|patch| patch.packages.iter().any(|package| request.first.contains(&package.name)))
}

/// Returns the place of a base in lists: that of its ids.
fn place_in_lists(candidate: &Candidate<'_>) -> Option<PatchId> {
    let shown = candidate.patch.map(|patch| &patch.id).or(candidate.installed)?;
    PatchId::new(&format!("{}-0", shown.base())).ok()
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
