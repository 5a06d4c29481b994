//! The ends of `patchadm publish` if the index stays as it is: codes, causes, and the next step.

use patchadm_cli::reply::cause_of::{of_io, of_root};
use patchadm_cli::reply::failure::source_code;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_core::operation::depots::FlagsFileError;
use patchadm_core::operation::publish::PublishError;
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::LockError;

/// The code where a patch or an index does not fit the depot.
const NO_FIT: u8 = 10;

/// The code where what was named is damaged.
const DAMAGED: u8 = 33;

/// Returns the end where nothing was published.
pub fn refused(error: &PublishError) -> anyhow::Error {
    let (exit, next) = end_of(error);
    Stop::Refused { exit, message: format!("nothing was published\n{error}.\n{next}") }.into()
}

fn end_of(error: &PublishError) -> (Exit, &'static str) {
    match error {
        PublishError::Lock(LockError::Held { .. }) => {
            (Exit::LOCKED, "Try again when the other command is done.")
        }
        PublishError::Lock(LockError::Root(error)) | PublishError::Depot(error) => {
            (Exit::failed(of_root(error)), "Look at the depot.")
        }
        PublishError::Directory { error, .. } | PublishError::Read { error, .. } => {
            (Exit::failed(of_io(error)), "Look at the file or directory that is named.")
        }
        PublishError::Flags(FlagsFileError::Words { .. }) => {
            (Exit::failed(ExitCause::Usage), "Mend that line.")
        }
        PublishError::Flags(FlagsFileError::Read { error, .. }) => {
            (Exit::failed(of_io(error)), "Look at the file that is named.")
        }
        PublishError::Source(error) => (
            source_code(Command::Patchadd, error),
            "Take the file away, or put a patch that is whole in its place.",
        ),
        PublishError::Patch { .. } => (
            Exit::new(DAMAGED, ExitCause::DamagedInput),
            "Take the file away, or make a patch of one file of it.",
        ),
        PublishError::Index { .. } | PublishError::DamagedObject(_) => {
            (Exit::new(DAMAGED, ExitCause::DamagedInput), "Put it back from a mirror or a backup.")
        }
        PublishError::Signature { .. } => (
            Exit::SIGNATURE,
            "Find out who signed what; patchadm-depot(5) says how a depot gets another key.",
        ),
        PublishError::Changed(_) => {
            (Exit::new(NO_FIT, ExitCause::Edited), "Publish again when nobody writes to it.")
        }
        PublishError::OtherBytes(_) | PublishError::Twice { .. } => (
            Exit::new(NO_FIT, ExitCause::NotApplicable),
            "Give the later one another revision, or take it away.",
        ),
        PublishError::Finish(_) => (
            Exit::new(NO_FIT, ExitCause::NotApplicable),
            "Publish again, and sign the index that is made then.",
        ),
        PublishError::TooLarge(_) | PublishError::NoVersion => {
            (Exit::new(NO_FIT, ExitCause::NotApplicable), "Begin a new depot.")
        }
        PublishError::NoIndex(_) => (Exit::failed(ExitCause::NotFound), "Publish patches first."),
        PublishError::Interrupted(signal) => (Exit::by_signal(*signal), "Run it again."),
        _ => (Exit::failed(ExitCause::Internal), "Look at the depot."),
    }
}
