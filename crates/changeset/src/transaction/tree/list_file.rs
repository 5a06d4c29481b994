//! The file of the list in a stage, beside the directory that it describes.

use crate::format::journal::{Journal, JournalError, NotedDigest, Op, OpKind};
use crate::format::tree_list::{LARGEST, TreeList};
use crate::transaction::error::Cause;
use crate::transaction::journal::journal_file;
use patchadm_rootfs::{Digest, Dir, Root};
use patchadm_svr4::package::Mode;
use patchadm_svr4::places::own_directory;

/// Writes a list into a stage, readable for its owner only; returns its digest.
pub(crate) fn write(stage: &Dir, name: &[u8], list: &TreeList) -> Result<Digest, Cause> {
    let bytes = list.write();
    let mut file = stage.create(name)?;
    file.reserve(bytes.len() as u64)?;
    file.put(&bytes)?;
    file.set_mode(Mode::of(0o600))?;
    Ok(Digest::of(&bytes))
}

/// Reads the list of an op from its stage. It must be the one that the journal names.
pub(crate) fn read(stage: &Dir, op: &Op) -> Result<TreeList, Cause> {
    let damaged = || {
        let root = stage.root();
        let path = own_directory().join(journal_file::NAME).unwrap_or_else(|_| own_directory());
        let reason = JournalError::Field { field: "list", of: format!("the change of {}", op.path) };
        Cause::Journal { path: root.show(&path), reason }
    };
    let bytes = stage.read_regular(op.list_name().as_bytes(), LARGEST)?.ok_or_else(damaged)?;
    let wanted = op.list.as_deref().and_then(NotedDigest::digest);
    if wanted != Some(Digest::of(&bytes)) {
        return Err(damaged());
    }
    TreeList::parse(&bytes).ok_or_else(damaged)
}

/// Tells whether the list of an op exists. The list is removed only after an outcome, once the directory contains no
/// foreign objects. A power cut may then bring back names in that directory, but not the list.
pub(crate) fn is_there(stage: &Dir, op: &Op) -> Result<bool, Cause> {
    Ok(stage.look(op.list_name().as_bytes())?.is_some())
}

/// Checks the lists of all directories of a journal that are still in their stages.
pub(crate) fn check(root: &Root, journal: &Journal) -> Result<(), Cause> {
    for op in journal.ops.iter().filter(|op| op.kind == OpKind::Tree) {
        let Some(domain) = journal.domains.get(op.domain) else { continue };
        let Some(stage) = root.dir_if_there(&domain.stage)? else { continue };
        if journal.head.outcome.is_some() && !is_there(&stage, op)? {
            continue;
        }
        if stage.look(b"o")?.is_some() && stage.dir(b"o")?.look(op.list_name().as_bytes())?.is_some() {
            read(&stage, op)?;
        }
    }
    Ok(())
}
