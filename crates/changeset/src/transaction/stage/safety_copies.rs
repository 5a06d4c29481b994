//! Safety copies: before the first procedure script runs, everything scripts may touch is copied into the stage.
//!
//! A script changes live objects as it likes, in place or by renames. Restoring a safety copy is one rename, regardless
//! of what the script did. It needs neither space nor the package, and does not depend on how far the run got. Files
//! are cloned if the file system can, else copied, with every attribute; several names of one file remain names of one
//! file. Undo archives, which are never written in place, are protected by a second name.

use std::collections::{BTreeSet, HashMap};
use std::io;

use crate::format::journal::{Identity, Op, OpKind};
use crate::transaction::error::Cause;
use crate::transaction::objects::dirs::{Dirs, is_replaceable_hint};
use crate::transaction::objects::identity::{encoded, identity};
use crate::transaction::settings::RunWatch;
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::staged_files::set_xattrs;
use patchadm_rootfs::{Descent, Dir, FileType, ObjectStatus, Resolver, Root};
use patchadm_rootfs::{Digest, Hashing, Inode, Xattrs};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

/// The paths that procedure scripts of a run may touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtectedPaths {
    /// The objects of the packages, whether they exist or not.
    pub objects: Vec<ProtectedObject>,
    /// Record directories, protected with everything in them: `var/sadm/pkg/<PKG>`, `var/sadm/patch/<id>`.
    pub trees: Vec<ObjectPath>,
    /// Record files: `contents`.
    pub files: Vec<ObjectPath>,
}

/// An object that procedure scripts may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedObject {
    /// The client path of the object.
    pub path: ObjectPath,
    /// Whether administrators edit the object (types `e` and `v`).
    pub editable: bool,
}

/// The safety copies of objects, by physical path.
pub(crate) struct SafetyCopies<'a> {
    domains: &'a OpenDomains,
    ops: HashMap<&'a ObjectPath, &'a Op>,
}

impl<'a> SafetyCopies<'a> {
    /// Collects the safety copies named by the ops of a run.
    pub(crate) fn of(domains: &'a OpenDomains, ops: &'a [Op]) -> Self {
        let held = ops.iter().filter(|op| op.kind == OpKind::Protect && !op.db && op.old.is_some());
        Self { domains, ops: held.map(|op| (&op.path, op)).collect() }
    }

    /// Finds the copy of the object at a physical path: its directory and name. Returns `None` if there was no
    /// object.
    pub(crate) fn find(&self, physical: &ObjectPath) -> Result<Option<(Dir, Vec<u8>)>, Cause> {
        let Some(op) = self.ops.get(physical) else { return Ok(None) };
        let name = op.stage.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
        Ok(Some((self.domains.get(op.domain)?.objects.again()?, name)))
    }
}

/// Makes the safety copies and returns the ops that restore them.
pub(crate) fn make_safety_copies(
    root: &Root,
    domains: &mut OpenDomains,
    held: &ProtectedPaths,
    watch: RunWatch<'_>,
) -> Result<Vec<Op>, Cause> {
    let mut copier = SafetyCopier {
        root,
        resolver: root.resolver(),
        dirs: Dirs::new(root),
        domains,
        ops: Vec::new(),
        names: HashMap::new(),
        taken: BTreeSet::new(),
    };
    for path in held.files.iter().chain(&held.trees) {
        watch.check()?;
        copier.copy_with_ancestors(path, true, false)?;
        // A batch that changes one also changes the other.
        if *path == places::contents() {
            copier.copy_stamp()?;
            copier.copy_log()?;
        }
    }
    for object in &held.objects {
        watch.check()?;
        copier.copy_with_ancestors(&object.path, false, object.editable)?;
    }
    copier.copy_behind_links(&held.objects)?;
    Ok(copier.ops)
}

struct SafetyCopier<'a> {
    root: &'a Root,
    resolver: Resolver<'a>,
    dirs: Dirs,
    domains: &'a mut OpenDomains,
    ops: Vec<Op>,
    /// The first copy of each file, for its other names: domain and staged name.
    names: HashMap<Inode, (usize, Vec<u8>)>,
    /// The physical paths copied so far.
    taken: BTreeSet<ObjectPath>,
}

