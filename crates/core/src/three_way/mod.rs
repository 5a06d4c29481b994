//! Decides what a promotion or a refresh does with each path, by comparing three trees.
//!
//! ```text
//!   base ──┐
//!   from ──┼──► differences ──► decided ──► settled ──► PathOutcome of each path
//!   to ────┘   (build::compare,   (the table,   (parents, directories
//!               three times)       policy)       that hold something)
//! ```
//! `to` is the tree that changes, `from` the source, `base` their common earlier state. A change on one side is taken
//! or kept; different changes on both conflict, and the operator's choice about edited files decides. A modification
//! time alone never conflicts. Without a base, every difference is taken, and objects only in `to` are kept. Link
//! partners count; labels, and anything that an unprivileged copy cannot have, do not.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, Serializer};

use patchadm_changeset::format::manifest::{RecordedState, decode};
use patchadm_inputs::policy::Edited;
use patchadm_inputs::stage::ComparedAttributes;
use patchadm_releases::{
    ChangeKind, CompareOptions, Device, FileContent, LinkGroup, ObjectOwner, ReleaseObject,
    ReleaseObjectKind, Upkeep, compare,
};
use patchadm_rootfs::{FileType, Live, LiveKind, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath, Word};

/// Outcomes for paths at which the trees differ.
pub type Outcomes = BTreeMap<ObjectPath, PathOutcome>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathOutcome {
    /// Take the object of the source.
    Take,
    /// Take only the modification time, the only difference.
    TakeTime,
    Delete,
    /// Keep the object, or its absence, although the source differs.
    Keep(KeptBecause),
    Conflict(Conflict),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptBecause {
    /// Only the tree that would change has changed it.
    LiveOnly,
    /// Recorded as volatile: the existing object always wins.
    Volatile,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub from: SideChange,
    pub to: SideChange,
    pub decision: ConflictDecision,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideChange {
    /// Differs from the base, or exists, if there is no base.
    Changed,
    /// Missing in the base.
    New,
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictDecision {
    /// Abort the whole operation.
    Stop,
    Replace,
    Keep,
}

impl SideChange {
    pub fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::New => "new",
            Self::Gone => "gone",
        }
    }
}

impl ConflictDecision {
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Replace => "replace",
            Self::Keep => "keep",
        }
    }
}

impl Serialize for SideChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl Serialize for ConflictDecision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl KeptBecause {
    pub fn word(self) -> &'static str {
        match self {
            Self::LiveOnly => "live-only",
            Self::Volatile => "volatile",
        }
    }
}

impl PathOutcome {
    /// True if the object of the source comes, by a conflict's decision or without.
    pub fn is_taken(&self) -> bool {
        match self {
            Self::Take => true,
            Self::Conflict(conflict) => {
                conflict.decision == ConflictDecision::Replace && conflict.from != SideChange::Gone
            }
            _ => false,
        }
    }

    /// True if the existing object is deleted, by a conflict's decision or without.
    pub fn is_deleted(&self) -> bool {
        match self {
            Self::Delete => true,
            Self::Conflict(conflict) => {
                conflict.decision == ConflictDecision::Replace && conflict.from == SideChange::Gone
            }
            _ => false,
        }
    }

    pub fn stops(&self) -> bool {
        matches!(self, Self::Conflict(Conflict { decision: ConflictDecision::Stop, .. }))
    }
}

/// Trees sorted by path, each path once, all limited to the same paths.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'a> {
    /// `None` if unknown.
    pub base: Option<&'a [ReleaseObject]>,
    pub from: &'a [ReleaseObject],
    /// The tree that changes.
    pub to: &'a [ReleaseObject],
    /// Objects in `to` that are not compared and therefore stay: sockets, mount points, excluded paths.
    pub standing: &'a BTreeSet<ObjectPath>,
}

