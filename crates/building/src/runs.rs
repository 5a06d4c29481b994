//! The directories of runs: `runs/<number>`, each with its journal, its logs, and the files that tell of it.

use std::path::PathBuf;

use patchadm_bulk::journal::{JournalDamage, RunState};
use patchadm_rootfs::{Dir, FileType, RootError};

use crate::work::{RUNS, Work};

/// The file of a run with what happened.
pub(crate) const JOURNAL: &str = "journal";

/// The directory of a run with the logs of its builds.
const LOGS: &str = "logs";

/// The largest journal that is read, in bytes.
const LARGEST_JOURNAL: u64 = 1 << 30;

/// What a journal tells, with the number of its whole bytes; `None` where it tells nothing yet.
pub(crate) type ReadJournal = Result<Option<(RunState, usize)>, JournalDamage>;

/// Opens the directory of a run, and makes it where it is missing.
pub(crate) fn run_directory(work: &Work, run: u64) -> Result<Dir, RootError> {
    work.directory(&format!("{RUNS}/{run}"))
}

/// Opens the directory for the logs of a run, and makes it where it is missing.
pub(crate) fn log_directory(work: &Work, run: u64) -> Result<Dir, RootError> {
    work.directory(&format!("{RUNS}/{run}/{LOGS}"))
}

/// Reads the journal of one of these runs. One that is not there tells nothing.
pub(crate) fn read_journal(runs: &Dir, run: u64) -> Result<ReadJournal, RootError> {
    let dir = runs.dir(run.to_string().as_bytes())?;
    let bytes = dir.read_regular(JOURNAL.as_bytes(), LARGEST_JOURNAL)?;
    Ok(RunState::parse(&bytes.unwrap_or_default()))
}

/// Returns the path of the journal of a run.
pub(crate) fn journal_path(work: &Work, run: u64) -> PathBuf {
    work.path.join(RUNS).join(run.to_string()).join(JOURNAL)
}

/// Opens the directory of a run; `None` where there is no such run.
pub(crate) fn find_run(runs: &Dir, run: u64) -> Result<Option<Dir>, RootError> {
    find_directory(runs, &run.to_string())
}

/// Opens the directory with the logs of a run; `None` where there is none.
pub(crate) fn find_logs(runs: &Dir, run: u64) -> Result<Option<Dir>, RootError> {
    match find_run(runs, run)? {
        Some(run) => find_directory(&run, LOGS),
        None => Ok(None),
    }
}

fn find_directory(above: &Dir, name: &str) -> Result<Option<Dir>, RootError> {
    match above.look(name.as_bytes())?.map(|seen| seen.file_type) {
        Some(FileType::Directory) => above.dir(name.as_bytes()).map(Some),
        _ => Ok(None),
    }
}
