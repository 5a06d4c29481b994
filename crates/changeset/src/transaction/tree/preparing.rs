//! Makes the new directory of an exchange before anything is staged in it: directories like the live ones, and second names
//! of all files that do not change.
//!
//! The directories are private until the run has staged what it changes ([`settling`](super::settling)). An object that
//! only gets other attributes is copied, because the old one must keep its own.

use std::collections::{BTreeMap, HashMap};

use rustix::io::Errno;

use crate::format::tree_list::{ListedObject, ListedPath};
use crate::transaction::error::Cause;
use crate::transaction::objects::attributes::{set_attributes, with_attributes};
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout_items::{ExchangedTree, Layout, LayoutItem, ToStage};
use crate::transaction::stage::safety_copies::copy_object;
use crate::transaction::tree::survey::{SurveyedObject, below, refused};
use patchadm_rootfs::{Dir, FileType, Inode, ObjectStatus, Root, side_by_side};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The most names of one directory that a thread links at a time.
const NAMES_AT_ONCE: usize = 64;

/// A new directory in preparation, and what is known about the paths in it.
pub(crate) struct PreparedTree<'t> {
    pub(crate) root: &'t Root,
    pub(crate) tree: &'t ExchangedTree,
    /// The new directory: a physical path in the stage.
    pub(crate) staged: ObjectPath,
    /// The paths below it.
    pub(crate) paths: BTreeMap<Vec<u8>, ListedPath>,
    /// The directories that both have.
    pub(crate) directories: Vec<&'t SurveyedObject>,
    /// Names to be linked, by their directory.
    links: Vec<(Vec<u8>, Vec<&'t SurveyedObject>)>,
    /// The first name of each copied object.
    copies: HashMap<Inode, Option<Vec<u8>>>,
}

/// Returns the list entry of an object that exists on one side or on both.
pub(crate) fn listed(seen: &ObjectStatus, is_shared: bool) -> ListedObject {
    let is_file = seen.file_type == FileType::Regular && !is_shared;
    ListedObject {
        file_type: seen.file_type.letter(),
        inode: seen.inode,
        size: is_file.then_some(seen.size),
        mtime: is_file.then_some(seen.mtime),
    }
}

/// Returns the path of the directory of a relative path, and the name in it.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

/// Makes the new directory `tree`, which has the place `number` in its layout.
pub(crate) fn prepare<'t>(
    root: &'t Root,
    domains: &OpenDomains,
    layout: &Layout<'_>,
    (number, tree): (usize, &'t ExchangedTree),
) -> Result<PreparedTree<'t>, Cause> {
    let domain = domains.get(tree.domain)?;
    let name = tree.stage.strip_prefix("o/").unwrap_or(&tree.stage);
    let top = domain.objects.make_dir(name.as_bytes(), Mode::of(0o700))?;
    let staged = top.path().clone();
    drop(top);
    let changed = layout.items.iter().filter(|item| item.tree == Some(number) && !item.is_folded);
    let changed: HashMap<&[u8], &LayoutItem<'_>> =
        changed.filter_map(|item| Some((item.inside.as_deref()?, item))).collect();
    let mut prepared = PreparedTree {
        root,
        tree,
        staged,
        paths: BTreeMap::new(),
        directories: Vec::new(),
        links: Vec::new(),
        copies: HashMap::new(),
    };
    prepared.lay_out(&changed)?;
    prepared.make_directories()?;
    prepared.copy_changed(&changed)?;
    prepared.link_all()?;
    Ok(prepared)
}

impl<'t> PreparedTree<'t> {
    pub(crate) fn changed(&self, path: &[u8]) -> Cause {
        let shown = below(&self.tree.survey.path, path).map(|path| self.root.show(&path));
        Cause::Changed(shown.unwrap_or_else(|_| self.root.show(&self.tree.survey.path)))
    }

    /// Opens the new directory of a relative path.
    pub(crate) fn staged_dir(&self, path: &[u8]) -> Result<Dir, Cause> {
        let dir = self.root.dir(&below(&self.staged, path)?);
        dir.map_err(|error| refused(self.root, &self.tree.survey.path, error))
    }

    /// Opens the live directory of a relative path.
    pub(crate) fn live_dir(&self, path: &[u8]) -> Result<Dir, Cause> {
        let dir = self.root.dir(&below(&self.tree.survey.path, path)?);
        dir.map_err(|error| refused(self.root, &self.tree.survey.path, error))
    }

