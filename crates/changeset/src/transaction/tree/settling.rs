//! Completes the new directory of an exchange once everything is staged in it: emptied directories are removed, all
//! others get the attributes of the live ones, and the list is written.

use std::collections::BTreeMap;

use crate::format::journal::Identity;
use crate::format::tree_list::{ListedPath, TreeList};
use crate::transaction::error::Cause;
use crate::transaction::objects::attributes::{set_attributes_of_directory, with_attributes};
use crate::transaction::objects::identity::{encoded, identity};
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout_items::{Layout, LayoutItem, ToStage};
use crate::transaction::stage::staged_files::set_xattrs;
use crate::transaction::tree::list_file;
use crate::transaction::tree::preparing::{PreparedTree, listed, split};
use crate::transaction::tree::survey::below;
use patchadm_rootfs::{Digest, Dir, FileType, ObjectStatus, Xattrs};

/// A new directory with its list, ready to be exchanged.
#[derive(Debug)]
pub(crate) struct SettledTree {
    /// The identity of the new directory.
    pub(crate) new: Box<Identity>,
    /// The digest of its list.
    pub(crate) digest: Digest,
    /// The facts to compare with the old directory before the commit.
    pub(crate) known: KnownTree,
    /// Notes for the operator.
    pub(crate) notes: Vec<String>,
}

/// The facts that a run knows about a directory that it exchanges.
#[derive(Debug)]
pub(crate) struct KnownTree {
    pub(crate) list: TreeList,
    /// The directories that stay, as they were: by their relative paths.
    pub(crate) directories: BTreeMap<Vec<u8>, KnownDirectory>,
}

/// A directory as it was when it was copied.
#[derive(Debug)]
pub(crate) struct KnownDirectory {
    pub(crate) seen: ObjectStatus,
    pub(crate) xattrs: Xattrs,
}

/// Completes the new directory `number` of a layout.
pub(crate) fn settle(
    mut prepared: PreparedTree<'_>,
    domains: &OpenDomains,
    layout: &Layout<'_>,
    number: usize,
) -> Result<SettledTree, Cause> {
    let items: Vec<&LayoutItem<'_>> = layout.items.iter().filter(|item| item.tree == Some(number)).collect();
    let notes = prepared.remove_emptied(&items)?;
    let directories = prepared.settle_directories(&items)?;
    prepared.note_staged()?;
    let tree = prepared.tree;
    let list = TreeList::of(std::mem::take(&mut prepared.paths).into_values().collect());
    let domain = domains.get(tree.domain)?;
    let name = tree.stage.strip_prefix("o/").unwrap_or(&tree.stage).as_bytes();
    let digest = list_file::write(&domain.dir, name, &list)?;
    let new = Box::new(identity(&prepared.staged_dir(b"")?.itself()?, None, None));
    Ok(SettledTree { new, digest, known: KnownTree { list, directories }, notes })
}

