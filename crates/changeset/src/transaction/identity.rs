//! Is this the object of before, the object of after, or somebody else's?
//!
//! First the inode and its birth time decide. Where they cannot (a copied or restored root, overlayfs after a
//! copy-up), type, attributes and size do, and for a regular file or a link the content: only then are files read.

use std::collections::BTreeMap;

use crate::format::journal::{Identity, Op, is_settable};
use crate::format::manifest::encode;
use crate::package::{Digest, Inode, Xattrs};
use crate::root::{Dir, FileType, Result, Seen};

/// What stands at a target or in a stage, as recovery tells it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The object of before.
    Old,
    /// The object of after, as it was staged.
    New,
    /// The inode of after, written to since.
    NewTouched,
    /// Neither.
    Other,
    /// Nothing.
    None,
}

/// The magic number of overlayfs.
const OVERLAY: u64 = 0x794c_7630;

/// Whether a directory is on overlayfs: there an object of a lower layer gets another birth time when it is first changed,
/// and may get another inode number; and a directory of a lower layer cannot be renamed.
pub(super) fn is_layered(dir: &Dir) -> Result<bool> {
    Ok(dir.file_system_magic()? == OVERLAY)
}

/// Whether `seen`, in `dir`, is the object that was `before`, as far as inodes tell.
pub(super) fn is_same_inode(dir: &Dir, seen: &Seen, before: Inode) -> Result<bool> {
    Ok(seen.inode == before || is_layered(dir)?)
}

/// Whether an object that only gets other attributes is still the one that it was, whatever they are by now.
pub(super) fn is_there(dir: &Dir, name: &[u8], old: &Identity) -> Result<bool> {
    let Some(seen) = dir.look(name)? else { return Ok(false) };
    if seen.inode == old.inode || is_untouched(&seen, old) && is_layered(dir)? {
        return Ok(true);
    }
    Ok(state(dir, name, Some(old), None)? == State::Old)
}

/// Extended attributes as the journal has them: those that the engine ever sets.
pub(super) fn encoded(xattrs: &Xattrs) -> BTreeMap<String, String> {
    let settable = xattrs.iter().filter(|(name, _)| is_settable(name));
    settable.map(|(name, value)| (encode(name), encode(value))).collect()
}

/// The identity of an object as it is seen.
pub(super) fn identity(seen: &Seen, sha256: Option<Digest>, target: Option<&[u8]>) -> Identity {
    Identity {
        file_type: letter(seen.file_type),
        mode: seen.mode.bits(),
        uid: seen.uid,
        gid: seen.gid,
        size: seen.size,
        mtime: seen.mtime,
        inode: seen.inode,
        sha256: sha256.map(|digest| digest.to_string()),
        target: target.map(encode),
        xattrs: None,
    }
}

/// Tells what `name` is.
pub(super) fn state(dir: &Dir, name: &[u8], old: Option<&Identity>, new: Option<&Identity>) -> Result<State> {
    let Some(seen) = dir.look(name)? else { return Ok(State::None) };
    if let Some(new) = new.filter(|new| new.inode == seen.inode) {
        return Ok(if is_untouched(&seen, new) { State::New } else { State::NewTouched });
    }
    if old.is_some_and(|old| old.inode == seen.inode) {
        return Ok(State::Old);
    }
    // Different inodes: the new object is tried first, so that equal content counts as done.
    for (identity, state) in [(new, State::New), (old, State::Old)] {
        if let Some(identity) = identity
            && has_content(dir, name, &seen, identity)?
        {
            return Ok(state);
        }
    }
    Ok(State::Other)
}

/// Tells what `name` is to an op. The copy of an old object that could have no second name is as good as the old one.
pub(super) fn state_of(dir: &Dir, name: &[u8], op: &Op) -> Result<State> {
    if let Some(copy) = &op.copy
        && dir.look(name)?.is_some_and(|seen| seen.inode == copy.inode)
    {
        return Ok(State::Old);
    }
    state(dir, name, op.old.as_ref(), op.new.as_ref())
}

/// Whether what came out of a target is the object of before, and nobody wrote to it since the survey.
pub(super) fn is_old_untouched(dir: &Dir, name: &[u8], old: &Identity) -> Result<bool> {
    match dir.look(name)? {
        Some(seen) => is_seen_untouched(dir, name, &seen, old),
        None => Ok(false),
    }
}

/// The same of what was just seen there.
pub(super) fn is_seen_untouched(dir: &Dir, name: &[u8], seen: &Seen, old: &Identity) -> Result<bool> {
    if seen.inode == old.inode { Ok(is_untouched(seen, old)) } else { has_content(dir, name, seen, old) }
}

/// A directory's size and time change with its entries, and so do not tell anything.
fn is_untouched(seen: &Seen, identity: &Identity) -> bool {
    letter(seen.file_type) == identity.file_type
        && (seen.file_type == FileType::Directory
            || (seen.size == identity.size && seen.mtime == identity.mtime))
}

fn has_content(dir: &Dir, name: &[u8], seen: &Seen, identity: &Identity) -> Result<bool> {
    let looks_alike = is_untouched(seen, identity)
        && (seen.mode.bits(), seen.uid, seen.gid) == (identity.mode, identity.uid, identity.gid);
    if !looks_alike {
        return Ok(false);
    }
    match seen.file_type {
        FileType::Regular => {
            let digest = dir.live(name)?.and_then(|live| match live.kind {
                crate::package::LiveKind::Regular { sha256, .. } => Some(sha256.to_string()),
                _ => None,
            });
            Ok(digest.is_some() && digest == identity.sha256)
        }
        FileType::Symlink => Ok(Some(encode(&dir.read_link(name)?)) == identity.target),
        _ => Ok(true),
    }
}

/// The letter of find(1) `-type`.
fn letter(file_type: FileType) -> char {
    match file_type {
        FileType::Regular => 'f',
        FileType::Directory => 'd',
        FileType::Symlink => 'l',
        FileType::Pipe => 'p',
        FileType::Socket => 's',
        FileType::Block => 'b',
        FileType::Character => 'c',
    }
}
