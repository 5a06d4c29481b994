//! The effects of a plan on the programs, libraries and links of a root.

use std::collections::BTreeSet;

use super::new_files::{MemberKey, NewFiles};
use patchadm_inputs::inventory::{Inventory, KeptLibraries};
use patchadm_libraries::LibraryTree;
use patchadm_planning::plan::{Action, Body, Change, NewObject, NewXattrs, Plan};
use patchadm_rootfs::{Live, LiveKind, Root};
use patchadm_svr4::package::ObjectPath;

/// The change at a path.
#[derive(Clone)]
pub(super) enum TreeChange {
    /// The object is removed; nothing that counts replaces it.
    Gone,
    /// A link.
    Link(Vec<u8>),
    /// A file of the source.
    Member(MemberKey),
    /// The same file as at this path after the plan.
    SameAs(ObjectPath),
    /// The same file as at this path before the plan.
    CopyOf(ObjectPath),
}

/// The changes of a plan, each at its physical path.
pub(super) type TreeChanges = Vec<(ObjectPath, TreeChange)>;

/// The places of paths of packages on the disk.
#[derive(Clone, Copy)]
pub(super) struct PhysicalPaths<'a> {
    pub(super) root: &'a Root,
    pub(super) inventory: &'a Inventory,
}

impl PhysicalPaths<'_> {
    /// Returns the place of a path, with the links among its parents followed.
    pub(super) fn of(&self, path: &ObjectPath) -> ObjectPath {
        if let Some(known) = self.inventory.physical.get(path) {
            return known.clone();
        }
        self.root.resolver().locate(path).unwrap_or_else(|_| path.clone())
    }
}

/// Returns the changes of a plan to the tree.
pub(super) fn tree_changes(plan: &Plan, paths: PhysicalPaths<'_>) -> TreeChanges {
    let change = |change: &Change| {
        let what = match &change.action {
            Action::Add(new) | Action::Replace(new) => match &new.body {
                Body::Member(member) => TreeChange::Member((member.package, member.path.clone())),
                Body::Symlink(target) => TreeChange::Link(target.clone()),
                Body::Link(path) => TreeChange::SameAs(paths.of(path)),
                Body::CopyOf(path) => TreeChange::CopyOf(paths.of(path)),
                Body::Directory | Body::Pipe | Body::Device { .. } => TreeChange::Gone,
            },
            Action::Delete => TreeChange::Gone,
            Action::Attributes(_) | Action::RemoveDirectory => return None,
        };
        Some((paths.of(&change.path), what))
    };
    plan.changes.iter().filter_map(|one| change(one)).collect()
}

/// Returns the members that changes bring.
pub(super) fn members(changes: &TreeChanges) -> BTreeSet<MemberKey> {
    let member = |(_, change): &(ObjectPath, TreeChange)| match change {
        TreeChange::Member(key) => Some(key.clone()),
        _ => None,
    };
    changes.iter().filter_map(member).collect()
}

/// Makes the changes in a tree.
pub(super) fn apply(tree: &mut LibraryTree, changes: &TreeChanges, files: &NewFiles) {
    let before: Vec<_> = changes
        .iter()
        .filter_map(|(path, change)| match change {
            TreeChange::CopyOf(from) => Some((path.clone(), tree.file_at(from).cloned())),
            _ => None,
        })
        .collect();
    for (path, change) in changes {
        match change {
            TreeChange::Link(target) => tree.put_link(path.clone(), target),
            TreeChange::Member((package, member)) => {
                match files.get(*package, member).and_then(|new| new.file.clone()) {
                    Some(file) => tree.put_file(path.clone(), file),
                    None => tree.remove(path),
                }
            }
            TreeChange::Gone | TreeChange::SameAs(_) | TreeChange::CopyOf(_) => tree.remove(path),
        }
    }
    for (path, file) in before {
        if let Some(file) = file {
            tree.put_file(path, file);
        }
    }
    for (path, change) in changes {
        if let TreeChange::SameAs(other) = change
            && let Some(file) = tree.file_at(other).cloned()
        {
            tree.put_file(path.clone(), file);
        }
    }
}

/// Returns the kept objects that a plan brings itself, with the same bytes and attributes.
pub(super) fn returned(
    plan: &Plan,
    kept: &KeptLibraries,
    files: &NewFiles,
    owners_count: bool,
) -> BTreeSet<ObjectPath> {
    let is_same = |change: &Change| {
        let (Action::Add(new) | Action::Replace(new)) = &change.action else { return false };
        kept.keeper(&change.path).is_some()
            && kept.live.get(&change.path).is_some_and(|live| is_same_object(new, live, files, owners_count))
    };
    plan.changes.iter().filter(|change| is_same(change)).map(|change| change.path.clone()).collect()
}

fn is_same_object(new: &NewObject, live: &Live, files: &NewFiles, owners_count: bool) -> bool {
    let is_same_content = match (&new.body, &live.kind) {
        (Body::Member(member), LiveKind::Regular { size, cksum, b3 }) => {
            let read = files.get(member.package, &member.path).and_then(|file| file.b3);
            let digest = member.b3.as_deref().copied().or(read);
            (member.size, member.cksum) == (*size, *cksum) && digest == Some(*b3)
        }
        (Body::Symlink(target), LiveKind::Symlink(known)) => target == known,
        _ => false,
    };
    let is_link = matches!(new.body, Body::Symlink(_));
    let xattrs = match &new.xattrs {
        NewXattrs::Exact(xattrs) => *xattrs == live.xattrs,
        NewXattrs::Inherited | NewXattrs::Given(_) => live.xattrs.is_empty(),
    };
    is_same_content
        && (is_link || new.mode == live.mode)
        && (!owners_count || (new.uid, new.gid) == (live.uid, live.gid))
        && (is_link || new.mtime.is_none_or(|mtime| mtime == live.mtime))
        && xattrs
}