/// `None` for a socket.
pub fn of_recorded(
    path: &ObjectPath,
    state: &RecordedState,
    compared: ComparedAttributes,
) -> Option<ReleaseObject> {
    let device = || state.device.map(|(major, minor)| Device { major, minor });
    let kind = match state.kind {
        FileType::Regular => {
            let (size, digest) = (state.size?, state.digest()?);
            file(FileContent { size, cksum: 0, digest }, state.group)
        }
        FileType::Directory => ReleaseObjectKind::Directory { exclusive: false },
        FileType::Symlink => ReleaseObjectKind::Symlink(decode(state.target.as_deref()?).into_owned()),
        FileType::Pipe => ReleaseObjectKind::Pipe,
        FileType::Block => ReleaseObjectKind::Block(device()?),
        FileType::Character => ReleaseObjectKind::Character(device()?),
        FileType::Socket => return None,
    };
    let seen = CommonAttributes {
        mode: Mode::of(state.mode),
        uid: state.uid,
        gid: state.gid,
        mtime: state.mtime,
        xattrs: state.xattrs(),
    };
    Some(seen.object(path, kind, compared))
}

/// `None` for a socket. Objects with the same `group` are names of one file.
pub fn of_live(
    path: &ObjectPath,
    live: &Live,
    group: Option<u32>,
    compared: ComparedAttributes,
) -> Option<ReleaseObject> {
    let kind = match &live.kind {
        LiveKind::Regular { size, b3, cksum } => {
            file(FileContent { size: *size, cksum: *cksum, digest: *b3 }, group)
        }
        LiveKind::Directory => ReleaseObjectKind::Directory { exclusive: false },
        LiveKind::Symlink(target) => ReleaseObjectKind::Symlink(target.clone()),
        LiveKind::Pipe => ReleaseObjectKind::Pipe,
        LiveKind::Device { block: true, major, minor } => {
            ReleaseObjectKind::Block(Device { major: *major, minor: *minor })
        }
        LiveKind::Device { major, minor, .. } => {
            ReleaseObjectKind::Character(Device { major: *major, minor: *minor })
        }
        LiveKind::Socket => return None,
    };
    let seen = CommonAttributes {
        mode: live.mode,
        uid: live.uid,
        gid: live.gid,
        mtime: live.mtime,
        xattrs: live.xattrs.clone(),
    };
    Some(seen.object(path, kind, compared))
}

fn file(content: FileContent, group: Option<u32>) -> ReleaseObjectKind {
    ReleaseObjectKind::File { content, upkeep: Upkeep::Delivered, links: group.map(LinkGroup) }
}

fn owner(compared: ComparedAttributes, id: u32) -> ObjectOwner {
    ObjectOwner { name: None, id: compared.owners.then_some(id) }
}

