//! The root as earlier patches of the run leave it, computed from one survey and the plans; the next patch is planned
//! against it. If the result would not be exact, or a survey for that patch would differ, the run ends, and the patch
//! gets its own survey and run after the commit.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use patchadm_changeset::RecordFile;
use patchadm_changeset::format::manifest::ObjectRecord;
use patchadm_inputs::inventory::{Installed, Interruption, Inventory, Save, Touched, has_names};
use patchadm_rootfs::{
    ACCESS_LIST, CAPABILITY, DEFAULT_LIST, Digest, Inode, Live, LiveKind, Timestamp, Xattrs, is_label,
};
use patchadm_svr4::format::params;
use patchadm_svr4::package::{Ftype, Mode, ObjectPath, PkgInst};
use patchadm_svr4::places;

use crate::plan::links::root_of;
use crate::plan::records::INSTALL_LOCK;
use crate::plan::refusal::Reason;
use crate::plan::space::enough;
use crate::plan::{
    Action, BALLAST, Body, Change, NewObject, NewXattrs, Plan, RecordChange, SpaceNeed, TreeContent, TreeFile,
};

/// Delivered objects as a patch leaves them.
pub type MadeObjects = BTreeMap<ObjectPath, Live>;

/// The root after some patches of a run.
#[derive(Debug)]
pub struct ProjectedRoot {
    /// For the next plan.
    pub inventory: Inventory,
    surveyed: Touched,
    when: Timestamp,
    patches: usize,
    /// Counter for inode numbers that no real object has.
    numbered: u64,
    changed: BTreeSet<ObjectPath>,
    made: BTreeSet<ObjectPath>,
    uncertain: BTreeSet<ObjectPath>,
    mentioned: BTreeSet<ObjectPath>,
    /// Directories that come, go or change type: nothing is known at or below them.
    closed: BTreeSet<ObjectPath>,
    /// Symbolic links that come, go or change: nothing is known below them.
    turned: BTreeSet<ObjectPath>,
    places: BTreeMap<ObjectPath, ObjectPath>,
    reshaped: bool,
    accounts: bool,
    needs: BTreeMap<String, (u64, u64)>,
}

impl ProjectedRoot {
    /// `inventory` is the survey of `surveyed` before the first patch, `when` the time of the run.
    pub fn new(mut inventory: Inventory, surveyed: Touched, when: Timestamp) -> Self {
        inventory.find_names();
        Self {
            inventory,
            surveyed,
            when,
            patches: 0,
            numbered: 0,
            changed: BTreeSet::new(),
            made: BTreeSet::new(),
            uncertain: BTreeSet::new(),
            mentioned: BTreeSet::new(),
            closed: BTreeSet::new(),
            turned: BTreeSet::new(),
            places: BTreeMap::new(),
            reshaped: false,
            accounts: false,
            needs: BTreeMap::new(),
        }
    }

    /// Advances past a patch, and returns the objects that it made. `digests` are those of delivered files that later
    /// patches touch.
    pub fn go_on(&mut self, plan: &Plan, digests: &BTreeMap<ObjectPath, Digest>) -> MadeObjects {
        self.patches += 1;
        let needs = self.needs_with(plan);
        self.needs.extend(needs.into_iter().map(|need| (need.file_system, (need.bytes, need.inodes))));
        self.close(plan);
        let made = self.objects(plan, digests);
        for (path, line) in &plan.contents {
            match line {
                Some(line) => drop(self.inventory.lines.insert(path.clone(), (**line).clone())),
                None => drop(self.inventory.lines.remove(path)),
            }
            self.inventory.name_changed(path);
        }
        self.manifests(plan);
        for record in &plan.records {
            self.record(record);
        }
        made
    }

