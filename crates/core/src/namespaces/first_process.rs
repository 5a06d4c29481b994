//! The first process of an enclosure: it builds the tree, runs the command, and ends with its caller.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Signal, geteuid, ioctl_tiocsctty, set_dumpable_behavior,
    set_parent_process_death_signal, setsid,
};

use super::answers::{EnclosureSession, FirstAnswer, FirstOrder};
use super::bind::must_be_judged;
use super::enclosure::{ChosenWork, EnclosedCommand, Enclosure, OwnIds};
use super::failure::{EnclosureEnd, EnclosureError, EnclosureNote};
use super::followed_signals::FollowedSignals;
use super::reaping::{CommandState, EnclosedProcess};
use super::terminal::ControllingTerminal;
use super::{capabilities, id_maps, isolation, tree};
use crate::process::{MessageChannel, close_inherited, leave_session_keyring};
use patchadm_rootfs::{Dir, Lock};

/// A work of the program that the first process does itself. It reads its order from the file, and returns its exit code.
pub type OwnWork<'w> = &'w dyn Fn(File) -> io::Result<i32>;

/// Runs the first process: takes orders on standard input, which is a socket, until the socket or the command ends. `works` are
/// what it can do itself, by name.
///
/// For a process that was just started to do this and nothing else. When it ends, the kernel ends all processes inside.
pub fn serve(works: &[(&str, OwnWork<'_>)]) -> io::Result<()> {
    close_inherited()?;
    // It was started by its number and not by its name, so ps(1) would show the number.
    rustix::thread::set_name(c"patchadm")?;
    // If the caller died before this, the end of the socket shows it.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut channel = MessageChannel::of_standard_input()?;
    let Some(FirstOrder::Prepare { enclosure, is_superuser, session }) = channel.receive()? else {
        return Ok(());
    };
    let Some(input) = channel.descriptor() else { return Ok(()) };
    enter_session(session, &input)?;
    let terminal = ControllingTerminal::open();
    // Held to the end of this process.
    let _locks = match prepare(&enclosure, is_superuser, &mut channel) {
        Ok((locks, notes)) => {
            channel.send(&FirstAnswer::Ready(notes), None)?;
            locks
        }
        Err(error) => return channel.send(&FirstAnswer::Failed(error), None),
    };
    if let Some(ChosenWork { name, .. }) = &enclosure.command.own_work {
        let Some(FirstOrder::Start { .. }) = channel.receive()? else { return Ok(()) };
        let work = works.iter().find(|(known, _)| known == name).map(|(_, work)| *work);
        let done = do_work(&enclosure, work, File::from(input));
        return channel.send(&done.map_or_else(FirstAnswer::Failed, FirstAnswer::Ended), None);
    }
    // Signals are followed before there is a command whose end could be missed.
    let signals = FollowedSignals::new(&[signal_hook::consts::SIGCHLD])?;
    let Some(FirstOrder::Start { in_front }) = channel.receive()? else { return Ok(()) };
    let in_front = terminal.as_ref().filter(|_| in_front);
    let started = EnclosedProcess::start(&enclosure.command, (&input, session), in_front);
    drop(input);
    match started {
        Ok(process) => follow(&mut channel, &process, &signals, terminal.as_ref()),
        Err(error) => channel.send(&FirstAnswer::Failed(error), None),
    }
}

/// Does a work of the program as the user of the command, with the capabilities that remain and no other: as a program that the
/// user starts would have them. Its standard input is empty, so nothing that it starts has the channel.
fn do_work(
    enclosure: &Enclosure,
    work: Option<OwnWork<'_>>,
    order: File,
) -> Result<EnclosureEnd, EnclosureError> {
    let failed = |error: io::Error| EnclosureError::Failed(error.to_string());
    let work = work.ok_or_else(|| failed(io::ErrorKind::Unsupported.into()))?;
    if let Some(user) = enclosure.command.user {
        id_maps::become_user(user)?;
    }
    let kept = enclosure.isolation.capabilities.filter(|_| geteuid().is_root()).unwrap_or_default();
    capabilities::keep_only(kept).map_err(failed)?;
    let (empty, _) = io::pipe().map_err(failed)?;
    nix::unistd::dup2_stdin(&empty).map_err(|errno| failed(errno.into()))?;
    // With a change of ids the kernel forgets it. If the caller died meanwhile, there is nobody who would believe the work.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| failed(errno.into()))?;
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(enclosure.command.umask));
    work(order).map(EnclosureEnd::Exited).map_err(failed)
}

/// Leaves the session of the caller, if the inside has one of its own.
fn enter_session(session: EnclosureSession, input: &OwnedFd) -> io::Result<()> {
    if session != EnclosureSession::OfCaller {
        setsid()?;
    }
    if session == EnclosureSession::Terminal {
        ioctl_tiocsctty(input)?;
    }
    Ok(())
}

/// Takes the locks, enters the tree and the working directory.
fn prepare(
    enclosure: &Enclosure,
    is_superuser: bool,
    channel: &mut MessageChannel,
) -> Result<(Vec<Lock>, Vec<EnclosureNote>), EnclosureError> {
    leave_session_keyring().map_err(|error| EnclosureError::failed("leave", "the session keyring", error))?;
    let mut locks = Vec::new();
    for lock in &enclosure.locks {
        let failed = |error: &dyn std::fmt::Display| EnclosureError::Failed(error.to_string());
        let dir = Dir::of_host(Path::new(&lock.directory)).map_err(|error| failed(&error))?;
        must_be_judged(&enclosure.judged, &lock.directory, &dir)?;
        let held = Lock::share_file(&dir, lock.name.as_encoded_bytes());
        locks.push(held.map_err(|error| failed(&error))?);
    }
    isolation::isolate(&enclosure.isolation, is_superuser)?;
    let notes = tree::enter(enclosure, is_superuser)?;
    if let Some(ids) = &enclosure.ids {
        enter_ids(ids, is_superuser, channel)?;
    }
    capabilities::keep_for_oneself()
        .map_err(|error| EnclosureError::failed("give up", "capabilities", error))?;
    let has_rights = is_superuser || enclosure.ids.is_some();
    if let Some(kept) = enclosure.isolation.capabilities.filter(|_| has_rights) {
        isolation::keep_capabilities(kept)?;
    }
    if enclosure.isolation.gains_no_rights {
        isolation::gain_no_rights()?;
    }
    isolation::restrict(&enclosure.command)?;
    enter_directory(&enclosure.command);
    Ok((locks, notes))
}

/// Enters a user namespace that owns none of the mounts, and becomes its first user.
fn enter_ids(ids: &OwnIds, is_superuser: bool, channel: &mut MessageChannel) -> Result<(), EnclosureError> {
    let lost = |error: io::Error| EnclosureError::failed("enter", "the user namespace", error);
    id_maps::leave_the_mounts(is_superuser)?;
    channel.send(&FirstAnswer::WantsIds, None).map_err(lost)?;
    match channel.receive().map_err(lost)? {
        Some(FirstOrder::GoOn) => {}
        _ => return Err(lost(io::ErrorKind::UnexpectedEof.into())),
    }
    id_maps::become_first(ids)?;
    // What it holds is no concern of those inside, whoever they are.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|errno| lost(errno.into()))?;
    // The kernel forgets it with a change of ids. If the caller died meanwhile, the end of the socket shows it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| lost(errno.into()))
}

/// Enters the first working directory that exists; `/` is already the one of this process.
fn enter_directory(command: &EnclosedCommand) {
    for directory in &command.directories {
        if std::env::set_current_dir(directory).is_ok() {
            return;
        }
    }
}

/// Follows the command to its end, or this process to the end of its caller.
fn follow(
    channel: &mut MessageChannel,
    process: &EnclosedProcess,
    signals: &FollowedSignals,
    terminal: Option<&ControllingTerminal>,
) -> io::Result<()> {
    loop {
        match process.reap() {
            CommandState::Ended(end) => return channel.send(&FirstAnswer::Ended(end), None),
            CommandState::Stopped(signal) => channel.send(&FirstAnswer::Stopped(signal), None)?,
            CommandState::Running => {}
        }
        if !channel.has_message() && !is_spoken_to(channel, signals)? {
            continue;
        }
        match channel.receive()? {
            Some(FirstOrder::Signal(signal)) => {
                if let Some(signal) = Signal::from_named_raw(signal) {
                    process.signal(signal);
                }
            }
            Some(FirstOrder::Continue { in_front }) => {
                process.bring_to_front(terminal.filter(|_| in_front));
                process.signal(Signal::CONT);
            }
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

/// Waits. Returns true if the caller sends something or is gone, false if a process has ended or stopped.
fn is_spoken_to(channel: &MessageChannel, signals: &FollowedSignals) -> io::Result<bool> {
    let mut fds = [
        PollFd::from_borrowed_fd(channel.fd(), PollFlags::IN),
        PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN),
    ];
    match poll(&mut fds, None) {
        Ok(_) | Err(Errno::INTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let is_spoken_to = !fds[0].revents().is_empty();
    signals.take();
    Ok(is_spoken_to)
}
