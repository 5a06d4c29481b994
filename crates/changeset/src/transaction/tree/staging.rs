//! Makes the new directory of an exchange: directories like the live ones, hard links of unchanged files, copies of
//! objects with new attributes. It is private until all changes are staged; then attributes are set, and the list is
//! written.

use std::collections::{BTreeMap, HashMap, HashSet};

use rustix::io::Errno;

use crate::format::journal::{Identity, OpKind};
use crate::format::tree_list::{ListedPath, TreeList};
use crate::transaction::error::Cause;
use crate::transaction::objects::attributes::{set_attributes, set_attributes_of_directory, with_attributes};
use crate::transaction::objects::copies::{copy_object, set_xattrs};
use crate::transaction::objects::identity::{encoded, identity};
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::layout::{ExchangedTree, LaidTree, LayoutItem, StageLayout, ToStage};
use crate::transaction::tree::list_file;
use crate::transaction::tree::list_file::{KnownDirectory, KnownTree, OldTree, listed, split};
use crate::transaction::tree::survey::{ExchangeReport, ExchangeWay, SurveyedObject, below, refused};
use patchadm_rootfs::{Digest, Dir, FileType, Inode, ObjectStatus, Root, Xattrs, side_by_side};
use patchadm_svr4::package::{Mode, ObjectPath};

#[derive(Debug)]
pub(crate) struct StagedExchange {
    live: ObjectPath,
    staged: ObjectPath,
    known: KnownTree,
    pub(crate) notes: Vec<String>,
}

impl StagedExchange {
    pub(crate) fn must_be_as_known(&self, root: &Root) -> Result<(), Cause> {
        let (live, staged, known) = (&self.live, self.staged.clone(), &self.known);
        OldTree { root, live, staged, known }.must_be_as_known()
    }
}

pub(crate) fn reports(trees: &[LaidTree]) -> Vec<ExchangeReport> {
    let report = |tree: &LaidTree| {
        let nothing = ExchangeReport::nothing(&tree.directory);
        match &tree.exchanged {
            None => nothing,
            Some(tree) => {
                ExchangeReport { way: ExchangeWay::Exchange, holders: tree.survey.holders(), ..nothing }
            }
        }
    };
    trees.iter().map(report).collect()
}

pub(crate) fn prepare_trees<'t>(
    root: &'t Root,
    domains: &OpenDomains,
    layout: &StageLayout<'_>,
    trees: &'t [LaidTree],
) -> Result<Vec<(usize, PreparedTree<'t>)>, Cause> {
    let exchanged = trees.iter().enumerate();
    let exchanged = exchanged.filter_map(|(number, tree)| Some((number, tree.exchanged.as_deref()?)));
    exchanged.map(|tree| Ok((tree.0, prepare(root, domains, layout, tree)?))).collect()
}

