//! The program's side of the channel: starts the second process, sends it scripts and reads their output.

use std::ffi::OsString;
use std::io;
use std::io::{IsTerminal, PipeReader, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::environment::{BEFORE_RUN, RUN};
use super::tools::tools_of;
use super::trust::{ScriptUser, unreadable_by};
use super::{
    OutputStream, ProcessIdentity, RunAs, SUPERVISOR, ScriptCall, ScriptEnd, ScriptError, ScriptInput,
    ScriptListener, environment,
};
use crate::process::MessageChannel;
use crate::terminal::{TerminalRelay, TerminalUse};
use patchadm_rootfs::{Dir, Root};

/// Interval of calls of [`ScriptListener::interrupted`].
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Bytes read after a script's end. More than a pipe holds comes from a process that still runs.
const AFTER_THE_END: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct ScriptHostSettings<'a> {
    /// Its lock of scripts is taken.
    pub root: &'a Root,
    /// Started as the second process: the caller's own executable, for example `/proc/self/exe`.
    pub executable: PathBuf,
    /// Host directory for the private one. `/var/tmp` replaces it if the user of unprivileged scripts cannot reach it.
    pub temporary: PathBuf,
    /// Scripts need commands under their absolute paths ([`ScriptHost::absolute_tools`]). If the host lacks them,
    /// `/usr` is read-only for all scripts, and unless the caller is root, other owners' objects appear to belong to
    /// `nobody`.
    pub absolute_tools: bool,
}

/// The second process, ready to run scripts. On drop, it ends a running script with its group, removes the private
/// directory and releases the lock.
#[derive(Debug)]
pub struct ScriptHost {
    /// `None` once closed.
    channel: Option<MessageChannel>,
    second: Child,
    pipes: [PipeReader; 2],
    directory: PathBuf,
    tools: PathBuf,
    absolute_tools: Result<(), String>,
    unprivileged: Option<ScriptUser>,
    trust: &'static str,
}

impl ScriptHost {
    pub fn open(setting: &ScriptHostSettings<'_>) -> Result<Self, ScriptError> {
        let unprivileged = ScriptUser::unprivileged()?;
        let absolute = |path: &Path| {
            std::fs::canonicalize(path)
                .map(OsString::from)
                .map_err(|error| ScriptError::Preparation(format!("{}: {error}", path.display())))
        };
        let opening = OpenOrder {
            root: absolute(setting.root.prefix())?,
            temporary: absolute(&setting.temporary)?,
            user: unprivileged.map(|user| (user.uid, user.gid)),
            absolute_tools: setting.absolute_tools,
        };
        let mut host = Self::start(&setting.executable, unprivileged)?;
        if setting.root.is_trusted() {
            host.trust = environment::TRUSTED;
        }
        let answer = host.ask(&HostOrder::Open(opening), None).and_then(|()| host.answer());
        match answer.map_err(|error| host.last_words(error))? {
            SupervisorAnswer::Ready { directory, absolute_tools } => {
                host.directory = PathBuf::from(directory);
                host.tools = tools_of(&host.directory);
                host.absolute_tools = absolute_tools.map_or(Ok(()), Err);
                Ok(host)
            }
            SupervisorAnswer::Locked { path, holder } => Err(ScriptError::Locked { path, holder }),
            SupervisorAnswer::Failed { reason } => Err(ScriptError::Preparation(reason)),
            other => Err(senseless(&other)),
        }
    }

    fn start(executable: &Path, unprivileged: Option<ScriptUser>) -> Result<Self, ScriptError> {
        let failed = |source| ScriptError::Executable { executable: executable.to_owned(), source };
        let (out, out_end) = io::pipe().map_err(failed)?;
        let (err, err_end) = io::pipe().map_err(failed)?;
        for pipe in [&out, &err] {
            rustix::fs::fcntl_setfl(pipe, OFlags::NONBLOCK).map_err(|errno| failed(errno.into()))?;
        }
        let mut command = Command::new(executable);
        command.arg0("patchadm").arg(SUPERVISOR).env_clear().current_dir("/");
        command.stdout(out_end).stderr(err_end);
        // Keys of the terminal must reach the program only, which decides what follows.
        command.process_group(0);
        let (second, channel) = MessageChannel::start(command).map_err(failed)?;
        Ok(Self {
            channel: Some(channel),
            second,
            pipes: [out, err],
            directory: PathBuf::new(),
            tools: PathBuf::new(),
            absolute_tools: Ok(()),
            unprivileged,
            trust: environment::ASKED,
        })
    }

