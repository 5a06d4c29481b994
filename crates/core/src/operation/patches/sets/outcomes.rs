//! The outcomes of a set: what was applied, with the patches that required it, and every patch that was not applied.

use std::collections::HashMap;

use super::fetch::FetchedPatches;
use crate::operation::failure::Failure;
use crate::operation::patches::apply::{ApplyOutcome, ApplyReport, SetMembership};
use patchadm_planning::plan::refusal::{Command, Reason, SetReason};
use patchadm_planning::resolve::{Offer, Resolution, SetOutcome, SetRequest, SetVerdict};

/// A set whose outcomes are reported.
pub(super) struct ToldSet<'a> {
    pub(super) offers: &'a [Offer],
    /// The number of the first offers that are operands beside the depot.
    pub(super) operands: usize,
    /// The fetched patches among those that are applied; empty if nothing had to be fetched.
    pub(super) fetched: FetchedPatches,
    pub(super) choices: &'a SetRequest,
}

/// Adds the outcomes of all other patches of the set to the report of what was applied.
pub(super) fn told(report: ApplyReport, resolution: Resolution, set: ToldSet<'_>) -> ApplyReport {
    let ToldSet { offers, operands, fetched, choices } = set;
    let mut done: HashMap<String, ApplyOutcome> =
        report.patches.into_iter().map(|outcome| (outcome.id.clone(), outcome)).collect();
    let mut fetched = fetched.into_iter();
    let missing = resolution.planned().zip(fetched.as_slice()).find(|(_, fetched)| fetched.is_err());
    let missing = missing.map(|(verdict, _)| verdict.id.clone());
    let mut patches: Vec<ApplyOutcome> = Vec::new();
    for verdict in resolution.verdicts {
        let outcome = match &verdict.outcome {
            SetOutcome::Planned => match (fetched.next(), &missing) {
                (Some(Err(error)), _) => refused(&verdict, error.into()),
                (_, Some(missing)) if choices.all_or_nothing => {
                    refused(&verdict, Failure::NotWithout(missing.clone()))
                }
                _ => match done.remove(&verdict.id) {
                    Some(outcome) => with_reason(outcome, &verdict, offers, &patches),
                    None => continue,
                },
            },
            SetOutcome::LeftOut(reason) => refused(&verdict, refusal(reason.clone(), &verdict.id)),
            SetOutcome::NotTried(by) => refused(&verdict, Failure::NotWithout(by.clone())),
        };
        let is_operand = verdict.offer.is_some_and(|place| place < operands);
        let depot = choices.depot.clone().filter(|_| !is_operand);
        patches.push(ApplyOutcome { set: Some(membership(&verdict, offers, depot)), ..outcome });
    }
    ApplyReport { patches, ..report }
}

fn membership(verdict: &SetVerdict, offers: &[Offer], depot: Option<String>) -> SetMembership {
    let offer = verdict.offer.and_then(|place| offers.get(place));
    SetMembership {
        is_named: verdict.is_named,
        because: verdict.because.iter().map(ToString::to_string).collect(),
        depot,
        requires: offer.map(|offer| offer.requires.iter().cloned().collect()).unwrap_or_default(),
    }
}

fn refused(verdict: &SetVerdict, failure: Failure) -> ApplyOutcome {
    ApplyOutcome::refused(verdict.id.clone(), None, failure)
}

fn refusal(reason: Reason, id: &str) -> Failure {
    reason.of(Command::Patchadd, &id).into()
}

/// Returns the outcome of a patch. If it needs one of the set that is not applied, the outcome has the reason of that one.
fn with_reason(
    outcome: ApplyOutcome,
    verdict: &SetVerdict,
    offers: &[Offer],
    before: &[ApplyOutcome],
) -> ApplyOutcome {
    let requirement = match &outcome.result {
        Err(Failure::Refused(refusal)) => match &*refusal.reason {
            Reason::Required(requirement) => requirement.clone(),
            _ => return outcome,
        },
        _ => return outcome,
    };
    let is_provider = |one: &&ApplyOutcome| {
        let mut same = offers.iter().filter(|offer| offer.id.as_str() == one.id);
        same.any(|offer| requirement.is_met_by(&offer.id, &offer.obsoletes))
    };
    let reason = before.iter().filter(is_provider).find_map(|one| one.result.as_ref().err());
    let Some(reason) = reason.map(sentence) else { return outcome };
    let reason = Reason::InSet(SetReason::RequiredRefused { requirement, reason });
    ApplyOutcome { result: Err(refusal(reason, &verdict.id)), ..outcome }
}

fn sentence(failure: &Failure) -> String {
    match failure {
        Failure::Refused(refusal) => refusal.why(),
        other => other.to_string(),
    }
}
