//! Decides about one object of a package (add, replace, change attributes, or nothing), and about removed objects. An
//! object counts as installed only if its bytes *and* attributes are present; size and sum decide nothing. `links`
//! plans hard links afterwards.

use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{ContentInfo, ContentsLine, Ftype, Object, ObjectPath, PkgInst};

use super::local_attributes::Resolved;
use super::plan_builder::{PlanBuilder, below, turns};
use super::refusal::{ObjectProblem, Reason};
use super::target::{PackageTarget, Wanted, leads_to_itself};
use super::{Action, AttributeChange, Body, Member, Merge, NewObject, NewXattrs, given};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Handling {
    #[default]
    Ordinary,
    /// The existing object is kept as `PATH.` with this suffix, and then replaced.
    CopyFirst(String),
    /// A script installs it and decides about an editable file, even if nothing seems to change.
    ByScript,
    /// The existing object stays; the new one gets `PATH.` with this suffix.
    Beside(String),
    /// A symbolic link to a directory stays where a directory is delivered, and so does that directory.
    LinkStays,
    /// Nothing is done; if other packages own it, the package becomes a further owner.
    Leave,
}

impl PlanBuilder<'_> {
    pub(super) fn place(
        &mut self,
        target: &PackageTarget<'_>,
        wanted: &Wanted<'_>,
        handling: &Handling,
    ) -> Result<(), Reason> {
        self.place_object(target, wanted, handling).map_err(|problem| target.refuse(&wanted.path, problem))
    }

    fn place_object(
        &mut self,
        target: &PackageTarget<'_>,
        wanted: &Wanted<'_>,
        handling: &Handling,
    ) -> Result<(), ObjectProblem> {
        let (package, path) = (&target.package, &wanted.path);
        if *handling == Handling::Leave {
            self.share_as_it_is(package, path);
            return Ok(());
        }
        self.check_reserved(path)?;
        if let Some(place) = leads_to_itself(self.inventory, path, &wanted.object) {
            self.leave_itself(path, &place);
            return Ok(());
        }
        match self.claim(package, path) {
            Ok(None) => {}
            Ok(Some(first)) => return self.share(package, &first, wanted),
            Err(ObjectProblem::SamePlace(other)) if self.stays_under_both(&other, path, &wanted.object) => {
                self.record_other_name(package, path, &other, &wanted.object);
                return Ok(());
            }
            Err(problem) => return Err(problem),
        }
        if *handling == Handling::LinkStays {
            self.record_behind_link(package, path, &wanted.object);
            return Ok(());
        }
        self.check_privilege(&wanted.object)?;
        self.open_way(package, path)?;
        let old = self.old(path);
        let local = self.local.remove(path).unwrap_or_default();
        self.notes.extend(local.notes.iter().cloned());
        let resolved = local.apply(self.resolve(&wanted.object, old)?);
        let new = NewObject {
            body: body(target, wanted)?,
            mode: resolved.mode,
            uid: resolved.uid,
            gid: resolved.gid,
            mtime: given::mtime(wanted),
            xattrs: local.xattrs(self.given_xattrs(path, wanted)?),
        };
        if let Handling::Beside(suffix) = handling {
            let beside = self.free_name(path, suffix)?;
            self.change(package, &beside, Action::Add(new));
            self.kept.insert(path.clone());
            self.merges.push(Merge { path: path.clone(), beside });
            return Ok(());
        }
        self.settle(package, new, &resolved, wanted, handling)?;
        let object = recorded(&wanted.object, &resolved);
        self.record(package, path, object);
        Ok(())
    }

    pub(super) fn share_as_it_is(&mut self, package: &PkgInst, path: &ObjectPath) {
        if let Some(line) = self.line(path) {
            let object = line.object.clone();
            self.record(package, path, object);
        }
    }

    /// Two paths name one existing directory that both deliver unchanged. A change would be made twice.
    fn stays_under_both(&self, first: &ObjectPath, second: &ObjectPath, object: &Object) -> bool {
        let is_there = |path| self.old(path).is_some_and(Live::is_directory);
        let is_delivered = self.line(first).is_some_and(|line| line.object.ftype.is_directory());
        object.ftype.is_directory()
            && is_delivered
            && [first, second].into_iter().all(is_there)
            && !self.changes.contains_key(first)
    }

    fn record_other_name(
        &mut self,
        package: &PkgInst,
        path: &ObjectPath,
        first: &ObjectPath,
        object: &Object,
    ) {
        let Some(line) = self.line(first) else { return };
        let object = Object { attributes: line.object.attributes.clone(), ..object.clone() };
        self.record(package, path, object);
    }

    fn record_behind_link(&mut self, package: &PkgInst, path: &ObjectPath, object: &Object) {
        let inventory = self.inventory;
        let Some(directory) = inventory.linked_directory(path) else { return };
        let accounts = &inventory.accounts;
        let mut object = object.clone();
        object.attributes = directory.attributes(accounts);
        self.record(package, path, object);
        let [link, behind] = [path, &directory.path].map(|path| inventory.show(path));
        self.notes.push(format!(
            "{link} stays a symbolic link to the directory {behind}; to replace the link, use `--replace-edited {path}`"
        ));
    }

    fn settle(
        &mut self,
        package: &PkgInst,
        new: NewObject,
        resolved: &Resolved,
        wanted: &Wanted<'_>,
        handling: &Handling,
    ) -> Result<(), ObjectProblem> {
        let (path, object) = (&wanted.path, &wanted.object);
        let Some(old) = self.old(path) else {
            self.change(package, path, Action::Add(new));
            return Ok(());
        };
        if object.ftype.is_directory() && old.is_directory() {
            let attributes = self.different_attributes(old, object, resolved).unwrap_or_default();
            let attributes = AttributeChange { xattrs: given::with_given(old, &new.xattrs), ..attributes };
            if attributes != AttributeChange::default() {
                self.change(package, path, Action::Attributes(attributes));
            }
            return Ok(());
        }
        let same_bytes = self.inventory.identical.contains(path);
        let is_edited = *handling == Handling::ByScript && object.ftype == Ftype::Editable;
        let has_given = given::has_given(old, wanted.given, self.inventory.privileged);
        let is_there = has_given && is_installed(old, &new, object, same_bytes);
        if !is_edited && is_there && !self.is_other_name(path, old) {
            return Ok(());
        }
        self.check_obstacle(path)?;
        if let Handling::CopyFirst(suffix) = handling {
            self.keep_copy(package, path, old, suffix)?;
        }
        self.change(package, path, Action::Replace(new));
        Ok(())
    }

    /// The package delivers a separate file for one name of a file.
    fn is_other_name(&self, path: &ObjectPath, old: &Live) -> bool {
        let is_link = self.inventory.lines.get(path).is_some_and(|line| line.object.ftype == Ftype::Link);
        is_link && old.links > 1
    }

    pub(super) fn keep_copy(
        &mut self,
        package: &PkgInst,
        path: &ObjectPath,
        old: &Live,
        suffix: &str,
    ) -> Result<(), ObjectProblem> {
        let body = match &old.kind {
            LiveKind::Regular { .. } => Body::CopyOf(path.clone()),
            LiveKind::Symlink(target) => Body::Symlink(target.clone()),
            _ => return Ok(()),
        };
        let copy = self.free_name(path, suffix)?;
        let (shown, kept) = (self.inventory.show(path), self.inventory.show(&copy));
        self.notes.push(format!("{shown} was edited; the run keeps the edited version as {kept}"));
        let copied = as_it_is(old, body);
        self.change(package, &copy, Action::Add(copied));
        Ok(())
    }

    fn share(
        &mut self,
        package: &PkgInst,
        first: &PkgInst,
        wanted: &Wanted<'_>,
    ) -> Result<(), ObjectProblem> {
        let Some(line) = self.line(&wanted.path) else {
            return Err(ObjectProblem::DeliveredTwice(first.clone()));
        };
        let known = &line.object;
        let same = known.ftype == wanted.object.ftype
            && known.content == wanted.object.content
            && known.target == wanted.object.target;
        if !same {
            return Err(ObjectProblem::DeliveredTwice(first.clone()));
        }
        let object = known.clone();
        self.record(package, &wanted.path, object);
        Ok(())
    }

    pub(super) fn check_privilege(&self, object: &Object) -> Result<(), ObjectProblem> {
        if object.ftype.is_device() && !self.inventory.privileged {
            return Err(ObjectProblem::NotPermitted("a device"));
        }
        Ok(())
    }

    /// Owners only count where they can be set.
    pub(super) fn different_attributes(
        &self,
        old: &Live,
        object: &Object,
        resolved: &Resolved,
    ) -> Option<AttributeChange> {
        let attributes = &object.attributes;
        let privileged = self.inventory.privileged;
        let differs = AttributeChange {
            mode: Some(resolved.mode).filter(|mode| attributes.mode.is_some() && *mode != old.mode),
            uid: Some(resolved.uid).filter(|uid| privileged && attributes.owner.is_some() && *uid != old.uid),
            gid: Some(resolved.gid).filter(|gid| privileged && attributes.group.is_some() && *gid != old.gid),
            xattrs: None,
            mtime: None,
        };
        (differs != AttributeChange::default()).then_some(differs)
    }
}

