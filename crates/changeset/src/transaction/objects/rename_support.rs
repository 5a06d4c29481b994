//! The renames that a file system supports, and the substitutes for those it lacks.
//!
//! Without `RENAME_NOREPLACE`, an object gets its new name by link(2), which fails on an existing name, and then
//! loses the old one. A directory cannot have a second name; it is renamed if its new name looks free, and rename(2)
//! itself lets a directory replace nothing but an empty directory. Into a stage, where nobody else writes, a plain
//! rename suffices.

use rustix::io::Errno;

use crate::format::journal::{Domain, Lack};
use crate::transaction::error::Cause;
use patchadm_rootfs::{Dir, FileType, Result, RootError};

/// The renames supported by the file system of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RenameSupport {
    /// Whether two names can be exchanged.
    pub(crate) exchange: bool,
    /// Whether a rename can be kept from replacing an existing name.
    pub(crate) no_replace: bool,
}

impl RenameSupport {
    /// Reads them from a domain of the journal.
    pub(crate) fn of(domain: &Domain) -> Self {
        let has = |lack| !domain.lacks.contains(&lack);
        Self { exchange: has(Lack::Exchange), no_replace: has(Lack::NoReplace) }
    }

    /// Moves a staged object, or another live name, to a free live name. Fails with EEXIST if the name is taken,
    /// unless by the same object: then an earlier attempt was cut off and is finished.
    pub(crate) fn place(self, from: &Dir, name: &[u8], to: &Dir, to_name: &[u8]) -> Result<()> {
        if self.no_replace {
            return from.move_to(name, to, to_name);
        }
        let is_directory = from.look(name)?.is_some_and(|seen| seen.file_type == FileType::Directory);
        let linked = if is_directory { false } else { link(from, name, to, to_name)? };
        if linked {
            return from.remove(name);
        }
        if to.look(to_name)?.is_some() {
            return Err(to.refused(to_name));
        }
        from.replace(name, to, to_name)
    }

    /// Moves a live name to a free name in the stage. Fails with EEXIST if that is taken, unless by the same object.
    pub(crate) fn take(self, from: &Dir, name: &[u8], stage: &Dir, staged: &[u8]) -> Result<()> {
        if self.no_replace {
            return from.move_to(name, stage, staged);
        }
        if stage.look(staged)?.is_none() {
            return from.replace(name, stage, staged);
        }
        if is_one_object(from, name, stage, staged)? {
            return from.remove(name);
        }
        Err(stage.refused(staged))
    }
}

/// Gives an object a second name. Fails with EEXIST if another object has it; returns false if the object cannot have
/// one.
pub(crate) fn link(from: &Dir, name: &[u8], to: &Dir, to_name: &[u8]) -> Result<bool> {
    match to.make_link(to_name, from, name) {
        Ok(()) => Ok(true),
        Err(error) if cannot_link(&error) => Ok(false),
        Err(error) if error.errno() == Some(Errno::EXIST) && is_one_object(from, name, to, to_name)? => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// Tells whether the error means that no link is possible: the file system has none, has none for such objects or no
/// room for another one, or the system forbids links to other owners' files (`fs.protected_hardlinks`).
fn cannot_link(error: &RootError) -> bool {
    let hindrances = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::INVAL];
    error.errno().is_some_and(|errno| hindrances.contains(&errno))
}

/// Tells whether two names belong to one object.
pub(crate) fn is_one_object(a: &Dir, a_name: &[u8], b: &Dir, b_name: &[u8]) -> Result<bool> {
    let (a, b) = (a.look(a_name)?, b.look(b_name)?);
    Ok(a.zip(b).is_some_and(|(a, b)| a.inode == b.inode && a.file_system == b.file_system))
}

/// Tells whether the file system lacks the call.
pub(crate) fn is_not_there(error: &RootError) -> bool {
    matches!(error.errno(), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Tries the renames of a file system in a stage. A file system that can neither keep a rename from replacing nor
/// link is refused, because an object made at the last moment could be lost there.
pub(crate) fn probe_renames(stage: &Dir) -> std::result::Result<Vec<Lack>, Cause> {
    let (a, b, c) = (b"probe.a", b"probe.b", b"probe.c");
    drop(stage.create(a)?);
    drop(stage.create(b)?);
    let mut lacks = Vec::new();
    match stage.exchange(a, stage, b) {
        Err(error) if is_not_there(&error) => lacks.push(Lack::Exchange),
        other => other?,
    }
    match stage.move_to(a, stage, c) {
        Err(error) if is_not_there(&error) => {
            lacks.push(Lack::NoReplace);
            if !link(stage, a, stage, c)? {
                let reason =
                    "is on a file system that can neither link a file nor keep a rename from replacing one";
                return Err(Cause::Unsupported { path: stage.root().show(stage.path()), reason });
            }
        }
        other => other?,
    }
    for name in [a, b, c] {
        stage.remove(name)?;
    }
    Ok(lacks)
}
