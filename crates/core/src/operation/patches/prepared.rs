use super::overtaken::request::RegistrationRefreshReport;
use crate::operation::adopt::AdoptedPackage;
use patchadm_inputs::native::NativeManager;
use patchadm_inputs::policy::Policy;
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