struct CommonAttributes {
    mode: Mode,
    uid: u32,
    gid: u32,
    mtime: Timestamp,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl CommonAttributes {
    fn object(
        self,
        path: &ObjectPath,
        kind: ReleaseObjectKind,
        compared: ComparedAttributes,
    ) -> ReleaseObject {
        let mut xattrs = self.xattrs;
        xattrs.retain(|name, _| compared.has_xattr(name));
        ReleaseObject {
            path: path.clone(),
            kind,
            mode: compared.mode(self.mode),
            owner: owner(compared, self.uid),
            group: owner(compared, self.gid),
            mtime: self.mtime,
            xattrs,
            class: Word::default(),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TwoWay {
    /// Delete objects that exist only in `to`.
    pub deletes: bool,
}

pub trait PathFacts {
    /// Returns what to do with a conflict.
    fn choice(&self, path: &ObjectPath) -> Edited;
    fn is_volatile(&self, path: &ObjectPath) -> bool;
    /// True if the source's object comes even if only the other tree changed the path.
    fn comes_always(&self, _: &ObjectPath) -> bool {
        false
    }
    /// True if the object must stay although the source deleted it, because its own tree needs it.
    fn is_needed(&self, _: &ObjectPath) -> bool {
        false
    }
    /// True if the object was written to since it was recorded.
    fn is_edited(&self, path: &ObjectPath) -> bool;
}

#[derive(Debug, Default)]
struct Differing {
    state: BTreeMap<ObjectPath, ChangeKind>,
    time: BTreeSet<ObjectPath>,
}

impl Differing {
    fn between(old: &[ReleaseObject], new: &[ReleaseObject]) -> Self {
        let options = CompareOptions { mtimes: true, every_type: true };
        let mut found = Self::default();
        for change in compare(old, new, options).changes {
            match change.kind {
                ChangeKind::Replaced(differences) if differences.is_mtime_only() => {
                    found.time.insert(change.path);
                }
                kind => {
                    found.state.insert(change.path, kind);
                }
            }
        }
        found
    }

    fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.state.keys().chain(&self.time)
    }

    fn has(&self, path: &ObjectPath) -> bool {
        self.state.contains_key(path) || self.time.contains(path)
    }
}

/// Paths at which any two trees differ.
#[derive(Debug)]
pub struct TreeDifferences {
    apart: Differing,
    /// `None` without a base.
    since_base: Option<(Differing, Differing)>,
}

impl TreeDifferences {
    pub fn of(sides: &Sides<'_>) -> Self {
        let since = |base| (Differing::between(base, sides.from), Differing::between(base, sides.to));
        Self { apart: Differing::between(sides.to, sides.from), since_base: sides.base.map(since) }
    }

    pub fn paths(&self) -> BTreeSet<ObjectPath> {
        let since = self.since_base.iter().flat_map(|(from, to)| from.paths().chain(to.paths()));
        self.apart.paths().chain(since).cloned().collect()
    }

    /// Returns the paths that changed in the same way on both sides.
    pub fn same_on_both(&self) -> BTreeSet<ObjectPath> {
        let mut paths = self.paths();
        paths.retain(|path| !self.apart.has(path));
        paths
    }

    /// `sides` must be the compared ones.
    pub fn decide(&self, sides: &Sides<'_>, two_way: TwoWay, facts: &dyn PathFacts) -> Outcomes {
        let mut outcomes = match &self.since_base {
            Some((from, to)) => {
                let decider = ThreeWay { from, to, apart: &self.apart, facts };
                let all = self.paths().into_iter().filter_map(|path| {
                    let outcome = decider.outcome(&path)?;
                    Some((path, outcome))
                });
                all.collect()
            }
            None => without_base(&self.apart, two_way, facts),
        };
        settle(sides, &mut outcomes);
        outcomes
    }
}

struct ThreeWay<'a> {
    from: &'a Differing,
    to: &'a Differing,
    apart: &'a Differing,
    facts: &'a dyn PathFacts,
}

impl ThreeWay<'_> {
    fn outcome(&self, path: &ObjectPath) -> Option<PathOutcome> {
        let (from, to) = (self.from.state.get(path), self.to.state.get(path));
        let apart = self.apart.state.get(path);
        let is_there = to.is_none_or(|kind| *kind != ChangeKind::Deleted);
        if is_there && from.is_some() && apart.is_some_and(is_in_to) && self.facts.is_volatile(path) {
            return Some(PathOutcome::Keep(KeptBecause::Volatile));
        }
        match (from, to) {
            (None, None) => {
                let is_newer = self.from.time.contains(path) && self.apart.time.contains(path);
                let is_volatile = is_newer && self.facts.is_volatile(path);
                (is_newer && !is_volatile).then_some(PathOutcome::TakeTime)
            }
            (Some(ChangeKind::Deleted), None) if self.facts.is_needed(path) => {
                Some(PathOutcome::Keep(KeptBecause::LiveOnly))
            }
            (Some(ChangeKind::Deleted), None) => Some(PathOutcome::Delete),
            (Some(_), None) => Some(PathOutcome::Take),
            (None, Some(_)) if apart.is_some_and(is_in_from) && self.facts.comes_always(path) => {
                Some(PathOutcome::Take)
            }
            (None, Some(_)) => Some(PathOutcome::Keep(KeptBecause::LiveOnly)),
            (Some(_), Some(_)) if apart.is_none() => None,
            (Some(from), Some(to)) => {
                let decision = decision(self.facts.choice(path));
                let is_deletion = *from == ChangeKind::Deleted && decision == ConflictDecision::Replace;
                if is_deletion && self.facts.is_needed(path) {
                    return Some(PathOutcome::Keep(KeptBecause::LiveOnly));
                }
                Some(PathOutcome::Conflict(Conflict { from: side(from), to: side(to), decision }))
            }
        }
    }
}

fn is_in_to(kind: &ChangeKind) -> bool {
    *kind != ChangeKind::Added
}

fn is_in_from(kind: &ChangeKind) -> bool {
    *kind != ChangeKind::Deleted
}

fn without_base(apart: &Differing, two_way: TwoWay, facts: &dyn PathFacts) -> Outcomes {
    let mut outcomes: Outcomes = apart
        .time
        .iter()
        .filter(|path| !facts.is_volatile(path))
        .map(|path| ((*path).clone(), PathOutcome::TakeTime))
        .collect();
    for (path, kind) in &apart.state {
        let conflict = |from| {
            let decision = decision(facts.choice(path));
            PathOutcome::Conflict(Conflict { from, to: SideChange::Changed, decision })
        };
        let outcome = match kind {
            ChangeKind::Added => PathOutcome::Take,
            _ if facts.is_volatile(path) => PathOutcome::Keep(KeptBecause::Volatile),
            ChangeKind::Deleted if !two_way.deletes => PathOutcome::Keep(KeptBecause::LiveOnly),
            ChangeKind::Deleted if facts.is_edited(path) => conflict(SideChange::Gone),
            ChangeKind::Deleted => PathOutcome::Delete,
            ChangeKind::Replaced(_) if facts.is_edited(path) => conflict(SideChange::Changed),
            ChangeKind::Replaced(_) => PathOutcome::Take,
        };
        outcomes.insert((*path).clone(), outcome);
    }
    outcomes
}

fn side(kind: &ChangeKind) -> SideChange {
    match kind {
        ChangeKind::Added => SideChange::New,
        ChangeKind::Deleted => SideChange::Gone,
        ChangeKind::Replaced(_) => SideChange::Changed,
    }
}

fn decision(choice: Edited) -> ConflictDecision {
    match choice {
        Edited::Stop => ConflictDecision::Stop,
        Edited::Replace => ConflictDecision::Replace,
        Edited::Keep => ConflictDecision::Keep,
    }
}

fn settle(sides: &Sides<'_>, outcomes: &mut Outcomes) {
    let (from, to) = (by_path(sides.from), by_path(sides.to));
    let mut settling = OutcomeSettlement { from, to, standing: sides.standing, outcomes };
    if sides.base.is_none() {
        settling.keep_directories();
    }
    settling.directories_above();
    settling.directories_that_turn();
    settling.directories_that_stay();
}

fn by_path(objects: &[ReleaseObject]) -> BTreeMap<ObjectPath, &ReleaseObject> {
    objects.iter().map(|object| (object.path.clone(), object)).collect()
}

struct OutcomeSettlement<'a> {
    from: BTreeMap<ObjectPath, &'a ReleaseObject>,
    to: BTreeMap<ObjectPath, &'a ReleaseObject>,
    standing: &'a BTreeSet<ObjectPath>,
    outcomes: &'a mut Outcomes,
}

