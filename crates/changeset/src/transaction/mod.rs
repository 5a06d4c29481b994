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
mod content_source;
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
mod settings;
mod sites;
mod stage;
mod staged_files;
mod steps;
mod strays;
#[cfg(test)]
mod tests;
mod verified;
mod versions;
mod way_back;
mod whereabouts;

pub use content_source::{ContentSource, FileSink, StreamError, WantedFile};
pub use error::{Cause, Phase, RootCondition, TransactionError};
pub use failed_requests::note_failed_request;
pub use finish::log_without_run;
pub use held::{ProtectedObject, ProtectedPaths};
pub use outside::host_path;
pub use queue::{InstallfQueue, read_queue, undo_queue};
pub use recover::{Recovered, recover, recover_with, unfinished_script};
pub use scripted::{ScriptedRun, SettledAttributes};
pub use settings::{ProgressEvent, RunActivity, RunSettings, RunWatch};
pub use steps::{Planned, Published, Receipt, Snapshotted, Staged, carry_out};
pub use verified::WrittenArchive;
