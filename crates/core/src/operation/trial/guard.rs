//! After the lock of a run on trial: its check, `patchadm confirm`, and status. If this process dies, the next command
//! finds an expired trial.

use std::cell::Cell;
use std::thread;
use std::time::Duration;

use super::check::{TrialCheckEnd, TrialCheckReport, TrialOutcome, TrialOutcomeEnd, run_trial_check};
use super::expire::{FoundTrial, begin_with_trial, end_failed_trial, perform_records};
use super::request::{ConfirmRefusal, TrialChange, TrialRequest};
use crate::operation::failure::Failure;
use crate::operation::patches::after_run::{AfterRun, after_run};
use crate::operation::session::{Caller, RootAndPolicy, may_change, must_have_database};
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::history::trial;
use patchadm_inputs::database::history::{HistoryEntry, readable_history};
use patchadm_inputs::database::{RecordView, read_consistently};
use patchadm_inputs::trial::{Moment, OverReason, TrialRecord, TrialState};
use patchadm_planning::plan::refusal::Command;
use patchadm_rootfs::{INTERRUPTED, LockHolder, Root};

const PAUSE: Duration = Duration::from_millis(50);

/// One minute.
const MOST_LOOKS: u32 = 1_200;

/// Runs the check and ends the trial accordingly. `wait_for_end` starts a process that waits for the end. `None` if the
/// run is not on trial.
pub fn guard_run(
    root: &Root,
    run: &str,
    request: &TrialRequest,
    caller: &Caller<'_>,
    wait_for_end: &dyn Fn(&TrialRecord),
) -> Result<Option<TrialOutcome>, Failure> {
    let record = trial(&RecordView::live(root))?.filter(|record| record.run == run);
    let Some(record) = record else { return Ok(None) };
    wait_for_end(&record);
    let check = request.check.as_ref().map(|check| run_trial_check(check, root.prefix(), caller.interrupt));
    let looks = Cell::new(0);
    let patience = |_: &LockHolder| {
        looks.set(looks.get() + 1);
        thread::sleep(PAUSE);
        looks.get() < MOST_LOOKS
    };
    let following = Caller { wait: &patience, ..caller.doing_to_its_end() };
    let done = match &check {
        Some(TrialCheckReport { end: TrialCheckEnd::Good, .. }) if record.guards_check => {
            confirm(root, run, &following)
        }
        None | Some(TrialCheckReport { end: TrialCheckEnd::Good, .. }) => {
            Ok(not_yet(TrialOutcomeEnd::OnTrial))
        }
        Some(_) => back_out(root, run, &following).map(not_yet),
    };
    let (end, after) = done.unwrap_or_else(|failure| not_yet(TrialOutcomeEnd::Failed(failure)));
    Ok(Some(TrialOutcome { record, check, end, after }))
}

fn not_yet(end: TrialOutcomeEnd) -> (TrialOutcomeEnd, AfterRun) {
    (end, AfterRun::default())
}

/// Unless another command did.
fn confirm(root: &Root, run: &str, caller: &Caller<'_>) -> Result<(TrialOutcomeEnd, AfterRun), Failure> {
    match confirm_trial(root, Some(run), false, &caller.doing(Command::Confirm.name())) {
        Ok(report) => Ok((TrialOutcomeEnd::Confirmed, report.after)),
        Err(Failure::NotConfirmed(ConfirmRefusal::NotOnTrial(_))) => Ok(not_yet(TrialOutcomeEnd::Confirmed)),
        Err(failure) => Err(failure),
    }
}

/// Unless another command ended the trial.
fn back_out(root: &Root, run: &str, caller: &Caller<'_>) -> Result<TrialOutcomeEnd, Failure> {
    if end_failed_trial(root, run, caller)?.is_some() {
        return Ok(TrialOutcomeEnd::BackedOut);
    }
    match without_trial(root, Some(run)) {
        ConfirmRefusal::Ended { .. } => Ok(TrialOutcomeEnd::BackedOut),
        ConfirmRefusal::NoTrial | ConfirmRefusal::NotOnTrial(_) => Ok(TrialOutcomeEnd::Confirmed),
    }
}

const CONFIRMED: &str = "confirmed";

#[derive(Debug)]
pub struct ConfirmReport {
    pub recovered: Recovered,
    pub trial: TrialRecord,
    pub receipt: Receipt,
    /// Policy work, which waits during a trial.
    pub after: AfterRun,
}

