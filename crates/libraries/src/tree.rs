use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use foldhash::{HashMap, HashSet};
use patchadm_rootfs::{AtPath, Followed, LinkFollower, LinkMap};
use patchadm_svr4::package::ObjectPath;

use crate::elf::ElfFacts;

/// Shared by all names of the file.
#[derive(Debug, PartialEq, Eq)]
pub struct LibraryFile {
    pub facts: Arc<ElfFacts>,
}

impl LibraryFile {
    /// Versions that this file needs and `library` does not define. Weak ones are not needed.
    pub(super) fn versions_missing_in(&self, library: &Self, name: &str) -> Vec<String> {
        let needed = self.facts.needs.iter().filter(|need| need.library == name && !need.is_weak);
        let missing = needed.filter(|need| !library.facts.defines.contains(&need.version));
        missing.map(|need| need.version.clone()).collect()
    }
}

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

#[derive(Clone, Debug)]
pub struct ResolvedPath {
    /// Physical paths in the order in which the links are followed.
    pub links: Vec<ObjectPath>,
    pub path: ObjectPath,
    pub file: Arc<LibraryFile>,
}

/// The programs, libraries and links of a root, without directories and other files. A copy shares the unchanged part:
/// it costs as much as the changes since the first copy.
#[derive(Clone, Debug, Default)]
pub struct LibraryTree {
    nodes: Arc<HashMap<ObjectPath, Node>>,
    /// `None` if the object was removed.
    changed: HashMap<ObjectPath, Option<Node>>,
}

impl LibraryTree {
    pub fn put_file(&mut self, path: ObjectPath, file: Arc<LibraryFile>) {
        self.set(path, Some(Node::File(file)));
    }

    pub fn put_link(&mut self, path: ObjectPath, target: &[u8]) {
        self.set(path, Some(Node::Link(target.into())));
    }

    /// Removes the object at a path; an object of another kind may take its place.
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

    /// Follows no link in the last component.
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

    /// If one tree is a copy of the other, only the changes since then are compared.
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

/// Returns true if `ldconfig` looks at a file of this name.
pub(super) fn is_library_name(name: &[u8]) -> bool {
    (name.starts_with(b"lib") || name.starts_with(b"ld-")) && name.windows(3).any(|part| part == b".so")
}

/// Paths at which some trees differ, and names that find them. A program that reaches none of them loads the same
/// objects in all trees.
#[derive(Debug, Default)]
pub(super) struct DifferingPaths {
    paths: HashSet<ObjectPath>,
    /// SONAMEs of libraries at these paths, by directory: `ldconfig` finds a library by its SONAME under another name.
    names: HashMap<Vec<u8>, HashSet<String>>,
}

static NONE: LazyLock<DifferingPaths> = LazyLock::new(DifferingPaths::default);

impl DifferingPaths {
    pub(super) fn none() -> &'static Self {
        &NONE
    }

    /// Adds a path, with the libraries that the trees have there.
    pub(super) fn add<'f>(&mut self, path: &ObjectPath, files: impl IntoIterator<Item = &'f LibraryFile>) {
        let directory = path.parent_bytes().filter(|_| is_library_name(path.name()));
        for soname in files.into_iter().filter_map(|file| file.facts.soname.as_ref()) {
            if let Some(directory) = directory {
                self.names.entry(directory.to_vec()).or_default().insert(soname.clone());
            }
        }
        self.paths.insert(path.clone());
    }

    pub(super) fn has_path(&self, path: &[u8]) -> bool {
        self.paths.contains(path)
    }

    pub(super) fn has_name(&self, directory: &[u8], soname: &str) -> bool {
        self.names.get(directory).is_some_and(|names| names.contains(soname))
    }
}

impl LibraryTree {
    pub fn follow(&self, path: &[u8]) -> Option<ResolvedPath> {
        self.follower().follow(path)
    }

    pub fn follower(&self) -> Follower<'_> {
        Follower::noticing(self, DifferingPaths::none())
    }
}

/// Follows each link once, inside the root: the cost is the total length of links and paths.
pub struct Follower<'t> {
    tree: &'t LibraryTree,
    differences: &'t DifferingPaths,
    links: LinkFollower<TreeLinks<'t>>,
}

struct TreeLinks<'t> {
    tree: &'t LibraryTree,
    differences: &'t DifferingPaths,
}

impl LinkMap for TreeLinks<'_> {
    fn at(&self, path: &[u8]) -> AtPath {
        match self.tree.node(path) {
            Some(Node::Link(target)) => AtPath::Link(target.clone()),
            Some(Node::File(_)) => AtPath::File,
            None => AtPath::Other,
        }
    }

    fn is_marked(&self, path: &[u8]) -> bool {
        self.differences.has_path(path)
    }
}

impl<'t> Follower<'t> {
    /// Makes a follower that notes when a path reaches one of these differences.
    pub(super) fn noticing(tree: &'t LibraryTree, differences: &'t DifferingPaths) -> Self {
        Self { tree, differences, links: LinkFollower::new(TreeLinks { tree, differences }) }
    }

    /// Follows an absolute path. Returns `None` if it leads to no program or library.
    pub fn follow(&mut self, path: &[u8]) -> Option<ResolvedPath> {
        self.follow_noticing(path, &mut false)
    }

    pub(super) fn follow_noticing(&mut self, path: &[u8], has_met: &mut bool) -> Option<ResolvedPath> {
        let followed = self.follow_directory(path, has_met)?;
        self.way_to(followed)
    }

    /// Follows the path of a directory. A directory without any known file is assumed to exist.
    pub(super) fn follow_directory(&mut self, path: &[u8], has_met: &mut bool) -> Option<Followed> {
        self.links.follow(Followed::default(), path, has_met)
    }

    pub(super) fn follow_name(
        &mut self,
        directory: &Followed,
        name: &[u8],
        has_met: &mut bool,
    ) -> Option<ResolvedPath> {
        let at = [&directory.path[..], b"/", name].concat();
        *has_met |= self.differences.has_path(&at);
        match self.tree.node(&at)? {
            Node::File(file) => Some(ResolvedPath {
                links: directory.links.clone(),
                path: ObjectPath::new(&at).ok()?,
                file: file.clone(),
            }),
            Node::Link(_) => {
                let followed = self.links.follow(directory.clone(), name, has_met)?;
                self.way_to(followed)
            }
        }
    }

    fn way_to(&self, followed: Followed) -> Option<ResolvedPath> {
        let path = ObjectPath::new(&followed.path).ok()?;
        let file = self.tree.file_at(&path)?.clone();
        Some(ResolvedPath { links: followed.links, path, file })
    }
}
