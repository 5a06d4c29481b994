//! The ends of an enclosure: of its command, and of commands that never ran.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The end of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnclosureEnd {
    /// It ended by itself, with this code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// This signal ended the first process, and with it everything inside.
    Lost(i32),
}

impl fmt::Display for EnclosureEnd {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(formatter, "exit {code}"),
            Self::Signalled(signal) | Self::Lost(signal) => write!(formatter, "signal {signal}"),
        }
    }
}

/// A remark on the mounts for the user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnclosureNote {
    /// The place was a symbolic link, or behind one.
    Link {
        /// The place as it was named.
        named: String,
        /// The actual place, where it was mounted.
        meant: String,
    },
    /// The place did not exist and was made.
    Made(String),
    /// The kernel refuses a private list of processes. That of the host is visible, read-only.
    HostProcesses,
}

/// The reasons why a command did not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EnclosureError {
    /// The caller may not make namespaces.
    #[error("namespaces are not allowed here: {0}")]
    NotAllowed(String),
    /// Directories cannot be laid over each other here: the directory for changes is on the wrong file system.
    #[error("overlay file systems are not possible here: {0}")]
    NoOverlay(String),
    /// The kernel knows no overlay file systems, or does not let the caller mount one.
    #[error("overlay file systems are refused: {0}")]
    OverlayRefused(String),
    /// The tree could not be put together, or a process was not started or lost.
    #[error("{0}")]
    Failed(String),
    /// No program of this name exists inside.
    #[error("{0}: not found inside")]
    NotFound(String),
    /// The program exists and cannot be run.
    #[error("{program}: {reason}")]
    NotExecutable {
        /// The program.
        program: String,
        /// The error of the system.
        reason: String,
    },
}

impl EnclosureError {
    /// Returns the error of a call that failed on an object.
    pub(super) fn failed(action: &str, path: impl fmt::Display, error: impl fmt::Display) -> Self {
        Self::Failed(format!("cannot {action} {path}: {error}"))
    }
}