    /// Returns the private directory, mode 0711, for temporary files of scripts and copies for an unprivileged user.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the directory with the program's commands, `nawk` and `compress`, which everybody can run.
    pub fn tools(&self) -> &Path {
        &self.tools
    }

    /// Returns why scripts do not find the commands under `/usr/bin`, `/usr/sbin` and `/usr/sadm/bin`, if so.
    pub fn absolute_tools(&self) -> Result<(), &str> {
        self.absolute_tools.as_ref().map(|&()| ()).map_err(String::as_str)
    }

    /// Returns the user of unprivileged scripts; `None` for the caller.
    pub fn unprivileged(&self) -> Option<ScriptUser> {
        self.unprivileged
    }

    /// Runs a script to its end. Its output is passed on while it runs, all of it before this returns.
    pub fn run(
        &mut self,
        call: &ScriptCall,
        listener: &mut dyn ScriptListener,
    ) -> Result<ScriptEnd, ScriptError> {
        self.check(call)?;
        let failed = |source| ScriptError::Input { name: call.name.clone(), source };
        let relay = Self::relay(call).map_err(failed)?;
        let input = match &relay {
            Some(relay) => relay.command_side().try_clone_to_owned(),
            None => open_input(&call.input),
        };
        let session = match (&relay, call.user, &call.input) {
            (Some(_), ..) => ScriptSession::Terminal,
            (None, RunAs::Unprivileged, _) | (None, _, ScriptInput::Terminal | ScriptInput::Caller) => {
                ScriptSession::Own
            }
            (None, RunAs::Caller, _) => ScriptSession::OfCaller,
        };
        self.ask(&HostOrder::Run(self.running(call, session)), Some(&input.map_err(failed)?))?;
        let mut watch = RunningScript { call, relay, process: None, refused: None, asked: false };
        let result = self.follow(&mut watch, listener);
        if matches!(result, Err(ScriptError::Lost(_)))
            && let Some(process) = watch.process
        {
            // No other process is left to end it. The earlier error is the one reported.
            let environment = self.environment(call);
            let mark = environment.iter().find(|(name, _)| name == RUN || name == BEFORE_RUN);
            let _ = process.end_lost(mark.map(|(name, value)| (name.as_os_str(), value.as_os_str())));
        }
        self.listen(listener, AFTER_THE_END);
        result
    }

