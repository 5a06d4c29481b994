//! Input files of the host. Opening never blocks, and a signal ends the wait for a pipe. Files that others may have put
//! somewhere must be regular, and anything else is refused unopened: opening a device may have effects, and a pipe or
//! endless device would block forever.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::time::TimeSpec;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, open, openat2, readlinkat};
use rustix::io::Errno;

use crate::program_run::ending_signal;
use patchadm_rootfs::{each_entry, may_others_write, strange_above};

const STANDARD_INPUT: [&str; 3] = ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"];
const DESCRIPTORS: [&str; 2] = ["/dev/fd", "/proc/self/fd"];

/// Opening must neither wait for a writer of a pipe nor acquire a controlling terminal.
const AT_ONCE: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

#[derive(Debug)]
pub struct InputFile {
    file: File,
    /// Held back while bytes may have to be waited for.
    signals: Option<Box<HeldSignals>>,
}

impl InputFile {
    /// Follows symbolic links. Accepts a regular file, `/dev/null`, or a descriptor of the caller such as `/dev/stdin`
    /// and `/dev/fd/3`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let seen = std::fs::metadata(path)?;
        if seen.is_file() || path == Path::new("/dev/null") || is_descriptor(path) {
            return Self::open_seen(path, &seen);
        }
        Err(not_regular(seen.is_dir()))
    }

    /// Opens a file as [`open`](Self::open) does, but also pipes, sockets and devices of any name.
    pub fn open_anything(path: &Path) -> io::Result<Self> {
        Self::open_seen(path, &std::fs::metadata(path)?)
    }

    fn open_seen(path: &Path, seen: &Metadata) -> io::Result<Self> {
        if seen.file_type().is_socket() && is_standard_input(path) {
            // A socket cannot be opened by its name, but standard input is open already.
            let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
            return Ok(Self { file, signals: Some(Box::new(HeldSignals::hold()?)) });
        }
        let file = File::from(open(path, AT_ONCE, Mode::empty())?);
        let is_regular = file.metadata()?.is_file();
        if seen.is_file() && !is_regular {
            return Err(not_regular(false));
        }
        Ok(Self { file, signals: if is_regular { None } else { Some(Box::new(HeldSignals::hold()?)) } })
    }

    pub fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    /// Returns the regular file, or the pipe or device itself as an error.
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

pub fn is_standard_input(path: &Path) -> bool {
    STANDARD_INPUT.iter().any(|name| path == Path::new(name))
}

fn is_descriptor(path: &Path) -> bool {
    is_standard_input(path) || DESCRIPTORS.iter().any(|directory| path.parent() == Some(Path::new(directory)))
}

/// Reads a file that the caller names. A file of more than `limit` bytes is an error.
pub fn read_small(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    within(read_start(path, limit)?, limit)
}

/// Reads one byte more than `limit`, so that the caller can see if there are too many.
pub fn read_start(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    start_of(InputFile::open(path)?, limit)
}

