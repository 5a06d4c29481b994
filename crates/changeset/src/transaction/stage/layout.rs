//! Maps a plan to the disk: physical path, domain, staged name and switch order of every name. Changes below an
//! exchanged directory are staged in the new directory; one op replaces theirs.

use std::collections::BTreeMap;

use crate::format::journal::{Identity, Op, OpKind};
use crate::plan::{
    Action, AttributeChange, Change, CopiedRecord, Direction, NewObject, Plan, RecordChange, TreeFile,
    UndoPart,
};
use crate::records::RecordView;
use crate::transaction::error::Cause;
use crate::transaction::objects::attributes::xattrs_before;
use crate::transaction::objects::identity::{encoded, identity, is_layered};
use crate::transaction::objects::names::{Dirs, RenameSupport, is_replaceable_hint};
use crate::transaction::settings::{LedgerDraft, Ledgers};
use crate::transaction::stage::domains::{OpenDomain, OpenDomains};
use crate::transaction::tree::survey::{TreeSurvey, survey};
use patchadm_rootfs::{Dir, Inode, Live, LiveKind, Resolver, Root, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath, PkgInst};
use patchadm_svr4::places;

#[derive(Debug)]
pub(crate) struct LayoutItem<'p> {
    /// The new identity follows after staging.
    pub(crate) op: Op,
    pub(crate) new: Option<ToStage<'p>>,
    pub(crate) live: Option<&'p Live>,
    /// As in the plan; `op` has the physical path.
    pub(crate) client: ObjectPath,
    /// Below another item's staged subtree, which is published with it; such an item has no op.
    pub(crate) inside: Option<Box<[u8]>>,
    /// Staged in a new directory in place of another object, so it inherits nothing.
    pub(crate) is_folded: bool,
    pub(crate) tree: Option<usize>,
    rank: (u8, usize),
}

impl<'p> LayoutItem<'p> {
    pub(crate) fn object(&self) -> Option<&'p NewObject> {
        match self.new {
            Some(ToStage::Object(new)) => Some(new),
            _ => None,
        }
    }

    pub(crate) fn is_made(&self) -> bool {
        let is_copied = || matches!(self.new, Some(ToStage::Attributes(_))) && self.tree.is_some();
        self.object().is_some() || is_copied()
    }
}

