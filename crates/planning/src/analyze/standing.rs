//! The standing of one patch on a machine: the questions that define the groups.

use super::cross_reference::{CrossReference, KnownBase};
use super::group::{Group, GroupKind, Narrowing};
use super::machine::MachineFacts;
use super::reference::ReferencePatch;
use super::request::AnalysisRequest;
use super::row::{AnalysedPatch, FlagOrigin, RevisionRelation};
use patchadm_svr4::patch::PatchId;

/// The synopsis of an applied patch that the cross-reference does not have.
const NOT_FOUND: &str = "NOT FOUND IN CROSS REFERENCE FILE!";

/// The question and what it is asked about.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) reference: &'a CrossReference,
    pub(super) machine: &'a MachineFacts,
    pub(super) request: &'a AnalysisRequest,
}

/// A base of the cross-reference, of the machine, or of both.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) base: &'a str,
    /// The revision that counts: the current one, or the one that was named.
    pub(super) patch: Option<&'a ReferencePatch>,
    pub(super) known: Option<&'a KnownBase>,
    pub(super) installed: Option<&'a PatchId>,
    /// Whether its missing requirements are listed with it.
    pub(super) brings_requirements: bool,
}

impl<'a> Question<'a> {
    /// Returns a base with what is known of it.
    pub(super) fn candidate(self, base: &'a str) -> Candidate<'a> {
        let known = self.reference.base(base);
        let patch = known.and_then(KnownBase::current);
        let installed = self.machine.installed(base);
        Candidate { base, patch, known, installed, brings_requirements: true }
    }

    /// Returns the same with a certain revision as the one that counts.
    pub(super) fn candidate_of(self, id: &'a PatchId) -> Candidate<'a> {
        let candidate = self.candidate(id.base());
        Candidate { patch: candidate.known.and_then(|known| known.revision(id)), ..candidate }
    }

    /// Tells whether the machine lacks the patch: it is in use, for a package that is there, and neither this revision
    /// nor a later one nor a patch that contains it is applied.
    pub(super) fn is_missing(self, candidate: &Candidate<'a>) -> bool {
        candidate.patch.is_some_and(|patch| is_lacking(self.machine, patch))
    }

    fn is_bad(self, candidate: &Candidate<'a>) -> bool {
        let (Some(installed), Some(known)) = (candidate.installed, candidate.known) else { return false };
        known.revision(installed).is_some_and(|patch| patch.is_bad) && !self.machine.obsoletes(installed)
    }

    /// Tells whether the patch is in a group.
    pub(super) fn is_in(self, group: Group, candidate: &Candidate<'a>) -> bool {
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

    /// Tells whether the patch is left out of everything.
    pub(super) fn is_unwanted(self, candidate: &Candidate<'a>) -> bool {
        candidate.patch.is_some_and(|patch| self.request.unwanted.iter().any(|unwanted| unwanted.is(patch)))
    }

    /// Tells whether synopsis and age are as groups want them. A patch without a date is older than any other.
    pub(super) fn fits(self, candidate: &Candidate<'a>) -> bool {
        let synopsis = candidate.patch.map_or(NOT_FOUND, |patch| patch.synopsis.as_str());
        let age = self.age(candidate).unwrap_or(u32::MAX);
        self.request.patterns.iter().all(|pattern| pattern.fits(synopsis))
            && self.request.min_age.is_none_or(|least| age >= least)
            && self.request.max_age.is_none_or(|most| age <= most)
    }

    /// Tells whether what the patch requires is listed with it: of a group only with what is listed because it is
    /// missing.
    pub(super) fn brings_requirements(self, candidate: &Candidate<'a>) -> bool {
        let of_missing = self.request.groups.iter().filter(|group| group.kind == GroupKind::Missing);
        of_missing.into_iter().any(|group| self.is_in(*group, candidate))
    }

    fn age(self, candidate: &Candidate<'a>) -> Option<u32> {
        let days = self.request.today.signed_duration_since(candidate.patch?.date?).num_days();
        Some(u32::try_from(days.max(0)).unwrap_or(u32::MAX))
    }

    fn recommended(self, candidate: &Candidate<'a>) -> FlagOrigin {
        let is_known = candidate.known.is_some_and(|known| known.is_recommended);
        origin(is_known, self.request.recommended.contains(candidate.base))
    }

    fn security(self, candidate: &Candidate<'a>) -> FlagOrigin {
        let is_known = candidate.patch.is_some_and(|patch| patch.is_security);
        origin(is_known, self.request.security.contains(candidate.base))
    }

    /// Returns the row of a patch.
    pub(super) fn row(self, candidate: &Candidate<'a>) -> AnalysedPatch {
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

/// Tells whether a machine lacks a patch: it is in use, for a package that is there, and neither this revision nor a later one
/// nor a patch that contains it is applied.
pub(super) fn is_lacking(machine: &MachineFacts, patch: &ReferencePatch) -> bool {
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

fn relation(candidate: &Candidate<'_>) -> RevisionRelation {
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
