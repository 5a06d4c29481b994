//! A refresh of a root that is locked, and one that is only foreseen.

use super::planner::{PlannedRefresh, Refresher};
use super::request::{RefreshReport, RefreshRequest, RefreshedRegistration};
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::session::{Caller, RootAndPolicy, Session, patch_record};
use patchadm_changeset::format::journal::PatchRecord;
use patchadm_planning::plan::Plan;
use patchadm_svr4::package::PkgInst;

/// Plans a refresh that is only foreseen; `None` where nothing is stale.
pub(in crate::operation) fn planned_refresh(
    ground: &RootAndPolicy,
    request: &RefreshRequest,
    caller: &Caller<'_>,
) -> Result<Option<(RefreshReport, Option<Plan>)>, Failure> {
    let request = RefreshRequest { dry_run: true, ..request.clone() };
    let Caller { now, time, interrupt, .. } = caller;
    let refresher = Refresher { ground, request: &request, now, time, interrupt: *interrupt };
    Ok(refresher.planned()?.map(|planned| (planned.report, planned.plan)))
}

/// Refreshes registrations of a root that is locked; `None` where nothing is stale. If one run for all of them fails and is
/// rolled back, they are refreshed one by one.
pub(in crate::operation) fn refresh_locked(
    session: &Session<'_>,
    request: &RefreshRequest,
) -> Result<Option<RefreshReport>, Failure> {
    let Caller { now, time, interrupt, .. } = session.caller;
    let refresher = Refresher { ground: &session.ground, request, now, time, interrupt: *interrupt };
    let Some(planned) = refresher.planned()? else { return Ok(None) };
    let packages: Vec<PkgInst> = planned.report.packages.iter().map(|one| one.package.clone()).collect();
    let together = match perform(session, planned) {
        Err(failure) if packages.len() > 1 && failure.is_rolled_back() => failure,
        done => return done.map(Some),
    };
    let mut whole = RefreshReport::default();
    for package in packages {
        let alone = RefreshRequest { packages: vec![package.clone()], ..request.clone() };
        let refresher = Refresher { request: &alone, ..refresher };
        match refresher.planned()?.map(|planned| perform(session, planned)).transpose() {
            Ok(report) => whole.add(report.unwrap_or_default()),
            Err(failure) if failure.is_rolled_back() => {
                whole.notes.push(format!("package {package} is not refreshed: {failure}"));
            }
            Err(failure) => return Err(failure),
        }
    }
    if whole.packages.is_empty() { Err(together) } else { Ok(Some(whole)) }
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
