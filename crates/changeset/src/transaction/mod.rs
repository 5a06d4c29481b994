//! Runs a plan completely or not at all; the only code that changes a root. The [front page](crate) describes the
//! protocol, patchadm-transaction(7) the reasons. At any instant, every path holds the whole old or the whole new
//! object, and no bytes by anyone else are lost.

mod archive {
    //! Snapshot, records: saves old objects, and stages records.

    pub(crate) mod merged_contents;
    pub(crate) mod rebuild;
    pub(crate) mod records;
    pub(crate) mod stored_files;
    pub(crate) mod undo_archive;
    pub(crate) mod verified;
}
mod error;
mod finish;
mod journal {
    pub(crate) mod history_file;
    pub(crate) mod installf_queue;
    pub(crate) mod journal_file;
    pub(crate) mod root_id_file;
    pub(crate) mod run_notes;
}
mod objects {
    pub(crate) mod attributes;
    pub(crate) mod copies;
    pub(crate) mod identity;
    pub(crate) mod names;
}
mod outside;
mod recover {
    pub(crate) mod discard;
    pub(crate) mod foreseen;
    pub(crate) mod left_to_owner;
    pub(crate) mod recovery;
    pub(crate) mod set_id;
    pub(crate) mod strays;
}
mod safety_copies;
mod scripted;
mod settings;
mod stage {
    //! Stage: writes new objects and safety copies beside their targets.

    pub(crate) mod domains;
    pub(crate) mod layout;
    pub(crate) mod layout_stager;
    pub(crate) mod object_stager;
    pub(crate) mod staged_versions;
}
mod steps;
mod switch {
    //! The switch: runs or undoes each op by one atomic rename.

    pub(crate) mod delivered;
    pub(crate) mod fallback;
    pub(crate) mod op_runner;
}
#[cfg(test)]
mod tests;
mod tree {
    //! Directories whose changes become visible at once, by exchanging a complete new one. Unchanged files are hard
    //! links in both, so edits in place reach both. A list ([`list_file`]) tells which object is where; the outgoing
    //! directory is emptied afterwards ([`dropping`]).

    pub(crate) mod dropping;
    pub(crate) mod list_file;
    pub(crate) mod staging;
    pub(crate) mod survey;
}

pub use archive::verified::VerifiedArchive;
pub use error::{Cause, NoExchange, Phase, RootCondition, TransactionError};
pub use journal::history_file::{keep_attempt_without_run, log_without_run};
pub use journal::installf_queue::{InstallfQueue, note_failed_request, read_queue, undo_queue};
pub use journal::journal_file::{run_undone_by, typed_command};
pub use journal::root_id_file::{renew_identity, settle_identity};
pub use journal::run_notes::{OUTPUT_LEFT_OUT, ScriptRecorder, SwitchedRun};
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
pub use tree::survey::{ExchangeReport, ExchangeWay, foresee_exchanges};
