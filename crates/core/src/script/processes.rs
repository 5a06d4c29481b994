//! Finds and ends processes of a run or of this process. Ids are reused, so each process is opened (pidfd), identified,
//! then signalled through the handle; groups are never signalled as such, since a record that names one may lie.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use crate::script::environment::RUN;
use crate::script::{ProcessIdentity, ScriptError};
use patchadm_rootfs::{
    Dir, Interrupt, Lock, LockError, ProcBounds, ProcLines, Root, RootError, Stop, proc_text,
};
use patchadm_svr4::package::{Mode, ObjectPath, rule};

/// Time between SIGTERM and SIGKILL.
pub(super) const GRACE: Duration = Duration::from_secs(2);

const DYING: Duration = Duration::from_secs(5);

const TICK: Duration = Duration::from_millis(10);

/// For processes of a lost script.
const LONGEST_SEARCH: Duration = Duration::from_secs(60);

/// The longest wait of one search for processes that are executing a program. Others can make an execution long.
const EXECUTION: Duration = Duration::from_secs(2);

/// An open process, so that a signal reaches it or nobody.
pub(super) struct HeldProcess {
    pid: i32,
    handle: OwnedFd,
}

impl HeldProcess {
    fn of(pid: i32, is_wanted: impl Fn(&ProcessStat) -> bool) -> Option<Self> {
        let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let stat = ProcessStat::of(pid).filter(|stat| !matches!(stat.state, 'Z' | 'X'));
        stat.is_some_and(|stat| is_wanted(&stat)).then_some(Self { pid, handle })
    }

