//! The values of a comparison: what happened to an object between two releases, and in which respects it differs.

use std::fmt;

use patchadm_svr4::package::ObjectPath;

/// Everything that changed between two lists of objects, sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The changes; an object that is the same on both sides does not appear.
    pub changes: Vec<ObjectChange>,
}

/// The change of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectChange {
    /// The path below the base directory.
    pub path: ObjectPath,
    /// The kind of change.
    pub kind: ChangeKind,
}

/// The kind of change of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Only the new release has it.
    Added,
    /// Both have it, and it differs.
    Replaced(Differences),
    /// Only the old release has it.
    Deleted,
}

/// The respects in which two objects of one path differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The type: file, directory, link, …; also whether a file is editable or volatile, and a directory exclusive.
    pub ftype: bool,
    /// The bytes of a file.
    pub bytes: bool,
    /// The target of a symbolic link.
    pub target: bool,
    /// The numbers of a device.
    pub device: bool,
    /// The permission bits.
    pub mode: bool,
    /// The owner or the group.
    pub owner: bool,
    /// Extended attributes and access control lists.
    pub xattrs: bool,
    /// The names of the file.
    pub links: bool,
    /// The modification time; looked at only where that was asked for.
    pub mtime: bool,
}

impl Differences {
    /// Tells whether there is any.
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }

    /// Tells whether type, content and names are the same, so that only attributes differ.
    pub fn is_attributes_only(&self) -> bool {
        let attributes = Self { mode: false, owner: false, xattrs: false, mtime: false, ..*self };
        self.is_any() && !attributes.is_any()
    }

    /// Tells whether the modification time is all that differs.
    pub fn is_mtime_only(&self) -> bool {
        *self == Self { mtime: true, ..Self::default() }
    }

    /// Returns the respects as words, in a fixed order.
    pub fn words(&self) -> Vec<&'static str> {
        let all = [
            (self.ftype, "type"),
            (self.bytes, "bytes"),
            (self.target, "target"),
            (self.device, "device"),
            (self.mode, "mode"),
            (self.owner, "owner"),
            (self.xattrs, "xattrs"),
            (self.links, "links"),
            (self.mtime, "mtime"),
        ];
        all.into_iter().filter(|(differs, _)| *differs).map(|(_, word)| word).collect()
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().join(" "))
    }
}

impl Comparison {
    /// Returns the path of each object of the new release that was added or differs.
    pub fn delivered(&self) -> impl Iterator<Item = &ObjectPath> {
        self.changes.iter().filter(|change| change.kind != ChangeKind::Deleted).map(|change| &change.path)
    }

    /// Returns the path of each object that only the old release has.
    pub fn deleted(&self) -> impl Iterator<Item = &ObjectPath> {
        self.changes.iter().filter(|change| change.kind == ChangeKind::Deleted).map(|change| &change.path)
    }
}
