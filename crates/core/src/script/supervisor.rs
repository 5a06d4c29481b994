//! The second process: runs scripts, and ends them when the program dies. Its one thread waits for the channel, the
//! script and the clock. A closed channel means that the program is dead: the script and its descendants are ended, the
//! directory is removed, and exit releases the lock.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::child::{ScriptChild, reap_strays};
use super::host::{HostOrder, OpenOrder, RunOrder, SupervisorAnswer};
use super::tools::{ScriptTool, ToolDirectory, ToolProgram};
use super::trust::ScriptUser;
use super::{ScriptEnd, ScriptError};
use crate::process::{MessageChannel, close_inherited, leave_session_keyring};
use crate::script::processes::ScriptLock;
use crate::script::tools;
use patchadm_rootfs::Root;

/// Bytes of a script searched for commands.
const LARGEST_LOOKED_AT: u64 = 16 << 20;

/// Runs the second process: reads orders from standard input, a socket, until it closes. `commands` become tools of the
/// scripts.
///
/// For a process that was just started for this: closes all other inherited descriptors and sets umask 022.
pub fn supervise(commands: &[ScriptTool]) -> io::Result<()> {
    close_inherited()?;
    outlive_signals()?;
    // Adopts orphans of scripts, to end them with the script.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    let mut channel = MessageChannel::of_standard_input()?;
    let Some(HostOrder::Open(opening)) = channel.receive()? else { return Ok(()) };
    let state = match SupervisorState::open(&opening, commands) {
        Ok(shop) => shop,
        Err(error) => return channel.send(&refusal(error), None),
    };
    let ready = SupervisorAnswer::Ready {
        directory: state.tools.path().into(),
        absolute_tools: state.absolute_tools.as_ref().err().cloned(),
    };
    channel.send(&ready, None)?;
    while let Some(order) = channel.receive()? {
        // Other orders concern a script that has ended since.
        let HostOrder::Run(running) = order else { continue };
        if let Some(reason) = lacks_command(Path::new(&running.file), commands) {
            channel.send(&SupervisorAnswer::Failed { reason }, None)?;
        } else if !run(&mut channel, &running)? {
            break;
        }
    }
    Ok(())
}

/// Returns why a script cannot run: it calls a command whose program is not installed. Many scripts ignore failing
/// commands, and undo packages that they make with pkgproto(1) and pkgmk(1) would lack objects.
fn lacks_command(script: &Path, commands: &[ScriptTool]) -> Option<String> {
    let missing: Vec<(&str, &str)> = commands
        .iter()
        .filter_map(|tool| match tool.program {
            ToolProgram::Missing(program) => Some((tool.name, program)),
            _ => None,
        })
        .collect();
    if missing.is_empty() {
        return None;
    }
    let mut text = Vec::new();
    File::open(script).ok()?.take(LARGEST_LOOKED_AT).read_to_end(&mut text).ok()?;
    let (name, program) = missing.into_iter().find(|(name, _)| calls(&text, name))?;
    Some(format!("it calls {name}, which is part of {program}, which is not installed (package {program})"))
}

fn calls(script: &[u8], command: &str) -> bool {
    let lines = script.split(|&byte| byte == b'\n');
    let mut code = lines.filter(|line| !line.trim_ascii_start().starts_with(b"#"));
    let is_end = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"_-.".contains(byte));
    code.any(|line| line.split(is_end).any(|word| word == command.as_bytes()))
}

/// Survives the terminal's signals, which reach the whole foreground. The program decides and closes the channel.
/// Scripts still receive them, because handlers do not survive exec.
fn outlive_signals() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::default())?;
    }
    Ok(())
}

fn refusal(error: ScriptError) -> SupervisorAnswer {
    match error {
        ScriptError::Locked { path, holder } => SupervisorAnswer::Locked { path, holder },
        other => SupervisorAnswer::Failed { reason: other.to_string() },
    }
}

struct SupervisorState {
    tools: ToolDirectory,
    absolute_tools: Result<(), String>,
    /// Released after the cleanup.
    _lock: ScriptLock,
}

