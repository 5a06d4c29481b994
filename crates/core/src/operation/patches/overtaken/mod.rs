//! `adopt --refresh`: registrations follow what the package manager of the system did, and the patches of the packages with
//! them.
//!
//! ```text
//!   stale registrations ─► native records ─► undo data of their patches ─► survey ─► standings ─► plan ─► one run
//! ```
//! One transaction for all packages: after a failure the records are as before, and the objects are always those that the
//! package manager wrote, or that a patch put there since.

pub(in crate::operation) mod as_left;
pub(in crate::operation) mod ended;
mod facts;
mod foresee;
mod kept;
pub(in crate::operation) mod locked;
mod native_now;
mod overview;
mod planner;
pub(in crate::operation::patches) mod request;
mod saved;

pub use foresee::{ForeseenUpgrade, foresee_upgrade};
pub use overview::NativeOverview;
pub use request::{EndedPatch, RefreshReport, RefreshRequest, RefreshedRegistration, StandingPatch};

use crate::operation::failure::Failure;
use crate::operation::session::{
    Caller, RootAndPolicy, may_change, must_agree, shown_to_anybody, without_lock,
};
use crate::operation::trial::begin::begin_beside_trial;
use locked::{planned_refresh, refresh_locked};
use patchadm_inputs::database::open_run;
use patchadm_inputs::native::NativeOrigin;
use patchadm_rootfs::Root;

/// Refreshes the stale registrations of a root. Where nothing is stale nothing is locked or written.
pub fn refresh_registrations(
    root: &Root,
    request: &RefreshRequest,
    caller: &Caller<'_>,
) -> Result<RefreshReport, Failure> {
    if request.dry_run {
        let shown = || {
            without_lock(root, || {
                let ground = RootAndPolicy::of(root)?.for_who_may()?;
                let planned = planned_refresh(&ground, request, caller)?;
                Ok(planned.map(|(report, _)| report).unwrap_or_default())
            })
        };
        return shown_to_anybody(root, shown, |mut report: RefreshReport, refused| {
            report.notes.push(refused.to_string());
            report
        });
    }
    if is_up_to_date(root, request)? {
        return Ok(RefreshReport::default());
    }
    may_change(root)?;
    let (session, _) = begin_beside_trial(RootAndPolicy::of(root)?, caller)?;
    must_agree(root, |_| false)?;
    let report = refresh_locked(&session, request)?.unwrap_or_default();
    Ok(RefreshReport { recovered: session.recovered, ..report })
}

/// Whether nothing is to be done, as one look without a lock says.
fn is_up_to_date(root: &Root, request: &RefreshRequest) -> Result<bool, Failure> {
    // The records of a run that did not end are neither those before it nor those after it.
    let is_between = open_run(root)?.is_some();
    if is_between || !request.accept.is_empty() || !request.packages.is_empty() {
        return Ok(false);
    }
    let ground = RootAndPolicy::of(root)?;
    let packages = ground.packages()?;
    let is_adopted = packages.values().any(|installed| NativeOrigin::of(&installed.params).is_some());
    Ok(!is_adopted || ground.native_changes(&packages).is_empty()
            && ground.renewed(&packages).is_empty()
            && ground.overruled(&packages)?.is_empty())
}
