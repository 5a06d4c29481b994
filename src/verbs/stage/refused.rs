//! The exit codes of what stages refuse, and what to do then.

use crate::reply::cause_of::of_root;
use crate::reply::{Exit, ExitCause, Stop};
use patchadm_core::operation::stages::StageFault;

/// The code where a directory is no stage.
const NO_STAGE: u8 = 7;

/// The code where a guard refuses.
const REFUSED: u8 = 10;

/// The code where a file of a stage is damaged.
const DAMAGED: u8 = 33;

/// The end by an operand that means no stage that can be used; `what_holds` says that nothing happened.
pub(super) fn stage_refused(what_holds: &str, fault: &StageFault) -> anyhow::Error {
    let (exit, advice) = match fault {
        StageFault::Unknown(_) | StageFault::NoStage(_) => (
            Exit::new(NO_STAGE, ExitCause::NotFound),
            "`patchadm stage list` shows the stages of the root.".to_owned(),
        ),
        StageFault::Ambiguous { .. } => {
            (Exit::failed(ExitCause::Usage), "Name the directory of the one that is meant.".to_owned())
        }
        StageFault::Unfinished(stage) => (
            Exit::new(NO_STAGE, ExitCause::Unfinished),
            format!("`patchadm stage drop {stage}` removes what there is of it."),
        ),
        StageFault::Damaged { .. } => (
            Exit::new(DAMAGED, ExitCause::DamagedInput),
            "`patchadm stage drop --force` removes a stage that is damaged.".to_owned(),
        ),
        StageFault::OtherRoot { its_root, .. } => {
            (Exit::new(REFUSED, ExitCause::NotApplicable), format!("Name its root: -R {its_root}"))
        }
        StageFault::List { .. } => (
            Exit::new(DAMAGED, ExitCause::DamagedRecord),
            "Name the directory of the stage instead.".to_owned(),
        ),
        StageFault::Root(error) => (Exit::failed(of_root(error)), String::new()),
        _ => (Exit::failed(ExitCause::Usage), String::new()),
    };
    let mut message = format!("{what_holds}\n{fault}");
    if !advice.is_empty() {
        message.push('\n');
        message.push_str(&advice);
    }
    Stop::Refused { exit, message }.into()
}
