//! A plan laid out over the disk: for every name its physical place, its domain, its place in the stage, its turn.

use std::collections::{BTreeMap, HashMap};

use super::dirs::Dirs;
use super::error::Cause;
use super::identity::{encoded, identity, is_layered};
use super::means::Means;
use super::sites::{Site, Sites};
use crate::database::places;
use crate::format::journal::{Identity, Op, OpKind};
use crate::ledgers::{LedgerDraft, Ledgers};
use crate::package::{Inode, Live, LiveKind, Mode, ObjectPath, PkgInst, Timestamp};
use crate::plan::{Action, Change, DirectoryAttributes, NewObject, Plan, RecordChange, TreeFile};
use crate::root::{Dir, Resolver, Root};

/// One name that changes.
#[derive(Debug)]
pub(super) struct Item<'p> {
    /// The op as it goes into the journal; its new identity is filled in when the object has been staged.
    pub(super) op: Op,
    /// What is to be staged, if anything.
    pub(super) new: Option<New<'p>>,
    /// The object of a package that stands there, as the survey saw it.
    pub(super) live: Option<&'p Live>,
    /// The path as the plan has it.
    pub(super) client: ObjectPath,
    /// Its path below the staged subtree of another item, with which it is published: there is no op for it.
    pub(super) inside: Option<Vec<u8>>,
    /// Its turn in the switch.
    rank: (u8, usize),
}

