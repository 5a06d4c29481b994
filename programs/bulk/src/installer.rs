//! The `patchadm` that installs packages, and tries patches, in sandboxes.

use std::path::PathBuf;

use patchadm_cli::call::Invocation;
use patchadm_cli::program::sibling::{NotRun, find_operators_program};
use patchadm_cli::reply::Stop;

/// Finds it beside this program. It has the same version, and nobody else could have put it there.
pub(crate) fn find_installer(call: &Invocation) -> Result<PathBuf, NotRun> {
    find_operators_program(call.surroundings.binary.as_deref(), call.of.name)
}

/// Refuses an action that would need it later, if it may not be run.
pub(crate) fn must_have_installer(call: &Invocation) -> Result<(), Stop> {
    Ok(find_installer(call).map(drop)?)
}
