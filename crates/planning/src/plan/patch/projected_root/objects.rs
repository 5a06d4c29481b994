//! The objects that a plan leaves: with the attributes that staging gives them.

use std::collections::{BTreeMap, HashSet};

use super::{MadeObjects, ProjectedRoot};
use crate::plan::{Action, Body, Change, NewObject, NewXattrs, Plan};
use patchadm_inputs::inventory::has_names;
use patchadm_rootfs::{
    ACCESS_LIST, CAPABILITY, DEFAULT_LIST, Digest, Inode, Live, LiveKind, Xattrs, is_label,
};
use patchadm_svr4::package::{Mode, ObjectPath};

impl ProjectedRoot {
    /// Puts the objects of a plan into the inventory.
    pub(super) fn objects(&mut self, plan: &Plan, digests: &BTreeMap<ObjectPath, Digest>) -> MadeObjects {
        let certain = self.inventory.privileged || !self.hands_down_groups();
        let mut made = MadeObjects::new();
        for links in [false, true] {
            for change in &plan.changes {
                if let Action::Add(new) | Action::Replace(new) = &change.action
                    && matches!(new.body, Body::Link(_)) == links
                {
                    let live = self.new_live(change, new, &made, digests);
                    let is_known =
                        !matches!(live.kind, LiveKind::Regular { .. }) || digests.contains_key(&change.path);
                    // Capabilities stay with the same bytes, and these are not always known yet.
                    let had_capability =
                        change.old.as_ref().is_some_and(|old| old.xattrs.contains_key(CAPABILITY));
                    if !certain || !is_known || has_acl(&live.xattrs) || had_capability || links {
                        self.uncertain.insert(change.path.clone());
                    }
                    made.insert(change.path.clone(), live);
                }
            }
        }
        self.doubt_names(plan);
        for change in &plan.changes {
            self.put(change, &made);
        }
        made
    }

    /// Names of one file: who changes one of them changes what is known of the others.
    fn doubt_names(&mut self, plan: &Plan) {
        let mut files: HashSet<Inode> = HashSet::new();
        for change in &plan.changes {
            files.extend(change.old.as_ref().filter(|old| has_names(old)).map(|old| old.inode));
            if let Action::Add(new) | Action::Replace(new) = &change.action
                && let Body::Link(source) = &new.body
            {
                self.uncertain.insert(source.clone());
                files.extend(self.inventory.live.get(source).map(|live| live.inode));
            }
        }
        if files.is_empty() {
            return;
        }
        let names = self.inventory.live.iter().filter(|(_, live)| files.contains(&live.inode));
        self.uncertain.extend(names.map(|(path, _)| path.clone()));
    }

    fn put(&mut self, change: &Change, made: &MadeObjects) {
        let path = &change.path;
        self.changed.insert(path.clone());
        self.inventory.delivered.remove(path);
        let place = self.place_of(path);
        self.inventory.physical.entry(path.clone()).or_insert_with(|| place.clone());
        self.places.insert(place, path.clone());
        if let Some(parent) = path.parent()
            && let Some(&on) = self.inventory.on.get(&parent)
        {
            self.inventory.on.entry(path.clone()).or_insert(on);
        }
        match &change.action {
            Action::Add(_) | Action::Replace(_) => {
                self.made.insert(path.clone());
                let live = made.get(path).cloned();
                self.inventory.live.extend(live.map(|live| (path.clone(), live)));
            }
            Action::Delete | Action::RemoveDirectory => {
                self.made.remove(path);
                self.inventory.live.remove(path);
            }
            Action::Attributes(new) => {
                if let Some(live) = self.inventory.live.get_mut(path) {
                    live.mode = new.mode.unwrap_or(live.mode);
                    live.uid = new.uid.unwrap_or(live.uid);
                    live.gid = new.gid.unwrap_or(live.gid);
                    live.xattrs = new.xattrs.clone().unwrap_or_else(|| live.xattrs.clone());
                }
            }
        }
        self.inventory.name_changed(path);
    }

    /// Where a path is on the disk; one that the survey did not know is beside one that it knew.
    pub(super) fn place_of(&self, path: &ObjectPath) -> ObjectPath {
        let physical = &self.inventory.physical;
        let beside = || {
            let parent = path.parent()?;
            physical.get(&parent)?.join(path.name()).ok()
        };
        physical.get(path).cloned().or_else(beside).unwrap_or_else(|| path.clone())
    }

