//! Safety copies of everything that scripts may touch: restoring one is a rename, whatever scripts did. Current states
//! decide each step, so a rollback can be repeated. A file not known to come from the run is foreign, and kept as
//! `PATH.edited-<run>`, unless a script was running; in doubt, edited file types are foreign.

use std::collections::{BTreeSet, HashMap};

use rustix::io::Errno;

use crate::format::journal::{Identity, Op, OpKind};
use crate::format::manifest::encode;
use crate::transaction::error::Cause;
use crate::transaction::journal::run_notes::RunNotes;
use crate::transaction::objects::attributes::{set_attributes, set_attributes_of_directory};
use crate::transaction::objects::copies::{
    copy_object, copy_object_until, copy_tree_until, digest_of, make_again,
};
use crate::transaction::objects::identity::{ObjectState, encoded, identity, state};
use crate::transaction::objects::names::{Dirs, is_one_object, is_replaceable_hint, link};
use crate::transaction::recover::left_to_owner::OwnerClaim;
use crate::transaction::settings::RunWatch;
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::switch::op_runner::OpRunner;
use patchadm_rootfs::{Dir, FileType, Inode, LiveKind, ObjectStatus, Resolver, Root};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProtectedPaths {
    /// Existing or not.
    pub objects: Vec<ProtectedObject>,
    /// Directories with everything in them: `var/sadm/pkg/<PKG>`, `var/sadm/patch/<id>`.
    pub trees: Vec<ObjectPath>,
    /// For example `contents`.
    pub files: Vec<ObjectPath>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProtectedObject {
    /// Client path.
    pub path: ObjectPath,
    /// Administrators edit it (types `e` and `v`).
    pub editable: bool,
}

pub(crate) struct SafetyCopies<'a> {
    domains: &'a OpenDomains,
    ops: HashMap<&'a ObjectPath, &'a Op>,
}

impl<'a> SafetyCopies<'a> {
    pub(crate) fn of(domains: &'a OpenDomains, ops: &'a [Op]) -> Self {
        let held = ops.iter().filter(|op| op.kind == OpKind::Protect && !op.db && op.old.is_some());
        Self { domains, ops: held.map(|op| (&op.path, op)).collect() }
    }

    /// Returns directory and name; `None` if there was no object.
    pub(crate) fn find(&self, physical: &ObjectPath) -> Result<Option<(Dir, Vec<u8>)>, Cause> {
        let Some(op) = self.ops.get(physical) else { return Ok(None) };
        let name = op.stage.rsplit('/').next().unwrap_or_default().as_bytes().to_vec();
        Ok(Some((self.domains.get(op.domain)?.objects.again()?, name)))
    }
}

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
        watch,
        ops: Vec::new(),
        names: HashMap::new(),
        taken: BTreeSet::new(),
    };
    // An interrupted copy also fails.
    copier.copy_all(held).or_else(|cause| watch.check().and(Err(cause)))?;
    Ok(copier.ops)
}

struct SafetyCopier<'a> {
    root: &'a Root,
    resolver: Resolver<'a>,
    dirs: Dirs,
    domains: &'a mut OpenDomains,
    watch: RunWatch<'a>,
    ops: Vec<Op>,
    names: HashMap<Inode, (usize, Vec<u8>)>,
    taken: BTreeSet<ObjectPath>,
}

