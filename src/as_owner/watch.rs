//! When the process of an owner is killed: its user may stop or trace it, and would hold the caller up for ever. Its
//! helpers can be held as well, so after a signal it has a limited time.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use patchadm_rootfs::proc_text;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

/// From a signal to SIGKILL: the process rolls back first.
const TIME_TO_END: Duration = Duration::from_secs(30);

/// A hang-up may come twice at once, and is no second signal.
const BETWEEN_SIGNALS: Duration = Duration::from_secs(1);

/// From SIGKILL to the moment at which the caller goes on: a tracer keeps even the dead.
pub(super) const TIME_TO_DIE: Duration = Duration::from_secs(3);

/// The signals that ask the caller for its end.
#[derive(Clone, Copy)]
pub(crate) struct CallerSignals<'a> {
    pub(crate) first: &'a (dyn Fn() -> Option<i32> + Sync),
    /// How many came.
    pub(crate) count: &'a (dyn Fn() -> usize + Sync),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KillReason {
    Stopped,
    Traced,
    SecondSignal,
    Time,
}

#[derive(Clone, Copy, Debug)]
struct PassedSignal {
    signal: i32,
    since: Instant,
    /// How many signals had come a moment later.
    count: usize,
}

#[derive(Debug, Default)]
pub(super) struct ProcessWatch {
    passed_on: Option<PassedSignal>,
    killed: Option<(KillReason, Instant)>,
}

impl ProcessWatch {
    /// Returns the signal to send to the process now.
    pub(super) fn next_signal(&mut self, process: Pid, signals: CallerSignals<'_>) -> Option<Signal> {
        if self.killed.is_some() {
            return None;
        }
        if let Some(reason) = held(process).or_else(|| self.impatience(signals)) {
            self.killed = Some((reason, Instant::now()));
            return Some(Signal::KILL);
        }
        if self.passed_on.is_some() {
            return None;
        }
        let signal = (signals.first)()?;
        self.passed_on = Some(PassedSignal { signal, since: Instant::now(), count: (signals.count)() });
        Some(Signal::from_named_raw(signal).unwrap_or(Signal::TERM))
    }

    fn impatience(&mut self, signals: CallerSignals<'_>) -> Option<KillReason> {
        let passed = self.passed_on.as_mut()?;
        let (count, took) = ((signals.count)(), passed.since.elapsed());
        if took < BETWEEN_SIGNALS {
            passed.count = count;
        }
        if count > passed.count {
            return Some(KillReason::SecondSignal);
        }
        (took > TIME_TO_END).then_some(KillReason::Time)
    }

    /// True if the process does not end even by SIGKILL.
    pub(super) fn is_hopeless(&self) -> bool {
        self.killed.is_some_and(|(_, since)| since.elapsed() > TIME_TO_DIE)
    }

    /// Returns the signal of the caller that the process was killed after.
    pub(super) fn passed_on(&self) -> Option<i32> {
        let is_after_signal = |(reason, _): &(KillReason, Instant)| {
            matches!(reason, KillReason::SecondSignal | KillReason::Time)
        };
        self.killed.filter(is_after_signal).and(self.passed_on).map(|passed| passed.signal)
    }

    /// Says how the process has ended, as a predicate; `signal` is `None` if a tracer keeps it.
    pub(super) fn end(&self, signal: Option<i32>) -> String {
        match (self.killed, signal) {
            (Some((KillReason::Stopped, _)), _) => "was killed because it was stopped".to_owned(),
            (Some((KillReason::Traced, _)), _) => "was killed because another process traced it".to_owned(),
            (Some((KillReason::SecondSignal, _)), _) => "was killed at a second signal".to_owned(),
            (Some((KillReason::Time, _)), _) => {
                format!("was killed because it did not end within {} s of a signal", TIME_TO_END.as_secs())
            }
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => "has ended while another process traced it".to_owned(),
        }
    }
}

fn held(process: Pid) -> Option<KillReason> {
    if is_stopped(process) {
        return Some(KillReason::Stopped);
    }
    is_traced(process).then_some(KillReason::Traced)
}

fn is_stopped(process: Pid) -> bool {
    let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(process), options).is_ok_and(|status| status.is_some_and(|status| status.stopped()))
}

