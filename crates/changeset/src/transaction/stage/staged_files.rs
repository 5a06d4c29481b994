//! Writes staged record files and directories, extended attributes and identities.

use std::io::{self, Read as _, Seek as _, SeekFrom};

use crate::format::journal::Identity;
use crate::format::run::Run;
use crate::plan::{CopiedRecord, TreeContent, TreeFile};
use crate::transaction::error::Cause;
use crate::transaction::objects::identity::identity;
use crate::transaction::stage::layout_items::LayoutItem;
use patchadm_rootfs::{Digest, Hashing, Timestamp, Xattrs};
use patchadm_rootfs::{Dir, FileType, Root, RootError};
use patchadm_svr4::package::Mode;

/// Records the identity of a staged object in its item.
pub(crate) fn note_identity(
    item: &mut LayoutItem<'_>,
    dir: &Dir,
    name: &[u8],
    digest: Option<Digest>,
) -> Result<(), Cause> {
    item.op.new = Some(Box::new(identity_of(dir, name, digest)?));
    Ok(())
}

/// Returns the identity of a staged object.
pub(crate) fn identity_of(dir: &Dir, name: &[u8], digest: Option<Digest>) -> Result<Identity, Cause> {
    let seen = dir.look(name)?.ok_or_else(|| Cause::Changed(dir.root().show(&dir.at(name))))?;
    let target = match seen.file_type {
        FileType::Symlink => Some(dir.read_link(name)?),
        _ => None,
    };
    Ok(identity(&seen, digest, target.as_deref()))
}

/// Sets extended attributes; without privileges, those reserved to root are left out.
pub(crate) fn set_xattrs(dir: &Dir, name: &[u8], xattrs: &Xattrs) -> Result<(), Cause> {
    for (key, value) in xattrs {
        match dir.set_xattr(name, key, value) {
            Err(error) if may_be_left_out(dir.root(), &error) => {}
            other => other?,
        }
    }
    Ok(())
}

/// Writes a record file with its attributes: those of the file it replaces, otherwise root's.
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
    Ok(Digest::of(bytes))
}

/// Copies a record file from another tree. Its bytes must be those that were planned.
pub(crate) fn copied_file(
    dir: &Dir,
    name: &[u8],
    copied: &CopiedRecord,
    (mode, mtime): (Mode, Option<Timestamp>),
) -> Result<(), Cause> {
    let CopiedRecord { tree, path, from: start, size, b3 } = copied;
    let changed = || Cause::Changed(tree.show(path));
    let physical = tree.resolver().locate(path)?;
    let from = tree.dir(&physical.parent().ok_or_else(changed)?)?;
    let mut file = from.open_regular(physical.name())?;
    file.seek(SeekFrom::Start(*start)).map_err(|_| changed())?;
    // Where the whole file is copied, it must not be longer.
    let longest = if *start == 0 { size.saturating_add(1) } else { *size };
    let mut source = Hashing::new(file.take(longest));
    let mut to = dir.create(name)?;
    to.reserve(*size)?;
    io::copy(&mut source, &mut to).map_err(|error| to.write_error(&error))?;
    if source.finish().1 != *b3 {
        return Err(changed());
    }
    if dir.root().is_privileged() {
        to.set_owner(0, 0)?;
    }
    to.set_mode(mode)?;
    Ok(mtime.map_or(Ok(()), |mtime| to.set_mtime(mtime))?)
}

/// Writes the undo archive with this index, or the manifest of one that is not kept, into a directory under a name.
pub(crate) type UndoWriter<'u> = dyn FnMut(usize, &Dir, &[u8]) -> Result<(), Cause> + 'u;

/// Writes the files of a record directory; `undo` writes the archives.
pub(crate) fn record_tree(
    within: &Dir,
    name: &[u8],
    (files, run): (&[TreeFile], &Run),
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
            TreeContent::AroundRun(before, after) => {
                let bytes = [before.as_slice(), run.to_string().as_bytes(), after].concat();
                record_file(&dir, last, &bytes, file.mode, file.mtime)?;
            }
            TreeContent::Copied(copied) => copied_file(&dir, last, copied, (file.mode, file.mtime))?,
            TreeContent::Undo(index) | TreeContent::Manifest(index) => undo(*index, &dir, last)?,
            // Written once all archives are.
            TreeContent::UndoDigest(_) => {}
            // A file before it may have needed it.
            TreeContent::Directory if dir.look(last)?.is_some() => {}
            TreeContent::Directory => drop(dir.make_dir(last, file.mode)?),
        }
    }
    Ok(())
}

/// Tells whether the error concerns an attribute that only the superuser may set; such attributes are merely
/// recorded.
pub(crate) fn may_be_left_out(root: &Root, error: &RootError) -> bool {
    !root.is_privileged() && error.errno() == Some(rustix::io::Errno::PERM)
}
