//! The request for what comes before the patches of a command, and what became of it.

use super::overtaken::request::RefreshReport;
use crate::operation::adopt::AdoptedPackage;
use patchadm_inputs::native::NativeManager;
use patchadm_inputs::policy::Policy;
use patchadm_svr4::package::Params;
use patchadm_svr4::patch::PatchId;

/// The work before the patches.
#[derive(Clone, Debug, Default)]
pub struct PreparationRequest {
    /// Refresh stale registrations first.
    pub refresh: bool,
    /// Native packages that a patch is for are adopted; otherwise the policy says whether they are.
    pub adopt: bool,
    /// The environment that is recorded for them: LANG, `LC_*`, TZ, PATH, OAMBASE.
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

/// The report on the work before the patches.
#[derive(Debug, Default)]
pub struct PreparationReport {
    /// The refresh of stale registrations; `None` if it was not asked for, or nothing was stale.
    pub refreshed: Option<RefreshReport>,
    /// The packages that are adopted with the first patch that is applied.
    pub adopted: Vec<AdoptedPackage>,
    /// Sentences for a person.
    pub notes: Vec<String>,
}

impl PreparationReport {
    /// Returns those of the named patches that the refresh did not end; `None` if they all ended with it.
    pub(super) fn staying(&self, ids: Vec<PatchId>) -> Option<Vec<PatchId>> {
        self.but(ids, |refreshed, id| refreshed.ended.iter().any(|ended| ended.patch.patch == id.as_str()))
    }

    /// Returns those of the staying patches whose undo data the refresh leaves as it is: what a backout of another brings
    /// back can be told when the refresh is done.
    pub(super) fn foreseeable(&self, ids: Vec<PatchId>) -> Option<Vec<PatchId>> {
        self.but(self.staying(ids)?, |refreshed, id| {
            refreshed.standing.iter().any(|standing| standing.id == *id && !standing.handed_over.is_empty())
        })
    }

    fn but(
        &self,
        ids: Vec<PatchId>,
        is_left_out: impl Fn(&RefreshReport, &PatchId) -> bool,
    ) -> Option<Vec<PatchId>> {
        let Some(refreshed) = &self.refreshed else { return Some(ids) };
        let was_named = !ids.is_empty();
        let staying: Vec<PatchId> = ids.into_iter().filter(|id| !is_left_out(refreshed, id)).collect();
        (!was_named || !staying.is_empty()).then_some(staying)
    }
}
