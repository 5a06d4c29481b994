//! Tells old, new and foreign objects apart: by inode and birth time, or, if these cannot decide (copied roots,
//! overlayfs copy-up), by type, attributes, size and content. Only then are files read.

use std::collections::BTreeMap;

use crate::format::journal::{Identity, Op, OpKind, is_settable};
use crate::format::manifest::encode;
use crate::transaction::error::Cause;
use patchadm_rootfs::{Digest, Dir, FileType, Inode, ObjectStatus, Result, Timestamp, Xattrs};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectState {
    Old,
    New,
    NewTouched,
    Other,
    None,
}

const OVERLAY: u64 = 0x794c_7630;

/// On overlayfs, the first change of a lower layer's object gives it another birth time, perhaps another inode; and its
/// directories cannot be renamed.
pub(crate) fn is_layered(dir: &Dir) -> Result<bool> {
    Ok(dir.file_system_magic()? == OVERLAY)
}

pub(crate) fn is_same_inode(dir: &Dir, seen: &ObjectStatus, before: Inode) -> Result<bool> {
    Ok(seen.inode == before || is_layered(dir)?)
}

/// Returns true if the object was made since `begun`, the birth of the run's stage. Without birth times, nothing was.
pub(crate) fn is_made_since(begun: Option<Timestamp>, seen: &ObjectStatus) -> bool {
    begun.is_some_and(|begun| seen.inode.born.is_some_and(|born| born >= begun))
}

/// Ignores current attributes. In a copied root, where the inode differs, it must have one side's attributes.
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
    // The new object first, so that equal content counts as done.
    for (identity, state) in [(new, ObjectState::New), (old, ObjectState::Old)] {
        if let Some(identity) = identity
            && has_content(dir, name, &seen, identity)?
        {
            return Ok(state);
        }
    }
    Ok(ObjectState::Other)
}

/// The copy of an old object without a second name counts as old.
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

/// Size and time of a directory change with its entries, so they are ignored.
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
