//! Protects the live tree from a stage. Another user's objects pass only bytes, link targets and harmless permissions:
//! no owner, set-id bit, new write permission, or attribute outside `user.`. Other bytes or owners of privileged
//! programs, and links that lead out of the promoted paths, need `--allow-set-id`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::mem;
use std::ops::Range;

use serde::Serialize;

use crate::operation::stages::StageError;
use crate::operation::stages::own_files::writer;
use crate::operation::stages::tree::{Tree, TreeObject};
use patchadm_changeset::format::escaped::as_text;
use patchadm_inputs::stage::{ComparedAttributes, Scope};
use patchadm_planning::plan::refusal::{SetIdChange, SetIdFile};
use patchadm_planning::plan::{Action, AttributeChange, Body, Change, NewObject, NewXattrs};
use patchadm_rootfs::{
    ACCESS_LIST, AtPath, CAPABILITY, Followed, LinkFollower, LinkMap, Live, LiveKind, Root, Xattrs,
    group_rights_of_list,
};
use patchadm_svr4::package::{Mode, ObjectPath};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WithheldObject {
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    /// They stay in the stage; at least one.
    pub attributes: Vec<WithheldAttribute>,
}

/// Could give somebody rights in the live tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WithheldAttribute {
    Owner,
    SetId,
    /// For group or others.
    Write,
    /// Other than write, for group or others.
    Permissions,
    AccessList,
    Capabilities,
    /// Outside `user.`.
    #[serde(rename = "attributes")]
    Others,
}

impl WithheldAttribute {
    /// For text output.
    pub fn words(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::SetId => "set-id bits",
            Self::Write => "write permission of group or others",
            Self::Permissions => "permissions of group or others",
            Self::AccessList => "access list",
            Self::Capabilities => "capabilities",
            Self::Others => "extended attributes of the system",
        }
    }
}

const SET_ID: u32 = 0o6000;

/// Only its owner may remove an object there.
const STICKY: u32 = 0o1000;

const WRITE: u32 = 0o022;

const ALL: u32 = 0o077;

/// The mask if there is an access list.
const GROUP: u32 = 0o070;

/// Objects that another user may have written; in a superuser's stage, also everything in directories with writers whom
/// the live directory does not admit.
#[derive(Debug, Default)]
pub(super) struct ForeignObjects {
    is_all: bool,
    paths: HashSet<ObjectPath>,
    pub(super) directories: BTreeMap<ObjectPath, String>,
}

impl ForeignObjects {
    pub(super) fn all() -> Self {
        Self { is_all: true, ..Self::default() }
    }

    pub(super) fn find(
        scope: &Scope,
        (stage, stage_root): (&Tree, &Root),
        (live, live_root): (&Tree, &Root),
    ) -> Result<Self, StageError> {
        let mut found = Self::default();
        let mut theirs: HashSet<ObjectPath> = HashSet::new();
        for path in scope.paths() {
            let mut ways: Vec<ObjectPath> = path.ancestors().filter(|above| above != path).collect();
            ways.sort();
            for above in ways.into_iter().filter(|above| *above != ObjectPath::root()) {
                let Some(staged) = directory(stage_root, &above)? else { break };
                if let Some(who) = writer_beside(&staged, directory(live_root, &above)?.as_ref()) {
                    found.directories.insert(above, who);
                    theirs.extend(path.parent());
                    break;
                }
            }
        }
        // Directories precede their contents.
        for TreeObject { path, live: staged, .. } in &stage.objects {
            let is_theirs = !theirs.is_empty() && path.parent().is_some_and(|above| theirs.contains(&above));
            if is_theirs {
                found.paths.insert(path.clone());
            }
            if !staged.is_directory() {
                continue;
            }
            if is_theirs {
                theirs.insert(path.clone());
            } else if let Some(who) = writer_beside(staged, live.object(path).map(|object| &object.live)) {
                found.directories.insert(path.clone(), who);
                theirs.insert(path.clone());
            }
        }
        found.add_other_names(stage);
        Ok(found)
    }

    fn add_other_names(&mut self, stage: &Tree) {
        let has_theirs = |object: &&TreeObject| self.paths.contains(&object.path);
        let groups = stage.objects.iter().filter(has_theirs).filter_map(|object| object.group);
        let groups: HashSet<u32> = groups.collect();
        let names =
            stage.objects.iter().filter(|object| object.group.is_some_and(|one| groups.contains(&one)));
        self.paths.extend(names.map(|object| object.path.clone()));
    }