/// True if anybody but the superuser traces a thread of the process. Its parent sees no such stop.
fn is_traced(process: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", process.as_raw_pid())).into_iter().flatten();
    threads.flatten().any(|thread| is_held(&status_in(&thread.path()), &user_of))
}

fn status_in(directory: &Path) -> String {
    proc_text(&directory.join("status")).unwrap_or_default()
}

/// Returns the real uid, which a set-id program of the owner keeps.
fn user_of(process: &str) -> Option<String> {
    let status = status_in(&Path::new("/proc").join(process));
    field(&status, "Uid:").split_ascii_whitespace().next().map(str::to_owned)
}

/// Reads a status file of proc(5). A tracer outside of this process namespace is 0, and its stops show.
fn is_held(status: &str, user_of: &dyn Fn(&str) -> Option<String>) -> bool {
    let tracer = Some(field(status, "TracerPid:")).filter(|tracer| !matches!(*tracer, "" | "0"));
    match tracer.and_then(user_of) {
        Some(user) => user != "0",
        None => field(status, "State:").starts_with('t'),
    }
}

fn field<'a>(status: &'a str, name: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_the_superuser_holds_what_they_trace() {
        let status = |state: &str, tracer: &str| {
            format!("Name:\tpatchadm\nState:\t{state}\nPid:\t7\nTracerPid:\t{tracer}\nUid:\t9\t9\t9\t9\n")
        };
        let user_of = |process: &str| match process {
            "1" => Some("0".to_owned()),
            "8" => Some("1000".to_owned()),
            _ => None,
        };
        for (state, tracer, expected) in [
            ("S (sleeping)", "0", false),
            ("T (stopped)", "0", false),
            ("S (sleeping)", "8", true),
            ("t (tracing stop)", "8", true),
            ("t (tracing stop)", "1", false),
            ("t (tracing stop)", "0", true),
            ("S (sleeping)", "9", false),
        ] {
            assert_eq!(is_held(&status(state, tracer), &user_of), expected, "{state} {tracer}");
        }
        assert!(!is_held("", &user_of), "it has ended");
    }

    fn signals<'a>(
        first: &'a (dyn Fn() -> Option<i32> + Sync),
        count: &'a (dyn Fn() -> usize + Sync),
    ) -> CallerSignals<'a> {
        CallerSignals { first, count }
    }

    #[test]
    fn a_signal_is_passed_on_once_and_a_second_one_kills_unless_it_comes_at_once() {
        let own = rustix::process::getpid();
        let mut watch = ProcessWatch::default();
        assert_eq!(watch.next_signal(own, signals(&|| None, &|| 0)), None);
        assert_eq!(watch.next_signal(own, signals(&|| Some(15), &|| 1)), Some(Signal::TERM));
        assert_eq!(watch.next_signal(own, signals(&|| Some(15), &|| 2)), None);
        let passed = watch.passed_on.as_mut().unwrap();
        passed.since = passed.since.checked_sub(BETWEEN_SIGNALS).unwrap();
        assert_eq!(watch.next_signal(own, signals(&|| Some(15), &|| 2)), None);
        assert_eq!(watch.next_signal(own, signals(&|| Some(15), &|| 3)), Some(Signal::KILL));
        assert_eq!(watch.next_signal(own, signals(&|| Some(15), &|| 4)), None);
        assert_eq!(
            (watch.passed_on(), watch.end(Some(9)).as_str()),
            (Some(15), "was killed at a second signal")
        );
        assert!(!watch.is_hopeless());
    }

    #[test]
    fn a_process_that_does_not_end_after_a_signal_is_killed() {
        let own = rustix::process::getpid();
        let mut watch = ProcessWatch::default();
        assert_eq!(watch.next_signal(own, signals(&|| Some(2), &|| 1)), Some(Signal::INT));
        let passed = watch.passed_on.as_mut().unwrap();
        passed.since = passed.since.checked_sub(TIME_TO_END).unwrap();
        assert_eq!(watch.next_signal(own, signals(&|| Some(2), &|| 1)), Some(Signal::KILL));
        assert_eq!(watch.passed_on(), Some(2));
    }
}
