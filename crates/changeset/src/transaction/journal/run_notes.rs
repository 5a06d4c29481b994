//! The notes that a run with procedure scripts keeps beside its journal: the objects it made or found after a script,
//! the undo archives it wrote outside the root, and whether a script runs.
//!
//! The journal is published before the first script runs and cannot contain these. The notes are lines in the stage of
//! the first domain. After a power cut the last ones may be missing; the objects they described then count as foreign
//! and are kept. The journal itself records durably which script runs. The note serves a run whose journal is lost and
//! whose copies, made before the first script, do not name the script.

use serde::{Deserialize, Serialize};

use crate::format::journal::{
    Identity, Journal, JournalArchive, JournalError, OpKind, archive_elsewhere, checked_line, checked_values,
    noted_identity, noted_path,
};
use crate::transaction::error::Cause;
use patchadm_rootfs::{Dir, ObjectStatus, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The note file in the stage.
const NAME: &[u8] = b"notes";

/// The file in the stage that collects text for the log of the run.
const LOG: &[u8] = b"log";

/// The largest note file that is read, in bytes.
const LARGEST: u64 = 4 << 30;

/// The most log text of one run, in bytes.
const LONGEST_LOG: u64 = 16 << 20;

/// One note.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RunNote {
    /// An object made by the run, or found after one of its scripts ended, by escaped physical path.
    Made {
        path: String,
        identity: Identity,
    },
    Archive(JournalArchive),
    /// Whether a script runs from here on.
    ScriptRuns(bool),
}

/// All notes of a run.
#[derive(Debug, Default)]
pub(crate) struct RunNotes {
    made: std::collections::HashMap<String, Vec<Identity>>,
    /// The undo archives outside the root.
    pub(crate) archives: Vec<JournalArchive>,
    /// Whether a script ran when the notes end.
    pub(crate) script_runs: bool,
}

impl RunNotes {
    /// Reads the notes of a stage. A note that this program could not have written counts as damage.
    pub(crate) fn read(stage: &Dir) -> Result<Self, Cause> {
        let bytes = stage.read(NAME, LARGEST)?.unwrap_or_default();
        let mut known = Self::default();
        for note in checked_values(&bytes) {
            let believed = check(&note);
            believed.map_err(|reason| Cause::Journal { path: stage.root().show(&stage.at(NAME)), reason })?;
            match note {
                RunNote::Made { path, identity } => known.made.entry(path).or_default().push(identity),
                RunNote::Archive(archive) => known.archives.push(archive),
                RunNote::ScriptRuns(runs) => known.script_runs = runs,
            }
        }
        Ok(known)
    }

    /// Tells whether the run made the object, or found it after a script.
    pub(crate) fn is_ours(&self, path: &ObjectPath, seen: &ObjectStatus) -> bool {
        let identities = self.made.get(&escaped(path));
        identities.into_iter().flatten().any(|identity| {
            identity.inode == seen.inode && identity.size == seen.size && identity.mtime == seen.mtime
        })
    }
}

/// Checks the fields of a note.
fn check(note: &RunNote) -> Result<(), JournalError> {
    match note {
        RunNote::Made { path, identity } => {
            let of = format!("the note of {path}");
            noted_path(path, &of)?;
            noted_identity(identity, of)
        }
        RunNote::Archive(archive) => archive_elsewhere(archive, "the note of an archive".to_owned()),
        RunNote::ScriptRuns(_) => Ok(()),
    }
}

/// Escapes a path for the notes.
pub(crate) fn escaped(path: &ObjectPath) -> String {
    crate::format::manifest::encode(path.as_bytes())
}

/// Adds notes; if `durable`, they survive a power cut.
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

/// Adds text for the log.
pub(crate) fn add_to_log(stage: &Dir, text: &[u8]) -> Result<(), Cause> {
    let file = stage.open_or_create(LOG, Mode::of(0o600))?;
    let size = file.size()?;
    if size < LONGEST_LOG {
        file.put_at(text, size)?;
    }
    Ok(())
}

/// Returns the text collected for the log.
pub(crate) fn log(stage: &Dir) -> Result<Vec<u8>, Cause> {
    Ok(stage.read(LOG, 2 * LONGEST_LOG)?.unwrap_or_default())
}

/// Returns the journal with the archives noted after its publication.
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
