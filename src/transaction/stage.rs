//! Staging: every new object is written beside its target, final in every attribute, while nothing live changes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::dirs::Dirs;
use super::error::Cause;
use super::identity::identity;
use super::layout::{Item, Layout, New};
use super::sites::Sites;
use super::{Content, Doing, StreamError, Watch};
use crate::package::{Digest, LiveKind, Mode, ObjectPath, PackagePath, Summing, Sums, Timestamp, Xattrs};
use crate::plan::{Body, Member, NewObject, NewXattrs, TreeContent, TreeFile};
use crate::root::{Dir, Node, Root, WritableFile};

/// What staging knows afterwards.
#[derive(Debug, Default)]
pub(super) struct StagedContent {
    /// SHA-256 of each new regular file, by the path of the plan.
    pub(super) digests: BTreeMap<ObjectPath, Digest>,
    /// Bytes that were written for objects.
    pub(super) bytes: u64,
}

/// Writes the objects of a layout into its stages.
pub(super) struct Stager<'a, 'p> {
    pub(super) root: &'a Root,
    pub(super) sites: &'a Sites,
    pub(super) layout: &'a mut Layout<'p>,
    pub(super) watch: Watch<'a>,
    dirs: Dirs,
    staged: StagedContent,
}

impl<'a, 'p> Stager<'a, 'p> {
    pub(super) fn new(
        root: &'a Root,
        sites: &'a Sites,
        layout: &'a mut Layout<'p>,
        watch: Watch<'a>,
    ) -> Self {
        Self { root, sites, layout, watch, dirs: Dirs::new(root), staged: StagedContent::default() }
    }

    /// Stages all objects; `content` streams the files of the source. Records are staged later, because the undo
    /// archives among them need what is known only now.
    pub(super) fn objects(mut self, content: &mut dyn Content) -> Result<StagedContent, Cause> {
        let sizes = self.layout.items.iter().filter_map(|item| match object(item).map(|new| &new.body) {
            Some(Body::Member(member)) => Some(member.size),
            _ => None,
        });
        self.watch.begins(Doing::Staging, sizes.sum());
        for index in self.select(|body| !matches!(body, Body::Member(_) | Body::Link(_))) {
            self.without_content(index)?;
        }
        self.members(content)?;
        for index in self.select(|body| matches!(body, Body::Link(_))) {
            self.link(index)?;
        }
        self.settle_directories()?;
        self.identify()?;
        Ok(self.staged)
    }

    fn select(&self, wanted: impl Fn(&Body) -> bool) -> Vec<usize> {
        let bodies = self.layout.items.iter().enumerate();
        bodies
            .filter_map(|(index, item)| object(item).filter(|new| wanted(&new.body)).map(|_| index))
            .collect()
    }

    /// The staged place of an item: directory and name.
    fn place(&self, index: usize) -> Result<(Dir, Vec<u8>), Cause> {
        let item = self.item(index)?;
        let site = self.sites.get(item.op.domain)?;
        let top = item.op.stage.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
        let Some(inside) = &item.inside else { return Ok((site.objects.again()?, top)) };
        let mut dir = site.objects.dir(&top)?;
        let mut parts: Vec<&[u8]> = inside.split(|&b| b == b'/').collect();
        let name = parts.pop().unwrap_or_default().to_vec();
        for part in parts {
            dir = dir.dir(part)?;
        }
        Ok((dir, name))
    }

