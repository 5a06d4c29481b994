//! Supervises a command in a sandbox: logs its output up to a limit, and ends the command above one.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use patchadm_bulk_values::conf::{LimitName, Limits};
use patchadm_core::namespaces::{Enclosure, EnclosureEnd, EnclosureError, EnclosureProcess};
use patchadm_rootfs::{Dir, RootError, WritableFile};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::kernel_objects::{ObjectLooks, ObjectOverrun};
use super::usage::{IpcLists, OpenFiles, ProcessUsage, Uncountable, UsedSpace, space_up_to, usage_below};
use crate::control_groups::{GroupController, GroupLimits, GroupOverrun, TaskGroup};
use crate::space::{FreeMemory, RoomWatch, WritableSpace};

const LOOK_AT_PROCESSES: Duration = Duration::from_millis(200);

/// Interval of disk checks. Grows to the second value if a check takes more than a fiftieth of the time. Lost free
/// space that the command may have caused triggers a check at once.
const LOOK_AT_DISK: Duration = Duration::from_secs(2);
const LONGEST_WITHOUT_LOOK: Duration = Duration::from_secs(5);
const PART_OF_TIME: u32 = 50;

/// The same for checks of memory files.
const LOOK_AT_MEMORY: Duration = Duration::from_secs(1);

/// How long open files may stay in sockets, and the fewest checks that must find some.
const LONGEST_IN_SOCKETS: Duration = Duration::from_secs(5);
const FEWEST_LOOKS: u32 = 3;

/// For the open and mapped files of a sandbox. It takes longer only if the command makes it so.
const LONGEST_LOOK_AT_FILES: Duration = Duration::from_secs(10);

/// Bytes of separate standard error to keep, and bytes to read at a time: endless output must not delay the limits.
const MOST_ERRORS: usize = 64 << 10;
const MOST_AT_ONCE: usize = 1 << 20;

/// Limits of a command and everything that it starts; `None` for no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxLimits {
    pub time: Option<Duration>,
    /// Time without output.
    pub silence: Option<Duration>,
    /// Processor time of one process.
    pub cpu: Option<Duration>,
    /// Bytes of all processes.
    pub memory: Option<u64>,
    pub processes: Option<u64>,
    pub disk: Option<u64>,
}

impl SandboxLimits {
    pub(crate) fn of_group(&self) -> GroupLimits {
        GroupLimits { memory: self.memory, processes: self.processes }
    }

    /// Limits of a package, for every command of its recipe or scripts.
    pub fn of(limits: &Limits) -> Self {
        let time = |name| limits.get(name).map(Duration::from_secs);
        Self {
            time: time(LimitName::Time),
            silence: time(LimitName::Silence),
            cpu: time(LimitName::Cpu),
            memory: limits.get(LimitName::Memory),
            processes: limits.get(LimitName::Processes),
            disk: limits.get(LimitName::Disk),
        }
    }

    /// Replaces the time limit and drops the one on silence: our own commands may print nothing for long.
    pub(crate) fn within(self, time: Option<Duration>) -> Self {
        Self { time, silence: None, ..self }
    }

    /// Adds room for files that the command does not choose itself.
    pub(crate) fn with_room(self, bytes: u64) -> Self {
        Self { disk: self.disk.map(|disk| disk.saturating_add(bytes)), ..self }
    }
}

/// The exceeded limit, with the amount used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopCause {
    Time(Duration),
    /// Without output.
    Silence(Duration),
    /// Bytes.
    Memory(u64, UsageMeasure),
    Processes(u64, UsageMeasure),
    /// Of one process.
    Processor(Duration),
    /// Bytes.
    Disk(u64),
    /// The command made this directory unreadable, which hides its disk usage.
    Closed(String),
    /// The command keeps open files in a socket, where they cannot be counted.
    InSocket,
    /// The command has open and mapped files in such numbers, or with such paths, that nobody can count them.
    Uncountable,
    Objects(ObjectOverrun),
    /// Bytes of output, more than the log takes.
    Output(u64),
    Asked,
    /// Free space fell below the reserve, and the command had grown most.
    Space,
    /// Free memory of the machine fell below the reserve, and the command had most.
    MachineMemory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageMeasure {
    /// Its control group rejected a further request.
    ControlGroup,
    /// Looks at its processes.
    Looks,
}

pub struct SandboxWatch<'a> {
    pub(crate) group: &'a mut TaskGroup,
    pub written: &'a [PathBuf],
    /// Gets the last bytes of standard error, which otherwise goes to the log.
    pub errors: Option<&'a mut Vec<u8>>,
    pub phase: &'a mut dyn FnMut(String),
    /// Called at least five times a second with peak memory and bytes of the log. Returns true to end the command.
    pub ticks: &'a mut dyn FnMut(u64, u64) -> bool,
    /// Called while free space or memory is scarce. Returns true if the command has to give way.
    pub(crate) gives_way: Option<&'a dyn Fn(TaskGrowth) -> bool>,
}

