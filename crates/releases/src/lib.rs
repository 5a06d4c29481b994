//! Trees as lists of objects, and their comparison. Lists come from `patchadm-making` and `patchadm-core`.

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

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

/// Sorted by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeComparison {
    /// Without equal objects.
    pub changes: Vec<ObjectChange>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectChange {
    /// Below the base directory.
    pub path: ObjectPath,
    pub kind: ChangeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Only the new release has it.
    Added,
    Replaced(Differences),
    /// Only the old release has it.
    Deleted,
}

/// Respects in which two objects of one path differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Includes editable, volatile and exclusive types.
    pub ftype: bool,
    pub bytes: bool,
    pub target: bool,
    pub device: bool,
    pub mode: bool,
    pub owner: bool,
    /// Includes access control lists.
    pub xattrs: bool,
    /// The names of the file.
    pub links: bool,
    /// If requested.
    pub mtime: bool,
}

impl Differences {
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }

    /// True if type, content and names are equal.
    pub fn is_attributes_only(&self) -> bool {
        let attributes = Self { mode: false, owner: false, xattrs: false, mtime: false, ..*self };
        self.is_any() && !attributes.is_any()
    }

    pub fn is_mtime_only(&self) -> bool {
        *self == Self { mtime: true, ..Self::default() }
    }

    /// In a fixed order.
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

impl TreeComparison {
    /// Added and changed paths.
    pub fn delivered(&self) -> impl Iterator<Item = &ObjectPath> {
        self.changes.iter().filter(|change| change.kind != ChangeKind::Deleted).map(|change| &change.path)
    }

    pub fn deleted(&self) -> impl Iterator<Item = &ObjectPath> {
        self.changes.iter().filter(|change| change.kind == ChangeKind::Deleted).map(|change| &change.path)
    }
}

/// Additional differences that count as a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompareOptions {
    /// Modification times.
    pub mtimes: bool,
    /// Owner and attributes of symbolic links, and times of everything but directories.
    pub every_type: bool,
}

/// Compares two lists by size and digest, without opening anything. Both must be sorted by path, with each path once.
///
/// A rebuild gives every object a new modification time, so that counts only on request, and never for a directory. Of
/// a symbolic link only the target counts by default, as in a pkgmap.
pub fn compare(old: &[ReleaseObject], new: &[ReleaseObject], options: CompareOptions) -> TreeComparison {
    let (old_names, new_names) = (LinkNames::of(old), LinkNames::of(new));
    // A file may have very many names: they are compared once, not again for each of them.
    let mut other_links: HashMap<(Option<LinkGroup>, Option<LinkGroup>), bool> = HashMap::new();
    let (mut before, mut after) = (old.iter().peekable(), new.iter().peekable());
    let mut changes = Vec::new();
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return TreeComparison { changes },
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        let one = if order == Ordering::Greater { None } else { before.next() };
        let other = if order == Ordering::Less { None } else { after.next() };
        let (path, kind) = match (one, other) {
            (Some(old), Some(new)) => {
                let mut differences = differences(old, new, options);
                let groups = (old.link_group(), new.link_group());
                let have_others = || old_names.others(old) != new_names.others(new);
                differences.links = *other_links.entry(groups).or_insert_with(have_others);
                if !differences.is_any() {
                    continue;
                }
                (&new.path, ChangeKind::Replaced(differences))
            }
            (Some(old), None) => (&old.path, ChangeKind::Deleted),
            (None, Some(new)) => (&new.path, ChangeKind::Added),
            (None, None) => continue,
        };
        changes.push(ObjectChange { path: path.clone(), kind });
    }
}

fn differences(old: &ReleaseObject, new: &ReleaseObject, options: CompareOptions) -> Differences {
    use ReleaseObjectKind::{Block, Character, Directory, File, Pipe, Symlink};
    let mut found = Differences::default();
    match (&old.kind, &new.kind) {
        (
            File { content: old_content, upkeep: old_upkeep, .. },
            File { content: new_content, upkeep: new_upkeep, .. },
        ) => {
            found.bytes = (old_content.size, old_content.digest) != (new_content.size, new_content.digest);
            found.ftype = old_upkeep != new_upkeep;
            found.mtime = options.mtimes && old.mtime != new.mtime;
        }
        (Directory { exclusive: old }, Directory { exclusive: new }) => found.ftype = old != new,
        (Symlink(old_target), Symlink(new_target)) => {
            found.target = old_target != new_target;
            if options.every_type {
                found.owner = has_other_owner(old, new);
                found.xattrs = old.xattrs != new.xattrs;
                found.mtime = options.mtimes && old.mtime != new.mtime;
            }
            return found;
        }
        (Block(old), Block(new)) | (Character(old), Character(new)) => found.device = old != new,
        (Pipe, Pipe) => {}
        _ => found.ftype = true,
    }
    if matches!((&old.kind, &new.kind), (Symlink(_), _) | (_, Symlink(_))) {
        return found;
    }
    found.mode = old.mode != new.mode;
    if options.every_type && !found.ftype && !new.is_directory() {
        found.mtime = options.mtimes && old.mtime != new.mtime;
    }
    found.owner = has_other_owner(old, new);
    found.xattrs = old.xattrs != new.xattrs;
    found
}

fn has_other_owner(old: &ReleaseObject, new: &ReleaseObject) -> bool {
    !is_same_owner(&old.owner, &new.owner) || !is_same_owner(&old.group, &new.group)
}

/// Compares names if both have one, else numbers.
fn is_same_owner(old: &ObjectOwner, new: &ObjectOwner) -> bool {
    match (&old.name, &new.name) {
        (Some(old), Some(new)) => old == new,
        _ if old.id.is_some() && new.id.is_some() => old.id == new.id,
        _ => old == new,
    }
}

/// The names of each file with several.
#[derive(Debug)]
pub struct LinkNames<'a>(BTreeMap<LinkGroup, Vec<&'a ObjectPath>>);

impl<'a> LinkNames<'a> {
    pub fn of(objects: &'a [ReleaseObject]) -> Self {
        let mut names: BTreeMap<LinkGroup, Vec<&ObjectPath>> = BTreeMap::new();
        for object in objects {
            if let Some(group) = object.link_group() {
                names.entry(group).or_default().push(&object.path);
            }
        }
        names.retain(|_, names| names.len() > 1);
        Self(names)
    }

    /// All names of the object's file, sorted; empty if it has only one.
    pub fn others(&self, object: &ReleaseObject) -> &[&'a ObjectPath] {
        object.link_group().and_then(|group| self.0.get(&group)).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
