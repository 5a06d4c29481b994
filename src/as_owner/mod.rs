//! `--as-owner`: a process of the root's owner does everything, and the caller passes on its output.
//!
//! The process gets only arguments, language and time zone from the caller: environment, session, keyring, working
//! directory and umask are its own. Its output is trusted only for that root, and hidden characters are escaped. At a
//! terminal the caller asks its question before a change, and passes on the answer.

mod becoming;
pub(crate) mod options;
mod watch;

pub(crate) use becoming::run as become_owner;
pub(crate) use watch::CallerSignals;

use std::any::TypeId;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches};
use nix::unistd::{Gid, Uid, User};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use patchadm_cli::arguments::options::{self as command_line, COLOUR, ROOT_LISTS};
use patchadm_cli::call::{Invocation, PROGRAM};
use patchadm_cli::reply::cause_of::of_io;
use patchadm_cli::reply::{Exit, ExitCause, ResultWord, Stop};
use patchadm_cli::surroundings::questions::Confirmation;
use patchadm_cli::surroundings::{AS_OWNER, ASKS, EVENTS, Surroundings, caller};
use patchadm_core::operation::failure::Failure;
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;
use patchadm_svr4::package::control::{EscapedSet, PieceEscaper};
use watch::{ProcessWatch, TIME_TO_DIE};

/// The name under which the program starts itself to become a root's owner.
pub(crate) const BECOMING: &str = "__as_owner";

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Verbs that ask before a change.
const ASKING_VERBS: [&str; 6] = ["add", "update", "remove", "undo", "undo-data drop", "stage promote"];

/// Kept output about one root of many, in bytes.
const LARGEST_ANSWER: usize = 16 << 20;

/// Lets the owner of `root` perform this call with arguments `A`; returns the exit code.
pub(crate) fn run<A: clap::CommandFactory>(call: &Invocation, root: &Root) -> anyhow::Result<Exit> {
    let words = CallWords::of::<A>(call)?.for_root(root.prefix())?;
    let (input, questions) = if may_be_asked(call) {
        let (ours, theirs) = UnixStream::pair()?;
        (OwnerInput::Questions(theirs), Some(ours))
    } else {
        let is_terminal = call.surroundings.stdin_is_terminal;
        (OwnerInput::Stream(if is_terminal { Stdio::null() } else { Stdio::inherit() }), None)
    };
    let (child, uid) = start(&call.surroundings, root, words, input)?;
    let [output, errors] = call.output.escaped();
    let (mut stdout, mut stderr) = (io::stdout(), io::stderr());
    let ended = caller::with_counted_signals(|first, count| {
        let streams: [(&mut dyn Write, _); 2] = [(&mut stdout, output), (&mut stderr, errors)];
        follow(child, streams, questions, CallerSignals { first, count })
    })?;
    exit_of(ended?, uid, root)
}

/// Fails for a process that a signal has ended: its run may be unfinished.
fn exit_of(ended: ProcessEnd, uid: u32, root: &Root) -> anyhow::Result<Exit> {
    let Some(how) = ended.by_signal else { return Ok(ended.exit) };
    let recover = Wording::of_verbs(root.prefix()).verb("recover --as-owner");
    let message = format!("the process of uid {uid} {how}; if its run is unfinished, {recover} ends it");
    Err(Stop::Ran { exit: ended.exit, result: ResultWord::Failed, message }.into())
}

/// True at a terminal, unless the command itself reads standard input.
fn may_be_asked(call: &Invocation) -> bool {
    let reads_input = |word: &OsString| word == "-" || word == "/dev/stdin";
    call.program == PROGRAM
        && ASKING_VERBS.contains(&call.name)
        && call.may_ask(false)
        && !call.arguments.iter().any(reads_input)
}

enum OwnerInput {
    Stream(Stdio),
    /// The other end answers questions.
    Questions(UnixStream),
}

#[derive(Debug)]
pub(crate) struct OwnerAnswer {
    pub(crate) exit: Exit,
    /// One JSON document, if the process is honest.
    pub(crate) output: Vec<u8>,
    pub(crate) errors: Vec<u8>,
}

