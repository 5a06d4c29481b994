//! Changes attributes of an object that stays. Each is set only if it still has a value of one side.

use std::collections::BTreeMap;

use crate::format::journal::Identity;
use crate::format::manifest::{decode, encode};
use crate::plan::AttributeChange;
use crate::transaction::error::Cause;
use crate::transaction::objects::identity::{encoded, is_same_inode};
use patchadm_rootfs::{CAPABILITY, Dir, FileType, Live, LiveKind, ObjectRights, ObjectStatus, Root, Xattrs};
use patchadm_svr4::package::Mode;
use patchadm_svr4::package::rule::holds;

const SET_ID: u32 = 0o6000;

pub(crate) fn with_attributes(old: &Identity, new: &AttributeChange) -> Identity {
    Identity {
        mode: new.mode.map_or(old.mode, Mode::bits),
        uid: new.uid.unwrap_or(old.uid),
        gid: new.gid.unwrap_or(old.gid),
        mtime: new.mtime.unwrap_or(old.mtime),
        xattrs: new
            .xattrs
            .as_ref()
            .map(|new| Box::new(xattrs_after(old, new)))
            .or_else(|| old.xattrs.clone()),
        ..old.clone()
    }
}

fn xattrs_after(old: &Identity, new: &Xattrs) -> BTreeMap<String, String> {
    let mut xattrs = encoded(new);
    xattrs.extend(kept_capability(old).map(|value| (encode(CAPABILITY), value.to_owned())));
    xattrs
}

/// Capabilities to restore: chown(2) clears them, and a run may end right after it.
fn kept_capability(identity: &Identity) -> Option<&str> {
    identity.xattrs.as_deref()?.get(&encode(CAPABILITY)).map(String::as_str)
}

/// Returns all that the change may set, and capabilities that survive a new owner.
pub(crate) fn xattrs_before(live: &Live, new: &AttributeChange) -> Option<BTreeMap<String, String>> {
    let capability = live.xattrs.get(CAPABILITY).filter(|value| {
        let is_kept = new.xattrs.as_ref().is_none_or(|new| new.get(CAPABILITY) == Some(value));
        is_kept && (new.uid.is_some() || new.gid.is_some()) && matches!(live.kind, LiveKind::Regular { .. })
    });
    if !live.is_directory() && new.xattrs.is_none() && capability.is_none() {
        return None;
    }
    let mut xattrs = encoded(&live.xattrs);
    xattrs.extend(capability.map(|value| (encode(CAPABILITY), encode(value))));
    Some(xattrs)
}

pub(crate) fn has_xattrs(now: &Xattrs, expected: &BTreeMap<String, String>) -> bool {
    let capability = encode(CAPABILITY);
    encoded(now).iter().eq(expected.iter().filter(|(key, _)| **key != capability))
}

/// Restores capabilities after a change of owner, if object and bytes are the same.
pub(crate) fn set_kept_capability(
    parent: &Dir,
    name: &[u8],
    old: &Identity,
    new: &Identity,
) -> Result<(), Cause> {
    let kept = kept_capability(old).filter(|value| kept_capability(new) == Some(value));
    let (Some(kept), Some(object)) = (kept, parent.hold(name)?) else { return Ok(()) };
    if object.xattr(CAPABILITY)?.is_some() {
        return Ok(());
    }
    let seen = object.look()?;
    let is_same = is_same_inode(parent, &seen, old.inode)?;
    let has_bytes =
        seen.size == old.size && object.sums()?.is_some_and(|sums| old.b3 == Some(sums.b3.into()));
    if holds("journal.attr.capability", is_same && has_bytes) {
        object.set_xattr(CAPABILITY, &decode(kept))?;
    }
    Ok(())
}

/// Sets attributes that have the value in `from` and should have that in `to`. The time comes last; a directory keeps
/// its own.
pub(crate) fn set_attributes(parent: &Dir, name: &[u8], from: &Identity, to: &Identity) -> Result<(), Cause> {
    if from.file_type == 'd' {
        return set_attributes_of_directory(&parent.dir(name)?, from, to);
    }
    let Some(object) = parent.hold(name)? else { return Ok(()) };
    let seen = object.look()?;
    let (uid, gid) = other_owners(parent.root(), &seen, from, to);
    // A run that ends right after chown(2) leaves either mode without set-id bits.
    let is_cut = |mode: u32| seen.mode.bits() == mode & 0o1777;
    let chowns = (from.uid, from.gid) != (to.uid, to.gid);
    let is_ours = seen.mode.bits() == from.mode || chowns && (is_cut(from.mode) || is_cut(to.mode));
    // A foreign mode stays.
    let mode = is_ours.then_some(Mode::of(to.mode));
    object.set_rights(ObjectRights { uid, gid, mode })?;
    if from.xattrs != to.xattrs {
        set_xattrs(parent, name, from, to)?;
    }
    if seen.mtime == from.mtime && from.mtime != to.mtime {
        parent.set_mtime(name, to.mtime)?;
    }
    Ok(())
}

