//! `patchadm recover`: what every changing command does first, alone.

use std::path::Path;

use super::failure::Failure;
use super::session::{Caller, RootAndPolicy, Session, may_change, must_have_database};
use crate::database::{DatabaseError, RecordView, all, installed, policy};
use crate::plan::patch::interrupted::{Interrupted, interrupted};
use patchadm_changeset::transaction::Recovered;
use patchadm_rootfs::Root;
use patchadm_svr4::places::own_directory;

/// What recovery found in a root.
#[derive(Debug)]
pub struct Recovery {
    /// The run of this program that was unfinished.
    pub run: Recovered,
    /// The patches that a tool without recovery left half applied. There is nothing to recover them from.
    pub interrupted: Vec<Interrupted>,
}

/// Finishes or rolls back whatever run of the root is unfinished.
/// `undo_dir` is the directory in which it may have left undo archives outside the root.
pub fn recover_root(root: &Root, undo_dir: Option<&Path>, caller: &Caller<'_>) -> Result<Recovery, Failure> {
    may_change(root)?;
    // Without a directory for its journal no run ever began.
    let run = if root.list(&own_directory())?.is_none() {
        must_have_database(root)?;
        Recovered::Nothing
    } else {
        Session::begin(RootAndPolicy::of(root)?.naming(undo_dir), caller)?.recovered
    };
    Ok(Recovery { run, interrupted: left_half_applied(root)? })
}

fn left_half_applied(root: &Root) -> Result<Vec<Interrupted>, Failure> {
    let separator = policy::of_root(root)?.separator;
    let half = all::each(&RecordView::live(root), |package| {
        let inst = package.inst();
        let installed = match installed::installed(package.view(), inst) {
            // What is wrong with a record is told by those who need it.
            Err(DatabaseError::Damaged(_)) => None,
            read => read?,
        };
        Ok::<_, Failure>(installed.map(|installed| interrupted(inst, &installed, &separator)))
    })?;
    Ok(half.into_iter().flatten().collect())
}