#[derive(Debug)]
pub(crate) enum ToStage<'p> {
    Object(&'p NewObject),
    Bytes(&'p [u8], Mode, &'p Option<Timestamp>),
    Copied(&'p CopiedRecord, Mode),
    Tree(&'p [TreeFile]),
    Directory,
    Contents,
    ContentsStamp,
    /// Its lines are known after the undo archives are written.
    Ledger(Box<dyn LedgerDraft + 'p>),
    Undo(usize, &'p UndoPart),
    Attributes(&'p AttributeChange),
}

#[derive(Debug)]
pub(crate) struct LaidTree {
    /// Physical path.
    pub(crate) directory: ObjectPath,
    /// `None` as long as nothing changes there.
    pub(crate) exchanged: Option<Box<ExchangedTree>>,
}

#[derive(Debug)]
pub(crate) struct ExchangedTree {
    pub(crate) domain: usize,
    pub(crate) stage: String,
    pub(crate) survey: TreeSurvey,
}

/// In switch order.
#[derive(Debug)]
pub(crate) struct StageLayout<'p> {
    pub(crate) trees: Vec<LaidTree>,
    /// Folded items follow the item that contains them.
    pub(crate) items: Vec<LayoutItem<'p>>,
    /// By path in the plan.
    by_path: Vec<usize>,
    pub(crate) changes: &'p [Box<Change>],
}

impl StageLayout<'_> {
    pub(crate) fn place_of(&self, path: &ObjectPath) -> Option<usize> {
        let client = |place: &usize| self.items.get(*place).map(|item| &item.client);
        let found = self.by_path.partition_point(|place| client(place) <= Some(path)).checked_sub(1)?;
        self.by_path.get(found).copied().filter(|place| client(place) == Some(path))
    }

    pub(crate) fn package_of(&self, path: &ObjectPath) -> Option<&PkgInst> {
        self.changes.iter().find(|change| change.path == *path).map(|change| &change.package)
    }
}

/// Switch order: new objects, replaced ones (loader, libc, libraries, others), directory attributes, deletions, other
/// attributes, records (`contents` first).
mod turn {
    pub(super) const ADD: u8 = 0;
    pub(super) const REPLACE: u8 = 1;
    pub(super) const EXCHANGE: u8 = 4;
    pub(super) const DIRECTORY_ATTRIBUTES: u8 = 5;
    pub(super) const DELETE: u8 = 6;
    /// After replacements and deletions, which check a file's time: a change through another name may set it.
    pub(super) const ATTRIBUTES: u8 = 7;
    pub(super) const CONTENTS: u8 = 8;
    pub(super) const RECORD: u8 = 9;
    pub(super) const REMOVE_DIRECTORY: u8 = 10;
}

struct Fold {
    item: usize,
    becomes_directory: bool,
}

pub(crate) struct LayoutBuilder<'a, 'p> {
    pub(crate) resolver: Resolver<'a>,
    pub(crate) root: &'a Root,
    pub(crate) prefix: &'a str,
    pub(crate) dirs: Dirs,
    pub(crate) domains: &'a mut OpenDomains,
    pub(crate) items: Vec<LayoutItem<'p>>,
    direction: Direction,
    last: Option<(ObjectPath, usize, Inode)>,
    pub(crate) made: BTreeMap<ObjectPath, usize>,
    folds: BTreeMap<ObjectPath, Fold>,
    pub(crate) trees: Vec<LaidTree>,
}

/// `prefix` of staged names distinguishes the batches of a run. Settles the state of directories in `trees`.
pub(crate) fn lay_out<'p>(
    root: &Root,
    domains: &mut OpenDomains,
    plan: &'p Plan,
    prefix: &str,
    ledgers: &dyn Ledgers,
    trees: Vec<LaidTree>,
) -> Result<StageLayout<'p>, Cause> {
    let mut builder = LayoutBuilder {
        resolver: root.resolver(),
        root,
        prefix,
        dirs: Dirs::new(root),
        domains,
        items: Vec::with_capacity(plan.changes.len() + plan.records.len() + 2),
        direction: plan.direction,
        last: None,
        made: BTreeMap::new(),
        folds: BTreeMap::new(),
        trees,
    };
    for change in &plan.changes {
        builder.change(change)?;
    }
    builder.exchanges()?;
    let writes_contents = !plan.contents.is_empty() || builder.lacks_contents(plan)?;
    if writes_contents {
        builder.write_record(&places::contents(), ToStage::Contents, turn::CONTENTS)?;
    }
    for record in &plan.records {
        builder.record(record, plan, ledgers)?;
    }
    builder.logged_contents(plan, writes_contents)?;
    builder.stamp(plan, writes_contents)?;
    Ok(builder.finish(&plan.changes))
}

impl<'p> LayoutBuilder<'_, 'p> {
    fn finish(self, changes: &'p [Box<Change>]) -> StageLayout<'p> {
        let mut items = self.items;
        // Stable: parents come first, and folded items stay with their subtree. Cached keys sort in place.
        items.sort_by_cached_key(|item| item.rank);
        let mut by_path: Vec<usize> = (0..items.len()).collect();
        // Stable: of two items with one path, the last counts.
        by_path.sort_by(|one, other| items[*one].client.cmp(&items[*other].client));
        StageLayout { trees: self.trees, items, by_path, changes }
    }

    fn change(&mut self, change: &'p Change) -> Result<(), Cause> {
        if !self.folds.is_empty()
            && let Some(above) = change.path.ancestors().find(|above| self.folds.contains_key(above))
        {
            return self.folded(change, &above);
        }
        let physical = self.resolver.locate(&change.path)?;
        let tree = self.tree_of(&physical)?;
        let (domain, parent) = match tree {
            Some(tree) => (self.exchanged(tree)?.domain, None),
            None => self.domain_of(&physical)?,
        };
        let (kind, new, rank) = match &change.action {
            Action::Add(new) => (OpKind::Add, Some(ToStage::Object(new)), turn::ADD),
            Action::Replace(new) => {
                let rank = turn_of_replacement(self.direction, physical.name());
                (OpKind::Replace, Some(ToStage::Object(new)), rank)
            }
            Action::Delete => (OpKind::Delete, None, turn::DELETE),
            Action::Attributes(new) => {
                let is_directory = change.old.as_deref().is_some_and(Live::is_directory);
                let rank = if is_directory { turn::DIRECTORY_ATTRIBUTES } else { turn::ATTRIBUTES };
                (OpKind::Attr, Some(ToStage::Attributes(new)), rank)
            }
            Action::RemoveDirectory => (OpKind::Rmdir, None, turn::REMOVE_DIRECTORY),
        };
        let (stage, inside) = match tree {
            Some(tree) => self.place_in_tree(tree, &physical, kind)?,
            None => (staged_name(self.prefix, self.items.len(), &physical), None),
        };
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
            inside,
            is_folded: false,
            tree,
            rank: (rank, self.items.len()),
        })
    }

    /// Turning a directory into something else, or back, affects the whole subtree, so only an exchange is atomic.
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

    fn folded(&mut self, change: &'p Change, at: &ObjectPath) -> Result<(), Cause> {
        let Some(fold) = self.folds.get(at) else { return Ok(()) };
        let (Action::Add(new) | Action::Replace(new)) = &change.action else {
            // Objects below a removed directory move with it.
            return Ok(());
        };
        if !fold.becomes_directory {
            return Err(Cause::Internal(format!("{} would lie below {at}", change.path)));
        }
        let above = &self.items[fold.item];
        let below = &change.path.as_bytes()[at.as_bytes().len()..];
        let physical = above.op.path.join(below).map_err(|error| Cause::Internal(error.to_string()))?;
        let op = Op { path: physical, old: None, ..above.op.clone() };
        let (rank, tree) = (above.rank, above.tree);
        let inside = match &above.inside {
            Some(inside) => [inside, below].concat(),
            None => below[1..].to_vec(),
        };
        self.push(LayoutItem {
            op,
            new: Some(ToStage::Object(new)),
            live: None,
            client: change.path.clone(),
            inside: Some(inside.into()),
            is_folded: true,
            tree,
            rank,
        })
    }

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
        let target = match &live.kind {
            LiveKind::Symlink(target) => Some(target.as_slice()),
            _ => None,
        };
        let mut old = identity(&seen, live.digest(), target);
        let xattrs = match &change.action {
            Action::Attributes(new) => xattrs_before(live, new),
            _ => live.is_directory().then(|| encoded(&live.xattrs)),
        };
        old.xattrs = xattrs.map(Box::new);
        Ok(Some(Box::new(old)))
    }

    pub(crate) fn push(&mut self, item: LayoutItem<'p>) -> Result<(), Cause> {
        self.must_be_apart(&item)?;
        if self.items.len() == self.items.capacity() {
            // Records are few: doubling the capacity for them would take more memory than they do.
            self.items.reserve_exact(self.items.len() / 8 + 8);
        }
        self.items.push(item);
        Ok(())
    }

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
        let seen = dir.itself()?;
        let (domain, inode) = (self.domains.of(&dir, &seen)?, seen.inode);
        self.last = Some((parent, domain, inode));
        Ok((domain, Some(inode)))
    }
}

