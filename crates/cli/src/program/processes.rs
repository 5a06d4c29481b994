//! Processes that only programs of patchadm start, by hidden commands: those of an enclosure, those that run
//! scripts, and rpm.

use std::ffi::OsString;
use std::fs::File;

use crate::call::{Invocation, Work};
use crate::program;
use crate::reply::{Exit, ExitCause, Reply, Stop};
use patchadm_core::namespaces::{
    EnclosureEnd, EnclosureError, OWN_COMMAND, serve, serve_enclosure, serve_segments,
};
use patchadm_core::process::{close_inherited, leave_session_keyring};
use patchadm_core::script::{ScriptTool, ToolProgram, enter_session, supervise};
use patchadm_inputs::native::rpm::become_rpm;

/// Runs the first process of an enclosure, which takes orders on standard input until the command ends. Commands of patchadm
/// run in the process: no program of the tree is started for them.
pub fn run_first_process(call: &mut Invocation) -> anyhow::Result<Reply> {
    let of = call.of;
    let command = |order: File| {
        let words: Vec<String> = serde_json::from_reader(order)?;
        Ok(i32::from(program::run(of, words.into_iter().map(OsString::from))))
    };
    serve(&[(OWN_COMMAND, &command)])?;
    Ok(Reply::silent(Exit::OK))
}

/// Makes an enclosure for a caller with several threads.
pub fn run_enclosure(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_enclosure()?;
    Ok(Reply::silent(Exit::OK))
}

pub fn run_segments(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_segments()?;
    Ok(Reply::silent(Exit::OK))
}

/// Runs procedure scripts.
pub fn run_supervisor(call: &mut Invocation) -> anyhow::Result<Reply> {
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

/// Becomes a script in a session of its own.
pub fn run_session(_call: &mut Invocation) -> anyhow::Result<Reply> {
    enter_session()?;
    Ok(Reply::silent(Exit::OK))
}

/// Becomes rpm, without the rights of the caller.
pub fn run_rpm(call: &mut Invocation) -> anyhow::Result<Reply> {
    close_inherited()?;
    leave_session_keyring()?;
    let failed = become_rpm(&call.arguments);
    let exit = Exit::passed_on(OWN_FAILURE, ExitCause::Internal);
    Err(Stop::Refused { exit, message: failed.to_string() }.into())
}

/// Exit codes of env(1): own failure, command cannot be run, command not found.
const OWN_FAILURE: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_THERE: u8 = 127;

pub fn exit_of_command(end: EnclosureEnd) -> Exit {
    match end {
        EnclosureEnd::Exited(0) => Exit::OK,
        EnclosureEnd::Exited(code) => {
            Exit::passed_on(u8::try_from(code).unwrap_or(u8::MAX), ExitCause::Command)
        }
        EnclosureEnd::Signalled(signal) | EnclosureEnd::Lost(signal) => Exit::by_signal(signal),
    }
}

pub fn exit_of_enclosure(error: &EnclosureError) -> Exit {
    match error {
        EnclosureError::NotAllowed(_) => Exit::of_verb(ExitCause::NoRights),
        EnclosureError::Failed(_) | EnclosureError::NoOverlay(_) | EnclosureError::OverlayRefused(_) => {
            Exit::passed_on(OWN_FAILURE, ExitCause::Internal)
        }
        EnclosureError::NotFound(_) => Exit::passed_on(NOT_THERE, ExitCause::NotFound),
        EnclosureError::NotExecutable { .. } => Exit::passed_on(NOT_EXECUTABLE, ExitCause::NoRights),
    }
}