impl SafetyCopier<'_> {
    /// Copies the stamp of `contents`, unless it is one that no batch can replace.
    fn copy_stamp(&mut self) -> Result<(), Cause> {
        let stamp = places::contents_stamp();
        let physical = self.resolver.locate(&stamp)?;
        match self.dirs.parent(&physical)? {
            Some(dir) if !is_replaceable_hint(&dir, physical.name())? => Ok(()),
            _ => self.copy_with_ancestors(&stamp, true, false),
        }
    }

    /// Protects the log of another tool, which the batch that writes `contents` removes. A script of the run may write one
    /// where there is none yet; it goes with a rollback.
    fn copy_log(&mut self) -> Result<(), Cause> {
        self.copy_with_ancestors(&places::pkglog(), true, false)
    }

    /// Protects the places that objects below a protected symbolic link will have once a directory replaces the link:
    /// they are empty now.
    fn copy_behind_links(&mut self, objects: &[ProtectedObject]) -> Result<(), Cause> {
        let mut links: BTreeSet<&ObjectPath> = BTreeSet::new();
        for object in objects {
            let physical = self.resolver.locate_object(&object.path)?;
            let Some(dir) = self.dirs.parent(&physical)? else { continue };
            if dir.look(physical.name())?.is_some_and(|seen| seen.file_type == FileType::Symlink) {
                links.insert(&object.path);
            }
        }
        if links.is_empty() {
            return Ok(());
        }
        for object in objects {
            let link = object.path.ancestors().filter(|above| links.contains(above)).last();
            let Some(link) = link else { continue };
            let rest = object.path.as_bytes().strip_prefix(link.as_bytes()).unwrap_or_default();
            let rest = rest.strip_prefix(b"/").unwrap_or(rest);
            let joined = self.resolver.locate_object(&link)?.join(rest);
            let physical = joined.map_err(|_| Cause::Changed(self.root.show(&object.path)))?;
            self.copy_physical(physical, false, object.editable)?;
        }
        Ok(())
    }

    fn copy_with_ancestors(&mut self, path: &ObjectPath, db: bool, editable: bool) -> Result<(), Cause> {
        let physical = self.resolver.locate_object(path)?;
        self.copy_physical(physical, db, editable)
    }

    fn copy_physical(&mut self, physical: ObjectPath, db: bool, editable: bool) -> Result<(), Cause> {
        // A missing directory above it may be made on the way; then it must be removed again.
        for above in physical.ancestors() {
            if above.relative().is_empty() || self.dirs.get(&above)?.is_some() {
                break;
            }
            self.copy_path(above, db, false)?;
        }
        self.copy_path(physical, db, editable)
    }

    fn copy_path(&mut self, path: ObjectPath, db: bool, editable: bool) -> Result<(), Cause> {
        if !self.taken.insert(path.clone()) {
            return Ok(());
        }
        let above = self.nearest(&path)?;
        let name = format!("held.{}", self.ops.len());
        let stage = format!("{}/{name}", if db { "db" } else { "o" });
        let mut op = Op { db, editable, ..Op::new(OpKind::Protect, path, self.domains.of(&above)?, stage) };
        if let Some(dir) = self.dirs.parent(&op.path)? {
            self.copy(&dir, name.as_bytes(), &mut op)?;
        }
        self.ops.push(op);
        Ok(())
    }

    /// Opens the directory of a path, or the nearest existing one above it.
    fn nearest(&mut self, physical: &ObjectPath) -> Result<std::rc::Rc<Dir>, Cause> {
        for above in physical.ancestors() {
            if let Some(dir) = self.dirs.get(&above)? {
                return Ok(dir);
            }
        }
        Err(Cause::Internal(format!("nothing is above {physical}")))
    }

    /// Copies the object at the path of `op` into the stage.
    fn copy(&mut self, dir: &Dir, staged: &[u8], op: &mut Op) -> Result<(), Cause> {
        let name = op.path.name().to_vec();
        let Some(seen) = dir.look(&name)? else { return Ok(()) };
        let domain = self.domains.get(op.domain)?;
        let stage = if op.db { domain.records.again()? } else { domain.objects.again()? };
        op.touched = Some(Box::new(seen.ctime));
        if seen.file_type == FileType::Directory {
            let mut old = identity(&seen, None, None);
            old.xattrs = Some(Box::new(encoded(&dir.xattrs(&name)?)));
            op.old = Some(Box::new(old));
            if op.db {
                copy_tree(dir, &name, &stage, staged)?;
                op.whole = true;
                op.new = stage.look(staged)?.map(|copy| Box::new(identity(&copy, None, None)));
            }
            return Ok(());
        }
        let known = self.names.get(&seen.inode).filter(|(domain, _)| *domain == op.domain && !op.db);
        let digest = match known {
            Some((_, first)) => {
                stage.make_link(staged, &stage, first)?;
                digest_of(&stage, staged)?
            }
            None => copy_object(dir, &name, &stage, staged)?,
        };
        if seen.links > 1 && !op.db {
            self.names.entry(seen.inode).or_insert_with(|| (op.domain, staged.to_vec()));
        }
        let target = match seen.file_type {
            FileType::Symlink => Some(dir.read_link(&name)?),
            _ => None,
        };
        op.old = Some(Box::new(identity(&seen, digest, target.as_deref())));
        op.new = stage.look(staged)?.map(|copy| Box::new(identity(&copy, digest, target.as_deref())));
        if !dir.look(&name)?.is_some_and(|later| seen.is_untouched(&later)) {
            return Err(Cause::Changed(self.root.show(&op.path)));
        }
        Ok(())
    }
}

