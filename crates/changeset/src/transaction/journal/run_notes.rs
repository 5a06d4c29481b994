//! Notes of a run about its scripts: lines in the first domain's stage, and the progress sector. They name objects that
//! the run made or found after scripts, archives outside the root, and the running script. A power cut may lose the
//! last ones; their objects then count as foreign and are kept.

use serde::{Deserialize, Serialize};

use crate::format::journal::{
    Identity, Journal, JournalArchive, JournalError, LONGEST_SCRIPT_NAME, OpKind, ScriptProcess,
    ScriptProgress, archive_elsewhere, checked_line, checked_values, noted_identity, noted_path,
};
use crate::format::run::Run;
use crate::transaction::error::Cause;
use crate::transaction::journal::{installf_queue, journal_file};
use patchadm_rootfs::{Dir, ObjectStatus, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};

const NAME: &[u8] = b"notes";

const LOG: &[u8] = b"log";

/// About a million notes.
const LARGEST: u64 = 256 << 20;

const LONGEST_LOG: u64 = 16 << 20;

/// Ends output of scripts that a log does not have in full.
pub const OUTPUT_LEFT_OUT: &[u8] = b"\n## further output is left out\n";

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RunNote {
    Made { path: String, identity: Identity },
    Archive(JournalArchive),
    ScriptRuns(bool),
}

#[derive(Debug, Default)]
pub(crate) struct RunNotes {
    made: std::collections::HashMap<String, Vec<Identity>>,
    pub(crate) archives: Vec<JournalArchive>,
    pub(crate) script_runs: bool,
}

impl RunNotes {
    /// A note that this program cannot have written is damage.
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

    pub(crate) fn is_ours(&self, path: &ObjectPath, seen: &ObjectStatus) -> bool {
        let identities = self.made.get(&escaped(path));
        identities.into_iter().flatten().any(|identity| {
            identity.inode == seen.inode && identity.size == seen.size && identity.mtime == seen.mtime
        })
    }
}

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

pub(crate) fn escaped(path: &ObjectPath) -> String {
    crate::format::manifest::encode(path.as_bytes())
}

pub(crate) fn add(stage: &Dir, notes: &[RunNote], durable: bool) -> Result<(), Cause> {
    if notes.is_empty() {
        return Ok(());
    }
    let lines: Vec<u8> = notes.iter().flat_map(checked_line).collect();
    let file = stage.open_or_create(NAME, Mode::of(0o600))?;
    let size = file.size()?;
    // Recovery would not read them.
    if size.saturating_add(lines.len() as u64) > LARGEST {
        return Err(RootError::TooLarge { path: stage.root().show(&stage.at(NAME)), limit: LARGEST }.into());
    }
    file.put_at(&lines, size)?;
    if durable {
        file.sync()?;
    }
    Ok(())
}

pub(crate) fn add_to_log(stage: &Dir, text: &[u8]) -> Result<(), Cause> {
    let file = stage.open_or_create(LOG, Mode::of(0o600))?;
    let size = file.size()?;
    if size < LONGEST_LOG {
        file.put_at(text, size)?;
        let end = size + text.len() as u64;
        if end >= LONGEST_LOG {
            file.put_at(OUTPUT_LEFT_OUT, end)?;
        }
    }
    Ok(())
}

pub(crate) fn log(stage: &Dir) -> Result<Vec<u8>, Cause> {
    Ok(stage.read(LOG, 2 * LONGEST_LOG)?.unwrap_or_default())
}

pub(crate) fn merge_run_notes(root: &Root, journal: &Journal) -> Result<Journal, Cause> {
    let mut journal = journal.clone();
    if let Some(domain) = journal.domains.first()
        && journal.ops.iter().any(|op| op.kind == OpKind::Protect)
        && let Some(stage) = root.dir_if_there(&domain.stage)?
    {
        journal.archives.extend(RunNotes::read(&stage)?.archives);
    }
    Ok(journal)
}

