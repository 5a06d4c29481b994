//! Carrying a plan out, all of it or nothing: the only code that changes a root.
//!
//! ```text
//!  Plan ──► Planned ──stage──► Staged ──snapshot──► Snapshotted ──publish──► Published ──switch──► Receipt
//!            │ lay out          │ new objects         │ undo archives          │ journal durable     │ renames only,
//!            │ domains          │ beside their        │ records beside         │                     │ one sector
//!            │                  │ targets             │ their places           │                     │ commits
//!            └───────── a failure deletes the stage: nothing live has changed ─┘└─ a failure rolls back ┘
//! ```
//! Each step consumes the one before it, so none can be left out. The protocol, with the reason for each step, is
//! patchadm-transaction(7); the journal's format is patchadm-journal(5). The promise: every path is whole, old or new,
//! at any instant; after recovery the set and its records are all as before or all as after; nobody else's bytes are
//! lost.

mod alone;
mod archive;
mod attributes;
mod dirs;
mod early;
mod error;
mod failed_requests;
mod fallback;
mod finish;
mod hands;
mod held;
mod identity;
mod journal_file;
mod kept_manifest;
mod layout;
mod making;
mod means;
mod merged;
mod notes;
mod opening;
mod outside;
mod own_stage;
mod put_back;
mod queue;
mod rebuild;
mod records;
mod recover;
mod rewind;
mod scripted;
mod set_id;
mod sites;
mod stage;
mod steps;
mod strays;
#[cfg(test)]
mod tests;
mod verified;
mod versions;
mod way_back;
mod whereabouts;

use std::io::Read;

use crate::format::journal::Story;
use crate::ledgers::Ledgers;
use crate::package::PackagePath;

pub use error::{Cause, Left, Phase, TransactionError};
pub use failed_requests::note_failed_request;
pub use finish::log_without_run;
pub use held::{Held, HeldObject};
pub use outside::host_path;
pub use queue::{RunQueue, read_queue, undo_queue};
pub use recover::{Recovered, recover, recover_with, unfinished_script};
pub use scripted::{ScriptedRun, Settled};
pub use steps::{Planned, Published, Receipt, Snapshotted, Staged, carry_out};
pub use verified::Written;

/// Where the content of new files comes from: a patch, a package, an undo archive.
pub trait Content {
    /// Streams every file for which `wanted` (number of the package, path in it) is true to `sink`, in whatever order
    /// the source has them.
    fn stream(&mut self, wanted: &Wanted<'_>, sink: &mut Sink<'_>) -> Result<(), StreamError>;
}

/// Whether a file of the source is needed.
pub type Wanted<'w> = dyn Fn(usize, &PackagePath) -> bool + 'w;

/// Takes the bytes of one file.
pub type Sink<'s> = dyn FnMut(usize, &PackagePath, &mut dyn Read) -> Result<(), Cause> + 's;

/// Why streaming ended early.
#[derive(Debug)]
pub enum StreamError {
    /// The source is at fault.
    Source(Box<dyn std::error::Error + Send + Sync>),
    /// The taker is.
    Sink(Cause),
}

/// Who is asked between steps whether to go on, and told how far the run is: given by the command line, which catches
/// signals and may show a bar.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// The signal that wants the run to end, if one came.
    pub interrupt: &'a dyn Fn() -> Option<i32>,
    /// Takes what happens.
    pub progress: &'a dyn Fn(Event),
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Something begins that has this many units.
    Begins(Doing, u64),
    /// So many units more are done.
    Advances(u64),
}

/// What a run is doing, with the unit in which it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// New objects are written beside their targets: bytes.
    Staging,
    /// Old objects are saved: bytes.
    Saving,
    /// Names are exchanged: names.
    Switching,
}

impl Watch<'_> {
    fn check(self) -> Result<(), Cause> {
        match (self.interrupt)() {
            Some(signal) => Err(Cause::Interrupted(signal)),
            None => Ok(()),
        }
    }

    fn begins(self, doing: Doing, units: u64) {
        (self.progress)(Event::Begins(doing, units));
    }

    fn advances(self, units: u64) {
        (self.progress)(Event::Advances(units));
    }
}

impl std::fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// What a run needs beside its plan.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// What is told of the run in history and log.
    pub story: &'a Story,
    /// The marker of the root, for its first journal; a later one takes that of the journal before.
    pub marker: &'a str,
    /// A random number that no other run has.
    pub nonce: u64,
    /// Makes the ledgers that the run leaves.
    pub ledgers: &'a dyn Ledgers,
    /// Asked and told between steps.
    pub watch: Watch<'a>,
    /// Milliseconds since the command began, asked when the run is told of.
    pub elapsed: &'a dyn FnMilliseconds,
}

/// A clock that was started by the command line.
pub trait FnMilliseconds: Fn() -> u64 {}

impl<F: Fn() -> u64> FnMilliseconds for F {}

impl std::fmt::Debug for dyn FnMilliseconds + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FnMilliseconds")
    }
}