pub(crate) fn settle_trees(
    prepared: Vec<(usize, PreparedTree<'_>)>,
    domains: &OpenDomains,
    layout: &mut StageLayout<'_>,
) -> Result<Vec<StagedExchange>, Cause> {
    let mut staged = Vec::new();
    for (number, prepared) in prepared {
        let tree = prepared.tree;
        let settled = settle(prepared, domains, layout, number)?;
        let is_it = |kind, stage: &str| kind == OpKind::Tree && stage == tree.stage;
        for item in layout.items.iter_mut().filter(|item| is_it(item.op.kind, &item.op.stage)) {
            item.op.new = Some(settled.new.clone());
            item.op.list = Some(Box::new(settled.digest.into()));
        }
        let stage = &domains.get(tree.domain)?.entry.stage;
        staged.push(StagedExchange {
            live: tree.survey.path.clone(),
            staged: below(stage, tree.stage.as_bytes())?,
            known: settled.known,
            notes: settled.notes,
        });
    }
    Ok(staged)
}

const NAMES_AT_ONCE: usize = 64;

pub(crate) struct PreparedTree<'t> {
    pub(crate) root: &'t Root,
    pub(crate) tree: &'t ExchangedTree,
    pub(crate) staged: ObjectPath,
    pub(crate) paths: BTreeMap<Vec<u8>, ListedPath>,
    pub(crate) directories: Vec<&'t SurveyedObject>,
    links: Vec<(Vec<u8>, Vec<&'t SurveyedObject>)>,
    copies: HashMap<Inode, Option<Vec<u8>>>,
}

fn prepare<'t>(
    root: &'t Root,
    domains: &OpenDomains,
    layout: &StageLayout<'_>,
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

    fn staged_dir(&self, path: &[u8]) -> Result<Dir, Cause> {
        let dir = self.root.dir(&below(&self.staged, path)?);
        dir.map_err(|error| refused(self.root, &self.tree.survey.path, error))
    }

    fn live_dir(&self, path: &[u8]) -> Result<Dir, Cause> {
        let dir = self.root.dir(&below(&self.tree.survey.path, path)?);
        dir.map_err(|error| refused(self.root, &self.tree.survey.path, error))
    }

    fn lay_out(&mut self, changed: &HashMap<&[u8], &LayoutItem<'_>>) -> Result<(), Cause> {
        let (mut left_out, mut found): (HashSet<&[u8]>, usize) = (HashSet::new(), 0);
        for object in &self.tree.survey.objects {
            if above(&object.path).any(|above| left_out.contains(above)) {
                self.note_old(object, false);
                continue;
            }
            let item = changed.get(object.path.as_slice());
            let is_directory = object.seen.file_type == FileType::Directory;
            found += usize::from(item.is_some());
            match item.map(|item| item.new.as_ref()) {
                // Deleted; a directory goes only once it is empty.
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
                let reason = format!("{shown} gets different attributes, but has names elsewhere");
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

    fn link_all(&mut self) -> Result<(), Cause> {
        let links = std::mem::take(&mut self.links);
        let linked = side_by_side(self.root.workers(), links.len(), || {
            |at| links.get(at).map_or(Ok(()), |(directory, objects)| self.link(directory, objects))
        });
        linked.into_iter().collect::<Result<(), Cause>>()?;
        // Other names of a copied object become names of the copy.
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

/// Returns the directories above a relative path.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(move |(at, _)| path.get(..at))
}

#[derive(Debug)]
pub(crate) struct SettledTree {
    pub(crate) new: Box<Identity>,
    pub(crate) digest: Digest,
    pub(crate) known: KnownTree,
    pub(crate) notes: Vec<String>,
}

fn settle(
    mut prepared: PreparedTree<'_>,
    domains: &OpenDomains,
    layout: &StageLayout<'_>,
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
    let digest = list_file::write_list(&domain.dir, name, &list)?;
    let new = Box::new(identity(&prepared.staged_dir(b"")?.itself()?, None, None));
    Ok(SettledTree { new, digest, known: KnownTree { list, directories }, notes })
}

impl PreparedTree<'_> {
    fn remove_emptied(&mut self, items: &[&LayoutItem<'_>]) -> Result<Vec<String>, Cause> {
        let removed = items.iter().filter(|item| item.new.is_none());
        let mut paths: Vec<&[u8]> = removed.filter_map(|item| item.inside.as_deref()).collect();
        let known: HashSet<&[u8]> = self.directories.iter().map(|object| object.path.as_slice()).collect();
        paths.retain(|path| known.contains(path));
        paths.sort_unstable();
        let (mut notes, mut removed) = (Vec::new(), HashSet::new());
        for path in paths.into_iter().rev() {
            let (directory, name) = split(path);
            if self.staged_dir(directory)?.remove_dir(name)? {
                removed.insert(path);
            } else {
                let shown = self.root.show(&below(&self.tree.survey.path, path)?);
                notes.push(format!("{shown} is not empty and was kept"));
            }
        }
        self.directories.retain(|object| !removed.contains(object.path.as_slice()));
        Ok(notes)
    }

    /// Live or new attributes; innermost first, because a mode may forbid writing.
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
        // Only now, when nothing more is put into them.
        for (path, known) in known.iter().rev() {
            self.set_time(path, &known.seen)?;
        }
        Ok(known)
    }

    /// Attributes that the caller may not set prevent the exchange.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directories_above_a_path_are_those_of_whole_names() {
        let all = |path: &'static [u8]| above(path).collect::<Vec<_>>();
        assert_eq!(all(b"a/bc/d"), [&b"a"[..], b"a/bc"]);
        assert!(all(b"a").is_empty() && all(b"").is_empty());
    }
}
