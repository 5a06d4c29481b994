//! The order of a list: each patch directly after its requirements.

use std::collections::{HashMap, HashSet};

use super::standing::{Candidate, Question};

/// The order in which patches are listed.
pub(super) struct RequirementOrder<'a> {
    question: Question<'a>,
    /// The patches that are listed by themselves, by base.
    listed: HashMap<&'a str, Candidate<'a>>,
    /// The bases whose turn has come; a circle of requirements ends at one.
    begun: HashSet<&'a str>,
    ordered: Vec<Candidate<'a>>,
}

/// A patch whose requirements are being looked at.
struct Turn<'a> {
    candidate: Candidate<'a>,
    /// Its requirements that are listed before it, the first one last.
    before: Vec<Candidate<'a>>,
}

impl<'a> RequirementOrder<'a> {
    /// Puts patches, which come in the order of a list, after their requirements. Missing requirements that are not in
    /// the list join it if the patch brings them.
    pub(super) fn of(question: Question<'a>, candidates: Vec<Candidate<'a>>) -> Vec<Candidate<'a>> {
        let listed = candidates.iter().map(|candidate| (candidate.base, *candidate)).collect();
        let mut order = Self { question, listed, begun: HashSet::new(), ordered: Vec::new() };
        for candidate in candidates {
            order.take(candidate);
        }
        order.ordered
    }

    /// Takes a patch and everything it needs, depth first. Chains may have any length, so they are followed without
    /// recursion.
    fn take(&mut self, candidate: Candidate<'a>) {
        let mut turns: Vec<Turn<'a>> = self.begin(candidate).into_iter().collect();
        while let Some(turn) = turns.last_mut() {
            match turn.before.pop() {
                Some(required) => turns.extend(self.begin(required)),
                None => self.ordered.extend(turns.pop().map(|turn| turn.candidate)),
            }
        }
    }

    fn begin(&mut self, candidate: Candidate<'a>) -> Option<Turn<'a>> {
        self.begun.insert(candidate.base).then(|| {
            let mut before = self.requirements(&candidate);
            before.reverse();
            Turn { candidate, before }
        })
    }

    /// Returns the patches that have to come before this one: for each requirement that is not met the first alternative
    /// that the machine lacks, or what took its place.
    fn requirements(&self, candidate: &Candidate<'a>) -> Vec<Candidate<'a>> {
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

    /// Returns the patch of this base, if the machine lacks it and it is wanted, by itself or for another one.
    fn lacking(&self, base: &'a str, for_whom: &Candidate<'a>) -> Option<Candidate<'a>> {
        let listed = self.listed.get(base).copied();
        let candidate =
            listed.or_else(|| for_whom.brings_requirements.then(|| self.question.candidate(base)))?;
        (self.question.is_missing(&candidate) && !self.question.is_unwanted(&candidate)).then_some(candidate)
    }
}
