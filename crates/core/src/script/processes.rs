//! Processes by what the kernel says of them: those of a run, those that descend from this process, and how they are
//! ended.
//!
//! A number is no process: it may be another one's a moment later. So each process is opened first, then asked who it
//! is, then signalled through that handle. A group is never signalled as a group, since a record that names one may lie.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

use super::ProcessIdentity;
use super::child::GRACE;
use super::environment::RUN;
use crate::package::rule;

/// How long processes that were killed may take to be gone.
const DYING: Duration = Duration::from_secs(5);

/// How often it is looked whether they are.
const TICK: Duration = Duration::from_millis(10);

/// A process that is held, so that a signal reaches it or nobody.
pub(super) struct HeldProcess {
    pid: i32,
    handle: OwnedFd,
}

impl HeldProcess {
    /// Holds the process `pid` if it is what `is_wanted` says of it.
    fn of(pid: i32, is_wanted: impl Fn(&Stat) -> bool) -> Option<Self> {
        let handle = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        let stat = Stat::of(pid).filter(|stat| !matches!(stat.state, 'Z' | 'X'));
        stat.is_some_and(|stat| is_wanted(&stat)).then_some(Self { pid, handle })
    }

    /// Asks it to end, also where it is stopped.
    pub(super) fn ask(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Whether it has ended, though nobody may have waited for it yet. One that is about to has no environment any more,
    /// and still has files open.
    fn is_gone(&self) -> bool {
        let mut handles = [PollFd::new(&self.handle, PollFlags::IN)];
        poll(&mut handles, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    fn signal(&self, signal: Signal) {
        // What cannot be signalled is seen to live on.
        let _ = pidfd_send_signal(&self.handle, signal);
    }
}

/// What descends from this process: the children of scripts, and whatever came to it when their parents ended.
pub(super) fn descendants() -> Vec<HeldProcess> {
    let own = getpid().as_raw_pid();
    let all: Vec<(i32, Stat)> = numbers().filter_map(|pid| Some((pid, Stat::of(pid)?))).collect();
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

/// Kills what `find` finds until it finds nothing more and what was killed is gone; whether that came to pass in time.
pub(super) fn end_all(find: impl Fn() -> Vec<HeldProcess>) -> bool {
    end_with(Vec::new(), find)
}

/// The same, where some were asked to end before.
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

/// The processes of `run`: those whose own environment names it. Those of `group` are asked by a rule of their own,
/// because a record names the group.
fn of_run(run: &str, group: i32) -> Vec<HeldProcess> {
    others_that(|pid, stat| {
        let is_named = environment_has(pid, (RUN.as_ref(), run.as_ref()));
        if stat.group == group { rule::holds("progress.process.run", is_named) } else { is_named }
    })
}

/// The processes that are what `is_wanted` says of them, but for this one and those that it descends from.
fn others_that(is_wanted: impl Fn(i32, &Stat) -> bool) -> Vec<HeldProcess> {
    let above = ancestors();
    let others = numbers().filter(|pid| !above.contains(pid));
    others.filter_map(|pid| HeldProcess::of(pid, |stat| is_wanted(pid, stat))).collect()
}

/// This process and those that it descends from.
fn ancestors() -> Vec<i32> {
    let mut all = vec![getpid().as_raw_pid()];
    while let Some(parent) = all.last().and_then(|&pid| Stat::of(pid)).map(|stat| stat.parent) {
        if parent < 1 || all.contains(&parent) {
            break;
        }
        all.push(parent);
    }
    all
}

/// Whether the environment that a process was started with has this name and value. One that cannot be read has not.
fn environment_has(pid: i32, (name, value): (&OsStr, &OsStr)) -> bool {
    let wanted = [name.as_bytes(), b"=", value.as_bytes()].concat();
    let environment = std::fs::read(format!("/proc/{pid}/environ"));
    environment.is_ok_and(|text| text.split(|&byte| byte == 0).any(|variable| variable == wanted))
}

/// The numbers of all processes.
fn numbers() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| OsStr::to_str(&entry.file_name())?.parse().ok())
}

impl ProcessIdentity {
    /// The process with this number, if there is one.
    pub(super) fn of(pid: Pid) -> io::Result<Option<Self>> {
        let boot_id = boot_id()?;
        let stat = Stat::of(pid.as_raw_pid());
        Ok(stat.map(|stat| Self { group: pid.as_raw_pid(), boot_id, start_time: stat.start_time }))
    }

    /// Ends what is left of `run`, whose record describes this process: the processes of its group and all others, each
    /// by itself and only if its own environment names the run; whether nothing is left. Where the description does not
    /// fit (another start of the machine, another time of beginning, a group that can be no script's), it is about
    /// nobody, and nobody is ended.
    pub(super) fn end(&self, run: &str) -> io::Result<bool> {
        if !rule::holds("progress.boot", self.boot_id == boot_id()?) {
            return Ok(true);
        }
        // The group is 0 where its leader is outside the namespace of processes that this one is in.
        let ours = [getpid().as_raw_pid(), nix::unistd::getpgrp().as_raw()];
        if !rule::holds("progress.group", self.group > 1 && !ours.contains(&self.group)) {
            return Ok(true);
        }
        let is_same = Stat::of(self.group).is_none_or(|stat| stat.start_time == self.start_time);
        if !rule::holds("progress.start", is_same) {
            return Ok(true);
        }
        Ok(end_politely(|| of_run(run, self.group)))
    }

    /// Ends this process, which the second process of the program has just described to us, with what has stayed in its
    /// group, and everything that has `mark`, a name and a value, in its environment.
    pub(super) fn end_lost(&self, mark: Option<(&OsStr, &OsStr)>) -> bool {
        let is_same = |stat: &Stat| {
            stat.group == self.group
                && Stat::of(self.group).is_none_or(|leader| leader.start_time == self.start_time)
        };
        let own = nix::unistd::getpgrp().as_raw();
        let in_group = || {
            let others = numbers().filter(|_| self.group != own);
            others.filter_map(|pid| HeldProcess::of(pid, is_same)).collect::<Vec<_>>()
        };
        let itself =
            || HeldProcess::of(self.group, |stat| stat.start_time == self.start_time).into_iter().collect();
        let is_gone = end_politely(itself) & end_politely(in_group);
        is_gone & mark.is_none_or(|mark| end_politely(|| others_that(|pid, _| environment_has(pid, mark))))
    }
}

/// Which start of the machine this is.
fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

/// What proc(5) says of a process.
struct Stat {
    state: char,
    parent: i32,
    group: i32,
    start_time: u64,
}

impl Stat {
    /// Reads `/proc/PID/stat`; none where the process is gone.
    fn of(pid: i32) -> Option<Self> {
        let text = std::fs::read(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
        let text = String::from_utf8_lossy(&text);
        // The name in parentheses may have anything in it; the fields behind it are counted from 3.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let start_time = fields.nth(16)?.parse().ok()?;
        Some(Self { state, parent, group, start_time })
    }
}
