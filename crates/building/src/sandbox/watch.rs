//! A command in a sandbox, watched until its end: its output goes to the log, and it is ended where it goes over a limit.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::log::TaskLog;
use super::processes::usage_below;
use super::usage::space_of;
use crate::control_groups::{GroupController, GroupOverrun, TaskGroup};
use patchadm_core::namespaces::{Enclosure, EnclosureEnd, EnclosureError, EnclosureProcess};

/// How often processes and memory are looked at.
const LOOK_AT_PROCESSES: Duration = Duration::from_millis(200);

/// How often disk space is looked at, unless a look takes so long that it would be more than a fiftieth of the time.
const LOOK_AT_DISK: Duration = Duration::from_secs(5);
const PART_OF_TIME: u32 = 50;

/// The limits of a command and of everything that it starts; `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxLimits {
    /// The time until its end.
    pub time: Option<Duration>,
    /// The time without a byte of output.
    pub silence: Option<Duration>,
    /// The processor time of one process.
    pub cpu: Option<Duration>,
    /// The bytes of memory of all processes.
    pub memory: Option<u64>,
    /// The number of processes.
    pub processes: Option<u64>,
    /// The bytes on the disk.
    pub disk: Option<u64>,
}

/// The limit that a command went over, with what was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// It took this long.
    Time(Duration),
    /// It printed nothing for this long.
    Silence(Duration),
    /// Its processes had this much memory, in bytes.
    Memory(u64, UsageMeasure),
    /// It had this many processes.
    Processes(u64, UsageMeasure),
    /// One of its processes had this much processor time.
    Processor(Duration),
    /// It occupied this many bytes on the disk.
    Disk(u64),
    /// It printed more than the log takes: this many bytes.
    Output(u64),
    /// Whoever runs the task asks it to end.
    Asked,
}

/// By what it was found that a command has gone over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageMeasure {
    /// Its control group, which did not let it have more.
    ControlGroup,
    /// Looks at its processes.
    Looks,
}

/// Watches a command: what it has written, and whom to tell.
pub struct SandboxWatch<'a> {
    /// The control groups that hold its limits.
    pub(crate) group: &'a mut TaskGroup,
    /// The directories that count as its disk space.
    pub written: &'a [PathBuf],
    /// Receives each phase that begins.
    pub phase: &'a mut dyn FnMut(String),
    /// Is called at least five times a second with the peak of memory and the bytes of the log; returns whether the command
    /// is to end.
    pub ticks: &'a mut dyn FnMut(u64, u64) -> bool,
}

/// The end of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxEnd {
    /// How it ended; `None` if it was ended because of `stopped`.
    pub end: Option<EnclosureEnd>,
    /// Why it was ended.
    pub stopped: Option<StopCause>,
    /// The time that it took.
    pub took: Duration,
    /// The most memory that its processes had, in bytes, as far as it was seen.
    pub peak_memory: u64,
    /// The processor time of all its processes, in milliseconds; 0 if it was ended.
    pub processor_ms: u64,
}

