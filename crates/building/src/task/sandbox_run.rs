//! A command in the sandbox of a task is run to its end.

use std::fs::File;
use std::io;
use std::path::Path;

use patchadm_core::namespaces::{Enclosure, EnclosureEnd};

use super::place::TaskPlace;
use super::step::TaskError;
use crate::sandbox::{SandboxEnd, SandboxLimits, SandboxWatch, StopCause, TaskLog, lost, run_watched};
use crate::space::is_full;

/// Runs a command and waits until nothing of it is left. It is an error of the machine that the command was lost, or that the
/// task was asked to end.
pub(crate) fn run_to_end(
    place: &TaskPlace,
    enclosure: &Enclosure,
    (limits, input): (&SandboxLimits, &File),
    log: &mut TaskLog,
    watch: &mut SandboxWatch<'_>,
) -> Result<SandboxEnd, TaskError> {
    let ended = run_watched(enclosure, limits, input, log, watch);
    place.wait_until_empty()?;
    let ended = ended?;
    if ended.stopped == Some(StopCause::Asked) {
        return Err(io::Error::other("the task is to end").into());
    }
    match ended.end {
        Some(EnclosureEnd::Lost(signal)) => Err(lost(signal).into()),
        _ => Ok(ended),
    }
}

/// Makes it the failure of the machine that a command has failed, where it found no space.
pub(super) fn fail_if_full(build_dir: &Path) -> Result<(), TaskError> {
    if is_full(build_dir) {
        return Err(TaskError::FullBuildDir(build_dir.to_owned()));
    }
    Ok(())
}