const OWN_NAME: usize = 32;

/// Long numbers leave few names per directory block: ext4 compares all of a block. The object's own name follows, so
/// that lists of open files show the program.
fn staged_name(prefix: &str, number: usize, path: &ObjectPath) -> String {
    let own = path.name().iter().filter(|byte| byte.is_ascii_alphanumeric() || **byte == b'.');
    let own: String = own.take(OWN_NAME).map(|byte| char::from(*byte)).collect();
    if own.is_empty() { format!("o/{prefix}{number:020}") } else { format!("o/{prefix}{number:020}.{own}") }
}

fn cannot_turn(domain: &OpenDomain, was_directory: bool) -> Result<Option<&'static str>, Cause> {
    let can_exchange = RenameSupport::of(&domain.entry).exchange;
    Ok(match was_directory {
        true if !can_exchange => Some(
            "would become something other than a directory, and its file system cannot exchange two names",
        ),
        true if is_layered(&domain.dir)? => {
            Some("would become something other than a directory, and overlayfs cannot exchange directories")
        }
        false if !can_exchange => {
            Some("would become a directory, and its file system cannot exchange two names")
        }
        _ => None,
    })
}

fn turn_of_replacement(direction: Direction, name: &[u8]) -> u8 {
    turn::REPLACE
        + match direction {
            Direction::Forward => library_rank(name),
            Direction::Back => LAST_RANK - library_rank(name),
        }
}

const LAST_RANK: u8 = 3;

