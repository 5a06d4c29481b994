//! Restores objects and lines by the manifest of an undo archive: content, type, mode, owner, time to the nanosecond,
//! extended attributes, other names. An object that differs from the delivered one was edited since and is kept under
//! another name.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use patchadm_changeset::format::manifest::{
    ObjectRecord, RecordedState, UndoManifest, decode, recorded_xattrs,
};
use patchadm_inputs::native::NativeRegistration;
use patchadm_rootfs::{ACCESS_LIST, CAPABILITY, FileType, Interrupt, Live, LiveKind, Xattrs};
use patchadm_svr4::package::{ContentInfo, ContentsLine, Mode, Object, ObjectPath, PackagePath, PkgInst};
use patchadm_svr4::patch::PatchId;

use super::backout_input::Later;
use super::chains::has_same_content;
use super::later::ListedPatches;
use crate::plan::local_attributes::{Overridden, named_entries, override_of};
use crate::plan::plan_builder::PlanBuilder;
use crate::plan::privileges::{Allowed, OnRecord, allowed};
use crate::plan::refusal::{ObjectProblem, Reason};
use crate::plan::{Action, AttributeChange, Body, Member, NewObject, NewXattrs};

pub(super) struct Restoring<'a> {
    pub(super) id: &'a PatchId,
    pub(super) package: &'a PkgInst,
    pub(super) index: usize,
    pub(super) saved: HashMap<&'a PackagePath, ContentInfo>,
    pub(super) manifest: &'a UndoManifest,
    /// False if the root does not vouch for the archive (see [`BackoutArchive`](super::backout_input::BackoutArchive)).
    pub(super) bound: bool,
    pub(super) native: Option<&'a str>,
    pub(super) later: Later<'a>,
    pub(super) listed: &'a ListedPatches<'a>,
    /// For paths of several going patches: the last of them. Newer edits are kept under its id.
    pub(super) last: HashMap<ObjectPath, PatchId>,
    /// Edited files among these are left to the script.
    pub(super) by_script: BTreeSet<ObjectPath>,
}

struct Restored<'a> {
    path: ObjectPath,
    record: &'a ObjectRecord,
    line: Option<ContentsLine>,
    new_line: Option<ContentsLine>,
    /// The record is only about the line, or about another name of the file.
    is_untouched: bool,
    /// False if the path now belongs to another native package or version.
    has_claim: bool,
}