impl SupervisorState {
    fn open(opening: &OpenOrder, commands: &[ScriptTool]) -> Result<Self, ScriptError> {
        let root_path = Path::new(&opening.root);
        let root = Root::open(root_path)?;
        let lock = ScriptLock::take(&root)?;
        let user = opening.user.map(|(uid, gid)| ScriptUser { uid, gid });
        let tools = ToolDirectory::lay_out(&PathBuf::from(&opening.temporary), commands, user)?;
        let absolute_tools = if opening.absolute_tools {
            tools::provide(&tools, root_path, commands)
        } else {
            Err("they were not asked for".to_owned())
        };
        Ok(Self { tools, absolute_tools, _lock: lock })
    }
}

fn run(channel: &mut MessageChannel, running: &RunOrder) -> io::Result<bool> {
    // A keyring per script: none sees keys of the caller, or of an earlier script with other rights.
    let made = leave_session_keyring()
        .and_then(|()| channel.descriptor().ok_or_else(|| io::Error::other("its input is missing")));
    let made = made.and_then(|input| ScriptChild::make(running, input));
    let script = match made.and_then(|script| Ok((script.process()?, script))) {
        Ok((process, script)) => {
            channel.send(&SupervisorAnswer::Began(process), None)?;
            script
        }
        Err(error) => {
            channel.send(&SupervisorAnswer::Failed { reason: error.to_string() }, None)?;
            return Ok(true);
        }
    };
    let ended = match follow(channel, &script, running.limit_ms) {
        SupervisorEvent::Ended => {
            let ended = script.ended()?;
            reap_strays();
            ended
        }
        SupervisorEvent::Ordered => {
            drop(script);
            ScriptEnd::Interrupted
        }
        SupervisorEvent::TimeIsUp => {
            drop(script);
            ScriptEnd::TimedOut
        }
        SupervisorEvent::Alone => {
            drop(script);
            return Ok(false);
        }
    };
    channel.send(&SupervisorAnswer::Ended(ended), None)?;
    Ok(true)
}

enum SupervisorEvent {
    Ended,
    Ordered,
    TimeIsUp,
    Alone,
}

fn follow(channel: &mut MessageChannel, script: &ScriptChild, limit_ms: Option<u64>) -> SupervisorEvent {
    let mut until = None;
    loop {
        match next(channel, script.handle(), until) {
            Ready::Script => return SupervisorEvent::Ended,
            Ready::Late => return SupervisorEvent::TimeIsUp,
            Ready::Line => match channel.receive::<HostOrder>() {
                Ok(Some(HostOrder::Go)) => {
                    until = limit_ms.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
                    script.begin();
                }
                Ok(Some(_)) => return SupervisorEvent::Ordered,
                Ok(None) | Err(_) => return SupervisorEvent::Alone,
            },
        }
    }
}

enum Ready {
    Line,
    Script,
    Late,
}

fn next(channel: &MessageChannel, script: &OwnedFd, until: Option<Instant>) -> Ready {
    if channel.has_message() {
        return Ready::Line;
    }
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        let mut fds = [
            PollFd::from_borrowed_fd(script.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(channel.fd(), PollFlags::IN),
        ];
        let polled = poll(&mut fds, timeout.as_ref());
        let [of_script, of_line] = fds.map(|fd| !fd.revents().is_empty());
        match polled {
            Ok(_) if of_script => return Ready::Script,
            Ok(_) if of_line => return Ready::Line,
            Ok(_) if left.is_some_and(|left| left.is_zero()) => return Ready::Late,
            Ok(_) | Err(Errno::INTR) => {}
            // Without poll, nothing can be followed; the next read from the channel fails as well.
            Err(_) => return Ready::Line,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_calls_a_command_by_its_name_or_path_and_a_comment_calls_nothing() {
        for text in ["pkgmk -o", "a | /usr/bin/pkgmk", "x=`pkgmk`\n", "#!/bin/sh\n  (pkgmk;)"] {
            assert!(calls(text.as_bytes(), "pkgmk"), "{text}");
        }
        for text in ["# pkgmk", "  # calls pkgmk", "mypkgmk", "pkgmk.log", "pkgmk-2", "pkgmk_"] {
            assert!(!calls(text.as_bytes(), "pkgmk"), "{text}");
        }
    }
}
