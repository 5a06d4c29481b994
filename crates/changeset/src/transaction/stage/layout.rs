//! Lays a plan out over the disk: the physical path, domain, staged name and switch order of every name.

use std::collections::BTreeMap;

use crate::format::journal::{Identity, Op, OpKind};
use crate::ledgers::Ledgers;
use crate::plan::{Action, Change, Direction, NewObject, Plan};
use crate::transaction::error::Cause;
use crate::transaction::objects::attributes::xattrs_before;
use crate::transaction::objects::dirs::Dirs;
use crate::transaction::objects::identity::{encoded, identity, is_layered};
use crate::transaction::objects::rename_support::RenameSupport;
use crate::transaction::stage::domains::{OpenDomain, OpenDomains};
use crate::transaction::stage::layout_items::{LaidTree, Layout, LayoutItem, ToStage, turn};
use patchadm_rootfs::{Inode, Live, LiveKind, Resolver, Root};
use patchadm_svr4::package::ObjectPath;

/// A directory whose type changes, together with everything below it.
struct Fold {
    item: usize,
    becomes_directory: bool,
}

pub(crate) struct LayoutBuilder<'a, 'p> {
    pub(super) resolver: Resolver<'a>,
    pub(super) root: &'a Root,
    /// The prefix of staged names.
    pub(super) prefix: &'a str,
    pub(super) dirs: Dirs,
    pub(super) domains: &'a mut OpenDomains,
    pub(super) items: Vec<LayoutItem<'p>>,
    direction: Direction,
    /// The directory of the last target, with its domain and inode.
    last: Option<(ObjectPath, usize, Inode)>,
    /// The directories made by the run, with their domains.
    pub(super) made: BTreeMap<ObjectPath, usize>,
    folds: BTreeMap<ObjectPath, Fold>,
    /// The directories whose changes should become visible at once.
    pub(super) trees: Vec<LaidTree>,
}

/// Lays out `plan`. Staged names begin with `prefix`, which distinguishes the batches of one run. The state of the
/// directories in `trees` is settled.
pub(crate) fn lay_out<'p>(
    root: &Root,
    domains: &mut OpenDomains,
    plan: &'p Plan,
    prefix: &str,
    ledgers: &dyn Ledgers,
    trees: Vec<LaidTree>,
) -> Result<Layout<'p>, Cause> {
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
        builder.contents()?;
    }
    for record in &plan.records {
        builder.record(record, plan, ledgers)?;
    }
    builder.logged_contents(plan, writes_contents)?;
    builder.stamp(plan, writes_contents)?;
    Ok(builder.finish(&plan.changes))
}

impl<'p> LayoutBuilder<'_, 'p> {
    fn finish(self, changes: &'p [Box<Change>]) -> Layout<'p> {
        let mut items = self.items;
        // Stable: adds stay sorted by path, so parents come first; folded items keep the turn of their subtree. With
        // cached keys they are sorted in place.
        items.sort_by_cached_key(|item| item.rank);
        let mut by_path: Vec<usize> = (0..items.len()).collect();
        // Stable: if two items have the same path, the last one counts.
        by_path.sort_by(|one, other| items[*one].client.cmp(&items[*other].client));
        Layout { trees: self.trees, items, by_path, changes }
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
            // Objects removed below a directory move into the stage together with it.
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

    pub(super) fn push(&mut self, item: LayoutItem<'p>) -> Result<(), Cause> {
        self.must_be_apart(&item)?;
        if self.items.len() == self.items.capacity() {
            // Records are few compared with objects: doubling the room of all items for them would take more memory
            // than they do.
            self.items.reserve_exact(self.items.len() / 8 + 8);
        }
        self.items.push(item);
        Ok(())
    }

    /// Returns the domain of a target: that of its directory, or of the nearest existing one above it.
    pub(super) fn domain_of(&mut self, physical: &ObjectPath) -> Result<(usize, Option<Inode>), Cause> {
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

/// The most bytes of an object's own name in its staged name.
const OWN_NAME: usize = 32;

/// Returns the staged name of an object. Its number is long, so that a block of the directory has few: a file system such
/// as ext4 looks at each of them whenever it makes or finds one. Its own name follows, as far as a staged name can have it:
/// lists of the open files of processes show which program runs an old file.
fn staged_name(prefix: &str, number: usize, path: &ObjectPath) -> String {
    let own = path.name().iter().filter(|byte| byte.is_ascii_alphanumeric() || **byte == b'.');
    let own: String = own.take(OWN_NAME).map(|byte| char::from(*byte)).collect();
    if own.is_empty() { format!("o/{prefix}{number:020}") } else { format!("o/{prefix}{number:020}.{own}") }
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

/// Returns the turn of a replaced object in the switch.
fn turn_of_replacement(direction: Direction, name: &[u8]) -> u8 {
    turn::REPLACE
        + match direction {
            Direction::Forward => library_rank(name),
            Direction::Back => LAST_RANK - library_rank(name),
        }
}

/// The rank of an object that is no library.
const LAST_RANK: u8 = 3;

/// Ranks replaced objects: the dynamic loader first, then libc, other shared libraries and the rest, so that a
/// program started in between finds libraries that fit together as far as order can ensure it.
fn library_rank(name: &[u8]) -> u8 {
    let has = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    match name {
        _ if !has(b".so") => LAST_RANK,
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
