//! The processes of an enclosure: the first one inside, which runs the command, and one that makes an enclosure for a caller
//! with several. Only the program itself starts them.

use crate::call::Invocation;
use crate::reply::{Exit, Reply};
use patchadm_building::task::{PACKING, pack_in_enclosure};
use patchadm_core::namespaces::{serve, serve_enclosure};

/// Takes orders on standard input until the command ends.
pub(crate) fn run(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve(&[(PACKING, pack_in_enclosure)])?;
    Ok(Reply::silent(Exit::OK))
}

/// Makes the one enclosure that it is told on standard input.
pub(crate) fn run_enclosure(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_enclosure()?;
    Ok(Reply::silent(Exit::OK))
}