    pub(super) fn has(&self, path: &ObjectPath) -> bool {
        self.is_all || self.paths.contains(path)
    }

    /// Removes withheld attributes. Returns them by path, and the paths of all changed objects.
    pub(super) fn withhold(
        &self,
        stage: &mut Tree,
        live: &Tree,
    ) -> (Vec<WithheldObject>, HashSet<ObjectPath>) {
        let (mut withheld, mut changed) = (Vec::new(), HashSet::new());
        if !self.is_all && self.paths.is_empty() {
            return (withheld, changed);
        }
        let mut owners: BTreeMap<ObjectPath, (u32, u32)> = BTreeMap::new();
        for TreeObject { path, live: staged, .. } in &mut stage.objects {
            let old = live.object(path).map(|object| &object.live);
            if self.has(path) {
                let above = path.parent().and_then(|above| owners.get(&above)).copied();
                let permitted = permitted(staged, old, above.unwrap_or_default());
                let attributes = taken_away(staged, &permitted, !self.is_all);
                if !attributes.is_empty() {
                    withheld.push(WithheldObject { path: path.clone(), attributes });
                }
                if permitted != *staged {
                    changed.insert(path.clone());
                    *staged = permitted;
                }
            }
            if staged.is_directory() {
                let owner = old.unwrap_or(staged);
                owners.insert(path.clone(), (owner.uid, owner.gid));
            }
        }
        changed.extend(self.part_names(stage));
        (withheld, changed)
    }

    /// Splits hard links that need different attributes, and returns their paths. One file would give all names the
    /// owner and permissions of one, possibly that user's.
    fn part_names(&self, stage: &mut Tree) -> Vec<ObjectPath> {
        let mut files: BTreeMap<u32, Vec<&mut TreeObject>> = BTreeMap::new();
        for object in &mut stage.objects {
            if let Some(group) = object.group {
                files.entry(group).or_default().push(object);
            }
        }
        let mut next = files.keys().next_back().copied().unwrap_or_default();
        let mut parted = Vec::new();
        for (_, names) in files.into_iter().filter(|(_, names)| names.iter().any(|name| self.has(&name.path)))
        {
            let mut alike: Vec<Vec<&mut TreeObject>> = Vec::new();
            let mut places: HashMap<_, usize> = HashMap::new();
            for name in names {
                let Live { uid, gid, mode, xattrs, .. } = &name.live;
                let rights = (*uid, *gid, mode.bits(), xattrs.clone());
                let place = *places.entry(rights).or_insert(alike.len());
                match alike.get_mut(place) {
                    Some(names) => names.push(name),
                    None => alike.push(vec![name]),
                }
            }
            if alike.len() < 2 {
                continue;
            }
            for names in alike {
                next = next.saturating_add(1);
                let group = (names.len() > 1).then_some(next);
                for name in names {
                    name.group = group;
                    parted.push(name.path.clone());
                }
            }
        }
        parted
    }
}

fn directory(root: &Root, path: &ObjectPath) -> Result<Option<Live>, StageError> {
    let opened = root.dir_if_there(path)?;
    Ok(opened.map(|dir| dir.live_through(&mut [], b"", None)).transpose()?.flatten())
}

/// Returns who else may write to an object but not to this live directory, as a clause.
fn writer_beside(object: &Live, directory: Option<&Live>) -> Option<String> {
    let who = writer(object)?;
    (!directory.is_some_and(|live| has_no_more_writers(object, live))).then_some(who)
}

fn has_no_more_writers(object: &Live, directory: &Live) -> bool {
    let (bits, live_bits) = (object.mode.bits(), directory.mode.bits());
    directory.is_directory()
        && has_holders_of(object, directory)
        && bits & WRITE & !live_bits == 0
        && live_bits & STICKY & !bits == 0
}

fn has_holders_of(one: &Live, other: &Live) -> bool {
    let lists = |(name, _): &(&Vec<u8>, &Vec<u8>)| name.starts_with(b"system.");
    (one.uid, one.gid) == (other.uid, other.gid)
        && one.xattrs.iter().filter(lists).eq(other.xattrs.iter().filter(lists))
}

