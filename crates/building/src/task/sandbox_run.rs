//! A command in the sandbox of a task is run to its end.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use patchadm_core::namespaces::{Enclosure, EnclosureEnd};
use rustix::fs::MemfdFlags;

use super::place::TaskPlace;
use super::step::TaskError;
use crate::control_groups::TaskGroup;
use crate::sandbox::{
    BuildRoot, SandboxCommand, SandboxEnd, SandboxLimits, SandboxWatch, StopCause, TaskLog, enclosure, lost,
    no_input, run_watched,
};
use crate::space::is_full;

/// Is called while a command runs, with the peak of memory and the bytes of the log; returns whether it is to end.
pub(crate) type Ticks<'t> = &'t mut dyn FnMut(u64, u64) -> bool;

/// Runs a command and waits until nothing of it is left. It is an error of the machine that the command was lost, or that the
/// task was asked to end.
pub(super) fn run_to_end(
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

/// Runs a command that no control group limits, in a sandbox that is laid out, to its end. Its limits are those of time, of
/// what it prints, and of what these directories occupy.
pub(crate) fn run_in_sandbox(
    place: &TaskPlace,
    (root, command): (&BuildRoot, SandboxCommand),
    (limits, written): (&SandboxLimits, &[PathBuf]),
    log: &mut TaskLog,
    ticks: Ticks<'_>,
) -> Result<SandboxEnd, TaskError> {
    let enclosure = enclosure(root, command, limits, Some(place.inside()))?;
    let mut watch = SandboxWatch { group: &mut TaskGroup::default(), written, phase: &mut |_| {}, ticks };
    run_to_end(place, &enclosure, (limits, &no_input()?), log, &mut watch)
}

/// Returns a file with a text, from which a command reads it as its standard input. It is in memory: a file of the disk would
/// tell by its name where the sandbox lies.
pub(super) fn memory_file(text: &str) -> Result<File, TaskError> {
    let mut file =
        File::from(rustix::fs::memfd_create("record", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Makes it the failure of the machine that a command has failed, where it found no space.
pub(super) fn fail_if_full(build_dir: &Path) -> Result<(), TaskError> {
    if is_full(build_dir) {
        return Err(TaskError::FullBuildDir(build_dir.to_owned()));
    }
    Ok(())
}
