//! The root for which a plan is shown: as it is, or, if a run was interrupted, as its recovery would leave it.

use super::failure::Failure;
use super::system_managers::SystemManagers;
use patchadm_changeset::transaction::{ForeseenRecovery, Recovered, foresee_recovery};
use patchadm_inputs::database::{last_run, open_run};
use patchadm_rootfs::{Lock, Root};

/// Makes a plan that is only shown, for the root as after the recovery of an interrupted run. The effects of the recovery
/// are reported beside the plan. If a command is working on the run, or its recovery cannot be foreseen, the plan is made
/// for the root as it is, which is refused in the middle of a run.
pub(super) fn plan_on_foreseen_root<T>(
    root: &Root,
    plan: impl FnOnce(&Root) -> Result<T, Failure>,
) -> Result<(T, Recovered), Failure> {
    let is_at_work = || Lock::is_held(root).unwrap_or(true);
    let foreseen = match foresee_recovery(root, Some(&SystemManagers::of(root))) {
        Ok(ForeseenRecovery::Root(foreseen)) if !is_at_work() => Some(foreseen),
        // The plan reports defects of the journal.
        _ => None,
    };
    let Some(foreseen) = foreseen else { return Ok((plan(root)?, Recovered::Nothing)) };
    let state = || Ok::<_, Failure>((open_run(root)?, last_run(root)?));
    let before = state()?;
    let (shown, recovered) = *foreseen;
    let planned = plan(&shown)?;
    // Another command may have recovered it meanwhile, and changed the root.
    if is_at_work() || state()? != before {
        return Err(Failure::DuringRun(root.prefix().display().to_string()));
    }
    Ok((planned, recovered))
}
