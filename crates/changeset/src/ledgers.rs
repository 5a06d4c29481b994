//! The interface to the ledgers of packages, which record the undo data left by a run. The layer above knows what a
//! ledger contains: a run hands it the archives written, and stores the resulting bytes.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::plan::{LedgerChange, Plan, UndoPlace};
use crate::transaction::{Cause, WrittenArchive};
use patchadm_rootfs::Root;
use patchadm_svr4::package::PkgInst;

/// Drafts ledgers.
pub trait Ledgers: Debug {
    /// Drafts the change of a ledger, or returns `None` if the ledger stays as it is.
    fn draft<'p>(
        &self,
        root: &Root,
        plan: &Plan,
        change: &'p LedgerChange,
    ) -> Result<Option<Box<dyn LedgerDraft + 'p>>, Cause>;
}

/// A ledger that changes.
pub trait LedgerDraft: Debug + Sync {
    /// Tells whether the ledger file exists now.
    fn is_there(&self) -> bool;

    /// Tells whether no line is left; the file is then removed.
    fn is_empty(&self) -> bool;

    /// Builds the text of the ledger, once all archives of `run` are written.
    fn bytes(&self, run: &str, written: &LedgerInput<'_>) -> Result<Vec<u8>, Cause>;
}

/// The archives written by a run, by package and patch, each with its place.
pub type SavedArchives = BTreeMap<(PkgInst, String), (WrittenArchive, UndoPlace)>;

/// The input of a run's ledgers.
#[derive(Debug)]
pub struct LedgerInput<'a> {
    /// The root being changed.
    pub root: &'a Root,
    /// The plan of the batch.
    pub plan: &'a Plan,
    /// The archives of this batch, by their index in the plan.
    pub written: &'a BTreeMap<usize, WrittenArchive>,
    /// The archives of earlier batches.
    pub saved: &'a SavedArchives,
}
