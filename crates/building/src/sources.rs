//! Sources, fetched by a process that has the ids of the user that fetches and nothing else: whatever a server answers, and
//! whatever a path of the machine leads to, no process of root's connects, parses or opens. Files of the machine come only from
//! directories that the configuration names, so a recipe cannot find out what else there is.
//!
//! The process prints what it reads. Its caller takes no more bytes than it expects, and digests them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use patchadm_core::process::{close_inherited, leave_session_keyring};
use patchadm_inputs::http::{Address, HttpAnswer, HttpClient, HttpRequest, HttpSettings};
use patchadm_rootfs::never;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Signal, set_dumpable_behavior, set_parent_process_death_signal, setsid,
};
use rustix::thread::set_no_new_privs;
use serde::{Deserialize, Serialize};

/// The argument that makes the program the process that fetches a source.
pub const FETCH_PROCESS: &str = "__bulk-fetch";

/// How long is waited before it is looked whether the run is to end.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// How long the process may take to end once it has printed everything, and how long is waited before it is looked.
const LONGEST_END: Duration = Duration::from_secs(5);
const SHORT_PAUSE: Duration = Duration::from_millis(2);

/// How long the process may print nothing: longer than it waits for any server.
const LONGEST_SILENCE: Duration = Duration::from_secs(900);

/// The maximum size of a reason and of an order, in bytes.
const LONGEST_REASON: u64 = 512;
const LONGEST_ORDER: u64 = 64 << 10;

/// Receives the bytes of a distfile.
pub(crate) type AddBytes<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), String>;

/// Where sources come from, and who fetches them.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The directories of this machine that have some.
    pub directories: Vec<PathBuf>,
    /// How servers are reached.
    pub http: HttpSettings,
    /// The user and group that fetch, if not the caller's.
    pub user: Option<(u32, u32)>,
    /// The longest time that reading a file of this machine may take.
    pub time: Option<Duration>,
}

/// What is fetched.
#[derive(Debug, Serialize, Deserialize)]
enum FetchOrder {
    /// A file below a directory.
    File { directory: PathBuf, path: PathBuf },
    /// The answer of a server.
    Url { url: String, http: Box<HttpSettings> },
}

impl Sources {
    /// Hands on the content of a source.
    pub(crate) fn read(
        &self,
        url: &str,
        interrupt: &dyn Fn() -> Option<i32>,
        add: AddBytes<'_>,
    ) -> Result<(), String> {
        let (order, time) = match url.strip_prefix("file:") {
            Some(path) => (self.file_order(path)?, self.time),
            None => (FetchOrder::Url { url: url.to_owned(), http: Box::new(self.http.clone()) }, None),
        };
        let order = serde_json::to_vec(&order).map_err(|error| error.to_string())?;
        if order.len() as u64 > LONGEST_ORDER {
            return Err("its address is too long".to_owned());
        }
        let mut process = self.start(&order).map_err(|error| error.to_string())?;
        let read = hand_on(&mut process, time, interrupt, add);
        if read.is_err() {
            // One that has ended already is as dead.
            let _ = process.kill();
        }
        let ended = end_of(&mut process).map_err(|error| error.to_string())?;
        read?;
        if ended.success() {
            return Ok(());
        }
        let said = last_words(&mut process);
        let said = String::from_utf8_lossy(&said);
        let said = said.trim();
        Err(if said.is_empty() {
            format!("the process that fetches it ended with {ended}")
        } else {
            said.to_owned()
        })
    }

    fn file_order(&self, path: &str) -> Result<FetchOrder, String> {
        // `file:///path` is `file:/path`.
        let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
        let path: PathBuf = Path::new(path).components().collect();
        let steps_up = path.components().any(|part| part == Component::ParentDir);
        let within = |directory: &&PathBuf| path.starts_with(directory);
        let Some(directory) = self.directories.iter().find(within).filter(|_| !steps_up) else {
            return Err("it is below no `file_source` of bulk.conf".to_owned());
        };
        let below = path.strip_prefix(directory).unwrap_or(&path).to_owned();
        Ok(FetchOrder::File { directory: directory.clone(), path: below })
    }

    fn start(&self, order: &[u8]) -> io::Result<Child> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("patchadm").arg(FETCH_PROCESS).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some((uid, gid)) = self.user {
            // This also drops all supplementary groups.
            command.uid(uid).gid(gid);
        }
        let mut process = command.spawn()?;
        if let Some(mut input) = process.stdin.take() {
            input.write_all(order)?;
        }
        Ok(process)
    }
}

