//! Commands of slots, started with a line of input and ended by closing it, then by signals; and the tasks that they run.

use std::ffi::OsString;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use patchadm_bulk_values::conf::LimitName;
use patchadm_bulk_values::probe::SlotMisfit;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::de::DeserializeOwned;

use crate::sources::FetchFailure;
use crate::task::{LONGEST_LINE, TaskEvent, TaskOrder};

/// Kept other output, in bytes.
const MOST_SAID: usize = 1 << 10;

const MOST_ERRORS: u64 = 1 << 20;

/// From SIGTERM to SIGKILL.
const BEFORE_KILL: Duration = Duration::from_secs(3);

/// Between two checks for an exit without pidfd.
const PAUSE: Duration = Duration::from_millis(10);

const LONGEST_CANCEL: Duration = Duration::from_secs(20);

/// Cancels a job at its engine. Without an answer, the job ends with its time limit.
pub(super) fn cancel_job(words: &[String]) {
    let Some((program, arguments)) = words.split_first() else { return };
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Ok(child) = command.spawn() {
        let _ = SlotCommand { child, input: None }.leave(LONGEST_CANCEL);
    }
}

/// A running command. Its own process group keeps terminal signals away: the run may let it continue.
#[derive(Debug)]
pub(super) struct SlotCommand {
    child: Child,
    input: Option<CommandInput>,
}

#[derive(Debug)]
struct CommandInput {
    _open: Result<ChildStdin, Sender<()>>,
}

impl CommandInput {
    /// Sends the first line: directly if the pipe has room, otherwise in a thread. A command that reads nothing does
    /// not answer, so errors are ignored.
    fn begin(mut input: ChildStdin, mut line: Vec<u8>) -> Self {
        let written =
            fcntl_setfl(&input, OFlags::NONBLOCK).map_or(0, |()| input.write(&line).unwrap_or_default());
        line.drain(..written.min(line.len()));
        if line.is_empty() {
            return Self { _open: Ok(input) };
        }
        let _ = fcntl_setfl(&input, OFlags::empty());
        let (open, closed) = channel::<()>();
        std::thread::spawn(move || {
            let _ = input.write_all(&line);
            let _ = closed.recv();
        });
        Self { _open: Err(open) }
    }
}

pub(super) struct SlotOutput {
    output: Option<ChildStdout>,
    errors: Option<ChildStderr>,
}

impl SlotCommand {
    pub(super) fn start(words: &[OsString], mut line: Vec<u8>) -> io::Result<(Self, SlotOutput)> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut command = Command::new(program);
        command.args(arguments).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        line.push(b'\n');
        let input = child.stdin.take().map(|input| CommandInput::begin(input, line));
        let output = SlotOutput { output: child.stdout.take(), errors: child.stderr.take() };
        Ok((Self { child, input }, output))
    }

    /// Closes the input, which tells the processes behind the command to end.
    fn close_input(&mut self) {
        self.input = None;
    }

    pub(super) fn status_within(&mut self, time: Duration) -> Option<ExitStatus> {
        self.wait(time).ok().flatten()
    }

    /// Waits for the exit. Sends SIGTERM after `grace`, and SIGKILL soon after.
    pub(super) fn leave(mut self, grace: Duration) -> io::Result<ExitStatus> {
        self.close_input();
        if let Some(status) = self.wait(grace)? {
            return Ok(status);
        }
        self.signal(Signal::TERM);
        if let Some(status) = self.wait(BEFORE_KILL)? {
            return Ok(status);
        }
        self.signal(Signal::KILL);
        self.child.wait()
    }

    fn wait(&mut self, at_most: Duration) -> io::Result<Option<ExitStatus>> {
        let began = Instant::now();
        let gone = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty());
        loop {
            let status = self.child.try_wait()?;
            let left = at_most.saturating_sub(began.elapsed());
            if status.is_some() || left.is_zero() {
                return Ok(status);
            }
            let polled = match (&gone, Timespec::try_from(left)) {
                (Ok(gone), Ok(left)) => poll(&mut [PollFd::new(gone, PollFlags::IN)], Some(&left)),
                _ => Err(Errno::NOSYS),
            };
            if !matches!(polled, Ok(_) | Err(Errno::INTR)) {
                std::thread::sleep(left.min(PAUSE));
            }
        }
    }

    /// The process has not been reaped, so its number is still valid.
    fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have exited already.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl SlotOutput {
    /// Reads at most `most` bytes of lines in a thread, until `each` returns false. Passes other output and standard
    /// error to `gone` at the end.
    pub(super) fn read_apart<T: DeserializeOwned>(
        self,
        most: u64,
        mut each: impl FnMut(T) -> bool + Send + 'static,
        gone: impl FnOnce(String) + Send + 'static,
    ) {
        std::thread::spawn(move || {
            let errors = read_errors(self.errors);
            let mut said = Vec::new();
            let output = self.output.map(|output| BufReader::new(output.take(most)));
            if output.is_some_and(|output| read_lines(output, &mut each, &mut said)) {
                return;
            }
            // A remaining process may hold it open.
            said.extend(errors.recv_timeout(Duration::from_secs(2)).unwrap_or_default());
            let begin = said.len().saturating_sub(MOST_SAID);
            gone(String::from_utf8_lossy(said.get(begin..).unwrap_or_default()).trim().to_owned());
        });
    }
}

