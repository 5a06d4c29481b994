//! What a run hears while it goes on: of tasks, of probes of slots, and of distfiles.

use std::sync::mpsc::{Receiver, Sender, channel};

use patchadm_bulk_values::probe::SlotMisfit;
use patchadm_bulk_values::result::Key;

use crate::task::order::TaskEvent;

/// What a command of a task tells.
#[derive(Debug)]
pub(super) enum TaskMessage {
    /// An event.
    Event(TaskEvent),
    /// There is nothing more to come, and it did not tell its end; what it said beside its events.
    Gone(String),
}

/// Something that a run hears.
#[derive(Debug)]
pub(super) enum RunMessage {
    /// Of a task: the number of the package, and that of its start, of which a package may have several.
    Task { package: u32, start: u64, message: TaskMessage },
    /// A command of this slot is gone.
    Left(usize),
    /// The probe of this slot has ended.
    Probed(usize, Result<(), SlotMisfit>),
    /// The distfiles of the package with this key are there, or why not.
    Fetched { package: u32, key: Key, fetched: Result<(), String> },
}

/// The messages of a run.
#[derive(Debug)]
pub(super) struct RunMessages {
    /// For who sends them, from any thread.
    pub(super) sender: Sender<RunMessage>,
    pub(super) receiver: Receiver<RunMessage>,
}

impl RunMessages {
    pub(super) fn new() -> Self {
        let (sender, receiver) = channel();
        Self { sender, receiver }
    }
}
