//! Lays a plan out over the disk: the physical path, domain, staged name and switch order of every name.

use std::collections::BTreeMap;

use crate::format::journal::{Identity, Op, OpKind};
use crate::ledgers::{LedgerDraft, Ledgers};
use crate::plan::{Action, Change, DirectoryAttributes, NewObject, Plan, RecordChange, TreeFile, UndoPart};
use crate::transaction::error::Cause;
use crate::transaction::objects::dirs::{Dirs, is_replaceable_hint};
use crate::transaction::objects::identity::{encoded, identity, is_layered};
use crate::transaction::objects::rename_support::RenameSupport;
use crate::transaction::stage::domains::{OpenDomain, OpenDomains};
use patchadm_rootfs::{Dir, Resolver, Root};
use patchadm_rootfs::{Inode, Live, LiveKind, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};
use patchadm_svr4::places;

/// One name that changes.
#[derive(Debug)]
pub(crate) struct LayoutItem<'p> {
    /// The op for the journal. Its new identity is filled in once the object is staged.
    pub(crate) op: Op,
    /// The object or record to stage, if any.
    pub(crate) new: Option<ToStage<'p>>,
    /// The live object of a package at the path, as seen by the survey.
    pub(crate) live: Option<&'p Live>,
    /// The path in the plan.
    pub(crate) client: ObjectPath,
    /// The path below the staged subtree of another item that is published with it. Such an item has no op of its
    /// own.
    pub(crate) inside: Option<Box<[u8]>>,
    /// The position in the switch.
    rank: (u8, usize),
}

impl<'p> LayoutItem<'p> {
    /// Returns the object of a package that the item stages, if any.
    pub(crate) fn object(&self) -> Option<&'p NewObject> {
        match self.new {
            Some(ToStage::Object(new)) => Some(new),
            _ => None,
        }
    }
}

/// What an item stages.
#[derive(Debug)]
pub(crate) enum ToStage<'p> {
    /// An object of a package.
    Object(&'p NewObject),
    /// A record with these bytes.
    Bytes(&'p [u8], Mode, &'p Option<Timestamp>),
    /// A record directory with its files.
    Tree(&'p [TreeFile]),
    /// A missing directory above a record.
    Directory,
    /// The merged `contents`.
    Contents,
    /// The stamp of the merged `contents`.
    ContentsStamp,
    /// A ledger. Its lines are known once the undo archives are written.
    Ledger(Box<dyn LedgerDraft + 'p>),
    /// A file that follows the undo archive with this index in the plan.
    Undo(usize, &'p UndoPart),
    /// New attributes of an object that stays.
    Attributes(&'p DirectoryAttributes),
}

/// All items, in the order of the switch.
#[derive(Debug)]
pub(crate) struct Layout<'p> {
    /// The items. Folded ones follow the item they are staged in.
    pub(crate) items: Vec<LayoutItem<'p>>,
    /// The places of the items, in the order of their paths in the plan.
    by_path: Vec<usize>,
    /// The changes of the plan.
    changes: &'p [Box<Change>],
}

impl Layout<'_> {
    /// Returns the place of the item of a path of the plan, as the items were laid out.
    pub(crate) fn place_of(&self, path: &ObjectPath) -> Option<usize> {
        let client = |place: &usize| self.items.get(*place).map(|item| &item.client);
        let found = self.by_path.partition_point(|place| client(place) <= Some(path)).checked_sub(1)?;
        self.by_path.get(found).copied().filter(|place| client(place) == Some(path))
    }

    /// Returns the package of a path of the plan.
    pub(crate) fn package_of(&self, path: &ObjectPath) -> Option<&PkgInst> {
        self.changes.iter().find(|change| change.path == *path).map(|change| &change.package)
    }
}

/// The order of the switch: new objects, replaced ones (dynamic loader, libc, libraries, the rest), attributes,
/// deletions, and the records last, `contents` first among them.
mod turn {
    pub(crate) const ADD: u8 = 0;
    pub(crate) const REPLACE: u8 = 1;
    pub(crate) const ATTRIBUTES: u8 = 5;
    pub(crate) const DELETE: u8 = 6;
    pub(crate) const CONTENTS: u8 = 7;
    pub(crate) const RECORD: u8 = 8;
    pub(crate) const REMOVE_DIRECTORY: u8 = 9;
}

/// A directory whose type changes, together with everything below it.
struct Fold {
    item: usize,
    becomes_directory: bool,
}

pub(crate) struct LayoutBuilder<'a, 'p> {
    resolver: Resolver<'a>,
    root: &'a Root,
    /// The prefix of staged names.
    prefix: &'a str,
    dirs: Dirs,
    domains: &'a mut OpenDomains,
    items: Vec<LayoutItem<'p>>,
    /// The directory of the last target, with its domain and inode.
    last: Option<(ObjectPath, usize, Inode)>,
    /// The directories made by the run, with their domains.
    made: BTreeMap<ObjectPath, usize>,
    folds: BTreeMap<ObjectPath, Fold>,
}

/// Lays out `plan`. Staged names begin with `prefix`, which distinguishes the batches of one run.
pub(crate) fn lay_out<'p>(
    root: &Root,
    domains: &mut OpenDomains,
    plan: &'p Plan,
    prefix: &str,
    ledgers: &dyn Ledgers,
) -> Result<Layout<'p>, Cause> {
    let mut builder = LayoutBuilder {
        resolver: root.resolver(),
        root,
        prefix,
        dirs: Dirs::new(root),
        domains,
        items: Vec::with_capacity(plan.changes.len() + plan.records.len() + 2),
        last: None,
        made: BTreeMap::new(),
        folds: BTreeMap::new(),
    };
    for change in &plan.changes {
        builder.change(change)?;
    }
    if !plan.contents.is_empty() {
        builder.contents()?;
    }
    for record in &plan.records {
        builder.record(record, plan, ledgers)?;
    }
    Ok(builder.finish(&plan.changes))
}