/// For a file with decisions. Only the caller and the superuser may own it or write to it (`PermissionDenied`). More
/// than `limit` bytes are an error.
pub fn read_own(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = InputFile::open(path)?;
    must_be_own(&file)?;
    if !is_descriptor(path) {
        must_be_own_place(path)?;
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

/// Holds back the signals that end a program from this thread, except during a wait: a signal between two waits ends
/// the next one. Dropping the value lets them through.
#[derive(Debug)]
pub struct HeldSignals {
    before: SigSet,
}

impl HeldSignals {
    /// Ctrl-C, a hang-up and `kill`.
    pub fn hold() -> io::Result<Self> {
        let ends: SigSet = [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM].into_iter().collect();
        Ok(Self { before: ends.thread_swap_mask(SigmaskHow::SIG_BLOCK)? })
    }

    /// Waits for input or its end. A signal, even one held back or caught before, is the error "interrupted"; not of the
    /// kind `Interrupted`, since the reader would try again.
    pub fn wait_for(&self, input: &impl AsFd) -> io::Result<()> {
        let mut inputs = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        if ending_signal().is_some() {
            return Err(io::Error::other(patchadm_rootfs::INTERRUPTED));
        }
        // A poll that finds input at once sees no signal, and some inputs are never empty.
        let looked = ppoll(&mut [], Some(TimeSpec::new(0, 0)), Some(self.before));
        match looked.and_then(|_| ppoll(&mut inputs, None, Some(self.before))) {
            Ok(_) => Ok(()),
            Err(nix::Error::EINTR) => Err(io::Error::other(patchadm_rootfs::INTERRUPTED)),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // It fails for an invalid mask, and this one came from the system.
        let _ = self.before.thread_set_mask();
    }
}

const SUPERUSER: u32 = 0;

/// Refuses a file that users other than the caller and the superuser may change. A pipe that the caller handed over is
/// the caller's own.
fn must_be_own(input: &InputFile) -> io::Result<()> {
    let seen = input.metadata()?;
    if !seen.is_file() && !seen.is_dir() {
        return Ok(());
    }
    match stranger(&input.file, &seen, rustix::process::geteuid().as_raw()) {
        None => Ok(()),
        Some(reason) => Err(io::Error::new(io::ErrorKind::PermissionDenied, reason)),
    }
}

/// Nobody else may be able to replace the file.
fn must_be_own_place(path: &Path) -> io::Result<()> {
    match strange_above(path)? {
        None => Ok(()),
        Some(strange) => Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("{strange}: others could replace the file"),
        )),
    }
}

fn stranger(file: &File, seen: &Metadata, caller: u32) -> Option<String> {
    if seen.uid() != caller && seen.uid() != SUPERUSER {
        return Some(format!(
            "it belongs to uid {}, and only files of the caller or root are accepted",
            seen.uid()
        ));
    }
    if seen.gid() != SUPERUSER && seen.mode() & 0o022 == 0o020 {
        return Some(format!("the group {} may write to it", seen.gid()));
    }
    may_others_write(file, seen.mode(), true).then(|| "others may write to it".to_owned())
}

const MOST_TRIES: usize = 100;

/// `O_PATH`: opening files below it needs no right to list the directory.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

const LINK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Behind a name in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    File,
    Directory,
    /// A pipe, a socket or a device.
    Other,
}

/// Symbolic links are followed only while they stay inside, which the kernel guarantees (`openat2` with
/// `RESOLVE_BENEATH`).
#[derive(Debug)]
pub struct InputDirectory {
    top: OwnedFd,
}