/// Live objects that others may write to, compared with a directory many at once: a user may make many links, each to
/// many objects.
struct WrittenObjects<'a> {
    /// Sorted by path.
    objects: Vec<(&'a ObjectPath, &'a Live)>,
    /// For each object, the index of the next one with another owner, group or access list.
    ends: Vec<usize>,
    /// Before each object, and at the end: those that the group may write to, and everybody, and those without sticky
    /// bit.
    before: Vec<[usize; 3]>,
}

impl<'a> WrittenObjects<'a> {
    fn of(objects: Vec<(&'a ObjectPath, &'a Live)>) -> Self {
        let mut before = vec![[0; 3]];
        let mut counts = [0; 3];
        for (_, live) in &objects {
            let bits = live.mode.bits();
            let has = [bits & 0o020 != 0, bits & 0o002 != 0, bits & STICKY == 0];
            for (count, has) in counts.iter_mut().zip(has) {
                *count += usize::from(has);
            }
            before.push(counts);
        }
        let mut ends = Vec::with_capacity(objects.len());
        let mut end = objects.len();
        for at in (0..objects.len()).rev() {
            if let (Some((_, one)), Some((_, next))) = (objects.get(at), objects.get(at + 1))
                && !has_holders_of(one, next)
            {
                end = at + 1;
            }
            ends.push(end);
        }
        ends.reverse();
        Self { objects, ends, before }
    }

    /// True if none of the objects at this place, above and below has more writers than the directory.
    fn have_no_more_writers(&self, place: &ObjectPath, directory: Option<&Live>) -> bool {
        let on_the_way = std::iter::once(place.as_bytes()).chain(place.ancestors_bytes());
        let mut on_the_way = on_the_way.filter_map(|path| {
            let at = self.objects.binary_search_by(|(written, _)| written.as_bytes().cmp(path)).ok()?;
            self.objects.get(at)
        });
        let is_alike = |live: &Live| directory.is_some_and(|directory| has_no_more_writers(live, directory));
        if !on_the_way.all(|(_, live)| is_alike(live)) {
            return false;
        }
        let lowest = place.lowest_below();
        let from = self.objects.partition_point(|(path, _)| **path < lowest);
        let below = self.objects.get(from..).unwrap_or_default();
        let to = from + below.partition_point(|(path, _)| path.is_below(place));
        self.has_no_more_writers_in(from..to, directory)
    }

    fn has_no_more_writers_in(&self, range: Range<usize>, directory: Option<&Live>) -> bool {
        if range.is_empty() {
            return true;
        }
        let (Some(directory), Some((_, first))) = (directory, self.objects.get(range.start)) else {
            return false;
        };
        let count_at = |at: usize| self.before.get(at).copied().unwrap_or_default();
        let counts = count_at(range.end).into_iter().zip(count_at(range.start));
        let bits = directory.mode.bits();
        let lacks = [bits & 0o020 == 0, bits & 0o002 == 0, bits & STICKY != 0];
        directory.is_directory()
            && has_holders_of(first, directory)
            && self.ends.get(range.start).is_some_and(|end| *end >= range.end)
            && counts.zip(lacks).all(|((end, start), lacks)| !lacks || end == start)
    }
}

fn permitted(staged: &Live, old: Option<&Live>, directory: (u32, u32)) -> Live {
    let mut object = staged.clone();
    (object.uid, object.gid) = old.map_or(directory, |old| (old.uid, old.gid));
    let alike = old.filter(|old| mem::discriminant(&old.kind) == mem::discriminant(&staged.kind));
    object.xattrs.retain(|name, _| name.starts_with(b"user."));
    let kept = alike.into_iter().flat_map(|old| &old.xattrs).filter(|(name, _)| !name.starts_with(b"user."));
    object.xattrs.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
    if matches!(staged.kind, LiveKind::Symlink(_)) {
        return object;
    }
    let bits = staged.mode.bits();
    let old_bits = alike.map_or(0, |old| old.mode.bits());
    let has_bytes = matches!(staged.kind, LiveKind::Regular { .. });
    let limited = if alike.is_some() && !has_bytes { ALL } else { WRITE };
    let mut mode = bits & !(SET_ID | limited) | bits & old_bits & limited | old_bits & (SET_ID | STICKY);
    let list = staged.xattrs.get(ACCESS_LIST);
    if list != object.xattrs.get(ACCESS_LIST) {
        let of_list = || list.map_or(bits, |list| group_rights_of_list(list) << 3);
        let group = alike.map_or_else(|| of_list() & bits & !WRITE, |old| old.mode.bits());
        mode = mode & !GROUP | group & GROUP;
    }
    object.mode = Mode::of(mode);
    object
}