/// Works path by path over all packages: one package may restore the directory of another's object.
pub(super) fn restore(
    draft: &mut PlanBuilder<'_>,
    packages: &[Restoring<'_>],
    interrupt: Interrupt<'_>,
) -> Result<(), Reason> {
    let (mut all, mut coming) = (Vec::new(), ComingBack::new());
    let mut read = packages.iter().map(Restoring::read_all).collect::<Result<Vec<_>, _>>()?;
    for (package, restored) in packages.iter().zip(&mut read) {
        package.follow_diversions(draft, restored);
        package.end_claims(draft, restored);
    }
    let read = read;
    let changed = read.iter().flatten().filter(|each| !each.is_untouched).map(|each| &each.path).collect();
    for (package, restored) in packages.iter().zip(&read) {
        for each in restored {
            Reason::unless_interrupted(interrupt)?;
            if each.has_claim {
                package.restore_line(draft, each)?;
            } else if draft.inventory.foreign_owner(package.package, &each.path).is_some()
                && let Some(line) = draft.line(&each.path).cloned()
            {
                draft.disown(package.package, &each.path, line);
            }
        }
        let carriers = carriers(draft, restored, &coming, &changed);
        for each in restored.iter().filter(|each| !each.is_untouched) {
            if let Some(was) = &each.record.was {
                let carrier = carrier(&carriers, each).unwrap_or(&each.path);
                coming.insert(each.path.clone(), (carrier.clone(), was));
            }
        }
        all.push((package, carriers, restored));
    }
    let (mut links, mut others) = (Vec::new(), Vec::new());
    for (package, carriers, restored) in &all {
        for each in restored.iter().filter(|each| !each.is_untouched) {
            let carrier = carrier(carriers, each);
            let is_link = carrier.is_some_and(|carrier| *carrier != each.path) && !each.record.is_in_place();
            if is_link { &mut links } else { &mut others }.push((each, carrier, *package));
        }
    }
    for list in [&mut others, &mut links] {
        list.sort_by(|(a, ..), (b, ..)| a.path.cmp(&b.path));
        for (each, carrier, package) in list.iter() {
            Reason::unless_interrupted(interrupt)?;
            package
                .restore_object(draft, each, *carrier)
                .map_err(|problem| package.refuse(&each.path, problem))?;
        }
    }
    Ok(())
}

impl<'a> Restoring<'a> {
    fn read_all(&self) -> Result<Vec<Restored<'a>>, Reason> {
        let records = self.manifest.objects.iter();
        let records = records.filter(|record| !record.is_as_found() || self.came_and_went(record));
        let mut read = Vec::with_capacity(self.manifest.objects.len());
        for record in records {
            read.push(self.read(record)?);
        }
        Ok(read)
    }

    fn came_and_went(&self, record: &ObjectRecord) -> bool {
        !self.last.is_empty() && record.object_path().is_some_and(|path| self.last.contains_key(&path))
    }

    fn read(&self, record: &'a ObjectRecord) -> Result<Restored<'a>, Reason> {
        let line = |text: &Option<Box<str>>| match text {
            None => Ok(None),
            Some(text) => {
                ContentsLine::parse(&decode(text)).map(Some).map_err(|error| self.bad(&error.to_string()))
            }
        };
        let path = ObjectPath::new(&decode(&record.path)).map_err(|error| self.bad(&error.to_string()))?;
        let is_untouched = record.is_untouched() && !self.last.contains_key(&path);
        let (line, new_line) = (line(&record.line)?, line(&record.new_line)?);
        Ok(Restored { path, record, line, new_line, is_untouched, has_claim: true })
    }

    fn bad(&self, reason: &str) -> Reason {
        Reason::BadUndoData { package: self.package.clone(), reason: reason.to_owned() }
    }

    fn refuse(&self, path: &ObjectPath, problem: ObjectProblem) -> Reason {
        Reason::Object { package: self.package.clone(), path: path.to_string(), problem }
    }

    /// Newer owners stay. An object that was recorded again belongs to a later patch.
    fn restore_line(&self, draft: &mut PlanBuilder<'_>, each: &Restored<'_>) -> Result<(), Reason> {
        let current = draft.line(&each.path).cloned();
        if current == each.line {
            return Ok(());
        }
        if current == each.new_line {
            draft.set_line(self.package, &each.path, each.line.clone());
            return Ok(());
        }
        let object = |line: &Option<ContentsLine>| line.as_ref().map(|line| line.object.clone());
        let directory = |object: &Object| object.ftype.is_directory();
        let shared = object(&current) == object(&each.new_line)
            || object(&current).as_ref().is_some_and(directory)
                && object(&each.new_line).as_ref().is_some_and(directory);
        if !shared && !each.is_untouched {
            let by = self.changed_by(draft, &each.path);
            return Err(Reason::ChangedLater { path: each.path.clone(), by });
        }
        let Some(mut line) = current else { return Ok(()) };
        if each.line.as_ref().is_none_or(|old| !old.is_owned_by(self.package)) {
            line.owners.retain(|owner| owner.package != *self.package);
        } else if let Some(old) = each.line.as_ref().filter(|_| shared) {
            line.object = old.object.clone();
        }
        let line = Some(line).filter(|line| !line.owners.is_empty());
        draft.set_line(self.package, &each.path, line);
        Ok(())
    }

    fn changed_by(&self, draft: &PlanBuilder<'_>, path: &ObjectPath) -> Option<String> {
        let patches = draft.inventory.patched_by.get(path);
        let has = |id: &PatchId, manifest: Option<&UndoManifest>| {
            let in_manifest = manifest.is_some_and(|manifest| {
                let mut records = manifest.objects.iter().filter(|record| record.has_path());
                records.any(|record| decode(&record.path) == path.as_bytes())
            });
            in_manifest || patches.is_some_and(|patches| patches.iter().any(|other| other == id.as_str()))
        };
        let found = self.later.iter().rfind(|(id, manifest)| has(id, *manifest));
        found.or(self.later.last()).map(|(id, _)| id.to_string())
    }

    fn restore_object(
        &self,
        draft: &mut PlanBuilder<'_>,
        each: &Restored<'_>,
        carrier: Option<&ObjectPath>,
    ) -> Result<(), ObjectProblem> {
        let (path, record) = (&each.path, each.record);
        if draft.changes.contains_key(path) {
            // another package of the patch has the path too
            return Ok(());
        }
        draft.check_reserved(path)?;
        let old = draft.old(path);
        if !each.has_claim {
            return Ok(());
        }
        let Some(was) = &record.was else {
            let Some(old) = old else { return Ok(()) };
            if let Some(owner) = came_since(draft, each) {
                let path = draft.inventory.show(path);
                draft.notes.push(format!("{path} stays: {owner} also owns it"));
                return Ok(());
            }
            return self.take_away(draft, path, old, record.became.as_ref());
        };
        let Some(was) = self.allowed(draft, path, was) else { return Ok(()) };
        let was = &self.with_kept_attributes(draft, path, record, was)?;
        if was.kind == FileType::Socket {
            let path = draft.inventory.show(path);
            draft.notes.push(format!("{path} was a socket, which its program creates again"));
            return Ok(());
        }
        if was.kind == FileType::Directory && self.stays_link(draft, path) {
            return Ok(());
        }
        if record.is_in_place() {
            return self.restore_in_place(draft, path, was);
        }
        if let Some(old) = old {
            if was.kind == FileType::Directory && old.is_directory() {
                let attributes = attributes(was, old);
                if let Some(attributes) =
                    attributes.filter(|_| draft.inventory.foreign_owner(self.package, path).is_none())
                {
                    draft.change(self.package, path, Action::Attributes(attributes));
                }
                return Ok(());
            }
            if carrier.is_none() && is_as_it_was(old, was) {
                return Ok(());
            }
            draft.check_obstacle(path)?;
            if !self.by_script.contains(path) {
                self.keep_edited(draft, path, old, record)?;
            }
        }
        draft.open_way(self.package, path)?;
        let new = self.new_object(record, was, carrier.filter(|carrier| *carrier != path))?;
        let action = if old.is_some() { Action::Replace(new) } else { Action::Add(new) };
        draft.change(self.package, path, action);
        Ok(())
    }

    fn follow_diversions(&self, draft: &PlanBuilder<'_>, restored: &mut [Restored<'_>]) {
        let Some(origin) = draft.inventory.native_origin(self.package) else { return };
        for each in restored {
            if let Some(place) = draft.inventory.place_of_native(&each.path, &origin) {
                each.path = place.clone();
            }
        }
    }

    fn end_claims(&self, draft: &mut PlanBuilder<'_>, restored: &mut [Restored<'_>]) {
        for each in restored.iter_mut().filter(|each| !each.is_untouched) {
            if let Some(note) = self.ended_claim(draft, &each.path, each.record) {
                each.has_claim = false;
                draft.notes.push(note);
            }
        }
    }

    /// The path belongs to another native package or version than the patch was applied to. The object stays.
    fn ended_claim(
        &self,
        draft: &PlanBuilder<'_>,
        path: &ObjectPath,
        record: &ObjectRecord,
    ) -> Option<String> {
        let shown = draft.inventory.show(path);
        let is_directory = draft.old(path).is_some_and(Live::is_directory);
        if let Some(owner) = draft.inventory.foreign_owner(self.package, path).filter(|_| !is_directory) {
            return Some(format!("{shown} stays: it was taken over by {}", owner.with_manager()));
        }
        let origin =
            draft.inventory.native_origin(self.package).filter(|_| !is_directory && record.was.is_some())?;
        // Without an owner, the object of an earlier patch comes back.
        let mut patches = draft.inventory.patched_by.get(path).into_iter().flatten();
        if draft.inventory.native_owners.of(path).is_empty()
            && patches.any(|patch| self.listed.is_earlier(patch, self.id))
        {
            return None;
        }
        let installed = draft.inventory.packages.get(self.package)?;
        let registered = NativeRegistration::of(&installed.params).version;
        // At the same version, a path without an owner is one that an earlier patch added.
        (self.native != Some(registered.as_str())).then(|| {
            let applied = self.native.unwrap_or("an unknown version");
            format!("{shown} stays: it was patched in {applied}, and {origin} is {registered} now")
        })
    }

    /// A file that was written since keeps its time. Objects of another type are left alone.
    fn restore_in_place(
        &self,
        draft: &mut PlanBuilder<'_>,
        path: &ObjectPath,
        was: &RecordedState,
    ) -> Result<(), ObjectProblem> {
        let old = draft.old(path).filter(|old| RecordedState::of(old).kind == was.kind);
        let Some(old) = old else {
            let path = draft.inventory.show(path);
            draft.notes.push(format!("{path} is left unchanged: the patch had only changed its attributes"));
            return Ok(());
        };
        let mut attributes = attributes(was, old);
        if let Some(attributes) = &mut attributes
            && is_edited(old, was)
        {
            attributes.mtime = None;
        }
        if let Some(attributes) = attributes {
            draft.check_obstacle(path)?;
            if let Some((name, owner)) = draft.inventory.foreign_name(self.package, old) {
                let [path, name] = [path, name].map(|path| draft.inventory.show(path));
                let owner = owner.with_manager();
                draft.notes.push(format!("{path} stays: another name of it, {name}, belongs to {owner}"));
                return Ok(());
            }
            draft.change(self.package, path, Action::Attributes(attributes));
        }
        Ok(())
    }

    fn stays_link(&self, draft: &mut PlanBuilder<'_>, path: &ObjectPath) -> bool {
        if draft.inventory.staying_link(self.package, path).is_none() {
            return false;
        }
        let path = draft.inventory.show(path);
        draft.notes.push(format!("{path} stays: it is a symbolic link that leads to a directory"));
        true
    }

    fn allowed(
        &self,
        draft: &mut PlanBuilder<'_>,
        path: &ObjectPath,
        was: &RecordedState,
    ) -> Option<RecordedState> {
        let Allowed { state, left_out } = allowed(was, self.bound, OnRecord::of(draft, path));
        if state.is_some() && left_out.is_empty() {
            return state;
        }
        let path = draft.inventory.show(path);
        if state.is_none() {
            draft
                .notes
                .push(format!("{path} is not restored: only the undo archive says that it was this device"));
        } else {
            let what = left_out.join(", ");
            draft.notes.push(format!(
                "{path} is restored without {what}: only the undo archive says that it had them"
            ));
        }
        state
    }

    fn take_away(
        &self,
        draft: &mut PlanBuilder<'_>,
        path: &ObjectPath,
        old: &Live,
        became: Option<&RecordedState>,
    ) -> Result<(), ObjectProblem> {
        if old.is_directory() {
            if became.is_some_and(|now| now.kind == FileType::Directory) && old.obstacle.is_none() {
                draft.change(self.package, path, Action::RemoveDirectory);
            } else {
                let path = draft.inventory.show(path);
                draft.notes.push(format!("{path} stays: it is a directory that the patch did not make"));
            }
            return Ok(());
        }
        if became.is_some_and(|now| now.kind == FileType::Directory) && self.stays_link(draft, path) {
            return Ok(());
        }
        draft.check_obstacle(path)?;
        if became.is_none_or(|now| is_edited(old, now)) {
            self.keep_copy(draft, path, old)?;
        }
        draft.change(self.package, path, Action::Delete);
        Ok(())
    }

    fn keep_edited(
        &self,
        draft: &mut PlanBuilder<'_>,
        path: &ObjectPath,
        old: &Live,
        record: &ObjectRecord,
    ) -> Result<(), ObjectProblem> {
        let edited = record.became.as_ref().is_none_or(|now| is_edited(old, now));
        let known = record.was.as_ref().is_some_and(|was| !is_edited(old, was));
        if edited && !known { self.keep_copy(draft, path, old) } else { Ok(()) }
    }

    fn keep_copy(
        &self,
        draft: &mut PlanBuilder<'_>,
        path: &ObjectPath,
        old: &Live,
    ) -> Result<(), ObjectProblem> {
        draft.replaced_edits.push(path.clone());
        let id = self.last_with(path);
        draft.keep_copy(self.package, path, old, &format!("edited-{id}"))
    }

    fn last_with(&self, path: &ObjectPath) -> &PatchId {
        self.last.get(path).unwrap_or(self.id)
    }

    fn new_object(
        &self,
        record: &ObjectRecord,
        was: &RecordedState,
        carrier: Option<&ObjectPath>,
    ) -> Result<NewObject, ObjectProblem> {
        let device = || was.device.ok_or(ObjectProblem::Unknown("device number"));
        let body = match (was.kind, carrier) {
            (_, Some(carrier)) => Body::Link(carrier.clone()),
            (FileType::Regular, None) => Body::Member(self.member(record, was)?),
            (FileType::Directory, _) => Body::Directory,
            (FileType::Symlink, _) => {
                let target = was.target.as_deref().ok_or(ObjectProblem::Unknown("target"))?;
                Body::Symlink(decode(target).into_owned())
            }
            (FileType::Pipe | FileType::Socket, _) => Body::Pipe,
            (FileType::Block | FileType::Character, _) => {
                let (major, minor) = device()?;
                Body::Device { block: was.kind == FileType::Block, major, minor }
            }
        };
        Ok(NewObject {
            body,
            mode: Mode::of(was.mode),
            uid: was.uid,
            gid: was.gid,
            mtime: Some(was.mtime),
            xattrs: NewXattrs::Exact(was.xattrs()),
        })
    }

    fn member(&self, record: &ObjectRecord, was: &RecordedState) -> Result<Member, ObjectProblem> {
        let path = record.member.as_deref().and_then(|member| PackagePath::new(&decode(member)).ok());
        let path = path.ok_or(ObjectProblem::Unknown("saved content"))?;
        let content = self.saved.get(&path).ok_or(ObjectProblem::Unknown("saved content"))?;
        Ok(Member {
            package: self.index,
            path,
            size: content.size.or(was.size).ok_or(ObjectProblem::Unknown("size"))?,
            cksum: content.cksum.ok_or(ObjectProblem::Unknown("checksum"))?,
            b3: was.digest().map(Box::new),
        })
    }
}

