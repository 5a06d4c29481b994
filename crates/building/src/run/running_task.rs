//! Task processes: commands of slots that receive an order and send events.

use std::ffi::OsString;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use patchadm_bulk_values::conf::LimitName;
use patchadm_bulk_values::probe::SlotMisfit;
use patchadm_bulk_values::result::ResultKey;

use super::slot_command::{SlotCommand, cancel_job};
use crate::sources::FetchFailure;
use crate::task::order::{TaskEvent, TaskOrder};

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
        key: ResultKey,
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
