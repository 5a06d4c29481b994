//! Several patches that are to go in one run, or not at all.

use super::request::BackOutOutcome;
use crate::operation::failure::Failure;
use patchadm_planning::plan::refusal::{Command, Reason, SetReason};

/// The outcomes of patches that could go, but not in one run: the first with scripts is refused for them, or else the last
/// one, and the others stay because of it.
pub(super) fn refused(patches: Vec<BackOutOutcome>) -> Vec<BackOutOutcome> {
    let scripted = patches.iter().position(|patch| !patch.scripts.is_empty());
    let reason = if scripted.is_some() { SetReason::OwnRun } else { SetReason::NotTogether };
    let Some(culprit) = patches.get(scripted.unwrap_or(patches.len().saturating_sub(1))) else {
        return patches;
    };
    let culprit = culprit.id.clone();
    let failure = |id: &str| {
        if *id == *culprit {
            Failure::from(Reason::InSet(reason.clone()).of(Command::Patchrm, &id))
        } else {
            Failure::NotTried(culprit.clone())
        }
    };
    let refused = patches.into_iter().map(|patch| {
        let failure = failure(&patch.id);
        BackOutOutcome {
            libraries: None,
            plan: None,
            scripts: Vec::new(),
            missing: Vec::new(),
            moved: Vec::new(),
            result: Err(failure),
            id: patch.id,
        }
    });
    refused.collect()
}
