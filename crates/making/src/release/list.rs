//! The values of a release: packages, and the objects of each as one sorted list.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use patchadm_rootfs::{Digest, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath, Params, Word};

/// The packages of one operand.
#[derive(Debug)]
pub struct Release {
    /// The operand, as it was named.
    pub name: String,
    /// The packages, sorted by name and architecture. A tree, and a tar archive of one, is one package without a name.
    pub packages: Vec<ReleasePackage>,
}

/// One package of a release.
pub struct ReleasePackage {
    /// The file or directory it was read from, for messages.
    pub origin: String,
    /// The form that it was shipped in.
    pub form: ReleaseForm,
    /// Its name in its own format; `None` for a tree or a tar archive.
    pub name: Option<String>,
    /// Its architecture in the words of its own format; `None` for a tree or a tar archive.
    pub arch: Option<String>,
    /// Its version with epoch and release (`1:1.0-1`); `None` for a tree or a tar archive.
    pub version: Option<String>,
    /// The name of the source package it was built from, without a version; its own name where it says nothing.
    pub source: Option<String>,
    /// One line about it, where it has one.
    pub summary: Option<String>,
    /// Maintainer scripts and triggers, by name. They are never run and never translated.
    pub scripts: Vec<String>,
    /// The parts that only an SVR4 package has.
    pub svr4: Option<SvrDescription>,
    /// The objects, sorted by path, each path once, the root directory itself left out. A directory that the input does
    /// not list is not in it.
    pub objects: Vec<ReleaseObject>,
    /// The content of the files.
    pub contents: Box<dyn ContentReader>,
}

/// The form that a package was shipped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ReleaseForm {
    /// A directory tree.
    Tree,
    /// A tar archive of a tree.
    Tar,
    /// An SVR4 package, as a directory or in a datastream.
    Svr4,
    /// A Debian package.
    Deb,
    /// An rpm package.
    Rpm,
}

/// The parts of an SVR4 package that say more than its objects.
#[derive(Clone, Debug, Default)]
pub struct SvrDescription {
    /// Its pkginfo.
    pub params: Params,
    /// Its class action scripts (`i.CLASS`, `r.CLASS`), by name.
    pub class_scripts: BTreeMap<String, Vec<u8>>,
}

/// One object of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseObject {
    /// The path below the base directory, as an absolute one: `/bin/acme`.
    pub path: ObjectPath,
    /// The type, and what only this type has.
    pub kind: ReleaseObjectKind,
    /// The permission bits; those of a symbolic link mean nothing.
    pub mode: Mode,
    /// The owner; that of a symbolic link is kept where the input has one.
    pub owner: ObjectOwner,
    /// The group.
    pub group: ObjectOwner,
    /// The modification time, as exact as the input has it.
    pub mtime: Timestamp,
    /// Extended attributes and access control lists, by full name (`user.note`, `security.capability`,
    /// `system.posix_acl_access`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The class of an SVR4 object; empty for all others.
    pub class: Word,
}

/// An owner or a group: by name, by number, or both, as far as the input says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ObjectOwner {
    /// The name.
    pub name: Option<Word>,
    /// The number.
    pub id: Option<u32>,
}

/// The type of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseObjectKind {
    /// A regular file.
    File {
        /// Its bytes.
        content: FileContent,
        /// The one who changes it after it is installed.
        upkeep: Upkeep,
        /// The other names of the same file, if it has any in this package.
        links: Option<LinkGroup>,
    },
    /// A directory.
    Directory {
        /// Only this package may put files into it (`x` of an SVR4 package).
        exclusive: bool,
    },
    /// A symbolic link and its target, as written.
    Symlink(Vec<u8>),
    /// A named pipe.
    Pipe,
    /// A block device.
    Block(Device),
    /// A character device.
    Character(Device),
}

/// The sums of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileContent {
    /// The size in bytes.
    pub size: u64,
    /// The sum of pkgmap(4).
    pub cksum: u16,
    /// The digest that the second pass is compared with.
    pub digest: Digest,
}

/// The one who changes a file after it is installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upkeep {
    /// None: type `f`.
    #[default]
    Delivered,
    /// Administrators or scripts, as a conffile or `%config`: type `e`.
    Editable,
    /// Programs, as a log: type `v`.
    Volatile,
}

/// The names of one file, counted within a package: all objects with an equal group are one file. The first name in the
/// order of paths is the one that later ones are hard links to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkGroup(pub u32);

/// A device's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

/// Streams the content of files, any number of times.
pub trait ContentReader: Send + Sync {
    /// Hands each file that `wanted` accepts to `sink`, once, in the order that is cheapest to read. A file with
    /// several names is handed out under the first wanted one, in the order of paths. The receiver compares the bytes
    /// with [`FileContent`]. An error from `sink` ends the walk and is returned.
    fn each(
        &self,
        wanted: &dyn Fn(&ObjectPath) -> bool,
        sink: &mut dyn FnMut(&ObjectPath, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()>;
}

impl fmt::Debug for ReleasePackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReleasePackage")
            .field("origin", &self.origin)
            .field("form", &self.form)
            .field("name", &self.name)
            .field("arch", &self.arch)
            .field("version", &self.version)
            .field("objects", &self.objects.len())
            .finish_non_exhaustive()
    }
}

impl ReleaseObject {
    /// Returns the content of a regular file.
    pub fn content(&self) -> Option<&FileContent> {
        match &self.kind {
            ReleaseObjectKind::File { content, .. } => Some(content),
            _ => None,
        }
    }

    /// Returns the group of names that a regular file belongs to.
    pub fn link_group(&self) -> Option<LinkGroup> {
        match &self.kind {
            ReleaseObjectKind::File { links, .. } => *links,
            _ => None,
        }
    }

    /// Tells whether the object is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, ReleaseObjectKind::Directory { .. })
    }
}
