//! The exit codes of what is not done with a stage, and what to do then.

use std::path::Path;

use crate::reply::cause_of::of_root;
use crate::reply::failure::{described, verb_code};
use crate::reply::{Exit, ExitCause, ResultWord, Stop};
use patchadm_core::operation::stages::StageError;
use patchadm_core::plan::refusal::{Command, Wording};
use patchadm_rootfs::Root;

/// The code where there is no stage.
const NO_STAGE: u8 = 7;

/// The code where a guard refuses.
pub(super) const REFUSED: u8 = 10;

/// The code where a file system is full.
const FULL: u8 = 18;

/// The code where a staged path is missing.
const MISSING: u8 = 27;

/// The code where a run was not finished.
const UNFINISHED: u8 = 65;

/// The code where a file of a stage is damaged, or something changed while it was read.
const DAMAGED: u8 = 33;

/// The end of an operation on a stage; `undone` says what did not happen.
pub(in crate::verbs) fn stage_failed(root: &Root, undone: &str, error: &StageError) -> anyhow::Error {
    let exit = exit_of(error);
    let message = match error {
        StageError::Failure(failure) => {
            format!("{undone}\n{}", described(&Wording::of_verbs(root.prefix()), Command::Patchadd, failure))
        }
        StageError::Missing(_) | StageError::NoDirectory { .. } => {
            format!(
                "{undone}\n{error}\nName directories of the root {} with --path.",
                root.prefix().display()
            )
        }
        StageError::Nested { .. } => {
            format!("{undone}\n{error}\nName a directory outside the staged paths.")
        }
        StageError::OtherRoot { root, .. } => format!("{undone}\n{error}\nName its root with -R {root}"),
        StageError::InterruptedRefresh { stage, .. } => {
            let refresh = Wording::of_verbs(root.prefix()).verb(&format!("stage refresh {stage}"));
            format!(
                "{undone}\n{error}\nComplete it, and decide with --edited, --override or --preserve: {refresh}"
            )
        }
        StageError::UnfinishedRun { stage, .. } => {
            format!("{undone}\n{error}\nComplete it: {}", Wording::of_verbs(Path::new(stage)).verb("recover"))
        }
        StageError::NotEmpty(_) => format!("{undone}\n{error}\nName one that is not there, or an empty one."),
        _ => format!("{undone}\n{error}"),
    };
    Stop::Ran { exit, result: ResultWord::of_cause(exit.cause()), message }.into()
}

/// The exit for an error.
fn exit_of(error: &StageError) -> Exit {
    match error {
        StageError::Failure(failure) => verb_code(Command::Patchadd, failure),
        StageError::InterruptedRefresh { failure, .. } => verb_code(Command::Refresh, failure),
        StageError::Root(error) if error.is_no_space() => Exit::new(FULL, ExitCause::Space),
        StageError::Root(error) => Exit::failed(of_root(error)),
        StageError::Missing(_) | StageError::NoDirectory { .. } | StageError::ThroughLink { .. } => {
            Exit::new(MISSING, ExitCause::NotFound)
        }
        StageError::NoStage(_) => Exit::new(NO_STAGE, ExitCause::NotFound),
        StageError::Unfinished(_) => Exit::new(NO_STAGE, ExitCause::Unfinished),
        StageError::NoRecords(_) => Exit::new(NO_STAGE, ExitCause::NoDatabase),
        StageError::Device(_) | StageError::Unreadable(_) | StageError::NoMarker(_) => {
            Exit::new(REFUSED, ExitCause::NoRights)
        }
        StageError::UnfinishedRun { .. } => Exit::new(UNFINISHED, ExitCause::Unfinished),
        StageError::OtherRoot { .. } => Exit::new(REFUSED, ExitCause::NotApplicable),
        StageError::Changing(_) => Exit::new(DAMAGED, ExitCause::Edited),
        StageError::Damaged { .. } | StageError::Base { .. } | StageError::OtherPromotion { .. } => {
            Exit::new(DAMAGED, ExitCause::DamagedInput)
        }
        StageError::Busy(_) => Exit::LOCKED,
        StageError::Interrupted(signal) => Exit::by_signal(*signal),
        StageError::File { .. } => Exit::failed(ExitCause::NotFound),
        _ => Exit::failed(ExitCause::Usage),
    }
}