    /// Whether some directory gives its group to what is made in it: then nobody but the file system knows which one
    /// an object of the unprivileged gets.
    fn hands_down_groups(&self) -> bool {
        self.inventory.live.values().any(|live| live.is_directory() && live.mode.bits() & 0o2000 != 0)
    }

    fn new_live(
        &mut self,
        change: &Change,
        new: &NewObject,
        made: &MadeObjects,
        digests: &BTreeMap<ObjectPath, Digest>,
    ) -> Live {
        let inventory = &self.inventory;
        let copied = |path: &ObjectPath| inventory.live.get(path).cloned();
        let kind = match &new.body {
            Body::Member(member) => LiveKind::Regular {
                size: member.size,
                cksum: member.cksum,
                b3: digests
                    .get(&change.path)
                    .copied()
                    .or(member.b3.as_deref().copied())
                    .unwrap_or(Digest([0; 32])),
            },
            Body::CopyOf(path) => copied(path).map_or(LiveKind::Socket, |live| live.kind),
            Body::Link(source) => match made.get(source).cloned().or_else(|| copied(source)) {
                Some(file) => return Live { links: file.links.max(2), ..file },
                None => LiveKind::Socket,
            },
            Body::Directory => LiveKind::Directory,
            Body::Symlink(target) => LiveKind::Symlink(target.clone()),
            Body::Pipe => LiveKind::Pipe,
            Body::Device { block, major, minor } => {
                LiveKind::Device { block: *block, major: *major, minor: *minor }
            }
        };
        // chmod(2) does not know symbolic links
        let mode = if matches!(kind, LiveKind::Symlink(_)) { Mode::of(0o777) } else { new.mode };
        let xattrs = match &new.xattrs {
            NewXattrs::Exact(xattrs) => xattrs.clone(),
            NewXattrs::Inherited => self.inherited(change, &kind, made),
            NewXattrs::Given(given) => {
                let mut xattrs = self.inherited(change, &kind, made);
                xattrs.retain(|key, _| is_label(key));
                xattrs.extend(given.clone());
                xattrs
            }
        };
        self.numbered += 1;
        Live {
            kind,
            mode,
            uid: new.uid,
            gid: new.gid,
            mtime: new.mtime.unwrap_or(self.when),
            ctime: self.when,
            inode: Inode { number: u64::MAX - self.numbered, born: None },
            links: 1,
            xattrs,
            obstacle: None,
        }
    }

    /// What staging lets an object take over: from what it replaces, else from its directory, if that is there by then.
    fn inherited(&self, change: &Change, kind: &LiveKind, made: &MadeObjects) -> Xattrs {
        if matches!(kind, LiveKind::Symlink(_)) {
            return Xattrs::new();
        }
        if let Some(old) = &change.old {
            let mut kept = old.handed_on(has_same_bytes(old, kind));
            if matches!(kind, LiveKind::Pipe | LiveKind::Device { .. }) {
                kept.retain(|key, _| !key.starts_with(b"user."));
            }
            return kept;
        }
        let Some(parent) = self.place_of(&change.path).parent() else { return Xattrs::new() };
        if made.contains_key(&parent) {
            return Xattrs::new();
        }
        let parent = self.inventory.live.get(&parent);
        let mut handed_down = Xattrs::new();
        for (key, value) in parent.iter().flat_map(|parent| &parent.xattrs) {
            if is_label(key) {
                handed_down.insert(key.clone(), value.clone());
            } else if key == DEFAULT_LIST {
                handed_down.insert(ACCESS_LIST.to_vec(), value.clone());
                if *kind == LiveKind::Directory {
                    handed_down.insert(key.clone(), value.clone());
                }
            }
        }
        handed_down
    }
}

/// Tells whether a new object is a file with the bytes of the old one.
pub(in crate::plan) fn has_same_bytes(old: &Live, new: &LiveKind) -> bool {
    matches!((&old.kind, new), (LiveKind::Regular { b3: old, .. }, LiveKind::Regular { b3: new, .. }) if old == new)
}

/// Whether the mode that is set afterwards changes what is in the attributes.
fn has_acl(xattrs: &Xattrs) -> bool {
    xattrs.keys().any(|key| key.starts_with(b"system.posix_acl"))
}