fn came_since(draft: &PlanBuilder<'_>, each: &Restored<'_>) -> Option<PkgInst> {
    let is_new = |package: &PkgInst| each.line.as_ref().is_none_or(|line| !line.is_owned_by(package));
    let mut owners = draft.line(&each.path)?.owners.iter().map(|owner| &owner.package);
    owners.find(|package| is_new(package)).cloned()
}

type ComingBack<'r> = BTreeMap<ObjectPath, (ObjectPath, &'r RecordedState)>;

/// By link group, the name to which the others are linked: one with the same bytes and time, else the one with the
/// saved content, else one with the same bytes. Equal bytes with another time may be a new file.
fn carriers(
    draft: &PlanBuilder<'_>,
    restored: &[Restored<'_>],
    coming: &ComingBack<'_>,
    changed: &HashSet<&ObjectPath>,
) -> BTreeMap<u32, ObjectPath> {
    let mut carriers: BTreeMap<u32, ObjectPath> = BTreeMap::new();
    let mut alike: BTreeMap<u32, ObjectPath> = BTreeMap::new();
    for each in restored {
        let Some((was, group)) = each.record.was.as_ref().and_then(|was| Some((was, was.group?))) else {
            continue;
        };
        if let Some((carrier, state)) = coming.get(&each.path).filter(|_| each.is_untouched) {
            if has_same_content(state, was) {
                carriers.insert(group, carrier.clone());
            }
            continue;
        }
        let is_in_place = each.record.is_in_place();
        let stays = each.is_untouched && !changed.contains(&each.path) || is_in_place;
        let alive = draft.inventory.live.get(&each.path).filter(|live| stays && !is_edited(live, was));
        if let Some(live) = alive {
            let known = if is_in_place || live.mtime == was.mtime { &mut carriers } else { &mut alike };
            known.insert(group, each.path.clone());
        } else if each.record.member.is_some() || was.kind != FileType::Regular {
            carriers.entry(group).or_insert_with(|| each.path.clone());
        }
    }
    alike.extend(carriers);
    alike
}

fn carrier<'c>(carriers: &'c BTreeMap<u32, ObjectPath>, each: &Restored<'_>) -> Option<&'c ObjectPath> {
    carriers.get(&each.record.was.as_ref()?.group?)
}

pub(super) fn is_edited(live: &Live, state: &RecordedState) -> bool {
    match (&live.kind, state.kind) {
        (LiveKind::Regular { size, b3, .. }, FileType::Regular) => match state.digest() {
            Some(digest) => digest != *b3,
            None => state.size.is_some_and(|known| known != *size),
        },
        (LiveKind::Symlink(target), FileType::Symlink) => {
            state.target.as_deref().map(decode).as_deref() != Some(target)
        }
        (LiveKind::Device { .. }, FileType::Block | FileType::Character) => false,
        (kind, recorded) => kind.file_type() != recorded,
    }
}

/// A file with several names may have been merged with another file.
fn is_as_it_was(live: &Live, was: &RecordedState) -> bool {
    was.group.is_none() && live.links <= 1 && RecordedState::of(live) == *was
}

fn attributes(was: &RecordedState, old: &Live) -> Option<AttributeChange> {
    let attributes = AttributeChange {
        mode: Some(Mode::of(was.mode)).filter(|_| was.kind != FileType::Symlink),
        uid: Some(was.uid),
        gid: Some(was.gid),
        xattrs: Some(was.xattrs()),
        mtime: Some(was.mtime),
    };
    attributes.lacking(old)
}

// An attribute that is no longer as the patch left it was changed by an administrator, and stays. The values of a
// dpkg-statoverride(1) entry count, also if it was made after the patch.

const EXTENDED: [(&[u8], &str); 2] =
    [(CAPABILITY, "file capabilities"), (ACCESS_LIST, "access control list")];

impl Restoring<'_> {
    fn with_kept_attributes(
        &self,
        draft: &mut PlanBuilder<'_>,
        path: &ObjectPath,
        record: &ObjectRecord,
        mut was: RecordedState,
    ) -> Result<RecordedState, ObjectProblem> {
        let inventory = draft.inventory;
        if inventory.manager(self.package).is_none() {
            return Ok(was);
        }
        let old = draft.old(path);
        let left = record.became.as_ref().filter(|left| left.kind == was.kind);
        let left = left.filter(|left| old.is_some_and(|old| RecordedState::of(old).kind == left.kind));
        let (mut kept, mut missing) = (Vec::new(), Vec::new());
        if let (Some(old), Some(left)) = (old, left) {
            keep_extended(old, left, &mut was, (&mut kept, &mut missing));
        }
        if let Some(one) = override_of(inventory, self.package, path) {
            let given = Overridden::of(one, inventory)?;
            let before = (was.mode, was.uid, was.gid);
            was.mode = given.mode.map_or(was.mode, Mode::bits);
            (was.uid, was.gid) = (given.uid.unwrap_or(was.uid), given.gid.unwrap_or(was.gid));
            if (was.mode, was.uid, was.gid) != before {
                let words = given.words(one);
                draft
                    .notes
                    .push(format!("{} has {words}, regardless of its earlier state", inventory.show(path)));
            }
        } else if let (Some(old), Some(left)) = (old, left) {
            let accounts = &inventory.accounts;
            let mode = old.mode.bits();
            if mode != left.mode && mode != was.mode {
                was.mode = mode;
                kept.push(format!("mode {mode:04o}"));
            }
            if inventory.privileged && old.uid != left.uid && old.uid != was.uid {
                was.uid = old.uid;
                kept.push(format!("owner {}", accounts.user(old.uid)));
            }
            if inventory.privileged && old.gid != left.gid && old.gid != was.gid {
                was.gid = old.gid;
                kept.push(format!("group {}", accounts.group(old.gid)));
            }
        }
        let (path, id) = (inventory.show(path), self.last_with(path));
        if !kept.is_empty() {
            draft.notes.push(format!("{path} keeps {}, set since {id} was applied", kept.join(", ")));
        }
        if !missing.is_empty() {
            let missing = missing.join(" and ");
            draft.notes.push(format!("{path} stays without {missing}, removed since {id} was applied"));
        }
        Ok(was)
    }
}

fn keep_extended(
    old: &Live,
    left: &RecordedState,
    was: &mut RecordedState,
    (kept, missing): (&mut Vec<String>, &mut Vec<&str>),
) {
    let (left_with, mut xattrs) = (left.xattrs(), was.xattrs());
    for (key, word) in EXTENDED {
        let now = old.xattrs.get(key);
        // Writing into a file clears its capabilities: nobody decided on a missing value.
        let is_cleared = key == CAPABILITY && now.is_none() && is_edited(old, left);
        if is_alike(key, now, &left_with) || is_alike(key, now, &xattrs) || is_cleared {
            continue;
        }
        if let Some(value) = now {
            xattrs.insert(key.to_vec(), value.clone());
            kept.push(format!("its {word}"));
        } else {
            xattrs.remove(key);
            missing.push(word);
        }
    }
    was.xattrs = recorded_xattrs(&xattrs);
}

/// Ignores the entries that mirror the mode.
fn is_alike(key: &[u8], now: Option<&Vec<u8>>, xattrs: &Xattrs) -> bool {
    match (now, xattrs.get(key)) {
        (Some(now), Some(other)) if key == ACCESS_LIST => named_entries(now) == named_entries(other),
        (now, other) => now == other,
    }
}
