//! What is to be seen inside, and what runs there: values that one process hands to the other.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

/// A command and everything that it will see. Paths are bytes, as the system has them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enclosure {
    /// The directory of the host that is `/` inside, with all that is mounted below it.
    pub tree: OsString,
    /// Whether the tree can be written to. Missing mount points are made in it only if it can.
    pub access: Access,
    /// What is mounted inside, in this order.
    pub mounts: Vec<Mount>,
    /// Locks that are held as long as any process is inside.
    pub locks: Vec<HeldLock>,
    /// Whether the caller has the id 0 inside.
    pub as_root: bool,
    /// What runs inside.
    pub command: EnclosedCommand,
}

/// A command, run inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnclosedCommand {
    /// The programs that may be meant, each with its arguments: the first one that is there inside runs.
    pub choices: Vec<Vec<OsString>>,
    /// The complete environment; programs without a slash in their names are searched along its `PATH`.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directories that may be meant: the first one that is there inside counts, and else `/`.
    pub directories: Vec<OsString>,
    /// The file mode creation mask.
    pub umask: u32,
}

/// Whether something can be written to inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Every mount of it is mounted read-only.
    ReadOnly,
    /// The mounts are as the host has them.
    ReadWrite,
}

/// Something mounted inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// The path inside. Symbolic links in it are followed, and never lead out.
    pub place: OsString,
    /// What is mounted.
    pub source: MountSource,
    /// What happens if the place does not exist.
    pub missing: MissingPlace,
}

/// What is mounted at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A directory or file of the host, with all that is mounted below it.
    Host {
        /// A directory of the host, which links in `path` do not lead out of.
        below: OsString,
        /// The path below that directory.
        path: OsString,
        /// Whether it can be written to.
        access: Access,
        /// Whether it is a part of the tree: missing mount points are made in it, and what is mounted below the place
        /// stays visible, read-only.
        is_own: bool,
    },
    /// The processes of the enclosure; where the kernel refuses that, those of the host, read-only.
    Processes,
    /// The usual devices without any of a disk, and these further files, each with its content.
    Devices(Vec<(OsString, Vec<u8>)>),
    /// An empty directory, which nobody can write to.
    Nothing,
}

/// What happens if a mount point does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MissingPlace {
    /// It is made where that is possible, else refused.
    Made,
    /// Nothing is mounted.
    LeftOut,
    /// It is an error.
    Refused,
}

/// A lock file, locked together with others who hold it in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLock {
    /// The directory of the host with the file.
    pub directory: OsString,
    /// The name of the file.
    pub name: OsString,
}
