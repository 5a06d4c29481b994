//! A source that is a directory: a patch, a package, or a directory of packages, used in place.
//!
//! The operand itself may be a symbolic link. Inside it no link is followed, by the kernel's own word (`openat2`
//! with `RESOLVE_NO_SYMLINKS`), so that a link swapped in between looking and opening leads nowhere.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;

use super::SourceError;
use super::error::Problem;
use super::member::{Kind, Member, Visit, checked_name};
use crate::package::PackagePath;

/// Directories inside directories, at most.
const DEEPEST: usize = 256;

/// An open directory operand.
#[derive(Debug)]
pub(super) struct Directory {
    top: OwnedFd,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self, Problem> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = open(path, flags, Mode::empty())
            .map_err(|error| Problem::Io { file: None, error: error.into() })?;
        Ok(Self { top })
    }

    /// Gives the files beside the packages and everything inside them, sorted by name; other directories are
    /// passed over.
    pub(super) fn walk<E: From<SourceError>>(
        &self,
        visit: &mut Visit<'_, E>,
        fail: &dyn Fn(Problem) -> SourceError,
    ) -> Result<(), E> {
        let names = self.list(b"").map_err(fail)?;
        let whole = has(&names, b"pkginfo") && has(&names, b"pkgmap");
        for (name, kind) in names {
            if kind != Kind::Directory {
                self.give(&name, kind, visit, fail)?;
            } else if whole || has(&self.list(&name).map_err(fail)?, b"pkginfo") {
                self.walk_below(&name, visit, fail)?;
            }
        }
        Ok(())
    }

    fn walk_below<E: From<SourceError>>(
        &self,
        directory: &[u8],
        visit: &mut Visit<'_, E>,
        fail: &dyn Fn(Problem) -> SourceError,
    ) -> Result<(), E> {
        let depth = directory.split(|&byte| byte == b'/').count();
        if depth > DEEPEST {
            let shown = directory.get(..80).unwrap_or_default().escape_ascii();
            return Err(
                fail(Problem::BadForm(format!("directories are nested too deeply below {shown}"))).into()
            );
        }
        self.give(directory, Kind::Directory, visit, fail)?;
        for (name, kind) in self.list(directory).map_err(fail)? {
            let path = [directory, b"/", &name].concat();
            if kind == Kind::Directory {
                self.walk_below(&path, visit, fail)?;
            } else {
                self.give(&path, kind, visit, fail)?;
            }
        }
        Ok(())
    }

    fn give<E: From<SourceError>>(
        &self,
        name: &[u8],
        kind: Kind,
        visit: &mut Visit<'_, E>,
        fail: &dyn Fn(Problem) -> SourceError,
    ) -> Result<(), E> {
        let Some(path) = checked_name(name).map_err(fail)? else { return Ok(()) };
        let mut size = 0;
        if kind == Kind::File {
            let flags = OFlags::PATH | OFlags::NOFOLLOW;
            let at =
                self.open_at(name, flags).map_err(|error| fail(Problem::read(&path.to_string(), error)))?;
            let stat = rustix::fs::fstat(&at);
            let stat = stat.map_err(|error| fail(Problem::read(&path.to_string(), error.into())))?;
            size = u64::try_from(stat.st_size).unwrap_or(0);
        }
        let mut reader = Unopened { directory: self, path: &path, file: None };
        visit(&Member { path: path.clone(), kind, size, group: None }, &mut reader)
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

    /// What is in a directory, sorted by name.
    fn list(&self, directory: &[u8]) -> Result<Vec<(Vec<u8>, Kind)>, Problem> {
        let read = || -> io::Result<Vec<(Vec<u8>, Kind)>> {
            let at = self.open_at(directory, OFlags::RDONLY | OFlags::DIRECTORY)?;
            let mut found = Vec::new();
            for entry in Dir::read_from(&at)? {
                let entry = entry?;
                let name = entry.file_name().to_bytes().to_vec();
                if matches!(&name[..], b"." | b"..") {
                    continue;
                }
                let mut file_type = entry.file_type();
                if file_type == FileType::Unknown {
                    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
                    file_type =
                        FileType::from_raw_mode(rustix::fs::statat(&at, entry.file_name(), flags)?.st_mode);
                }
                found.push((name, kind(file_type)));
            }
            found.sort_by(|(one, _), (other, _)| one.cmp(other));
            Ok(found)
        };
        read().map_err(|error| match directory {
            b"" => Problem::Io { file: None, error },
            inside => Problem::read(&inside.escape_ascii().to_string(), error),
        })
    }
}

fn has(names: &[(Vec<u8>, Kind)], wanted: &[u8]) -> bool {
    names.iter().any(|(name, _)| name == wanted)
}

fn kind(file_type: FileType) -> Kind {
    match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

/// A file that is opened when it is first read, so that a walk costs no opening of what nobody wants.
struct Unopened<'a> {
    directory: &'a Directory,
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
