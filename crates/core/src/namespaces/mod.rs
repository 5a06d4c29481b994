//! A command in namespaces of its own: a private tree of mounts, processes that all end with the command, and for an
//! unprivileged user a user namespace.
//!
//! ```text
//! caller of enclose ── socket ──► first process ──► command, and all that it starts
//!   process namespace                process 1 of it, with a mount namespace of its own
//!   and user namespace made
//! ```
//!
//! An [`Enclosure`] says what is visible inside; [`enclose`] makes it, runs the command and returns its end. The first
//! process is the program itself, started anew with the argument [`FIRST_PROCESS`]. It builds the tree, starts the command
//! and reaps orphaned processes. It is tied to the caller twice: the kernel kills it with the caller, and it ends when the
//! socket closes. With it, the kernel ends every process inside, and with the last of them all mounts disappear. So no
//! matter what is killed, nothing is left to unmount.
//!
//! In place of a command the first process can do a work of the program itself, which [`serve`] is given by name. It then needs no
//! program inside, and the tree can be a few directories. It can also be a process of another program of this version, which does
//! a work of its own ([`ChosenWork`]).
//!
//! Nothing that is mounted inside is visible outside. The command inherits standard input, output and error, and no other
//! descriptor. With a shared terminal ([`EnclosureTerminal`]), if the caller is in its foreground, the command becomes the
//! foreground process, and stops and continues with the caller as a job. Otherwise everything inside has a session of its own,
//! with no terminal or a pseudo-terminal: nobody inside can type into the terminal of the caller.
//!
//! With [`OwnIds`], the first process enters a further user namespace when everything is mounted, and its caller says which
//! ids there are in it. The mounts, the network and the host name then belong to the namespace before: root inside can
//! neither mount anything of it anew nor change a setting of the kernel, and is nobody outside. Without, a read-only mount
//! protects from mistakes, not from a superuser inside.
//!
//! It knows nothing of stages.

mod enclosure;
mod first_process;
mod mounts;
mod place;
mod process;
mod rights;
mod segments;
mod signals;
mod supervisor;
mod tree;

pub use enclosure::{
    Access, ChosenWork, EnclosedCommand, Enclosure, EnclosureEnd, EnclosureError, EnclosureNote,
    EnclosureTerminal, EnclosureTree, HeldLock, IdMapping, Isolation, JudgedDirectory, Layers, MissingPlace,
    Mount, MountSource, OwnIds, ProcessLimit,
};
pub use first_process::{OwnWork, serve};
pub use process::{EnclosedWork, EnclosureProcess, serve_enclosure};
pub use rights::namespaces_forbidden;
pub use segments::{open_segments, serve_segments};
pub use supervisor::enclose;

/// The argument that makes the program the first process of an enclosure, which then only runs [`serve`].
pub const FIRST_PROCESS: &str = "__enclosed";

/// The name of a command of `patchadm` as a work of the first process. Its order is a list of words, in JSON.
pub const OWN_COMMAND: &str = "command";

/// The argument that makes the program the caller of an enclosure, which then only runs [`serve_enclosure`].
pub const ENCLOSING_PROCESS: &str = "__enclose";

/// The argument that makes the program open the list of segments of an enclosure for an ordinary user, which then only runs
/// [`serve_segments`].
pub const SEGMENTS_PROCESS: &str = "__segments";
