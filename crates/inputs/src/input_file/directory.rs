//! A directory that the caller names, with files that somebody else may have put there.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, open, openat2, readlinkat};
use rustix::io::Errno;

use super::{AT_ONCE, not_regular, start_of, within};
use patchadm_rootfs::each_entry;

/// How often a file is opened again while somebody renames directories.
const MOST_TRIES: usize = 100;

/// How a directory is opened: its files can be read, which does not take the right to list it.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How a name is opened that may be a symbolic link: itself.
const LINK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a name in a directory leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A pipe, a socket or a device.
    Other,
}

/// An open directory. Symbolic links in it are followed while they stay inside, which the kernel guarantees (`openat2`
/// with `RESOLVE_BENEATH`).
#[derive(Debug)]
pub struct InputDirectory {
    top: OwnedFd,
}

impl InputDirectory {
    /// Opens a directory that the caller names, through symbolic links if need be.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { top: open(path, DIRECTORY, Mode::empty())? })
    }

    /// Opens a directory inside this one.
    ///
    /// # Errors
    /// What the system says; that it leads out.
    pub fn directory(&self, path: &Path) -> io::Result<Self> {
        Ok(Self { top: self.beneath(path, DIRECTORY)? })
    }

    /// Tells what a name leads to, without opening it.
    ///
    /// # Errors
    /// What the system says; that it leads out.
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

    /// Returns the status of what a name leads to, without opening it.
    ///
    /// # Errors
    /// What the system says; that it leads out.
    pub fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        File::from(self.beneath(path, OFlags::PATH | OFlags::CLOEXEC)?).metadata()
    }

    /// Returns the status of a name itself, also where it is a symbolic link.
    ///
    /// # Errors
    /// What the system says; that the way to it leads out.
    pub fn entry(&self, path: &Path) -> io::Result<Metadata> {
        File::from(self.beneath(path, LINK)?).metadata()
    }

    /// Returns the target of a symbolic link.
    ///
    /// # Errors
    /// What the system says; that the way to it leads out.
    pub fn read_link(&self, path: &Path) -> io::Result<Vec<u8>> {
        let link = self.beneath(path, LINK)?;
        Ok(readlinkat(&link, "", Vec::new())?.into_bytes())
    }

    /// Opens a regular file inside it. Anything else is refused unopened.
    ///
    /// # Errors
    /// What the system says; that it is something else, or leads out.
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

    /// Reads a regular file inside it of at most `limit` bytes; `None` if there is none. A larger one is an error.
    ///
    /// # Errors
    /// What the system says; that it is too large, is something else, or leads out.
    pub fn read_small(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let bytes = self.read_start(path, limit)?;
        bytes.map(|bytes| within(bytes, limit)).transpose()
    }

    /// Reads the first bytes of a regular file inside it, at most one more than the limit, so that the caller can see that
    /// there are too many; `None` if there is none.
    ///
    /// # Errors
    /// What the system says; that it is something else, or leads out.
    pub fn read_start(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        match self.file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => start_of(opened?, limit).map(Some),
        }
    }

    /// Passes on the name of every entry, with its kind as far as the listing tells it; a link has none.
    ///
    /// # Errors
    /// What the system says.
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
                // The kernel gives up while something is renamed.
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
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

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
