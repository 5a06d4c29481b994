//! What a file system can do with names, and what is done instead where it cannot.
//!
//! Without `RENAME_NOREPLACE` an object gets its new name by link(2), for which an existing name is an error, and then
//! loses the old one. A directory has no second name; it is renamed when nothing is seen at its new one, and rename(2)
//! itself replaces nothing by a directory but an empty one. Into a stage, where nobody else writes, a plain rename does.

use rustix::io::Errno;

use crate::format::journal::{Domain, Lack};
use crate::root::{Dir, FileType, Result, RootError};
use crate::transaction::error::Cause;

/// What the file system of a domain can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RenameSupport {
    /// Two names can change places.
    pub(crate) exchange: bool,
    /// A rename can be kept from replacing what is there.
    pub(crate) no_replace: bool,
}

impl RenameSupport {
    /// Those of a domain, as the journal has it.
    pub(crate) fn of(domain: &Domain) -> Self {
        let has = |lack| !domain.lacks.contains(&lack);
        Self { exchange: has(Lack::Exchange), no_replace: has(Lack::NoReplace) }
    }

    /// Moves what the stage, or another live name, has to a live name where nothing is; EEXIST where something is, unless
    /// it is the same object: then an earlier try was cut and is finished.
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

    /// Moves a live name into the stage, where nothing is under that name (EEXIST), unless it is the same object.
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

/// Gives an object a second name; EEXIST where that is another object's, false where the object can have none.
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

/// Whether the file system has no links, has none of such an object, or has no room for one more; or the system keeps us
/// from linking what is not ours (`fs.protected_hardlinks`).
fn cannot_link(error: &RootError) -> bool {
    let hindrances = [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK, Errno::INVAL];
    error.errno().is_some_and(|errno| hindrances.contains(&errno))
}

/// Whether two names are those of one object.
pub(crate) fn is_one_object(a: &Dir, a_name: &[u8], b: &Dir, b_name: &[u8]) -> Result<bool> {
    let (a, b) = (a.look(a_name)?, b.look(b_name)?);
    Ok(a.zip(b).is_some_and(|(a, b)| a.inode == b.inode && a.file_system == b.file_system))
}

/// Whether a call says that the file system does not have it.
pub(crate) fn is_not_there(error: &RootError) -> bool {
    matches!(error.errno(), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// Tries in a stage what its file system can do. What can neither keep a rename from replacing nor link is refused: there
/// something that somebody makes at the last moment could be lost.
pub(crate) fn probe(stage: &Dir) -> std::result::Result<Vec<Lack>, Cause> {
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
