//! The answer of verbs that ask about an applied patch, if it is not applied.

use super::meant::applied_like;
use patchadm_cli::arguments::suggest::did_you_mean;
use patchadm_cli::reply::overtaken::ending_of;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_rootfs::Root;

/// Refuses a patch that is not applied. Says how it ended, or suggests a similar id. A classic code of 2, as of patchrm(1M).
pub(super) fn not_applied(root: &Root, id: &str) -> Stop {
    let exit = Exit::new(2, ExitCause::Unknown);
    if let Some((ended, next)) = ending_of(root, id) {
        let next = next.map(|next| format!("\n{next}")).unwrap_or_default();
        return Stop::Refused { exit, message: format!("patch {id} is not applied: {ended}{next}") };
    }
    let meant = applied_like(root, id).map(|meant| format!("\n{}", did_you_mean(&meant)));
    let message = format!("patch {id} is not applied{}", meant.unwrap_or_default());
    Stop::Refused { exit, message }
}
