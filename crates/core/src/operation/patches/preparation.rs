//! Work before the patches: registrations are refreshed (`--refresh`) in a run of their own, and native packages are
//! adopted (`--adopt`) in the first patch's run. Patches are planned for the root after both.

use super::overtaken::planner::{planned_refresh, refresh_locked};
use super::overtaken::request::RegistrationRefreshRequest;
use super::prepared::{PreparationReport, PreparationRequest};
use crate::operation::adopt::{OnDemand, adopt_on_demand};
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::session::{Caller, Execution, RootAndPolicy, Session};
use patchadm_planning::plan::Plan;
use patchadm_planning::resolve::OfferedPackage;

#[derive(Default)]
pub(super) struct PreparedRoot {
    pub(super) report: PreparationReport,
    pub(super) after: Option<RootAndPolicy>,
}

/// Performs or projects the refresh, and plans the adoption. The caller forgets native changes first.
pub(super) fn prepare(
    ground: &RootAndPolicy,
    execution: Execution<'_>,
    request: &PreparationRequest,
    packages: &[OfferedPackage],
    caller: &Caller<'_>,
) -> Result<PreparedRoot, Failure> {
    let mut prepared = PreparedRoot::default();
    if request.refresh {
        let refresh = RegistrationRefreshRequest::default();
        match execution {
            Execution::Foresee => {
                if let Some((refreshed, plan)) = planned_refresh(ground, &refresh, caller)? {
                    prepared.after = plan.map(|plan| ground.after(plan, caller.now.timestamp()));
                    prepared.report.refreshed = Some(refreshed);
                }
            }
            Execution::Perform(session) => {
                prepared.report.refreshed = refresh_locked(session, &refresh)?;
                ground.forget_native_changes();
            }
        }
    }
    if request.is_adopting(&ground.policy) {
        let before = prepared.after.as_ref().unwrap_or(ground);
        let OnDemand { adopted, plan, notes } =
            adopt_on_demand(before, packages, &request.environment, caller)?;
        prepared.report.adopted = adopted;
        prepared.report.notes.extend(notes);
        if let Some(plan) = plan {
            prepared.after = Some(before.after(plan, caller.now.timestamp()));
        }
    }
    Ok(prepared)
}

/// For a patch that is a run of its own.
pub(super) fn perform_preparation(session: &Session<'_>, plans: &[Plan]) -> Result<(), Failure> {
    for plan in plans {
        session.perform(plan, &mut NoContent, None, log::of_registration(plan))?;
    }
    Ok(())
}