/// What is staged for an item.
#[derive(Debug)]
pub(super) enum New<'p> {
    /// An object of a package.
    Object(&'p NewObject),
    /// A record with these bytes.
    Bytes(&'p [u8], Mode, Option<Timestamp>),
    /// A record directory with its files.
    Tree(&'p [TreeFile]),
    /// A directory that is missing above a record.
    Directory,
    /// The merged `contents`.
    Contents,
    /// What is known of it, when it has been staged.
    ContentsStamp,
    /// A ledger, whose lines are known when the undo archives are.
    Ledger(Box<dyn LedgerDraft + 'p>),
    /// New attributes of an object that stays.
    Attributes(&'p DirectoryAttributes),
}

/// All items, in the order of the switch, and what comes after the commit.
#[derive(Debug)]
pub(super) struct Layout<'p> {
    /// The items; folded ones stand behind the item that they are staged in.
    pub(super) items: Vec<Item<'p>>,
    /// The item of each path of the plan.
    pub(super) by_path: HashMap<ObjectPath, usize>,
    /// Whose object each path is, for messages.
    pub(super) packages: HashMap<ObjectPath, PkgInst>,
}

/// Turns in the switch: new objects, then replaced ones (the dynamic loader, libc, libraries, the rest), attributes,
/// deletions, and the records last, `contents` first among them.
mod turn {
    pub(super) const ADD: u8 = 0;
    pub(super) const REPLACE: u8 = 1;
    pub(super) const ATTRIBUTES: u8 = 5;
    pub(super) const DELETE: u8 = 6;
    pub(super) const CONTENTS: u8 = 7;
    pub(super) const RECORD: u8 = 8;
    pub(super) const REMOVE_DIRECTORY: u8 = 9;
}

/// Where the physical paths of `contents` and the like begin.
const CONTENTS: &[u8] = b"/var/sadm/install/contents";

/// A directory whose type changes: everything below it moves with it.
struct Fold {
    item: usize,
    becomes_directory: bool,
}

pub(super) struct Builder<'a, 'p> {
    resolver: Resolver<'a>,
    root: &'a Root,
    /// What the names in the stage begin with.
    prefix: &'a str,
    dirs: Dirs,
    sites: &'a mut Sites,
    items: Vec<Item<'p>>,
    by_path: HashMap<ObjectPath, usize>,
    /// The directory of the last target, with its domain and inode.
    last: Option<(ObjectPath, usize, Inode)>,
    /// Directories that the run makes, with their domain.
    made: BTreeMap<ObjectPath, usize>,
    folds: BTreeMap<ObjectPath, Fold>,
}

/// Lays `plan` out. Names in the stage begin with `prefix`, which tells the batches of one run apart.
pub(super) fn lay_out<'p>(
    root: &Root,
    sites: &mut Sites,
    plan: &'p Plan,
    prefix: &str,
    ledgers: &dyn Ledgers,
) -> Result<Layout<'p>, Cause> {
    let mut builder = Builder {
        resolver: root.resolver(),
        root,
        prefix,
        dirs: Dirs::new(root),
        sites,
        items: Vec::new(),
        by_path: HashMap::new(),
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
    let packages = plan.changes.iter().map(|change| (change.path.clone(), change.package.clone())).collect();
    Ok(builder.finish(packages))
}

impl<'p> Builder<'_, 'p> {
    fn finish(self, packages: HashMap<ObjectPath, PkgInst>) -> Layout<'p> {
        let mut items = self.items;
        // Stable: adds stay sorted by path, so parents come first; folded items keep the turn of their subtree.
        items.sort_by_key(|item| item.rank);
        let by_path = items.iter().enumerate().map(|(index, item)| (item.client.clone(), index)).collect();
        Layout { items, by_path, packages }
    }

    fn change(&mut self, change: &'p Change) -> Result<(), Cause> {
        if let Some(above) = change.path.ancestors().find(|above| self.folds.contains_key(above)) {
            return self.folded(change, &above);
        }
        let physical = self.resolver.locate(&change.path)?;
        let (domain, parent) = self.domain_of(&physical)?;
        let (kind, new, rank) = match &change.action {
            Action::Add(new) => (OpKind::Add, Some(New::Object(new)), turn::ADD),
            Action::Replace(new) => {
                (OpKind::Replace, Some(New::Object(new)), turn::REPLACE + library_rank(physical.name()))
            }
            Action::Delete => (OpKind::Delete, None, turn::DELETE),
            Action::Attributes(new) => (OpKind::Attr, Some(New::Attributes(new)), turn::ATTRIBUTES),
            Action::RemoveDirectory => (OpKind::Rmdir, None, turn::REMOVE_DIRECTORY),
        };
        let stage = format!("o/{}{}", self.prefix, self.items.len());
        let old = self.old_of(change, &physical)?;
        let op = Op {
            kind,
            path: physical.clone(),
            to: None,
            domain,
            stage,
            parent,
            old,
            new: None,
            copy: None,
            db: false,
            whole: false,
            undo: None,
            touched: None,
            editable: false,
        };
        if let Action::Add(NewObject { body: crate::plan::Body::Directory, .. }) = change.action {
            self.made.insert(physical, domain);
        }
        self.note_fold(change, domain)?;
        self.push(Item {
            op,
            new,
            live: change.old.as_ref(),
            client: change.path.clone(),
            inside: None,
            rank: (rank, self.items.len()),
        });
        Ok(())
    }

    /// A replacement that turns a directory into something else, or the reverse, takes the whole subtree along. Only an
    /// exchange can do that at once.
    fn note_fold(&mut self, change: &Change, domain: usize) -> Result<(), Cause> {
        let Action::Replace(new) = &change.action else { return Ok(()) };
        let becomes_directory = matches!(new.body, crate::plan::Body::Directory);
        let was_directory = change.old.as_ref().is_some_and(Live::is_directory);
        if becomes_directory != was_directory {
            if let Some(reason) = cannot_turn(self.sites.get(domain)?, was_directory)? {
                return Err(Cause::Unsupported { path: self.root.show(&change.path), reason });
            }
            let fold = Fold { item: self.items.len(), becomes_directory };
            self.folds.insert(change.path.clone(), fold);
        }
        Ok(())
    }

    /// A change below a directory whose type changes.
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
        let (rank, inside) = (above.rank, Some(below[1..].to_vec()));
        self.push(Item {
            op,
            new: Some(New::Object(new)),
            live: None,
            client: change.path.clone(),
            inside,
            rank,
        });
        Ok(())
    }

    /// The identity of what the survey saw; for a directory what is there, its attributes included.
    fn old_of(&mut self, change: &Change, physical: &ObjectPath) -> Result<Option<Identity>, Cause> {
        let Some(live) = &change.old else { return Ok(None) };
        let Some(dir) = self.dirs.parent(physical)? else {
            return Err(Cause::Changed(self.root.show(&change.path)));
        };
        let seen = dir.look(physical.name())?.ok_or_else(|| Cause::Changed(self.root.show(&change.path)))?;
        let is_touched = if self.sites.is_second_try() {
            (seen.mode, seen.uid, seen.gid, seen.mtime) != (live.mode, live.uid, live.gid, live.mtime)
                || live.size().is_some_and(|size| size != seen.size)
        } else {
            seen.ctime != live.ctime
        };
        if seen.inode != live.inode || (!live.is_directory() && is_touched) {
            return Err(Cause::Changed(self.root.show(&change.path)));
        }
        let (sha256, target) = match &live.kind {
            LiveKind::Regular { sha256, .. } => (Some(*sha256), None),
            LiveKind::Symlink(target) => (None, Some(target.as_slice())),
            _ => (None, None),
        };
        let mut old = identity(&seen, sha256, target);
        if live.is_directory() {
            old.xattrs = Some(encoded(&live.xattrs));
        }
        Ok(Some(old))
    }

    fn contents(&mut self) -> Result<(), Cause> {
        let path = ObjectPath::new(CONTENTS).map_err(|error| Cause::Internal(error.to_string()))?;
        self.write_record(&path, New::Contents, turn::CONTENTS)?;
        self.write_record(&places::contents_stamp(), New::ContentsStamp, turn::CONTENTS)
    }

    fn record(&mut self, record: &'p RecordChange, plan: &Plan, ledgers: &dyn Ledgers) -> Result<(), Cause> {
        match record {
            RecordChange::Write { path, bytes, mode, mtime } => {
                self.write_record(path, New::Bytes(bytes, *mode, *mtime), turn::RECORD)
            }
            RecordChange::AddTree { path, files } => {
                let physical = self.parents(path)?;
                let mut item = self.record_item(OpKind::Add, path, physical)?;
                item.op.whole = true;
                item.new = Some(New::Tree(files));
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
                if item.op.whole && is_layered(&self.sites.get(item.op.domain)?.dir)? {
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
                    self.write_record(&change.path, New::Ledger(draft), turn::RECORD)
                }
                Some(draft) if draft.is_there() => {
                    let physical = self.resolver.locate(&change.path)?;
                    let item = self.record_item(OpKind::Delete, &change.path, physical)?;
                    self.push(item);
                    Ok(())
                }
                Some(_) | None => Ok(()),
            },
        }
    }

    /// A directory of records that cannot be renamed, because a lower layer of an overlayfs has it: its files go one by
    /// one, and the directories when they are empty, after the commit.
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

    /// A record file: replaced where it is there, else made together with the directories above it.
    fn write_record(&mut self, path: &ObjectPath, new: New<'p>, rank: u8) -> Result<(), Cause> {
        let physical = self.parents(path)?;
        let mut item = self.record_item(OpKind::Replace, path, physical)?;
        match &item.op.old {
            None => item.op.kind = OpKind::Add,
            Some(old) if old.file_type == 'f' => {}
            // Nobody goes by a stamp that is something else; a directory may have something in it.
            Some(old) if matches!(new, New::ContentsStamp) => {
                if old.file_type == 'd' {
                    let reason = "is a directory where the stamp of contents belongs";
                    return Err(Cause::Unsupported { path: self.root.show(path), reason });
                }
            }
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
    ) -> Result<Item<'p>, Cause> {
        let (domain, parent) = self.domain_of(&physical)?;
        let old = match self.dirs.parent(&physical)? {
            // The merge knows or takes the digest of a long file.
            Some(dir) if path.as_bytes() == CONTENTS => {
                dir.look(physical.name())?.map(|seen| identity(&seen, None, None))
            }
            Some(dir) => live_identity(&dir, physical.name())?,
            None => None,
        };
        let number = self.items.len();
        let op = Op {
            kind,
            path: physical,
            to: None,
            domain,
            stage: format!("db/{}{number}", self.prefix),
            parent,
            old,
            new: None,
            copy: None,
            db: true,
            whole: false,
            undo: None,
            touched: None,
            editable: false,
        };
        Ok(Item {
            op,
            new: None,
            live: None,
            client: path.clone(),
            inside: None,
            rank: (turn::RECORD, number),
        })
    }

    /// Sees to it that the directory of a record will be there, and says where the record will be.
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
            item.new = Some(New::Directory);
            self.push(item);
        }
        Ok(physical)
    }

    /// Directories are made where the path of a record says, never where a symbolic link on it leads to nothing: whoever
    /// put that link there in the meantime would decide where the record is.
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

    fn push(&mut self, item: Item<'p>) {
        self.by_path.insert(item.client.clone(), self.items.len());
        self.items.push(item);
    }

    /// The domain of a target: that of its directory, or of the nearest one above that is there already.
    fn domain_of(&mut self, physical: &ObjectPath) -> Result<(usize, Option<Inode>), Cause> {
        let parent = physical
            .parent()
            .ok_or_else(|| Cause::Internal("the root directory itself cannot be replaced".to_owned()))?;
        if let Some(&domain) = self.made.get(&parent) {
            return Ok((domain, None));
        }
        if let Some((of, domain, inode)) = &self.last
            && *of == parent
        {
            return Ok((*domain, Some(*inode)));
        }
        let Some(dir) = self.dirs.get(&parent)? else { return Err(Cause::Changed(self.root.show(&parent))) };
        let (domain, inode) = (self.sites.of(&dir)?, dir.itself()?.inode);
        self.last = Some((parent, domain, inode));
        Ok((domain, Some(inode)))
    }
}

/// Why nothing can change its type in a domain, if there is a reason.
fn cannot_turn(site: &Site, was_directory: bool) -> Result<Option<&'static str>, Cause> {
    let can_exchange = Means::of(&site.domain).exchange;
    Ok(match was_directory {
        true if !can_exchange => Some(
            "would become something else than a directory, and its file system cannot exchange two names",
        ),
        true if is_layered(&site.dir)? => {
            Some("would become something else than a directory, and overlayfs cannot exchange directories")
        }
        false if !can_exchange => {
            Some("would become a directory, and its file system cannot exchange two names")
        }
        _ => None,
    })
}

/// The identity of a record, with its digest.
fn live_identity(dir: &Dir, name: &[u8]) -> Result<Option<Identity>, Cause> {
    let Some(live) = dir.live(name)? else { return Ok(None) };
    let Some(seen) = dir.look(name)? else { return Ok(None) };
    let sha256 = match live.kind {
        LiveKind::Regular { sha256, .. } => Some(sha256),
        _ => None,
    };
    Ok(Some(identity(&seen, sha256, None)))
}

/// Among replaced objects the dynamic loader comes first, then libc, then other shared libraries, then the rest: what
/// a program started in between finds fits together as far as order can see to it.
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
