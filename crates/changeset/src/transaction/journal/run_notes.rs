//! What a run with procedure scripts notes beside its journal, as it goes: which objects it made or found after its
//! scripts, and which undo archives it wrote outside the root.
//!
//! The journal is published before the first script runs and cannot know these. The notes are lines in the stage of
//! the first domain; after a power cut the last ones may be missing, and then what they tell of is taken for somebody
//! else's and kept.

use serde::{Deserialize, Serialize};

use crate::format::journal::{
    Archive, Identity, Journal, JournalError, OpKind, archive_elsewhere, checked_line, checked_values,
    noted_identity, noted_path,
};
use crate::package::{Mode, ObjectPath};
use crate::root::{Dir, ObjectStatus, Root};
use crate::transaction::error::Cause;

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
pub(crate) enum RunNote {
    /// An object that the run made, or that was there after one of its scripts had ended: escaped physical path.
    Made { path: String, identity: Identity },
    /// An undo archive outside the root.
    Archive(Archive),
}

/// What is known of a run.
#[derive(Debug, Default)]
pub(crate) struct RunNotes {
    made: std::collections::HashMap<String, Vec<Identity>>,
    /// Undo archives outside the root.
    pub(crate) archives: Vec<Archive>,
}

impl RunNotes {
    /// Reads the notes of a stage. A note that this program could not have written is damage.
    pub(crate) fn read(stage: &Dir) -> Result<Self, Cause> {
        let bytes = stage.read(NAME, LARGEST)?.unwrap_or_default();
        let mut known = Self::default();
        for note in checked_values(&bytes) {
            let believed = check(&note);
            believed.map_err(|reason| Cause::Journal { path: stage.root().show(&stage.at(NAME)), reason })?;
            match note {
                RunNote::Made { path, identity } => known.made.entry(path).or_default().push(identity),
                RunNote::Archive(archive) => known.archives.push(archive),
            }
        }
        Ok(known)
    }

    /// Whether the object is one that the run made or found after a script.
    pub(crate) fn is_ours(&self, path: &ObjectPath, seen: &ObjectStatus) -> bool {
        let identities = self.made.get(&escaped(path));
        identities.into_iter().flatten().any(|identity| {
            identity.inode == seen.inode && identity.size == seen.size && identity.mtime == seen.mtime
        })
    }
}

/// Checks what a note says.
fn check(note: &RunNote) -> Result<(), JournalError> {
    match note {
        RunNote::Made { path, identity } => {
            let of = format!("the note of {path}");
            noted_path(path, &of)?;
            noted_identity(identity, of)
        }
        RunNote::Archive(archive) => archive_elsewhere(archive, "the note of an archive".to_owned()),
    }
}

/// A path as the notes have it.
pub(crate) fn escaped(path: &ObjectPath) -> String {
    crate::format::manifest::encode(path.as_bytes())
}

/// Adds lines; with `durable` they outlive a power cut.
pub(crate) fn add(stage: &Dir, notes: &[RunNote], durable: bool) -> Result<(), Cause> {
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
pub(crate) fn add_to_log(stage: &Dir, text: &[u8]) -> Result<(), Cause> {
    let file = stage.open_or_create(LOG, Mode::of(0o600))?;
    let size = file.size()?;
    if size < LONGEST_LOG {
        file.put_at(text, size)?;
    }
    Ok(())
}

/// What the log gets beside the story of the run.
pub(crate) fn log(stage: &Dir) -> Result<Vec<u8>, Cause> {
    Ok(stage.read(LOG, 2 * LONGEST_LOG)?.unwrap_or_default())
}

/// The journal together with the archives that the run noted after it was published.
pub(crate) fn with_notes(root: &Root, journal: &Journal) -> Result<Journal, Cause> {
    let mut journal = journal.clone();
    if let Some(domain) = journal.domains.first()
        && journal.ops.iter().any(|op| op.kind == OpKind::Protect)
        && let Some(stage) = root.dir_if_there(&domain.stage)?
    {
        journal.archives.extend(RunNotes::read(&stage)?.archives);
    }
    Ok(journal)
}
