//! The state of an applied patch, in the words of `list`.

use patchadm_inputs::policy::Policy;
use patchadm_svr4::patch::{AppliedPatches, PatchId, Superseded};

/// Returns the state of a patch by its records: `effective`, `superseded` or `obsoleted`; in addition, `restricted`.
pub(super) fn standing(applied: &AppliedPatches, id: &PatchId, policy: &Policy) -> Vec<&'static str> {
    let word = match applied.superseded(id) {
        None => "effective",
        Some(Superseded::Revision(_)) => "superseded",
        Some(Superseded::Obsoletion(_)) => "obsoleted",
    };
    let restricted = policy.is_restricted(id.base()).then_some("restricted");
    [word].into_iter().chain(restricted).collect()
}
