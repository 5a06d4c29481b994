//! Changes many objects of a root as one: all of them or none, regardless of any interruption.
//!
//! This crate knows objects and records as bytes, and knows no patches. The layer above passes the changes as a
//! [`Plan`](plan::Plan), and passes values for matters that only it understands: [`Ledgers`](transaction::Ledgers) makes
//! the ledgers that a run leaves, [`OutsideAccess`](transaction::OutsideAccess) says which undo archives of the host
//! recovery may touch, and [`PackageManagers`](transaction::PackageManagers) which objects others wrote meanwhile.
//!
//! # The protocol
//! ```text
//!  Plan ─► Planned ─stage─► Staged ─snapshot─► Snapshotted ─publish─► Published ─switch─► Receipt
//!           │ domains,        │ new objects       │ undo archives,       │ the journal      │ renames only;
//!           │ what stands     │ beside their      │ records beside       │ is durable       │ one sector
//!           │ in the way      │ targets           │ their places         │                  │ commits
//!           └──── a failure removes the stages: nothing live has changed ──┘└─ a failure rolls back
//! ```
//! A *run* is one change of a root. A *domain* is a set of targets on one mount and file system, so that a rename
//! reaches all of them from the *stage* of the domain, the directory where the run keeps objects that are not in their
//! places. Each step consumes the one before it, so none can be left out.
//!
//! - **Lock.** The holder of the lock first recovers any unfinished run; only then is the root read.
//! - **Stage.** Every new object is written into the stage of its domain, final in owner, mode, attributes and time.
//! - **Snapshot.** Every outgoing object is saved in an undo archive, which is read back while it is written.
//! - **Records.** `contents` is merged once; it and every other record are staged like objects.
//! - **Sync, publish.** Every domain is made durable, then the journal gets its name. From here recovery rolls back.
//! - **Switch.** Only renames: additions, exchanges, attributes, deletions, records last. The objects that come out of
//!   an exchange are checked: one that someone has changed since the plan is kept, and the run is rolled back.
//! - **Commit.** Every domain is made durable again; then one sector of the journal says `commit`. Before it every domain
//!   can go back, because its old objects are in its own stage; after it every domain is forward already.
//! - **Finish.** History and log get their lines, the stages are removed, the journal says `done`. All of this can be
//!   repeated.
//!
//! # Recovery
//! | the journal | what is done |
//! | --- | --- |
//! | is not there, or says `done` | nothing; stages that belong to no run are removed |
//! | has no outcome | the run is rolled back, each op by what stands at its target and in its stage |
//! | says `rolled-back` | the run is finished: everything is as before |
//! | says `commit` | the run is finished: everything is as after |
//! | is damaged, or says what no run writes | nothing is touched |
//!
//! Every field that is read from a root is checked before it is used. patchadm-transaction(7) describes the protocol
//! with all its cases, patchadm-journal(5) the journal, and patchadm-undo(5) the undo archive.
//!
//! # Readers
//! Readers take no lock and never wait: a [`RecordView`](records::RecordView) shows all records as before a run or all
//! as after it, at any moment of the run, even after a crash.

// Unit tests make their own trees; the lints apply to the library as built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]
#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]

pub mod archive_file;
pub mod format {
    //! Formats of files that a run leaves.

    pub mod contents_merge;
    pub mod contents_stamp;
    pub mod escaped;
    pub mod foreign_json;
    pub mod history;
    pub mod installf_queue;
    pub mod journal;
    pub mod manifest;
    pub(crate) mod ordered;
    pub mod outside_path;
    mod recorded_state;
    pub mod run;
    pub(crate) mod tree_list;
    pub mod undo_files;
    pub mod undo_sidecars;
}
pub mod limits;
pub mod plan;
pub mod records;
pub mod stored_file;
pub mod transaction;

pub use crate::plan::RecordFile;

#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
