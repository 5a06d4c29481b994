//! Writes what is staged beside objects: record files and directories, extended attributes, identities.

use sha2::{Digest as _, Sha256};

use crate::format::journal::Identity;
use crate::package::{Digest, Mode, Timestamp, Xattrs};
use crate::plan::{TreeContent, TreeFile};
use crate::root::{Dir, FileType, Root, RootError};
use crate::transaction::error::Cause;
use crate::transaction::objects::identity::identity;
use crate::transaction::stage::layout::LayoutItem;

/// Notes which inode a staged object is.
pub(crate) fn note_identity(
    item: &mut LayoutItem<'_>,
    dir: &Dir,
    name: &[u8],
    digest: Option<Digest>,
) -> Result<(), Cause> {
    item.op.new = Some(identity_of(dir, name, digest)?);
    Ok(())
}

/// The identity of a staged object.
pub(crate) fn identity_of(dir: &Dir, name: &[u8], digest: Option<Digest>) -> Result<Identity, Cause> {
    let seen = dir.look(name)?.ok_or_else(|| Cause::Changed(dir.root().show(&dir.at(name))))?;
    let target = match seen.file_type {
        FileType::Symlink => Some(dir.read_link(name)?),
        _ => None,
    };
    Ok(identity(&seen, digest, target.as_deref()))
}

/// Sets extended attributes; without privileges those that only root may set are left out.
pub(crate) fn set_xattrs(dir: &Dir, name: &[u8], xattrs: &Xattrs) -> Result<(), Cause> {
    for (key, value) in xattrs {
        match dir.set_xattr(name, key, value) {
            Err(error) if may_be_left_out(dir.root(), &error) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Writes a record file with its attributes: those of the file it replaces, else root's.
pub(crate) fn record_file(
    dir: &Dir,
    name: &[u8],
    bytes: &[u8],
    mode: Mode,
    mtime: Option<Timestamp>,
) -> Result<Digest, Cause> {
    let mut file = dir.create(name)?;
    file.reserve(bytes.len() as u64)?;
    file.put(bytes)?;
    if dir.root().is_privileged() {
        file.set_owner(0, 0)?;
    }
    file.set_mode(mode)?;
    if let Some(mtime) = mtime {
        file.set_mtime(mtime)?;
    }
    Ok(Digest(Sha256::digest(bytes).into()))
}

/// Writes an undo archive, or the manifest of one that is not kept, by its number, into a directory under a name.
pub(crate) type UndoWriter<'u> = dyn FnMut(usize, &Dir, &[u8]) -> Result<(), Cause> + 'u;

/// Writes the files of a record directory; `undo` writes an archive into the directory and under the name given.
pub(crate) fn record_tree(
    within: &Dir,
    name: &[u8],
    files: &[TreeFile],
    undo: &mut UndoWriter<'_>,
) -> Result<(), Cause> {
    let top = within.make_dir(name, Mode::of(0o755))?;
    for file in files {
        let mut parts: Vec<&[u8]> = file.name.split(|&b| b == b'/').collect();
        let last = parts.pop().unwrap_or_default();
        let mut dir = top.again()?;
        for part in parts {
            dir = match dir.look(part)? {
                Some(_) => dir.dir(part)?,
                None => dir.make_dir(part, Mode::of(0o755))?,
            };
        }
        match &file.content {
            TreeContent::Bytes(bytes) => drop(record_file(&dir, last, bytes, file.mode, file.mtime)?),
            TreeContent::Undo(index) | TreeContent::Manifest(index) => undo(*index, &dir, last)?,
            // Written when all archives are.
            TreeContent::UndoDigest(_) => {}
            // A file before it may have needed it.
            TreeContent::Directory if dir.look(last)?.is_some() => {}
            TreeContent::Directory => drop(dir.make_dir(last, file.mode)?),
        }
    }
    Ok(())
}

/// Attributes that only the superuser may set are recorded only.
pub(crate) fn may_be_left_out(root: &Root, error: &RootError) -> bool {
    !root.is_privileged() && error.errno() == Some(rustix::io::Errno::PERM)
}