/// Growth of a command while free space is scarce, or its memory while that of the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskGrowth {
    /// Written in the last seconds. The largest number if open files are in sockets, where nobody can count them.
    pub(crate) bytes: u64,
    /// True if free space is below the reserve and was scarce before, so that every task has recorded its growth.
    pub(crate) is_decisive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxEnd {
    /// `None` if ended because of `stopped`.
    pub end: Option<EnclosureEnd>,
    pub stopped: Option<StopCause>,
    pub took: Duration,
    /// Peak of its processes as far as observed, in bytes.
    pub peak_memory: u64,
    /// Of all its processes; 0 if it was ended.
    pub processor_ms: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error(transparent)]
    Enclosure(#[from] EnclosureError),
    #[error("cannot start a sandbox: {0}")]
    Start(#[from] io::Error),
    #[error(transparent)]
    Log(#[from] RootError),
}

/// Runs an enclosed command with this standard input until it ends or exceeds a limit. No process is left afterwards.
pub fn run_watched(
    enclosure: &Enclosure,
    limits: &SandboxLimits,
    input: &File,
    log: &mut TaskLog,
    watch: &mut SandboxWatch<'_>,
) -> Result<SandboxEnd, SandboxError> {
    let (output, theirs) = io::pipe()?;
    let (errors, their_errors) = match watch.errors {
        Some(_) => io::pipe().map(|(errors, theirs)| (Some(errors), OwnedFd::from(theirs)))?,
        None => (None, OwnedFd::from(theirs.try_clone()?)),
    };
    // Existing files do not count.
    let free = WritableSpace::of_all(watch.written);
    let is_watched = limits.disk.is_some() || watch.gives_way.is_some();
    let before =
        if is_watched { space_unless_asked(watch, 0, log.written()) } else { Ok(UsedSpace::default()) };
    let before = match before {
        Ok(before) => before.bytes,
        Err(cause) => {
            let (stopped, took) = (Some(cause), Duration::ZERO);
            return Ok(SandboxEnd { end: None, stopped, took, peak_memory: 0, processor_ms: 0 });
        }
    };
    let theirs = (OwnedFd::from(theirs), their_errors);
    let process =
        EnclosureProcess::start(enclosure, input.as_fd(), theirs, |process| watch.group.take(process))?;
    for pipe in [Some(&output), errors.as_ref()].into_iter().flatten() {
        rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK).map_err(io::Error::from)?;
    }
    let disk = DiskLooks::begin(before, free);
    let mut watcher = SandboxWatcher::of(limits, process, (Some(output), errors), disk);
    let followed = watcher.follow(log, watch);
    let mut ended = watcher.end(followed, watch.group)?;
    // A quick command, or one that hits its file size limit, may end before the first disk check.
    if let Some(limit) = limits.disk
        && let Some(end) = ended.end
    {
        let stopped = match space_unless_asked(watch, ended.peak_memory, log.written()) {
            Err(cause) => Some(cause),
            Ok(UsedSpace { bytes, closed }) => {
                let used = bytes.saturating_sub(before);
                let is_over = used > limit || used == limit && end != EnclosureEnd::Exited(0);
                if is_over { Some(StopCause::Disk(used)) } else { closed.map(StopCause::Closed) }
            }
        };
        if stopped.is_some() {
            (ended.end, ended.stopped) = (None, stopped);
        }
    }
    Ok(ended)
}

/// Fails if the command has to end meanwhile.
fn space_unless_asked(
    watch: &mut SandboxWatch<'_>,
    peak_memory: u64,
    logged: u64,
) -> Result<UsedSpace, StopCause> {
    let ticks = &mut *watch.ticks;
    let mut ask = || ticks(peak_memory, logged).then_some(StopCause::Asked);
    let during = LookInterrupt::begin(&mut ask);
    let used = space_up_to(watch.written, u64::MAX, &|| during.is_asked());
    match during.cause() {
        None => Ok(used),
        Some(cause) => Err(cause),
    }
}

/// Asks during a look, five times a second, whether the command has to end: a look takes as long as the command likes.
struct LookInterrupt<'a> {
    next: Cell<Instant>,
    cause: RefCell<Option<StopCause>>,
    ask: RefCell<&'a mut dyn FnMut() -> Option<StopCause>>,
}

impl<'a> LookInterrupt<'a> {
    fn begin(ask: &'a mut dyn FnMut() -> Option<StopCause>) -> Self {
        let next = Instant::now() + LOOK_AT_PROCESSES;
        Self { next: Cell::new(next), cause: RefCell::new(None), ask: RefCell::new(ask) }
    }

    fn is_asked(&self) -> bool {
        if self.cause.borrow().is_none() && Instant::now() >= self.next.get() {
            let cause = (**self.ask.borrow_mut())();
            self.cause.replace(cause);
            self.next.set(Instant::now() + LOOK_AT_PROCESSES);
        }
        self.cause.borrow().is_some()
    }