/// Compares mode, owner and known extended attributes. Ignores owners that an unprivileged caller cannot set.
pub(crate) fn has_attributes(parent: &Dir, name: &[u8], expected: &Identity) -> Result<bool, Cause> {
    let Some(seen) = parent.look(name)? else { return Ok(false) };
    let is_owned = !parent.root().is_privileged() || (seen.uid, seen.gid) == (expected.uid, expected.gid);
    if seen.file_type != FileType::Symlink && seen.mode.bits() != expected.mode || !is_owned {
        return Ok(false);
    }
    match &expected.xattrs {
        Some(xattrs) if expected.file_type == 'd' => Ok(has_xattrs(&parent.dir(name)?.xattrs(b"")?, xattrs)),
        Some(xattrs) => Ok(has_xattrs(&parent.xattrs(name)?, xattrs)),
        None => Ok(true),
    }
}

/// Owner and set-id bits return only to the same object with the same bytes. Directories hold no bytes, so always.
pub(crate) fn may_have_back(parent: &Dir, name: &[u8], old: &Identity) -> Result<bool, Cause> {
    if old.file_type == 'd' {
        return Ok(true);
    }
    let Some(seen) = parent.look(name)? else { return Ok(true) };
    let is_given = (seen.uid, seen.gid) != (old.uid, old.gid) || old.mode & !seen.mode.bits() & SET_ID != 0;
    if !is_given {
        return Ok(true);
    }
    let Some(live) = parent.live(name)? else { return Ok(true) };
    let is_same = live.digest().is_none_or(|b3| old.b3 == Some(b3.into()));
    Ok(is_same && is_same_inode(parent, &seen, old.inode)?)
}

pub(crate) fn without_rights(old: &Identity, new: &Identity) -> Identity {
    Identity { mode: old.mode & !SET_ID, uid: new.uid, gid: new.gid, ..old.clone() }
}

/// Sets only values that still equal `from`.
fn other_owners(
    root: &Root,
    seen: &ObjectStatus,
    from: &Identity,
    to: &Identity,
) -> (Option<u32>, Option<u32>) {
    let pick =
        |now: u32, from: u32, to: u32| (root.is_privileged() && now == from && from != to).then_some(to);
    (pick(seen.uid, from.uid, to.uid), pick(seen.gid, from.gid, to.gid))
}

pub(crate) fn set_attributes_of_directory(dir: &Dir, from: &Identity, to: &Identity) -> Result<(), Cause> {
    let seen = dir.itself()?;
    let (uid, gid) = other_owners(dir.root(), &seen, from, to);
    if uid.is_some() || gid.is_some() {
        dir.set_own_owner(uid, gid)?;
    }
    // chown(2) may drop setgid, so check the mode afterwards.
    let mode = dir.itself()?.mode.bits();
    let expected = if seen.mode.bits() == from.mode { to.mode } else { seen.mode.bits() };
    if mode != expected {
        dir.set_own_mode(Mode::of(expected))?;
    }
    set_xattrs(dir, b"", from, to)
}

/// An empty name means the directory. Sets only values that still equal `from`.
fn set_xattrs(dir: &Dir, name: &[u8], from: &Identity, to: &Identity) -> Result<(), Cause> {
    let empty = BTreeMap::new();
    let (before, after) = (from.xattrs.as_deref().unwrap_or(&empty), to.xattrs.as_deref().unwrap_or(&empty));
    let now = dir.xattrs(name)?;
    for (key, value) in before {
        let is_ours = now.get(&*decode(key)).is_some_and(|now| encode(now) == *value);
        if is_ours && !after.contains_key(key) {
            dir.remove_xattr(name, &decode(key))?;
        }
    }
    for (key, value) in after {
        let current = now.get(&*decode(key)).map(|now| encode(now));
        if current.as_ref() == before.get(key) && current.as_ref() != Some(value) {
            dir.set_xattr(name, &decode(key), &decode(value))?;
        }
    }
    Ok(())
}
