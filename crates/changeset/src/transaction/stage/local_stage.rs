//! Stages in directories that form a domain of their own: `.patchadm-<run>` inside the target's directory.
//!
//! Recovery finds all other stages by their fixed places; a local stage may lie anywhere. Each one is therefore noted
//! in the stage of the first domain, durably, before it is made. Removing that first stage removes the noted ones
//! beforehand.

use crate::format::journal::{checked_line, checked_values, noted_stage};
use crate::format::manifest::encode;
use crate::transaction::error::Cause;
use crate::transaction::stage::own_stage::{FoundStage, open_own};
use patchadm_rootfs::{Dir, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The note file in the stage of the first domain: one line per local stage, its escaped physical path.
const NOTE: &[u8] = b"alone";

/// The largest note file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Returns the name of a local stage.
pub(crate) fn name(run: &str) -> Vec<u8> {
    format!(".patchadm-{run}").into_bytes()
}

/// Notes the path of a local stage before the stage is made. Both the note and the stage that holds it are durable
/// afterwards.
pub(crate) fn note(first: &Dir, stage: &ObjectPath) -> Result<(), Cause> {
    let file = first.open_or_create(NOTE, Mode::of(0o600))?;
    let size = file.size()?;
    file.put_at(&checked_line(&encode(stage.as_bytes())), size)?;
    Ok(first.sync_file_system()?)
}

/// Reads the local stages noted in `first`, the stage of a run. A note of any other directory counts as damage.
pub(crate) fn noted(first: &Dir) -> Result<Vec<ObjectPath>, Cause> {
    let bytes = first.read(NOTE, LARGEST)?.unwrap_or_default();
    let run = String::from_utf8_lossy(first.path().name()).into_owned();
    let stages = checked_values::<String>(&bytes).map(|path| noted_stage(&path, &run));
    let path = || first.root().show(&first.at(NOTE));
    stages.collect::<Result<_, _>>().map_err(|reason| Cause::Journal { path: path(), reason })
}

/// Checks the notes in `first`, the stage of a run.
pub(crate) fn check(first: &Dir) -> Result<(), Cause> {
    noted(first).map(drop)
}

/// Removes the local stages noted in `first`, the stage of a run, durably. Returns a note for each path that is not
/// such a stage and stays.
pub(crate) fn remove_noted(root: &Root, first: &Dir) -> Result<Vec<String>, Cause> {
    let mut notes = Vec::new();
    for stage in noted(first)? {
        notes.extend(remove(root, &stage, first.path().name())?);
    }
    Ok(notes)
}

/// Removes one local stage durably; otherwise a power cut could bring it back after its note is gone. Returns a note
/// if the path is not a stage of the run.
fn remove(root: &Root, stage: &ObjectPath, run: &[u8]) -> Result<Option<String>, Cause> {
    let Some(parent) = stage.parent() else { return Ok(None) };
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(None) };
    match open_own(&dir, stage.name(), run)? {
        FoundStage::Nothing => Ok(None),
        FoundStage::Theirs(reason) => Ok(Some(format!("{} {reason}: it is left as it is", root.show(stage)))),
        FoundStage::Ours(_) => {
            dir.remove_tree(stage.name())?;
            dir.sync_file_system()?;
            Ok(None)
        }
    }
}