    /// Also asks for the end of a look after this time.
    fn within(&self, time: Duration) -> impl Fn() -> bool {
        let until = Instant::now() + time;
        move || self.is_asked() || Instant::now() >= until
    }

    fn cause(&self) -> Option<StopCause> {
        self.cause.borrow().clone()
    }
}

/// The parts of a [`SandboxWatch`] that a look needs.
struct LookSubject<'a> {
    group: &'a TaskGroup,
    written: &'a [PathBuf],
    gives_way: Option<&'a dyn Fn(TaskGrowth) -> bool>,
}

struct SandboxWatcher<'a> {
    limits: &'a SandboxLimits,
    process: EnclosureProcess,
    output: Option<PipeReader>,
    errors: Option<PipeReader>,
    began: Instant,
    last_output: Instant,
    disk: DiskLooks,
    closed: ClosedLooks,
    /// The last look at open files.
    files: OpenFiles,
    sockets: SocketLooks,
    objects: ObjectLooks,
    machine: MachineLooks,
    next_memory: Instant,
    memory_files: u64,
    /// Bytes of semaphores and messages, and of what describes mappings.
    of_kernel: u64,
    ipc: IpcLists,
    peak_memory: u64,
}

impl<'a> SandboxWatcher<'a> {
    fn of(
        limits: &'a SandboxLimits,
        process: EnclosureProcess,
        (output, errors): (Option<PipeReader>, Option<PipeReader>),
        disk: DiskLooks,
    ) -> Self {
        let began = Instant::now();
        Self {
            limits,
            process,
            output,
            errors,
            began,
            last_output: began,
            disk,
            closed: ClosedLooks::default(),
            files: OpenFiles::default(),
            sockets: SocketLooks::default(),
            objects: ObjectLooks::begin(began),
            machine: MachineLooks::default(),
            next_memory: began,
            memory_files: 0,
            of_kernel: 0,
            ipc: IpcLists::default(),
            peak_memory: 0,
        }
    }

    fn follow(
        &mut self,
        log: &mut TaskLog,
        watch: &mut SandboxWatch<'_>,
    ) -> Result<Option<StopCause>, SandboxError> {
        let mut next_look = self.began + LOOK_AT_PROCESSES;
        let output = self.output.as_ref().map(PipeReader::try_clone).transpose()?;
        loop {
            let has_ended = self.wait(next_look.saturating_duration_since(Instant::now()))?;
            self.take_output(log, watch)?;
            self.take_errors(watch)?;
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
            if let Some(cause) = self.look_with(output.as_ref(), log.written(), watch) {
                return Ok(Some(cause));
            }
            if (watch.ticks)(self.peak_memory, log.written()) {
                return Ok(Some(StopCause::Asked));
            }
        }
    }

