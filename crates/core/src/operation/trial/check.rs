//! The check after a run on trial: a shell command whose exit code tells whether the root works. It has a time limit, a
//! process group and no input; its group is killed at the end.

use std::io::Read;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{io, thread};

use super::request::TrialCheckRequest;
use crate::operation::failure::Failure;
use crate::operation::patches::after_run::AfterRun;
use patchadm_inputs::trial::TrialRecord;
use patchadm_rootfs::INTERRUPTED;
use rustix::process::{Pid, Signal, kill_process_group};

/// 1 MiB.
const LARGEST_OUTPUT: usize = 1 << 20;

const TOLD_LINES: usize = 20;

/// In characters.
const LONGEST_LINE: usize = 1_000;

const PAUSE: Duration = Duration::from_millis(20);

/// For output after the process has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

const SHELL: &str = "/bin/sh";

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialCheckEnd {
    /// The root works.
    Good,
    Code(i32),
    Signal(i32),
    /// Exceeded this many seconds.
    Late(u64),
    /// Too much output.
    Endless,
    /// A signal asked the command to end.
    Interrupted(i32),
    NotRun(String),
}

impl TrialCheckEnd {
    pub fn clause(&self) -> String {
        match self {
            Self::Good => "said yes".to_owned(),
            Self::Code(code) => format!("exited with code {code}"),
            Self::Signal(signal) => format!("was ended by signal {signal}"),
            Self::Late(seconds) => format!("did not end within {seconds} seconds"),
            Self::Endless => "wrote more than 1 MiB".to_owned(),
            Self::Interrupted(_) => format!("was {INTERRUPTED}"),
            Self::NotRun(reason) => format!("could not be run: {reason}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialCheckReport {
    pub end: TrialCheckEnd,
    /// Last lines of output.
    pub lines: Vec<String>,
}

impl TrialCheckReport {
    /// Returns the end of the check for the history, which everybody may read: its output may contain secrets.
    pub(super) fn note(&self) -> String {
        format!("the probe {}", self.end.clause())
    }
}

/// `interrupt` returns a signal that asks the command to end.
pub fn run_trial_check(
    request: &TrialCheckRequest,
    root: &Path,
    interrupt: &dyn Fn() -> Option<i32>,
) -> TrialCheckReport {
    let started = started(request, root);
    let (mut child, output) = match started {
        Ok(started) => started,
        Err(error) => {
            return TrialCheckReport { end: TrialCheckEnd::NotRun(error.to_string()), lines: Vec::new() };
        }
    };
    let mut said = Vec::new();
    let end = watched(&mut child, &output, request.limit, interrupt, &mut said);
    kill_group(&child);
    // Reap a killed process.
    let _ = child.wait();
    TrialCheckReport { end, lines: last_lines(&said) }
}

fn started(request: &TrialCheckRequest, root: &Path) -> io::Result<(Child, Receiver<Vec<u8>>)> {
    let (mut reader, writer) = io::pipe()?;
    let child = Command::new(SHELL)
        .arg("-c")
        .arg(&request.command)
        .env("PATCHADM_ROOT", root)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    let (tell, told) = channel();
    // Ends with the pipe, or with this process.
    thread::spawn(move || {
        let mut piece = vec![0; 1 << 16];
        let mut left = LARGEST_OUTPUT + 1;
        while left > 0 {
            let room = left.min(piece.len());
            let Some(place) = piece.get_mut(..room) else { return };
            match reader.read(place) {
                Ok(0) => return,
                Ok(count) => {
                    left -= count;
                    let Some(bytes) = piece.get(..count) else { return };
                    if tell.send(bytes.to_vec()).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    });
    Ok((child, told))
}

fn watched(
    child: &mut Child,
    output: &Receiver<Vec<u8>>,
    limit: u64,
    interrupt: &dyn Fn() -> Option<i32>,
    said: &mut Vec<u8>,
) -> TrialCheckEnd {
    let began = Instant::now();
    loop {
        match output.recv_timeout(PAUSE) {
            Ok(bytes) => said.extend(bytes),
            Err(RecvTimeoutError::Timeout) => {}
            // The output is closed, but the process may run.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(PAUSE),
        }
        if said.len() > LARGEST_OUTPUT {
            said.truncate(LARGEST_OUTPUT);
            return TrialCheckEnd::Endless;
        }
        match child.try_wait() {
            Ok(Some(status)) => {
                let end = match (status.code(), status.signal()) {
                    (Some(0), _) => TrialCheckEnd::Good,
                    (Some(code), _) => TrialCheckEnd::Code(code),
                    (None, signal) => TrialCheckEnd::Signal(signal.unwrap_or_default()),
                };
                return with_last_words(end, output, said);
            }
            Ok(None) => {}
            Err(error) => return TrialCheckEnd::NotRun(error.to_string()),
        }
        if began.elapsed() >= Duration::from_secs(limit) {
            return TrialCheckEnd::Late(limit);
        }
        if let Some(signal) = interrupt() {
            return TrialCheckEnd::Interrupted(signal);
        }
    }
}

/// A leftover process may keep the pipe open.
fn with_last_words(end: TrialCheckEnd, output: &Receiver<Vec<u8>>, said: &mut Vec<u8>) -> TrialCheckEnd {
    let until = Instant::now() + LAST_WORDS;
    while let Ok(bytes) = output.recv_timeout(until.saturating_duration_since(Instant::now())) {
        said.extend(bytes);
        if said.len() > LARGEST_OUTPUT {
            said.truncate(LARGEST_OUTPUT);
            return TrialCheckEnd::Endless;
        }
    }
    end
}

fn kill_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // The group may be gone.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn last_lines(said: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(said);
    let lines: Vec<&str> = text.lines().collect();
    let first = lines.len().saturating_sub(TOLD_LINES);
    lines.iter().skip(first).map(|line| line.chars().take(LONGEST_LINE).collect()).collect()
}

#[derive(Debug)]
pub struct TrialOutcome {
    pub record: TrialRecord,
    pub check: Option<TrialCheckReport>,
    /// As far as the command caused it.
    pub end: TrialOutcomeEnd,
    /// Work after the confirmation.
    pub after: AfterRun,
}

#[derive(Debug)]
pub enum TrialOutcomeEnd {
    OnTrial,
    /// The check succeeded, and no longer trial was requested.
    Confirmed,
    BackedOut,
    /// The next command repeats the failed step.
    Failed(Failure),
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::never;

    fn checked(command: &str, limit: u64) -> TrialCheckReport {
        let request = TrialCheckRequest { command: command.to_owned(), limit };
        run_trial_check(&request, Path::new("/the/root"), &never)
    }

    #[test]
    fn a_check_says_yes_by_its_exit_code_alone() {
        let good = checked("echo \"$PATCHADM_ROOT\"; echo second >&2", 10);
        assert_eq!(
            good,
            TrialCheckReport {
                end: TrialCheckEnd::Good,
                lines: vec!["/the/root".to_owned(), "second".to_owned()]
            }
        );
        assert_eq!(checked("exit 3", 10).end, TrialCheckEnd::Code(3));
        assert_eq!(checked("echo secret; exit 3", 10).note(), "the probe exited with code 3");
        assert_eq!(checked("/no/such/program", 10).end, TrialCheckEnd::Code(127));
        assert_eq!(checked("kill -9 $$", 10).end, TrialCheckEnd::Signal(9));
    }

    #[test]
    fn the_last_twenty_lines_are_told() {
        let lines = checked("seq 1 50; exit 1", 10).lines;
        assert_eq!((lines.len(), lines.first().unwrap().as_str()), (20, "31"));
    }

    #[test]
    fn a_check_that_hangs_is_killed_with_all_of_its_group() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("late");
        let report = checked(&format!("(sleep 3; touch {}) & sleep 60", place.display()), 1);
        assert_eq!(report.end, TrialCheckEnd::Late(1));
        thread::sleep(Duration::from_secs(3));
        assert!(!place.exists());
    }

    #[test]
    fn a_check_that_writes_without_end_is_cut() {
        let began = Instant::now();
        assert_eq!(checked("yes", 60).end, TrialCheckEnd::Endless);
        assert_eq!(checked("head -c 1000000000 /dev/zero; exit 0", 60).end, TrialCheckEnd::Endless);
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_process_that_a_check_leaves_behind_is_not_waited_for() {
        let began = Instant::now();
        assert_eq!(checked("setsid sleep 30 & exit 0", 60).end, TrialCheckEnd::Good);
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_signal_ends_the_waiting() {
        let request = TrialCheckRequest { command: "sleep 60".to_owned(), limit: 60 };
        let report = run_trial_check(&request, Path::new("/"), &|| Some(15));
        assert_eq!(report.end, TrialCheckEnd::Interrupted(15));
    }
}