impl SafetyCopier<'_> {
    fn copy_all(&mut self, held: &ProtectedPaths) -> Result<(), Cause> {
        for path in held.files.iter().chain(&held.trees) {
            self.watch.check()?;
            self.copy_with_ancestors(path, true, false)?;
            // A batch that changes one also changes the other.
            if *path == places::contents() {
                self.copy_stamp()?;
                self.copy_log()?;
            }
        }
        for object in &held.objects {
            self.watch.check()?;
            self.copy_with_ancestors(&object.path, false, object.editable)?;
        }
        self.copy_behind_links(&held.objects)
    }

    fn copy_stamp(&mut self) -> Result<(), Cause> {
        let stamp = places::contents_stamp();
        let physical = self.resolver.locate(&stamp)?;
        match self.dirs.parent(&physical)? {
            Some(dir) if !is_replaceable_hint(&dir, physical.name())? => Ok(()),
            _ => self.copy_with_ancestors(&stamp, true, false),
        }
    }

    /// The batch that writes `contents` removes this log. A log that a script writes goes with a rollback.
    fn copy_log(&mut self) -> Result<(), Cause> {
        self.copy_with_ancestors(&places::pkglog(), true, false)
    }

    /// A directory may replace a protected link; its places are empty now.
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
        // A directory that is made on the way must go again.
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
        let mut op = Op {
            db,
            editable,
            ..Op::new(OpKind::Protect, path, self.domains.of(&above, &above.itself()?)?, stage)
        };
        if let Some(dir) = self.dirs.parent(&op.path)? {
            self.copy(&dir, name.as_bytes(), &mut op)?;
        }
        self.ops.push(op);
        Ok(())
    }

    fn nearest(&mut self, physical: &ObjectPath) -> Result<std::rc::Rc<Dir>, Cause> {
        for above in physical.ancestors() {
            if let Some(dir) = self.dirs.get(&above)? {
                return Ok(dir);
            }
        }
        Err(Cause::Internal(format!("{physical} has no parent directory")))
    }

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
                copy_tree_until(dir, &name, (&stage, staged), self.watch.interrupt)?;
                op.whole = true;
                op.new = stage.look(staged)?.map(|copy| Box::new(identity(&copy, None, None)));
            }
            return Ok(());
        }
        let known = self.names.get(&seen.inode).filter(|(domain, _)| *domain == op.domain && !op.db);
        let digest = match known {
            Some((_, first)) => {
                stage.make_link(staged, &stage, first)?;
                digest_of(&stage, staged, self.watch.interrupt)?
            }
            None => copy_object_until(dir, &name, (&stage, staged), self.watch.interrupt)?,
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

impl OpRunner<'_> {
    /// Records first, so that none claims more than the tree; new objects go before old ones return. Returns causes of
    /// failures.
    pub(crate) fn put_back(&mut self) -> Vec<Cause> {
        let notes = match self.stages.first().map(RunNotes::read).transpose() {
            Ok(notes) => notes.unwrap_or_default(),
            Err(cause) => return vec![cause],
        };
        let mut failed = Vec::new();
        for db in [true, false] {
            let held = |op: &&Op| op.kind == OpKind::Protect && op.db == db;
            let mut ops: Vec<&Op> = self.journal.ops.iter().filter(held).collect();
            ops.sort_by(|a, b| a.path.cmp(&b.path));
            let news = ops.iter().rev().filter(|op| op.old.is_none()).map(|op| (*op, true));
            let olds = ops.iter().filter(|op| op.old.is_some()).map(|op| (*op, false));
            for (op, is_new) in news.chain(olds).collect::<Vec<_>>() {
                let done = if is_new { self.take_away(op, &notes) } else { self.bring_back(op, &notes) };
                failed.extend(done.err());
                self.dirs.forget();
            }
        }
        failed
    }

    fn take_away(&mut self, op: &Op, notes: &RunNotes) -> Result<(), Cause> {
        let Some(parent) = self.parent_of(&op.path)? else { return Ok(()) };
        let Some(seen) = parent.look(op.path.name())? else { return Ok(()) };
        if let Some(claim) = self.claim_on_protected(op, true) {
            return self.leave_to(&claim, op);
        }
        if seen.file_type == FileType::Directory && !op.db {
            if !parent.remove_dir(op.path.name())? {
                let shown = self.show(op);
                self.notes.push(format!("{shown} is not empty and was kept"));
            }
            return Ok(());
        }
        if !op.db && self.is_of_somebody_else(op, &seen, notes) {
            let shown = self.show(op);
            self.notes.push(format!("{shown} was made by another process; it is left unchanged"));
            return Ok(());
        }
        let (stage, staged) = self.staged(op)?;
        stage.remove_tree(&staged)?;
        let support = self.rename_support(op);
        self.with_ballast(|| support.take(&parent, op.path.name(), &stage, &staged))
    }

    fn bring_back(&mut self, op: &Op, notes: &RunNotes) -> Result<(), Cause> {
        let Some(old) = &op.old else { return Ok(()) };
        let parent = self.parent_of(&op.path)?;
        let seen = parent.as_ref().map(|parent| parent.look(op.path.name())).transpose()?.flatten();
        if let Some(claim) = self.claim_on_changed(op, parent.as_deref(), seen.as_ref())? {
            return self.leave_to(&claim, op);
        }
        let Some(parent) = parent else {
            return Err(Cause::Changed(self.show(op)));
        };
        let (stage, staged) = self.staged(op)?;
        let Some(copy) = &op.new else { return self.directory_back(op, &parent, seen.as_ref(), old, notes) };
        match &seen {
            None => self.put_copy(op, &parent)?,
            // It may look like the copy and be another file: without other names, or with a script's attributes.
            Some(seen) if is_itself(&stage, &staged, copy)? || !is_held(&parent, op.path.name(), copy)? => {
                if !op.whole && seen.inode == old.inode && op.touched.as_deref() == Some(&seen.ctime) {
                    return Ok(());
                }
                if !is_held(&stage, &staged, copy)? {
                    return Err(Cause::Internal(format!("the held copy of {} is missing", self.show(op))));
                }
                self.swap(op, &parent, notes)?;
            }
            // An interrupted rollback had done this.
            Some(_) => {}
        }
        let out = self.out_of(op, staged);
        self.keep_what_came_out(op, &stage, &out, &parent, notes)
    }

    pub(crate) fn claim_on_changed(
        &self,
        op: &Op,
        parent: Option<&Dir>,
        seen: Option<&ObjectStatus>,
    ) -> Result<Option<OwnerClaim>, Cause> {
        let is_directory = seen.is_some_and(|seen| seen.file_type == FileType::Directory);
        match (parent, seen) {
            // Directories are shared, and get attributes back.
            _ if is_directory && op.old.as_ref().is_some_and(|old| old.file_type == 'd') => Ok(None),
            (Some(parent), Some(seen)) if is_like(parent, op.path.name(), seen, op)? => Ok(None),
            _ => Ok(self.claim_on_protected(op, seen.is_some())),
        }
    }

    fn put_copy(&mut self, op: &Op, parent: &Dir) -> Result<(), Cause> {
        let (support, (stage, staged)) = (self.rename_support(op), self.staged(op)?);
        self.with_ballast(|| support.place(&stage, &staged, parent, op.path.name()))
    }

    fn out_of(&self, op: &Op, staged: Vec<u8>) -> Vec<u8> {
        if self.rename_support(op).exchange { staged } else { [&staged, &b".out"[..]].concat() }
    }

    /// Without exchange, the live object gets a second name and the copy is renamed over it; a directory's place is
    /// briefly empty.
    fn swap(&mut self, op: &Op, parent: &Dir, notes: &RunNotes) -> Result<(), Cause> {
        let (support, (stage, staged)) = (self.rename_support(op), self.staged(op)?);
        let name = op.path.name();
        if support.exchange {
            let swapped = self.with_ballast(|| stage.exchange(&staged, parent, name));
            return match swapped {
                Err(Cause::Root(error)) if op.whole && error.errno() == Some(Errno::XDEV) => {
                    restore(&stage.dir(&staged)?, &parent.dir(name)?, &stage)
                }
                other => other,
            };
        }
        let out = self.out_of(op, staged.clone());
        if !is_one_object(parent, name, &stage, &out)? {
            // An interrupted rollback had moved it out, and then another object appeared.
            self.keep_what_came_out(op, &stage, &out, parent, notes)?;
            stage.remove_tree(&out)?;
        }
        let is_directory =
            |seen: Option<ObjectStatus>| seen.is_some_and(|seen| seen.file_type == FileType::Directory);
        let any_directory = is_directory(parent.look(name)?) || is_directory(stage.look(&staged)?);
        if !any_directory && link(parent, name, &stage, &out)? {
            return self.with_ballast(|| stage.replace(&staged, parent, name));
        }
        self.with_ballast(|| support.take(parent, name, &stage, &out))?;
        self.put_copy(op, parent)
    }

    fn keep_what_came_out(
        &mut self,
        op: &Op,
        stage: &Dir,
        staged: &[u8],
        parent: &Dir,
        notes: &RunNotes,
    ) -> Result<(), Cause> {
        let Some(out) = stage.look(staged)?.filter(|_| !op.db) else { return Ok(()) };
        let is_ours = out.file_type == FileType::Directory || is_like(stage, staged, &out, op)?;
        if !is_ours && self.is_of_somebody_else(op, &out, notes) {
            self.keep_object(op, stage, staged, parent)?;
        }
        Ok(())
    }

    /// Remakes a missing directory.
    fn directory_back(
        &mut self,
        op: &Op,
        parent: &Dir,
        seen: Option<&ObjectStatus>,
        old: &Identity,
        notes: &RunNotes,
    ) -> Result<(), Cause> {
        if old.file_type != 'd' {
            return Err(Cause::Internal(format!("{} has no held copy", self.show(op))));
        }
        let (stage, staged) = self.staged(op)?;
        let name = op.path.name();
        match seen {
            None => {
                make_again(&stage, &staged, old)?;
                self.put_copy(op, parent)
            }
            Some(seen) if seen.file_type != FileType::Directory => {
                make_again(&stage, &staged, old)?;
                self.swap(op, parent, notes)
            }
            Some(seen) => {
                let mut now = identity(seen, None, None);
                now.xattrs = Some(Box::new(encoded(&parent.xattrs(name)?)));
                set_attributes(parent, name, &now, old)
            }
        }
    }

    pub(crate) fn is_of_somebody_else(&self, op: &Op, seen: &ObjectStatus, notes: &RunNotes) -> bool {
        if notes.is_ours(&op.path, seen) {
            return false;
        }
        let progress = self.journal.head.progress.as_ref();
        let running = progress.map_or(notes.script_runs, |progress| progress.script.is_some());
        !running || (op.editable && op.old.is_some())
    }
}

