//! The second process of the program, which runs procedure scripts, and the one that becomes a script in a session of
//! its own. Only the program itself starts them.

use crate::call::{Invocation, Work};
use crate::reply::{Exit, Reply};
use patchadm_core::script::{ScriptTool, ToolProgram, enter_session, supervise};

pub fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let commands = call.of.applets.iter().filter(|applet| applet.has_own_name());
    let running = call.surroundings.binary.as_deref();
    let tools = commands.map(|applet| ScriptTool {
        name: applet.name,
        program: match &applet.work {
            Work::Here(_) => ToolProgram::This,
            Work::Beside(sibling) => sibling
                .find_for_scripts(running)
                .map_or(ToolProgram::Missing(sibling.name), ToolProgram::Other),
        },
    });
    supervise(&tools.collect::<Vec<_>>())?;
    Ok(Reply::silent(Exit::OK))
}

pub fn run_session(_call: &mut Invocation) -> anyhow::Result<Reply> {
    enter_session()?;
    Ok(Reply::silent(Exit::OK))
}
