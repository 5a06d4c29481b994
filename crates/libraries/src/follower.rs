//! Paths of a tree, followed through its links.

use patchadm_rootfs::{AtPath, Followed, LinkFollower, LinkMap};
use patchadm_svr4::package::ObjectPath;

use crate::differences::Differences;
use crate::tree::{LibraryTree, Node, Way};

impl LibraryTree {
    /// Follows an absolute path as [`Follower::follow`] does.
    pub fn follow(&self, path: &[u8]) -> Option<Way> {
        self.follower().follow(path)
    }

    /// Returns a value that follows many paths.
    pub fn follower(&self) -> Follower<'_> {
        Follower::noticing(self, Differences::none())
    }
}

/// Follows paths of a tree, links included, without leaving the root.
///
/// Each link is followed once: many paths behind the same links cost no more than the links and the paths have bytes.
pub struct Follower<'t> {
    tree: &'t LibraryTree,
    differences: &'t Differences,
    links: LinkFollower<TreeLinks<'t>>,
}

/// The links of a tree.
struct TreeLinks<'t> {
    tree: &'t LibraryTree,
    differences: &'t Differences,
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
    /// Returns a value that notes when a way reaches one of these differences.
    pub(super) fn noticing(tree: &'t LibraryTree, differences: &'t Differences) -> Self {
        Self { tree, differences, links: LinkFollower::new(TreeLinks { tree, differences }) }
    }

    /// Follows an absolute path. Returns `None` if it leads to no program or library.
    pub fn follow(&mut self, path: &[u8]) -> Option<Way> {
        self.follow_noticing(path, &mut false)
    }

    /// Follows an absolute path.
    pub(super) fn follow_noticing(&mut self, path: &[u8], has_met: &mut bool) -> Option<Way> {
        let followed = self.follow_directory(path, has_met)?;
        self.way_to(followed)
    }

    /// Follows the path of a directory. One that has links only in it, or none at all, is believed to be there.
    pub(super) fn follow_directory(&mut self, path: &[u8], has_met: &mut bool) -> Option<Followed> {
        self.links.follow(Followed::default(), path, has_met)
    }

    /// Follows a name in a directory that was followed before.
    pub(super) fn follow_name(
        &mut self,
        directory: &Followed,
        name: &[u8],
        has_met: &mut bool,
    ) -> Option<Way> {
        let at = [&directory.path[..], b"/", name].concat();
        *has_met |= self.differences.has_path(&at);
        match self.tree.node(&at)? {
            Node::File(file) => Some(Way {
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

    fn way_to(&self, followed: Followed) -> Option<Way> {
        let path = ObjectPath::new(&followed.path).ok()?;
        let file = self.tree.file_at(&path)?.clone();
        Some(Way { links: followed.links, path, file })
    }
}