fn read_errors(errors: Option<ChildStderr>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut said = Vec::new();
        if let Some(errors) = errors {
            let _ = errors.take(MOST_ERRORS).read_to_end(&mut said);
        }
        let _ = sender.send(said);
    });
    receiver
}

/// Returns true if `each` stopped it.
fn read_lines<T: DeserializeOwned>(
    mut output: BufReader<impl io::Read>,
    each: &mut impl FnMut(T) -> bool,
    said: &mut Vec<u8>,
) -> bool {
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut output).take(LONGEST_LINE as u64).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
        match serde_json::from_slice::<T>(&line) {
            Ok(value) => {
                if !each(value) {
                    return true;
                }
            }
            Err(_) if said.len() < MOST_SAID => said.extend(&line),
            Err(_) => {}
        }
    }
}

/// Time for a command to exit by itself after its task.
pub(super) const TO_LEAVE: Duration = Duration::from_secs(5);

/// Time for a command to exit after it closed its output.
const TO_EXIT: Duration = Duration::from_millis(100);

/// How long a slot stays taken after its command exits. An engine such as Slurm releases resources a moment later; an
/// earlier job would wait a second or two for the next scheduling pass.
pub(super) const TO_RELEASE: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct RunningTask {
    command: SlotCommand,
    /// Cancels a job left at its engine.
    cancel: Vec<String>,
    /// Unique for each start.
    pub(super) start: u64,
    pub(super) order: TaskOrder,
    pub(super) slot: usize,
    pub(super) began: Instant,
    pub(super) heard: Instant,
    /// True during an installation, for the build or the check.
    pub(super) installs: bool,
}

impl RunningTask {
    /// Starts a command and sends it the order as a line. Messages go to `sender`.
    pub(super) fn start(
        (words, cancel): (&[OsString], Vec<String>),
        (order, line): (TaskOrder, Vec<u8>),
        (package, slot, start): (u32, usize, u64),
        sender: Sender<RunMessage>,
    ) -> io::Result<Self> {
        let (command, output) = SlotCommand::start(words, line)?;
        let to_end = sender.clone();
        // Without a listener, the run is over.
        let each = move |event: TaskEvent| {
            let is_end = matches!(event, TaskEvent::End(_));
            let message = TaskMessage::Event(event);
            sender.send(RunMessage::Task { package, start, message }).is_ok() && !is_end
        };
        let gone = move |said| {
            let _ = to_end.send(RunMessage::Task { package, start, message: TaskMessage::Gone(said) });
        };
        output.read_apart(u64::MAX, each, gone);
        let began = Instant::now();
        Ok(Self { command, cancel, start, order, slot, began, heard: began, installs: false })
    }

    /// Checks the time limit plus this additional time.
    pub(super) fn is_late(&self, overtime: Duration) -> bool {
        let limit = self.order.limits.get(LimitName::Time).map(Duration::from_secs);
        limit.is_some_and(|limit| self.began.elapsed() > limit.saturating_add(overtime))
    }

    /// Tells the task to kill all its processes and end.
    pub(super) fn end(&mut self) {
        self.command.close_input();
    }

