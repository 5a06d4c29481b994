//! What a run with procedure scripts notes beside its journal, as it goes: which objects it made or found after its
//! scripts, and which undo archives it wrote outside the root.
//!
//! The journal is published before the first script runs and cannot know these. The notes are lines in the stage of
//! the first domain; after a power cut the last ones may be missing, and then what they tell of is taken for somebody
//! else's and kept.

use serde::{Deserialize, Serialize};

use super::error::Cause;
use crate::format::journal::{
    Archive, Identity, JournalError, archive_elsewhere, checked_line, checked_values, noted_identity,
    noted_path,
};
use crate::package::{Mode, ObjectPath};
use crate::root::{Dir, Seen};

/// The file in the stage.
const NAME: &[u8] = b"notes";

/// The file in the stage that gathers what the log of the run gets.
const LOG: &[u8] = b"log";

/// Larger than any notes.
const LARGEST: u64 = 4 << 30;

/// What a log says at most, from one run.
const LONGEST_LOG: u64 = 16 << 20;

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Note {
    /// An object that the run made, or that was there after one of its scripts had ended: escaped physical path.
    Made { path: String, identity: Identity },
    /// An undo archive outside the root.
    Archive(Archive),
}

/// What is known of a run.
#[derive(Debug, Default)]
pub(super) struct Known {
    made: std::collections::HashMap<String, Vec<Identity>>,
    /// Undo archives outside the root.
    pub(super) archives: Vec<Archive>,
}

impl Known {
    /// Reads the notes of a stage. A note that this program could not have written is damage.
    pub(super) fn read(stage: &Dir) -> Result<Self, Cause> {
        let bytes = stage.read(NAME, LARGEST)?.unwrap_or_default();
        let mut known = Self::default();
        for note in checked_values(&bytes) {
            let believed = check(&note);
            believed.map_err(|reason| Cause::Journal { path: stage.root().show(&stage.at(NAME)), reason })?;
            match note {
                Note::Made { path, identity } => known.made.entry(path).or_default().push(identity),
                Note::Archive(archive) => known.archives.push(archive),
            }
        }
        Ok(known)
    }

    /// Whether the object is one that the run made or found after a script.
    pub(super) fn is_ours(&self, path: &ObjectPath, seen: &Seen) -> bool {
        let identities = self.made.get(&escaped(path));
        identities.into_iter().flatten().any(|identity| {
            identity.inode == seen.inode && identity.size == seen.size && identity.mtime == seen.mtime
        })
    }
}

/// Checks what a note says.
fn check(note: &Note) -> Result<(), JournalError> {
    match note {
        Note::Made { path, identity } => {
            let of = format!("the note of {path}");
            noted_path(path, &of)?;
            noted_identity(identity, of)
        }
        Note::Archive(archive) => archive_elsewhere(archive, "the note of an archive".to_owned()),
    }
}

/// A path as the notes have it.
pub(super) fn escaped(path: &ObjectPath) -> String {
    crate::format::manifest::encode(path.as_bytes())
}

/// Adds lines; with `durable` they outlive a power cut.
pub(super) fn add(stage: &Dir, notes: &[Note], durable: bool) -> Result<(), Cause> {
    if notes.is_empty() {
        return Ok(());
    }
    let lines: Vec<u8> = notes.iter().flat_map(checked_line).collect();
    let file = stage.open_or_create(NAME, Mode::of(0o600))?;
    let size = file.size()?;
    file.put_at(&lines, size)?;
    if durable {
        file.sync()?;
    }
    Ok(())
}

/// Adds to what the log gets when the run ends.
pub(super) fn add_to_log(stage: &Dir, text: &[u8]) -> Result<(), Cause> {
    let file = stage.open_or_create(LOG, Mode::of(0o600))?;
    let size = file.size()?;
    if size < LONGEST_LOG {
        file.put_at(text, size)?;
    }
    Ok(())
}

/// What the log gets beside the story of the run.
pub(super) fn log(stage: &Dir) -> Result<Vec<u8>, Cause> {
    Ok(stage.read(LOG, 2 * LONGEST_LOG)?.unwrap_or_default())
}