    fn check(&self, call: &ScriptCall) -> Result<(), ScriptError> {
        let name = || call.name.clone();
        if let Some(user) = self.user_of(call)
            && let Some(path) = unreadable_by(user, &call.file)
        {
            return Err(ScriptError::Unreadable { name: name(), uid: user.uid, path });
        }
        let opened = std::fs::File::open(&call.file).and_then(|file| file.metadata());
        let reason = match opened {
            Ok(metadata) if metadata.is_file() => return Ok(()),
            Ok(_) => "not a regular file".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(ScriptError::Start { name: name(), reason: format!("{}: {reason}", call.file.display()) })
    }

    fn user_of(&self, call: &ScriptCall) -> Option<ScriptUser> {
        match call.user {
            RunAs::Caller => None,
            RunAs::Unprivileged => self.unprivileged,
        }
    }

    /// Completes the environment. A script of a run inherits the answer about trust, so that nobody is asked again; an
    /// earlier one gets the private directory as the mark of its processes.
    fn environment(&self, call: &ScriptCall) -> Vec<(OsString, OsString)> {
        let mut environment = call.environment.clone();
        if environment.iter().any(|(name, _)| name == RUN) {
            environment.push((environment::TRUST.into(), self.trust.into()));
        } else {
            environment.push((BEFORE_RUN.into(), self.directory.clone().into()));
        }
        environment
    }

    fn relay(call: &ScriptCall) -> io::Result<Option<TerminalRelay>> {
        if call.input != ScriptInput::Terminal {
            return Ok(None);
        }
        TerminalRelay::begin(TerminalUse::Questions)
    }

    fn running(&self, call: &ScriptCall, session: ScriptSession) -> RunOrder {
        RunOrder {
            file: call.file.clone().into(),
            arguments: call.arguments.clone(),
            environment: self.environment(call),
            user: self.user_of(call).map(|user| (user.uid, user.gid)),
            directory: call.directory.clone().into(),
            trace: call.trace,
            limit_ms: call.limit.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
            session,
        }
    }

    fn follow(
        &mut self,
        watch: &mut RunningScript<'_>,
        listener: &mut dyn ScriptListener,
    ) -> Result<ScriptEnd, ScriptError> {
        loop {
            let relay = watch.relay.as_ref();
            let is_ready = self.wait(relay).map_err(|errno| ScriptError::Lost(errno.into()))?;
            self.listen(listener, AFTER_THE_END);
            watch.relay.iter_mut().for_each(TerminalRelay::pass_on);
            if is_ready {
                match self.answer()? {
                    SupervisorAnswer::Began(process) => self.begin(process, watch, listener)?,
                    SupervisorAnswer::Ended(ended) => return watch.verdict(ended),
                    SupervisorAnswer::Failed { reason } => {
                        return Err(ScriptError::Start { name: watch.call.name.clone(), reason });
                    }
                    other => return Err(senseless(&other)),
                }
            }
            if !watch.asked && listener.interrupted() {
                watch.asked = true;
                self.ask(&HostOrder::Interrupt, None)?;
            }
        }
    }

    fn begin(
        &mut self,
        process: ProcessIdentity,
        watch: &mut RunningScript<'_>,
        listener: &mut dyn ScriptListener,
    ) -> Result<(), ScriptError> {
        let agreed = listener.began(&process);
        watch.process = Some(process);
        match agreed {
            Ok(()) => self.ask(&HostOrder::Go, None),
            Err(error) => {
                watch.refused = Some(error);
                watch.asked = true;
                self.ask(&HostOrder::Interrupt, None)
            }
        }
    }

    fn wait(&self, relay: Option<&TerminalRelay>) -> Result<bool, Errno> {
        let Some(channel) = &self.channel else { return Err(Errno::PIPE) };
        if channel.has_message() {
            return Ok(true);
        }
        let [out, err] = &self.pipes;
        let terminals = relay.into_iter().flat_map(TerminalRelay::descriptors);
        let all = [channel.fd(), out.as_fd(), err.as_fd()].into_iter().chain(terminals);
        let mut fds: Vec<_> = all.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&TICK)) {
            Ok(_) | Err(Errno::INTR) => Ok(fds.first().is_some_and(|line| !line.revents().is_empty())),
            Err(errno) => Err(errno),
        }
    }

    /// Passes on output, at most `limit` bytes of each stream.
    fn listen(&mut self, listener: &mut dyn ScriptListener, limit: usize) {
        let mut buffer = vec![0; 1 << 16];
        for (pipe, stream) in self.pipes.iter_mut().zip([OutputStream::Out, OutputStream::Err]) {
            let mut heard = 0;
            // Nothing is there, or the pipe is broken.
            while heard < limit
                && let Ok(read @ 1..) = pipe.read(&mut buffer)
            {
                listener.heard(stream, buffer.get(..read).unwrap_or_default());
                heard += read;
            }
        }
    }

    fn ask(&mut self, order: &HostOrder, input: Option<&OwnedFd>) -> Result<(), ScriptError> {
        let Some(channel) = &mut self.channel else {
            return Err(ScriptError::Lost(io::ErrorKind::NotConnected.into()));
        };
        channel.send(order, input.map(AsFd::as_fd)).map_err(ScriptError::Lost)
    }

    fn last_words(&mut self, error: ScriptError) -> ScriptError {
        let [_, err] = &mut self.pipes;
        let mut said = vec![0; 4096];
        let length = err.read(&mut said).unwrap_or(0);
        match String::from_utf8_lossy(said.get(..length).unwrap_or_default()).trim() {
            "" => error,
            words => ScriptError::Lost(io::Error::other(words.to_owned())),
        }
    }

    fn answer(&mut self) -> Result<SupervisorAnswer, ScriptError> {
        let answer =
            self.channel.as_mut().map_or(Ok(None), MessageChannel::receive).map_err(ScriptError::Lost)?;
        answer.ok_or_else(|| ScriptError::Lost(io::ErrorKind::UnexpectedEof.into()))
    }
}