    fn item(&self, index: usize) -> Result<&Item<'p>, Cause> {
        self.layout.items.get(index).ok_or_else(|| Cause::Internal(format!("there is no item {index}")))
    }

    fn without_content(&mut self, index: usize) -> Result<(), Cause> {
        self.watch.check()?;
        let (dir, name) = self.place(index)?;
        let Some(new) = object(self.item(index)?) else { return Ok(()) };
        match &new.body {
            // Its own mode may not let us write into it; it gets it when everything is in it.
            Body::Directory => drop(dir.make_dir(&name, Mode::of(0o700))?),
            Body::Symlink(target) => dir.make_symlink(&name, target)?,
            Body::Pipe => dir.make_node(&name, Node::Pipe)?,
            Body::Device { block: true, major, minor } => {
                dir.make_node(&name, Node::Block(*major, *minor))?;
            }
            Body::Device { major, minor, .. } => dir.make_node(&name, Node::Character(*major, *minor))?,
            Body::CopyOf(path) => return self.copy(index, &dir, &name, path),
            Body::Member(_) | Body::Link(_) => {}
        }
        if !matches!(new.body, Body::Directory) {
            self.attributes(index, &dir, &name, new)?;
        }
        Ok(())
    }

    /// A copy of a live file with all its attributes.
    fn copy(&mut self, index: usize, dir: &Dir, name: &[u8], path: &ObjectPath) -> Result<(), Cause> {
        let changed = || Cause::Changed(self.root.show(path));
        let physical = self.root.resolver().locate(path)?;
        let from = self.dirs.parent(&physical)?.ok_or_else(changed)?;
        let live = from.live(physical.name())?.ok_or_else(changed)?;
        let mut file = dir.create(name)?;
        file.reserve(live.size().unwrap_or_default())?;
        let mut source = from.open_regular(physical.name())?;
        io::copy(&mut source, &mut file).map_err(|error| file.write_error(&error))?;
        let LiveKind::Regular { sha256, size, .. } = live.kind else { return Err(changed()) };
        let copy = dir.live(name)?;
        let is_same =
            matches!(copy.map(|copy| copy.kind), Some(LiveKind::Regular { sha256: s, .. }) if s == sha256);
        if !is_same {
            return Err(changed());
        }
        let client = self.item(index)?.client.clone();
        self.staged.digests.insert(client, sha256);
        self.staged.bytes += size;
        self.own(dir, name, live.uid, live.gid)?;
        set_xattrs(dir, name, &live.xattrs)?;
        dir.set_mode(name, live.mode)?;
        dir.set_mtime(name, live.mtime)?;
        Ok(())
    }

    /// Streams all files that come from the source.
    fn members(&mut self, content: &mut dyn Content) -> Result<(), Cause> {
        let mut wanted: BTreeMap<(usize, PackagePath), Vec<usize>> = BTreeMap::new();
        for index in self.select(|body| matches!(body, Body::Member(_))) {
            if let Some(Body::Member(member)) = object(self.item(index)?).map(|new| &new.body) {
                wanted.entry((member.package, member.path.clone())).or_default().push(index);
            }
        }
        let mut missing: BTreeSet<_> = wanted.keys().cloned().collect();
        let is_wanted = |package: usize, path: &PackagePath| wanted.contains_key(&(package, path.clone()));
        let mut sink = |package: usize, path: &PackagePath, data: &mut dyn Read| {
            let key = (package, path.clone());
            let Some(indexes) = wanted.get(&key) else { return Ok(()) };
            missing.remove(&key);
            self.member(indexes, data)
        };
        if !wanted.is_empty() {
            content.stream(&is_wanted, &mut sink).map_err(|error| match error {
                StreamError::Source(error) => Cause::Source(error),
                StreamError::Sink(cause) => cause,
            })?;
        }
        match missing.first().and_then(|key| wanted.get(key)).and_then(|indexes| indexes.first()) {
            Some(&index) => {
                let package = self.package_of(index);
                Err(Cause::Missing { package, path: self.root.show(&self.item(index)?.client) })
            }
            None => Ok(()),
        }
    }

    fn package_of(&self, index: usize) -> String {
        self.layout
            .packages
            .get(&self.layout.items[index].client)
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// Writes one file of the source; further places of the same member are copied from the first.
    fn member(&mut self, indexes: &[usize], data: &mut dyn Read) -> Result<(), Cause> {
        self.watch.check()?;
        let Some((&first, others)) = indexes.split_first() else { return Ok(()) };
        let (dir, name) = self.place(first)?;
        let Some(new) = object(self.item(first)?) else { return Ok(()) };
        let Body::Member(member) = &new.body else { return Ok(()) };
        let mut file = dir.create(&name)?;
        file.reserve(member.size)?;
        let digest = self.pour(first, member, data, &mut file)?;
        self.attributes(first, &dir, &name, new)?;
        self.staged.digests.insert(self.item(first)?.client.clone(), digest);
        for &other in others {
            let (to, to_name) = self.place(other)?;
            let Some(new) = object(self.item(other)?) else { continue };
            let mut copy = to.create(&to_name)?;
            let mut source = dir.open_regular(&name)?;
            io::copy(&mut source, &mut copy).map_err(|error| copy.write_error(&error))?;
            self.attributes(other, &to, &to_name, new)?;
            self.staged.digests.insert(self.item(other)?.client.clone(), digest);
        }
        Ok(())
    }

    /// Writes the bytes and checks them against what the package says of them.
    fn pour(
        &mut self,
        index: usize,
        member: &Member,
        data: &mut dyn Read,
        file: &mut WritableFile,
    ) -> Result<Digest, Cause> {
        let corrupt = |reason: String| Cause::Corrupt {
            package: self.package_of(index),
            path: self.root.show(&self.layout.items[index].client),
            reason,
        };
        let mut summing = Summing::default();
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count = match data.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(corrupt(error.to_string())),
            };
            let bytes = &buffer[..count];
            summing.update(bytes);
            if summing.size() > member.size {
                return Err(corrupt(format!("size {} expected, more delivered", member.size)));
            }
            file.put(bytes)?;
            self.watch.advances(count as u64);
        }
        let Sums { size, cksum, sha256 } = summing.finish();
        if size != member.size {
            return Err(corrupt(format!("file size <{}> expected <{size}> actual", member.size)));
        }
        if cksum != member.cksum {
            return Err(corrupt(format!("file cksum <{}> expected <{cksum}> actual", member.cksum)));
        }
        if member.sha256.is_some_and(|expected| expected != sha256) {
            return Err(corrupt("it does not have the SHA-256 that was recorded".to_owned()));
        }
        self.staged.bytes += size;
        Ok(sha256)
    }

    /// Another name of a new object, or of a live one that stays.
    fn link(&mut self, index: usize) -> Result<(), Cause> {
        self.watch.check()?;
        let Some(NewObject { body: Body::Link(source), .. }) = object(self.item(index)?) else {
            return Ok(());
        };
        let (dir, name) = self.place(index)?;
        let staged = self
            .layout
            .by_path
            .get(source)
            .copied()
            .filter(|&of| self.layout.items.get(of).and_then(object).is_some());
        if let Some(of) = staged {
            let (from, from_name) = self.place(of)?;
            dir.make_link(&name, &from, &from_name)?;
        } else {
            let physical = self.root.resolver().locate(source)?;
            let changed = || Cause::Changed(self.root.show(source));
            let from = self.dirs.parent(&physical)?.ok_or_else(changed)?;
            dir.make_link(&name, &from, physical.name())?;
        }
        let digest = self.staged.digests.get(source).copied();
        if let Some(digest) = digest {
            let client = self.item(index)?.client.clone();
            self.staged.digests.insert(client, digest);
        }
        Ok(())
    }

    /// Directories get their attributes when everything is in them, the innermost first.
    fn settle_directories(&mut self) -> Result<(), Cause> {
        for index in self.select(|body| matches!(body, Body::Directory)).into_iter().rev() {
            let (dir, name) = self.place(index)?;
            if let Some(new) = object(self.item(index)?) {
                self.attributes(index, &dir, &name, new)?;
            }
        }
        Ok(())
    }

    /// Owner, extended attributes, mode and time, in the order in which none undoes another.
    fn attributes(&mut self, index: usize, dir: &Dir, name: &[u8], new: &NewObject) -> Result<(), Cause> {
        self.own(dir, name, new.uid, new.gid)?;
        let is_symlink = matches!(new.body, Body::Symlink(_));
        match &new.xattrs {
            NewXattrs::Exact(xattrs) => set_xattrs(dir, name, xattrs)?,
            NewXattrs::Inherited if is_symlink => {}
            NewXattrs::Inherited => {
                let is_directory = matches!(new.body, Body::Directory);
                let inherited = self.inherited(index, is_directory)?;
                set_xattrs(dir, name, &inherited)?;
            }
        }
        if !is_symlink {
            dir.set_mode(name, new.mode)?;
        }
        if let Some(mtime) = new.mtime.filter(|_| !matches!(new.body, Body::Directory)) {
            dir.set_mtime(name, mtime)?;
        }
        Ok(())
    }

    /// Only the superuser gives objects away; for others the owner is recorded and the object stays theirs.
    fn own(&self, dir: &Dir, name: &[u8], uid: u32, gid: u32) -> Result<(), Cause> {
        if self.root.is_privileged() {
            dir.set_owner(name, Some(uid), Some(gid))?;
        }
        Ok(())
    }

    /// What a new object takes over: label, ACL and `user.*` of the object that it replaces; the label and the
    /// default ACL of its directory where it replaces none. Never capabilities or integrity digests: those belong to
    /// bytes that are gone.
    fn inherited(&mut self, index: usize, is_directory: bool) -> Result<Xattrs, Cause> {
        let (path, old) = (self.item(index)?.op.path.clone(), self.item(index)?.op.old.is_some());
        let inside = self.item(index)?.inside.is_some();
        let Some(parent) = (if inside { None } else { self.dirs.parent(&path)? }) else {
            return Ok(Xattrs::new());
        };
        if old {
            let mut kept = parent.xattrs(path.name())?;
            kept.retain(|key, _| {
                is_label(key) || key.starts_with(b"user.") || key == b"system.posix_acl_access"
            });
            return Ok(kept);
        }
        let mut handed_down = Xattrs::new();
        for (key, value) in parent.xattrs(b"")? {
            if is_label(&key) {
                handed_down.insert(key, value);
            } else if key == b"system.posix_acl_default" {
                handed_down.insert(b"system.posix_acl_access".to_vec(), value.clone());
                if is_directory {
                    handed_down.insert(key, value);
                }
            }
        }
        Ok(handed_down)
    }

    /// Notes which inode each staged object is.
    fn identify(&mut self) -> Result<(), Cause> {
        for index in 0..self.layout.items.len() {
            let item = self.item(index)?;
            if item.inside.is_some() || object(item).is_none() {
                continue;
            }
            let (dir, name) = self.place(index)?;
            let digest = self.staged.digests.get(&self.item(index)?.client).copied();
            note_identity(&mut self.layout.items[index], &dir, &name, digest)?;
        }
        Ok(())
    }
}

