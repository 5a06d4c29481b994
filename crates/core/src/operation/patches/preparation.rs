//! What comes before the patches of a command: registrations follow their package manager (`--refresh`), and native packages
//! that patches are for are adopted (`--adopt`).
//!
//! A refresh is a run of its own, under the same lock. An adoption is part of the run of the first patch that is applied.
//! The patches are planned for the root after both.

use super::overtaken::locked::{planned_refresh, refresh_locked};
use super::overtaken::request::RefreshRequest;
use super::prepared::{PreparationReport, PreparationRequest};
use crate::operation::adopt::{OnDemand, adopt_on_demand};
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::session::{Caller, RootAndPolicy, Session};
use patchadm_planning::resolve::OfferedPackage;

/// Plans what comes before patches for the packages that `wanted` returns, if it is asked: from now on the root is planned for as it is
/// afterwards.
pub(super) fn foresee(
    ground: &RootAndPolicy,
    request: &PreparationRequest,
    wanted: &dyn Fn() -> Vec<OfferedPackage>,
    caller: &Caller<'_>,
) -> Result<PreparationReport, Failure> {
    ground.forget_preparation();
    let mut report = PreparationReport::default();
    if request.refresh
        && let Some((refreshed, plan)) = planned_refresh(ground, &RefreshRequest::default(), caller)?
    {
        if let Some(plan) = plan {
            ground.prepare(plan, caller.now.timestamp());
        }
        report.refreshed = Some(refreshed);
    }
    adopt(ground, request, wanted, caller, &mut report)?;
    Ok(report)
}

/// Refreshes stale registrations, and lets adoptions come before the first patch that is applied.
pub(super) fn carry_out(
    session: &Session<'_>,
    request: &PreparationRequest,
    wanted: &dyn Fn() -> Vec<OfferedPackage>,
) -> Result<PreparationReport, Failure> {
    let ground = &session.ground;
    ground.forget_preparation();
    let mut report = PreparationReport::default();
    if request.refresh {
        report.refreshed = refresh_locked(session, &RefreshRequest::default())?;
        ground.forget_preparation();
    }
    adopt(ground, request, wanted, session.caller, &mut report)?;
    Ok(report)
}

fn adopt(
    ground: &RootAndPolicy,
    request: &PreparationRequest,
    wanted: &dyn Fn() -> Vec<OfferedPackage>,
    caller: &Caller<'_>,
    report: &mut PreparationReport,
) -> Result<(), Failure> {
    if !request.is_adopting(&ground.policy) {
        return Ok(());
    }
    let OnDemand { adopted, plan, notes } = adopt_on_demand(ground, &wanted(), &request.environment, caller)?;
    if let Some(plan) = plan {
        ground.prepare(plan, caller.now.timestamp());
    }
    report.adopted = adopted;
    report.notes.extend(notes);
    Ok(())
}

/// Carries out what was to come before a patch that is a run of its own. Tells whether there was anything.
pub(super) fn carry_out_alone(session: &Session<'_>) -> Result<bool, Failure> {
    let plans = session.ground.prepared();
    for plan in &plans {
        session.perform(plan, &mut NoContent, None, log::of_registration(plan))?;
    }
    session.ground.forget_preparation();
    Ok(!plans.is_empty())
}
