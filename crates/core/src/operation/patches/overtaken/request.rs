use serde::Serialize;

use patchadm_changeset::format::escaped::{as_text, each_as_text};
use patchadm_changeset::format::history::RefreshRecord;
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::format::overtaken::OvertakenPatch;
use patchadm_inputs::native::NativeChange;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

#[derive(Clone, Debug, Default)]
pub struct RegistrationRefreshRequest {
    /// Empty for all.
    pub packages: Vec<PkgInst>,
    /// Lost patches, or applied ones beforehand.
    pub accept: Vec<PatchId>,
    pub dry_run: bool,
}

#[derive(Debug, Default)]
pub struct RegistrationRefreshReport {
    pub recovered: Recovered,
    pub packages: Vec<RefreshedRegistration>,
    /// Unfinished or unknown packages, which stay as they are.
    pub left: Vec<(PkgInst, NativeChange)>,
    pub ended: Vec<EndedRegistration>,
    pub standing: Vec<StandingPatch>,
    /// Standing, but lost at some paths.
    pub partly_lost: Vec<OvertakenPatch>,
    /// Contained before, lost to an older version.
    pub lost_again: Vec<EndedRegistration>,
    pub accepted: Vec<PatchId>,
    /// Accepted, but contained: nothing was lost.
    pub unlisted: Vec<PatchId>,
    /// Listed, but missing.
    pub missing: Vec<ObjectPath>,
    pub notes: Vec<String>,
    /// `None` if nothing was changed.
    pub receipt: Option<Receipt>,
}

impl RegistrationRefreshReport {
    /// Adds another run of the same refresh.
    pub(super) fn add(&mut self, other: Self) {
        self.packages.extend(other.packages);
        self.ended.extend(other.ended);
        self.standing.extend(other.standing);
        self.partly_lost.extend(other.partly_lost);
        self.lost_again.extend(other.lost_again);
        self.accepted = other.accepted;
        self.unlisted = other.unlisted;
        self.missing.extend(other.missing);
        self.notes.extend(other.notes);
        self.left = other.left;
        self.receipt = other.receipt.or(self.receipt.take());
    }

    /// Starts with patches that are lost again.
    pub fn remarks(&self) -> Vec<String> {
        let again = self.lost_again.iter().map(EndedRegistration::told);
        again.chain(self.notes.iter().cloned()).collect()
    }
}

#[derive(Debug)]
pub struct RefreshedRegistration {
    pub package: PkgInst,
    pub change: NativeChange,
    /// 0 if removed.
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

#[derive(Debug)]
pub struct EndedRegistration {
    pub patch: OvertakenPatch,
    pub packages: Vec<PkgInst>,
    /// Applied patches that require it.
    pub required_by: Vec<PatchId>,
}

impl EndedRegistration {
    fn told(&self) -> String {
        let users: Vec<String> = self.required_by.iter().map(ToString::to_string).collect();
        let required =
            if users.is_empty() { String::new() } else { format!("; required by {}", users.join(", ")) };
        format!("{}: {}{required}", self.patch.patch, self.patch.told())
    }
}

#[derive(Debug, Serialize)]
pub struct StandingPatch {
    #[serde(serialize_with = "as_text")]
    pub id: PatchId,
    /// Handed over in this refresh.
    #[serde(serialize_with = "each_as_text")]
    pub handed_over: Vec<ObjectPath>,
    /// Part of `handed_over`.
    #[serde(serialize_with = "each_as_text")]
    pub lost: Vec<ObjectPath>,
}
