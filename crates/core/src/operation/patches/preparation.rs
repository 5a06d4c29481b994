//! Work before the patches: registrations are refreshed (`--refresh`) in a run of their own, and native packages are
//! adopted (`--adopt`) in the first patch's run. Patches are planned for the root after both.

use super::overtaken::planner::{planned_refresh, refresh_locked};
use super::overtaken::{RegistrationRefreshReport, RegistrationRefreshRequest};
use crate::operation::adopt::{AdoptedPackage, OnDemand, adopt_on_demand};
use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::run::Execution;
use crate::operation::session::{Caller, RootAndPolicy, Session};
use patchadm_inputs::native::NativeManager;
use patchadm_inputs::policy::Policy;
use patchadm_planning::plan::Plan;
use patchadm_planning::resolve::OfferedPackage;
use patchadm_svr4::package::Params;
use patchadm_svr4::patch::PatchId;

#[derive(Clone, Debug, Default)]
pub struct PreparationRequest {
    /// Refresh stale registrations first.
    pub refresh: bool,
    /// Adopt native packages of patches; otherwise the policy decides.
    pub adopt: bool,
    /// Recorded: LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
}

impl PreparationRequest {
    pub(super) fn is_adopting(&self, policy: &Policy) -> bool {
        self.adopt || policy.adopts
    }

    pub(super) fn managers(&self, policy: &Policy) -> &'static [NativeManager] {
        if self.is_adopting(policy) { &NativeManager::ALL } else { &[] }
    }
}

#[derive(Debug, Default)]
pub struct PreparationReport {
    /// `None` if not requested, or nothing was stale.
    pub refreshed: Option<RegistrationRefreshReport>,
    /// Adopted with the first applied patch.
    pub adopted: Vec<AdoptedPackage>,
    pub notes: Vec<String>,
}

impl PreparationReport {
    /// Returns patches that the refresh did not end; `None` if none is left.
    pub(super) fn staying(&self, ids: Vec<PatchId>) -> Option<Vec<PatchId>> {
        self.but(ids, |refreshed, id| refreshed.ended.iter().any(|ended| ended.patch.patch == id.as_str()))
    }

    /// Returns patches whose undo data the refresh does not change; the effects of other backouts are unknown before
    /// the refresh.
    pub(super) fn foreseeable(&self, ids: Vec<PatchId>) -> Option<Vec<PatchId>> {
        self.but(self.staying(ids)?, |refreshed, id| {
            refreshed.standing.iter().any(|standing| standing.id == *id && !standing.handed_over.is_empty())
        })
    }

    fn but(
        &self,
        ids: Vec<PatchId>,
        is_left_out: impl Fn(&RegistrationRefreshReport, &PatchId) -> bool,
    ) -> Option<Vec<PatchId>> {
        let Some(refreshed) = &self.refreshed else { return Some(ids) };
        let was_named = !ids.is_empty();
        let staying: Vec<PatchId> = ids.into_iter().filter(|id| !is_left_out(refreshed, id)).collect();
        (!was_named || !staying.is_empty()).then_some(staying)
    }
}

#[derive(Default)]
pub(super) struct PreparedRoot {
    pub(super) report: PreparationReport,
    pub(super) after: Option<RootAndPolicy>,
}

/// Performs or projects the refresh, and plans the adoption.
pub(super) fn prepare(
    ground: &RootAndPolicy,
    execution: Execution<'_>,
    request: &PreparationRequest,
    packages: &[OfferedPackage],
    caller: &Caller<'_>,
) -> Result<PreparedRoot, Failure> {
    ground.forget_native_changes();
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
