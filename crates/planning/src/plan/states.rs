//! The objects of a plan before and after it, as in a manifest, without digests of delivered files whose bytes are not
//! read yet.

use std::collections::HashMap;
use std::hash::BuildHasher;

use super::{Action, Body, Change, Member, NewObject, NewXattrs};
use patchadm_changeset::format::manifest::{RecordedState, encode, recorded_xattrs};
use patchadm_rootfs::{FileType, Live, LiveKind};
use patchadm_svr4::package::ObjectPath;

/// Returns the object that a change finds; `None` if the path is free.
pub fn state_before(change: &Change) -> Option<RecordedState> {
    change.old.as_deref().map(RecordedState::of)
}

/// Returns `None` if the change leaves no object. `all` are the changes of the plan.
pub fn state_after<S: BuildHasher>(
    change: &Change,
    all: &HashMap<&ObjectPath, &Change, S>,
) -> Option<RecordedState> {
    let old = state_before(change);
    match &change.action {
        Action::Delete | Action::RemoveDirectory => None,
        Action::Attributes(attributes) => old.map(|old| attributes.applied_to(old)),
        Action::Add(new) | Action::Replace(new) => match &new.body {
            Body::CopyOf(path) => all.get(path).and_then(|of| of.old.as_deref()).map(RecordedState::of),
            Body::Link(path) => match all.get(path) {
                Some(source) if source.path != change.path => after_of_new(source),
                _ => Some(state_of(new, change.old.as_deref())),
            },
            _ => Some(state_of(new, change.old.as_deref())),
        },
    }
}

fn after_of_new(change: &Change) -> Option<RecordedState> {
    match &change.action {
        Action::Add(new) | Action::Replace(new) => Some(state_of(new, change.old.as_deref())),
        Action::Attributes(attributes) => {
            change.old.as_deref().map(|old| attributes.applied_to(RecordedState::of(old)))
        }
        Action::Delete | Action::RemoveDirectory => None,
    }
}

fn state_of(new: &NewObject, old: Option<&Live>) -> RecordedState {
    let kind = new.body.file_type();
    let (target, device) = match &new.body {
        Body::Symlink(target) => (Some(encode(target).into()), None),
        Body::Device { major, minor, .. } => (None, Some((*major, *minor))),
        _ => (None, None),
    };
    let member = match &new.body {
        Body::Member(member) => Some(member),
        _ => None,
    };
    let xattrs = match &new.xattrs {
        NewXattrs::Exact(xattrs) | NewXattrs::Given(xattrs) => recorded_xattrs(xattrs),
        NewXattrs::Inherited => {
            old.map(|old| recorded_xattrs(&old.handed_on(seems_same(old, member)))).unwrap_or_default()
        }
    };
    RecordedState {
        kind,
        // A link has no mode of its own; the system shows all bits.
        mode: if kind == FileType::Symlink { 0o777 } else { new.mode.bits() },
        uid: new.uid,
        gid: new.gid,
        mtime: new.mtime.filter(|_| kind != FileType::Directory).unwrap_or_default(),
        size: member.map(|member| member.size),
        b3: member.and_then(|member| member.b3.as_deref()).map(|b3| Box::new((*b3).into())),
        target,
        device,
        xattrs,
        group: None,
    }
}

/// Returns true if a change leaves the bytes of a regular file as they are, as far as is known.
pub fn keeps_content(change: &Change) -> bool {
    let Some(old) = change.old.as_deref().filter(|old| matches!(old.kind, LiveKind::Regular { .. })) else {
        return false;
    };
    match &change.action {
        Action::Attributes(_) => true,
        Action::Replace(NewObject { body: Body::Member(member), .. }) => match (&old.kind, &member.b3) {
            (LiveKind::Regular { b3, .. }, Some(new)) => b3 == &**new,
            _ => seems_same(old, Some(member)),
        },
        _ => false,
    }
}

fn seems_same(old: &Live, new: Option<&Member>) -> bool {
    let of_old = match old.kind {
        LiveKind::Regular { size, cksum, .. } => Some((size, cksum)),
        _ => None,
    };
    of_old.is_some() && of_old == new.map(|new| (new.size, new.cksum))
}
