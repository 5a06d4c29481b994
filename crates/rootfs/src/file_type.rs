//! The seven types of Unix files, and how system calls, pkgmaps and records write them.

use rustix::fs::FileType as Listed;
use serde::{Deserialize, Serialize};

use patchadm_svr4::package::Ftype;

/// The type of a file. Manifests, plan files and bases hold it by the names that serde gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileType {
    /// Regular file.
    #[serde(rename = "file")]
    Regular,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Pipe,
    /// Socket.
    Socket,
    /// Block device.
    Block,
    /// Character device.
    Character,
}

impl FileType {
    /// Returns the type of the file that a pkgmap's type makes; `None` for a hard link, which has that of its source.
    pub fn of(ftype: Ftype) -> Option<Self> {
        Some(match ftype {
            Ftype::File | Ftype::Editable | Ftype::Volatile | Ftype::Information => Self::Regular,
            Ftype::Directory | Ftype::Exclusive => Self::Directory,
            Ftype::Symlink => Self::Symlink,
            Ftype::Pipe => Self::Pipe,
            Ftype::Block => Self::Block,
            Ftype::Character => Self::Character,
            Ftype::Link => return None,
        })
    }

    /// Returns the plain type that a pkgmap has for such a file; `None` for a socket.
    pub fn ftype(self) -> Option<Ftype> {
        Some(match self {
            Self::Regular => Ftype::File,
            Self::Directory => Ftype::Directory,
            Self::Symlink => Ftype::Symlink,
            Self::Pipe => Ftype::Pipe,
            Self::Block => Ftype::Block,
            Self::Character => Ftype::Character,
            Self::Socket => return None,
        })
    }

    /// Returns the letter of find(1) `-type`, which journals hold.
    pub fn letter(self) -> char {
        match self {
            Self::Regular => 'f',
            Self::Directory => 'd',
            Self::Symlink => 'l',
            Self::Pipe => 'p',
            Self::Socket => 's',
            Self::Block => 'b',
            Self::Character => 'c',
        }
    }

    /// Returns the type that a listing or a mode tells; `None` if it does not.
    pub(crate) fn of_listed(listed: Listed) -> Option<Self> {
        Some(match listed {
            Listed::RegularFile => Self::Regular,
            Listed::Directory => Self::Directory,
            Listed::Symlink => Self::Symlink,
            Listed::Fifo => Self::Pipe,
            Listed::Socket => Self::Socket,
            Listed::BlockDevice => Self::Block,
            Listed::CharacterDevice => Self::Character,
            Listed::Unknown => return None,
        })
    }

    /// Returns the type in the form of a listing.
    pub(crate) fn as_listed(self) -> Listed {
        match self {
            Self::Regular => Listed::RegularFile,
            Self::Directory => Listed::Directory,
            Self::Symlink => Listed::Symlink,
            Self::Pipe => Listed::Fifo,
            Self::Socket => Listed::Socket,
            Self::Block => Listed::BlockDevice,
            Self::Character => Listed::CharacterDevice,
        }
    }
}