impl PreparedTree<'_> {
    /// Removes the directories that should be removed if they are empty, and returns notes on those that are not.
    fn remove_emptied(&mut self, items: &[&LayoutItem<'_>]) -> Result<Vec<String>, Cause> {
        let removed = items.iter().filter(|item| item.new.is_none());
        let mut paths: Vec<&[u8]> = removed.filter_map(|item| item.inside.as_deref()).collect();
        paths.retain(|path| self.directories.iter().any(|object| object.path == *path));
        paths.sort_unstable();
        let mut notes = Vec::new();
        for path in paths.into_iter().rev() {
            let (directory, name) = split(path);
            if self.staged_dir(directory)?.remove_dir(name)? {
                self.directories.retain(|object| object.path != path);
            } else {
                let shown = self.root.show(&below(&self.tree.survey.path, path)?);
                notes.push(format!("{shown} is not empty and stays"));
            }
        }
        Ok(notes)
    }

    /// Gives all directories the attributes of the live ones, or those that the run gives them: the innermost first,
    /// because a directory's mode may forbid writing into it.
    fn settle_directories(
        &mut self,
        items: &[&LayoutItem<'_>],
    ) -> Result<BTreeMap<Vec<u8>, KnownDirectory>, Cause> {
        let changed: BTreeMap<&[u8], &LayoutItem<'_>> = items
            .iter()
            .filter(|item| matches!(item.new, Some(ToStage::Attributes(_))))
            .filter_map(|item| Some((item.inside.as_deref()?, *item)))
            .collect();
        let mut known = BTreeMap::new();
        let directories: Vec<_> =
            self.directories.iter().map(|object| (object.path.as_slice(), &object.seen)).collect();
        let top = (&b""[..], &self.tree.survey.top);
        for (path, seen) in directories.into_iter().rev().chain([top]) {
            let (live, staged) = (self.live_dir(path)?, self.staged_dir(path)?);
            let xattrs = live.xattrs(b"")?;
            self.copy_attributes(seen, &xattrs, &staged)?;
            if let Some((Some(old), Some(ToStage::Attributes(new)))) =
                changed.get(path).map(|item| (item.op.old.as_deref(), &item.new))
            {
                set_attributes_of_directory(&staged, old, &with_attributes(old, new))?;
            }
            if let Some(known) = self.paths.get_mut(path) {
                known.new = Some(listed(&staged.itself()?, false));
            }
            known.insert(path.to_vec(), KnownDirectory { seen: seen.clone(), xattrs });
        }
        // Only now, when nothing more is put into any of them.
        for (path, known) in known.iter().rev() {
            self.set_time(path, &known.seen)?;
        }
        Ok(known)
    }

    /// Gives a new directory the attributes of the live one. Attributes that the caller may not set are a reason not to
    /// exchange it.
    fn copy_attributes(&self, seen: &ObjectStatus, xattrs: &Xattrs, staged: &Dir) -> Result<(), Cause> {
        if self.root.is_privileged() {
            staged.set_own_owner(Some(seen.uid), Some(seen.gid))?;
        }
        for key in staged.xattrs(b"")?.keys().filter(|key| !xattrs.contains_key(*key)) {
            staged.remove_xattr(b"", key)?;
        }
        set_xattrs(staged, b"", xattrs)?;
        staged.set_own_mode(seen.mode)?;
        let made = staged.itself()?;
        let is_alike = (made.mode, made.uid, made.gid) == (seen.mode, seen.uid, seen.gid)
            && encoded(&staged.xattrs(b"")?) == encoded(xattrs);
        if is_alike {
            return Ok(());
        }
        let reason = format!("a new directory cannot have all attributes of {}", self.shown(staged));
        Err(Cause::no_exchange(self.root, &self.tree.survey.path, reason))
    }

    /// Returns the live path of a new directory as a person would type it.
    fn shown(&self, staged: &Dir) -> String {
        let relative = staged.path().as_bytes().get(self.staged.as_bytes().len()..).unwrap_or_default();
        let relative = relative.strip_prefix(b"/").unwrap_or(relative);
        let path = below(&self.tree.survey.path, relative);
        path.map_or_else(|_| self.root.show(&self.tree.survey.path), |path| self.root.show(&path))
    }

    fn set_time(&self, path: &[u8], seen: &ObjectStatus) -> Result<(), Cause> {
        let (directory, name) = match path {
            b"" => (self.staged.parent(), self.staged.name()),
            path => {
                let (directory, name) = split(path);
                (Some(below(&self.staged, directory)?), name)
            }
        };
        let Some(directory) = directory else { return Ok(()) };
        Ok(self.root.dir(&directory)?.set_mtime(name, seen.mtime)?)
    }

    /// Notes the objects that only the new directory has.
    fn note_staged(&mut self) -> Result<(), Cause> {
        let mut rest = vec![Vec::new()];
        while let Some(relative) = rest.pop() {
            let dir = self.staged_dir(&relative)?;
            for (name, may_be_directory) in dir.entries()? {
                let path =
                    if relative.is_empty() { name.clone() } else { [&relative[..], b"/", &name].concat() };
                let known = self.paths.entry(path.clone());
                let known = known.or_insert_with(|| ListedPath { path: path.clone(), old: None, new: None });
                if known.new.is_some() && !may_be_directory {
                    continue;
                }
                let seen = dir.look(&name)?.ok_or_else(|| Cause::Changed(self.root.show(&dir.at(&name))))?;
                known.new.get_or_insert_with(|| listed(&seen, false));
                if seen.file_type == FileType::Directory {
                    rest.push(path);
                }
            }
        }
        Ok(())
    }
}