/// File by file: a lower layer's directory (overlayfs) cannot be exchanged. The copy stays, so this can be repeated.
fn restore(copy: &Dir, to: &Dir, stage: &Dir) -> Result<(), Cause> {
    const NEXT: &[u8] = b"next";
    for name in copy.names()? {
        let is_directory =
            |seen: Option<ObjectStatus>| seen.map(|seen| seen.file_type == FileType::Directory);
        let (wanted, there) = (is_directory(copy.look(&name)?), is_directory(to.look(&name)?));
        if there.is_some() && there != wanted {
            to.remove_tree(&name)?;
        }
        if wanted == Some(true) {
            let inner = if there == wanted { to.dir(&name)? } else { to.make_dir(&name, Mode::of(0o700))? };
            restore(&copy.dir(&name)?, &inner, stage)?;
        } else {
            stage.remove(NEXT)?;
            copy_object(copy, &name, stage, NEXT)?;
            stage.replace(NEXT, to, &name)?;
        }
    }
    for name in to.names()? {
        if copy.look(&name)?.is_none() {
            to.remove_tree(&name)?;
        }
    }
    let (mut now, mut before) = (identity(&to.itself()?, None, None), identity(&copy.itself()?, None, None));
    now.xattrs = Some(Box::new(encoded(&to.xattrs(b"")?)));
    before.xattrs = Some(Box::new(encoded(&copy.xattrs(b"")?)));
    set_attributes_of_directory(to, &now, &before)
}

pub(crate) fn is_itself(dir: &Dir, name: &[u8], copy: &Identity) -> Result<bool, Cause> {
    Ok(dir.look(name)?.is_some_and(|seen| seen.inode == copy.inode))
}

/// A directory is recognized by its inode only.
pub(crate) fn is_held(dir: &Dir, name: &[u8], copy: &Identity) -> Result<bool, Cause> {
    if copy.file_type == 'd' {
        return is_itself(dir, name, copy);
    }
    Ok(state(dir, name, None, Some(copy))? == ObjectState::New)
}

/// Ignores current attributes.
pub(crate) fn is_like(dir: &Dir, name: &[u8], seen: &ObjectStatus, op: &Op) -> Result<bool, Cause> {
    let Some(old) = op.old.as_ref().filter(|old| old.size == seen.size) else { return Ok(false) };
    Ok(match dir.live(name)?.map(|live| live.kind) {
        Some(LiveKind::Regular { b3, .. }) => old.b3 == Some(b3.into()),
        Some(LiveKind::Symlink(target)) => old.target == Some(encode(&target).into()),
        _ => old.inode == seen.inode,
    })
}
