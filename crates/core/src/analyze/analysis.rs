//! The analysis: which patches are listed, and in which order.

use std::collections::{BTreeMap, HashSet};

use super::cross_reference::CrossReference;
use super::machine::MachineFacts;
use super::order::RequirementOrder;
use super::request::AnalysisRequest;
use super::row::{Analysis, UnknownPatch};
use super::standing::{Candidate, Question};
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
            None => unknown.push(UnknownPatch((*word).to_owned())),
        }
    }
    let mut candidates: Vec<Candidate<'_>> = chosen.into_values().collect();
    candidates.sort_by_cached_key(|candidate| (!comes_first(request, candidate), place_in_lists(candidate)));
    if request.with_requirements {
        candidates = RequirementOrder::of(question, candidates);
    }
    Analysis { patches: candidates.iter().map(|candidate| question.row(candidate)).collect(), unknown }
}

/// The patches of all groups, by base.
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
    candidates.filter(is_asked_for).map(|candidate| (candidate.base, candidate)).collect()
}

/// The patch that a word names: a base, or an id that the cross-reference has or that is applied.
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

/// The place of a base in lists: that of its ids.
fn place_in_lists(candidate: &Candidate<'_>) -> Option<PatchId> {
    let shown = candidate.patch.map(|patch| &patch.id).or(candidate.installed)?;
    PatchId::new(&format!("{}-0", shown.base())).ok()
}