fn digest_of(dir: &Dir, name: &[u8]) -> Result<Option<Digest>, Cause> {
    let mut hashing = Hashing::new(io::sink());
    let mut file = dir.open_regular(name)?;
    io::copy(&mut file, &mut hashing).map_err(|error| dir.read_error(name, &error))?;
    Ok(Some(hashing.finish().1))
}

/// Copies one object other than a directory, with every attribute. Returns the digest of a regular file.
pub(crate) fn copy_object(from: &Dir, name: &[u8], to: &Dir, copy: &[u8]) -> Result<Option<Digest>, Cause> {
    let Some(seen) = from.look(name)? else { return Err(Cause::Changed(from.root().show(&from.at(name)))) };
    let mut digest = None;
    match seen.file_type {
        FileType::Regular => digest = Some(copy_bytes(from, name, to, copy)?),
        FileType::Symlink => to.make_symlink(copy, &from.read_link(name)?)?,
        FileType::Pipe | FileType::Block | FileType::Character => {
            to.make_node(copy, seen.file_type, seen.device)?;
        }
        FileType::Directory | FileType::Socket => {
            let reason = "is of a type that cannot be copied, so nothing could put it back";
            return Err(Cause::Unsupported { path: from.root().show(&from.at(name)), reason });
        }
    }
    copy_attributes(&seen, &from.xattrs(name)?, to, copy)?;
    Ok(digest)
}

fn copy_bytes(from: &Dir, name: &[u8], to: &Dir, copy: &[u8]) -> Result<Digest, Cause> {
    let mut source = from.open_regular(name)?;
    let mut file = to.create(copy)?;
    if file.clone_of(&source)? {
        drop(file);
        return digest_of(to, copy)?.ok_or_else(|| Cause::Internal("a copy has no digest".to_owned()));
    }
    let mut hashing = Hashing::new(&mut file);
    let copied = io::copy(&mut source, &mut hashing);
    let (_, digest) = hashing.finish();
    copied.map_err(|error| file.write_error(&error))?;
    Ok(digest)
}

/// Sets owner, extended attributes, mode and time, in an order in which none resets another.
fn copy_attributes(seen: &ObjectStatus, xattrs: &Xattrs, to: &Dir, copy: &[u8]) -> Result<(), Cause> {
    if to.root().is_privileged() {
        to.set_owner(copy, Some(seen.uid), Some(seen.gid))?;
    }
    set_xattrs(to, copy, xattrs)?;
    if seen.file_type != FileType::Symlink {
        to.set_mode(copy, seen.mode)?;
    }
    to.set_mtime(copy, seen.mtime)?;
    Ok(())
}

/// Copies a record directory with everything in it, to any depth.
pub(crate) fn copy_tree(from: &Dir, name: &[u8], to: &Dir, copy: &[u8]) -> Result<(), Cause> {
    let mut tree = TreeCopy { from: Descent::below(from), to: Descent::below(to), rest: Vec::new() };
    tree.enter(name, copy)?;
    while let Some(rest) = tree.rest.last_mut() {
        match rest.pop() {
            Some(entry) => tree.copy(&entry)?,
            None => tree.leave()?,
        }
    }
    Ok(())
}