/// Notes which inode a staged object is.
pub(super) fn note_identity(
    item: &mut Item<'_>,
    dir: &Dir,
    name: &[u8],
    digest: Option<Digest>,
) -> Result<(), Cause> {
    let seen = dir.look(name)?.ok_or_else(|| Cause::Changed(dir.root().show(&dir.at(name))))?;
    let target = match seen.file_type {
        crate::root::FileType::Symlink => Some(dir.read_link(name)?),
        _ => None,
    };
    item.op.new = Some(identity(&seen, digest, target.as_deref()));
    Ok(())
}

/// The object that an item stages, if it stages one of a package.
fn object<'p>(item: &Item<'p>) -> Option<&'p NewObject> {
    match item.new {
        Some(New::Object(new)) => Some(new),
        _ => None,
    }
}

/// Sets extended attributes; without privileges those that only root may set are left out.
pub(super) fn set_xattrs(dir: &Dir, name: &[u8], xattrs: &Xattrs) -> Result<(), Cause> {
    for (key, value) in xattrs {
        match dir.set_xattr(name, key, value) {
            Err(error) if !dir.root().is_privileged() && error.errno() == Some(rustix::io::Errno::PERM) => {}
            other => other?,
        }
    }
    Ok(())
}

fn is_label(key: &[u8]) -> bool {
    key == b"security.selinux" || key.starts_with(b"security.SMACK64")
}

