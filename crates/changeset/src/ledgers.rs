//! The ledgers of packages, which say what undo data a run leaves. What a ledger is, the layer above knows: a run hands
//! it what was written, and carries the bytes.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::package::PkgInst;
use crate::plan::{LedgerChange, Plan, UndoPlace};
use crate::root::Root;
use crate::transaction::{Cause, WrittenArchive};

/// Makes ledgers.
pub trait Ledgers: Debug {
    /// Drafts what a change makes of a ledger; `None` where it stays as it is.
    fn draft<'p>(
        &self,
        root: &Root,
        plan: &Plan,
        change: &'p LedgerChange,
    ) -> Result<Option<Box<dyn LedgerDraft + 'p>>, Cause>;
}

/// A ledger that changes.
pub trait LedgerDraft: Debug + Sync {
    /// Whether there is a file now.
    fn is_there(&self) -> bool;

    /// Whether no line is left: then the file goes.
    fn is_empty(&self) -> bool;

    /// The bytes of the file, when all archives are written. `run` is the name of the run.
    fn bytes(&self, run: &str, written: &LedgerInput<'_>) -> Result<Vec<u8>, Cause>;
}

/// Archives that a run has written, by package and patch, each with its place.
pub type SavedArchives = BTreeMap<(PkgInst, String), (WrittenArchive, UndoPlace)>;

/// The archives that a run has written.
#[derive(Debug)]
pub struct LedgerInput<'a> {
    /// The root that changes.
    pub root: &'a Root,
    /// What the run does.
    pub plan: &'a Plan,
    /// The archives of this batch, by their place in the plan.
    pub written: &'a BTreeMap<usize, WrittenArchive>,
    /// Those of the batches before.
    pub saved: &'a SavedArchives,
}
