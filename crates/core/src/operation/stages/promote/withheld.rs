//! The attributes of a promoted tree that do not go live, because another user could have chosen them.
//!
//! Of the objects of another user, bytes, targets and permissions come; nothing comes that gives somebody rights on the live
//! tree: no owner, no set-id bit, no right to write for group and others that the live object does not give already, and
//! no extended attribute but those of `user`. The live object keeps its own, and a new one has none of them. A directory that
//! stays, which is no bytes of the stage, is opened to nobody either.
//!
//! All objects of a stage that another user made, or may write to, are that user's. In a stage of the superuser, so is
//! everything in a directory that somebody may write to who may not write to the live one.

use std::collections::{BTreeMap, HashSet};
use std::mem;

use super::report::{WithheldAttribute, WithheldObject};
use crate::operation::stages::error::StageError;
use crate::operation::stages::other_writer::writer;
use crate::operation::stages::tree::{Tree, TreeObject};
use patchadm_inputs::stage::{ComparedAttributes, Scope};
use patchadm_rootfs::{ACCESS_LIST, CAPABILITY, Live, LiveKind, Root, Xattrs, group_rights_of_list};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The bits that make a program run as its owner or group.
const SET_ID: u32 = 0o6000;

/// The bit that lets nobody but its owner remove an object of a directory.
const STICKY: u32 = 0o1000;

/// The rights of group and others to write.
const WRITE: u32 = 0o022;

/// All rights of group and others.
const ALL: u32 = 0o077;

/// The rights of the group, which are those of the mask where there is an access list.
const GROUP: u32 = 0o070;

/// The paths of a promoted tree whose objects are another user's, and why.
#[derive(Debug, Default)]
pub(super) struct ForeignObjects {
    /// Whether all of them are.
    is_all: bool,
    paths: HashSet<ObjectPath>,
    /// The topmost of their directories, and who may write there, in words.
    pub(super) directories: BTreeMap<ObjectPath, String>,
}

impl ForeignObjects {
    /// Returns all objects of a tree.
    pub(super) fn all() -> Self {
        Self { is_all: true, ..Self::default() }
    }

    /// Finds those in a tree whose top directory is the superuser's alone.
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
        // The directory of an object comes before it.
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

    /// Adds the other names of files that have a name in a directory of another user.
    fn add_other_names(&mut self, stage: &Tree) {
        let has_theirs = |object: &&TreeObject| self.paths.contains(&object.path);
        let groups = stage.objects.iter().filter(has_theirs).filter_map(|object| object.group);
        let groups: HashSet<u32> = groups.collect();
        let names =
            stage.objects.iter().filter(|object| object.group.is_some_and(|one| groups.contains(&one)));
        self.paths.extend(names.map(|object| object.path.clone()));
    }

    /// Returns whether the object at a path is one of them.
    pub(super) fn has(&self, path: &ObjectPath) -> bool {
        self.is_all || self.paths.contains(path)
    }

    /// Takes from the objects of a tree what they may not give to the live ones. Returns what was taken, sorted by path, and
    /// the paths of the objects that are no longer as they were read.
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

    /// Makes names of one file that may not go live alike files of their own, and returns their paths. As one file, all would
    /// have the owner and the rights of one of them, which its user has perhaps.
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
            for name in names {
                let is_like = |other: &Vec<&mut TreeObject>| {
                    other.first().is_some_and(|other| has_rights_of(&other.live, &name.live))
                };
                match alike.iter_mut().find(|names| is_like(names)) {
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

/// Returns whether two states of a file have the same owner, permissions and attributes.
fn has_rights_of(one: &Live, other: &Live) -> bool {
    (one.uid, one.gid, one.mode) == (other.uid, other.gid, other.mode) && one.xattrs == other.xattrs
}

/// Returns everything about a directory that is no object of a tree; `None` if there is none.
fn directory(root: &Root, path: &ObjectPath) -> Result<Option<Live>, StageError> {
    let opened = root.dir_if_there(path)?;
    Ok(opened.map(|dir| dir.live_through(&mut [], b"", None)).transpose()?.flatten())
}

/// Returns who beside the superuser may write to an object and not to this live directory, in words.
pub(super) fn writer_beside(object: &Live, directory: Option<&Live>) -> Option<String> {
    let who = writer(object)?;
    let is_alike = |live: &Live| {
        let lists = |of: &Live| -> Xattrs {
            let mut lists = of.xattrs.clone();
            lists.retain(|name, _| name.starts_with(b"system."));
            lists
        };
        let (bits, live_bits) = (object.mode.bits(), live.mode.bits());
        (object.uid, object.gid) == (live.uid, live.gid)
            && bits & WRITE & !live_bits == 0
            && live_bits & STICKY & !bits == 0
            && lists(object) == lists(live)
    };
    (!directory.is_some_and(|live| live.is_directory() && is_alike(live))).then_some(who)
}

/// Returns an object of another user as it may go live in the place of `old`, in a directory of this owner.
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

/// Returns what an object lost that could have given rights to somebody.
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

    /// An access list of the owner, user 7, the group, the mask and others, with these rights of the group and of user 7.
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
}
