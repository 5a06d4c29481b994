//! `adopt --refresh`: registrations and patches follow the system's package manager.
//!
//! ```text
//!   stale registrations ─► native records ─► undo data of their patches ─► survey ─► standings ─► plan ─► one run
//! ```
//! One transaction for all packages. Only records change: objects stay as the package manager or a patch left them.

pub(in crate::operation) mod ended;
mod facts;
mod foresee;
mod overview;
pub(in crate::operation) mod planner;

use std::collections::BTreeMap;

use crate::operation::failure::Failure;
use crate::operation::mend::{RegistrationRepair, mend_registration};
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, shown_to_anybody, without_lock,
};
use crate::operation::trial::begin_beside_trial;
use ended::lose_contained;
use patchadm_changeset::format::history::RefreshRecord;
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::all::PackageRecords;
use patchadm_inputs::database::installed::lacking_parameter;
use patchadm_inputs::database::{DatabaseError, RecordDamage, RecordView, all, marker, open_run};
use patchadm_inputs::format::overtaken::OvertakenPatch;
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::{NativeChange, NativeManager, NativeOrigin};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;
use planner::{planned_refresh, refresh_locked, unadopted_version};

pub use foresee::{ForeseenUpgrade, foresee_upgrade};
pub use overview::NativeOverview;

/// Locks and writes nothing if nothing is stale.
pub fn refresh_registrations(
    root: &Root,
    request: &RegistrationRefreshRequest,
    caller: &Caller<'_>,
) -> Result<RegistrationRefreshReport, Failure> {
    if request.dry_run {
        let shown = || {
            without_lock(root, || {
                let ground = RootAndPolicy::of(root)?.for_who_may()?;
                let planned = planned_refresh(&ground, request, caller)?;
                Ok(planned.map(|(report, _)| report).unwrap_or_default())
            })
        };
        return shown_to_anybody(root, shown, |mut report: RegistrationRefreshReport, refused| {
            report.notes.push(refused.to_string());
            report
        });
    }
    if is_up_to_date(root, request, caller.is_hook)? {
        return Ok(RegistrationRefreshReport::default());
    }
    may_change(root)?;
    let (session, _) = begin_beside_trial(RootAndPolicy::of(root)?, caller)?;
    let mut notes = Vec::new();
    let refresh = || {
        must_agree(root, caller.interrupt, |_| false)?;
        registrations_must_be_whole(root)?;
        refresh_locked(&session, request)
    };
    let report = loop {
        match refresh() {
            Ok(report) => break report.unwrap_or_default(),
            // Each repair is a run that completes the record.
            Err(failure) => notes.extend(repaired(&session, failure)?),
        }
    };
    notes.extend(report.notes);
    Ok(RegistrationRefreshReport { recovered: session.recovered, notes, ..report })
}

/// Uses no lock. A hook ignores unfinished changes: its package manager calls again.
fn is_up_to_date(root: &Root, request: &RegistrationRefreshRequest, is_hook: bool) -> Result<bool, Failure> {
    // Records of an unfinished run are in between.
    let is_between = open_run(root)?.is_some();
    if is_between || !request.accept.is_empty() || !request.packages.is_empty() {
        return Ok(false);
    }
    let ground = RootAndPolicy::of(root)?;
    let packages = match packages_with_whole_registrations(&ground) {
        Ok(packages) => packages,
        Err(failure) if damaged_registration(&failure).is_some() => return Ok(false),
        Err(failure) => return Err(failure),
    };
    let is_adopted = packages.values().any(|installed| NativeOrigin::of(&installed.params).is_some());
    let is_left = |change: &NativeChange| is_hook && matches!(change, NativeChange::Busy { .. });
    let mut list = overtaken_patches(root, &marker(root)?.unwrap_or_default())?;
    let version = |manager: NativeManager, name: &str| unadopted_version(root, &packages, (manager, name));
    if !lose_contained(&mut list, version).is_empty() {
        return Ok(false);
    }
    Ok(!is_adopted
        || ground.native_changes(&packages).values().all(is_left)
            && ground.renewed(&packages).is_empty()
            && ground.overruled(&packages)?.is_empty())
}

/// Returns all packages, or fails as [`registrations_must_be_whole`] does. Looks again only at packages without a
/// parameter, because package managers wait for this.
fn packages_with_whole_registrations(
    ground: &RootAndPolicy,
) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
    let packages = match ground.packages() {
        Ok(packages) => packages,
        // A repairable registration comes before other damage.
        Err(failure) => return registrations_must_be_whole(&ground.root).and(Err(failure)),
    };
    let view = RecordView::live(&ground.root);
    let lacking = packages.iter().filter(|(_, installed)| lacking_parameter(&installed.params).is_some());
    for (package, _) in lacking {
        registration_must_be_whole(&all::records_of(&view, package)?)?;
    }
    Ok(packages)
}

/// Ignores other packages.
fn registrations_must_be_whole(root: &Root) -> Result<(), Failure> {
    let view = RecordView::live(root);
    all::each(&view, |package| registration_must_be_whole(package).map(|()| None::<()>)).map(drop)
}

fn registration_must_be_whole(package: &PackageRecords<'_>) -> Result<(), Failure> {
    match package.whole_params() {
        Err(DatabaseError::Damaged(damage)) if RegistrationRepair::of(&damage).is_none() => Ok(()),
        read => Ok(read.map(drop)?),
    }
}

/// Rebuilds a damaged record of an adopted package, so that a refresh updates it. Returns notes.
fn repaired(session: &Session<'_>, failure: Failure) -> Result<Vec<String>, Failure> {
    let Some((package, damage)) = damaged_registration(&failure) else { return Err(failure) };
    match mend_registration(session, &package)? {
        Ok(said) => {
            let made = format!("package {package}: its record was damaged and is rebuilt ({damage})");
            Ok([vec![made], said].concat())
        }
        Err(why) => Err(DatabaseError::from(damage.beyond_repair(&why)).into()),
    }
}

/// `None` if the failure is something else, or nothing is left.
fn damaged_registration(failure: &Failure) -> Option<(PkgInst, RecordDamage)> {
    let damage = failure.damage()?;
    match RegistrationRepair::of(damage)? {
        RegistrationRepair::Refresh(package, _) => Some((package.clone(), damage.clone())),
        RegistrationRepair::Adoption(..) => None,
    }
}

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
    /// Listed, but missing.
    pub missing: Vec<ObjectPath>,
    pub notes: Vec<String>,
    /// `None` if nothing was changed.
    pub receipt: Option<Receipt>,
}

impl RegistrationRefreshReport {
    /// Adds another run of the same refresh.
    fn add(&mut self, other: Self) {
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
    fn record(&self) -> RefreshRecord {
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

#[derive(Debug)]
pub struct StandingPatch {
    pub id: PatchId,
    /// Handed over in this refresh.
    pub handed_over: Vec<ObjectPath>,
    /// Part of `handed_over`.
    pub lost: Vec<ObjectPath>,
}