impl OutcomeSettlement<'_> {
    /// Keeps existing directories. Without a base, they keep their attributes, and a link in place of a directory stops
    /// everything.
    fn keep_directories(&mut self) {
        let is_link = |object: &ReleaseObject| matches!(object.kind, ReleaseObjectKind::Symlink(_));
        let (from, to) = (&self.from, &self.to);
        let mut stops = Vec::new();
        self.outcomes.retain(|path, outcome| {
            let (Some(from), Some(to)) = (from.get(path), to.get(path)) else { return true };
            if from.is_directory() && is_link(to) && outcome.is_taken() {
                stops.push(path.clone());
            }
            !(from.is_directory() && to.is_directory())
        });
        for path in stops {
            self.stop(&path);
        }
    }

    /// Recreates missing directories above taken objects, as in the source. Anything else there stops everything.
    fn directories_above(&mut self) {
        let taken: Vec<ObjectPath> = self.taken().cloned().collect();
        let mut seen: BTreeSet<ObjectPath> = BTreeSet::new();
        for path in &taken {
            for above in path.ancestors() {
                if !seen.insert(above.clone()) {
                    break;
                }
                if !self.from.contains_key(&above)
                    || self.outcomes.get(&above).is_some_and(PathOutcome::is_taken)
                {
                    continue;
                }
                match self.to.get(&above) {
                    None => {
                        self.outcomes.insert(above, PathOutcome::Take);
                    }
                    Some(there) if !there.is_directory() => self.stop(path),
                    Some(_) => {}
                }
            }
        }
    }

    /// Lets a directory change its type only if nothing in it stays.
    fn directories_that_turn(&mut self) {
        let turns = |path: &&ObjectPath| {
            self.to.get(*path).is_some_and(|there| there.is_directory())
                && self.from.get(*path).is_some_and(|comes| !comes.is_directory())
        };
        let turning: Vec<ObjectPath> = self.taken().filter(turns).cloned().collect();
        for path in turning {
            if self.holds_something(&path) {
                self.stop(&path);
            }
        }
    }

    /// Lets a directory be deleted only if nothing is left in it.
    fn directories_that_stay(&mut self) {
        let is_directory = |path: &&ObjectPath| self.to.get(*path).is_some_and(|there| there.is_directory());
        let deleted = self.outcomes.iter().filter(|(_, outcome)| outcome.is_deleted()).map(|(path, _)| path);
        let mut deleted: Vec<ObjectPath> = deleted.filter(is_directory).cloned().collect();
        // The contents of a directory sort after it.
        deleted.reverse();
        for path in deleted {
            if self.holds_something(&path) {
                self.outcomes.insert(path, PathOutcome::Keep(KeptBecause::LiveOnly));
            }
        }
    }

    fn taken(&self) -> impl Iterator<Item = &ObjectPath> {
        self.outcomes.iter().filter(|(_, outcome)| outcome.is_taken()).map(|(path, _)| path)
    }

    fn holds_something(&self, directory: &ObjectPath) -> bool {
        let stays = |path: &ObjectPath| !self.outcomes.get(path).is_some_and(PathOutcome::is_deleted);
        let comes = |path: &ObjectPath| self.outcomes.get(path).is_some_and(PathOutcome::is_taken);
        below(&self.to, directory).any(stays)
            || below(self.outcomes, directory).any(comes)
            || self
                .standing
                .range(directory.lowest_below()..)
                .next()
                .is_some_and(|path| path.is_below(directory))
    }

    fn stop(&mut self, path: &ObjectPath) {
        let side = |is_there: bool| if is_there { SideChange::Changed } else { SideChange::Gone };
        let (from, to) = (side(self.from.contains_key(path)), side(self.to.contains_key(path)));
        let stop = PathOutcome::Conflict(Conflict { from, to, decision: ConflictDecision::Stop });
        self.outcomes.insert(path.clone(), stop);
    }
}

fn below<'m, V>(
    map: &'m BTreeMap<ObjectPath, V>,
    directory: &'m ObjectPath,
) -> impl Iterator<Item = &'m ObjectPath> {
    let behind = map.range(directory.lowest_below()..).map(|(path, _)| path);
    behind.take_while(move |path| path.is_below(directory))
}
