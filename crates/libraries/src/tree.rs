//! Programs, libraries and links under their paths in a root, as they are or as they will be.

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::HashMap;
use patchadm_svr4::package::ObjectPath;

use crate::elf::ElfFacts;

/// The most links that are followed on one way, as in Linux.
const MOST_LINKS: usize = 40;

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
enum Node {
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

/// Told each path at which something of a tree is looked up.
pub(super) type Visit<'v> = &'v mut dyn FnMut(&[u8]);

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

    fn node(&self, path: &[u8]) -> Option<&Node> {
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

    /// Follows an absolute path, links included, without leaving the root. Returns `None` if it leads to no program or
    /// library.
    pub fn follow(&self, path: &[u8]) -> Option<Way> {
        self.follow_seen(path, &mut |_| {})
    }

    /// Follows an absolute path; `visit` is told each path that is looked up.
    pub(super) fn follow_seen(&self, path: &[u8], visit: Visit<'_>) -> Option<Way> {
        let Followed { links, path } = self.walk(Followed::default(), path, visit)?;
        let path = ObjectPath::new(&path).ok()?;
        let file = self.file_at(&path)?.clone();
        Some(Way { links, path, file })
    }

    /// Follows the path of a directory. One that has links only in it, or none at all, is believed to be there.
    pub(super) fn follow_directory(&self, path: &[u8], visit: Visit<'_>) -> Option<Followed> {
        self.walk(Followed::default(), path, visit)
    }

    /// Follows a name in a directory that was followed before.
    pub(super) fn follow_name(&self, directory: &Followed, name: &[u8], visit: Visit<'_>) -> Option<Way> {
        let at = directory.join(name);
        visit(&at);
        match self.node(&at)? {
            Node::File(file) => Some(Way {
                links: directory.links.clone(),
                path: ObjectPath::new(&at).ok()?,
                file: file.clone(),
            }),
            Node::Link(_) => {
                let Followed { links, path } = self.walk(directory.clone(), name, visit)?;
                let path = ObjectPath::new(&path).ok()?;
                let file = self.file_at(&path)?.clone();
                Some(Way { links, path, file })
            }
        }
    }

    /// Walks on from a physical path.
    fn walk(&self, from: Followed, path: &[u8], visit: Visit<'_>) -> Option<Followed> {
        let Followed { mut links, path: mut at } = from;
        let mut rest: Vec<Vec<u8>> = components(path).rev().map(<[u8]>::to_vec).collect();
        if path.starts_with(b"/") {
            at.clear();
        }
        while let Some(name) = rest.pop() {
            if name == b".." {
                at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or_default());
                continue;
            }
            let length = at.len();
            at.push(b'/');
            at.extend_from_slice(&name);
            visit(&at);
            match self.node(&at) {
                Some(Node::Link(target)) => {
                    links.push(ObjectPath::new(&at).ok()?);
                    if links.len() > MOST_LINKS {
                        return None;
                    }
                    at.truncate(if target.starts_with(b"/") { 0 } else { length });
                    rest.extend(components(target).rev().map(<[u8]>::to_vec));
                }
                Some(Node::File(_)) if !rest.is_empty() => return None,
                Some(Node::File(_)) | None => {}
            }
        }
        Some(Followed { links, path: at })
    }
}

/// A path that was followed: the links on the way, and the physical path; that of the root is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Followed {
    links: Vec<ObjectPath>,
    path: Vec<u8>,
}

impl Followed {
    fn join(&self, name: &[u8]) -> Vec<u8> {
        [&self.path[..], b"/", name].concat()
    }

    /// Returns the physical path.
    pub(super) fn path(&self) -> &[u8] {
        if self.path.is_empty() { b"/" } else { &self.path }
    }
}

/// Tells whether `ldconfig` looks at a file of this name.
pub(super) fn is_library_name(name: &[u8]) -> bool {
    (name.starts_with(b"lib") || name.starts_with(b"ld-")) && name.windows(3).any(|part| part == b".so")
}

fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".")
}