pub(super) fn as_it_is(old: &Live, body: Body) -> NewObject {
    NewObject {
        body,
        mode: old.mode,
        uid: old.uid,
        gid: old.gid,
        mtime: Some(old.mtime),
        xattrs: NewXattrs::Exact(old.xattrs.clone()),
    }
}

fn body(target: &PackageTarget<'_>, wanted: &Wanted<'_>) -> Result<Body, ObjectProblem> {
    let object = &wanted.object;
    if !object.ftype.is_regular() {
        return body_of(object);
    }
    Ok(Body::Member(Member {
        package: target.index,
        path: wanted.entry.path.clone(),
        size: object.content.size.ok_or(ObjectProblem::Unknown("size"))?,
        cksum: object.content.cksum.ok_or(ObjectProblem::Unknown("checksum"))?,
        b3: None,
    }))
}

pub(super) fn body_of(object: &Object) -> Result<Body, ObjectProblem> {
    Ok(match object.ftype {
        Ftype::Directory | Ftype::Exclusive => Body::Directory,
        Ftype::Pipe => Body::Pipe,
        Ftype::Symlink => Body::Symlink(object.target.clone().ok_or(ObjectProblem::Unknown("target"))?),
        Ftype::Block | Ftype::Character => {
            let (major, minor) = object.device.unwrap_or_default();
            Body::Device {
                block: object.ftype == Ftype::Block,
                major: major.ok_or(ObjectProblem::Unknown("major number"))?,
                minor: minor.ok_or(ObjectProblem::Unknown("minor number"))?,
            }
        }
        _ => return Err(ObjectProblem::Unknown("content")),
    })
}

