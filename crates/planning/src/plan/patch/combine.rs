//! Makes one run of several patches. Each path has a chain of objects, one for each patch; only the last one is
//! switched. Each patch keeps its own undo archive; saved objects of earlier patches of the run are [`Plan::versions`].
//! Each plan was made against the [`super::projected_root::ProjectedRoot`] of those before.

use std::collections::{BTreeMap, HashMap};

use patchadm_rootfs::{FileType, Live};
use patchadm_svr4::package::ObjectPath;

use super::projected_root::{MadeObjects, has_same_bytes};
use crate::plan::{
    Action, AttributeChange, BALLAST, Body, Change, Member, NewObject, NewXattrs, Plan, RecordChange,
    ReplacedVersion, SpaceNeed, TreeContent, TreeFile, UndoArchive,
};

#[derive(Clone, Copy, Debug)]
pub struct Single<'a> {
    pub plan: &'a Plan,
    pub made: &'a MadeObjects,
    /// The number of packages in the sources of earlier patches: members are numbered over all of them.
    pub packages: usize,
}

type Chain<'a> = Vec<(usize, &'a Change)>;

/// Returns `None` if there is no patch.
pub fn combine_plans(patches: &[Single<'_>]) -> Option<Plan> {
    patches.last().map(|last| combine(patches, last.plan))
}

pub fn combine_two(first: Single<'_>, second: Single<'_>) -> Plan {
    combine(&[first, second], second.plan)
}

fn combine(patches: &[Single<'_>], last: &Plan) -> Plan {
    let plans = || patches.iter().map(|patch| patch.plan);
    let mut chains: BTreeMap<&ObjectPath, Chain<'_>> = BTreeMap::new();
    for (place, patch) in patches.iter().enumerate() {
        for change in &patch.plan.changes {
            chains.entry(&change.path).or_default().push((place, change));
        }
    }
    let mut versions = Vec::new();
    let mut undo = Vec::new();
    for (place, patch) in patches.iter().enumerate() {
        for archive in &patch.plan.undo {
            undo.push(archived(archive, place, patches, &chains, &mut versions));
        }
    }
    let mut packages = Vec::new();
    for package in plans().flat_map(|plan| &plan.packages) {
        if !packages.contains(package) {
            packages.push(package.clone());
        }
    }
    Plan {
        command: last.command,
        patches: plans().flat_map(|plan| plan.patches.iter().cloned()).collect(),
        packages,
        changes: chains.values().filter_map(|chain| in_the_end(chain, patches).map(Box::new)).collect(),
        records: folded(plans()),
        contents: plans().flat_map(|plan| plan.contents.clone()).collect(),
        trailer: last.trailer.clone(),
        undo,
        versions,
        space: space(plans()),
        discard: plans().flat_map(|plan| plan.discard.iter().cloned()).collect(),
        signature: None,
        direction: last.direction,
        notes: plans().flat_map(|plan| plan.notes.iter().cloned()).collect(),
        merges: plans().flat_map(|plan| plan.merges.iter().cloned()).collect(),
    }
}

fn in_the_end(chain: &Chain<'_>, patches: &[Single<'_>]) -> Option<Change> {
    let ((_, first), (place, last)) = (chain.first()?, chain.last()?);
    let was_there = first.old.is_some();
    let put = |new: NewObject| if was_there { Action::Replace(new) } else { Action::Add(new) };
    let action = match &last.action {
        Action::Add(new) | Action::Replace(new) => put(in_place(new, *place, first, patches, &last.path)),
        Action::Attributes(attributes) => {
            let base = chain.iter().rev().find_map(|(place, change)| match &change.action {
                Action::Add(new) | Action::Replace(new) => Some((*place, new)),
                _ => None,
            });
            match base {
                Some((place, new)) => put(with_attributes(
                    in_place(new, place, first, patches, &last.path),
                    &all_attributes(chain),
                )),
                None if chain.len() == 1 => Action::Attributes(attributes.clone()),
                None => Action::Attributes(match first.old.as_deref() {
                    Some(old) => all_attributes(chain).lacking(old)?,
                    None => all_attributes(chain),
                }),
            }
        }
        Action::Delete if was_there => Action::Delete,
        Action::RemoveDirectory if was_there => Action::RemoveDirectory,
        Action::Delete | Action::RemoveDirectory => return None,
    };
    let (package, path) = (last.package.clone(), last.path.clone());
    Some(Change { package, path, action, old: first.old.clone() })
}

fn in_place(
    new: &NewObject,
    place: usize,
    first: &Change,
    patches: &[Single<'_>],
    path: &ObjectPath,
) -> NewObject {
    let mut new = new.clone();
    if let Body::Member(member) = &mut new.body {
        renumber(member, place, patches);
    }
    let made = patches.get(place).and_then(|patch| patch.made.get(path));
    if let (Some(made), NewXattrs::Inherited, true) = (made, &new.xattrs, place > 0)
        && !matches!(new.body, Body::Symlink(_) | Body::Link(_))
    {
        // Staging sees neither the objects of an earlier patch of the run nor the directories that it made.
        let seen =
            first.old.as_ref().map(|old| old.handed_on(has_same_bytes(old, &made.kind))).unwrap_or_default();
        if seen != made.xattrs {
            new.xattrs = NewXattrs::Exact(made.xattrs.clone());
        }
    }
    new
}

fn renumber(member: &mut Member, place: usize, patches: &[Single<'_>]) {
    member.package += patches.get(place).map_or(0, |patch| patch.packages);
}

fn all_attributes(chain: &Chain<'_>) -> AttributeChange {
    chain.iter().fold(AttributeChange::default(), |all, (_, change)| match &change.action {
        Action::Attributes(next) => all.then(next),
        _ => AttributeChange::default(),
    })
}

fn with_attributes(mut new: NewObject, attributes: &AttributeChange) -> NewObject {
    new.mode = attributes.mode.unwrap_or(new.mode);
    new.uid = attributes.uid.unwrap_or(new.uid);
    new.gid = attributes.gid.unwrap_or(new.gid);
    new.mtime = attributes.mtime.or(new.mtime);
    if let Some(xattrs) = &attributes.xattrs {
        new.xattrs = NewXattrs::Exact(xattrs.clone());
    }
    new
}

/// Redirects saved objects that an earlier patch of the run puts there.
fn archived(
    archive: &UndoArchive,
    place: usize,
    patches: &[Single<'_>],
    chains: &BTreeMap<&ObjectPath, Chain<'_>>,
    versions: &mut Vec<ReplacedVersion>,
) -> UndoArchive {
    let mut archive = archive.clone();
    for (entry, path) in &archive.saved {
        let before = chains.get(path).and_then(|chain| chain.iter().rev().find(|(other, _)| *other < place));
        let Some((maker, change)) = before else { continue };
        let (Action::Add(new) | Action::Replace(new)) = &change.action else { continue };
        let made = patches.get(*maker).and_then(|patch| patch.made.get(path));
        let version = match &new.body {
            Body::Member(member) if entry.object.ftype.is_regular() => {
                let mut member = Member { b3: made.and_then(Live::digest).map(Box::new), ..member.clone() };
                renumber(&mut member, *maker, patches);
                versions.push(ReplacedVersion {
                    package: change.package.clone(),
                    path: path.clone(),
                    member,
                });
                Some(versions.len() - 1)
            }
            _ => None,
        };
        archive.passing.insert(path.clone(), version);
    }
    let own = patches.get(place).map(|patch| patch.made);
    for record in &mut archive.manifest.objects {
        let path = record.object_path();
        let Some(became) = record.became.as_mut().filter(|state| state.kind == FileType::Regular) else {
            continue;
        };
        if became.b3.is_some() {
            continue;
        }
        let is_replaced = |path: &ObjectPath| {
            chains.get(path).and_then(|chain| chain.last()).is_some_and(|(last, _)| *last > place)
        };
        let digest = path.filter(is_replaced).and_then(|path| own?.get(&path)?.digest());
        became.b3 = digest.map(|digest| Box::new(digest.into()));
    }
    archive
}

/// An upper bound: shared needs are counted once per patch.
fn space<'p>(plans: impl Iterator<Item = &'p Plan>) -> Vec<SpaceNeed> {
    let mut all: Vec<SpaceNeed> = Vec::new();
    for need in plans.flat_map(|plan| &plan.space) {
        match all.iter_mut().find(|known| known.file_system == need.file_system) {
            Some(known) => {
                known.bytes = known.bytes.saturating_add(need.bytes.saturating_sub(BALLAST));
                known.inodes = known.inodes.saturating_add(need.inodes);
                known.undo = known.undo.saturating_add(need.undo);
            }
            None => all.push(need.clone()),
        }
    }
    all
}

// The last change of each file counts. A change in a directory that the same run makes is applied to that directory
// before it exists.

fn folded<'p>(plans: impl Iterator<Item = &'p Plan>) -> Vec<RecordChange> {
    let mut records = CombinedRecords::default();
    let mut archives = 0;
    for plan in plans {
        for record in &plan.records {
            records.add(record, archives);
        }
        archives += plan.undo.len();
    }
    records.list
}

#[derive(Default)]
struct CombinedRecords {
    list: Vec<RecordChange>,
    places: HashMap<ObjectPath, usize>,
}

impl CombinedRecords {
    fn add(&mut self, record: &RecordChange, archives: usize) {
        match record {
            RecordChange::Write { path, bytes, mode, mtime } => {
                let content = TreeContent::Bytes(bytes.clone());
                let file = |name| TreeFile { name, content, mode: *mode, mtime: *mtime };
                match self.tree_of(path) {
                    Some((files, name)) => put(files, file(name)),
                    None => self.set(path, record.clone()),
                }
            }
            RecordChange::AddTree { path, files } => {
                self.spread_tree_above(path);
                let files = files.iter().cloned().map(|file| renumbered(file, archives)).collect();
                self.add_tree(path, RecordChange::AddTree { path: path.clone(), files });
            }
            RecordChange::RemoveFile(path) => match self.tree_of(path) {
                Some((files, name)) => files.retain(|file| file.name != name),
                None => self.set(path, record.clone()),
            },
            RecordChange::Move { from, to } => match (self.tree_of(from).map(|(_, name)| name), to) {
                (Some(old), to) => {
                    if let Some((files, new)) = self.tree_of(to)
                        && let Some(file) = files.iter_mut().find(|file| file.name == old)
                    {
                        file.name = new;
                    }
                }
                (None, _) => self.list.push(record.clone()),
            },
            RecordChange::RemoveTree(path) => self.remove_tree(path),
            RecordChange::Copy { path, .. } => self.set(path, record.clone()),
            RecordChange::Undo { path, archive, part } => {
                let (archive, part) = (archive + archives, part.clone());
                self.set(path, RecordChange::Undo { path: path.clone(), archive, part });
            }
            RecordChange::Ledger(change) => {
                let known = self.places.get(&change.path).and_then(|place| self.list.get_mut(*place));
                match known {
                    Some(RecordChange::Ledger(known)) => known.add(change),
                    _ => self.set(&change.path, record.clone()),
                }
            }
        }
    }

    /// A directory that the run itself would create is never created.
    fn remove_tree(&mut self, path: &ObjectPath) {
        let is_in = |record: &RecordChange| record.path() == path || record.path().is_below(path);
        let is_made = |record: &RecordChange| matches!(record, RecordChange::AddTree { path: made, .. } if made == path);
        let came = self.list.iter().any(is_made);
        let was_there = !came
            || self
                .list
                .iter()
                .any(|record| matches!(record, RecordChange::RemoveTree(gone) if gone == path));
        self.keep(|record| !is_in(record));
        if was_there {
            self.set(path, RecordChange::RemoveTree(path.clone()));
        }
    }

    /// A directory that replaces a removed one is added after the removal.
    fn add_tree(&mut self, path: &ObjectPath, record: RecordChange) {
        let known = self.places.get(path).and_then(|place| self.list.get(*place));
        if matches!(known, Some(RecordChange::RemoveTree(_))) {
            self.places.insert(path.clone(), self.list.len());
            self.list.push(record);
        } else {
            self.set(path, record);
        }
    }

    /// Splits a new directory into single records so that another directory can be added inside it.
    fn spread_tree_above(&mut self, path: &ObjectPath) {
        let Some((tree, place)) = self.tree_above(path) else { return };
        let Some(RecordChange::AddTree { files, .. }) = self.list.get(place) else { return };
        let Some(files) = spread(&tree, files) else { return };
        self.keep(|record| !matches!(record, RecordChange::AddTree { path, .. } if *path == tree));
        for record in files {
            self.set(&record.path().clone(), record);
        }
    }

    fn keep(&mut self, is_kept: impl Fn(&RecordChange) -> bool) {
        self.list.retain(is_kept);
        self.places = self.list.iter().enumerate().map(|(at, record)| (record.path().clone(), at)).collect();
    }

    fn set(&mut self, path: &ObjectPath, record: RecordChange) {
        if let Some(known) = self.places.get(path).and_then(|place| self.list.get_mut(*place)) {
            *known = record;
        } else {
            self.places.insert(path.clone(), self.list.len());
            self.list.push(record);
        }
    }

    fn tree_above(&self, path: &ObjectPath) -> Option<(ObjectPath, usize)> {
        path.ancestors().find_map(|above| {
            let place = *self.places.get(&above)?;
            matches!(self.list.get(place), Some(RecordChange::AddTree { .. })).then_some((above, place))
        })
    }

    fn tree_of(&mut self, path: &ObjectPath) -> Option<(&mut Vec<TreeFile>, Vec<u8>)> {
        let (above, place) = self.tree_above(path)?;
        let name = path.as_bytes().get(above.as_bytes().len() + 1..)?.to_vec();
        match self.list.get_mut(place) {
            Some(RecordChange::AddTree { files, .. }) => Some((files, name)),
            _ => None,
        }
    }
}

fn put(files: &mut Vec<TreeFile>, file: TreeFile) {
    match files.iter_mut().find(|known| known.name == file.name) {
        Some(known) => *known = file,
        None => files.push(file),
    }
}

/// `None` if undo data is among the files.
fn spread(path: &ObjectPath, files: &[TreeFile]) -> Option<Vec<RecordChange>> {
    let one = |file: &TreeFile| {
        let path = path.join(&file.name).ok()?;
        match &file.content {
            TreeContent::Bytes(bytes) => {
                Some(RecordChange::Write { path, bytes: bytes.clone(), mode: file.mode, mtime: file.mtime })
            }
            TreeContent::Directory => Some(RecordChange::AddTree { path, files: Vec::new() }),
            _ => None,
        }
    };
    files.iter().map(one).collect()
}

fn renumbered(mut file: TreeFile, archives: usize) -> TreeFile {
    if let TreeContent::Undo(place) | TreeContent::UndoDigest(place) | TreeContent::Manifest(place) =
        &mut file.content
    {
        *place += archives;
    }
    file
}
