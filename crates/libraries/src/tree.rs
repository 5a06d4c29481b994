//! Programs, libraries and links under their paths in a root, as they are or as they will be.

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashMap;
use patchadm_svr4::package::ObjectPath;

use crate::elf::ElfFacts;

/// A program or library. Two names of one file share it.
#[derive(Debug, PartialEq, Eq)]
pub struct LibraryFile {
    /// The file's statements to the loader.
    pub facts: Arc<ElfFacts>,
}

impl LibraryFile {
    /// Returns the versions that this file needs of a library of this name and that it does not define; weak ones are not
    /// needed.
    pub(super) fn versions_missing_in(&self, library: &Self, name: &str) -> Vec<String> {
        let needed = self.facts.needs.iter().filter(|need| need.library == name && !need.is_weak);
        let missing = needed.filter(|need| !library.facts.defines.contains(&need.version));
        missing.map(|need| need.version.clone()).collect()
    }
}

/// The kind of object at a path of the tree.
#[derive(Clone, Debug)]
pub(super) enum Node {
    File(Arc<LibraryFile>),
    Link(Arc<[u8]>),
}

impl Node {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(file), Self::File(other)) => Arc::ptr_eq(file, other),
            (Self::Link(target), Self::Link(other)) => target == other,
            _ => false,
        }
    }
}

/// The way from a path to the file that it leads to.
#[derive(Clone, Debug)]
pub struct Way {
    /// The physical paths of the links on the way, in the order in which they are followed.
    pub links: Vec<ObjectPath>,
    /// The physical path of the file.
    pub path: ObjectPath,
    /// The file.
    pub file: Arc<LibraryFile>,
}

/// The programs, libraries and links of a root. Directories and other files are not in it.
///
/// A copy shares what both have in common: it costs what was changed since the first of them was made.
#[derive(Clone, Debug, Default)]
pub struct LibraryTree {
    nodes: Arc<HashMap<ObjectPath, Node>>,
    /// The new object at a path; nothing if it was taken away.
    changed: HashMap<ObjectPath, Option<Node>>,
}

impl LibraryTree {
    /// Puts a program or library at a path.
    pub fn put_file(&mut self, path: ObjectPath, file: Arc<LibraryFile>) {
        self.set(path, Some(Node::File(file)));
    }

    /// Puts a link at a path.
    pub fn put_link(&mut self, path: ObjectPath, target: &[u8]) {
        self.set(path, Some(Node::Link(target.into())));
    }

    /// Takes away what is at a path; something that is neither program, library nor link may take its place.
    pub fn remove(&mut self, path: &ObjectPath) {
        self.set(path.clone(), None);
    }

    fn set(&mut self, path: ObjectPath, node: Option<Node>) {
        if self.changed.len() > self.nodes.len() / 2 {
            self.nodes = Arc::new(self.nodes().map(|(path, node)| (path.clone(), node.clone())).collect());
            self.changed.clear();
        }
        match Arc::get_mut(&mut self.nodes).filter(|_| self.changed.is_empty()) {
            Some(own) => {
                match node {
                    Some(node) => own.insert(path, node),
                    None => own.remove(&path),
                };
            }
            None => {
                self.changed.insert(path, node);
            }
        }
    }

    pub(super) fn node(&self, path: &[u8]) -> Option<&Node> {
        match self.changed.get(path) {
            Some(changed) => changed.as_ref(),
            None => self.nodes.get(path),
        }
    }

    fn nodes(&self) -> impl Iterator<Item = (&ObjectPath, &Node)> {
        let shared = self.nodes.iter().filter(|(path, _)| !self.changed.contains_key(*path));
        shared.chain(self.changed.iter().filter_map(|(path, node)| Some((path, node.as_ref()?))))
    }

    /// Returns the program or library at a path, without following a link in its last component.
    pub fn file_at(&self, path: &ObjectPath) -> Option<&Arc<LibraryFile>> {
        match self.node(path.as_bytes())? {
            Node::File(file) => Some(file),
            Node::Link(_) => None,
        }
    }

    /// Returns the programs and libraries with their paths, in no order.
    pub fn files(&self) -> impl Iterator<Item = (&ObjectPath, &Arc<LibraryFile>)> {
        self.nodes().filter_map(|(path, node)| match node {
            Node::File(file) => Some((path, file)),
            Node::Link(_) => None,
        })
    }

    /// Returns the paths at which this tree and another one have something else. Where one is a copy of the other, only
    /// what was changed since is compared.
    pub(super) fn unlike<'t>(&'t self, other: &'t Self) -> BTreeSet<&'t ObjectPath> {
        let is_other = |path: &&ObjectPath| match (self.node(path.as_bytes()), other.node(path.as_bytes())) {
            (Some(own), Some(other)) => !own.is_same(other),
            (None, None) => false,
            _ => true,
        };
        let changed = self.changed.keys().chain(other.changed.keys());
        if Arc::ptr_eq(&self.nodes, &other.nodes) {
            return changed.filter(is_other).collect();
        }
        changed.chain(self.nodes.keys()).chain(other.nodes.keys()).filter(is_other).collect()
    }
}

/// Tells whether `ldconfig` looks at a file of this name.
pub(super) fn is_library_name(name: &[u8]) -> bool {
    (name.starts_with(b"lib") || name.starts_with(b"ld-")) && name.windows(3).any(|part| part == b".so")
}
