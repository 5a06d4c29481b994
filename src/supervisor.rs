//! The second process of the program, which runs procedure scripts; only the program itself starts it.

use crate::call::Invocation;
use crate::reply::{Exit, Reply};
use patchadm_core::script::supervise;

/// Takes orders on standard input until it ends.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let commands = call.applets.iter().filter(|applet| applet.has_own_name()).map(|applet| applet.name);
    supervise(&commands.collect::<Vec<_>>())?;
    Ok(Reply::silent(Exit::OK))
}
