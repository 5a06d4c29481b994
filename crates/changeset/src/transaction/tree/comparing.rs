//! Compares the old directory of an exchange, before the commit, with what the run knows about it.
//!
//! The run has copied the directory. Anything that someone has created, removed, replaced or written in it since is not
//! in the new one. So everything must still be as it was; otherwise the run is rolled back.

use std::collections::BTreeMap;

use crate::format::tree_list::{ListedObject, TreeList};
use crate::transaction::error::Cause;
use crate::transaction::objects::identity::encoded;
use crate::transaction::tree::settling::KnownTree;
use crate::transaction::tree::survey::below;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, Root, side_by_side};
use patchadm_svr4::package::ObjectPath;

/// Tells whether an object is the listed one and, as far as the list shows, has not been written to.
pub(crate) fn is_listed(seen: &ObjectStatus, listed: &ListedObject) -> bool {
    seen.inode == listed.inode
        && seen.file_type.letter() == listed.file_type
        && listed.size.is_none_or(|size| size == seen.size)
        && listed.mtime.is_none_or(|mtime| mtime == seen.mtime)
}

/// The old directory of an exchange, in the stage.
pub(crate) struct OldTree<'a> {
    pub(crate) root: &'a Root,
    /// Its former place: a physical path.
    pub(crate) live: &'a ObjectPath,
    /// Its current place: a physical path.
    pub(crate) staged: ObjectPath,
    pub(crate) known: &'a KnownTree,
}

impl OldTree<'_> {
    /// Checks that nothing in it has changed.
    pub(crate) fn must_be_as_known(&self) -> Result<(), Cause> {
        let names = names_by_directory(&self.known.list);
        let directories: Vec<_> = names.into_iter().collect();
        let compared = side_by_side(self.root.workers(), directories.len(), || {
            |at| directories.get(at).map_or(Ok(()), |(path, count)| self.compare(path, *count))
        });
        compared.into_iter().collect()
    }

    /// Compares one directory, in which `count` names are known.
    fn compare(&self, relative: &[u8], count: usize) -> Result<(), Cause> {
        let dir = self.open(relative)?.ok_or_else(|| self.changed(relative))?;
        self.compare_itself(&dir, relative)?;
        let names = dir.names()?;
        for name in &names {
            let path = if relative.is_empty() { name.clone() } else { [relative, b"/", name].concat() };
            let listed = self.known.list.place_of(&path).and_then(|place| self.known.list.paths().get(place));
            let Some(old) = listed.and_then(|listed| listed.old.as_ref()) else {
                return Err(Cause::Appeared(self.show(&path)));
            };
            if !dir.look(name)?.is_some_and(|seen| is_listed(&seen, old)) {
                return Err(self.changed(&path));
            }
        }
        if names.len() == count { Ok(()) } else { Err(self.changed(relative)) }
    }

    /// Compares the attributes of a directory that stays.
    fn compare_itself(&self, dir: &Dir, relative: &[u8]) -> Result<(), Cause> {
        let Some(known) = self.known.directories.get(relative) else { return Ok(()) };
        let (seen, before) = (dir.itself()?, &known.seen);
        let is_same = seen.ctime == before.ctime
            || (seen.mode, seen.uid, seen.gid) == (before.mode, before.uid, before.gid)
                && encoded(&dir.xattrs(b"")?) == encoded(&known.xattrs);
        if is_same { Ok(()) } else { Err(self.changed(relative)) }
    }

    fn open(&self, relative: &[u8]) -> Result<Option<Dir>, Cause> {
        Ok(self.root.dir_if_there(&below(&self.staged, relative)?)?)
    }

    fn show(&self, relative: &[u8]) -> String {
        below(self.live, relative).map_or_else(|_| self.root.show(self.live), |path| self.root.show(&path))
    }

    fn changed(&self, relative: &[u8]) -> Cause {
        Cause::Changed(self.show(relative))
    }
}

/// Returns the directories of the old tree, each with how many names it had.
fn names_by_directory(list: &TreeList) -> BTreeMap<&[u8], usize> {
    let mut names = BTreeMap::from([(&b""[..], 0)]);
    for listed in list.paths() {
        let Some(old) = &listed.old else { continue };
        if old.file_type == FileType::Directory.letter() {
            names.entry(listed.path.as_slice()).or_default();
        }
        let directory = crate::transaction::tree::preparing::split(&listed.path).0;
        *names.entry(directory).or_default() += 1;
    }
    names
}