/// Loader, libc, other libraries, rest: a program started in between finds matching libraries, as far as order can
/// ensure it.
fn library_rank(name: &[u8]) -> u8 {
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    match name {
        _ if !has(b".so") => LAST_RANK,
        _ if name.starts_with(b"ld-") || name.starts_with(b"ld.so") => 0,
        _ if name.starts_with(b"libc.so") || name.starts_with(b"libc-") => 1,
        _ => 2,
    }
}

type StagedPlace = (String, Option<Box<[u8]>>);

impl<'p> LayoutBuilder<'_, 'p> {
    /// Index of the exchanged directory that contains, or is, the target. The first target decides whether an exchange
    /// is possible.
    fn tree_of(&mut self, physical: &ObjectPath) -> Result<Option<usize>, Cause> {
        let is_in = |path: &ObjectPath| physical == path || physical.is_below(path);
        let Some(place) = self.trees.iter().position(|tree| is_in(&tree.directory)) else {
            return Ok(None);
        };
        if self.trees[place].exchanged.is_none() {
            let settled = self.settle_tree(place)?;
            self.trees[place].exchanged = Some(Box::new(settled));
        }
        Ok(Some(place))
    }

    fn settle_tree(&mut self, place: usize) -> Result<ExchangedTree, Cause> {
        let path = self.trees.get(place).map(|tree| tree.directory.clone());
        let path = path.ok_or_else(|| Cause::Internal("there is no such directory".to_owned()))?;
        let survey = survey(self.root, &path)?;
        let (domain, _) = self.domain_of(&path)?;
        let support = RenameSupport::of(&self.domains.get(domain)?.entry);
        if !support.exchange || !support.no_replace {
            let reason = "its file system cannot exchange two names".to_owned();
            return Err(Cause::no_exchange(self.root, &path, reason));
        }
        Ok(ExchangedTree { domain, stage: format!("o/tree.{place}"), survey })
    }

    pub(crate) fn exchanged(&mut self, place: usize) -> Result<&mut ExchangedTree, Cause> {
        let tree = self.trees.get_mut(place).and_then(|tree| tree.exchanged.as_deref_mut());
        tree.ok_or_else(|| Cause::Internal("a directory is not exchanged".to_owned()))
    }

    fn place_in_tree(
        &mut self,
        place: usize,
        physical: &ObjectPath,
        kind: OpKind,
    ) -> Result<StagedPlace, Cause> {
        let root = self.root;
        let tree = self.exchanged(place)?;
        let path = &tree.survey.path;
        if physical == path && kind != OpKind::Attr {
            let reason = "the run replaces or removes the directory itself".to_owned();
            return Err(Cause::no_exchange(root, path, reason));
        }
        let below = physical.as_bytes().get(path.as_bytes().len()..).unwrap_or_default();
        let inside = below.strip_prefix(b"/").unwrap_or(below);
        Ok((tree.stage.clone(), Some(inside.into())))
    }

    fn must_be_apart(&self, item: &LayoutItem<'p>) -> Result<(), Cause> {
        if item.tree.is_some() || self.trees.is_empty() {
            return Ok(());
        }
        let targets = [Some(&item.op.path), item.op.to.as_ref()];
        let is_in = |directory: &ObjectPath, path: &ObjectPath| path == directory || path.is_below(directory);
        for tree in &self.trees {
            let directory = &tree.directory;
            let is_exchanged = tree.exchanged.is_some() && item.op.kind != OpKind::Tree;
            if is_exchanged && targets.into_iter().flatten().any(|path| is_in(directory, path)) {
                let reason = format!("{} below it is a record", self.root.show(&item.op.path));
                return Err(Cause::no_exchange(self.root, directory, reason));
            }
        }
        Ok(())
    }

    /// In the requested order.
    pub(crate) fn exchanges(&mut self) -> Result<(), Cause> {
        for place in 0..self.trees.len() {
            let Some(tree) = &self.trees[place].exchanged else { continue };
            let (path, domain, stage) = (tree.survey.path.clone(), tree.domain, tree.stage.clone());
            let old = Some(Box::new(identity(&tree.survey.top, None, None)));
            let (_, parent) = self.domain_of(&path)?;
            let op = Op { parent, old, ..Op::new(OpKind::Tree, path.clone(), domain, stage) };
            self.push(LayoutItem {
                op,
                new: None,
                live: None,
                client: path,
                inside: None,
                is_folded: false,
                tree: None,
                rank: (turn::EXCHANGE, self.items.len()),
            })?;
        }
        Ok(())
    }
}

