//! How the making of patches ends that could not be done.

use crate::ends::{set_failed, work_failed};
use patchadm_building::patches::PatchesError;
use patchadm_cli::reply::failure::source_code;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_planning::plan::refusal::Command;
use patchadm_producing::ends::of_release;
use patchadm_producing::ends::stop as stopped;

/// Returns the end of an action that made no patches.
pub(crate) fn patches_failed(error: &PatchesError) -> Stop {
    let (exit, advice) = match error {
        PatchesError::NothingReleased => (
            Exit::failed(ExitCause::NotApplicable),
            "No patch was made.\nName the run whose set users have: `patchadm bulk release WORK RUN`.",
        ),
        PatchesError::NoSet => (
            Exit::failed(ExitCause::NotApplicable),
            "No patch was made.\nA run of all packages makes a set: `patchadm bulk run WORK`.",
        ),
        PatchesError::Ids { .. } => (
            Exit::failed(ExitCause::Usage),
            "No patch was made.\nMend the file that `ids` of bulk.conf names.",
        ),
        PatchesError::Work(error) => return work_failed(error),
        PatchesError::Set(error) => return set_failed(error),
        PatchesError::Package(error) => {
            let (exit, _) = of_release(error);
            (exit, "No patch was made.\nRun the build again: it makes a new set.")
        }
        PatchesError::Source(error) => (
            source_code(Command::Patchadd, error),
            "No patch was made.\nRun the build again: it makes a new set.",
        ),
        PatchesError::Delta(error) => return stopped(error),
        PatchesError::Root(error) => (
            Exit::failed(patchadm_cli::reply::cause_of::of_root(error)),
            "Look at the directory that is named.",
        ),
        PatchesError::Interrupted(signal) => {
            (Exit::by_signal(*signal), "Run it again: what is finished stays.")
        }
    };
    Stop::Refused { exit, message: format!("{error}\n{advice}") }
}