    fn manifests(&mut self, plan: &Plan) {
        let patch = plan.patches.first().cloned().unwrap_or_default();
        for record in plan.undo.iter().flat_map(|undo| &undo.manifest.objects) {
            let Some(path) = record.object_path() else { continue };
            if !self.changed.contains(&path) {
                self.mentioned.insert(path.clone());
            }
            if record.is_listed() && self.inventory.physical.contains_key(&path) {
                let patches = self.inventory.patched_by.entry(path).or_default();
                if !patches.contains(&patch) {
                    patches.push(patch.clone());
                }
            }
        }
    }

    fn objects(&mut self, plan: &Plan, digests: &BTreeMap<ObjectPath, Digest>) -> MadeObjects {
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
                    // Capabilities stay if the bytes are the same, and the bytes are not always known yet.
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

    fn place_of(&self, path: &ObjectPath) -> ObjectPath {
        let physical = &self.inventory.physical;
        let beside = || {
            let parent = path.parent()?;
            physical.get(&parent)?.join(path.name()).ok()
        };
        physical.get(path).cloned().or_else(beside).unwrap_or_else(|| path.clone())
    }

    /// With set-group-ID directories, only the file system knows the group of a new object.
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

    /// Attributes inherited from the replaced object, else from the directory.
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

pub(in crate::plan) fn has_same_bytes(old: &Live, new: &LiveKind) -> bool {
    matches!((&old.kind, new), (LiveKind::Regular { b3: old, .. }, LiveKind::Regular { b3: new, .. }) if old == new)
}

fn has_acl(xattrs: &Xattrs) -> bool {
    xattrs.keys().any(|key| key.starts_with(b"system.posix_acl"))
}

impl ProjectedRoot {
    pub(super) fn record(&mut self, record: &RecordChange) {
        match record {
            RecordChange::Write { path, bytes, mode, mtime } => {
                let file = RecordFile {
                    bytes: bytes.clone().into(),
                    mode: *mode,
                    mtime: mtime.unwrap_or(self.when),
                };
                self.written(path, file);
            }
            RecordChange::AddTree { path, files } => self.tree(path, files),
            RecordChange::Move { from, to } => {
                if let Some((save, _)) = self.in_save(from)
                    && let Ok(name) = std::str::from_utf8(to.name())
                {
                    save.archive = Some(name.to_owned());
                }
            }
            RecordChange::RemoveFile(path) => {
                if let Some((save, name)) = self.in_save(path) {
                    if name == b"obsoleted_by" {
                        save.obsoleted_by = None;
                    }
                } else if let Some((installed, name)) = self.in_package(path) {
                    if name == INSTALL_LOCK.as_bytes() {
                        installed.interruption = Interruption::default();
                    }
                    installed.records.remove(&name);
                }
            }
            RecordChange::RemoveTree(path) => self.tree_gone(path),
            // Only present patches are looked up, and their lines stay; no plan for a patch copies a record.
            RecordChange::Ledger(_) | RecordChange::Undo { .. } | RecordChange::Copy { .. } => {}
        }
    }

    fn written(&mut self, path: &ObjectPath, file: RecordFile) {
        if let Some((save, name)) = self.in_save(path) {
            match name.as_slice() {
                b"obsoleted_by" => save.obsoleted_by = Some(Arc::unwrap_or_clone(file.bytes)),
                b"remote" => save.remote = Some(Arc::unwrap_or_clone(file.bytes)),
                _ => {}
            }
            return;
        }
        let Some((package, name)) = split(path) else { return };
        let Some(installed) = self.inventory.packages.get_mut(&package) else { return };
        if name == b"pkginfo"
            && let Ok(params) = params::parse(&file.bytes)
        {
            installed.params = params;
        }
        let ends = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let above = ends.filter_map(|end| name.get(..end)).filter(|above| *above != b"save");
        installed.directories.extend(above.map(<[u8]>::to_vec));
        installed.records.insert(name, file);
    }

    fn new_package(&mut self, package: PkgInst, directory: &ObjectPath, files: &[TreeFile]) {
        let is_directory = |file: &&TreeFile| matches!(file.content, TreeContent::Directory);
        let directories = files.iter().filter(is_directory).map(|file| file.name.clone()).collect();
        self.inventory.packages.insert(package, Installed { directories, ..Installed::default() });
        for file in files {
            if let (TreeContent::Bytes(bytes), Ok(path)) = (&file.content, directory.join(&file.name)) {
                let mtime = file.mtime.unwrap_or(self.when);
                self.written(&path, RecordFile { bytes: bytes.clone().into(), mode: file.mode, mtime });
            }
        }
    }

    fn tree(&mut self, path: &ObjectPath, files: &[TreeFile]) {
        if let Some(package) = package_of(path) {
            return self.new_package(package, path, files);
        }
        let Some((package, name)) = split(path) else {
            self.numbered += 1;
            let inode = Inode { number: u64::MAX - self.numbered, born: None };
            self.inventory.live.insert(path.clone(), directory(inode, self.when));
            return;
        };
        let id = name.strip_prefix(b"save/").and_then(|id| std::str::from_utf8(id).ok());
        let (Some(id), Some(installed)) = (id, self.inventory.packages.get_mut(&package)) else { return };
        let mut save = Save::default();
        for file in files {
            match &file.content {
                TreeContent::Undo(_) => save.archive = String::from_utf8(file.name.clone()).ok(),
                TreeContent::Bytes(bytes) if file.name == b"remote" => save.remote = Some(bytes.clone()),
                TreeContent::Manifest(_) => save.has_manifest = true,
                TreeContent::Bytes(_)
                | TreeContent::AroundRun(..)
                | TreeContent::Copied(_)
                | TreeContent::UndoDigest(_)
                | TreeContent::Directory => {}
            }
        }
        installed.saves.insert(id.to_owned(), save);
    }

    fn tree_gone(&mut self, path: &ObjectPath) {
        let Some((installed, name)) = self.in_package(path) else {
            self.inventory.live.remove(path);
            return;
        };
        if let Some(id) = name.strip_prefix(b"save/").and_then(|id| std::str::from_utf8(id).ok()) {
            installed.saves.remove(id);
        }
        let is_in = |other: &[u8]| other.strip_prefix(&name[..]).is_some_and(|rest| rest.starts_with(b"/"));
        installed.records.retain(|other, _| !is_in(other));
        installed.directories.retain(|other| *other != name && !is_in(other));
    }

    fn in_package(&mut self, path: &ObjectPath) -> Option<(&mut Installed, Vec<u8>)> {
        let (package, name) = split(path)?;
        Some((self.inventory.packages.get_mut(&package)?, name))
    }

    fn in_save(&mut self, path: &ObjectPath) -> Option<(&mut Save, Vec<u8>)> {
        let (installed, name) = self.in_package(path)?;
        let (id, file) = in_save(&name)?;
        Some((installed.saves.get_mut(std::str::from_utf8(id).ok()?)?, file.to_vec()))
    }
}

fn package_of(path: &ObjectPath) -> Option<PkgInst> {
    let name = path.as_bytes().strip_prefix(places::BELOW_PACKAGES.as_bytes())?;
    PkgInst::new(std::str::from_utf8(name).ok()?).ok()
}

fn split(path: &ObjectPath) -> Option<(PkgInst, Vec<u8>)> {
    let rest = path.as_bytes().strip_prefix(places::BELOW_PACKAGES.as_bytes())?;
    let end = rest.iter().position(|byte| *byte == b'/')?;
    let package = PkgInst::new(std::str::from_utf8(rest.get(..end)?).ok()?).ok()?;
    Some((package, rest.get(end + 1..)?.to_vec()))
}

fn in_save(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = name.strip_prefix(b"save/")?;
    let end = rest.iter().position(|byte| *byte == b'/')?;
    let (id, file) = (rest.get(..end)?, rest.get(end + 1..)?);
    (id != b"pspool").then_some((id, file))
}

fn directory(inode: Inode, when: Timestamp) -> Live {
    Live {
        kind: LiveKind::Directory,
        mode: Mode::of(0o755),
        uid: 0,
        gid: 0,
        mtime: when,
        ctime: when,
        inode,
        links: 2,
        xattrs: Xattrs::new(),
        obstacle: None,
    }
}

// The run ends wherever the next patch might be planned otherwise than after a commit: at touched files with several
// names, directories that are removed or change type, symbolic links above a path, and ACLs.

const ACCOUNTS: [&[u8]; 2] = [b"/etc/passwd", b"/etc/group"];

impl ProjectedRoot {
    /// Returns true if the run ends before a patch that touches these paths, which is decided before it is planned.
    pub fn ends_before(&self, touched: &Touched) -> bool {
        if self.patches == 0 {
            return false;
        }
        let surveyed = &self.surveyed;
        let is_surveyed = touched.paths.is_subset(&surveyed.paths)
            && touched.not_directories.is_subset(&surveyed.not_directories)
            && touched.packages.is_subset(&surveyed.packages);
        self.accounts
            || !is_surveyed
            || touched.paths.iter().chain(&touched.not_directories).any(|path| self.is_unclear(path))
    }

    /// `touched` are the paths of the plan. Without an earlier patch, true means that the patch needs its own survey.
    pub fn ends_with(&self, touched: &Touched, plan: &Plan) -> bool {
        if self.knows_more_names(touched, plan) {
            return true;
        }
        if self.patches == 0 {
            return false;
        }
        let unclear = |path: &ObjectPath| self.is_unclear(path);
        let records = plan.undo.iter().flat_map(|undo| &undo.manifest.objects);
        plan.changes.iter().any(|change| unclear(&change.path) || self.cannot_follow(change))
            || plan.contents.keys().any(unclear)
            || records.filter_map(ObjectRecord::object_path).any(|path| self.uncertain.contains(&path))
    }

    /// Refuses if a file system has no room for the run with one more patch.
    pub fn check_room(&self, plan: &Plan) -> Result<(), Reason> {
        enough(&self.needs_with(plan))
    }

    fn is_unclear(&self, path: &ObjectPath) -> bool {
        let place = self.place_of(path);
        let within = || {
            let itself = std::iter::once(path.clone());
            itself.chain(path.ancestors()).any(|at| self.closed.contains(&at))
                || path.ancestors().any(|at| self.turned.contains(&at))
        };
        self.uncertain.contains(path)
            || self.reshaped && (place != *path || within())
            || self.places.get(&place).is_some_and(|other| other != path)
            || self.is_doubtful(path)
    }

    /// The undo digest would decide if the file was edited: only its time differs from the record.
    fn is_doubtful(&self, path: &ObjectPath) -> bool {
        if !self.mentioned.contains(path) {
            return false;
        }
        let line = self.inventory.lines.get(path);
        let live = self.inventory.live.get(path);
        match (line.map(|line| line.object.content), live.map(|live| (&live.kind, live.mtime.seconds))) {
            (Some(recorded), Some((LiveKind::Regular { size, cksum, .. }, mtime))) => {
                recorded.size == Some(*size)
                    && recorded.cksum == Some(*cksum)
                    && recorded.mtime.is_some_and(|recorded| recorded != mtime)
            }
            _ => false,
        }
    }

    fn cannot_follow(&self, change: &Change) -> bool {
        let path = &change.path;
        match &change.action {
            // It may stay because it is not empty, and then with the attributes that the run has given it.
            Action::RemoveDirectory => self.changed.contains(path),
            Action::Add(new) | Action::Replace(new) => {
                let becomes_directory = matches!(new.body, Body::Directory);
                let comes_back = becomes_directory && self.changed.contains(path);
                let body = match &new.body {
                    Body::CopyOf(of) => self.made.contains(of),
                    Body::Link(source) => self.uncertain.contains(source),
                    _ => false,
                };
                body || comes_back || turns(change) && self.has_changed_within(path)
            }
            Action::Delete | Action::Attributes(_) => false,
        }
    }

    fn has_changed_within(&self, path: &ObjectPath) -> bool {
        let after = self.changed.range(path.clone()..);
        let from = path.as_bytes();
        after
            .take_while(|changed| changed.as_bytes().starts_with(from))
            .any(|changed| changed == path || changed.is_below(path))
    }

    /// The survey knows names of a changed file that a survey for this patch alone would not.
    fn knows_more_names(&self, touched: &Touched, plan: &Plan) -> bool {
        let inventory = &self.inventory;
        let several = plan.changes.iter().filter(|change| change.old.as_deref().is_some_and(has_names));
        let files: BTreeMap<Inode, &ObjectPath> =
            several.filter_map(|change| Some((change.old.as_deref()?.inode, &change.path))).collect();
        if files.is_empty() {
            return false;
        }
        let changed: HashSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
        let is_known = |path: &ObjectPath, of: &ObjectPath| {
            let itself = std::iter::once(path.clone()).chain(path.ancestors());
            touched.paths.contains(path)
                || changed.contains(path)
                || inventory.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Link)
                || root_of(of, &inventory.lines).as_ref() == Some(path)
                || itself.into_iter().any(|above| touched.not_directories.contains(&above))
        };
        let mut names = inventory.objects_with_names();
        names.any(|(path, live)| files.get(&live.inode).is_some_and(|of| !is_known(path, of)))
    }

    fn needs_with(&self, plan: &Plan) -> Vec<SpaceNeed> {
        let inventory = &self.inventory;
        let records = inventory.file_systems.get(inventory.records_on);
        let passing = plan.changes.iter().filter(|change| self.made.contains(&change.path));
        let passing: u64 = passing.filter_map(|change| change.old.as_deref().and_then(Live::size)).sum();
        let with = |need: &SpaceNeed| {
            let before = self.needs.get(&need.file_system).copied();
            let (mut bytes, inodes) = (need.bytes, need.inodes);
            let holds_records = records.is_some_and(|records| records.name == need.file_system);
            if holds_records {
                bytes = bytes.saturating_add(passing);
            }
            if before.is_some() {
                // `contents` and the ballast are counted once
                let once = if holds_records { inventory.contents_size } else { 0 };
                bytes = bytes.saturating_sub(BALLAST).saturating_sub(once);
            }
            let (bytes_before, inodes_before) = before.unwrap_or_default();
            let (bytes, inodes) = (bytes.saturating_add(bytes_before), inodes.saturating_add(inodes_before));
            SpaceNeed { bytes, inodes, ..need.clone() }
        };
        plan.space.iter().map(with).collect()
    }

    fn close(&mut self, plan: &Plan) {
        for change in &plan.changes {
            let (path, place) = (&change.path, self.place_of(&change.path));
            let new = match &change.action {
                Action::Add(new) | Action::Replace(new) => Some(&new.body),
                _ => None,
            };
            let goes = !matches!(change.action, Action::Attributes(_) | Action::Add(_));
            let link = matches!(new, Some(Body::Symlink(_)))
                || goes && change.old.as_deref().is_some_and(|old| matches!(old.kind, LiveKind::Symlink(_)));
            if link {
                self.turned.extend([path.clone(), place.clone()]);
            }
            let removed = matches!(change.action, Action::RemoveDirectory);
            if removed || turns(change) {
                self.closed.extend([path.clone(), place.clone()]);
            }
            self.reshaped |= link || removed || turns(change) || matches!(new, Some(Body::Directory));
            self.accounts |= ACCOUNTS.contains(&path.as_bytes()) || ACCOUNTS.contains(&place.as_bytes());
        }
    }
}

fn turns(change: &Change) -> bool {
    let Action::Replace(new) = &change.action else { return false };
    let was_directory = change.old.as_deref().is_some_and(Live::is_directory);
    matches!(new.body, Body::Directory) != was_directory
}
