//! What a process knows of the objects of a run whose outcome is written.

use std::collections::{BTreeMap, HashSet};

use crate::format::stored_identities::StoredIdentity;
use crate::format::undo_files::StoredName;
use crate::transaction::switch::op_runner::OpRunner;

/// What a run knows of its objects when its outcome is written.
#[derive(Default)]
pub(crate) struct SwitchFindings {
    pub(super) notes: Vec<String>,
    /// The staged names of old files without set-id bits.
    pub(super) plain: HashSet<String>,
    /// How old objects that stay as undo data looked before the commit, if this process has committed and makes the first
    /// attempt at the end.
    pub(super) unchanged: Option<BTreeMap<StoredName, StoredIdentity>>,
}

impl SwitchFindings {
    /// Those of a process that finishes the run of another one, or that has undone its own.
    pub(crate) fn of_recovery(runner: Option<OpRunner<'_>>) -> Self {
        let of_runner = |runner: OpRunner<'_>| (runner.notes, runner.plain);
        let (notes, plain) = runner.map(of_runner).unwrap_or_default();
        Self { notes, plain, unchanged: None }
    }

    /// Those of the process that committed the run.
    pub(crate) fn of_commit(runner: Option<OpRunner<'_>>) -> Self {
        let of_runner = |runner: OpRunner<'_>| (runner.notes, runner.plain, runner.unchanged);
        let (notes, plain, unchanged) = runner.map(of_runner).unwrap_or_default();
        Self { notes, plain, unchanged: Some(unchanged) }
    }
}