/// The reasons why a command was not run, or not watched.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The sandbox could not be made.
    #[error(transparent)]
    Enclosure(#[from] EnclosureError),
    /// A process or pipe could not be made.
    #[error("cannot start a sandbox: {0}")]
    Start(#[from] io::Error),
    /// The log could not be written.
    #[error(transparent)]
    Log(#[from] patchadm_rootfs::RootError),
}

/// Runs the command of an enclosure, with `input` as its standard input, until it ends or goes over a limit. When this returns,
/// no process of it is left.
pub fn run_watched(
    enclosure: &Enclosure,
    limits: &SandboxLimits,
    input: &File,
    log: &mut TaskLog,
    watch: &mut SandboxWatch<'_>,
) -> Result<SandboxEnd, SandboxError> {
    let (output, theirs) = io::pipe()?;
    // What is there before it begins is not its own.
    let before = limits.disk.map_or(0, |_| space_of(watch.written));
    let process =
        EnclosureProcess::start_prepared(enclosure, input.as_fd(), OwnedFd::from(theirs), |process| {
            watch.group.take(process);
        })?;
    let output = File::from(OwnedFd::from(output));
    rustix::fs::fcntl_setfl(&output, OFlags::NONBLOCK).map_err(io::Error::from)?;
    let mut watcher = Watcher::of(limits, process, output, before);
    let followed = watcher.follow(log, watch);
    let mut ended = watcher.end(followed, watch.group)?;
    // A process that may not make its file longer ends before anybody looks at the disk.
    if matches!(ended.end, Some(EnclosureEnd::Exited(1..) | EnclosureEnd::Signalled(_)))
        && let Some(limit) = limits.disk
    {
        let used = space_of(watch.written).saturating_sub(before);
        if used >= limit {
            (ended.end, ended.stopped) = (None, Some(StopCause::Disk(used)));
        }
    }
    Ok(ended)
}

struct Watcher<'a> {
    limits: &'a SandboxLimits,
    process: EnclosureProcess,
    output: File,
    is_output_open: bool,
    began: Instant,
    last_output: Instant,
    next_disk: Instant,
    peak_memory: u64,
    /// The disk space that was occupied before.
    space_before: u64,
}

impl<'a> Watcher<'a> {
    fn of(limits: &'a SandboxLimits, process: EnclosureProcess, output: File, space_before: u64) -> Self {
        let began = Instant::now();
        let next_disk = began + LOOK_AT_DISK;
        let (last_output, is_output_open, peak_memory) = (began, true, 0);
        Self {
            limits,
            process,
            output,
            is_output_open,
            began,
            last_output,
            next_disk,
            peak_memory,
            space_before,
        }
    }

    /// Follows the command until it has ended, or is to be ended.
    fn follow(
        &mut self,
        log: &mut TaskLog,
        watch: &mut SandboxWatch<'_>,
    ) -> Result<Option<StopCause>, SandboxError> {
        let mut next_look = self.began + LOOK_AT_PROCESSES;
        loop {
            let has_ended = self.wait(next_look.saturating_duration_since(Instant::now()))?;
            self.take_output(log, watch)?;
            if log.is_full() {
                return Ok(Some(StopCause::Output(log.written())));
            }
            if has_ended {
                return Ok(None);
            }
            if Instant::now() < next_look {
                continue;
            }
            next_look = Instant::now() + LOOK_AT_PROCESSES;
            if let Some(cause) = self.look(watch) {
                return Ok(Some(cause));
            }
            if (watch.ticks)(self.peak_memory, log.written()) {
                return Ok(Some(StopCause::Asked));
            }
        }
    }

    /// Waits for output or the end; tells whether the command has ended.
    fn wait(&self, at_most: Duration) -> Result<bool, SandboxError> {
        let at_most = Timespec::try_from(at_most).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        let mut fds = vec![PollFd::from_borrowed_fd(self.process.fd(), PollFlags::IN)];
        if self.is_output_open {
            fds.push(PollFd::from_borrowed_fd(self.output.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, Some(&at_most)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        Ok(fds.first().is_some_and(|process| !process.revents().is_empty()))
    }

    /// Moves what was printed to the log. A command that prints without end is interrupted by the limit of the log.
    fn take_output(&mut self, log: &mut TaskLog, watch: &mut SandboxWatch<'_>) -> Result<(), SandboxError> {
        let mut bytes = [0; 1 << 13];
        while self.is_output_open && !log.is_full() {
            match self.output.read(&mut bytes) {
                Ok(0) => self.is_output_open = false,
                Ok(read) => {
                    self.last_output = Instant::now();
                    log.add(bytes.get(..read).unwrap_or_default(), &mut *watch.phase)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Compares what is used with the limits.
    fn look(&mut self, watch: &SandboxWatch<'_>) -> Option<StopCause> {
        let (took, silent) = (self.began.elapsed(), self.last_output.elapsed());
        if self.limits.time.is_some_and(|limit| took > limit) {
            return Some(StopCause::Time(took));
        }
        if self.limits.silence.is_some_and(|limit| silent > limit) {
            return Some(StopCause::Silence(silent));
        }
        // The process that makes the enclosure and the first one inside are ours.
        let usage = usage_below(self.process.id());
        let processes = usage.count.saturating_sub(1);
        self.peak_memory = self.peak_memory.max(usage.memory);
        if let Some(cause) = group_cause(watch.group) {
            return Some(cause);
        }
        let over = |limit: Option<u64>, used, controller| {
            limit.is_some_and(|limit| used > limit) && !watch.group.holds(controller)
        };
        if over(self.limits.memory, usage.memory, GroupController::Memory) {
            return Some(StopCause::Memory(usage.memory, UsageMeasure::Looks));
        }
        if self.limits.cpu.is_some_and(|limit| usage.longest >= limit) {
            return Some(StopCause::Processor(usage.longest));
        }
        if over(self.limits.processes, processes, GroupController::Processes) {
            return Some(StopCause::Processes(processes, UsageMeasure::Looks));
        }
        self.look_at_disk(watch)
    }

    fn look_at_disk(&mut self, watch: &SandboxWatch<'_>) -> Option<StopCause> {
        let limit = self.limits.disk?;
        let began = Instant::now();
        if began < self.next_disk {
            return None;
        }
        let used = space_of(watch.written).saturating_sub(self.space_before);
        self.next_disk = Instant::now() + LOOK_AT_DISK.max(began.elapsed() * PART_OF_TIME);
        (used > limit).then_some(StopCause::Disk(used))
    }

    /// Ends the command if it still runs, and waits until nothing of it is left. One that ended by itself may have done so
    /// because its group did not let it have more.
    fn end(
        mut self,
        followed: Result<Option<StopCause>, SandboxError>,
        group: &TaskGroup,
    ) -> Result<SandboxEnd, SandboxError> {
        let is_over = matches!(followed, Ok(None));
        if !is_over {
            self.process.kill();
        }
        let took = self.began.elapsed();
        let (peak_memory, ended) = (self.peak_memory, self.process.wait());
        let stopped = followed?.or_else(|| group_cause(group));
        let (end, processor_ms) = match ended {
            _ if stopped.is_some() => (None, 0),
            ended => ended.map(|(end, processor_ms)| (Some(end), processor_ms))?,
        };
        Ok(SandboxEnd { end, stopped, took, peak_memory, processor_ms })
    }
}

/// Returns the limit of its groups that a command ran into.
fn group_cause(group: &TaskGroup) -> Option<StopCause> {
    group.overrun().map(|overrun| match overrun {
        GroupOverrun::Memory(bytes) => StopCause::Memory(bytes, UsageMeasure::ControlGroup),
        // It wanted one more at least.
        GroupOverrun::Processes(most) => {
            StopCause::Processes(most.saturating_add(1), UsageMeasure::ControlGroup)
        }
    })
}

/// Returns the failure of the machine where a signal from outside has ended the first process of a sandbox.
pub(crate) fn lost(signal: i32) -> io::Error {
    io::Error::other(format!("the first process of the sandbox was ended by signal {signal}"))
}

/// Opens an empty standard input.
pub fn no_input() -> io::Result<File> {
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(File::from(null))
}
