//! `patchadm recover`: what every changing command does first, alone.

use std::path::Path;

use super::failure::Failure;
use super::session::{Caller, Ground, Session, may_change};
use crate::database::own_directory;
use crate::root::Root;
use crate::transaction::Recovered;

/// Finishes or rolls back whatever run of the root is unfinished.
/// `undo_dir` is the directory in which it may have left undo archives outside the root.
pub fn recover_root(root: &Root, undo_dir: Option<&Path>, caller: &Caller<'_>) -> Result<Recovered, Failure> {
    may_change(root)?;
    // Without a directory for its journal no run ever began.
    if root.list(&own_directory())?.is_none() {
        return Ok(Recovered::Nothing);
    }
    Ok(Session::begin(Ground::of(root)?.naming(undo_dir), caller)?.recovered)
}