/// Hands on what the process prints.
fn hand_on(
    process: &mut Child,
    time: Option<Duration>,
    interrupt: &dyn Fn() -> Option<i32>,
    add: AddBytes<'_>,
) -> Result<(), String> {
    let Some(mut output) = process.stdout.take() else { return Ok(()) };
    let began = Instant::now();
    let mut last = began;
    let mut part = vec![0; 1 << 16];
    loop {
        if interrupt().is_some() {
            return Err("the run is to end".to_owned());
        }
        if let Some(time) = time.filter(|time| began.elapsed() > *time) {
            return Err(format!("it took longer than {} s", time.as_secs()));
        }
        if last.elapsed() > LONGEST_SILENCE {
            return Err(format!("nothing came for {} s", LONGEST_SILENCE.as_secs()));
        }
        if !is_readable(&output).map_err(|errno| errno.to_string())? {
            continue;
        }
        last = Instant::now();
        match output.read(&mut part) {
            Ok(0) => return Ok(()),
            Ok(read) => add(part.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Waits for the end of a process whose output has ended. One that stays nevertheless is ended.
fn end_of(process: &mut Child) -> io::Result<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(ended) = process.try_wait()? {
            return Ok(ended);
        }
        if began.elapsed() > LONGEST_END {
            process.kill()?;
            return process.wait();
        }
        std::thread::sleep(SHORT_PAUSE);
    }
}

/// Returns what a process that has ended said on standard error, and waits for nobody who still has that open.
fn last_words(process: &mut Child) -> Vec<u8> {
    let mut said = Vec::new();
    if let Some(words) = process.stderr.take()
        && rustix::fs::fcntl_setfl(&words, OFlags::NONBLOCK).is_ok()
    {
        // An error is the end of what can be read.
        let _ = words.take(LONGEST_REASON).read_to_end(&mut said);
    }
    said
}

fn is_readable(output: &ChildStdout) -> Result<bool, Errno> {
    let mut fds = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
    match poll(&mut fds, Some(&PAUSE)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Runs the process: prints the source that the order on standard input names, and nothing else; returns why it does not.
///
/// For a process that was just started to do this and nothing else.
pub fn serve_fetch(input: impl io::Read, output: &mut dyn Write) -> Result<(), String> {
    give_up_rights().map_err(|error| error.to_string())?;
    print_source(input, output)
}

/// Lets go of what a process inherits beside its ids: descriptors, the session, its terminal, and ways to more rights.
fn give_up_rights() -> io::Result<()> {
    close_inherited()?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    setsid()?;
    leave_session_keyring()?;
    set_no_new_privs(true)?;
    // It knows the password of a proxy, which is no concern of other processes of that user.
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

fn print_source(input: impl io::Read, output: &mut dyn Write) -> Result<(), String> {
    let shown = |error: &dyn std::fmt::Display| error.to_string();
    match serde_json::from_reader(input.take(LONGEST_ORDER)).map_err(|error| shown(&error))? {
        FetchOrder::File { directory, path } => print_file(&directory, path.as_os_str(), output)?,
        FetchOrder::Url { url, http } => print_answer(&url, &http, output)?,
    }
    output.flush().map_err(|error| shown(&error))
}

fn print_file(directory: &Path, path: &OsStr, output: &mut dyn Write) -> Result<(), String> {
    let mut file = open_below(directory, path).map_err(|errno| io::Error::from(errno).to_string())?;
    match file.metadata() {
        Ok(seen) if seen.is_file() => {}
        Ok(_) => return Err("it is no regular file".to_owned()),
        Err(error) => return Err(error.to_string()),
    }
    io::copy(&mut file, output).map(drop).map_err(|error| error.to_string())
}

fn open_below(directory: &Path, path: &OsStr) -> Result<File, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
    // A pipe is not waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(&directory, path, flags, Mode::empty(), resolve).map(File::from)
}

/// Prints what a server answers. Whoever is bored ends this process.
fn print_answer(url: &str, http: &HttpSettings, output: &mut dyn Write) -> Result<(), String> {
    let address = Address::parse(url).map_err(|error| error.to_string())?;
    let client = HttpClient::new(http);
    let answer = client.get(&HttpRequest::whole(&address), &never);
    let HttpAnswer::Content(mut body) = answer.map_err(|error| error.to_string())? else {
        return Err("the server says that nothing has changed".to_owned());
    };
    while let Some(bytes) = body.next_bytes(&never).map_err(|error| error.to_string())? {
        output.write_all(&bytes).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_directories_is_even_looked_for() {
        let sources = Sources { directories: vec!["/srv/sources".into()], ..Sources::default() };
        for path in
            ["/etc/passwd", "/srv/sources/../../etc/passwd", "/srv/sources-of-others/x", "srv/sources/x"]
        {
            let said = sources.read(&format!("file:{path}"), &never, &mut |_| Ok(())).unwrap_err();
            assert_eq!(said, "it is below no `file_source` of bulk.conf", "{path}");
        }
    }

    #[test]
    fn a_file_is_printed_and_neither_a_pipe_nor_what_a_link_leads_out_to() {
        let dir = tempfile::tempdir().unwrap();
        let sources = dir.path().join("sources");
        std::fs::create_dir(&sources).unwrap();
        std::fs::write(sources.join("x"), "upstream").unwrap();
        std::fs::write(dir.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink("../secret", sources.join("out")).unwrap();
        std::os::unix::fs::symlink("x", sources.join("link")).unwrap();
        rustix::fs::mknodat(CWD, sources.join("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let printed = |name: &str| {
            let order = FetchOrder::File { directory: sources.clone(), path: name.into() };
            let mut output = Vec::new();
            print_source(&serde_json::to_vec(&order).unwrap()[..], &mut output).map(|()| output)
        };
        assert_eq!(printed("x"), Ok(b"upstream".to_vec()));
        assert_eq!(printed("link"), Ok(b"upstream".to_vec()));
        assert_eq!(printed("pipe"), Err("it is no regular file".to_owned()));
        assert!(printed("out").is_err());
        assert!(printed("none").is_err());
    }
}