fn taken_away(staged: &Live, permitted: &Live, tells_owner: bool) -> Vec<WithheldAttribute> {
    let bits = staged.mode.bits();
    let is_link = matches!(staged.kind, LiveKind::Symlink(_));
    let lost = if is_link { 0 } else { bits & !permitted.mode.bits() };
    let opened = !is_link && permitted.mode.bits() & STICKY & !bits != 0;
    let is_lost = |name: &&Vec<u8>| permitted.xattrs.get(*name) != staged.xattrs.get(*name);
    let names: Vec<&[u8]> = staged.xattrs.keys().filter(is_lost).map(Vec::as_slice).collect();
    let has = |wanted: &dyn Fn(&[u8]) -> bool| names.iter().any(|name| wanted(name));
    let counts = |name: &[u8]| ComparedAttributes { owners: true }.has_xattr(name);
    let all = [
        (tells_owner && (staged.uid, staged.gid) != (permitted.uid, permitted.gid), WithheldAttribute::Owner),
        (lost & SET_ID != 0, WithheldAttribute::SetId),
        (lost & WRITE != 0, WithheldAttribute::Write),
        (lost & (ALL & !WRITE) != 0 || opened, WithheldAttribute::Permissions),
        (has(&|name| name.starts_with(b"system.")), WithheldAttribute::AccessList),
        (has(&|name| name == CAPABILITY), WithheldAttribute::Capabilities),
        (
            has(&|name| !name.starts_with(b"system.") && name != CAPABILITY && counts(name)),
            WithheldAttribute::Others,
        ),
    ];
    all.into_iter().filter(|(is_lost, _)| *is_lost).map(|(_, attribute)| attribute).collect()
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FileRights {
    mode: Mode,
    uid: u32,
    gid: u32,
    capabilities: Option<Vec<u8>>,
}

/// Returns privileged files whose bytes or rights change, and other users' links that lead out, by path.
pub(super) fn set_id_files(
    changes: &[Box<Change>],
    (stage, live): (&Tree, &Tree),
    (scope, foreign): (&Scope, &ForeignObjects),
) -> Vec<SetIdFile> {
    let by_path: BTreeMap<&ObjectPath, &Action> =
        changes.iter().map(|change| (&change.path, &change.action)).collect();
    // A symbolic link's mode means nothing.
    let is_written = |live: &Live| {
        writer_beside(live, None).is_some() && (live.uid != 0 || !matches!(live.kind, LiveKind::Symlink(_)))
    };
    let written = live.objects.iter().filter(|object| is_written(&object.live));
    let written = WrittenObjects::of(written.map(|object| (&object.path, &object.live)).collect());
    let finder = SetIdFinder { by_path, stage, live, scope, foreign, written };
    let mut links = LinkFollower::new(&finder);
    let found = finder.by_path.iter().filter_map(|(path, action)| {
        let found = finder.file(path, action).or_else(|| finder.other_owner(path, action));
        found.or_else(|| finder.link_out(path, action, &mut links))
    });
    found.collect()
}

struct SetIdFinder<'a> {
    by_path: BTreeMap<&'a ObjectPath, &'a Action>,
    stage: &'a Tree,
    live: &'a Tree,
    scope: &'a Scope,
    foreign: &'a ForeignObjects,
    written: WrittenObjects<'a>,
}

impl LinkMap for &SetIdFinder<'_> {
    fn at(&self, path: &[u8]) -> AtPath {
        let target = ObjectPath::new(path).ok().and_then(|path| self.target_of(&path).map(Into::into));
        target.map_or(AtPath::Other, AtPath::Link)
    }
}

