//! Several patches as one run: what all of them do, done at once.
//!
//! Every path has a chain: what is there, what the first patch puts there, the second, …, or nothing. Only the last
//! link of a chain is switched. Each patch keeps its own undo archive, as a run of its own would have written it; what
//! it saves of an earlier patch of the run is one of [`Plan::versions`]. The plans were made one after another against
//! [`super::projected_root::ProjectedRoot`], which ends a run where this could not be exact.

mod records;

use std::collections::BTreeMap;

use super::projected_root::{MadeObjects, has_same_bytes};
use crate::plan::UndoArchive;
use crate::plan::space::BALLAST;
use crate::plan::{
    Action, AttributeChange, Body, Change, Member, NewObject, NewXattrs, Plan, ReplacedVersion, SpaceNeed,
};
use patchadm_rootfs::{FileType, Live};
use patchadm_svr4::package::ObjectPath;

/// One patch of a run.
#[derive(Clone, Copy, Debug)]
pub struct Single<'a> {
    /// What it does, by itself.
    pub plan: &'a Plan,
    /// What it makes.
    pub made: &'a MadeObjects,
    /// How many packages the sources of the patches before it have: members are numbered over all of them.
    pub packages: usize,
}

/// All changes of one path, each with the place of its patch.
type Chain<'a> = Vec<(usize, &'a Change)>;

/// The plans of one run as a single one; none where there is no patch.
pub fn combine_plans(patches: &[Single<'_>]) -> Option<Plan> {
    patches.last().map(|last| combine(patches, last.plan))
}

/// The plans of one run of two patches as a single one.
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
        records: records::folded(plans()),
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

/// What a chain comes to.
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

/// The new object of the patch at `place`, where the run puts it in the place of what was there before `first`.
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
        // Staging sees neither what an earlier patch of the run put there nor the directories that it made.
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

/// The attributes that a chain of changes leaves, counted from its last new object.
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

/// The archive of the patch at `place` as the run writes it: where its objects come from, and what a later patch does
/// not leave for staging to read.
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

/// What all plans need together, at most: what they share is counted with each.
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