fn is_installed(old: &Live, new: &NewObject, object: &Object, same_bytes: bool) -> bool {
    let attributes = old.mode == new.mode && old.uid == new.uid && old.gid == new.gid;
    match (&new.body, &old.kind) {
        (Body::Member(_), LiveKind::Regular { .. }) => {
            same_bytes && attributes && object.content.mtime.is_none_or(|mtime| mtime == old.mtime.seconds)
        }
        (Body::Symlink(target), LiveKind::Symlink(there)) => target == there,
        (Body::Pipe, LiveKind::Pipe) => attributes,
        (Body::Device { block, major, minor }, LiveKind::Device { block: b, major: ma, minor: mi }) => {
            attributes && (block, major, minor) == (b, ma, mi)
        }
        _ => false,
    }
}

/// Real attributes for every `?`, none for links.
fn recorded(object: &Object, resolved: &Resolved) -> Object {
    let mut object = object.clone();
    if !object.ftype.is_link() {
        object.attributes = resolved.recorded.clone();
    }
    if !object.ftype.is_regular() {
        object.content = ContentInfo::default();
    }
    object
}

// An object goes only if it is recorded for the package and has no other owner. A shared path stays and loses an owner.
// A path without owner stays and is reported.

impl PlanBuilder<'_> {
    /// Objects in a directory that becomes something else must go first.
    pub(super) fn is_in_turned(&self, path: &ObjectPath) -> bool {
        path.ancestors_bytes().any(|above| self.changes.get(above).is_some_and(|change| turns(change)))
    }

    /// Removes a package from the owners of a path. True if other owners are left.
    pub(super) fn disown(&mut self, package: &PkgInst, path: &ObjectPath, mut line: ContentsLine) -> bool {
        line.owners.retain(|owner| owner.package != *package);
        let is_shared = !line.owners.is_empty();
        self.set_line(package, path, Some(line).filter(|_| is_shared));
        is_shared
    }

    /// A link such as `/usr` of a merged system stands for a directory with objects of the package.
    fn stands_for_directory(&self, path: &ObjectPath) -> bool {
        let is_link = self.old(path).is_some_and(|live| matches!(live.kind, LiveKind::Symlink(_)));
        is_link && below(&self.inventory.physical, path).next().is_some()
    }

    pub(super) fn delete(&mut self, package: &PkgInst, path: &ObjectPath) -> Result<(), Reason> {
        if self.changes.contains_key(path) {
            // the package delivers what it deletes: the delivered object counts
            return Ok(());
        }
        let Some(line) = self.line(path).cloned() else {
            if self.old(path).is_some() && !self.stands_for_directory(path) {
                let path = self.inventory.show(path);
                self.notes.push(format!("{path} stays: no package owns it"));
            }
            return Ok(());
        };
        if !line.is_owned_by(package) {
            let path = self.inventory.show(path);
            self.notes.push(format!("{path} stays: it belongs to another package"));
            return Ok(());
        }
        let recorded = line.object.ftype;
        if self.disown(package, path, line) {
            return Ok(());
        }
        let Some(old) = self.old(path) else { return Ok(()) };
        if !old.is_directory()
            && let Some(owner) = self.inventory.foreign_owner(package, path)
        {
            let path = self.inventory.show(path);
            self.notes.push(format!("{path} stays: it belongs to {}", owner.with_manager()));
            return Ok(());
        }
        if self.is_setting(path) {
            let path = self.inventory.show(path);
            self.notes.push(format!("{path} stays: it belongs to the settings of patchadm(8)"));
            return Ok(());
        }
        if old.is_directory() {
            let stays = old.obstacle.is_some() || path.relative().is_empty();
            // it goes already under its other name
            let goes = self.claim(package, path).is_err();
            if !stays && !goes {
                self.change(package, path, Action::RemoveDirectory);
            }
            return Ok(());
        }
        if recorded.is_directory() && self.inventory.linked_directory(path).is_some() {
            let path = self.inventory.show(path);
            self.notes.push(format!("{path} stays: it is a symbolic link that leads to a directory"));
            return Ok(());
        }
        // The place is already removed, or gets another object, under another path.
        if self.claim(package, path).is_err() {
            return Ok(());
        }
        self.check_obstacle(path).map_err(|problem: ObjectProblem| Reason::Object {
            package: package.clone(),
            path: path.to_string(),
            problem,
        })?;
        self.change(package, path, Action::Delete);
        Ok(())
    }
}
