//! Runs a command in namespaces of its own: a private mount tree, processes that all end with the command, and a user
//! namespace for an unprivileged user.
//!
//! ```text
//! caller of enclose ── socket ──► first process ──► command, and all that it starts
//!   process namespace                process 1 of it, with a mount namespace of its own
//!   and user namespace made
//! ```
//!
//! The first process is this program, started as [`FIRST_PROCESS`]. The kernel kills it with its caller, and everything
//! inside with it: after any crash, nothing is left to unmount. Without [`OwnIds`], a read-only mount protects from
//! mistakes only, not from a superuser inside.

mod enclosure;
mod first_process;
mod mounts;
mod process;
mod rights;
mod segments;
mod signals;
mod supervisor;
mod tree;

pub use enclosure::{
    Access, ChosenWork, EnclosedCommand, EnclosedMount, Enclosure, EnclosureEnd, EnclosureError,
    EnclosureNote, EnclosureTerminal, EnclosureTree, HeldLock, IdMapping, Isolation, JudgedDirectory, Layers,
    MissingPlace, MountSource, OwnIds, ProcessLimit,
};
pub use first_process::{OwnWork, serve};
pub use process::{EnclosedWork, EnclosureProcess, serve_enclosure};
pub use rights::namespaces_forbidden;
pub use segments::{IpcList, open_ipc_list, serve_segments};
pub use supervisor::enclose;

/// Starts the program as the first process of an enclosure ([`serve`]).
pub const FIRST_PROCESS: &str = "__enclosed";

/// A `patchadm` command as a task of the first process. Its request is a JSON list of words.
pub const OWN_COMMAND: &str = "command";

/// Starts the program as the caller of an enclosure ([`serve_enclosure`]).
pub const ENCLOSING_PROCESS: &str = "__enclose";

/// Starts the program to open a list of an enclosure's segments, semaphores or queues for an ordinary user
/// ([`serve_segments`]).
pub const SEGMENTS_PROCESS: &str = "__segments";