/// An expired trial is ended first and cannot be confirmed, except one that cannot be backed out, with
/// `despite_failure`.
pub fn confirm_trial(
    root: &Root,
    run: Option<&str>,
    despite_failure: bool,
    caller: &Caller<'_>,
) -> Result<ConfirmReport, Failure> {
    must_have_database(root)?;
    may_change(root)?;
    let (session, found) = begin_with_trial(RootAndPolicy::of(root)?, caller, &[])?;
    let trial = match found {
        FoundTrial::Running(record) => record,
        FoundTrial::Stuck(record, _) if despite_failure => record,
        stuck @ FoundTrial::Stuck(..) => {
            stuck.must_be_none(caller)?;
            return Err(Failure::NotConfirmed(without_trial(root, run)));
        }
        FoundTrial::None | FoundTrial::Expired(..) => {
            return Err(Failure::NotConfirmed(without_trial(root, run)));
        }
    };
    if let Some(word) = run.filter(|word| !is_named(&trial.run, word)) {
        return Err(Failure::NotConfirmed(without_trial(root, Some(word))));
    }
    let change = TrialChange::ending(&trial, CONFIRMED, &[]);
    let session = session.changing_trial(change);
    let receipt = perform_records(&session, Command::Confirm.name(), Vec::new())?;
    let session = session.changing_trial(TrialChange::None);
    let after = after_run(&session);
    Ok(ConfirmReport { recovered: session.recovered, trial, receipt, after })
}

fn is_named(run: &str, word: &str) -> bool {
    run == word || run.split_once('-').is_some_and(|(number, _)| number == word)
}

fn without_trial(root: &Root, run: Option<&str>) -> ConfirmRefusal {
    let history = readable_history(&RecordView::live(root));
    let is_meant = |entry: &&HistoryEntry| {
        let of = entry.trial_end.as_ref().filter(|_| entry.result == "done");
        of.is_some_and(|end| run.is_none_or(|word| is_named(&end.run, word)) && end.end != "stuck")
    };
    let end = history.iter().rev().find(is_meant).and_then(|entry| entry.trial_end.clone());
    match (end, run) {
        (Some(end), _) if end.end != CONFIRMED => ConfirmRefusal::Ended { run: end.run, end: end.end },
        (_, Some(run)) => ConfirmRefusal::NotOnTrial(run.escape_debug().to_string()),
        (_, None) => ConfirmRefusal::NoTrial,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialStatus {
    pub record: TrialRecord,
    /// The next command that changes the root backs out its patches.
    pub is_over: bool,
    /// Over because its probe failed.
    pub has_failed: bool,
}

/// `None` if no run is on trial.
pub fn trial_status(root: &Root, now: &Moment) -> Result<Option<TrialStatus>, Failure> {
    let record = read_consistently(root, |view| trial(view).map_err(Failure::from))?;
    Ok(record.map(|record| {
        let state = record.state(now);
        let is_over = matches!(state, TrialState::Over(_));
        TrialStatus { record, is_over, has_failed: state == TrialState::Over(OverReason::ProbeFailed) }
    }))
}

impl TrialStatus {
    /// Without a period. `deadline` is its end for people.
    pub fn sentence(&self, deadline: &str) -> String {
        match (&self.record.stuck, self.is_over) {
            (Some(reason), true) if self.has_failed => format!("probe failed, backout pending: {reason}"),
            (Some(reason), true) => format!("trial expired, backout pending: {reason}"),
            (None, true) => {
                "trial expired, will be backed out by the next command that changes the root".to_owned()
            }
            (_, false) => format!("on trial until {deadline}"),
        }
    }
}

/// 1 MiB.
const LARGEST_OUTPUT: usize = 1 << 20;

const TOLD_LINES: usize = 20;

/// In characters.
const LONGEST_LINE: usize = 1_000;

const OUTPUT_PAUSE: Duration = Duration::from_millis(20);

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
            Self::Code(code) => format!("ended with code {code}"),
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

/// The command has a time limit, a process group and no input; its group is killed at the end.
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
    let child = process::Command::new(SHELL)
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
        match output.recv_timeout(OUTPUT_PAUSE) {
            Ok(bytes) => said.extend(bytes),
            Err(RecvTimeoutError::Timeout) => {}
            // The output is closed, but the process may run.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(OUTPUT_PAUSE),
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