/// Lets the owner of one root of many perform the call.
pub(crate) fn answer(
    surroundings: &Surroundings,
    words: &CallWords,
    root: &Root,
    signals: CallerSignals<'_>,
) -> anyhow::Result<OwnerAnswer> {
    let mut words = words.for_root(root.prefix())?;
    words.insert(1, "--json".into());
    let (child, uid) = start(surroundings, root, words, OwnerInput::Stream(Stdio::null()))?;
    let (mut output, mut errors) = (BoundedBuffer::default(), BoundedBuffer::default());
    let streams: [(&mut dyn Write, _); 2] =
        [(&mut output, EscapedSet::Controls), (&mut errors, EscapedSet::Hidden)];
    let exit = exit_of(follow(child, streams, None, signals)?, uid, root)?;
    Ok(OwnerAnswer { exit, output: output.0, errors: errors.0 })
}

/// Returns the process and its uid.
fn start(
    surroundings: &Surroundings,
    root: &Root,
    words: Vec<OsString>,
    input: OwnerInput,
) -> anyhow::Result<(Child, u32)> {
    let owner = RootOwner::of(root)?;
    let child = owner.process(surroundings, words, input).spawn();
    child.map(|child| (child, owner.uid)).map_err(|error| {
        let message = format!("cannot start a process of uid {}: {error}", owner.uid);
        Stop::Refused { exit: Exit::failed(of_io(&error)), message }.into()
    })
}

/// Keeps the beginning of its input; the rest is lost.
#[derive(Default)]
struct BoundedBuffer(Vec<u8>);

impl Write for BoundedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LARGEST_ANSWER.saturating_sub(self.0.len()).min(bytes.len());
        self.0.extend_from_slice(bytes.get(..room).unwrap_or_default());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// By the user database of this machine.
#[derive(Debug)]
struct RootOwner {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    name: String,
    home: PathBuf,
    /// The root directory: the process must find the same one.
    directory: String,
}

impl RootOwner {
    /// An owner without an account has only the group of the directory.
    fn of(root: &Root) -> Result<Self, Failure> {
        let ((uid, gid), directory) = (root.owner()?, root.identity()?);
        let account = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Ok(match account {
            None => {
                let (name, home) = (uid.to_string(), PathBuf::from("/"));
                Self { uid, gid, groups: Vec::new(), name, home, directory }
            }
            Some(user) => {
                let groups = groups_of(&user);
                Self { uid, gid: user.gid.as_raw(), groups, name: user.name, home: user.dir, directory }
            }
        })
    }