impl<'p> LayoutBuilder<'_, 'p> {
    /// After `contents`. Every run updates an existing stamp; only one that writes `contents` makes a new one.
    pub(crate) fn stamp(&mut self, plan: &Plan, writes_contents: bool) -> Result<(), Cause> {
        let is_new = writes_contents || brings_contents(plan);
        if !is_new && RecordView::live(self.root).last_records().is_none() {
            return Ok(());
        }
        let stamp = places::contents_stamp();
        let physical = self.parents(&stamp)?;
        match self.dirs.parent(&physical)? {
            Some(dir) if !is_replaceable_hint(&dir, physical.name())? => Ok(()),
            _ => self.write_record(&stamp, ToStage::ContentsStamp, turn::CONTENTS),
        }
    }

    /// `contents` includes the logged changes; with the old log, the other tool would undo changes of this run.
    fn logged_contents(&mut self, plan: &Plan, writes_contents: bool) -> Result<(), Cause> {
        let path = places::pkglog();
        let physical = self.resolver.locate(&path)?;
        let dir = self.dirs.parent(&physical)?;
        let is_there = dir.map(|dir| dir.look(physical.name())).transpose()?.flatten().is_some();
        if !is_there || !writes_contents && !brings_contents(plan) {
            return Ok(());
        }
        let item = self.record_item(OpKind::Delete, &path, physical)?;
        self.must_be_removable(&path)?;
        self.push(item)
    }

    fn lacks_contents(&mut self, plan: &Plan) -> Result<bool, Cause> {
        let mut is_made = false;
        for record in &plan.records {
            is_made |= match record {
                RecordChange::Write { path, .. } if path.name() == b"pkginfo" => {
                    let physical = self.resolver.locate(path)?;
                    self.dirs.parent(&physical)?.is_none()
                }
                RecordChange::AddTree { path, files } => {
                    path.parent() == Some(places::packages())
                        && files.iter().any(|file| file.name == b"pkginfo")
                }
                _ => false,
            };
        }
        if !is_made {
            return Ok(false);
        }
        let physical = self.resolver.locate(&places::contents())?;
        let dir = self.dirs.parent(&physical)?;
        let is_there = dir.map(|dir| dir.look(physical.name())).transpose()?.flatten().is_some();
        Ok(!is_there && !self.has_packages()?)
    }

    /// With packages, a missing list of paths is damage, which no other run may hide.
    fn has_packages(&mut self) -> Result<bool, Cause> {
        let packages = self.resolver.locate_dir(&places::packages())?;
        Ok(self
            .dirs
            .get(&packages)?
            .map(|dir| dir.names())
            .transpose()?
            .is_some_and(|names| !names.is_empty()))
    }

    pub(crate) fn record(
        &mut self,
        record: &'p RecordChange,
        plan: &Plan,
        ledgers: &dyn Ledgers,
    ) -> Result<(), Cause> {
        match record {
            RecordChange::Write { path, bytes, mode, mtime } => {
                let rank = if *path == places::contents() { turn::CONTENTS } else { turn::RECORD };
                self.write_record(path, ToStage::Bytes(bytes, *mode, mtime), rank)
            }
            RecordChange::Copy { path, copied, mode } => {
                self.write_record(path, ToStage::Copied(copied, *mode), turn::RECORD)
            }
            RecordChange::AddTree { path, files } => {
                let physical = self.parents(path)?;
                let mut item = self.record_item(OpKind::Add, path, physical)?;
                item.op.whole = true;
                item.new = Some(ToStage::Tree(files));
                self.push(item)
            }
            RecordChange::RemoveFile(path) | RecordChange::RemoveTree(path) => {
                let physical = self.resolver.locate(path)?;
                let mut item = self.record_item(OpKind::Delete, path, physical)?;
                if item.op.old.is_none() {
                    return Err(Cause::Changed(self.root.show(path)));
                }
                item.op.whole = matches!(record, RecordChange::RemoveTree(_));
                self.must_be_removable(path)?;
                if item.op.whole && is_layered(&self.domains.get(item.op.domain)?.dir)? {
                    return self.remove_piecemeal(path);
                }
                self.push(item)
            }
            RecordChange::Move { from, to } => {
                let physical = self.resolver.locate(from)?;
                let to = self.resolver.locate(to)?;
                let mut item = self.record_item(OpKind::Move, from, physical)?;
                item.op.to = Some(to);
                self.push(item)
            }
            RecordChange::Ledger(change) => match ledgers.draft(self.root, plan, change)? {
                Some(draft) if !draft.is_empty() => {
                    self.write_record(&change.path, ToStage::Ledger(draft), turn::RECORD)
                }
                Some(draft) if draft.is_there() => {
                    let physical = self.resolver.locate(&change.path)?;
                    let item = self.record_item(OpKind::Delete, &change.path, physical)?;
                    self.push(item)
                }
                Some(_) | None => Ok(()),
            },
            RecordChange::Undo { path, archive, part } => {
                self.write_record(path, ToStage::Undo(*archive, part), turn::RECORD)
            }
        }
    }

    /// A staged record that could not be removed would block all later runs.
    fn must_be_removable(&mut self, path: &ObjectPath) -> Result<(), Cause> {
        let physical = self.resolver.locate(path)?;
        let Some(parent) = physical.parent() else { return Ok(()) };
        match self.dirs.get(&parent)? {
            Some(dir) => Ok(dir.must_be_removable(physical.name())?),
            None => Ok(()),
        }
    }

    /// A lower layer's directory (overlayfs) cannot be renamed: its files go one by one, directories after the commit.
    fn remove_piecemeal(&mut self, path: &ObjectPath) -> Result<(), Cause> {
        let physical = self.resolver.locate(path)?;
        let Some(dir) = self.dirs.get(&physical)? else {
            let item = self.record_item(OpKind::Delete, path, physical)?;
            return self.push(item);
        };
        for name in dir.names()? {
            let inner = path.join(&name).map_err(|error| Cause::Internal(error.to_string()))?;
            self.remove_piecemeal(&inner)?;
        }
        let mut item = self.record_item(OpKind::Rmdir, path, physical)?;
        item.rank.0 = turn::REMOVE_DIRECTORY;
        self.push(item)
    }

    fn write_record(&mut self, path: &ObjectPath, new: ToStage<'p>, rank: u8) -> Result<(), Cause> {
        let physical = self.parents(path)?;
        let mut item = self.record_item(OpKind::Replace, path, physical)?;
        match &item.op.old {
            None => item.op.kind = OpKind::Add,
            Some(old) if old.file_type == 'f' => {}
            // Readers ignore a stamp that is no file.
            Some(_) if matches!(new, ToStage::ContentsStamp) => {}
            // The plan was made from a file, so this is another object.
            Some(_) => return Err(Cause::Changed(self.root.show(path))),
        }
        item.new = Some(new);
        item.rank.0 = rank;
        self.push(item)
    }

    fn record_item(
        &mut self,
        kind: OpKind,
        path: &ObjectPath,
        physical: ObjectPath,
    ) -> Result<LayoutItem<'p>, Cause> {
        let (domain, parent) = self.domain_of(&physical)?;
        let old = match self.dirs.parent(&physical)? {
            // The merge knows the digest of a long file.
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
            is_folded: false,
            tree: None,
            rank: (turn::RECORD, number),
        })
    }

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
            self.push(item)?;
        }
        Ok(physical)
    }

    /// Refuses a dangling link on the path: a user who makes its target would decide where the record goes.
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
}

fn live_identity(dir: &Dir, name: &[u8]) -> Result<Option<Box<Identity>>, Cause> {
    let Some(live) = dir.live(name)? else { return Ok(None) };
    let Some(seen) = dir.look(name)? else { return Ok(None) };
    Ok(Some(Box::new(identity(&seen, live.digest(), None))))
}

fn brings_contents(plan: &Plan) -> bool {
    let is_contents = |record: &RecordChange| matches!(record, RecordChange::Write { path, .. } if *path == places::contents());
    plan.records.iter().any(is_contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_goes_first_then_libc_then_libraries_then_the_rest() {
        let order = ["ld-linux-x86-64.so.2", "libc.so.6", "libssl.so.3", "openssl"];
        let ranks: Vec<u8> = order.iter().map(|name| library_rank(name.as_bytes())).collect();
        assert_eq!(ranks, [0, 1, 2, 3]);
        let turns = |direction| {
            order.iter().map(|name| turn_of_replacement(direction, name.as_bytes())).collect::<Vec<_>>()
        };
        assert!(turns(Direction::Forward).is_sorted());
        assert!(
            turns(Direction::Back).is_sorted_by(|one, other| one > other),
            "and the other way round back"
        );
    }
}