    /// Asks the process to end, even if it is stopped.
    pub(super) fn ask(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// True if the process has ended, even if it is not reaped. An exiting process has lost its environment, but not
    /// its files.
    fn is_gone(&self) -> bool {
        let mut handles = [PollFd::new(&self.handle, PollFlags::IN)];
        poll(&mut handles, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    fn signal(&self, signal: Signal) {
        // A process that cannot be signalled is seen to live on.
        let _ = pidfd_send_signal(&self.handle, signal);
    }
}

/// Returns the children of scripts, and orphans that this process adopted.
pub(super) fn descendants() -> Vec<HeldProcess> {
    let own = getpid().as_raw_pid();
    let all: Vec<(i32, ProcessStat)> =
        numbers().filter_map(|pid| Some((pid, ProcessStat::of(pid)?))).collect();
    let mut known = vec![own];
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&parent) = known.get(at) {
        at += 1;
        for (pid, _) in all.iter().filter(|(_, stat)| stat.parent == parent) {
            if !known.contains(pid) {
                known.push(*pid);
                found.extend(HeldProcess::of(*pid, |stat| stat.parent == parent));
            }
        }
    }
    found
}

/// Kills the processes that `find` returns until none is left. Returns false on timeout.
pub(super) fn end_all(find: impl Fn() -> Vec<HeldProcess>) -> bool {
    end_with(Vec::new(), find)
}

fn end_with(mut ending: Vec<HeldProcess>, find: impl Fn() -> Vec<HeldProcess>) -> bool {
    let until = Instant::now() + DYING;
    loop {
        let left = find();
        ending.retain(|process| !process.is_gone() && left.iter().all(|other| other.pid != process.pid));
        if left.is_empty() && ending.is_empty() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        for process in &left {
            process.signal(Signal::KILL);
        }
        ending.extend(left);
        std::thread::sleep(TICK);
    }
}

fn end_politely(find: impl Fn() -> Vec<HeldProcess>) -> bool {
    let asked = find();
    asked.iter().for_each(HeldProcess::ask);
    let until = Instant::now() + GRACE;
    while Instant::now() < until && !find().is_empty() {
        std::thread::sleep(TICK);
    }
    end_with(asked, find)
}

/// Returns the processes whose environment names `run`. Members of `group` pass another check, because only a record
/// names it.
fn of_run(run: &str, group: i32, stop: Stop<'_>) -> Vec<HeldProcess> {
    let until = Instant::now() + EXECUTION;
    others_that(|pid, stat| {
        let is_named = environment_has(pid, (RUN.as_ref(), run.as_ref()), stop, until);
        if stat.group == group { rule::holds("progress.process.run", is_named) } else { is_named }
    })
}

/// Excludes this process and its ancestors.
fn others_that(is_wanted: impl Fn(i32, &ProcessStat) -> bool) -> Vec<HeldProcess> {
    let above = ancestors();
    let others = numbers().filter(|pid| !above.contains(pid));
    others.filter_map(|pid| HeldProcess::of(pid, |stat| is_wanted(pid, stat))).collect()
}

fn ancestors() -> Vec<i32> {
    let mut all = vec![getpid().as_raw_pid()];
    while let Some(parent) = all.last().and_then(|&pid| ProcessStat::of(pid)).map(|stat| stat.parent) {
        if parent < 1 || all.contains(&parent) {
            break;
        }
        all.push(parent);
    }
    all
}

/// Checks the initial environment of a process. An unreadable one counts as false, as does one that is larger than
/// execve(2) allows, which is none of ours. While the process is executing a program, all or some of its environment
/// is missing: it is read again until it is whole, but not after `until`.
fn environment_has(pid: i32, (name, value): (&OsStr, &OsStr), stop: Stop<'_>, until: Instant) -> bool {
    let wanted = [name.as_bytes(), b"=", value.as_bytes()].concat();
    let path = Path::new("/proc").join(pid.to_string()).join("environ");
    loop {
        let Ok(environment) = ProcLines::open(&path, ProcBounds::ENVIRONMENT, stop) else { return false };
        let mut read = 0;
        let found = environment.ending_with(0).find(|variable| {
            read += variable.len() as u64 + 1;
            (variable == wanted).then_some(())
        });
        let Ok(found) = found else { return false };
        let is_whole = || ProcessStat::of(pid).is_none_or(|stat| stat.has_environment_of(read));
        if found.is_some() || is_whole() || stop() || Instant::now() >= until {
            return found.is_some();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn numbers() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| OsStr::to_str(&entry.file_name())?.parse().ok())
}

impl ProcessIdentity {
    pub(super) fn of(pid: Pid) -> io::Result<Option<Self>> {
        let boot_id = boot_id()?;
        let stat = ProcessStat::of(pid.as_raw_pid());
        Ok(stat.map(|stat| Self { group: pid.as_raw_pid(), boot_id, start_time: stat.start_time }))
    }

    /// Ends the remains of `run`: processes of the recorded group and all others, each only if its own environment
    /// names the run. Returns whether nothing is left. A record that does not fit (other boot, other start time,
    /// impossible group) ends no process. Other users can make the search long, so it can be interrupted.
    pub(super) fn end(&self, run: &str, interrupt: Interrupt<'_>) -> io::Result<bool> {
        if !rule::holds("progress.boot", self.boot_id == boot_id()?) {
            return Ok(true);
        }
        // The group is 0 if its leader is outside this process namespace.
        let ours = [getpid().as_raw_pid(), nix::unistd::getpgrp().as_raw()];
        if !rule::holds("progress.group", self.group > 1 && !ours.contains(&self.group)) {
            return Ok(true);
        }
        let is_same = ProcessStat::of(self.group).is_none_or(|stat| stat.start_time == self.start_time);
        if !rule::holds("progress.start", is_same) {
            return Ok(true);
        }
        let is_interrupted = || interrupt().is_some();
        let is_gone = end_politely(|| of_run(run, self.group, &is_interrupted));
        if is_interrupted() { Err(io::ErrorKind::Interrupted.into()) } else { Ok(is_gone) }
    }

    /// Ends this process, as just reported by the second process, with the rest of its group and all processes with the
    /// variable `mark`.
    pub(super) fn end_lost(&self, mark: Option<(&OsStr, &OsStr)>) -> bool {
        let is_same = |stat: &ProcessStat| {
            stat.group == self.group
                && ProcessStat::of(self.group).is_none_or(|leader| leader.start_time == self.start_time)
        };
        let own = nix::unistd::getpgrp().as_raw();
        let in_group = || {
            let others = numbers().filter(|_| self.group != own);
            others.filter_map(|pid| HeldProcess::of(pid, is_same)).collect::<Vec<_>>()
        };
        let itself =
            || HeldProcess::of(self.group, |stat| stat.start_time == self.start_time).into_iter().collect();
        let is_gone = end_politely(itself) & end_politely(in_group);
        let end_of_search = Instant::now() + LONGEST_SEARCH;
        let stop = || Instant::now() >= end_of_search;
        let marked = |mark| {
            let until = Instant::now() + EXECUTION;
            others_that(|pid, _| environment_has(pid, mark, &stop, until))
        };
        is_gone & mark.is_none_or(|mark| end_politely(|| marked(mark)) && !stop())
    }
}

pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

struct ProcessStat {
    state: char,
    parent: i32,
    group: i32,
    start_time: u64,
    /// In bytes; 0 if the process is ending, and in the kernel's own threads.
    memory: u64,
    /// In bytes; `None` while a program is being executed.
    environment: Option<u64>,
}

impl ProcessStat {
    /// Reads `/proc/PID/stat`; `None` if the process is gone.
    fn of(pid: i32) -> Option<Self> {
        let text = proc_text(&Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
        // The name in parentheses may contain anything; fields behind it count from 3 (proc_pid_stat(5)).
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let start_time = fields.nth(16)?.parse().ok()?;
        let memory = fields.next()?.parse().ok()?;
        let start_of_code: u64 = fields.nth(2)?.parse().ok()?;
        let (from, to): (u64, u64) = (fields.nth(23)?.parse().ok()?, fields.next()?.parse().ok()?);
        // The kernel sets the start of the code after the environment, which seems to be empty for a moment.
        let environment = to.checked_sub(from).filter(|_| start_of_code > 0 && to > 0);
        Some(Self { state, parent, group, start_time, memory, environment })
    }

    /// True if the process has no more than these bytes of environment.
    fn has_environment_of(&self, read: u64) -> bool {
        self.memory == 0 || self.environment.is_some_and(|size| size <= read)
    }
}

const NAME: &[u8] = b"script.lock";

const DIRECTORY: [&[u8]; 3] = [b"var", b"sadm", b"patchadm"];

const PATIENCE: Duration = Duration::from_secs(15);

/// Wait of a new run. After recovery, at most the exit of a process is under way.
const MOMENT: Duration = Duration::from_secs(1);

/// The lock `var/sadm/patchadm/script.lock`: while held, no script of another run works on the root.
#[derive(Debug)]
pub struct ScriptLock {
    _lock: Lock,
}

impl ScriptLock {
    pub(super) fn take(root: &Root) -> Result<Self, ScriptError> {
        Self::take_within(MOMENT, root)
    }

    fn take_within(time: Duration, root: &Root) -> Result<Self, ScriptError> {
        let dir = directory(root)?;
        let until = Instant::now() + time;
        let lock = Lock::take_file(&dir, NAME, "patchadm", |_| {
            std::thread::sleep(Duration::from_millis(50));
            Instant::now() < until
        });
        lock.map(|lock| Self { _lock: lock }).map_err(LockError::into)
    }
}

/// Takes the lock for recovery, before anything is undone. Waits until the second process of the interrupted run has ended its
/// script; if that one is gone too, ends the remains of the `unfinished` run. An interrupted search is an error.
pub fn end_leftovers(
    root: &Root,
    unfinished: Option<(&str, &ProcessIdentity)>,
    interrupt: Interrupt<'_>,
) -> Result<ScriptLock, ScriptError> {
    let lock = ScriptLock::take_within(PATIENCE, root)?;
    if let Some((run, process)) = unfinished
        && !process.end(run, interrupt).map_err(ScriptError::Lost)?
    {
        return Err(ScriptError::Immortal(process.group));
    }
    Ok(lock)
}

fn directory(root: &Root) -> Result<Dir, RootError> {
    let mut path = ObjectPath::root();
    let mut dir = root.dir(&path)?;
    for name in DIRECTORY {
        path = root.resolver().locate_dir(&dir.at(name))?;
        dir = match root.dir_if_there(&path)? {
            Some(dir) => dir,
            None => dir.make_dir(name, Mode::of(0o755))?,
        };
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_process_that_is_executing_a_program_is_still_of_its_run() {
        let again = "exec sh -c \"$AGAIN\"";
        let mut command = Command::new("sh");
        let mut child =
            command.args(["-c", again]).env("AGAIN", again).env(RUN, "17-00000000000000aa").spawn().unwrap();
        let (pid, late) = (child.id().try_into().unwrap(), Instant::now() + Duration::from_secs(600));
        let is_named = |value: &str| environment_has(pid, (RUN.as_ref(), value.as_ref()), &|| false, late);
        let missed = (0..3000).filter(|_| !is_named("17-00000000000000aa")).count();
        let is_mistaken = is_named("18-00000000000000bb");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((missed, is_mistaken), (0, false));
    }
}
