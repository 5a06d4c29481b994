//! The second process of the program, which runs procedure scripts; nobody but the program itself starts it.

use crate::applets::{APPLETS, Applet, Invocation};
use crate::reply::exit::Exit;
use crate::script::supervise;

/// Takes orders on standard input until it ends.
pub(crate) fn run(_call: &mut Invocation) -> anyhow::Result<Exit> {
    let commands: Vec<&str> =
        APPLETS.iter().filter(|applet| applet.has_own_name()).map(|Applet { name, .. }| *name).collect();
    supervise(&commands)?;
    Ok(Exit::OK)
}