impl SetIdFinder<'_> {
    fn file(&self, path: &ObjectPath, action: &Action) -> Option<SetIdFile> {
        let old = regular(self.live, path);
        let before = old.map(FileRights::of);
        let after = self.rights_after(path, action)?;
        let is_replaced = matches!(action, Action::Replace(_));
        let is_other = || regular(self.stage, path).map(|new| &new.kind) != old.map(|old| &old.kind);
        let (rights, change) = match before {
            Some(before) if before.are_special() && is_replaced && is_other() => (before, SetIdChange::Bytes),
            _ if !after.are_special() => return None,
            None => (after, SetIdChange::New),
            Some(before) if after.exceed(&before) => (after, SetIdChange::Rights),
            Some(_) => return None,
        };
        let FileRights { mode, capabilities, .. } = rights;
        Some(SetIdFile { path: path.clone(), mode, has_capabilities: capabilities.is_some(), change })
    }

    fn other_owner(&self, path: &ObjectPath, action: &Action) -> Option<SetIdFile> {
        let old = &self.live.object(path)?.live;
        let from = (old.uid, old.gid);
        let (mode, to) = match action {
            Action::Add(new) | Action::Replace(new) => (new.mode, (new.uid, new.gid)),
            Action::Attributes(change) => {
                let to = (change.uid.unwrap_or(old.uid), change.gid.unwrap_or(old.gid));
                (change.mode.unwrap_or(old.mode), to)
            }
            Action::Delete | Action::RemoveDirectory => return None,
        };
        let change = SetIdChange::Owner { from, to };
        (from != to).then(|| SetIdFile { path: path.clone(), mode, has_capabilities: false, change })
    }

    /// Finds another user's new link out of the promoted paths, or to something with more writers than the link's
    /// directory.
    fn link_out(
        &self,
        path: &ObjectPath,
        action: &Action,
        links: &mut LinkFollower<&Self>,
    ) -> Option<SetIdFile> {
        let (Action::Add(new) | Action::Replace(new)) = action else { return None };
        if !self.foreign.has(path) {
            return None;
        }
        let target = match &new.body {
            Body::Symlink(target) => target.as_slice(),
            Body::Link(_) => self.target_of(path)?,
            _ => return None,
        };
        let old = self.live.object(path).map(|object| &object.live.kind);
        let is_old = matches!(old, Some(LiveKind::Symlink(old)) if old.as_slice() == target);
        if is_old || self.stays_inside(path, target, links) {
            return None;
        }
        let change = SetIdChange::Link { target: String::from_utf8_lossy(target).into_owned() };
        Some(SetIdFile { path: path.clone(), mode: new.mode, has_capabilities: false, change })
    }

    /// The link stays inside, and its target has no more writers than its directory. Absolute targets start at the
    /// root.
    fn stays_inside(&self, link: &ObjectPath, target: &[u8], links: &mut LinkFollower<&Self>) -> bool {
        let above = link.parent().unwrap_or_else(ObjectPath::root);
        let from = Followed {
            links: vec![link.clone()],
            path: above.as_bytes().strip_suffix(b"/").unwrap_or(above.as_bytes()).to_vec(),
        };
        let followed = links.follow(from, target, &mut false);
        let Some(place) = followed.and_then(|followed| ObjectPath::new(followed.path()).ok()) else {
            return false;
        };
        if !self.scope.contains(&place) {
            return false;
        }
        let above = self.live.object(&above).map(|object| &object.live);
        self.written.have_no_more_writers(&place, above)
    }

    fn target_of(&self, path: &ObjectPath) -> Option<&[u8]> {
        match self.by_path.get(path) {
            Some(Action::Add(new) | Action::Replace(new)) => match &new.body {
                Body::Symlink(target) => Some(target),
                // Plans never link to such a name.
                Body::Link(file) => match self.by_path.get(file) {
                    Some(Action::Add(new) | Action::Replace(new)) => match &new.body {
                        Body::Symlink(target) => Some(target),
                        _ => None,
                    },
                    _ => self.live_target(file),
                },
                _ => None,
            },
            Some(Action::Delete | Action::RemoveDirectory) => None,
            Some(Action::Attributes(_)) | None => self.live_target(path),
        }
    }

    fn live_target(&self, path: &ObjectPath) -> Option<&[u8]> {
        match &self.live.object(path)?.live.kind {
            LiveKind::Symlink(target) => Some(target),
            _ => None,
        }
    }

    fn rights_after(&self, path: &ObjectPath, action: &Action) -> Option<FileRights> {
        match action {
            Action::Add(NewObject { body: Body::Link(file), .. })
            | Action::Replace(NewObject { body: Body::Link(file), .. }) => self.rights_of_link(path, file),
            Action::Add(new) | Action::Replace(new) => {
                matches!(new.body, Body::Member(_)).then(|| FileRights::of_new(new))
            }
            Action::Attributes(change) => {
                regular(self.live, path).map(|old| FileRights::changed(old, change))
            }
            Action::Delete | Action::RemoveDirectory => None,
        }
    }

    fn rights_of_link(&self, path: &ObjectPath, file: &ObjectPath) -> Option<FileRights> {
        match self.by_path.get(file) {
            // Plans never link to a link.
            Some(Action::Add(new) | Action::Replace(new)) => Some(FileRights::of_new(new)),
            Some(action) => self.rights_after(file, action),
            None => regular(self.live, file).or_else(|| regular(self.stage, path)).map(FileRights::of),
        }
    }
}

