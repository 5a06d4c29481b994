//! Files of the host that are read as input: those that the caller names, and those of a directory that the caller names.
//!
//! Nothing is waited for when a file is opened, and a signal ends the wait for what a pipe brings. What somebody else may
//! have put there is refused unopened unless it is a regular file: opening a device may have effects, and a pipe or an
//! endless device would hold the command up for ever.

mod directory;
mod ownership;
mod wait;

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

pub use directory::{InputDirectory, InputKind};
pub use wait::HeldSignals;

/// The names of standard input.
const STANDARD_INPUT: [&str; 3] = ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];

/// The directories of the descriptors of this process.
const DESCRIPTORS: [&str; 2] = ["/dev/fd", "/proc/self/fd"];

/// How a file is opened: a pipe without a writer is not waited for, and a terminal does not become ours.
const AT_ONCE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// A file that is open for reading.
#[derive(Debug)]
pub struct InputFile {
    file: File,
    /// Held back while it is open, if its bytes may have to be waited for.
    signals: Option<Box<HeldSignals>>,
}

impl InputFile {
    /// Opens a file that the caller names, through symbolic links if need be: a regular file, `/dev/null`, or whatever the
    /// caller handed over as a descriptor, such as `/dev/stdin` and `/dev/fd/3`.
    ///
    /// # Errors
    /// What the system says; that it is something else.
    pub fn open(path: &Path) -> io::Result<Self> {
        let seen = std::fs::metadata(path)?;
        if seen.is_file() || path == Path::new("/dev/null") || is_descriptor(path) {
            return Self::open_seen(path, &seen);
        }
        Err(not_regular(seen.is_dir()))
    }

    /// Opens a file that the caller names as [`open`](Self::open) does, and pipes, sockets and devices of any name.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_anything(path: &Path) -> io::Result<Self> {
        Self::open_seen(path, &std::fs::metadata(path)?)
    }

    fn open_seen(path: &Path, seen: &Metadata) -> io::Result<Self> {
        if seen.file_type().is_socket() && is_standard_input(path) {
            // A socket cannot be opened by its name, but standard input is open already.
            let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            return Ok(Self { file, signals: Some(Box::new(HeldSignals::hold()?)) });
        }
        let file = File::from(rustix::fs::open(path, AT_ONCE, Mode::empty())?);
        let is_regular = file.metadata()?.is_file();
        if seen.is_file() && !is_regular {
            return Err(not_regular(false));
        }
        Ok(Self { file, signals: if is_regular { None } else { Some(Box::new(HeldSignals::hold()?)) } })
    }

    /// Returns the status of the open file.
    ///
    /// # Errors
    /// What the system says.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Returns the regular file.
    ///
    /// # Errors
    /// Itself, if it is something else, whose bytes come only once.
    pub fn into_regular(self) -> Result<File, Self> {
        if self.signals.is_none() { Ok(self.file) } else { Err(self) }
    }
}

impl Read for InputFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(signals) = &self.signals else { return self.file.read(buffer) };
        loop {
            signals.wait_for(&self.file)?;
            match self.file.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

/// Tells whether a path is a name of the standard input of this process.
pub fn is_standard_input(path: &Path) -> bool {
    STANDARD_INPUT.iter().any(|name| path == Path::new(name))
}

fn is_descriptor(path: &Path) -> bool {
    is_standard_input(path) || DESCRIPTORS.iter().any(|directory| path.parent() == Some(Path::new(directory)))
}

/// Reads a file that the caller names, of at most `limit` bytes. A larger one is an error.
///
/// # Errors
/// What the system says; that it is too large, or is neither a regular file nor a descriptor of the caller's.
pub fn read_small(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    within(read_start(path, limit)?, limit)
}

/// Reads the first bytes of a file that the caller names, at most one more than the limit, so that the caller can see that
/// there are too many.
///
/// # Errors
/// What the system says; that it is neither a regular file nor a descriptor of the caller's.
pub fn read_start(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    start_of(InputFile::open(path)?, limit)
}

/// Reads a file that the caller names and whose word decides what is done, of at most `limit` bytes. It belongs to the
/// caller or to the superuser, and nobody else may write to it.
///
/// # Errors
/// What the system says; that it is too large, is neither a regular file nor a descriptor of the caller's, or is not the
/// caller's own (`PermissionDenied`).
pub fn read_own(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = InputFile::open(path)?;
    ownership::must_be_own(&file.metadata()?)?;
    if !is_descriptor(path) {
        ownership::must_be_own_place(path)?;
    }
    within(start_of(file, limit)?, limit)
}

fn start_of(file: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn within(bytes: Vec<u8>, limit: u64) -> io::Result<Vec<u8>> {
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

fn not_regular(is_directory: bool) -> io::Error {
    if is_directory {
        return io::ErrorKind::IsADirectory.into();
    }
    io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn pipe_at(path: PathBuf) -> PathBuf {
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        path
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_and_one_byte_shows_that_it_is_larger() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_small(&path, 5).unwrap(), b"12345");
        assert_eq!(read_small(&path, 4).unwrap_err().to_string(), "it is larger than 4 bytes");
        assert_eq!(read_start(&path, 3).unwrap(), b"1234");
    }

    #[test]
    fn a_pipe_or_device_that_lies_somewhere_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = pipe_at(dir.path().join("pipe"));
        for path in [pipe.as_path(), Path::new("/dev/zero")] {
            assert_eq!(read_small(path, 4096).unwrap_err().to_string(), "it is not a regular file");
        }
        assert_eq!(read_small(dir.path(), 5).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(read_small(Path::new("/dev/null"), 5).unwrap(), b"");
    }

    #[test]
    fn a_descriptor_that_the_caller_handed_over_is_read_to_its_end() {
        use std::io::Write as _;
        use std::os::fd::AsRawFd as _;
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"12345").unwrap();
        drop(writer);
        for directory in ["/dev/fd", "/proc/self/fd"] {
            let path = Path::new(directory).join(reader.as_raw_fd().to_string());
            let read = read_small(&path, 5).unwrap();
            assert_eq!(read, if directory == "/dev/fd" { &b"12345"[..] } else { b"" });
        }
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_opened_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = pipe_at(dir.path().join("pipe"));
        assert!(InputFile::open_anything(&pipe).unwrap().into_regular().is_err());
    }
}
