//! The comparison of two lists of objects.
//!
//! Pure: nothing is opened, content is compared by size and digest. A modification time alone is no change unless that
//! is asked for, because a rebuild gives every object a new one. That of a directory never is, because it changes with
//! every name in it. For a symbolic link only the target counts, unless more is asked for: a pkgmap has nothing else
//! about it.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::change::{ChangeKind, Comparison, Differences, ObjectChange};
use crate::release::{LinkGroup, ObjectOwner, ReleaseObject, ReleaseObjectKind};
use patchadm_svr4::package::ObjectPath;

/// The differences that count as a change beyond the usual ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompareOptions {
    /// Whether another modification time is a change.
    pub mtimes: bool,
    /// Whether everything that an object of any type has counts: owner and attributes of symbolic links, the times of all
    /// but directories.
    pub every_type: bool,
}

/// Compares two lists, each sorted by path with each path once.
pub fn compare(old: &[ReleaseObject], new: &[ReleaseObject], options: CompareOptions) -> Comparison {
    let (old_names, new_names) = (LinkNames::of(old), LinkNames::of(new));
    let (mut before, mut after) = (old.iter().peekable(), new.iter().peekable());
    let mut changes = Vec::new();
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return Comparison { changes },
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        let one = if order == Ordering::Greater { None } else { before.next() };
        let other = if order == Ordering::Less { None } else { after.next() };
        let (path, kind) = match (one, other) {
            (Some(old), Some(new)) => {
                let mut differences = differences(old, new, options);
                differences.links = old_names.others(old) != new_names.others(new);
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

/// Compares two objects in every respect but the names of a file.
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

/// Tells whether two owners are one, by name where both have one, else by number.
fn is_same_owner(old: &ObjectOwner, new: &ObjectOwner) -> bool {
    match (&old.name, &new.name) {
        (Some(old), Some(new)) => old == new,
        _ if old.id.is_some() && new.id.is_some() => old.id == new.id,
        _ => old == new,
    }
}

/// The names of each file that has several.
#[derive(Debug)]
pub(super) struct LinkNames<'a>(BTreeMap<LinkGroup, Vec<&'a ObjectPath>>);

impl<'a> LinkNames<'a> {
    /// Collects the names of a list.
    pub(super) fn of(objects: &'a [ReleaseObject]) -> Self {
        let mut names: BTreeMap<LinkGroup, Vec<&ObjectPath>> = BTreeMap::new();
        for object in objects {
            if let Some(group) = object.link_group() {
                names.entry(group).or_default().push(&object.path);
            }
        }
        names.retain(|_, names| names.len() > 1);
        Self(names)
    }

    /// Returns all names of the file that an object is, sorted; none if it has only one.
    pub(super) fn others(&self, object: &ReleaseObject) -> &[&'a ObjectPath] {
        object.link_group().and_then(|group| self.0.get(&group)).map(Vec::as_slice).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::made_up::{directory, file, link, symlink};
    use super::*;

    fn said(old: &[ReleaseObject], new: &[ReleaseObject]) -> Vec<String> {
        let (mut old, mut new) = (old.to_vec(), new.to_vec());
        old.sort_by(|a, b| a.path.cmp(&b.path));
        new.sort_by(|a, b| a.path.cmp(&b.path));
        let words = |change: &ObjectChange| match change.kind {
            ChangeKind::Added => format!("{} added", change.path),
            ChangeKind::Deleted => format!("{} deleted", change.path),
            ChangeKind::Replaced(differences) => format!("{} {differences}", change.path),
        };
        compare(&old, &new, CompareOptions::default()).changes.iter().map(words).collect()
    }

    #[test]
    fn what_is_on_one_side_only_was_added_or_deleted() {
        let (a, b, c) = (file("/a", "x"), file("/b", "x"), file("/c", "x"));
        assert_eq!(said(&[a.clone(), b.clone()], &[b, c]), ["/a deleted", "/c added"]);
        assert_eq!(said(&[a], &[]), ["/a deleted"]);
    }

    #[test]
    fn every_respect_in_which_objects_differ_is_named() {
        let old = file("/f", "old");
        let mut new = file("/f", "new");
        assert_eq!(said(std::slice::from_ref(&old), std::slice::from_ref(&new)), ["/f bytes"]);
        new.mode = patchadm_svr4::package::Mode::of(0o600);
        new.owner.name = Some("bin".into());
        new.xattrs.insert(b"user.note".to_vec(), b"x".to_vec());
        assert_eq!(said(std::slice::from_ref(&old), &[new]), ["/f bytes mode owner xattrs"]);
        assert_eq!(said(std::slice::from_ref(&old), &[symlink("/f", "g")]), ["/f type"]);
        assert_eq!(said(&[symlink("/f", "g")], &[symlink("/f", "h")]), ["/f target"]);
        assert_eq!(said(&[directory("/f")], &[old]), ["/f type mode"]);
    }

    #[test]
    fn attributes_alone_are_told_from_other_changes() {
        let old = file("/f", "x");
        let mut new = old.clone();
        new.mode = patchadm_svr4::package::Mode::of(0o600);
        let found = compare(std::slice::from_ref(&old), &[new], CompareOptions::default());
        let [ObjectChange { kind: ChangeKind::Replaced(differences), .. }] = &found.changes[..] else {
            panic!()
        };
        assert!(differences.is_attributes_only());
        assert!(!Differences { bytes: true, mode: true, ..Differences::default() }.is_attributes_only());
        assert!(!Differences::default().is_attributes_only());
    }

    #[test]
    fn a_new_time_alone_is_no_change_unless_it_is_asked_for() {
        let old = file("/f", "x");
        let mut new = old.clone();
        new.mtime.seconds += 1;
        assert!(said(std::slice::from_ref(&old), std::slice::from_ref(&new)).is_empty());
        let found = compare(
            std::slice::from_ref(&old),
            std::slice::from_ref(&new),
            CompareOptions { mtimes: true, ..CompareOptions::default() },
        );
        assert_eq!(found.changes.len(), 1);
        let (mut here, mut later) = (directory("/d"), directory("/d"));
        (here.mtime.seconds, later.mtime.seconds) = (1, 2);
        assert!(
            compare(&[here], &[later], CompareOptions { mtimes: true, ..CompareOptions::default() })
                .changes
                .is_empty()
        );
    }

    #[test]
    fn an_owner_is_compared_by_name_and_by_number_only_where_a_name_is_missing() {
        let mut old = file("/f", "x");
        let mut new = old.clone();
        (old.owner.id, new.owner.id) = (Some(5), Some(6));
        assert!(said(std::slice::from_ref(&old), std::slice::from_ref(&new)).is_empty(), "the same name");
        new.owner.name = None;
        assert_eq!(said(&[old], &[new]), ["/f owner"]);
    }

    #[test]
    fn every_name_of_a_file_changes_when_its_names_do() {
        let two = [link("/a", "x", 1), link("/b", "x", 1)];
        let three = [link("/a", "x", 7), link("/b", "x", 7), link("/c", "x", 7)];
        assert!(said(&two, &[link("/a", "x", 3), link("/b", "x", 3)]).is_empty(), "the number means nothing");
        assert_eq!(said(&two, &three), ["/a links", "/b links", "/c added"]);
        assert_eq!(said(&two, &[file("/a", "x"), file("/b", "x")]), ["/a links", "/b links"]);
        assert_eq!(said(&three, &two), ["/a links", "/b links", "/c deleted"]);
    }
}