    /// Returns true on exit.
    fn wait(&self, at_most: Duration) -> Result<bool, SandboxError> {
        let at_most = Timespec::try_from(at_most).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        let mut fds = vec![PollFd::from_borrowed_fd(self.process.fd(), PollFlags::IN)];
        for pipe in [&self.output, &self.errors].into_iter().flatten() {
            fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, Some(&at_most)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        Ok(fds.first().is_some_and(|process| !process.revents().is_empty()))
    }

    /// Moves output to the log, whose limit stops endless output.
    fn take_output(&mut self, log: &mut TaskLog, watch: &mut SandboxWatch<'_>) -> Result<(), SandboxError> {
        let mut bytes = [0; 1 << 13];
        while let Some(output) = self.output.as_mut().filter(|_| !log.is_full()) {
            match output.read(&mut bytes) {
                Ok(0) => self.output = None,
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

    fn take_errors(&mut self, watch: &mut SandboxWatch<'_>) -> Result<(), SandboxError> {
        let (mut bytes, mut taken) = ([0; 1 << 13], 0);
        while let (Some(errors), Some(kept)) = (self.errors.as_mut(), watch.errors.as_deref_mut()) {
            match errors.read(&mut bytes) {
                Ok(0) => self.errors = None,
                Ok(read) => {
                    kept.extend(bytes.get(..read).unwrap_or_default());
                    kept.drain(..kept.len().saturating_sub(MOST_ERRORS));
                    taken += read;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            if taken >= MOST_AT_ONCE {
                break;
            }
        }
        Ok(())
    }

    /// Looks at everything while time limits and the caller go on asking.
    fn look_with(
        &mut self,
        output: Option<&PipeReader>,
        logged: u64,
        watch: &mut SandboxWatch<'_>,
    ) -> Option<StopCause> {
        let (limits, began, last_output) = (self.limits, self.began, self.last_output);
        let (peak_memory, ticks) = (self.peak_memory, &mut *watch.ticks);
        let mut ask = || {
            let silent = if has_bytes(output) { Duration::ZERO } else { last_output.elapsed() };
            let over = over_time(limits, began.elapsed(), silent);
            over.or_else(|| ticks(peak_memory, logged).then_some(StopCause::Asked))
        };
        let during = LookInterrupt::begin(&mut ask);
        let (group, written, gives_way) = (&watch.group, watch.written, watch.gives_way);
        let subject = LookSubject { group, written, gives_way };
        let cause = self.look(&subject, &during);
        during.cause().or(cause)
    }

    fn look(&mut self, subject: &LookSubject<'_>, during: &LookInterrupt<'_>) -> Option<StopCause> {
        let over = over_time(self.limits, self.began.elapsed(), self.last_output.elapsed());
        if over.is_some() {
            return over;
        }
        let usage = usage_below(self.process.id(), &|| during.is_asked());
        if let Some(cause) = during.cause() {
            return Some(cause);
        }
        let processes = usage.tasks.saturating_sub(EnclosureProcess::makers().saturating_sub(1));
        let over = |limit: Option<u64>, used, controller| {
            limit.is_some_and(|limit| used > limit) && !subject.group.holds(controller)
        };
        let free = subject.gives_way.and_then(|_| FreeMemory::of_machine());
        let limit = self.limits.memory.filter(|_| !subject.group.holds(GroupController::Memory));
        // Without a limit, files in memory matter only if the task that has most is to end.
        if (limit.is_some() || free.is_some_and(FreeMemory::is_scarce))
            && let Some(cause) = self.look_at_memory(limit, &usage, (subject, during))
        {
            return Some(cause);
        }
        let memory = usage.anonymous + usage.shared.max(self.memory_files) + self.of_kernel;
        self.peak_memory = self.peak_memory.max(memory);
        if let Some(cause) = group_cause(subject.group) {
            return Some(cause);
        }
        if let Some(over) = self.objects.look(&usage.processes, &|| during.is_asked()) {
            return Some(StopCause::Objects(over));
        }
        if let Some(gives_way) = subject.gives_way
            && let Some(growth) = self.machine.looked(memory, free)
            && gives_way(growth)
        {
            return Some(StopCause::MachineMemory);
        }
        if self.limits.cpu.is_some_and(|limit| usage.longest >= limit) {
            return Some(StopCause::Processor(usage.longest));
        }
        if over(self.limits.processes, processes, GroupController::Processes) {
            return Some(StopCause::Processes(processes, UsageMeasure::Looks));
        }
        self.look_at_disk(&usage.processes, (subject, during))
    }

    /// Looks at open files. Files of the last look may be in sockets now. Returns true if some have been there for
    /// long.
    fn look_at_files(
        &mut self,
        processes: &[u32],
        written: &[PathBuf],
        during: &LookInterrupt<'_>,
    ) -> Result<bool, StopCause> {
        let earlier = std::mem::take(&mut self.files);
        let files = OpenFiles::of(processes, written, &during.within(LONGEST_LOOK_AT_FILES));
        let files = files.map_err(|Uncountable| during.cause().unwrap_or(StopCause::Uncountable))?;
        self.files = files.with_earlier(earlier);
        Ok(self.sockets.look(Instant::now(), self.files.in_sockets()))
    }

    /// Memory files count while a process has them open or mapped; segments, semaphores, messages and mappings always.
    fn look_at_memory(
        &mut self,
        limit: Option<u64>,
        usage: &ProcessUsage,
        (subject, during): (&LookSubject<'_>, &LookInterrupt<'_>),
    ) -> Option<StopCause> {
        let began = Instant::now();
        let most = limit.unwrap_or(u64::MAX);
        if usage.anonymous <= most && began < self.next_memory {
            return None;
        }
        let keeps_files = match self.look_at_files(&usage.processes, subject.written, during) {
            Ok(keeps_files) => keeps_files,
            Err(cause) => return Some(cause),
        };
        let ipc = self.ipc.in_memory(self.process.id(), &usage.processes, usage.tasks);
        self.memory_files = self.files.in_memory().saturating_add(ipc.segments.unwrap_or_default());
        self.of_kernel = ipc.others.saturating_add(self.files.of_mappings());
        let mut memory = usage.anonymous.saturating_add(self.memory_files).saturating_add(self.of_kernel);
        // Files both open and mapped count twice here, so this is an upper bound.
        if memory <= most && memory.saturating_add(usage.shared) > most {
            let stop = during.within(LONGEST_LOOK_AT_FILES);
            match self.files.mapped_memory(&usage.processes, ipc.segments.is_some(), &stop) {
                Ok(mapped) => memory = memory.saturating_add(mapped),
                Err(Uncountable) => return Some(during.cause().unwrap_or(StopCause::Uncountable)),
            }
        }
        self.peak_memory = self.peak_memory.max(memory);
        self.next_memory = Instant::now() + LOOK_AT_MEMORY.max(began.elapsed() * PART_OF_TIME);
        if memory > most {
            return Some(StopCause::Memory(memory, UsageMeasure::Looks));
        }
        // Without a limit, hidden files do not matter.
        limit.filter(|_| keeps_files).map(|_| StopCause::InSocket)
    }

    fn look_at_disk(
        &mut self,
        processes: &[u32],
        (subject, during): (&LookSubject<'_>, &LookInterrupt<'_>),
    ) -> Option<StopCause> {
        let limit = self.limits.disk.or(subject.gives_way.map(|_| u64::MAX))?;
        let (began, free) = (Instant::now(), WritableSpace::of_all(subject.written));
        if !self.disk.is_due(began, limit, free) {
            return None;
        }
        // Files first: one unlinked meanwhile counts twice instead of not at all.
        let keeps_files = match self.look_at_files(processes, subject.written, during) {
            Ok(keeps_files) => keeps_files,
            Err(cause) => return Some(cause),
        };
        let (nameless, hides_files) = (self.files.on_disk(), self.files.hides_files());
        let most = self.disk.before.saturating_add(limit);
        let UsedSpace { bytes, closed } = space_up_to(subject.written, most, &|| during.is_asked());
        if let Some(cause) = during.cause() {
            return Some(cause);
        }
        let used = bytes.saturating_sub(self.disk.before).saturating_add(nameless);
        let growth = self.disk.looked(Instant::now(), began.elapsed(), (used, free), hides_files);
        if used > limit {
            return Some(StopCause::Disk(used));
        }
        if let (Some(growth), Some(gives_way)) = (growth, subject.gives_way)
            && gives_way(growth)
        {
            return Some(StopCause::Space);
        }
        // Without a limit, hidden files do not matter.
        self.limits.disk?;
        if keeps_files {
            return Some(StopCause::InSocket);
        }
        self.closed.look(closed).map(StopCause::Closed)
    }

    /// Kills the command if it still runs, and reaps all processes. The group may have rejected a request before its
    /// end.
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
            ended => ended.map(|(end, took)| {
                let processor_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
                (Some(end), processor_ms)
            })?,
        };
        Ok(SandboxEnd { end, stopped, took, peak_memory, processor_ms })
    }
}

/// Schedule of disk checks.
#[derive(Debug)]
struct DiskLooks {
    /// Bytes from before the command.
    before: u64,
    /// The next check, and the time before which not even lost space triggers one.
    next: Instant,
    earliest: Instant,
    /// Used and free bytes at the last check.
    used: u64,
    free: Option<WritableSpace>,
    /// Checks at least [`LOOK_AT_DISK`] apart; growth since the first is that of the last seconds.
    marks: [(Instant, u64); 2],
    was_scarce: bool,
}

impl DiskLooks {
    fn begin(before: u64, free: Option<WritableSpace>) -> Self {
        let now = Instant::now();
        let marks = [(now, 0); 2];
        Self { before, next: now + LOOK_AT_DISK, earliest: now, used: 0, free, marks, was_scarce: false }
    }

    /// True on schedule, or if the file system lost as much space as the limit leaves, or any while space is scarce.
    fn is_due(&self, now: Instant, limit: u64, free: Option<WritableSpace>) -> bool {
        let is_urgent = || {
            let (Some(then), Some(free)) = (self.free, free) else { return false };
            let lost = then.bytes.saturating_sub(free.bytes);
            let has_lost = lost > 0 || free.inodes < then.inodes;
            lost > limit.saturating_sub(self.used) || has_lost && free.is_scarce()
        };
        now >= self.next || now >= self.earliest && is_urgent()
    }

    /// Records a check that took this long. `free` is the space before it. Returns the command's growth while space is
    /// scarce, and once more after that. A command that hides files counts as the one that grew most.
    fn looked(
        &mut self,
        now: Instant,
        took: Duration,
        (used, free): (u64, Option<WritableSpace>),
        hides_files: bool,
    ) -> Option<TaskGrowth> {
        let wait = took.saturating_mul(PART_OF_TIME).min(LONGEST_WITHOUT_LOOK);
        self.next = now + LOOK_AT_DISK.max(wait);
        // Checks for lost space take at most half of the time.
        self.earliest = now + took;
        (self.used, self.free) = (used, free);
        let is_scarce = free.is_some_and(WritableSpace::is_scarce);
        let was_scarce = std::mem::replace(&mut self.was_scarce, is_scarce);
        let [(_, used_before), newer] = self.marks;
        if now.saturating_duration_since(newer.0) >= LOOK_AT_DISK {
            self.marks = [newer, (now, used)];
        }
        let bytes = match (is_scarce, hides_files) {
            (false, _) => 0,
            (true, true) => u64::MAX,
            (true, false) => used.saturating_sub(used_before),
        };
        let is_decisive = was_scarce && free.is_some_and(WritableSpace::is_below_reserve);
        (is_scarce || was_scarce).then_some(TaskGrowth { bytes, is_decisive })
    }
}

/// Tracks free memory of the machine, which also contains what no other look counts.
#[derive(Debug, Default)]
struct MachineLooks {
    was_scarce: bool,
}

impl MachineLooks {
    /// Returns the memory that a command uses while little is free, and once more after that.
    fn looked(&mut self, used: u64, free: Option<FreeMemory>) -> Option<TaskGrowth> {
        let is_scarce = free.is_some_and(FreeMemory::is_scarce);
        let was_scarce = std::mem::replace(&mut self.was_scarce, is_scarce);
        let is_decisive = was_scarce && free.is_some_and(FreeMemory::is_below_reserve);
        let bytes = if is_scarce { used } else { 0 };
        (is_scarce || was_scarce).then_some(TaskGrowth { bytes, is_decisive })
    }
}

/// Tracks unreadable directories. Only those in two consecutive checks hide files, even if they differ.
#[derive(Debug, Default)]
struct ClosedLooks {
    was_closed: bool,
}

impl ClosedLooks {
    /// Returns the unreadable directory if the last check found one, too.
    fn look(&mut self, closed: Option<String>) -> Option<String> {
        let was_closed = std::mem::replace(&mut self.was_closed, closed.is_some());
        closed.filter(|_| was_closed)
    }
}

/// Tracks open files in sockets. Receivers may take a while, but somebody must receive them.
#[derive(Debug, Default)]
struct SocketLooks {
    /// The first of consecutive checks that found some, and their number.
    found: Option<(Instant, u32)>,
}

impl SocketLooks {
    /// Returns true if all checks of the last seconds found some.
    fn look(&mut self, now: Instant, in_sockets: u64) -> bool {
        let (first, count) = self.found.unwrap_or((now, 0));
        let count = count.saturating_add(1);
        self.found = (in_sockets > 0).then_some((first, count));
        let lasted = now.saturating_duration_since(first);
        in_sockets > 0 && lasted >= LONGEST_IN_SOCKETS && count >= FEWEST_LOOKS
    }
}

fn over_time(limits: &SandboxLimits, took: Duration, silent: Duration) -> Option<StopCause> {
    if limits.time.is_some_and(|limit| took > limit) {
        return Some(StopCause::Time(took));
    }
    limits.silence.is_some_and(|limit| silent > limit).then_some(StopCause::Silence(silent))
}

fn has_bytes(pipe: Option<&PipeReader>) -> bool {
    let Some(pipe) = pipe else { return false };
    let mut fds = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)];
    let polled = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_ok() && fds.iter().any(|fd| fd.revents().contains(PollFlags::IN))
}

fn group_cause(group: &TaskGroup) -> Option<StopCause> {
    group.overrun().map(|overrun| match overrun {
        GroupOverrun::Memory(bytes) => StopCause::Memory(bytes, UsageMeasure::ControlGroup),
        // It requested at least one more.
        GroupOverrun::Processes(most) => {
            StopCause::Processes(most.saturating_add(1), UsageMeasure::ControlGroup)
        }
    })
}

pub fn no_input() -> io::Result<File> {
    let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(File::from(null))
}

/// Followed by the name of a phase.
pub const PHASE_LINE: &[u8] = b"===> phase: ";

const LONGEST_PHASE: usize = 64;

#[derive(Debug)]
pub struct TaskLog {
    file: WritableFile,
    written: u64,
    limit: Option<u64>,
    /// The incomplete line, while it can become a phase line.
    line: Vec<u8>,
    room: Option<RoomWatch<Dir>>,
}

impl TaskLog {
    /// `limit` is in bytes.
    pub fn begin(file: WritableFile, limit: Option<u64>) -> Self {
        Self { file, written: 0, limit, line: Vec::new(), room: None }
    }

    /// Returns the log of a file in this directory, whose file system keeps a reserve.
    pub(crate) fn leaving_reserve(self, dir: &Dir) -> Result<Self, RootError> {
        Ok(Self { room: Some(RoomWatch::begin(dir.again()?, 0)?), ..self })
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.written >= limit)
    }

    /// Adds output up to the limit, and calls `begins` for each new phase.
    pub fn add(&mut self, bytes: &[u8], mut begins: impl FnMut(String)) -> Result<(), RootError> {
        let room = self.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit.saturating_sub(self.written)).unwrap_or(usize::MAX)
        });
        let kept = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
        if let Some(room) = &mut self.room {
            room.add(kept)?;
        }
        self.file.put(kept)?;
        self.written += kept.len() as u64;
        for piece in kept.split_inclusive(|&byte| byte == b'\n') {
            let longest = PHASE_LINE.len() + LONGEST_PHASE + 1;
            self.line.extend(piece.iter().take(longest.saturating_sub(self.line.len())));
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if let Some(name) = phase_of(&line) {
                    begins(name);
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn phase_of(line: &[u8]) -> Option<String> {
    let name = line.strip_prefix(PHASE_LINE)?.strip_suffix(b"\n")?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    ((1..=LONGEST_PHASE).contains(&name.len()) && name.iter().all(is_name))
        .then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_space_is_a_reason_to_look_at_the_disk_before_the_time() {
        const MIB: u64 = 1 << 20;
        let free = |bytes: u64| {
            Some(WritableSpace { bytes: bytes * MIB, total: 10_000 * MIB, ..WritableSpace::default() })
        };
        let mut looks = DiskLooks::begin(0, free(5000));
        let (now, limit) = (looks.earliest, 1000 * MIB);
        assert!(!looks.is_due(now, limit, free(4500)), "it cannot be over its limit");
        assert!(looks.is_due(now, limit, free(3999)));
        assert!(looks.is_due(now + LOOK_AT_DISK, limit, free(5000)), "it is time");
        looks.looked(now, Duration::from_millis(100), (900 * MIB, free(3999)), false);
        assert!(!looks.is_due(now, limit, free(3000)), "the last look was just now");
        let soon = now + Duration::from_millis(100);
        assert!(!looks.is_due(soon, limit, free(3950)) && looks.is_due(soon, limit, free(3890)));
        assert!(!looks.is_due(soon, limit, None), "unknown");
        looks.looked(now, Duration::from_millis(100), (100 * MIB, free(400)), false);
        assert!(!looks.is_due(soon, limit, free(400)), "nothing was written");
        assert!(looks.is_due(soon, limit, free(399)), "free space is scarce");
        let inodes =
            |inodes: u64| free(5000).map(|free| WritableSpace { inodes, all_inodes: 100_000, ..free });
        looks.looked(now, Duration::from_millis(100), (100 * MIB, inodes(4_000)), false);
        assert!(!looks.is_due(soon, limit, inodes(4_000)) && looks.is_due(soon, limit, inodes(3_999)));
    }

    #[test]
    fn a_long_look_at_the_disk_is_repeated_after_five_seconds_at_most() {
        let mut looks = DiskLooks::begin(0, None);
        let now = looks.earliest;
        for (took, wait) in [(1, 2000), (60, 3000), (10_000, 5000)] {
            looks.looked(now, Duration::from_millis(took), (0, None), false);
            assert_eq!(looks.next - now, Duration::from_millis(wait), "{took}");
        }
    }

    #[test]
    fn the_growth_of_the_last_seconds_is_told_while_space_is_scarce_and_decides_below_the_reserve() {
        const MIB: u64 = 1 << 20;
        let free = |bytes: u64| {
            Some(WritableSpace { bytes: bytes * MIB, total: 10_000 * MIB, ..WritableSpace::default() })
        };
        let mut looks = DiskLooks::begin(0, free(5_000));
        let began = looks.earliest;
        let mut look = |after: u64, used: u64, left: u64| {
            let growth = looks.looked(
                began + Duration::from_millis(after),
                Duration::ZERO,
                (used * MIB, free(left)),
                false,
            );
            growth.map(|growth| (growth.bytes / MIB, growth.is_decisive))
        };
        assert_eq!(look(2_000, 1_000, 4_000), None, "there is enough");
        assert_eq!(look(2_200, 1_300, 190), Some((1_300, false)), "the others have to look first");
        assert_eq!(look(2_400, 1_310, 180), Some((1_310, true)));
        assert_eq!(look(4_400, 1_310, 400), Some((1_310, false)), "scarce, but above the reserve");
        assert_eq!(look(6_600, 1_320, 190), Some((320, true)), "what was written long ago is not growth");
        assert_eq!(look(8_800, 1_320, 190), Some((10, true)));
        assert_eq!(look(9_000, 1_320, 4_000), Some((0, false)), "the last word is forgotten");
        assert_eq!(look(11_000, 2_000, 4_000), None);
    }

    #[test]
    fn the_memory_of_a_command_is_told_while_that_of_the_machine_is_scarce_and_decides_below_the_reserve() {
        let free = |mib: u64| Some(FreeMemory { bytes: mib << 20, total: 10_000 << 20 });
        let mut looks = MachineLooks::default();
        let mut look = |used: u64, free| {
            let growth = looks.looked(used << 20, free);
            growth.map(|growth| (growth.bytes >> 20, growth.is_decisive))
        };
        assert_eq!(look(3_000, free(5_000)), None, "there is enough");
        assert_eq!(look(3_000, free(100)), Some((3_000, false)), "the others have to look first");
        assert_eq!(look(3_010, free(90)), Some((3_010, true)));
        assert_eq!(look(3_000, free(300)), Some((3_000, false)), "scarce, but above the reserve");
        assert_eq!(look(3_000, free(5_000)), Some((0, false)), "the last word is forgotten");
        assert_eq!(look(3_000, None), None, "unknown");
    }

    #[test]
    fn what_hides_files_in_sockets_grew_most_while_space_is_scarce() {
        let free = |bytes: u64| {
            Some(WritableSpace { bytes: bytes << 20, total: 10_000 << 20, ..WritableSpace::default() })
        };
        let mut looks = DiskLooks::begin(0, free(5_000));
        let now = looks.earliest;
        let mut look = |left: u64, hides_files: bool| {
            let growth = looks.looked(now, Duration::ZERO, (4096, free(left)), hides_files);
            growth.map(|growth| (growth.bytes, growth.is_decisive))
        };
        assert_eq!(look(4_000, true), None, "there is enough");
        assert_eq!(look(190, true), Some((u64::MAX, false)));
        assert_eq!(look(180, true), Some((u64::MAX, true)));
        assert_eq!(look(180, false), Some((4096, true)));
        assert_eq!(look(4_000, true), Some((0, false)), "the last word is forgotten");
    }

    #[test]
    fn open_files_that_are_in_sockets_at_all_looks_of_five_seconds_are_too_long_there() {
        let (mut looks, began) = (SocketLooks::default(), Instant::now());
        let mut look = |after: u64, in_sockets| looks.look(began + Duration::from_millis(after), in_sockets);
        assert!(!look(0, 1) && !look(4_900, 1) && look(5_000, 1));
        assert!(!look(5_100, 0), "they were received");
        assert!(!look(6_000, 3) && !look(8_000, 1) && !look(10_900, 1) && look(11_000, 2));
        assert!(!look(20_000, 0) && !look(21_000, 0));
        assert!(!look(30_000, 1) && !look(40_000, 1), "two looks may have found two messages");
        assert!(look(40_200, 1));
    }

    #[test]
    fn two_looks_that_find_something_closed_are_enough_whatever_it_is() {
        let mut looks = ClosedLooks::default();
        let mut look = |closed: Option<&str>| looks.look(closed.map(str::to_owned));
        assert_eq!(look(None), None);
        assert_eq!(look(Some("upper/tmp/a")), None, "it may be closed for a moment");
        assert_eq!(look(None), None);
        assert_eq!(look(Some("upper/tmp/a")), None);
        assert_eq!(look(Some("upper/tmp/b")).as_deref(), Some("upper/tmp/b"));
        assert_eq!(look(None), None);
    }

    #[test]
    fn the_caller_is_asked_during_a_long_look_and_a_look_at_files_has_a_limit_of_its_own() {
        let asked = Cell::new(0);
        let mut ask = || (asked.replace(asked.get() + 1) == 1).then_some(StopCause::Asked);
        let during = LookInterrupt::begin(&mut ask);
        let later = || during.next.set(Instant::now() + Duration::from_secs(60));
        later();
        assert!(!during.is_asked() && asked.get() == 0, "a short look asks nothing");
        assert!(during.within(Duration::ZERO)() && !during.within(Duration::from_secs(60))());
        during.next.set(Instant::now());
        assert!(!during.is_asked() && asked.get() == 1);
        later();
        assert!(!during.is_asked() && asked.get() == 1);
        assert_eq!(during.cause(), None);
        during.next.set(Instant::now());
        assert!(during.is_asked() && during.within(Duration::from_secs(60))());
        during.next.set(Instant::now());
        assert!(during.is_asked() && asked.get() == 2, "it has been said");
        assert_eq!(during.cause(), Some(StopCause::Asked));
    }

    #[test]
    fn output_that_waits_in_the_pipe_is_no_silence() {
        let (read, mut write) = io::pipe().unwrap();
        assert!(!has_bytes(None) && !has_bytes(Some(&read)));
        io::Write::write_all(&mut write, b"x").unwrap();
        assert!(has_bytes(Some(&read)));
        let limits = SandboxLimits {
            time: Some(Duration::from_secs(9)),
            silence: Some(Duration::from_secs(3)),
            ..SandboxLimits::default()
        };
        let second = Duration::from_secs;
        assert_eq!(over_time(&limits, second(9), second(3)), None);
        assert_eq!(over_time(&limits, second(9), second(4)), Some(StopCause::Silence(second(4))));
        assert_eq!(over_time(&limits, second(10), second(4)), Some(StopCause::Time(second(10))));
        assert_eq!(over_time(&SandboxLimits::default(), second(99), second(99)), None);
    }

    fn log(limit: Option<u64>) -> (tempfile::TempDir, TaskLog) {
        let dir = tempfile::tempdir().unwrap();
        let file = Dir::of_host(dir.path()).unwrap().create(b"log").unwrap();
        (dir, TaskLog::begin(file, limit))
    }

    #[test]
    fn a_phase_is_found_wherever_its_line_is_cut() {
        let (_dir, mut log) = log(None);
        let mut phases = Vec::new();
        for piece in ["a line\n===> ph", "ase: conf", "igure\n===> phase: x y\n", "  ===> phase: no\n"] {
            log.add(piece.as_bytes(), |name| phases.push(name)).unwrap();
        }
        assert_eq!(phases, ["configure"]);
    }

    #[test]
    fn a_log_keeps_all_up_to_its_limit_and_no_byte_more() {
        let (dir, mut log) = log(Some(10));
        log.add(b"12345678", |_| {}).unwrap();
        assert!(!log.is_full());
        log.add(b"90abcdef", |_| {}).unwrap();
        assert!(log.is_full());
        assert_eq!(std::fs::read(dir.path().join("log")).unwrap(), b"1234567890");
    }
}