    fn process(&self, surroundings: &Surroundings, words: Vec<OsString>, input: OwnerInput) -> Command {
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        let mut command = Command::new("/proc/self/exe");
        command.arg0(PROGRAM).arg(BECOMING);
        command.args([self.uid.to_string(), self.gid.to_string(), groups.join(",")]).args(words);
        command.env_clear().envs(surroundings.locale.iter().map(|(name, value)| (name, value)));
        command.env("PATH", PATH).env("HOME", &self.home).env("USER", &self.name).env("LOGNAME", &self.name);
        // The superuser asks for it, so the superuser's policy bounds that of the root.
        let (input, asks) = match input {
            OwnerInput::Stream(input) => (input, ""),
            OwnerInput::Questions(socket) => (OwnedFd::from(socket).into(), ASKS),
        };
        command.env(AS_OWNER, format!("{asks}{}", self.directory));
        command.envs(surroundings.events.variable().map(|value| (EVENTS, value)));
        command.current_dir("/").stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Returns only the first group if the database has no others.
fn groups_of(user: &User) -> Vec<u32> {
    let name = std::ffi::CString::new(user.name.as_bytes()).unwrap_or_default();
    let groups = nix::unistd::getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
    groups.into_iter().map(Gid::as_raw).collect()
}

/// Between two checks for a signal or a stopped process.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

const PAUSE: Duration = Duration::from_millis(10);

/// Bytes passed on at a time.
const PIECE: usize = 1 << 13;

/// Bytes read after the end of the process: more than a pipe holds comes from another writer.
const AFTER_THE_END: usize = 1 << 20;

struct ProcessEnd {
    exit: Exit,
    /// How a signal has ended it, as a predicate.
    by_signal: Option<String>,
}

/// Follows a process to its end. `questions` is where it asks the caller.
///
/// The owner may close the pipes early, or stop, trace or kill the process: nothing holds the caller up.
fn follow(
    mut child: Child,
    [output, errors]: [(&mut dyn Write, EscapedSet); 2],
    mut questions: Option<UnixStream>,
    signals: CallerSignals<'_>,
) -> io::Result<ProcessEnd> {
    let pid = Pid::from_child(&child);
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    let mut streams = [
        ChildStream::new(child.stdout.take().map(OwnedFd::from), output),
        ChildStream::new(child.stderr.take().map(OwnedFd::from), errors),
    ];
    let mut watch = ProcessWatch::default();
    while !wait(&handle, &mut streams, questions.as_ref()) {
        if questions.as_ref().is_some_and(is_readable)
            && let Some(question) = questions.take()
        {
            // The plan comes before the question.
            for stream in &mut streams {
                stream.pass_on_rest();
            }
            // Without an answer, the process ends as after a no.
            let _ = Confirmation::pass_on(question);
        }
        if let Some(signal) = watch.next_signal(pid, signals) {
            let _ = pidfd_send_signal(&handle, signal);
        }
        if watch.is_hopeless() {
            break;
        }
    }
    for stream in &mut streams {
        stream.pass_on_rest();
        let rest = stream.escape.rest();
        let _ = stream.to.write_all(&rest).and_then(|()| stream.to.flush());
    }
    let status = reaped(&mut child)?;
    let exit = match status.and_then(|status| status.code()) {
        Some(0) => Exit::OK,
        // The output may say more of the cause than the code.
        Some(code) => Exit::passed_on(u8::try_from(code).unwrap_or(u8::MAX), ExitCause::Internal),
        None => {
            let signal = status.and_then(|status| status.signal());
            let exit = Exit::by_signal(watch.passed_on().or(signal).unwrap_or(Signal::KILL.as_raw()));
            return Ok(ProcessEnd { exit, by_signal: Some(watch.end(signal)) });
        }
    };
    Ok(ProcessEnd { exit, by_signal: None })
}

/// Returns `None` if a tracer keeps the process.
fn reaped(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        match child.try_wait()? {
            None if began.elapsed() < TIME_TO_DIE => std::thread::sleep(PAUSE),
            status => return Ok(status),
        }
    }
}

/// Passes on output until the process ends or a moment is over. Returns true if it ended.
fn wait(handle: &OwnedFd, streams: &mut [ChildStream<'_>; 2], questions: Option<&UnixStream>) -> bool {
    let mut fds = vec![PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
    let open: Vec<usize> = (0..streams.len()).filter(|at| streams[*at].pipe.is_some()).collect();
    fds.extend(
        open.iter()
            .filter_map(|at| streams[*at].pipe.as_ref())
            .map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)),
    );
    // Behind the streams: it only ends the wait.
    fds.extend(questions.map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)));
    match poll(&mut fds, Some(&TICK)) {
        Ok(_) | Err(Errno::INTR) => {}
        // It lacks memory.
        Err(_) => std::thread::sleep(PAUSE),
    }
    let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    drop(fds);
    for (at, is_ready) in open.into_iter().zip(ready.iter().skip(1)) {
        if *is_ready {
            streams[at].pass_on();
        }
    }
    ready.first().is_some_and(|has_ended| *has_ended)
}

fn is_readable(socket: &UnixStream) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN)];
    poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

struct ChildStream<'a> {
    pipe: Option<OwnedFd>,
    to: &'a mut dyn Write,
    escape: PieceEscaper,
}

