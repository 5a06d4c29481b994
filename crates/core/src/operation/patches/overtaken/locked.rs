//! A refresh of a root that is locked, and one that is only foreseen.

use super::planner::{PlannedRefresh, Refresher};
use super::request::{RefreshReport, RefreshRequest, RefreshedRegistration};
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::session::{Caller, RootAndPolicy, Session, patch_record};
use patchadm_changeset::format::journal::PatchRecord;
use patchadm_planning::plan::Plan;

/// Plans a refresh that is only foreseen; `None` where nothing is stale.
pub(in crate::operation) fn planned_refresh(
    ground: &RootAndPolicy,
    request: &RefreshRequest,
    caller: &Caller<'_>,
) -> Result<Option<(RefreshReport, Option<Plan>)>, Failure> {
    let request = RefreshRequest { dry_run: true, ..request.clone() };
    let refresher = Refresher { ground, request: &request, now: &caller.now, time: &caller.time };
    Ok(refresher.planned()?.map(|planned| (planned.report, planned.plan)))
}

/// Refreshes registrations of a root that is locked; `None` where nothing is stale.
pub(in crate::operation) fn refresh_locked(
    session: &Session<'_>,
    request: &RefreshRequest,
) -> Result<Option<RefreshReport>, Failure> {
    let Caller { now, time, .. } = session.caller;
    let refresher = Refresher { ground: &session.ground, request, now, time };
    refresher.planned()?.map(|planned| perform(session, planned)).transpose()
}

fn perform(session: &Session<'_>, planned: PlannedRefresh) -> Result<RefreshReport, Failure> {
    let mut report = planned.report;
    let Some(plan) = planned.plan else { return Ok(report) };
    let refreshed = report.packages.iter().map(RefreshedRegistration::record).collect();
    let record = PatchRecord { refreshed, ..patch_record(&plan, None, log::of_registration(&plan)) };
    let receipt = session.perform_together(&plan, &mut planned.undo.content(), vec![record])?;
    report.notes.extend(receipt.notes.iter().cloned());
    report.receipt = Some(receipt);
    Ok(report)
}
