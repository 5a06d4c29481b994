//! The request to refresh registrations, and what became of them.

use patchadm_changeset::format::history::RefreshRecord;
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::format::overtaken::OvertakenPatch;
use patchadm_inputs::native::NativeChange;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// The request to refresh registrations.
#[derive(Clone, Debug, Default)]
pub struct RefreshRequest {
    /// The adopted packages; empty for all.
    pub packages: Vec<PkgInst>,
    /// Patches whose loss is accepted: those that were lost, or beforehand those that are applied.
    pub accept: Vec<PatchId>,
    /// Plan only; nothing is changed.
    pub dry_run: bool,
}

/// The outcome of a refresh.
#[derive(Debug, Default)]
pub struct RefreshReport {
    /// The finding of recovery, before anything else.
    pub recovered: Recovered,
    /// The registrations that follow the package manager now.
    pub packages: Vec<RefreshedRegistration>,
    /// The packages with which their manager has not finished, or of which nothing is known: they stay as they are.
    pub left: Vec<(PkgInst, NativeChange)>,
    /// The patches that ended.
    pub ended: Vec<EndedPatch>,
    /// The patches that stand.
    pub standing: Vec<StandingPatch>,
    /// The standing patches that lost their fix at some paths.
    pub partly_lost: Vec<OvertakenPatch>,
    /// The patches that had ended with their fix contained, and are lost to an older version.
    pub lost_again: Vec<EndedPatch>,
    /// The patches whose loss was accepted.
    pub accepted: Vec<PatchId>,
    /// Listed paths at which nothing is.
    pub missing: Vec<ObjectPath>,
    /// Sentences for a person.
    pub notes: Vec<String>,
    /// The receipt of the run; `None` if nothing was changed.
    pub receipt: Option<Receipt>,
}

impl RefreshReport {
    /// Adds the outcome of another run of the same refresh.
    pub(super) fn add(&mut self, other: Self) {
        self.packages.extend(other.packages);
        self.ended.extend(other.ended);
        self.standing.extend(other.standing);
        self.partly_lost.extend(other.partly_lost);
        self.lost_again.extend(other.lost_again);
        self.accepted = other.accepted;
        self.missing.extend(other.missing);
        self.notes.extend(other.notes);
        self.left = other.left;
        self.receipt = other.receipt.or(self.receipt.take());
    }

    /// Returns the sentences for a person, those on patches that are lost again first.
    pub fn remarks(&self) -> Vec<String> {
        let again = self.lost_again.iter().map(EndedPatch::told);
        again.chain(self.notes.iter().cloned()).collect()
    }
}

/// A registration that follows its package manager.
#[derive(Debug)]
pub struct RefreshedRegistration {
    /// The package.
    pub package: PkgInst,
    /// The change by its manager.
    pub change: NativeChange,
    /// The number of its objects; 0 if it was removed.
    pub objects: usize,
}

impl RefreshedRegistration {
    pub(super) fn record(&self) -> RefreshRecord {
        let origin = self.change.origin();
        let (from, to) = self.change.versions();
        RefreshRecord {
            package: self.package.to_string(),
            manager: origin.manager.to_string(),
            name: origin.name.clone(),
            from: from.unwrap_or_default().to_owned(),
            to: to.map(str::to_owned),
        }
    }
}

/// A patch that ended with a refresh.
#[derive(Debug)]
pub struct EndedPatch {
    /// The patch, and how it ended.
    pub patch: OvertakenPatch,
    /// The packages that it was applied to.
    pub packages: Vec<PkgInst>,
    /// Applied patches that require it.
    pub required_by: Vec<PatchId>,
}

impl EndedPatch {
    fn told(&self) -> String {
        let users: Vec<String> = self.required_by.iter().map(ToString::to_string).collect();
        let required =
            if users.is_empty() { String::new() } else { format!("; required by {}", users.join(", ")) };
        format!("{}: {}{required}", self.patch.patch, self.patch.told())
    }
}

/// A patch that stands.
#[derive(Debug)]
pub struct StandingPatch {
    /// The patch.
    pub id: PatchId,
    /// The paths that it handed over in this refresh.
    pub handed_over: Vec<ObjectPath>,
    /// The paths among them at which the fix is lost.
    pub lost: Vec<ObjectPath>,
}
