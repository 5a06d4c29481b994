//! The second process of the program, which runs procedure scripts, and the one that becomes a script in a session of its own.
//! Only the program itself starts them.

use crate::call::Invocation;
use crate::reply::{Exit, Reply};
use patchadm_core::script::{enter_session, supervise};

/// Takes orders on standard input until it ends.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let commands = call.applets.iter().filter(|applet| applet.has_own_name()).map(|applet| applet.name);
    supervise(&commands.collect::<Vec<_>>())?;
    Ok(Reply::silent(Exit::OK))
}

/// Enters a session and becomes the script that it is told on standard input.
pub(crate) fn run_session(_call: &mut Invocation) -> anyhow::Result<Reply> {
    enter_session()?;
    Ok(Reply::silent(Exit::OK))
}
