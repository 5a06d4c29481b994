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
pub(in crate::operation::patches) mod request;

pub use foresee::{ForeseenUpgrade, foresee_upgrade};
pub use overview::NativeOverview;
pub use request::{
    EndedRegistration, RefreshedRegistration, RegistrationRefreshReport, RegistrationRefreshRequest,
    StandingPatch,
};

use std::collections::BTreeMap;

use crate::operation::failure::Failure;
use crate::operation::mend::{RegistrationRepair, mend_registration};
use crate::operation::overtaken_list::overtaken_patches;
use crate::operation::session::{
    Caller, RootAndPolicy, Session, may_change, must_agree, shown_to_anybody, without_lock,
};
use crate::operation::trial::begin_with_trial;
use ended::lose_contained;
use patchadm_inputs::database::all::PackageRecords;
use patchadm_inputs::database::installed::lacking_parameter;
use patchadm_inputs::database::{DatabaseError, RecordDamage, RecordView, all, marker, open_run};
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::{ADOPTED, NativeChange, NativeManager, NativeOrigin};
use patchadm_rootfs::Root;
use patchadm_svr4::package::PkgInst;
use planner::{UnadoptedVersions, planned_refresh, refresh_locked};

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
    let (session, _) = begin_with_trial(RootAndPolicy::of(root)?, caller, &[])?;
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

/// Returns whether any package follows dpkg or rpm, and the adopted packages that follow neither.
pub fn followed_packages(root: &Root) -> Result<(bool, Vec<PkgInst>), Failure> {
    let packages = RootAndPolicy::of(root)?.packages()?;
    let is_native = |installed: &Installed| NativeOrigin::of(&installed.params).is_some();
    let is_bare =
        |installed: &Installed| !installed.params.text(ADOPTED).trim().is_empty() && !is_native(installed);
    let bare = packages.iter().filter(|(_, installed)| is_bare(installed));
    let bare = bare.map(|(package, _)| package.clone()).collect();
    Ok((packages.values().any(is_native), bare))
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
    let versions = UnadoptedVersions::of(ground.native(), &packages, &list);
    let version = |manager: NativeManager, name: &str| versions.oldest(manager, name);
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
