//! Objects of a tree.

use std::collections::BTreeMap;

use patchadm_rootfs::{Digest, Timestamp};
use patchadm_svr4::package::{ContentInfo, Mode, ObjectPath, Word};

/// One object of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseObject {
    /// The path below the base directory, as an absolute one: `/bin/acme`.
    pub path: ObjectPath,
    /// The type, and what only this type has.
    pub kind: ReleaseObjectKind,
    /// Meaningless for a symbolic link.
    pub mode: Mode,
    /// For a symbolic link, if the input has one.
    pub owner: ObjectOwner,
    /// The group.
    pub group: ObjectOwner,
    /// As exact as in the input.
    pub mtime: Timestamp,
    /// Extended attributes and access control lists, by full name (`user.note`, `security.capability`,
    /// `system.posix_acl_access`).
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The class of an SVR4 object; empty for all others.
    pub class: Word,
}

/// An owner or a group, by name, number or both.
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
        /// Who changes it after installation.
        upkeep: Upkeep,
        /// The other names of the file, if it has any in this package.
        links: Option<LinkGroup>,
    },
    /// A directory.
    Directory {
        /// Only this package may put files into it (`x` of an SVR4 package).
        exclusive: bool,
    },
    /// A symbolic link with its target as written.
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
    /// The digest for the second pass.
    pub digest: Digest,
}

/// Who changes a file after installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Upkeep {
    /// Nobody: type `f`.
    #[default]
    Delivered,
    /// Administrators or scripts, as a conffile or `%config`: type `e`.
    Editable,
    /// Programs, as a log: type `v`.
    Volatile,
}

/// The names of one file within a package: all objects with an equal group are one file. Later names are hard links to
/// the first one, in the order of paths.
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

impl ReleaseObject {
    /// Returns the content of a regular file.
    pub fn content(&self) -> Option<&FileContent> {
        match &self.kind {
            ReleaseObjectKind::File { content, .. } => Some(content),
            _ => None,
        }
    }

    /// Returns the content of a regular file as in a pkgmap, where no time is before 1970.
    pub fn content_info(&self) -> Option<ContentInfo> {
        let FileContent { size, cksum, .. } = *self.content()?;
        Some(ContentInfo { size: Some(size), cksum: Some(cksum), mtime: Some(self.mtime.seconds.max(0)) })
    }

    /// Returns the group of names that a regular file belongs to.
    pub fn link_group(&self) -> Option<LinkGroup> {
        match &self.kind {
            ReleaseObjectKind::File { links, .. } => *links,
            _ => None,
        }
    }

    /// True for a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self.kind, ReleaseObjectKind::Directory { .. })
    }
}
