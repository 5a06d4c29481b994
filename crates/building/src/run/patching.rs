//! A run ends with patches from the released set, where they are configured: made, tried, and handed to whoever publishes them.

use patchadm_making::delta::DeltaError;
use patchadm_rootfs::WorkMeter;

use super::request::{RunEvent, RunRequest, Tell};
use super::results::RunOutcome;
use crate::patches::{PatchesError, PatchesRequest, make_patches};

/// Makes patches at the end of a run that has a set.
pub(super) fn make_its_patches(request: &RunRequest<'_>, outcome: &mut RunOutcome, tell: Tell<'_>) {
    let ended = &mut outcome.ended;
    let Some(patches) = request.patches.filter(|_| ended.report.set.is_some()) else { return };
    let made = make_patches(&PatchesRequest {
        work: request.work,
        base: request.base,
        patch: patches.patch,
        syntax: patches.syntax,
        cores: request.cores as usize,
        is_dry_run: false,
        interrupt: request.interrupt,
        meter: WorkMeter::default(),
    });
    match made {
        Ok(made) => {
            ended.are_patches_whole = made.failed == 0 && made.refused.is_none();
            if let Some(refused) = &made.refused {
                tell(RunEvent::Note(&format!("{refused}; nothing is published")));
            } else {
                match (patches.publish)(&made) {
                    Ok(published) => ended.report.published = published,
                    Err(reason) => {
                        tell(RunEvent::Note(&reason));
                        ended.are_patches_whole = false;
                    }
                }
            }
            ended.report.patches = Some(made.report);
        }
        Err(PatchesError::NothingReleased) => {
            tell(RunEvent::Note("no set is released: there are no patches"));
        }
        Err(PatchesError::Interrupted(signal) | PatchesError::Delta(DeltaError::Interrupted(signal))) => {
            ended.interrupted = Some(signal);
        }
        Err(error) => {
            tell(RunEvent::Note(&format!("no patches were made: {error}")));
            ended.patches_error = Some(error);
        }
    }
}