    /// Returns the exit status if the command exits soon.
    pub(super) fn exit(&mut self) -> Option<String> {
        self.command.status_within(TO_EXIT).map(|status| status.to_string())
    }

    /// Waits in a thread for the exit, at most `may_stay`. Cancels the job unless the task ended, then reports free
    /// room.
    pub(super) fn leave(
        self,
        (may_stay, rest): (Duration, Duration),
        has_ended: bool,
        sender: Sender<RunMessage>,
    ) -> TaskOrder {
        let Self { command, cancel, order, slot, .. } = self;
        std::thread::spawn(move || {
            // An error here changes nothing.
            let _ = command.leave(may_stay);
            if !has_ended {
                cancel_job(&cancel);
            }
            std::thread::sleep(rest);
            let _ = sender.send(RunMessage::Left(slot));
        });
        order
    }
}

#[derive(Debug)]
pub(super) enum TaskMessage {
    Event(TaskEvent),
    /// Other output, after an end without an event.
    Gone(String),
}

#[derive(Debug)]
pub(super) enum RunMessage {
    /// The package, and the number of its start.
    Task {
        package: u32,
        start: u64,
        message: TaskMessage,
    },
    Left(usize),
    Probed(usize, Result<(), SlotMisfit>),
    /// The error says why distfiles are missing.
    Fetched {
        package: u32,
        fetched: Result<(), FetchFailure>,
    },
}

#[derive(Debug)]
pub(super) struct RunMessages {
    pub(super) sender: Sender<RunMessage>,
    pub(super) receiver: Receiver<RunMessage>,
}

impl RunMessages {
    pub(super) fn new() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a shell script that gets `line`. Returns it, and the numbers and the other text that it prints.
    fn start(script: &str, line: &str, most: u64) -> (SlotCommand, Receiver<Result<u32, String>>) {
        let words = ["/bin/sh", "-c", script].map(OsString::from);
        let (command, output) = SlotCommand::start(&words, line.as_bytes().to_vec()).unwrap();
        let (sender, receiver) = channel();
        let gone = sender.clone();
        let each = move |number: u32| sender.send(Ok(number)).is_ok() && number != 0;
        output.read_apart(most, each, move |said| drop(gone.send(Err(said))));
        (command, receiver)
    }

    #[test]
    fn a_command_gets_its_line_and_ends_when_its_input_is_closed() {
        let (command, messages) = start("read line; echo $line; cat > /dev/null; exit 7", "12", 1000);
        assert_eq!(messages.recv().unwrap(), Ok(12));
        let status = command.leave(Duration::from_secs(60)).unwrap();
        assert_eq!((status.code(), messages.recv().unwrap()), (Some(7), Err(String::new())));
    }

    #[test]
    fn what_is_no_line_of_its_kind_is_told_when_it_is_gone() {
        let (command, messages) = start("echo hello; echo 3; echo oops >&2", "", 1000);
        assert_eq!(messages.recv().unwrap(), Ok(3));
        assert_eq!(messages.recv().unwrap(), Err("hello\noops".to_owned()));
        assert!(command.leave(Duration::from_secs(60)).unwrap().success());
    }

    #[test]
    fn a_flood_is_cut_off() {
        let (command, messages) = start("yes", "", 100_000);
        let said = messages.recv().unwrap().unwrap_err();
        assert!(said.len() <= MOST_SAID && said.starts_with("y\ny\n"), "{said}");
        assert!(!command.leave(Duration::ZERO).unwrap().success());
    }

    #[test]
    fn a_command_that_ignores_its_input_and_signals_is_ended_with_what_it_started() {
        let script = "trap '' TERM; sleep 1000 & echo $!; echo 0; while :; do sleep 1000; done";
        let (command, messages) = start(script, &"x".repeat(1 << 20), 1000);
        let Ok(below) = messages.recv().unwrap() else { panic!("it ended") };
        assert_eq!(messages.recv().unwrap(), Ok(0));
        assert!(!command.leave(Duration::ZERO).unwrap().success());
        // Processes killed with it take a moment to disappear.
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let stat = std::fs::read_to_string(format!("/proc/{below}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                break;
            }
            assert!(Instant::now() < until, "{stat}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