impl<'p> LayoutBuilder<'_, 'p> {
    fn finish(self, changes: &'p [Box<Change>]) -> Layout<'p> {
        let mut items = self.items;
        // Stable: adds stay sorted by path, so parents come first; folded items keep the turn of their subtree.
        // By cached keys they are sorted in place.
        items.sort_by_cached_key(|item| item.rank);
        let mut by_path: Vec<usize> = (0..items.len()).collect();
        // Stable: of two items with one path the last one counts.
        by_path.sort_by(|one, other| items[*one].client.cmp(&items[*other].client));
        Layout { items, by_path, changes }
    }

    fn change(&mut self, change: &'p Change) -> Result<(), Cause> {
        if !self.folds.is_empty()
            && let Some(above) = change.path.ancestors().find(|above| self.folds.contains_key(above))
        {
            return self.folded(change, &above);
        }
        let physical = self.resolver.locate(&change.path)?;
        let (domain, parent) = self.domain_of(&physical)?;
        let (kind, new, rank) = match &change.action {
            Action::Add(new) => (OpKind::Add, Some(ToStage::Object(new)), turn::ADD),
            Action::Replace(new) => {
                (OpKind::Replace, Some(ToStage::Object(new)), turn::REPLACE + library_rank(physical.name()))
            }
            Action::Delete => (OpKind::Delete, None, turn::DELETE),
            Action::Attributes(new) => (OpKind::Attr, Some(ToStage::Attributes(new)), turn::ATTRIBUTES),
            Action::RemoveDirectory => (OpKind::Rmdir, None, turn::REMOVE_DIRECTORY),
        };
        let stage = format!("o/{}{}", self.prefix, self.items.len());
        let old = self.old_of(change, &physical)?;
        let op = Op { parent, old, ..Op::new(kind, physical.clone(), domain, stage) };
        if let Action::Add(NewObject { body: crate::plan::Body::Directory, .. }) = change.action {
            self.made.insert(physical, domain);
        }
        self.note_fold(change, domain)?;
        self.push(LayoutItem {
            op,
            new,
            live: change.old.as_deref(),
            client: change.path.clone(),
            inside: None,
            rank: (rank, self.items.len()),
        });
        Ok(())
    }

    /// Notes a replacement that turns a directory into something else, or the reverse. It takes the whole subtree
    /// along, which only an exchange can do atomically.
    fn note_fold(&mut self, change: &Change, domain: usize) -> Result<(), Cause> {
        let Action::Replace(new) = &change.action else { return Ok(()) };
        let becomes_directory = matches!(new.body, crate::plan::Body::Directory);
        let was_directory = change.old.as_deref().is_some_and(Live::is_directory);
        if becomes_directory != was_directory {
            if let Some(reason) = cannot_turn(self.domains.get(domain)?, was_directory)? {
                return Err(Cause::Unsupported { path: self.root.show(&change.path), reason });
            }
            let fold = Fold { item: self.items.len(), becomes_directory };
            self.folds.insert(change.path.clone(), fold);
        }
        Ok(())
    }

    /// Adds a change below a directory whose type changes.
    fn folded(&mut self, change: &'p Change, at: &ObjectPath) -> Result<(), Cause> {
        let Some(fold) = self.folds.get(at) else { return Ok(()) };
        let (Action::Add(new) | Action::Replace(new)) = &change.action else {
            // What is taken away below a directory goes into the stage together with it.
            return Ok(());
        };
        if !fold.becomes_directory {
            return Err(Cause::Internal(format!("{} would lie below {at}", change.path)));
        }
        let above = &self.items[fold.item];
        let below = &change.path.as_bytes()[at.as_bytes().len()..];
        let physical = above.op.path.join(below).map_err(|error| Cause::Internal(error.to_string()))?;
        let op = Op { path: physical, old: None, ..above.op.clone() };
        let (rank, inside) = (above.rank, Some(below[1..].into()));
        self.push(LayoutItem {
            op,
            new: Some(ToStage::Object(new)),
            live: None,
            client: change.path.clone(),
            inside,
            rank,
        });
        Ok(())
    }

    /// Returns the identity of the object seen by the survey; for a directory, that of the current one, with its
    /// attributes.
    fn old_of(&mut self, change: &Change, physical: &ObjectPath) -> Result<Option<Box<Identity>>, Cause> {
        let Some(live) = &change.old else { return Ok(None) };
        let Some(dir) = self.dirs.parent(physical)? else {
            return Err(Cause::Changed(self.root.show(&change.path)));
        };
        let seen = dir.look(physical.name())?.ok_or_else(|| Cause::Changed(self.root.show(&change.path)))?;
        let is_touched = if self.domains.is_second_try() {
            (seen.mode, seen.uid, seen.gid, seen.mtime) != (live.mode, live.uid, live.gid, live.mtime)
                || live.size().is_some_and(|size| size != seen.size)
        } else {
            seen.ctime != live.ctime
        };
        if seen.inode != live.inode || (!live.is_directory() && is_touched) {
            return Err(Cause::Changed(self.root.show(&change.path)));
        }
        let (b3, target) = match &live.kind {
            LiveKind::Regular { b3, .. } => (Some(*b3), None),
            LiveKind::Symlink(target) => (None, Some(target.as_slice())),
            _ => (None, None),
        };
        let mut old = identity(&seen, b3, target);
        if live.is_directory() {
            old.xattrs = Some(encoded(&live.xattrs));
        }
        Ok(Some(Box::new(old)))
    }

    fn contents(&mut self) -> Result<(), Cause> {
        self.write_record(&places::contents(), ToStage::Contents, turn::CONTENTS)?;
        let stamp = places::contents_stamp();
        let physical = self.parents(&stamp)?;
        match self.dirs.parent(&physical)? {
            Some(dir) if !is_replaceable_hint(&dir, physical.name())? => Ok(()),
            _ => self.write_record(&stamp, ToStage::ContentsStamp, turn::CONTENTS),
        }
    }

    fn record(&mut self, record: &'p RecordChange, plan: &Plan, ledgers: &dyn Ledgers) -> Result<(), Cause> {
        match record {
            RecordChange::Write { path, bytes, mode, mtime } => {
                self.write_record(path, ToStage::Bytes(bytes, *mode, mtime), turn::RECORD)
            }
            RecordChange::AddTree { path, files } => {
                let physical = self.parents(path)?;
                let mut item = self.record_item(OpKind::Add, path, physical)?;
                item.op.whole = true;
                item.new = Some(ToStage::Tree(files));
                self.push(item);
                Ok(())
            }
            RecordChange::RemoveFile(path) | RecordChange::RemoveTree(path) => {
                let physical = self.resolver.locate(path)?;
                let mut item = self.record_item(OpKind::Delete, path, physical)?;
                if item.op.old.is_none() {
                    return Err(Cause::Changed(self.root.show(path)));
                }
                item.op.whole = matches!(record, RecordChange::RemoveTree(_));
                if item.op.whole && is_layered(&self.domains.get(item.op.domain)?.dir)? {
                    return self.remove_piecemeal(path);
                }
                self.push(item);
                Ok(())
            }
            RecordChange::Move { from, to } => {
                let physical = self.resolver.locate(from)?;
                let to = self.resolver.locate(to)?;
                let mut item = self.record_item(OpKind::Move, from, physical)?;
                item.op.to = Some(to);
                self.push(item);
                Ok(())
            }
            RecordChange::Ledger(change) => match ledgers.draft(self.root, plan, change)? {
                Some(draft) if !draft.is_empty() => {
                    self.write_record(&change.path, ToStage::Ledger(draft), turn::RECORD)
                }
                Some(draft) if draft.is_there() => {
                    let physical = self.resolver.locate(&change.path)?;
                    let item = self.record_item(OpKind::Delete, &change.path, physical)?;
                    self.push(item);
                    Ok(())
                }
                Some(_) | None => Ok(()),
            },
            RecordChange::Undo { path, archive, part } => {
                self.write_record(path, ToStage::Undo(*archive, part), turn::RECORD)
            }
        }
    }

    /// Removes a record directory that cannot be renamed because a lower layer of an overlayfs has it: its files one
    /// by one, and the directories, once empty, after the commit.
    fn remove_piecemeal(&mut self, path: &ObjectPath) -> Result<(), Cause> {
        let physical = self.resolver.locate(path)?;
        let Some(dir) = self.dirs.get(&physical)? else {
            let item = self.record_item(OpKind::Delete, path, physical)?;
            self.push(item);
            return Ok(());
        };
        for name in dir.names()? {
            let inner = path.join(&name).map_err(|error| Cause::Internal(error.to_string()))?;
            self.remove_piecemeal(&inner)?;
        }
        let mut item = self.record_item(OpKind::Rmdir, path, physical)?;
        item.rank.0 = turn::REMOVE_DIRECTORY;
        self.push(item);
        Ok(())
    }

    /// Replaces a record file, or adds it together with the missing directories above it.
    fn write_record(&mut self, path: &ObjectPath, new: ToStage<'p>, rank: u8) -> Result<(), Cause> {
        let physical = self.parents(path)?;
        let mut item = self.record_item(OpKind::Replace, path, physical)?;
        match &item.op.old {
            None => item.op.kind = OpKind::Add,
            Some(old) if old.file_type == 'f' => {}
            // Nobody goes by a stamp that is something else.
            Some(_) if matches!(new, ToStage::ContentsStamp) => {}
            // The plan was made from a file, so this is not what it was made from.
            Some(_) => return Err(Cause::Changed(self.root.show(path))),
        }
        item.new = Some(new);
        item.rank.0 = rank;
        self.push(item);
        Ok(())
    }

    fn record_item(
        &mut self,
        kind: OpKind,
        path: &ObjectPath,
        physical: ObjectPath,
    ) -> Result<LayoutItem<'p>, Cause> {
        let (domain, parent) = self.domain_of(&physical)?;
        let old = match self.dirs.parent(&physical)? {
            // The merge knows or takes the digest of a long file.
            Some(dir) if path.as_bytes() == places::CONTENTS.as_bytes() => {
                dir.look(physical.name())?.map(|seen| Box::new(identity(&seen, None, None)))
            }
            Some(dir) => live_identity(&dir, physical.name())?,
            None => None,
        };
        let number = self.items.len();
        let stage = format!("db/{}{number}", self.prefix);
        let op = Op { parent, old, db: true, ..Op::new(kind, physical, domain, stage) };
        Ok(LayoutItem {
            op,
            new: None,
            live: None,
            client: path.clone(),
            inside: None,
            rank: (turn::RECORD, number),
        })
    }

    /// Adds the missing directories above a record, and returns the record's physical path.
    fn parents(&mut self, path: &ObjectPath) -> Result<ObjectPath, Cause> {
        let physical = self.resolver.locate(path)?;
        self.must_lead_somewhere(path)?;
        let mut missing = Vec::new();
        for above in physical.ancestors() {
            if self.made.contains_key(&above) || self.dirs.get(&above)?.is_some() {
                break;
            }
            missing.push(above);
        }
        for above in missing.into_iter().rev() {
            let mut item = self.record_item(OpKind::Add, &above, above.clone())?;
            self.made.insert(above, item.op.domain);
            item.new = Some(ToStage::Directory);
            self.push(item);
        }
        Ok(physical)
    }

    /// Refuses a path on which a symbolic link leads nowhere. Directories are made only where the path itself says;
    /// otherwise, whoever made that link in the meantime would decide where the record goes.
    fn must_lead_somewhere(&mut self, path: &ObjectPath) -> Result<(), Cause> {
        for above in path.ancestors() {
            let followed = self.resolver.locate_dir(&above)?;
            if self.made.contains_key(&followed) || self.dirs.get(&followed)?.is_some() {
                break;
            }
            if followed != self.resolver.locate(&above)? {
                return Err(Cause::Changed(self.root.show(&above)));
            }
        }
        Ok(())
    }

    fn push(&mut self, item: LayoutItem<'p>) {
        self.items.push(item);
    }

    /// Returns the domain of a target: that of its directory, or of the nearest existing one above it.
    fn domain_of(&mut self, physical: &ObjectPath) -> Result<(usize, Option<Inode>), Cause> {
        let parent = physical
            .parent_bytes()
            .ok_or_else(|| Cause::Internal("the root directory itself cannot be replaced".to_owned()))?;
        if let Some(&domain) = self.made.get(parent) {
            return Ok((domain, None));
        }
        if let Some((of, domain, inode)) = &self.last
            && of.as_bytes() == parent
        {
            return Ok((*domain, Some(*inode)));
        }
        let parent = physical.parent().unwrap_or_else(ObjectPath::root);
        let Some(dir) = self.dirs.get(&parent)? else { return Err(Cause::Changed(self.root.show(&parent))) };
        let (domain, inode) = (self.domains.of(&dir)?, dir.itself()?.inode);
        self.last = Some((parent, domain, inode));
        Ok((domain, Some(inode)))
    }
}

