//! The files of a promotion with set-id bits or capabilities: those whose bytes it replaces, and those that get such rights.
//! With them, the objects of the root that get another owner, and the links of another user that lead elsewhere.
//!
//! A program of this kind runs with rights that its caller does not have, so other bytes under the same name are never a
//! matter of course. Neither is another owner, who decides about the object from then on, nor a link of another user that
//! leads out of the promoted paths, or to what others may write than the directory of the link: what is read under its name from
//! then on could be that user's.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::withheld::{ForeignObjects, writer_beside};
use crate::operation::stages::tree::{Tree, TreeObject};
use patchadm_inputs::stage::Scope;
use patchadm_planning::plan::refusal::{SetIdChange, SetIdFile};
use patchadm_planning::plan::{Action, AttributeChange, Body, Change, NewObject, NewXattrs};
use patchadm_rootfs::{AtPath, CAPABILITY, Followed, LinkFollower, LinkMap, Live, LiveKind, Xattrs};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The bits that make a program run as its owner or group.
const SET_ID: u32 = 0o6000;

/// What a file is allowed to do: who it runs as, and with which capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileRights {
    mode: Mode,
    uid: u32,
    gid: u32,
    capabilities: Option<Vec<u8>>,
}

/// Returns the files that changes give other bytes or other rights, and the links of another user that lead out of the promoted
/// paths, sorted by path.
pub(super) fn set_id_files(
    changes: &[Box<Change>],
    (stage, live): (&Tree, &Tree),
    (scope, foreign): (&Scope, &ForeignObjects),
) -> Vec<SetIdFile> {
    let by_path: BTreeMap<&ObjectPath, &Action> =
        changes.iter().map(|change| (&change.path, &change.action)).collect();
    // The mode of a symbolic link says nothing.
    let is_written = |live: &Live| {
        writer_beside(live, None).is_some() && (live.uid != 0 || !matches!(live.kind, LiveKind::Symlink(_)))
    };
    let written = live.objects.iter().filter(|object| is_written(&object.live));
    let written = written.map(|object| (&object.path, &object.live)).collect();
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
    /// The live objects that somebody beside the superuser may write.
    written: BTreeMap<&'a ObjectPath, &'a Live>,
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

    /// Returns an object of the root that gets another owner.
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

    /// Returns a link of another user that is new or has another target, and leads out of the promoted paths or to what others may
    /// write than the directory of the link.
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
        let change = SetIdChange::Link(String::from_utf8_lossy(target).into_owned());
        Some(SetIdFile { path: path.clone(), mode: new.mode, has_capabilities: false, change })
    }

    /// Returns whether a link leads to a path within the promoted ones, as they will be, and to nothing that others may write
    /// than the directory of the link. An absolute target is one of the root.
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
        let on_the_way = [place.clone()].into_iter().chain(place.ancestors());
        let on_the_way = on_the_way.filter_map(|path| self.written.get(&path).copied());
        let below = self.written.range::<ObjectPath, _>((Bound::Excluded(&place), Bound::Unbounded));
        let below = below
            .take_while(|(path, _)| path.as_bytes().starts_with(place.as_bytes()))
            .filter(|(path, _)| path.is_below(&place))
            .map(|(_, live)| *live);
        on_the_way.chain(below).all(|live| writer_beside(live, above).is_none())
    }

    /// Returns the target of a path that will be a link.
    fn target_of(&self, path: &ObjectPath) -> Option<&[u8]> {
        match self.by_path.get(path) {
            Some(Action::Add(new) | Action::Replace(new)) => match &new.body {
                Body::Symlink(target) => Some(target),
                // No plan makes another name of such a name.
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

    /// Returns the rights of a file after a change; `None` for what is no regular file then.
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

    /// Returns the rights of the file that a path becomes another name of.
    fn rights_of_link(&self, path: &ObjectPath, file: &ObjectPath) -> Option<FileRights> {
        match self.by_path.get(file) {
            // No plan makes a link to a link.
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

    /// Returns whether a program with them may do what its caller may not.
    fn are_special(&self) -> bool {
        self.set_id() != 0 || self.capabilities.is_some()
    }

    /// Returns whether a program with them may do what it might not before.
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
