//! The directories of runs: `runs/<number>`, each with its journal, its logs, and the files that tell of it.

use std::path::PathBuf;

use patchadm_bulk_values::journal::{JournalDamage, RunState};
use patchadm_rootfs::{Dir, FileType, RootError};

use crate::work::{RUNS, Work};

/// The file of a run with what happened.
pub(crate) const JOURNAL: &str = "journal";

/// The directory of a run with the logs of its builds.
const LOGS: &str = "logs";

/// The largest journal that is read, in bytes.
const LARGEST_JOURNAL: u64 = 1 << 30;

/// What a journal tells, with the number of its whole bytes; `None` where it tells nothing yet.
pub(crate) type ReadJournal = Result<Option<(RunState, usize)>, UnreadJournal>;

/// The reasons why a journal tells nothing.
#[derive(Debug, thiserror::Error)]
pub enum UnreadJournal {
    /// It is damaged.
    #[error(transparent)]
    Damaged(JournalDamage),
    /// It is larger than what is read: recipes had much to say.
    #[error("{0}")]
    TooLarge(String),
}

/// Reads a file of the working directory whose size recipes decide. One over its limit must not end each command that reads it:
/// the inner error says so.
pub(crate) fn read_bounded(
    dir: &Dir,
    name: &[u8],
    largest: u64,
) -> Result<Result<Option<Vec<u8>>, String>, RootError> {
    match dir.read_regular(name, largest) {
        Err(error @ RootError::TooLarge { .. }) => Ok(Err(error.to_string())),
        read => read.map(Ok),
    }
}

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
    Ok(match read_bounded(&dir, JOURNAL.as_bytes(), LARGEST_JOURNAL)? {
        Ok(bytes) => RunState::parse(&bytes.unwrap_or_default()).map_err(UnreadJournal::Damaged),
        Err(reason) => Err(UnreadJournal::TooLarge(reason)),
    })
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

#[cfg(test)]
mod tests {
    use patchadm_svr4::package::Mode;

    use super::*;

    #[test]
    fn a_file_over_its_limit_is_damage_and_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Dir::of_host(dir.path()).unwrap();
        assert!(matches!(read_bounded(&dir, b"file", 4), Ok(Ok(None))));
        dir.replace_file("test", b"file", b"1234", Mode::of(0o644)).unwrap();
        assert_eq!(read_bounded(&dir, b"file", 4).unwrap(), Ok(Some(b"1234".to_vec())));
        let damage = read_bounded(&dir, b"file", 3).unwrap().unwrap_err();
        assert!(damage.ends_with("is larger than 3 bytes"), "{damage}");
    }
}
