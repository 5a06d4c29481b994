//! Finds the remains of the journal of a run: its own files, and the copies in its stages.

use crate::format::journal::{JournalFiles, mended, parse_head};
use crate::records::identity::RootId;
use crate::transaction::error::Cause;
use crate::transaction::journal::journal_file;
use crate::transaction::stage::domains::HOLDER;
use crate::transaction::stage::local_stage;
use crate::transaction::stage::own_stage::{FoundStage, open_own};
use patchadm_rootfs::{Dir, Root};

/// Returns the pairs of files that may be the journal of `run`, the likeliest first: only those whose header names this
/// run and this root. `stage` is its stage on the file system of the records, `own` the directory of the journal.
/// Parsing shows whether the two belong together and whether the rest is whole.
pub(crate) fn journals_of(
    root: &Root,
    own: &Dir,
    stage: &Dir,
    run: &str,
) -> Result<Vec<JournalFiles>, Cause> {
    let mut found = journal_file::found_in(own, run)?;
    found.extend(journal_file::found_in(stage, run)?);
    for other in other_stages(root, stage, run)? {
        found.extend(journal_file::found_in(&other, run)?);
    }
    // The ops of one pair and the journal of another may be whole.
    let ops: Vec<Vec<u8>> = found.iter().map(|files| files.ops.clone()).collect();
    let mut crossed = found.clone();
    for files in &found {
        crossed
            .extend(ops.iter().map(|ops| JournalFiles { journal: files.journal.clone(), ops: ops.clone() }));
    }
    let root_id = RootId::of(root)?.marker();
    let own_path = own.path().clone();
    crossed.retain(|files| {
        let head = mended(&files.journal).and_then(|bytes| parse_head(&bytes).ok());
        head.is_some_and(|head| {
            let is_this_root = root_id.as_ref().is_none_or(|root_id| *root_id == head.header.root);
            head.header.run == run && is_this_root
        }) && is_of(files, &own_path)
    });
    Ok(crossed)
}

/// Tells whether a journal, as far as it can be read, belongs to the directory `own`.
fn is_of(files: &JournalFiles, own: &patchadm_svr4::package::ObjectPath) -> bool {
    let journal = mended(&files.journal)
        .and_then(|bytes| crate::format::journal::Journal::parse(&bytes, Some(&files.ops)).ok());
    journal.is_some_and(|journal| journal.must_be_of(own).is_ok())
}

/// Opens the stages of a run on other file systems and in directories of their own.
pub(crate) fn other_stages(root: &Root, first: &Dir, run: &str) -> Result<Vec<Dir>, Cause> {
    let mut found = Vec::new();
    for path in local_stage::noted(first)? {
        let Some(parent) = path.parent() else { continue };
        if let Some(dir) = root.dir_if_there(&parent)?
            && let FoundStage::Ours(stage) = open_own(&dir, path.name(), run.as_bytes())?
        {
            found.push(stage.dir);
        }
    }
    for mount in root.mount_points()? {
        let Ok(Some(top)) = root.dir_if_there(&mount) else { continue };
        let Ok(holder) = top.dir(HOLDER) else { continue };
        if let FoundStage::Ours(stage) = open_own(&holder, run.as_bytes(), run.as_bytes())? {
            found.push(stage.dir);
        }
    }
    Ok(found)
}