impl<'a> ChildStream<'a> {
    fn new(pipe: Option<OwnedFd>, (to, escaped): (&'a mut dyn Write, EscapedSet)) -> Self {
        Self { pipe, to, escape: PieceEscaper::new(escaped) }
    }

    fn pass_on(&mut self) -> usize {
        let mut piece = [0; PIECE];
        let Some(pipe) = &self.pipe else { return 0 };
        match rustix::io::retry_on_intr(|| rustix::io::read(pipe, &mut piece)) {
            Ok(count) if count > 0 => {
                let text = self.escape.next(piece.get(..count).unwrap_or_default());
                // Output without a reader is lost; the process continues, and its exit code tells the outcome.
                let _ = self.to.write_all(&text).and_then(|()| self.to.flush());
                count
            }
            _ => {
                self.pipe = None;
                0
            }
        }
    }

    /// Passes on the rest after the end of the process; another process may still hold the pipe open.
    fn pass_on_rest(&mut self) {
        let mut count = 0;
        while count < AFTER_THE_END {
            let Some(pipe) = &self.pipe else { return };
            let mut fds = [PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN)];
            let is_empty = poll(&mut fds, Some(&Timespec::default())).map_or(true, |ready| ready == 0);
            if is_empty {
                return;
            }
            count += self.pass_on();
        }
    }
}

/// Options that the owner's process must not get: it works on one root, and writes into a pipe, without colors.
const OF_THE_CALLER: [&str; 6] = ["as_owner", "trust_root", "root", ROOT_LISTS, "jobs", COLOUR];

/// These commands ask unless told not to; a pipe leaves nobody to ask.
const ASKING: [&str; 2] = ["pkgadd", "pkgrm"];

/// Arguments for the owner's process: without the caller's own options, and with absolute paths.
#[derive(Clone, Debug)]
pub(crate) struct CallWords {
    command: &'static str,
    rest: Vec<OsString>,
}

impl CallWords {
    pub(crate) fn of<A: clap::CommandFactory>(call: &Invocation) -> anyhow::Result<Self> {
        let mut command = command_line::command::<A>(call);
        command.build();
        let matches = command.clone().try_get_matches_from(command_line::words(call))?;
        let is_said =
            |arg: &&Arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
        let said = || {
            let arguments = command.get_arguments().filter(is_said);
            arguments.filter(|arg| !OF_THE_CALLER.contains(&arg.get_id().as_str()))
        };
        let mut rest = Vec::new();
        if ASKING.contains(&call.name) {
            rest.push("-n".into());
        }
        for arg in said().filter(|arg| !arg.is_positional()) {
            add_option(&mut rest, arg, &matches);
        }
        rest.push("--".into());
        for arg in said().filter(|arg| arg.is_positional()) {
            rest.extend(values(arg, &matches));
        }
        Ok(Self { command: call.name, rest })
    }

    fn for_root(&self, root: &Path) -> io::Result<Vec<OsString>> {
        let root = std::path::absolute(root)?;
        let command = self.command.split(' ').map(OsString::from);
        Ok(command.chain(["-R".into(), root.into()]).chain(self.rest.clone()).collect())
    }
}

fn add_option(words: &mut Vec<OsString>, arg: &Arg, matches: &ArgMatches) {
    let (flag, joint) = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => (format!("--{long}"), "="),
        (None, Some(short)) => (format!("-{short}"), ""),
        (None, None) => return,
    };
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        words.push(flag.into());
        return;
    }
    for value in values(arg, matches) {
        let mut word = OsString::from(&flag);
        word.push(joint);
        word.push(value);
        words.push(word);
    }
}

/// Returns an argument's values as typed, with existing files as absolute paths.
fn values(arg: &Arg, matches: &ArgMatches) -> Vec<OsString> {
    let are_paths = arg.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    let raw = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
    raw.map(|value| if are_paths { absolute(value) } else { value.to_owned() }).collect()
}

fn absolute(value: &std::ffi::OsStr) -> OsString {
    let path = Path::new(value);
    // A name without a file here may be one that the command knows: an admin file, a patch id.
    if value == "-" || path.is_absolute() || path.symlink_metadata().is_err() {
        return value.to_owned();
    }
    std::path::absolute(path).map_or_else(|_| value.to_owned(), OsString::from)
}