/// Returns the reason why no object of a domain can change its type, if there is one.
fn cannot_turn(domain: &OpenDomain, was_directory: bool) -> Result<Option<&'static str>, Cause> {
    let can_exchange = RenameSupport::of(&domain.entry).exchange;
    Ok(match was_directory {
        true if !can_exchange => Some(
            "would become something else than a directory, and its file system cannot exchange two names",
        ),
        true if is_layered(&domain.dir)? => {
            Some("would become something else than a directory, and overlayfs cannot exchange directories")
        }
        false if !can_exchange => {
            Some("would become a directory, and its file system cannot exchange two names")
        }
        _ => None,
    })
}

/// Returns the identity of a record, with its digest.
fn live_identity(dir: &Dir, name: &[u8]) -> Result<Option<Box<Identity>>, Cause> {
    let Some(live) = dir.live(name)? else { return Ok(None) };
    let Some(seen) = dir.look(name)? else { return Ok(None) };
    let b3 = match live.kind {
        LiveKind::Regular { b3, .. } => Some(b3),
        _ => None,
    };
    Ok(Some(Box::new(identity(&seen, b3, None))))
}

/// Ranks replaced objects: the dynamic loader first, then libc, other shared libraries and the rest, so that a
/// program started in between finds libraries that fit together as far as order can ensure it.
fn library_rank(name: &[u8]) -> u8 {
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    match name {
        _ if !has(b".so") => 3,
        _ if name.starts_with(b"ld-") || name.starts_with(b"ld.so") => 0,
        _ if name.starts_with(b"libc.so") || name.starts_with(b"libc-") => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_goes_first_then_libc_then_libraries_then_the_rest() {
        let order = ["ld-linux-x86-64.so.2", "libc.so.6", "libssl.so.3", "openssl"];
        let ranks: Vec<u8> = order.iter().map(|name| library_rank(name.as_bytes())).collect();
        assert_eq!(ranks, [0, 1, 2, 3]);
    }
}