fn regular<'t>(tree: &'t Tree, path: &ObjectPath) -> Option<&'t Live> {
    let TreeObject { live, .. } = tree.object(path)?;
    matches!(live.kind, LiveKind::Regular { .. }).then_some(live)
}

impl FileRights {
    fn of(live: &Live) -> Self {
        let Live { mode, uid, gid, .. } = *live;
        Self { mode, uid, gid, capabilities: capabilities(&live.xattrs) }
    }

    fn of_new(new: &NewObject) -> Self {
        let capabilities = match &new.xattrs {
            NewXattrs::Given(xattrs) | NewXattrs::Exact(xattrs) => capabilities(xattrs),
            NewXattrs::Inherited => None,
        };
        Self { mode: new.mode, uid: new.uid, gid: new.gid, capabilities }
    }

    fn changed(old: &Live, change: &AttributeChange) -> Self {
        Self {
            mode: change.mode.unwrap_or(old.mode),
            uid: change.uid.unwrap_or(old.uid),
            gid: change.gid.unwrap_or(old.gid),
            capabilities: capabilities(change.xattrs.as_ref().unwrap_or(&old.xattrs)),
        }
    }

    fn set_id(&self) -> u32 {
        self.mode.bits() & SET_ID
    }

    fn are_special(&self) -> bool {
        self.set_id() != 0 || self.capabilities.is_some()
    }

    fn exceed(&self, before: &Self) -> bool {
        let is_other_owner = self.set_id() != 0 && (self.uid, self.gid) != (before.uid, before.gid);
        let has_more = self.set_id() & !before.set_id() != 0;
        let is_other_set = self.capabilities.is_some() && self.capabilities != before.capabilities;
        is_other_owner || has_more || is_other_set
    }
}

