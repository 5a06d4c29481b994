//! A source that is a directory: a patch, a package, or a directory of packages, used in place.
//!
//! The operand itself may be a symbolic link. Inside it no link is followed, which the kernel guarantees (`openat2`
//! with `RESOLVE_NO_SYMLINKS`), so that a link swapped in between looking and opening leads nowhere.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, open, openat2, statat};
use rustix::io::Errno;

use super::SourceError;
use super::error::SourceProblem;
use super::member::{Kind, MemberStamp, SourceMember, Visit, checked_name};
use patchadm_rootfs::each_entry;
use patchadm_svr4::package::PackagePath;

/// Directories inside directories, at most.
const DEEPEST: usize = 256;

/// An open directory operand.
#[derive(Debug)]
pub(super) struct SourceDirectory {
    top: OwnedFd,
}

impl SourceDirectory {
    pub(super) fn open(path: &Path) -> Result<Self, SourceProblem> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = open(path, flags, Mode::empty())
            .map_err(|error| SourceProblem::Io { file: None, error: error.into() })?;
        Ok(Self { top })
    }

    /// Gives the files beside the packages and everything inside them, sorted by name. Other directories are passed
    /// over, and so are packages whose directory is not `wanted`. A name that begins with a dot is not a package's:
    /// pkgtrans(1) is just writing such a directory.
    pub(super) fn walk<E: From<SourceError>>(
        &self,
        wanted: &dyn Fn(&[u8]) -> bool,
        visit: &mut Visit<'_, E>,
        fail: &dyn Fn(SourceProblem) -> SourceError,
    ) -> Result<(), E> {
        let names = self.list(b"").map_err(fail)?;
        let whole = has(&names, b"pkginfo") && has(&names, b"pkgmap");
        for entry in names {
            if entry.kind != Kind::Directory {
                self.give(&entry.name, &entry, visit, fail)?;
            } else if whole
                || entry.name.first() != Some(&b'.')
                    && wanted(&entry.name)
                    && has(&self.list(&entry.name).map_err(fail)?, b"pkginfo")
            {
                self.walk_below(&mut entry.name.clone(), visit, fail)?;
            }
        }
        Ok(())
    }

    /// Gives path and kind of everything inside a directory but directories; `directory` is empty for the operand itself.
    pub(super) fn each_name(
        &self,
        directory: &mut Vec<u8>,
        found: &mut dyn FnMut(&[u8], &Kind),
    ) -> Result<(), SourceProblem> {
        if directory.split(|&byte| byte == b'/').count() > DEEPEST {
            return Err(SourceProblem::BadForm("directories are nested too deeply".to_owned()));
        }
        let length = directory.len();
        for entry in self.list(directory)? {
            if length > 0 {
                directory.push(b'/');
            }
            directory.extend_from_slice(&entry.name);
            match entry.kind {
                Kind::Directory => self.each_name(directory, found)?,
                kind => found(directory, &kind),
            }
            directory.truncate(length);
        }
        Ok(())
    }

    /// Gives everything inside a directory, whose name is extended meanwhile by those inside.
    fn walk_below<E: From<SourceError>>(
        &self,
        directory: &mut Vec<u8>,
        visit: &mut Visit<'_, E>,
        fail: &dyn Fn(SourceProblem) -> SourceError,
    ) -> Result<(), E> {
        let depth = directory.split(|&byte| byte == b'/').count();
        if depth > DEEPEST {
            let shown = directory.get(..80).unwrap_or_default().escape_ascii();
            return Err(fail(SourceProblem::BadForm(format!(
                "directories are nested too deeply below {shown}"
            )))
            .into());
        }
        let length = directory.len();
        for entry in self.list(directory).map_err(fail)? {
            directory.push(b'/');
            directory.extend_from_slice(&entry.name);
            if entry.kind == Kind::Directory {
                self.walk_below(directory, visit, fail)?;
            } else {
                self.give(directory, &entry, visit, fail)?;
            }
            directory.truncate(length);
        }
        Ok(())
    }

    fn give<E: From<SourceError>>(
        &self,
        name: &[u8],
        entry: &DirectoryEntry,
        visit: &mut Visit<'_, E>,
        fail: &dyn Fn(SourceProblem) -> SourceError,
    ) -> Result<(), E> {
        let Some(path) = checked_name(name).map_err(fail)? else { return Ok(()) };
        let mut reader = Unopened { directory: self, path: &path, file: None };
        let DirectoryEntry { kind, size, stamp, .. } = entry;
        let member =
            SourceMember { path: path.clone(), kind: kind.clone(), size: *size, group: None, stamp: *stamp };
        visit(&member, &mut reader)
    }

    /// Opens a regular file below the directory; no link on the way is followed.
    pub(super) fn open_file(&self, path: &PackagePath) -> io::Result<File> {
        // Without O_NONBLOCK a pipe that someone put there would hold the program for ever.
        let file = self.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            Ok(File::from(file))
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"))
        }
    }

    fn open_at(&self, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let name = if name.is_empty() { b"." } else { name };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        openat2(self.top.as_fd(), OsStr::from_bytes(name), flags | OFlags::CLOEXEC, Mode::empty(), resolve)
            .map_err(|error| match error {
                Errno::NOSYS => io::Error::new(io::ErrorKind::Unsupported, "the kernel has no openat2(2)"),
                other => other.into(),
            })
    }

    /// Returns the contents of a directory, sorted by name.
    fn list(&self, directory: &[u8]) -> Result<Vec<DirectoryEntry>, SourceProblem> {
        let read = || -> io::Result<Vec<DirectoryEntry>> {
            let at = self.open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let mut found = Vec::new();
            each_entry(&at, |name, _| {
                let stat = statat(&at, name, AtFlags::SYMLINK_NOFOLLOW)?;
                let (kind, size) = kind(&stat);
                let stamp = MemberStamp { mode: stat.st_mode & 0o7777, mtime: stat.st_mtime };
                found.push(DirectoryEntry { name: name.to_vec(), kind, size, stamp });
                Ok(())
            })?;
            found.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(found)
        };
        read().map_err(|error| match directory {
            b"" => SourceProblem::Io { file: None, error },
            inside => SourceProblem::read(&inside.escape_ascii().to_string(), error),
        })
    }
}

/// An object in a directory under a name.
#[derive(Debug)]
struct DirectoryEntry {
    name: Vec<u8>,
    kind: Kind,
    size: u64,
    stamp: MemberStamp,
}

fn has(entries: &[DirectoryEntry], wanted: &[u8]) -> bool {
    entries.iter().any(|entry| entry.name == wanted)
}

fn kind(stat: &Stat) -> (Kind, u64) {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => (Kind::File, u64::try_from(stat.st_size).unwrap_or(0)),
        FileType::Directory => (Kind::Directory, 0),
        FileType::Symlink => (Kind::Symlink, 0),
        _ => (Kind::Other, 0),
    }
}

/// A file that is opened when it is first read, so that a walk opens no file that is not needed.
struct Unopened<'a> {
    directory: &'a SourceDirectory,
    path: &'a PackagePath,
    file: Option<File>,
}

impl Read for Unopened<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            closed => closed.insert(self.directory.open_file(self.path)?),
        };
        file.read(buffer)
    }
}
