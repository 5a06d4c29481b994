//! Exit codes and next steps of failed operations on a stage.

use std::path::Path;

use nix::unistd::{Uid, User};

use patchadm_cli::reply::advice::hint;
use patchadm_cli::reply::cause_of::of_root;
use patchadm_cli::reply::failure::{described, hinted, joined, verb_code};
use patchadm_cli::reply::promotion::refreshed_sentence;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::stages::{ForeignStage, StageError, Undertaking};
use patchadm_planning::plan::refusal::{Command, PromotionReason, Reason, Wording};
use patchadm_rootfs::Root;

/// `undone` says what did not happen.
pub(in crate::verbs) fn stage_failed(root: &Root, undone: &str, error: &StageError) -> anyhow::Error {
    let exit = exit_of(error);
    let message = told(root, undone, error);
    Stop::Ran { exit, result: exit.result(), message }.into()
}

/// Three lines: what did not happen, why, and the next step.
fn told(root: &Root, undone: &str, error: &StageError) -> String {
    match error {
        StageError::Failure(failure) => {
            format!("{undone}: {}", described(&Wording::of_verbs(root.prefix()), Command::Patchadd, failure))
        }
        StageError::Missing(_) | StageError::NoDirectory { .. } => {
            let way_on = format!("specify directories of the root {} with `--path`", root.prefix().display());
            hinted(&format!("{undone}: {error}"), &way_on)
        }
        StageError::Nested { .. } => {
            format!("{undone}: {error}\nhint: specify a directory outside the staged paths")
        }
        StageError::OtherRoot { root, .. } => {
            format!("{undone}: {error}\nhint: specify its root with `-R {root}`")
        }
        StageError::InterruptedRefresh { stage, failure } => {
            let wording = Wording::of_verbs(root.prefix());
            let refresh = wording.verb(&format!("stage refresh {stage}"));
            let way_on = if is_conflict_of_paths(failure) {
                format!(
                    "choose with `--edited`, `--replace-edited` or `--keep-edited`, and complete it with {refresh}"
                )
            } else {
                format!("then complete it with {refresh}")
            };
            let first = hinted(&format!("{undone}: {error}"), &hint(&wording, Command::Refresh, failure));
            hinted(&first, &way_on)
        }
        StageError::AfterRefresh { refreshed, error } => {
            joined([told(root, undone, error), refreshed_sentence(refreshed.taken, false)])
        }
        StageError::UnfinishedRun { stage, .. } => {
            let recover = Wording::of_verbs(Path::new(stage)).verb("recover");
            hinted(&format!("{undone}: {error}"), &recover)
        }
        StageError::RecordsOfStage { stage, failure } => {
            let wording = Wording::of_verbs(Path::new(stage));
            hinted(&format!("{undone}: {error}"), &hint(&wording, Command::Patchadd, failure))
        }
        StageError::OtherBase(_) => {
            format!("{undone}: {error}\nhint: promote without a base with `--two-way`, or make a new stage")
        }
        StageError::OfAnother(foreign) => {
            hinted(&format!("{undone}: {error}"), &as_its_user(&Wording::of_verbs(root.prefix()), foreign))
        }
        StageError::NotAlone(_) => {
            format!("{undone}: {error}\nhint: specify one that does not exist, or that root owns")
        }
        StageError::NotEmpty(_) => {
            format!("{undone}: {error}\nhint: specify one that does not exist, or an empty one")
        }
        _ => format!("{undone}: {error}"),
    }
}

fn as_its_user(wording: &Wording, foreign: &ForeignStage) -> String {
    let action = match foreign.undertake {
        Undertaking::Enter => "enter",
        Undertaking::Refresh => "refresh",
    };
    let Some(uid) = foreign.user else {
        return "make root its owner and only writer, or drop it and make a new stage".to_owned();
    };
    let stage = Wording::quoted(&foreign.path.to_string_lossy());
    let command = wording.verb(&format!("stage {action} {stage}"));
    match User::from_uid(Uid::from_raw(uid)).ok().flatten() {
        Some(user) => {
            let command = Wording::quoted(command.trim_matches('`'));
            format!("run it as its user: `su {} -c {command}`", Wording::quoted(&user.name))
        }
        None => format!("run it as uid {uid}: {command}"),
    }
}

/// True if both trees changed paths, so that options must decide.
fn is_conflict_of_paths(failure: &Failure) -> bool {
    let Failure::Refused(refusal) = failure else { return false };
    matches!(*refusal.reason, Reason::Promotion(PromotionReason::RefreshConflicts(_)))
}

fn exit_of(error: &StageError) -> Exit {
    match error {
        StageError::Failure(failure) => verb_code(Command::Patchadd, failure),
        StageError::RecordsOfStage { failure, .. } => verb_code(Command::Patchadd, failure),
        StageError::InterruptedRefresh { failure, .. } => verb_code(Command::Refresh, failure),
        StageError::AfterRefresh { error, .. } => exit_of(error),
        StageError::Root(error) => Exit::of_verb(of_root(error)),
        StageError::Missing(_)
        | StageError::NoDirectory { .. }
        | StageError::ThroughLink { .. }
        | StageError::File { .. } => Exit::of_verb(ExitCause::NotFound),
        StageError::NoStage(_) | StageError::NotStaged(_) => Exit::of_verb(ExitCause::Unknown),
        // The root is not in transition, and `recover` does not help.
        StageError::Unfinished(_) => Exit::of_verb(ExitCause::Unfinished).as_refusal(),
        StageError::UnfinishedRun { .. } => Exit::of_verb(ExitCause::Unfinished),
        StageError::NoRecords(_) => Exit::of_verb(ExitCause::NoDatabase),
        StageError::Device(_)
        | StageError::Unreadable(_)
        | StageError::NoMarker(_)
        | StageError::OfAnother(_)
        | StageError::NotAlone(_) => Exit::of_verb(ExitCause::NoRights).as_refusal(),
        StageError::OtherRoot { .. }
        | StageError::ListedElsewhere(_)
        | StageError::OtherHere { .. }
        | StageError::Reserved(_)
        | StageError::Nested { .. } => Exit::of_verb(ExitCause::NotApplicable),
        StageError::NotEmpty(_) => Exit::of_verb(ExitCause::Exists),
        StageError::TooMany { .. } => Exit::of_verb(ExitCause::Restricted),
        StageError::Changing(_) => Exit::of_verb(ExitCause::Edited),
        StageError::Damaged { .. }
        | StageError::Base { .. }
        | StageError::OtherBase(_)
        | StageError::OtherPromotion { .. } => Exit::of_verb(ExitCause::DamagedInput),
        StageError::Busy(_) => Exit::LOCKED,
        StageError::Interrupted(signal) => Exit::by_signal(*signal),
        StageError::Scope(_) | StageError::Path(_) | StageError::Name(_) | StageError::Ambiguous(_) => {
            Exit::of_verb(ExitCause::Usage)
        }
    }
}
