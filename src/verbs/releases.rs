//! Releases that an option names, and the ends where one cannot be read.

use std::ffi::OsStr;

use crate::reply::failure::source_code;
use crate::reply::{Exit, ExitCause, Stop};
use patchadm_core::plan::refusal::Command;
use patchadm_core::release::{Release, ReleaseError, ReleaseProblem, open};
use patchadm_core::source::SourceError;

/// Reads a release, or ends with the code of a patch that cannot be read for the same reason; `lost` says what did not
/// happen.
pub(super) fn read_release(operand: &OsStr, cores: usize, lost: &str) -> Result<Release, Stop> {
    open(operand, cores).map_err(|error| {
        let ReleaseError { path, problem } = error;
        let text = format!("{}: {problem}", path.display());
        let exit = match problem {
            ReleaseProblem::Svr4(problem) => source_code(Command::Patchadd, &SourceError { path, problem }),
            ReleaseProblem::NotFound => Exit::failed(ExitCause::NotFound),
            ReleaseProblem::NotDecompressed(_) => Exit::new(39, ExitCause::DamagedInput),
            _ => Exit::new(33, ExitCause::DamagedInput),
        };
        let next = "Name a release that is whole: a tree, package, archive, or a directory of them.";
        Stop::Refused { exit, message: format!("{lost}\n{text}.\n{next}") }
    })
}
