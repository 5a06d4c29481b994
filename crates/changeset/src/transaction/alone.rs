//! Stages in directories that are domains of their own: `.patchadm-<run>` in the target's directory.
//!
//! Recovery finds the other stages by where they are; these may be anywhere. So each is noted in the stage of the first
//! domain, durably, before it is made. Whoever removes that stage removes first what is noted in it.

use super::error::Cause;
use super::own_stage::{Found, open_own};
use crate::format::journal::{checked_line, checked_values, noted_stage};
use crate::format::manifest::encode;
use crate::package::{Mode, ObjectPath};
use crate::root::{Dir, Root};

/// The file in the stage of the first domain: a line for each stage, its escaped physical path.
const NOTE: &[u8] = b"alone";

/// Larger than any note.
const LARGEST: u64 = 1 << 20;

/// The name of a stage in a directory of its own.
pub(super) fn name(run: &str) -> Vec<u8> {
    format!(".patchadm-{run}").into_bytes()
}

/// Notes, before it is made, where a stage will be. Durable afterwards, with the stage that it is noted in.
pub(super) fn note(first: &Dir, stage: &ObjectPath) -> Result<(), Cause> {
    let file = first.open_or_create(NOTE, Mode::of(0o600))?;
    let size = file.size()?;
    file.put_at(&checked_line(&encode(stage.as_bytes())), size)?;
    Ok(first.sync_file_system()?)
}

/// The stages that are noted in `first`, the stage of a run. A note of any other directory is damage.
fn noted(first: &Dir) -> Result<Vec<ObjectPath>, Cause> {
    let bytes = first.read(NOTE, LARGEST)?.unwrap_or_default();
    let run = String::from_utf8_lossy(first.path().name()).into_owned();
    let stages = checked_values::<String>(&bytes).map(|path| noted_stage(&path, &run));
    let path = || first.root().show(&first.at(NOTE));
    stages.collect::<Result<_, _>>().map_err(|reason| Cause::Journal { path: path(), reason })
}

/// Checks what is noted in `first`, the stage of a run.
pub(super) fn check(first: &Dir) -> Result<(), Cause> {
    noted(first).map(drop)
}

/// Removes the stages that are noted in `first`, the stage of a run, durably. Notes say what is not such a stage and stays.
pub(super) fn remove_noted(root: &Root, first: &Dir) -> Result<Vec<String>, Cause> {
    let mut notes = Vec::new();
    for stage in noted(first)? {
        notes.extend(remove(root, &stage, first.path().name())?);
    }
    Ok(notes)
}

/// Removes one stage, durably: else a power cut could bring it back when nothing tells of it any more. A note where what
/// is there is no stage of the run.
fn remove(root: &Root, stage: &ObjectPath, run: &[u8]) -> Result<Option<String>, Cause> {
    let Some(parent) = stage.parent() else { return Ok(None) };
    let Some(dir) = root.dir_if_there(&parent)? else { return Ok(None) };
    match open_own(&dir, stage.name(), run)? {
        Found::Nothing => Ok(None),
        Found::Theirs(reason) => Ok(Some(format!("{} {reason}: it is left as it is", root.show(stage)))),
        Found::Ours(_) => {
            dir.remove_tree(stage.name())?;
            dir.sync_file_system()?;
            Ok(None)
        }
    }
}
