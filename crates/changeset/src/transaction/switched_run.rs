//! The records a run keeps of its own scripts, and a run between its switch and its commit.
//!
//! A script that runs when all names are switched is a part of the run like any other: recovery ends it before it
//! undoes the run, and its output goes into the log, whatever the outcome of the run. It gets no safety copies: its
//! changes count as foreign edits.

use crate::format::journal::{LONGEST_SCRIPT_NAME, ScriptProcess, ScriptProgress};
use crate::format::run::Run;
use crate::transaction::error::Cause;
use crate::transaction::journal::failed_requests;
use crate::transaction::journal::installf_queue;
use crate::transaction::journal::journal_file;
use crate::transaction::journal::run_notes::{self, RunNote};
use patchadm_rootfs::{Dir, Root};

/// Records what a published run must know about its scripts.
pub trait ScriptRecorder {
    /// Adds text to the log, which is written when the run ends, whatever its outcome.
    fn log(&mut self, text: &[u8]) -> Result<(), Cause>;

    /// Records durably that a script runs. Call it when its process exists and the script itself has not started.
    fn script_begins(&mut self, process: &ScriptProcess) -> Result<(), Cause>;
}

/// A run whose names are all switched, but which is not committed.
#[derive(Debug)]
pub struct SwitchedRun<'r> {
    root: &'r Root,
    run: &'r Run,
    /// The stage on the file system of the records.
    stage: &'r Dir,
    /// The number of the last progress sector; 0 if no script has run.
    progress: u64,
}

impl<'r> SwitchedRun<'r> {
    pub(crate) fn new(root: &'r Root, run: &'r Run, stage: &'r Dir) -> Self {
        Self { root, run, stage, progress: 0 }
    }

    /// Returns the name of the run, as `PATCHADM_RUN` passes it to commands started by scripts.
    pub fn name(&self) -> String {
        self.run.to_string()
    }

    /// Tells whether a script has run.
    pub(crate) fn had_scripts(&self) -> bool {
        self.progress > 0
    }

    /// Records that no script runs any more. Requests of scripts to installf(1M) and removef(1M) are an error, because
    /// no batch would carry them out.
    pub fn script_ended(&mut self) -> Result<(), Cause> {
        run_notes::add(self.stage, &[RunNote::ScriptRuns(false)], false)?;
        self.note_progress(None)?;
        for name in [installf_queue::NAME, failed_requests::NAME] {
            if self.stage.look(name)?.is_some() {
                return Err(Cause::Script(
                    "it called installf or removef, which only scripts of packages may".to_owned(),
                ));
            }
        }
        Ok(())
    }

    fn note_progress(&mut self, script: Option<ScriptProcess>) -> Result<(), Cause> {
        let progress = ScriptProgress { number: self.progress + 1, script };
        journal_file::note_progress(self.root, &progress)?;
        self.progress = progress.number;
        Ok(())
    }
}

impl ScriptRecorder for SwitchedRun<'_> {
    fn log(&mut self, text: &[u8]) -> Result<(), Cause> {
        run_notes::add_to_log(self.stage, text)
    }

    fn script_begins(&mut self, process: &ScriptProcess) -> Result<(), Cause> {
        let name = process.name.chars().take(LONGEST_SCRIPT_NAME).collect();
        self.note_progress(Some(ScriptProcess { name, ..process.clone() }))?;
        run_notes::add(self.stage, &[RunNote::ScriptRuns(true)], false)
    }
}
