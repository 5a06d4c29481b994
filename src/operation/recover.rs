//! `patchadm recover`: what every changing command does first, alone.

use super::failure::Failure;
use super::session::{Caller, Session};
use crate::root::Root;
use crate::transaction::Recovered;

/// Finishes or rolls back whatever run of the root is unfinished.
pub fn recover_root(root: &Root, caller: &Caller<'_>) -> Result<Recovered, Failure> {
    Ok(Session::begin(root, caller)?.recovered)
}