fn capabilities(xattrs: &Xattrs) -> Option<Vec<u8>> {
    xattrs.get(CAPABILITY).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::{Digest, Inode, Timestamp};

    const FILE: LiveKind = LiveKind::Regular { size: 0, b3: Digest([0; 32]), cksum: 0 };

    fn live(kind: LiveKind, mode: u32) -> Live {
        Live {
            kind,
            mode: Mode::of(mode),
            uid: 0,
            gid: 0,
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            inode: Inode { number: 1, born: None },
            links: 1,
            xattrs: Xattrs::new(),
            obstacle: None,
        }
    }

    fn with(live: Live, name: &[u8], value: &[u8]) -> Live {
        let mut live = live;
        live.xattrs.insert(name.to_vec(), value.to_vec());
        live
    }

    /// Entries: owner, user 7, group, mask and others.
    fn list(group: u16, user: u16) -> Vec<u8> {
        let entries = [
            (1_u16, 7_u16, u32::MAX),
            (2, user, 7),
            (4, group, u32::MAX),
            (16, 7, u32::MAX),
            (32, 0, u32::MAX),
        ];
        let mut list = vec![2, 0, 0, 0];
        for (tag, rights, id) in entries {
            list.extend(tag.to_le_bytes());
            list.extend(rights.to_le_bytes());
            list.extend(id.to_le_bytes());
        }
        list
    }

    fn mode(staged: &Live, old: Option<&Live>) -> String {
        format!("{:04o}", permitted(staged, old, (0, 0)).mode.bits())
    }

    #[test]
    fn a_file_gets_no_right_to_write_that_it_did_not_give_and_loses_what_the_stage_takes() {
        let file = |mode| live(FILE, mode);
        for (staged, old, expected) in [
            (0o6777, None, "0755"),
            (0o0666, Some(0o600), "0644"),
            (0o0664, Some(0o664), "0664"),
            (0o0644, Some(0o666), "0644"),
            (0o0755, Some(0o4755), "4755"),
        ] {
            let old = old.map(file);
            assert_eq!(mode(&file(staged), old.as_ref()), expected, "{staged:o}");
        }
        let directory = |mode| live(LiveKind::Directory, mode);
        assert_eq!(mode(&directory(0o755), Some(&directory(0o700))), "0700", "it is opened to nobody");
        assert_eq!(mode(&directory(0o777), Some(&directory(0o1777))), "1777");
        assert_eq!(mode(&directory(0o755), None), "0755");
        assert_eq!(mode(&directory(0o755), Some(&file(0o600))), "0755", "another object");
    }

    #[test]
    fn an_access_list_stays_in_the_stage_with_its_mask_and_that_of_the_live_object_stays_there() {
        let file = |mode| live(FILE, mode);
        let staged = with(file(0o670), ACCESS_LIST, &list(4, 6));
        assert_eq!(mode(&staged, None), "0640");
        assert_eq!(mode(&with(file(0o670), ACCESS_LIST, b"?"), None), "0600");
        assert_eq!(mode(&staged, Some(&file(0o600))), "0600");
        let old = with(file(0o650), ACCESS_LIST, &list(5, 5));
        let object = permitted(&staged, Some(&old), (0, 0));
        assert_eq!((object.mode.bits(), object.xattrs), (0o650, old.xattrs.clone()));
        assert_eq!(
            taken_away(&staged, &permitted(&staged, None, (0, 0)), true),
            [WithheldAttribute::Write, WithheldAttribute::Permissions, WithheldAttribute::AccessList]
        );
        let marked = with(file(0o600), b"user.origin", b"here");
        assert_eq!(permitted(&marked, Some(&file(0o600)), (0, 0)).xattrs, marked.xattrs);
    }

    fn path(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn objects_of_others_are_compared_at_once_as_one_by_one() {
        let of = |kind: LiveKind, mode, uid| Live { uid, ..live(kind, mode) };
        let kinds = |kind: &LiveKind| {
            let modes = [0o700, 0o720, 0o702, 0o722, 0o1700, 0o1722];
            let mut all: Vec<Live> = modes.iter().map(|mode| of(kind.clone(), *mode, 7)).collect();
            all.push(of(kind.clone(), 0o700, 8));
            all.push(with(of(kind.clone(), 0o770, 7), ACCESS_LIST, &list(7, 7)));
            all
        };
        let files = kinds(&FILE);
        let mut directories = kinds(&LiveKind::Directory);
        directories.push(of(FILE, 0o722, 7));
        let (one, other, behind) = (path("/d/a"), path("/d/b"), path("/d-"));
        let stranger = of(FILE, 0o777, 9);
        for (first, second) in files.iter().flat_map(|first| files.iter().map(move |second| (first, second)))
        {
            let written = WrittenObjects::of(vec![(&behind, &stranger), (&one, first), (&other, second)]);
            for directory in directories.iter().map(Some).chain([None]) {
                let has_more = |object: &Live| writer_beside(object, directory).is_some();
                let is_none_more = !has_more(first) && !has_more(second);
                assert_eq!(written.have_no_more_writers(&path("/d"), directory), is_none_more);
                assert_eq!(written.have_no_more_writers(&one, directory), !has_more(first));
                assert_eq!(written.have_no_more_writers(&path("/d/a/x"), directory), !has_more(first));
                assert!(written.have_no_more_writers(&path("/e"), directory));
            }
        }
    }

    #[test]
    fn many_links_to_a_directory_of_many_objects_take_no_time() {
        let directory = Live { uid: 7, ..live(LiveKind::Directory, 0o755) };
        let file = Live { uid: 7, ..live(FILE, 0o644) };
        let paths: Vec<ObjectPath> = (0..100_000).map(|number| path(&format!("/d/{number:06}"))).collect();
        let written = WrittenObjects::of(paths.iter().map(|path| (path, &file)).collect());
        let place = path("/d");
        assert!((0..100_000).all(|_| written.have_no_more_writers(&place, Some(&directory))));
    }

    #[test]
    fn names_of_one_file_with_other_rights_are_parted_in_no_time() {
        let mut stage = Tree::default();
        for number in 0..30_000_u32 {
            let live = Live { uid: number / 2, ..live(FILE, 0o644) };
            stage.objects.push(TreeObject { path: path(&format!("/{number:06}")), live, group: Some(0) });
        }
        let parted = ForeignObjects::all().part_names(&mut stage);
        assert_eq!(parted.len(), stage.objects.len());
        let groups: Vec<Option<u32>> = stage.objects.iter().map(|object| object.group).collect();
        assert!(groups.chunks(2).all(|pair| pair[0].is_some() && pair[0] == pair[1]));
    }
}