/// Walks a tree and its copy side by side.
struct TreeCopy<'a> {
    from: Descent<'a>,
    to: Descent<'a>,
    /// The names still to be copied in each open directory, the next one last.
    rest: Vec<Vec<Vec<u8>>>,
}

impl TreeCopy<'_> {
    fn copy(&mut self, entry: &[u8]) -> Result<(), Cause> {
        let (from, to) = (self.from.here(), self.to.here());
        let Some(seen) = from.look(entry)? else { return Ok(()) };
        match seen.file_type {
            FileType::Directory => return self.enter(entry, entry),
            FileType::Regular if is_archive(entry) && to.make_link(entry, from, entry).is_ok() => {}
            _ => drop(copy_object(from, entry, to, entry)?),
        }
        Ok(())
    }

    fn enter(&mut self, name: &[u8], copy: &[u8]) -> Result<(), Cause> {
        let source = self.from.here().dir(name)?;
        let target = self.to.here().make_dir(copy, Mode::of(0o700))?;
        let mut rest = source.names()?;
        rest.reverse();
        self.from.enter(name, source)?;
        self.to.enter(copy, target)?;
        self.rest.push(rest);
        Ok(())
    }

    /// Leaves a directory, and sets its attributes now that it is complete.
    fn leave(&mut self) -> Result<(), Cause> {
        self.rest.pop();
        let source = self.from.here();
        let (seen, xattrs) = (source.itself()?, source.xattrs(b"")?);
        self.from.leave()?;
        let Some(copy) = self.to.leave()? else { return Ok(()) };
        copy_attributes(&seen, &xattrs, self.to.here(), &copy)
    }
}

/// Tells whether a record is an undo archive: written once, renamed when its patch becomes obsolete, removed with it.
fn is_archive(name: &[u8]) -> bool {
    [&b"undo"[..], b"obsolete"]
        .iter()
        .any(|stem| name.strip_prefix(*stem).is_some_and(|rest| rest.is_empty() || rest.starts_with(b".")))
}

/// Makes a directory in the stage with the attributes of the old one.
pub(crate) fn make_again(stage: &Dir, name: &[u8], old: &Identity) -> Result<(), Cause> {
    stage.remove_tree(name)?;
    let dir = stage.make_dir(name, Mode::of(0o700))?;
    if stage.root().is_privileged() {
        dir.set_own_owner(Some(old.uid), Some(old.gid))?;
    }
    for (key, value) in old.xattrs.as_deref().into_iter().flatten() {
        dir.set_xattr(b"", &crate::format::manifest::decode(key), &crate::format::manifest::decode(value))?;
    }
    dir.set_own_mode(Mode::of(old.mode))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More levels than the limit of open files, and more than the stack of the copying thread allows for calls.
    const DEPTH: usize = 3_000;

    #[test]
    fn deeply_nested_directories_are_copied_with_few_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let top = Root::open(dir.path()).unwrap().dir(&ObjectPath::root()).unwrap();
        let mut way = Descent::below(&top);
        for _ in 0..DEPTH {
            let dir = way.here().make_dir(b"d", Mode::of(0o750)).unwrap();
            way.enter(b"d", dir).unwrap();
        }
        drop(way.here().create(b"file").unwrap());
        drop(way);
        let copied = std::thread::Builder::new().stack_size(128 << 10).spawn(move || {
            copy_tree(&top, b"d", &top, b"copy").unwrap();
            let mut way = Descent::below(&top);
            for level in 0..DEPTH {
                let name = if level == 0 { &b"copy"[..] } else { b"d" };
                let dir = way.here().dir(name).unwrap();
                assert_eq!(dir.itself().unwrap().mode, Mode::of(0o750));
                way.enter(name, dir).unwrap();
            }
            assert_eq!(way.here().names().unwrap(), [b"file".to_vec()]);
            drop(way);
            top.remove_tree(b"d").unwrap();
            top.remove_tree(b"copy").unwrap();
        });
        copied.unwrap().join().unwrap();
    }
}
