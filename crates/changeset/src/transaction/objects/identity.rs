//! Tells the old object, the new object and a foreign object apart.
//!
//! Inode and birth time decide first. If they cannot (in a copied or restored root, or on overlayfs after a copy-up),
//! type, attributes and size do, and the content of a regular file or link. Only then are files read.

use std::collections::BTreeMap;

use crate::format::journal::{Identity, Op, OpKind, is_settable};
use crate::format::manifest::encode;
use crate::transaction::error::Cause;
use patchadm_rootfs::{Digest, Dir, FileType, Inode, ObjectStatus, Result, Xattrs};

/// The state of a target or staged name, as recovery distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectState {
    Old,
    New,
    NewTouched,
    Other,
    None,
}

const OVERLAY: u64 = 0x794c_7630;

/// Returns true if a directory is on overlayfs. There, an object of a lower layer gets another birth time, and
/// possibly another inode number, when it is first changed; and a directory of a lower layer cannot be renamed.
pub(crate) fn is_layered(dir: &Dir) -> Result<bool> {
    Ok(dir.file_system_magic()? == OVERLAY)
}

pub(crate) fn is_same_inode(dir: &Dir, seen: &ObjectStatus, before: Inode) -> Result<bool> {
    Ok(seen.inode == before || is_layered(dir)?)
}

/// Returns true if an object that only gets other attributes is still the same object, regardless of its current
/// attributes. In a copied root, where its inode differs, it must have the attributes of one side.
pub(crate) fn is_there(dir: &Dir, name: &[u8], old: &Identity, new: &Identity) -> Result<bool> {
    let Some(seen) = dir.look(name)? else { return Ok(false) };
    if seen.inode == old.inode || is_untouched(&seen, old) && is_layered(dir)? {
        return Ok(true);
    }
    let found = state(dir, name, Some(old), Some(new))?;
    Ok(matches!(found, ObjectState::Old | ObjectState::New))
}

pub(crate) fn encoded(xattrs: &Xattrs) -> BTreeMap<String, String> {
    let settable = xattrs.iter().filter(|(name, _)| is_settable(name));
    settable.map(|(name, value)| (encode(name), encode(value))).collect()
}

pub(crate) fn identity(seen: &ObjectStatus, b3: Option<Digest>, target: Option<&[u8]>) -> Identity {
    Identity {
        file_type: seen.file_type.letter(),
        mode: seen.mode.bits(),
        uid: seen.uid,
        gid: seen.gid,
        size: seen.size,
        mtime: seen.mtime,
        inode: seen.inode,
        b3: b3.map(Into::into),
        target: target.map(|target| encode(target).into()),
        xattrs: None,
    }
}

pub(crate) fn state(
    dir: &Dir,
    name: &[u8],
    old: Option<&Identity>,
    new: Option<&Identity>,
) -> Result<ObjectState> {
    let Some(seen) = dir.look(name)? else { return Ok(ObjectState::None) };
    if let Some(new) = new.filter(|new| new.inode == seen.inode) {
        return Ok(if is_untouched(&seen, new) { ObjectState::New } else { ObjectState::NewTouched });
    }
    if old.is_some_and(|old| old.inode == seen.inode) {
        return Ok(ObjectState::Old);
    }
    // Different inodes: the new object is tried first, so that equal content counts as done.
    for (identity, state) in [(new, ObjectState::New), (old, ObjectState::Old)] {
        if let Some(identity) = identity
            && has_content(dir, name, &seen, identity)?
        {
            return Ok(state);
        }
    }
    Ok(ObjectState::Other)
}

/// Determines the state of `name` for an op. The copy of an old object that could not have a second name counts as
/// the old object.
pub(crate) fn state_of(dir: &Dir, name: &[u8], op: &Op) -> Result<ObjectState> {
    if let Some(copy) = &op.copy
        && dir.look(name)?.is_some_and(|seen| seen.inode == copy.inode)
    {
        return Ok(ObjectState::Old);
    }
    if op.kind == OpKind::Tree {
        return state_of_tree(dir, name, op);
    }
    state(dir, name, op.old.as_deref(), op.new.as_deref())
}

fn state_of_tree(dir: &Dir, name: &[u8], op: &Op) -> Result<ObjectState> {
    let Some(seen) = dir.look(name)? else { return Ok(ObjectState::None) };
    let is = |identity: &Option<Box<Identity>>| identity.as_ref().is_some_and(|it| it.inode == seen.inode);
    Ok(if is(&op.new) {
        ObjectState::New
    } else if is(&op.old) {
        ObjectState::Old
    } else {
        ObjectState::Other
    })
}

pub(crate) fn is_old_untouched(dir: &Dir, name: &[u8], old: &Identity) -> Result<bool> {
    match dir.look(name)? {
        Some(seen) => is_seen_untouched(dir, name, &seen, old),
        None => Ok(false),
    }
}

pub(crate) fn is_seen_untouched(dir: &Dir, name: &[u8], seen: &ObjectStatus, old: &Identity) -> Result<bool> {
    if seen.inode == old.inode { Ok(is_untouched(seen, old)) } else { has_content(dir, name, seen, old) }
}

/// Compares size and time, but not for a directory, whose size and time change with its entries.
fn is_untouched(seen: &ObjectStatus, identity: &Identity) -> bool {
    seen.file_type.letter() == identity.file_type
        && (seen.file_type == FileType::Directory
            || (seen.size == identity.size && seen.mtime == identity.mtime))
}

fn has_content(dir: &Dir, name: &[u8], seen: &ObjectStatus, identity: &Identity) -> Result<bool> {
    let looks_alike = is_untouched(seen, identity)
        && (seen.mode.bits(), seen.uid, seen.gid) == (identity.mode, identity.uid, identity.gid);
    if !looks_alike {
        return Ok(false);
    }
    match seen.file_type {
        FileType::Regular => {
            let digest = dir.live(name)?.and_then(|live| live.digest()).map(Into::into);
            Ok(digest.is_some() && digest == identity.b3)
        }
        FileType::Symlink => Ok(Some(encode(&dir.read_link(name)?).as_str()) == identity.target.as_deref()),
        _ => Ok(true),
    }
}

pub(crate) fn identity_of(
    dir: &Dir,
    name: &[u8],
    digest: Option<Digest>,
) -> std::result::Result<Identity, Cause> {
    let seen = dir.look(name)?.ok_or_else(|| Cause::Changed(dir.root().show(&dir.at(name))))?;
    let target = match seen.file_type {
        FileType::Symlink => Some(dir.read_link(name)?),
        _ => None,
    };
    Ok(identity(&seen, digest, target.as_deref()))
}
