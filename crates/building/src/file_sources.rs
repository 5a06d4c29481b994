//! Sources with the address `file:`: read by a process with the ids of the user that fetches, and only from directories that the
//! configuration names. A recipe cannot find out what else there is on the machine.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Component, Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};

/// The argument that makes the program the process that reads a source of the machine.
pub const FILE_PROCESS: &str = "__bulk-file";

/// How long is waited before it is looked whether the run is to end.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The maximum size of a reason and of an order, in bytes.
const LONGEST_REASON: u64 = 512;
const LONGEST_ORDER: u64 = 64 << 10;

/// Receives the bytes of a distfile.
pub(crate) type AddBytes<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), String>;

/// Where sources of the machine may come from, and who reads them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSources {
    /// The directories.
    pub directories: Vec<PathBuf>,
    /// The user and group that read them, if not the caller's.
    pub user: Option<(u32, u32)>,
    /// The longest time that it may take.
    pub time: Option<Duration>,
}

/// What is read: a file below a directory.
#[derive(Debug, Serialize, Deserialize)]
struct FileOrder {
    directory: PathBuf,
    path: PathBuf,
}

impl FileSources {
    /// Hands on the content of a file.
    pub(crate) fn read(
        &self,
        path: &str,
        interrupt: &dyn Fn() -> Option<i32>,
        add: AddBytes<'_>,
    ) -> Result<(), String> {
        // `file:///path` is `file:/path`.
        let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
        let path: PathBuf = Path::new(path).components().collect();
        let steps_up = path.components().any(|part| part == Component::ParentDir);
        let within = |directory: &&PathBuf| path.starts_with(directory);
        let Some(directory) = self.directories.iter().find(within).filter(|_| !steps_up) else {
            return Err("it is below no `file_source` of bulk.conf".to_owned());
        };
        let below = path.strip_prefix(directory).unwrap_or(&path).to_owned();
        let order = FileOrder { directory: directory.clone(), path: below };
        let mut process = self.start(&order).map_err(|error| error.to_string())?;
        let read = self.hand_on(&mut process, interrupt, add);
        if read.is_err() {
            // One that has ended already is as dead.
            let _ = process.kill();
        }
        let ended = process.wait().map_err(|error| error.to_string())?;
        read?;
        if ended.success() {
            return Ok(());
        }
        let mut said = Vec::new();
        if let Some(reason) = process.stderr.take() {
            let _ = reason.take(LONGEST_REASON).read_to_end(&mut said);
        }
        let said = String::from_utf8_lossy(&said);
        let said = said.trim();
        Err(if said.is_empty() {
            format!("the process that reads it ended with {ended}")
        } else {
            said.to_owned()
        })
    }

    fn start(&self, order: &FileOrder) -> io::Result<Child> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("patchadm").arg(FILE_PROCESS).env_clear().current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some((uid, gid)) = self.user {
            // This also drops all supplementary groups.
            command.uid(uid).gid(gid);
        }
        let mut process = command.spawn()?;
        if let Some(mut input) = process.stdin.take() {
            input.write_all(&serde_json::to_vec(order)?)?;
        }
        Ok(process)
    }

    /// Hands on what the process prints.
    fn hand_on(
        &self,
        process: &mut Child,
        interrupt: &dyn Fn() -> Option<i32>,
        add: AddBytes<'_>,
    ) -> Result<(), String> {
        let Some(mut output) = process.stdout.take() else { return Ok(()) };
        let began = Instant::now();
        let mut part = vec![0; 1 << 16];
        loop {
            if interrupt().is_some() {
                return Err("the run is to end".to_owned());
            }
            if let Some(time) = self.time.filter(|time| began.elapsed() > *time) {
                return Err(format!("it took longer than {} s", time.as_secs()));
            }
            if !is_readable(&output).map_err(|errno| errno.to_string())? {
                continue;
            }
            match output.read(&mut part) {
                Ok(0) => return Ok(()),
                Ok(read) => add(part.get(..read).unwrap_or_default())?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

fn is_readable(output: &ChildStdout) -> Result<bool, Errno> {
    let mut fds = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
    match poll(&mut fds, Some(&PAUSE)) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Prints the file that the order on standard input names; returns why it does not.
pub fn serve_file(input: impl io::Read, output: &mut dyn Write) -> Result<(), String> {
    let shown = |error: &dyn std::fmt::Display| error.to_string();
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| shown(&errno))?;
    let order: FileOrder =
        serde_json::from_reader(input.take(LONGEST_ORDER)).map_err(|error| shown(&error))?;
    let mut file = open_below(&order.directory, order.path.as_os_str())
        .map_err(|errno| shown(&io::Error::from(errno)))?;
    match file.metadata() {
        Ok(seen) if seen.is_file() => {}
        Ok(_) => return Err("it is no regular file".to_owned()),
        Err(error) => return Err(shown(&error)),
    }
    io::copy(&mut file, output).and_then(|_| output.flush()).map_err(|error| shown(&error))
}

fn open_below(directory: &Path, path: &OsStr) -> Result<File, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, directory, flags, Mode::empty())?;
    // A pipe is not waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(&directory, path, flags, Mode::empty(), resolve).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_directories_is_even_looked_for() {
        let sources = FileSources { directories: vec!["/srv/sources".into()], ..FileSources::default() };
        for path in
            ["/etc/passwd", "/srv/sources/../../etc/passwd", "/srv/sources-of-others/x", "srv/sources/x"]
        {
            let said = sources.read(path, &|| None, &mut |_| Ok(())).unwrap_err();
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
            let order = FileOrder { directory: sources.clone(), path: name.into() };
            let mut output = Vec::new();
            serve_file(&serde_json::to_vec(&order).unwrap()[..], &mut output).map(|()| output)
        };
        assert_eq!(printed("x"), Ok(b"upstream".to_vec()));
        assert_eq!(printed("link"), Ok(b"upstream".to_vec()));
        assert_eq!(printed("pipe"), Err("it is no regular file".to_owned()));
        assert!(printed("out").is_err());
        assert!(printed("none").is_err());
    }
}
