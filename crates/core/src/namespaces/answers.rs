//! The messages between the caller of an enclosure and its first process.

use serde::{Deserialize, Serialize};

use super::enclosure::Enclosure;
use super::failure::{EnclosureEnd, EnclosureError, EnclosureNote};

/// An order for the first process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FirstOrder {
    /// Build this enclosure. This is the first message, and comes with the standard input of the command.
    Prepare { enclosure: Box<Enclosure>, is_superuser: bool, session: EnclosureSession },
    /// The ids are there that were asked for.
    GoOn,
    /// Start the command, in the foreground of the terminal if so.
    Start { in_front: bool },
    /// Send the command this signal.
    Signal(i32),
    /// Continue the stopped command; with `in_front`, in the foreground of the terminal.
    Continue { in_front: bool },
}

/// The session of everything inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EnclosureSession {
    /// That of the caller, with its terminal.
    OfCaller,
    /// One of its own, without a terminal.
    Own,
    /// One of its own, with the standard input as its terminal.
    Terminal,
}

/// An answer of the first process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FirstAnswer {
    /// Everything is mounted, and the process has a new user namespace: give it its ids.
    WantsIds,
    /// Everything is put together.
    Ready(Vec<EnclosureNote>),
    /// The order cannot be carried out; the process ends.
    Failed(EnclosureError),
    /// The command was stopped by this signal.
    Stopped(i32),
    /// The command has ended; the process ends.
    Ended(EnclosureEnd),
}
