//! The list of an exchange, and its comparison with the old directory. The new one is a copy, so any change of the old
//! one since then causes a rollback before the commit.

use std::collections::BTreeMap;

use crate::format::journal::{Journal, JournalError, NotedDigest, Op, OpKind};
use crate::format::tree_list::{LARGEST, ListedIdentity, TreeList};
use crate::transaction::error::Cause;
use crate::transaction::journal::journal_file;
use crate::transaction::objects::identity::encoded;
use crate::transaction::tree::survey::below;
use patchadm_rootfs::{Digest, Dir, FileType, ObjectStatus, Root, Xattrs, side_by_side};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places::own_directory;

pub(crate) fn write_list(stage: &Dir, name: &[u8], list: &TreeList) -> Result<Digest, Cause> {
    let bytes = list.write();
    let mut file = stage.create(name)?;
    file.reserve(bytes.len() as u64)?;
    file.put(&bytes)?;
    file.set_mode(Mode::of(0o600))?;
    Ok(Digest::of(&bytes))
}

/// It must be the one that the journal names.
pub(crate) fn read_list(stage: &Dir, op: &Op) -> Result<TreeList, Cause> {
    let damaged = || {
        let root = stage.root();
        let path = own_directory().join(journal_file::NAME).unwrap_or_else(|_| own_directory());
        let reason = JournalError::Field { field: "list", of: format!("the change of {}", op.path) };
        Cause::Journal { path: root.show(&path), reason }
    };
    let bytes = stage.read_regular(op.list_name().as_bytes(), LARGEST)?.ok_or_else(damaged)?;
    let expected = op.list.as_deref().and_then(NotedDigest::digest);
    if expected != Some(Digest::of(&bytes)) {
        return Err(damaged());
    }
    TreeList::parse(&bytes).ok_or_else(damaged)
}

/// The list is removed after the outcome, when no foreign objects are left. A power cut may restore names, but not the
/// list.
pub(crate) fn has_list(stage: &Dir, op: &Op) -> Result<bool, Cause> {
    Ok(stage.look(op.list_name().as_bytes())?.is_some())
}

pub(crate) fn check_lists(root: &Root, journal: &Journal) -> Result<(), Cause> {
    for op in journal.ops.iter().filter(|op| op.kind == OpKind::Tree) {
        let Some(domain) = journal.domains.get(op.domain) else { continue };
        let Some(stage) = root.dir_if_there(&domain.stage)? else { continue };
        if journal.head.outcome.is_some() && !has_list(&stage, op)? {
            continue;
        }
        if stage.look(b"o")?.is_some() && stage.dir(b"o")?.look(op.list_name().as_bytes())?.is_some() {
            read_list(&stage, op)?;
        }
    }
    Ok(())
}

#[derive(Debug)]
pub(crate) struct KnownTree {
    pub(crate) list: TreeList,
    pub(crate) directories: BTreeMap<Vec<u8>, KnownDirectory>,
}

#[derive(Debug)]
pub(crate) struct KnownDirectory {
    pub(crate) seen: ObjectStatus,
    pub(crate) xattrs: Xattrs,
}

pub(crate) fn listed(seen: &ObjectStatus, is_shared: bool) -> ListedIdentity {
    let is_file = seen.file_type == FileType::Regular && !is_shared;
    ListedIdentity {
        file_type: seen.file_type.letter(),
        inode: seen.inode,
        size: is_file.then_some(seen.size),
        mtime: is_file.then_some(seen.mtime),
    }
}

pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (path.get(..slash).unwrap_or_default(), path.get(slash + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

pub(crate) fn is_listed(seen: &ObjectStatus, listed: &ListedIdentity) -> bool {
    seen.inode == listed.inode
        && seen.file_type.letter() == listed.file_type
        && listed.size.is_none_or(|size| size == seen.size)
        && listed.mtime.is_none_or(|mtime| mtime == seen.mtime)
}

pub(crate) struct OldTree<'a> {
    pub(crate) root: &'a Root,
    pub(crate) live: &'a ObjectPath,
    pub(crate) staged: ObjectPath,
    pub(crate) known: &'a KnownTree,
}

impl OldTree<'_> {
    pub(crate) fn must_be_as_known(&self) -> Result<(), Cause> {
        let names = names_by_directory(&self.known.list);
        let directories: Vec<_> = names.into_iter().collect();
        let compared = side_by_side(self.root.workers(), directories.len(), || {
            |at| directories.get(at).map_or(Ok(()), |(path, count)| self.compare(path, *count))
        });
        compared.into_iter().collect()
    }

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

fn names_by_directory(list: &TreeList) -> BTreeMap<&[u8], usize> {
    let mut names = BTreeMap::from([(&b""[..], 0)]);
    for listed in list.paths() {
        let Some(old) = &listed.old else { continue };
        if old.file_type == FileType::Directory.letter() {
            names.entry(listed.path.as_slice()).or_default();
        }
        let directory = split(&listed.path).0;
        *names.entry(directory).or_default() += 1;
    }
    names
}
