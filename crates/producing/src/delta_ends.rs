//! The end of `patchadm delta` after a failure: the code of a source, and that of the whole run.

use crate::making_ends::{NO_PATCH, of_build, of_previous, of_release};
use patchadm_cli::reply::cause_of::of_root;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_making::delta::{DeltaError, SourceFailure};
use patchadm_rootfs::LockError;

/// Returns the exit for a source that has no patch.
pub fn of_failure(failure: &SourceFailure) -> Exit {
    let no_patch = |cause| Exit::new(NO_PATCH, cause);
    match failure {
        SourceFailure::Release(error) => of_release(error).0,
        SourceFailure::Build(error) => of_build(error).0,
        SourceFailure::Previous(error) => of_previous(error).0,
        SourceFailure::Work(error) => Exit::failed(of_root(error)),
        SourceFailure::Name(_) | SourceFailure::Base(_) | SourceFailure::BaseTaken { .. } => {
            Exit::failed(ExitCause::Usage)
        }
        SourceFailure::NotAsBuilt { .. } => no_patch(ExitCause::DamagedInput),
        SourceFailure::Changed(_) => no_patch(ExitCause::Edited),
        _ => no_patch(ExitCause::NotApplicable),
    }
}

/// Returns the end of a run, in the three lines of the modern face: what did not happen, why, what to do.
pub fn stop(error: &DeltaError) -> Stop {
    let (exit, next) = match error {
        DeltaError::Set(error) => (of_release(error).0, "Name two directories of packages."),
        DeltaError::Work(error) | DeltaError::Lock(LockError::Root(error)) => {
            (Exit::failed(of_root(error)), "Look at the working directory.")
        }
        DeltaError::Lock(LockError::Held { .. }) => (Exit::LOCKED, "Try again when that one has ended."),
        DeltaError::State { .. } => (
            Exit::new(NO_PATCH, ExitCause::DamagedInput),
            "Put back what it was, or begin with another working directory.",
        ),
        DeltaError::OtherBase { .. } | DeltaError::SameBase { .. } => {
            (Exit::failed(ExitCause::Usage), "Give the source a base of its own with --ids, for ever.")
        }
        DeltaError::UnknownSource(_) => (Exit::failed(ExitCause::NotFound), "Name a source that is there."),
        DeltaError::Against(error) => of_previous(error),
        DeltaError::Interrupted(signal) => {
            (Exit::by_signal(*signal), "Run it again: what is finished stays.")
        }
        _ => (Exit::failed(ExitCause::Internal), "Look at the working directory."),
    };
    Stop::Refused { exit, message: format!("not all patches were made\n{error}.\n{next}") }
}
