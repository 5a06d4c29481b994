//! The first process of an enclosure: it builds the tree, runs the command, reaps orphans, and ends with its caller.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, geteuid, ioctl_tiocsctty, kill_process, kill_process_group,
    set_dumpable_behavior, set_parent_process_death_signal, setsid, wait,
};

use crate::namespaces::enclosure::{
    ChosenWork, EnclosedCommand, Enclosure, EnclosureEnd, EnclosureError, EnclosureNote, EnclosureSession,
    FirstAnswer, FirstOrder, OwnIds,
};
use crate::namespaces::mounts::must_be_judged;
use crate::namespaces::signals::{ControllingTerminal, FollowedSignals, reset_ignored_for_children};
use crate::namespaces::{rights, tree};
use crate::process::{MessageChannel, close_inherited, leave_session_keyring};
use patchadm_rootfs::{Dir, Lock};

/// A task of the first process. It reads its request from the file and returns an exit code.
pub type OwnWork<'w> = &'w dyn Fn(File) -> io::Result<i32>;

/// Runs the first process until its socket (standard input) closes or the command ends. When it ends, the kernel kills
/// all processes inside.
///
/// For a process that was just started for this.
pub fn serve(works: &[(&str, OwnWork<'_>)]) -> io::Result<()> {
    close_inherited()?;
    // It was started through a descriptor, whose number ps(1) would show.
    rustix::thread::set_name(c"patchadm")?;
    // If the caller died earlier, the socket is closed.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut channel = MessageChannel::of_standard_input()?;
    let Some(FirstOrder::Prepare { enclosure, is_superuser, session, number }) = channel.receive()? else {
        return Ok(());
    };
    let Some(input) = channel.descriptor() else { return Ok(()) };
    enter_session(session, &input)?;
    let terminal = ControllingTerminal::open();
    // Held until this process ends.
    let _locks = match prepare(&enclosure, (is_superuser, number), &mut channel) {
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
    // Before the command starts, so that its end is not missed.
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

/// Performs a task with the ids and capabilities that a command would have. Standard input is empty, so no child can
/// reach the channel.
fn do_work(
    enclosure: &Enclosure,
    work: Option<OwnWork<'_>>,
    order: File,
) -> Result<EnclosureEnd, EnclosureError> {
    let failed = |error: io::Error| EnclosureError::Failed(error.to_string());
    let work = work.ok_or_else(|| failed(io::ErrorKind::Unsupported.into()))?;
    if let Some(user) = enclosure.command.user {
        rights::become_user(user)?;
    }
    let kept = enclosure.isolation.capabilities.filter(|_| geteuid().is_root()).unwrap_or_default();
    rights::keep_only(kept).map_err(failed)?;
    let (empty, _) = io::pipe().map_err(failed)?;
    nix::unistd::dup2_stdin(&empty).map_err(|errno| failed(errno.into()))?;
    // A change of ids clears it. If the caller died meanwhile, nobody reads the answer.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| failed(errno.into()))?;
    rustix::process::umask(Mode::from_bits_truncate(enclosure.command.umask));
    work(order).map(EnclosureEnd::Exited).map_err(failed)
}

fn enter_session(session: EnclosureSession, input: &OwnedFd) -> io::Result<()> {
    if session != EnclosureSession::OfCaller {
        setsid()?;
        reset_ignored_for_children()?;
    }
    if session == EnclosureSession::Terminal {
        ioctl_tiocsctty(input)?;
    }
    Ok(())
}

fn prepare(
    enclosure: &Enclosure,
    (is_superuser, number): (bool, u32),
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
    if enclosure.ids.is_some() {
        rights::yield_memory();
    }
    rights::isolate(&enclosure.isolation, is_superuser)?;
    let notes = tree::enter(enclosure, is_superuser)?;
    if let Some(ids) = &enclosure.ids {
        enter_ids(ids, (is_superuser, number), channel)?;
    }
    rights::keep_for_oneself().map_err(|error| EnclosureError::failed("drop", "capabilities", error))?;
    let has_rights = is_superuser || enclosure.ids.is_some();
    if let Some(kept) = enclosure.isolation.capabilities.filter(|_| has_rights) {
        rights::keep_capabilities(kept)?;
    }
    if enclosure.isolation.gains_no_rights {
        rights::gain_no_rights()?;
    }
    rights::restrict(&enclosure.command)?;
    enter_directory(&enclosure.command);
    Ok((locks, notes))
}

fn enter_ids(
    ids: &OwnIds,
    (is_superuser, number): (bool, u32),
    channel: &mut MessageChannel,
) -> Result<(), EnclosureError> {
    let lost = |error: io::Error| EnclosureError::failed("enter", "the user namespace", error);
    rights::leave_the_mounts(ids.owner(number).filter(|_| is_superuser), is_superuser)?;
    channel.send(&FirstAnswer::WantsIds, None).map_err(lost)?;
    match channel.receive().map_err(lost)? {
        Some(FirstOrder::GoOn) => {}
        _ => return Err(lost(io::ErrorKind::UnexpectedEof.into())),
    }
    rights::become_first(ids)?;
    // Processes inside must not read its memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|errno| lost(errno.into()))?;
    // A change of ids clears it. If the caller died meanwhile, the socket is closed.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| lost(errno.into()))
}

fn enter_directory(command: &EnclosedCommand) {
    for directory in &command.directories {
        if std::env::set_current_dir(directory).is_ok() {
            return;
        }
    }
}

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

#[derive(Debug)]
pub(super) struct EnclosedProcess {
    pid: Pid,
    leads_group: bool,
    is_job: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandState {
    /// Or its state is unknown.
    Running,
    Stopped(i32),
    Ended(EnclosureEnd),
}

impl EnclosedProcess {
    /// Starts the first program that exists.
    pub(super) fn start(
        command: &EnclosedCommand,
        (input, session): (&OwnedFd, EnclosureSession),
        terminal: Option<&ControllingTerminal>,
    ) -> Result<Self, EnclosureError> {
        let mut missing = None;
        for words in &command.choices {
            match Self::spawn(command, words, (input, session, terminal.is_some())) {
                Ok(process) => {
                    process.bring_to_front(terminal);
                    return Ok(process);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    missing.get_or_insert_with(|| program_of(words));
                }
                Err(error) => {
                    let reason = error.to_string();
                    return Err(EnclosureError::NotExecutable { program: program_of(words), reason });
                }
            }
        }
        Err(EnclosureError::NotFound(missing.unwrap_or_default()))
    }

    fn spawn(
        command: &EnclosedCommand,
        words: &[OsString],
        (input, session, is_job): (&OwnedFd, EnclosureSession, bool),
    ) -> io::Result<Self> {
        let (program, arguments) = words.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut process = Command::new(program);
        process.args(arguments).stdin(Stdio::from(input.try_clone()?));
        process.env_clear().envs(command.environment.iter().map(|(name, value)| (name, value)));
        let leads_group = is_job || session != EnclosureSession::OfCaller;
        if leads_group {
            process.process_group(0);
        }
        if let Some((uid, gid)) = command.user {
            // This also drops supplementary groups.
            process.uid(uid).gid(gid);
        }
        let own = rustix::process::umask(Mode::from_bits_truncate(command.umask));
        let spawned = process.spawn();
        rustix::process::umask(own);
        Ok(Self { pid: Pid::from_child(&spawned?), leads_group, is_job })
    }

    /// Moves the command to the foreground, and continues it if it stopped for lack of the terminal.
    pub(super) fn bring_to_front(&self, terminal: Option<&ControllingTerminal>) {
        if let Some(terminal) = terminal {
            terminal.put_in_front(self.pid);
            self.signal(Signal::CONT);
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        let _ = if self.leads_group {
            kill_process_group(self.pid, signal)
        } else {
            kill_process(self.pid, signal)
        };
    }

    pub(super) fn reap(&self) -> CommandState {
        let mut state = CommandState::Running;
        let stops = if self.is_job { WaitOptions::UNTRACED } else { WaitOptions::empty() };
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | stops) {
            if pid != self.pid {
                continue;
            }
            if let Some(code) = status.exit_status() {
                state = CommandState::Ended(EnclosureEnd::Exited(code));
            } else if let Some(signal) = status.terminating_signal() {
                state = CommandState::Ended(EnclosureEnd::Signalled(signal));
            } else if let Some(signal) = status.stopping_signal() {
                state = CommandState::Stopped(signal);
            }
        }
        state
    }
}

fn program_of(words: &[OsString]) -> String {
    words.first().map(|word| word.display().to_string()).unwrap_or_default()
}
