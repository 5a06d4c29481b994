//! Exit codes of a command in an enclosure: those of env(1), and one of our own.

use super::{Exit, ExitCause};
use patchadm_core::namespaces::{EnclosureEnd, EnclosureError};

/// env(1): own failure, command cannot be run, command not found.
const OWN_FAILURE: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_THERE: u8 = 127;

pub fn exit_of_command(end: EnclosureEnd) -> Exit {
    match end {
        EnclosureEnd::Exited(0) => Exit::OK,
        EnclosureEnd::Exited(code) => {
            Exit::passed_on(u8::try_from(code).unwrap_or(u8::MAX), ExitCause::Command)
        }
        EnclosureEnd::Signalled(signal) | EnclosureEnd::Lost(signal) => Exit::by_signal(signal),
    }
}

pub fn exit_of_enclosure(error: &EnclosureError) -> Exit {
    match error {
        EnclosureError::NotAllowed(_) => Exit::of_verb(ExitCause::NoRights),
        EnclosureError::Failed(_) | EnclosureError::NoOverlay(_) | EnclosureError::OverlayRefused(_) => {
            Exit::passed_on(OWN_FAILURE, ExitCause::Internal)
        }
        EnclosureError::NotFound(_) => Exit::passed_on(NOT_THERE, ExitCause::NotFound),
        EnclosureError::NotExecutable { .. } => Exit::passed_on(NOT_EXECUTABLE, ExitCause::NoRights),
    }
}