impl Drop for ScriptHost {
    fn drop(&mut self) {
        // Closing the channel starts the cleanup; the lock is free shortly after.
        self.channel = None;
        let _ = self.second.wait();
        // If it was killed, it did not clean up.
        remove(&self.directory);
    }
}

fn remove(directory: &Path) {
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else { return };
    let parent = Dir::of_host(parent);
    // A leftover is private, and its name is never reused: it does no harm.
    let _ = parent.and_then(|parent| parent.remove_tree(name.as_bytes()));
}

struct RunningScript<'a> {
    call: &'a ScriptCall,
    relay: Option<TerminalRelay>,
    process: Option<ProcessIdentity>,
    refused: Option<io::Error>,
    asked: bool,
}

impl RunningScript<'_> {
    fn verdict(&mut self, ended: ScriptEnd) -> Result<ScriptEnd, ScriptError> {
        match self.refused.take() {
            Some(source) => Err(ScriptError::NotBegun { name: self.call.name.clone(), source }),
            None => Ok(ended),
        }
    }
}

fn senseless(answer: &SupervisorAnswer) -> ScriptError {
    ScriptError::Lost(io::Error::new(io::ErrorKind::InvalidData, format!("it said {answer:?}")))
}

fn open_input(input: &ScriptInput) -> io::Result<OwnedFd> {
    let open = |path: &str| std::fs::File::open(path).map(OwnedFd::from);
    match input {
        ScriptInput::Nothing => open("/dev/null"),
        // No script gets the terminal of the caller.
        ScriptInput::Terminal | ScriptInput::Caller if io::stdin().is_terminal() => open("/dev/null"),
        ScriptInput::Terminal | ScriptInput::Caller => io::stdin().as_fd().try_clone_to_owned(),
        ScriptInput::Bytes(bytes) => {
            let list = rustix::fs::memfd_create("list", MemfdFlags::CLOEXEC)?;
            let mut file = std::fs::File::from(list);
            file.write_all(bytes)?;
            file.seek(SeekFrom::Start(0))?;
            Ok(file.into())
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum HostOrder {
    Open(OpenOrder),
    Run(RunOrder),
    Go,
    Interrupt,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OpenOrder {
    pub(super) root: OsString,
    pub(super) temporary: OsString,
    pub(super) user: Option<(u32, u32)>,
    pub(super) absolute_tools: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RunOrder {
    pub(super) file: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) user: Option<(u32, u32)>,
    pub(super) directory: OsString,
    pub(super) trace: bool,
    pub(super) limit_ms: Option<u64>,
    pub(super) session: ScriptSession,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ScriptSession {
    /// The session of the second process; the script has its own process group in it.
    OfCaller,
    Own,
    Terminal,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SupervisorAnswer {
    /// Answers Open: the private directory, and why absolute tools are missing, if so.
    Ready {
        directory: OsString,
        absolute_tools: Option<String>,
    },
    /// Answers Open: another process holds the lock.
    Locked {
        path: String,
        holder: String,
    },
    /// Answers Open or Run.
    Failed {
        reason: String,
    },
    /// Answers Run: the process exists and waits to begin.
    Began(ProcessIdentity),
    Ended(ScriptEnd),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_bytes_of_a_path_arrive() {
        use std::os::unix::ffi::OsStringExt;
        let root = OsString::from_vec(b"/r\xff\n".to_vec());
        let opening =
            OpenOrder { root: root.clone(), temporary: "/t".into(), user: None, absolute_tools: true };
        let text = serde_json::to_vec(&HostOrder::Open(opening)).unwrap();
        let Ok(HostOrder::Open(opening)) = serde_json::from_slice(&text) else { panic!("another message") };
        assert_eq!(opening.root, root);
    }
}
