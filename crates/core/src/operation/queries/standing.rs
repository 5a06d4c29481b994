//! What an applied patch is worth, in the words of `list`.

use patchadm_inputs::policy::Policy;
use patchadm_svr4::patch::{AppliedPatches, PatchId, Superseded};

/// The state of a patch by its records: `effective`, `superseded` or `obsoleted`, and `restricted` beside these.
pub(super) fn standing(applied: &AppliedPatches, id: &PatchId, policy: &Policy) -> Vec<&'static str> {
    let word = match applied.superseded(id) {
        None => "effective",
        Some(Superseded::Revision(_)) => "superseded",
        Some(Superseded::Obsoletion(_)) => "obsoleted",
    };
    let restricted = policy.is_restricted(id.base()).then_some("restricted");
    [word].into_iter().chain(restricted).collect()
}
