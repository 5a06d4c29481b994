//! The first process inside a stage, which runs the command; only the program itself starts it.

use crate::call::Invocation;
use crate::reply::{Exit, Reply};
use patchadm_core::namespaces::serve;

/// Takes orders on standard input until the command ends.
pub(crate) fn run(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve()?;
    Ok(Reply::silent(Exit::OK))
}