impl InputDirectory {
    /// Follows symbolic links.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { top: open(path, DIRECTORY, Mode::empty())? })
    }

    pub fn directory(&self, path: &Path) -> io::Result<Self> {
        Ok(Self { top: self.beneath(path, DIRECTORY)? })
    }

    /// Does not open it.
    pub fn kind(&self, path: &Path) -> io::Result<InputKind> {
        let seen = self.metadata(path)?;
        let is_other = !seen.is_file() && !seen.is_dir();
        Ok(if is_other {
            InputKind::Other
        } else if seen.is_dir() {
            InputKind::Directory
        } else {
            InputKind::File
        })
    }

    /// Does not open it.
    pub fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        File::from(self.beneath(path, OFlags::PATH | OFlags::CLOEXEC)?).metadata()
    }

    /// Returns the status of a name itself, even if it is a symbolic link.
    pub fn entry(&self, path: &Path) -> io::Result<Metadata> {
        File::from(self.beneath(path, LINK)?).metadata()
    }

    pub fn read_link(&self, path: &Path) -> io::Result<Vec<u8>> {
        let link = self.beneath(path, LINK)?;
        Ok(readlinkat(&link, "", Vec::new())?.into_bytes())
    }

    /// Opens a regular file inside it. Anything else is refused unopened.
    pub fn file(&self, path: &Path) -> io::Result<File> {
        let refused = |kind| not_regular(kind == InputKind::Directory);
        let kind = self.kind(path)?;
        if kind != InputKind::File {
            return Err(refused(kind));
        }
        let file = File::from(self.beneath(path, AT_ONCE)?);
        // Something else may have taken its place.
        if file.metadata()?.is_file() { Ok(file) } else { Err(refused(InputKind::Other)) }
    }

    /// Returns `None` if the file is missing. More than `limit` bytes are an error.
    pub fn read_small(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let bytes = self.read_start(path, limit)?;
        bytes.map(|bytes| within(bytes, limit)).transpose()
    }

    /// Reads one byte more than `limit`; `None` if the file is missing.
    pub fn read_start(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => start_of(opened?, limit).map(Some),
        }
    }

    /// Passes on each name, with its kind unless it is a link.
    pub fn each_entry(&self, mut visit: impl FnMut(&[u8], Option<InputKind>)) -> io::Result<()> {
        each_entry(&self.top, |name, file_type| {
            let kind = match file_type {
                FileType::RegularFile => Some(InputKind::File),
                FileType::Directory => Some(InputKind::Directory),
                FileType::Symlink | FileType::Unknown => None,
                _ => Some(InputKind::Other),
            };
            visit(name, kind);
            Ok(())
        })?;
        Ok(())
    }

    fn beneath(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            match openat2(&self.top, path, flags, Mode::empty(), resolve) {
                // The kernel gives up during a rename.
                Err(Errno::INTR | Errno::AGAIN) if tries < MOST_TRIES => tries += 1,
                Err(Errno::XDEV | Errno::LOOP) => {
                    let reason = "it is a symbolic link that leads out of the directory";
                    return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
                }
                opened => return Ok(opened?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn pipe_at(path: PathBuf) -> PathBuf {
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::RWXU, 0).unwrap();
        path
    }

    #[test]
    fn a_file_is_read_up_to_its_limit_and_one_byte_shows_that_it_is_larger() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "12345").unwrap();
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

    #[test]
    fn a_signal_that_came_before_the_wait_ends_it() {
        let caught = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGHUP, caught.clone()).unwrap();
        let (input, _writer) = io::pipe().unwrap();
        let signals = HeldSignals::hold().unwrap();
        nix::sys::signal::raise(Signal::SIGHUP).unwrap();
        assert!(!caught.load(Ordering::Relaxed), "it is held back");
        assert_eq!(signals.wait_for(&input).unwrap_err().to_string(), "interrupted");
        assert!(caught.load(Ordering::Relaxed));
    }

    #[test]
    fn a_signal_ends_an_input_that_is_never_empty() {
        let caught = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGTERM, caught.clone()).unwrap();
        let mut zeros = InputFile::open_anything(Path::new("/dev/zero")).unwrap();
        let mut buffer = [1; 16];
        assert_eq!(zeros.read(&mut buffer).unwrap(), 16);
        nix::sys::signal::raise(Signal::SIGTERM).unwrap();
        assert_eq!(zeros.read(&mut buffer).unwrap_err().to_string(), "interrupted");
        assert!(caught.load(Ordering::Relaxed));
    }

    #[test]
    fn signals_come_through_again_afterwards() {
        let before = SigSet::thread_get_mask().unwrap();
        drop(HeldSignals::hold().unwrap());
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }

    #[test]
    fn what_somebody_else_may_change_is_nobodys_word() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let mut found = Vec::new();
        for mode in [0o600, 0o644, 0o664, 0o666] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let file = File::open(&path).unwrap();
            let seen = file.metadata().unwrap();
            let is_strange_to = |caller| stranger(&file, &seen, caller).is_some();
            found.push((is_strange_to(seen.uid()), is_strange_to(seen.uid() + 1)));
        }
        let is_roots = fs::metadata(&path).unwrap().uid() == SUPERUSER;
        let by_group = fs::metadata(&path).unwrap().gid() != SUPERUSER;
        let others = !is_roots;
        assert_eq!(found, [(false, others), (false, others), (by_group, others || by_group), (true, true)]);
    }

    #[test]
    fn a_link_is_followed_inside_and_never_out() {
        let dir = tempfile::tempdir().unwrap();
        let (at, outside) = (dir.path().join("in"), dir.path().join("secret"));
        fs::create_dir_all(at.join("sub")).unwrap();
        fs::write(&outside, "secret").unwrap();
        fs::write(at.join("sub/file"), "12345").unwrap();
        symlink("sub/file", at.join("inside")).unwrap();
        symlink("../secret", at.join("above")).unwrap();
        symlink(&outside, at.join("absolute")).unwrap();
        symlink("circle", at.join("circle")).unwrap();
        let directory = InputDirectory::open(&at).unwrap();
        let read = |name: &str| directory.read_small(Path::new(name), 100);
        assert_eq!(read("inside").unwrap().unwrap(), b"12345");
        assert!(read("missing").unwrap().is_none());
        assert_eq!(directory.read_link(Path::new("above")).unwrap(), b"../secret");
        assert!(directory.entry(Path::new("above")).unwrap().is_symlink());
        assert!(directory.entry(Path::new("../secret")).is_err());
        for name in ["above", "absolute", "../secret", "circle"] {
            let error = read(name).unwrap_err().to_string();
            assert_eq!(error, "it is a symbolic link that leads out of the directory", "{name}");
        }
    }

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        fs::create_dir(dir.path().join("dir")).unwrap();
        let directory = InputDirectory::open(dir.path()).unwrap();
        assert_eq!(directory.kind(Path::new("pipe")).unwrap(), InputKind::Other);
        let error = directory.read_small(Path::new("pipe"), 5).unwrap_err().to_string();
        assert_eq!(error, "it is not a regular file");
        let error = directory.file(Path::new("dir")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }
}
