//! Commands in the sandbox of a task.

use std::fs::File;
use std::io;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use patchadm_core::namespaces::{ChosenWork, EnclosedWork, Enclosure, EnclosureEnd, OWN_COMMAND};
use rustix::fs::MemfdFlags;

use super::TaskError;
use super::place::TaskPlace;
use crate::sandbox::{
    BuildRoot, SandboxCommand, SandboxEnd, SandboxError, SandboxLimits, SandboxWatch, StopCause, TaskLog,
    enclosure, installer_path, no_input, run_watched, space_of,
};
use crate::space::{can_hold, is_full_or_over_quota, must_have_room};

/// Gets peak memory and log size in bytes; returns true to end the command.
pub(crate) type Ticks<'t> = &'t mut dyn FnMut(u64, u64) -> bool;

/// Runs a command and reaps all its processes. An ending task is the machine's error.
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
    match ended.stopped {
        Some(StopCause::Asked) => return Err(io::Error::other("the task is stopping").into()),
        // No other task has to give way until its directory is removed.
        Some(StopCause::Space) => return Err(TaskError::GaveWay(place.build_dir())),
        Some(StopCause::MachineMemory) => return Err(TaskError::GaveMemory),
        _ => place.tell_growth(0),
    }
    match ended.end {
        Some(EnclosureEnd::Lost(signal)) => Err(TaskError::Lost(signal)),
        _ => Ok(ended),
    }
}

/// Runs a command in a prepared sandbox. `written` counts as its disk space.
pub(crate) fn run_in_sandbox(
    place: &TaskPlace,
    (root, command): (&BuildRoot, SandboxCommand),
    (limits, written): (&SandboxLimits, &[PathBuf]),
    log: &mut TaskLog,
    ticks: Ticks<'_>,
) -> Result<SandboxEnd, TaskError> {
    let enclosure = enclosure(root, command, limits, Some(place.inside()))?;
    run_quietly(place, &enclosure, &no_input()?, (limits, written), log, ticks)
}

/// Runs the `patchadm` beside this program. Its process enters the sandbox first, so it loads nothing from the tree.
pub(crate) fn run_installer(
    place: &TaskPlace,
    (root, command): (&BuildRoot, SandboxCommand),
    words: &[&str],
    (limits, written): (&SandboxLimits, &[PathBuf]),
    log: &mut TaskLog,
    ticks: Ticks<'_>,
) -> Result<SandboxEnd, TaskError> {
    // Strings: serializing them cannot fail.
    let order = memory_file(&serde_json::to_string(words).unwrap_or_default())?;
    let work = ChosenWork { name: OWN_COMMAND.to_owned(), program: Some(installer_path()?.into()) };
    run_work_of(work, place, (root, command), &order, (limits, written), log, ticks)
}

/// Runs a function of this program as a sandbox's first process, with an order from the file.
pub(crate) fn run_work_in_sandbox(
    place: &TaskPlace,
    (root, command): (&BuildRoot, SandboxCommand),
    (work, order): (&str, &File),
    (limits, written): (&SandboxLimits, &[PathBuf]),
    log: &mut TaskLog,
    ticks: Ticks<'_>,
) -> Result<SandboxEnd, TaskError> {
    let work = ChosenWork { name: work.to_owned(), program: None };
    run_work_of(work, place, (root, command), order, (limits, written), log, ticks)
}

fn run_work_of(
    work: ChosenWork,
    place: &TaskPlace,
    (root, command): (&BuildRoot, SandboxCommand),
    order: &File,
    (limits, written): (&SandboxLimits, &[PathBuf]),
    log: &mut TaskLog,
    ticks: Ticks<'_>,
) -> Result<SandboxEnd, TaskError> {
    // The kernel would end the process that holds the sandbox together; its children are watched.
    let of_kernel = SandboxLimits { cpu: None, ..limits.clone() };
    let mut enclosure = enclosure(root, command, &of_kernel, Some(place.inside()))?;
    enclosure.command.own_work = Some(work);
    run_quietly(place, &enclosure, order, (limits, written), log, ticks)
}