/// Writes a record file with its attributes: those of the file it replaces, else root's.
pub(super) fn record_file(
    dir: &Dir,
    name: &[u8],
    bytes: &[u8],
    mode: Mode,
    mtime: Option<Timestamp>,
) -> Result<Digest, Cause> {
    let mut file = dir.create(name)?;
    file.reserve(bytes.len() as u64)?;
    file.put(bytes)?;
    if dir.root().is_privileged() {
        file.set_owner(0, 0)?;
    }
    file.set_mode(mode)?;
    if let Some(mtime) = mtime {
        file.set_mtime(mtime)?;
    }
    Ok(Digest(Sha256::digest(bytes).into()))
}

/// Writes an undo archive, by its number, into a directory under a name.
pub(super) type UndoWriter<'u> = dyn FnMut(usize, &Dir, &[u8]) -> Result<(), Cause> + 'u;

/// Writes the files of a record directory; `undo` writes an archive into the directory and under the name given.
pub(super) fn record_tree(
    within: &Dir,
    name: &[u8],
    files: &[TreeFile],
    undo: &mut UndoWriter<'_>,
) -> Result<(), Cause> {
    let top = within.make_dir(name, Mode::of(0o755))?;
    for file in files {
        let mut parts: Vec<&[u8]> = file.name.split(|&b| b == b'/').collect();
        let last = parts.pop().unwrap_or_default();
        let mut dir = top.again()?;
        for part in parts {
            dir = match dir.look(part)? {
                Some(_) => dir.dir(part)?,
                None => dir.make_dir(part, Mode::of(0o755))?,
            };
        }
        match &file.content {
            TreeContent::Bytes(bytes) => drop(record_file(&dir, last, bytes, file.mode, file.mtime)?),
            TreeContent::Undo(index) => undo(*index, &dir, last)?,
            // Written when all archives are.
            TreeContent::UndoDigest(_) => {}
            // A file before it may have needed it.
            TreeContent::Directory if dir.look(last)?.is_some() => {}
            TreeContent::Directory => drop(dir.make_dir(last, file.mode)?),
        }
    }
    Ok(())
}