/// Durable. `progress` is the last record.
pub(crate) fn note_script(
    root: &Root,
    progress: &mut Option<ScriptProgress>,
    script: Option<&ScriptProcess>,
) -> Result<(), Cause> {
    let number = progress.as_ref().map_or(0, |progress| progress.number) + 1;
    // A sector is short.
    let name = |process: &ScriptProcess| process.name.chars().take(LONGEST_SCRIPT_NAME).collect();
    let script = script.map(|process| ScriptProcess { name: name(process), ..process.clone() });
    let next = ScriptProgress { number, script };
    journal_file::note_progress(root, &next)?;
    *progress = Some(next);
    Ok(())
}

pub trait ScriptRecorder {
    /// Written when the run ends, whatever its outcome.
    fn log(&mut self, text: &[u8]) -> Result<(), Cause>;

    /// Durable. Call this when the process exists, before the script starts.
    fn script_begins(&mut self, process: &ScriptProcess) -> Result<(), Cause>;
}

/// Switched, but not committed.
#[derive(Debug)]
pub struct SwitchedRun<'r> {
    root: &'r Root,
    run: &'r Run,
    stage: &'r Dir,
    progress: Option<ScriptProgress>,
}

impl<'r> SwitchedRun<'r> {
    pub(crate) fn new(root: &'r Root, run: &'r Run, stage: &'r Dir) -> Self {
        Self { root, run, stage, progress: None }
    }

    /// Scripts pass it on as `PATCHADM_RUN`.
    pub fn name(&self) -> String {
        self.run.to_string()
    }

    pub(crate) fn had_scripts(&self) -> bool {
        self.progress.is_some()
    }

    /// Requests to installf(1M) and removef(1M) are an error, because no batch follows.
    pub fn script_ended(&mut self) -> Result<(), Cause> {
        add(self.stage, &[RunNote::ScriptRuns(false)], false)?;
        note_script(self.root, &mut self.progress, None)?;
        for name in [installf_queue::NAME, installf_queue::FAILED] {
            if self.stage.look(name)?.is_some() {
                return Err(Cause::Script(
                    "it called installf or removef, which only scripts of packages may".to_owned(),
                ));
            }
        }
        Ok(())
    }
}

impl ScriptRecorder for SwitchedRun<'_> {
    fn log(&mut self, text: &[u8]) -> Result<(), Cause> {
        add_to_log(self.stage, text)
    }

    fn script_begins(&mut self, process: &ScriptProcess) -> Result<(), Cause> {
        note_script(self.root, &mut self.progress, Some(process))?;
        add(self.stage, &[RunNote::ScriptRuns(true)], false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_notes_are_written_than_are_read_and_holes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let stage = Dir::of_host(dir.path()).unwrap();
        add(&stage, &[RunNote::ScriptRuns(true)], false).unwrap();
        assert!(RunNotes::read(&stage).unwrap().script_runs);
        let file = std::fs::File::options().write(true).open(dir.path().join("notes")).unwrap();
        file.set_len(LARGEST).unwrap();
        let full = add(&stage, &[RunNote::ScriptRuns(false)], false).unwrap_err();
        assert!(matches!(&full, Cause::Root(RootError::TooLarge { limit: LARGEST, .. })), "{full}");
        let hollow = RunNotes::read(&stage).unwrap_err();
        assert!(
            matches!(&hollow, Cause::Root(RootError::Hollow(path)) if path.ends_with("notes")),
            "{hollow}"
        );
        file.set_len(LARGEST + 1).unwrap();
        let large = RunNotes::read(&stage).unwrap_err();
        assert!(matches!(&large, Cause::Root(RootError::TooLarge { limit: LARGEST, .. })), "{large}");
    }

    #[test]
    fn a_full_log_says_once_that_further_output_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let stage = Dir::of_host(dir.path()).unwrap();
        let piece = vec![b'x'; 3 << 20];
        for _ in 0..8 {
            add_to_log(&stage, &piece).unwrap();
        }
        let log = log(&stage).unwrap();
        assert!(log.ends_with(OUTPUT_LEFT_OUT));
        assert_eq!(log.len(), (18 << 20) + OUTPUT_LEFT_OUT.len());
    }
}
