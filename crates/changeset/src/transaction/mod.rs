//! Runs a plan completely or not at all; the only code that changes a root. The [front page](crate) describes the
//! protocol, patchadm-transaction(7) the reasons. At any instant, every path holds the whole old or the whole new
//! object, and no bytes by anyone else are lost.

mod archive;
mod error;
mod journal;
mod objects;
mod outside;
mod recover;
mod safety_copies;
mod scripted;
mod settings;
mod stage;
mod steps;
mod switch;
#[cfg(test)]
mod tests;
mod tree;

pub use archive::verified::VerifiedArchive;
pub use error::{Cause, NoExchange, Phase, RootCondition, TransactionError};
pub use journal::history_file::log_without_run;
pub use journal::installf_queue::{InstallfQueue, note_failed_request, read_queue, undo_queue};
pub use journal::root_id_file::{renew_identity, settle_identity};
pub use journal::run_notes::{ScriptRecorder, SwitchedRun};
pub use outside::{NamesArchive, OutsideAccess, host_path, is_own};
pub use recover::discard::{JournalFate, KeptStage, discard_journal, keep_stage};
pub use recover::foreseen::{ForeseenRecovery, foresee_recovery};
pub use recover::recovery::{Recovered, recover, recover_with, unfinished_script};
pub use recover::strays::{LeftoverStages, StuckStage, leftover_stages, stuck_stage};
pub use safety_copies::{ProtectedObject, ProtectedPaths};
pub use scripted::ScriptedRun;
pub use settings::{
    ContentSource, FileSink, LedgerDraft, LedgerInput, Ledgers, PackageManagers, ProgressEvent, RunActivity,
    RunSettings, RunWatch, SavedArchives, StreamError, WantedFile,
};
pub use steps::{Planned, Published, Receipt, Snapshotted, Staged, run_plan};
pub use tree::survey::{ExchangeReport, ExchangeRequest, ExchangeWay, foresee_exchanges};
