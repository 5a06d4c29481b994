//! The processes of tasks: each is a command of its slot, which gets its order and tells how it goes on.

use std::ffi::OsString;
use std::io;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use patchadm_bulk_values::conf::LimitName;

use super::messages::{RunMessage, TaskMessage};
use super::slot_command::{SlotCommand, cancel_job};
use crate::task::order::{TaskEvent, TaskOrder};

/// The time that a command has to end by itself, once its task has ended or is to end.
pub(super) const TO_LEAVE: Duration = Duration::from_secs(5);

/// The time for which the end of a command is waited for that has closed its output.
const TO_EXIT: Duration = Duration::from_millis(100);

/// How long the slot of a command prefix stays taken after its command is gone. An engine such as Slurm frees what a job had
/// a moment after its end; a next one that comes before waits for the engine's next look, a second or two.
pub(super) const TO_RELEASE: Duration = Duration::from_millis(50);

/// A task that is being carried out.
#[derive(Debug)]
pub(super) struct RunningTask {
    command: SlotCommand,
    /// The words of the command that cancels what it leaves at its engine.
    cancel: Vec<String>,
    /// The number of this start, which no other one of the run has.
    pub(super) start: u64,
    /// What it is to do.
    pub(super) order: TaskOrder,
    /// The number of its slot.
    pub(super) slot: usize,
    /// When it began.
    pub(super) began: Instant,
    /// When it was heard of last.
    pub(super) heard: Instant,
    /// Whether packages are being installed, for its build or for the check of its result.
    pub(super) installs: bool,
}

impl RunningTask {
    /// Starts a command and gives it its order as a line. Its messages go to `sender`.
    pub(super) fn start(
        (words, cancel): (&[OsString], Vec<String>),
        (order, line): (TaskOrder, Vec<u8>),
        (package, slot, start): (u32, usize, u64),
        sender: Sender<RunMessage>,
    ) -> io::Result<Self> {
        let (command, output) = SlotCommand::start(words, line)?;
        let to_end = sender.clone();
        // If nobody listens any more, the run is over.
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

    /// Tells whether the task goes on for longer than its build may take and this time.
    pub(super) fn is_late(&self, overtime: Duration) -> bool {
        let limit = self.order.limits.get(LimitName::Time).map(Duration::from_secs);
        limit.is_some_and(|limit| self.began.elapsed() > limit.saturating_add(overtime))
    }

    /// Asks the task to end: it kills everything of it.
    pub(super) fn end(&mut self) {
        self.command.close_input();
    }

    /// Returns how its command ended, if that is known soon.
    pub(super) fn exit(&mut self) -> Option<String> {
        self.command.status_within(TO_EXIT).map(|status| status.to_string())
    }

    /// Waits in a thread until the command is gone, ends it if it stays longer than it may, cancels what it leaves at its
    /// engine unless the task has told its end, lets its slot rest, and tells that it has room again; returns what the command
    /// was to do.
    pub(super) fn leave(
        self,
        (may_stay, rest): (Duration, Duration),
        has_ended: bool,
        sender: Sender<RunMessage>,
    ) -> TaskOrder {
        let Self { command, cancel, order, slot, .. } = self;
        std::thread::spawn(move || {
            // It is gone, or the system does not tell.
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
