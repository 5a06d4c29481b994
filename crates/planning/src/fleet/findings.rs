//! What needs attention on a host.

use super::hosts::FleetHost;
use super::inventory::{InventoryPatch, InventoryTrial, PatchStanding};
use patchadm_svr4::patch::PatchId;

/// The verdicts on a signature with which no patch should be applied.
const BAD_VERDICTS: [&str; 5] = ["unknown-key", "expired", "not-allowed", "revoked", "bad"];

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FindingKind {
    /// A fix is lost to a change by dpkg or rpm.
    LostFix,
    /// A registration no longer says what dpkg or rpm says.
    StaleRegistration,
    /// A run was interrupted.
    UnfinishedRun,
    /// Another tool left a patch half applied.
    HalfApplied,
    /// Undo data is damaged or lost.
    DamagedUndo,
    /// A signature was wrong or not trusted when the patch was applied.
    BadSignature,
    /// An applied patch was withdrawn from the depot.
    Withdrawn,
    /// A run is on trial.
    OnTrial,
}

impl FindingKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::LostFix,
        Self::StaleRegistration,
        Self::UnfinishedRun,
        Self::HalfApplied,
        Self::DamagedUndo,
        Self::BadSignature,
        Self::Withdrawn,
        Self::OnTrial,
    ];

    /// Returns the word of documents for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::LostFix => "lost-fix",
            Self::StaleRegistration => "stale-registration",
            Self::UnfinishedRun => "unfinished-run",
            Self::HalfApplied => "half-applied",
            Self::DamagedUndo => "damaged-undo",
            Self::BadSignature => "bad-signature",
            Self::Withdrawn => "withdrawn",
            Self::OnTrial => "on-trial",
        }
    }

    /// Returns the words for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::LostFix => "lost fix",
            Self::StaleRegistration => "stale registration",
            Self::UnfinishedRun => "unfinished run",
            Self::HalfApplied => "half-applied patch",
            Self::DamagedUndo => "damaged undo data",
            Self::BadSignature => "signature not trusted",
            Self::Withdrawn => "withdrawn patch",
            Self::OnTrial => "on trial",
        }
    }
}

/// Something on a host that needs attention.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// The patch, package or run that it is about.
    pub about: String,
    /// What is the matter, in words.
    pub text: String,
}

impl Finding {
    fn of(kind: FindingKind, about: impl Into<String>, text: impl Into<String>) -> Self {
        Self { kind, about: about.into(), text: text.into() }
    }
}

/// Returns the findings of a host, by kind and by what they are about. `withdrawn` are the patches that the depot has
/// withdrawn.
pub(super) fn findings_of(host: &FleetHost, withdrawn: &[&PatchId]) -> Vec<Finding> {
    let inventory = &host.inventory;
    let mut findings = Vec::new();
    for lost in &inventory.lost {
        let has_not = if lost.is_partial { "took a part of the fix" } else { "does not have the fix" };
        let text = format!("{} {} ({}) {has_not}", lost.name, lost.version, lost.manager);
        findings.push(Finding::of(FindingKind::LostFix, &lost.id, text));
    }
    for stale in &inventory.stale {
        findings.push(Finding::of(FindingKind::StaleRegistration, &stale.package, &stale.reason));
    }
    if let Some(run) = &inventory.unfinished {
        findings.push(Finding::of(FindingKind::UnfinishedRun, run, "it was interrupted"));
    }
    findings.extend(inventory.trial.as_ref().map(of_trial));
    findings.extend(inventory.patches.iter().flat_map(of_patch));
    let is_withdrawn = |id: &PatchId| withdrawn.contains(&id);
    let effective = inventory.patches.iter().filter(|patch| patch.standing == PatchStanding::Effective);
    let found = effective.map(|patch| &patch.about.id).filter(|id| is_withdrawn(id));
    findings.extend(
        found.map(|id| Finding::of(FindingKind::Withdrawn, id.as_str(), "the depot has withdrawn it")),
    );
    findings.sort();
    findings.dedup();
    findings
}

fn of_trial(trial: &InventoryTrial) -> Finding {
    let over = if trial.is_over { ", which is over" } else { "" };
    let stuck = trial.stuck.as_ref().map(|reason| format!("; it cannot be backed out: {reason}"));
    let (patches, until) = (trial.patches.join(", "), &trial.until);
    let text = format!("{patches} until {until}{over}{}", stuck.unwrap_or_default());
    Finding::of(FindingKind::OnTrial, &trial.run, text)
}

/// Returns the findings about a patch of a host.
fn of_patch(patch: &InventoryPatch) -> Vec<Finding> {
    let id = patch.about.id.as_str();
    let mut findings = Vec::new();
    if patch.standing == PatchStanding::Interrupted {
        findings.push(Finding::of(FindingKind::HalfApplied, id, "another tool was interrupted"));
    }
    for undo in patch.undo.iter().filter(|undo| undo.is_damaged()) {
        let text = format!("package {}: {}", undo.package, undo.state);
        findings.push(Finding::of(FindingKind::DamagedUndo, id, text));
    }
    if let Some(signature) = &patch.signature
        && BAD_VERDICTS.contains(&signature.state.as_str())
    {
        let key = signature.name.as_ref().or(signature.key.as_ref());
        let key = key.map(|key| format!(", key {key}")).unwrap_or_default();
        findings.push(Finding::of(FindingKind::BadSignature, id, format!("{}{key}", signature.state)));
    }
    findings
}
