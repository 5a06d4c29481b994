use std::collections::BTreeMap;

use patchadm_rootfs::{Digest, Timestamp};
use patchadm_svr4::package::{ContentInfo, Mode, ObjectPath, Word};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseObject {
    /// Below the base directory, as an absolute path: `/bin/acme`.
    pub path: ObjectPath,
    pub kind: ReleaseObjectKind,
    /// Meaningless for a symbolic link.
    pub mode: Mode,
    /// For a symbolic link, if the input has one.
    pub owner: ObjectOwner,
    pub group: ObjectOwner,
    /// As exact as in the input.
    pub mtime: Timestamp,
    /// By full name, including access control lists: `user.note`, `security.capability`, `system.posix_acl_access`.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The class of an SVR4 object; empty for all others.
    pub class: Word,
}

/// By name, number or both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ObjectOwner {
    pub name: Option<Word>,
    pub id: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReleaseObjectKind {
    File {
        content: FileContent,
        /// Who changes it after installation.
        upkeep: Upkeep,
        /// The other names of the file in this package, if any.
        links: Option<LinkGroup>,
    },
    Directory {
        /// Only this package may put files into it (`x` of an SVR4 package).
        exclusive: bool,
    },
    /// The target as written.
    Symlink(Vec<u8>),
    Pipe,
    Block(Device),
    Character(Device),
}

/// Sums of a file's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileContent {
    /// In bytes.
    pub size: u64,
    /// The sum of pkgmap(4).
    pub cksum: u16,
    /// For the second pass.
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

/// Objects of a package with an equal group are names of one file, hard links to the first one by path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkGroup(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    pub major: u32,
    pub minor: u32,
}

impl ReleaseObject {
    pub fn content(&self) -> Option<&FileContent> {
        match &self.kind {
            ReleaseObjectKind::File { content, .. } => Some(content),
            _ => None,
        }
    }

    /// As in a pkgmap, where no time is before 1970.
    pub fn content_info(&self) -> Option<ContentInfo> {
        let FileContent { size, cksum, .. } = *self.content()?;
        Some(ContentInfo { size: Some(size), cksum: Some(cksum), mtime: Some(self.mtime.seconds.max(0)) })
    }

    /// The group of names that a regular file belongs to.
    pub fn link_group(&self) -> Option<LinkGroup> {
        match &self.kind {
            ReleaseObjectKind::File { links, .. } => *links,
            _ => None,
        }
    }

    pub fn is_directory(&self) -> bool {
        matches!(self.kind, ReleaseObjectKind::Directory { .. })
    }
}
