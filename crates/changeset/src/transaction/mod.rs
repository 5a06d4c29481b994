//! Carries out a plan completely or not at all. This is the only code that changes a root.
//!
//! ```text
//!  Plan ──► Planned ──stage──► Staged ──snapshot──► Snapshotted ──publish──► Published ──switch──► Receipt
//!            │ lay out          │ new objects         │ undo archives          │ journal durable     │ renames only,
//!            │ domains          │ beside their        │ records beside         │                     │ one sector
//!            │                  │ targets             │ their places           │                     │ commits
//!            └───────── a failure deletes the stage: nothing live has changed ─┘└─ a failure rolls back ┘
//! ```
//! Each step consumes the one before it, so none can be left out. patchadm-transaction(7) describes the protocol with
//! the reason for each step, patchadm-journal(5) the format of the journal. The guarantee: at any instant every path
//! holds the whole old or the whole new object; after recovery, all objects and records are as before or all are as
//! after; and no bytes written by anyone else are lost.

mod archive;
mod attempts;
mod content_source;
mod error;
mod journal;
mod objects;
mod opening;
mod recover;
mod rewind;
mod scripted;
mod settings;
mod stage;
mod steps;
mod switch;
mod switched_run;
#[cfg(test)]
mod tests;
mod tree;

pub use archive::outside::host_path;
pub use archive::verified::WrittenArchive;
pub use content_source::{ContentSource, FileSink, StreamError, WantedFile};
pub use error::{Cause, NoExchange, Phase, RootCondition, TransactionError};
pub use journal::failed_requests::note_failed_request;
pub use journal::installf_queue::{InstallfQueue, read_queue, undo_queue};
pub use journal::root_id_file::{renew_identity, settle_identity};
pub use recover::discard::{JournalFate, discard_journal};
pub use recover::finish::log_without_run;
pub use recover::foreseen::{ForeseenRecovery, foresee_recovery};
pub use recover::keep_stage::{KeptStage, keep_stage};
pub use recover::recovery::{Recovered, recover, recover_with, unfinished_script};
pub use recover::strays::{StuckStage, stuck_stage};
pub use scripted::{ScriptedRun, SettledAttributes};
pub use settings::{ProgressEvent, RunActivity, RunSettings, RunWatch};
pub use stage::safety_copies::{ProtectedObject, ProtectedPaths};
pub use steps::{Planned, Published, Receipt, Snapshotted, Staged, carry_out};
pub use switched_run::{ScriptRecorder, SwitchedRun};
pub use tree::foresight::foresee_exchanges;
pub use tree::request::{ExchangeReport, ExchangeRequest, ExchangeWay};