/// Runs an enclosure in its task's control group, without reporting phases.
fn run_quietly(
    place: &TaskPlace,
    enclosure: &Enclosure,
    input: &File,
    (limits, written): (&SandboxLimits, &[PathBuf]),
    log: &mut TaskLog,
    ticks: Ticks<'_>,
) -> Result<SandboxEnd, TaskError> {
    let mut group = place.control_group(limits.of_group());
    let gives_way = |growth| place.gives_way(growth);
    let mut watch = SandboxWatch {
        group: &mut group,
        written,
        errors: None,
        phase: &mut |_| {},
        ticks,
        gives_way: Some(&gives_way),
    };
    run_to_end(place, enclosure, (limits, input), log, &mut watch)
}

const LOOK: Duration = Duration::from_millis(200);

/// Runs a function of this program as an enclosure's first process, and reaps all processes. Limits apply to the
/// process, time, and space of these directories.
pub(super) fn run_work(
    place: &TaskPlace,
    enclosure: Enclosure,
    (limits, order): (&SandboxLimits, File),
    (written, log): (&[PathBuf], &mut TaskLog),
    ticks: Ticks<'_>,
) -> Result<SandboxEnd, TaskError> {
    if !rustix::process::geteuid().is_root() {
        // A process with threads enters no user namespace, so another process comes between.
        let mut group = place.control_group(limits.of_group());
        let gives_way = |growth| place.gives_way(growth);
        let mut watch = SandboxWatch {
            group: &mut group,
            written,
            errors: None,
            phase: &mut |_| {},
            ticks,
            gives_way: Some(&gives_way),
        };
        return run_to_end(place, &enclosure, (limits, &order), log, &mut watch);
    }
    let began = Instant::now();
    let before = space_of(written).bytes;
    let over_disk = || {
        let used = space_of(written).bytes.saturating_sub(before);
        limits.disk.is_some_and(|limit| used > limit).then_some(StopCause::Disk(used))
    };
    let work = EnclosedWork::start(enclosure, order.into()).map_err(SandboxError::from)?;
    let mut stopped = None;
    while stopped.is_none() && !work.has_ended_within(LOOK) {
        let took = began.elapsed();
        stopped = if limits.time.is_some_and(|limit| took > limit) {
            Some(StopCause::Time(took))
        } else if ticks(0, log.written()) {
            Some(StopCause::Asked)
        } else {
            over_disk()
        };
    }
    if stopped.is_some() {
        work.kill();
    }
    let ended = work.wait();
    place.wait_until_empty()?;
    let stopped = stopped.or_else(over_disk);
    let end = match stopped {
        Some(StopCause::Asked) => return Err(io::Error::other("the task is stopping").into()),
        Some(_) => None,
        None => match ended.map_err(SandboxError::from)? {
            EnclosureEnd::Lost(signal) => return Err(TaskError::Lost(signal)),
            end => Some(end),
        },
    };
    Ok(SandboxEnd { end, stopped, took: began.elapsed(), peak_memory: 0, processor_ms: 0 })
}

/// Returns a text as memory file for standard input. A disk file's name would reveal the sandbox's place.
pub(crate) fn memory_file(text: &str) -> Result<File, TaskError> {
    let mut file =
        File::from(rustix::fs::memfd_create("record", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Blames the machine for a failed command if there is no space left.
pub(crate) fn fail_if_full(build_dir: &Path) -> Result<(), TaskError> {
    if is_full_or_over_quota(build_dir) {
        return Err(TaskError::FullBuildDir(build_dir.to_owned()));
    }
    Ok(())
}

/// Turns the failure of a command into a failure of the machine if there is no space for all that it may write. A command
/// that found none has removed its files, so the file system need not be full any more.
pub(crate) fn fail_without_room(place: &TaskPlace, bytes: u64) -> Result<(), TaskError> {
    fail_if_full(&place.path)?;
    must_have_room(&place.dir, bytes).map_err(|error| TaskError::NoRoom(error.to_string()))?;
    if !can_hold(&place.dir, bytes) {
        let reason = format!("{} cannot hold {bytes} bytes, such as for a quota", place.path.display());
        return Err(TaskError::NoRoom(reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_where_there_is_no_room_for_what_it_writes_has_found_a_failure_of_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let place = TaskPlace::make(dir.path(), "id").unwrap();
        fail_without_room(&place, 1 << 10).unwrap();
        let failed = fail_without_room(&place, u64::MAX / 2).unwrap_err();
        assert!(failed.lacks_room(), "{failed:?}");
        assert!(failed.to_string().contains(" bytes free, but "), "{failed}");
    }
}