    /// Decides for each object whether to link it, copy it, make it again or leave it out.
    fn lay_out(&mut self, changed: &HashMap<&[u8], &LayoutItem<'_>>) -> Result<(), Cause> {
        let (mut left_out, mut found): (Vec<&[u8]>, usize) = (Vec::new(), 0);
        for object in &self.tree.survey.objects {
            if left_out.iter().any(|above| is_below(&object.path, above)) {
                self.note_old(object, false);
                continue;
            }
            let item = changed.get(object.path.as_slice());
            let is_directory = object.seen.file_type == FileType::Directory;
            found += usize::from(item.is_some());
            match item.map(|item| item.new.as_ref()) {
                // Deleted. A directory is removed only once it is empty.
                Some(None) if !is_directory => self.note_old(object, false),
                Some(Some(ToStage::Object(_))) => {
                    self.note_old(object, false);
                    left_out.extend(is_directory.then_some(object.path.as_slice()));
                }
                Some(Some(ToStage::Attributes(_))) if !is_directory => {
                    self.copies.insert(object.seen.inode, None);
                    self.note_old(object, false);
                }
                _ if is_directory => {
                    self.directories.push(object);
                    self.note_old(object, false);
                }
                _ => {
                    self.note_old(object, true);
                    self.note_link(object);
                }
            }
        }
        let are_old = changed.values().filter(|item| item.op.old.is_some()).count();
        let top = usize::from(changed.contains_key(&b""[..]));
        if found + top == are_old { Ok(()) } else { Err(self.changed(b"")) }
    }

    fn note_old(&mut self, object: &SurveyedObject, is_shared: bool) {
        let old = Some(listed(&object.seen, is_shared));
        let new = if is_shared { old.clone() } else { None };
        self.paths.insert(object.path.clone(), ListedPath { path: object.path.clone(), old, new });
    }

    fn note_link(&mut self, object: &'t SurveyedObject) {
        let (directory, _) = split(&object.path);
        match self.links.last_mut() {
            Some((last, names)) if last == directory && names.len() < NAMES_AT_ONCE => names.push(object),
            _ => self.links.push((directory.to_vec(), vec![object])),
        }
    }

    fn make_directories(&self) -> Result<(), Cause> {
        for object in &self.directories {
            let (directory, name) = split(&object.path);
            drop(self.staged_dir(directory)?.make_dir(name, Mode::of(0o700))?);
        }
        Ok(())
    }

    /// Copies objects that only get other attributes, with all their names.
    fn copy_changed(&mut self, changed: &HashMap<&[u8], &LayoutItem<'_>>) -> Result<(), Cause> {
        if self.copies.is_empty() {
            return Ok(());
        }
        let mut names: HashMap<Inode, u64> = HashMap::new();
        for object in &self.tree.survey.objects {
            *names.entry(object.seen.inode).or_default() += 1;
        }
        for object in &self.tree.survey.objects {
            let item = changed.get(object.path.as_slice());
            let Some(ToStage::Attributes(new)) = item.and_then(|item| item.new.as_ref()) else { continue };
            if object.seen.file_type == FileType::Directory {
                continue;
            }
            if names.get(&object.seen.inode).is_some_and(|names| *names < object.seen.links) {
                let shown = self.root.show(&below(&self.tree.survey.path, &object.path)?);
                let reason = format!("{shown} gets other attributes, and has names elsewhere");
                return Err(Cause::no_exchange(self.root, &self.tree.survey.path, reason));
            }
            self.copy(object)?;
            let (directory, name) = split(&object.path);
            let staged = self.staged_dir(directory)?;
            if let Some(old) = item.and_then(|item| item.op.old.as_deref()) {
                set_attributes(&staged, name, old, &with_attributes(old, new))?;
            }
        }
        Ok(())
    }

    /// Makes a copy of an object, or another name of an existing copy.
    fn copy(&mut self, object: &SurveyedObject) -> Result<(), Cause> {
        let (directory, name) = split(&object.path);
        let to = self.staged_dir(directory)?;
        if let Some(Some(first)) = self.copies.get(&object.seen.inode) {
            let (directory, first) = split(first);
            to.make_link(name, &self.staged_dir(directory)?, first)?;
        } else {
            match copy_object(&self.live_dir(directory)?, name, &to, name) {
                Err(Cause::Unsupported { path, reason }) => {
                    let reason = format!("{path} {reason}");
                    return Err(Cause::no_exchange(self.root, &self.tree.survey.path, reason));
                }
                copied => drop(copied?),
            }
            self.copies.insert(object.seen.inode, Some(object.path.clone()));
        }
        Ok(())
    }

    /// Gives every unchanged object its second name.
    fn link_all(&mut self) -> Result<(), Cause> {
        let links = std::mem::take(&mut self.links);
        let linked = side_by_side(self.root.workers(), links.len(), || {
            |at| links.get(at).map_or(Ok(()), |(directory, objects)| self.link(directory, objects))
        });
        linked.into_iter().collect::<Result<(), Cause>>()?;
        // Another name of a copied object becomes a name of the copy.
        for object in links.iter().flat_map(|(_, objects)| objects) {
            if self.copies.contains_key(&object.seen.inode) {
                self.copy(object)?;
                self.note_old(object, false);
            }
        }
        Ok(())
    }

    fn link(&self, directory: &[u8], objects: &[&SurveyedObject]) -> Result<(), Cause> {
        let (from, to) = (self.live_dir(directory)?, self.staged_dir(directory)?);
        for object in objects.iter().filter(|object| !self.copies.contains_key(&object.seen.inode)) {
            let (_, name) = split(&object.path);
            to.make_link(name, &from, name).map_err(|error| match error.errno() {
                Some(Errno::NOENT) => self.changed(&object.path),
                _ => refused(self.root, &self.tree.survey.path, error),
            })?;
        }
        Ok(())
    }
}

/// Tells whether a path is below another one.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}
