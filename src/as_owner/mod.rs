//! `--as-owner`: a process of the root's owner does everything, and the caller passes on its output.
//!
//! The process gets only arguments, language and time zone from the caller: environment, session, keyring, working
//! directory and umask are its own. Its output is trusted only for that root, and hidden characters are escaped.

mod becoming;
pub(crate) mod call_words;
pub(crate) mod options;
mod relay;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::unistd::{Gid, Uid, User};

use patchadm_cli::call::Invocation;
use patchadm_cli::reply::cause_of::of_io;
use patchadm_cli::reply::{Exit, Stop};
use patchadm_cli::surroundings::{AS_OWNER, EVENTS, Surroundings, caller};
use patchadm_core::operation::failure::Failure;
use patchadm_rootfs::Root;
use patchadm_svr4::package::control::EscapedSet;

pub(crate) use becoming::run as become_owner;

use call_words::CallWords;

/// The name under which the program starts itself to become a root's owner.
pub(crate) const BECOMING: &str = "__as_owner";

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Kept output about one root of many, in bytes.
const LARGEST_ANSWER: usize = 16 << 20;

/// Lets the owner of `root` perform this call with arguments `A`; returns the exit code.
pub(crate) fn run<A: clap::CommandFactory>(call: &Invocation, root: &Root) -> anyhow::Result<Exit> {
    let input = if call.surroundings.stdin_is_terminal { Stdio::null() } else { Stdio::inherit() };
    let words = CallWords::of::<A>(call)?.for_root(root.prefix())?;
    let child = start(&call.surroundings, root, words, input)?;
    let [output, errors] = call.output.escaped();
    let ended = caller::with_signals(|interrupt| {
        relay::follow(child, [(&mut io::stdout(), output), (&mut io::stderr(), errors)], interrupt)
    })?;
    Ok(ended?)
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
    interrupt: &dyn Fn() -> Option<i32>,
) -> anyhow::Result<OwnerAnswer> {
    let mut words = words.for_root(root.prefix())?;
    words.insert(1, "--json".into());
    let child = start(surroundings, root, words, Stdio::null())?;
    let (mut output, mut errors) = (BoundedBuffer::default(), BoundedBuffer::default());
    let streams: [(&mut dyn io::Write, _); 2] =
        [(&mut output, EscapedSet::Controls), (&mut errors, EscapedSet::Hidden)];
    let exit = relay::follow(child, streams, interrupt)?;
    Ok(OwnerAnswer { exit, output: output.0, errors: errors.0 })
}

fn start(
    surroundings: &Surroundings,
    root: &Root,
    words: Vec<OsString>,
    input: Stdio,
) -> anyhow::Result<Child> {
    let owner = RootOwner::of(root)?;
    let child = owner.process(surroundings, words, input).spawn();
    child.map_err(|error| {
        let message = format!("cannot start a process of uid {}: {error}", owner.uid);
        Stop::Refused { exit: Exit::failed(of_io(&error)), message }.into()
    })
}

/// Keeps the beginning of its input; the rest is lost.
#[derive(Default)]
struct BoundedBuffer(Vec<u8>);

impl io::Write for BoundedBuffer {
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
}

impl RootOwner {
    /// An owner without an account has only the group of the directory.
    fn of(root: &Root) -> Result<Self, Failure> {
        let (uid, gid) = root.owner()?;
        let account = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Ok(match account {
            None => Self { uid, gid, groups: Vec::new(), name: uid.to_string(), home: PathBuf::from("/") },
            Some(user) => {
                let groups = groups_of(&user);
                Self { uid, gid: user.gid.as_raw(), groups, name: user.name, home: user.dir }
            }
        })
    }

    fn process(&self, surroundings: &Surroundings, words: Vec<OsString>, input: Stdio) -> Command {
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        let mut command = Command::new("/proc/self/exe");
        command.arg0(patchadm_cli::call::PROGRAM).arg(BECOMING);
        command.args([self.uid.to_string(), self.gid.to_string(), groups.join(",")]).args(words);
        command.env_clear().envs(surroundings.locale.iter().map(|(name, value)| (name, value)));
        command.env("PATH", PATH).env("HOME", &self.home).env("USER", &self.name).env("LOGNAME", &self.name);
        // The superuser asks for it, so the superuser's policy bounds that of the root.
        command.env(AS_OWNER, "1");
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
