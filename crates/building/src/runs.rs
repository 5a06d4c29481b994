//! Directories of runs (`runs/<number>` with journal, logs and reports), and the history of builds.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

use patchadm_bulk_values::conf::LimitName;
use patchadm_bulk_values::history::{BuildEstimates, BuildRecord, parse_builds};
use patchadm_bulk_values::journal::{BulkRunEnd, JournalDamage, RunState, StateCounts};
use patchadm_bulk_values::records::{RecipeRecord, Records};
use patchadm_bulk_values::schedule::expected_work;
use patchadm_rootfs::{Dir, FileType, RootError};
use patchadm_svr4::package::Mode;
use serde::Serialize;

use crate::work::{BulkWork, RUNS, numbered_directories};

pub(crate) const JOURNAL: &str = "journal";

const LOGS: &str = "logs";

const LARGEST_JOURNAL: u64 = 1 << 30;

/// State and complete bytes of a journal; `None` if empty.
pub(crate) type ReadJournal = Result<Option<(RunState, usize)>, UnreadJournal>;

#[derive(Debug, thiserror::Error)]
pub enum UnreadJournal {
    #[error(transparent)]
    Damaged(JournalDamage),
    /// Recipes printed too much.
    #[error("{0}")]
    TooLarge(String),
}

/// Reads a file that recipes can make large. Excess is an inner error, so that it does not break every reader.
pub(crate) fn read_bounded(
    dir: &Dir,
    name: &[u8],
    largest: u64,
) -> Result<Result<Option<Vec<u8>>, String>, RootError> {
    match dir.read_regular(name, largest) {
        Err(error @ (RootError::TooLarge { .. } | RootError::Hollow(_))) => Ok(Err(error.to_string())),
        read => read.map(Ok),
    }
}

pub(crate) fn run_directory(work: &BulkWork, run: u64) -> Result<Dir, RootError> {
    work.directory(&format!("{RUNS}/{run}"))
}

pub(crate) fn log_directory(work: &BulkWork, run: u64) -> Result<Dir, RootError> {
    work.directory(&format!("{RUNS}/{run}/{LOGS}"))
}

pub(crate) fn read_journal(runs: &Dir, run: u64) -> Result<ReadJournal, RootError> {
    let dir = runs.dir(run.to_string().as_bytes())?;
    Ok(match read_bounded(&dir, JOURNAL.as_bytes(), LARGEST_JOURNAL)? {
        Ok(bytes) => RunState::parse(&bytes.unwrap_or_default()).map_err(UnreadJournal::Damaged),
        Err(reason) => Err(UnreadJournal::TooLarge(reason)),
    })
}

pub(crate) fn journal_path(work: &BulkWork, run: u64) -> PathBuf {
    work.path.join(RUNS).join(run.to_string()).join(JOURNAL)
}

pub(crate) fn find_run(runs: &Dir, run: u64) -> Result<Option<Dir>, RootError> {
    find_directory(runs, &run.to_string())
}

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

const HISTORY: &[u8] = b"history";
const LARGEST_HISTORY: u64 = 128 << 20;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PastBulkRun {
    pub run: u64,
    /// RFC 3339.
    pub began: String,
    /// RFC 3339; `None` if interrupted or running.
    pub ended: Option<String>,
    pub counts: StateCounts,
    pub set: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastBulkRuns {
    pub runs: Vec<PastBulkRun>,
    pub notes: Vec<String>,
}

pub fn read_runs(work: &BulkWork) -> Result<PastBulkRuns, RootError> {
    let runs = work.directory(RUNS)?;
    let mut past = PastBulkRuns::default();
    for number in numbered_directories(&runs)? {
        past.add(&runs, number)?;
    }
    Ok(past)
}

impl PastBulkRuns {
    fn add(&mut self, runs: &Dir, run: u64) -> Result<(), RootError> {
        let state = match read_journal(runs, run)? {
            Ok(Some((state, _))) => state,
            Ok(None) => return Ok(()),
            Err(damage) => {
                self.notes.push(format!("run {run} is left out: {damage}"));
                return Ok(());
            }
        };
        let (ended, counts) = match &state.end {
            BulkRunEnd::Unfinished => (None, state.counts()),
            BulkRunEnd::Ended { at, counts } => (Some(at.clone()), counts.clone()),
            BulkRunEnd::Abandoned { at } => (Some(at.clone()), state.counts()),
        };
        self.runs.push(PastBulkRun { run, began: state.began, ended, counts, set: state.set });
        Ok(())
    }
}

/// Reads the builds of all runs, or the last ones of a long history. Skips unreadable lines.
pub fn read_builds(work: &BulkWork) -> Result<Vec<BuildRecord>, RootError> {
    let bytes = match read_bounded(&work.dir, HISTORY, LARGEST_HISTORY)? {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(_) => last_bytes(&work.dir, LARGEST_HISTORY)?,
    };
    Ok(parse_builds(&bytes).0)
}

/// The first line may be incomplete.
fn last_bytes(dir: &Dir, most: u64) -> Result<Vec<u8>, RootError> {
    let mut file = dir.open_regular(HISTORY)?;
    let mut bytes = Vec::new();
    let read = file.metadata().and_then(|seen| {
        file.seek(SeekFrom::Start(seen.len().saturating_sub(most)))?;
        file.take(most).read_to_end(&mut bytes)
    });
    read.map_err(|error| dir.read_error(HISTORY, &error))?;
    Ok(bytes)
}

/// Accepts PKGNAME, name without version, or location.
pub fn builds_of(work: &BulkWork, name: &str) -> Result<Vec<BuildRecord>, RootError> {
    let mut builds = read_builds(work)?;
    builds.retain(|build| build.is_meant_by(name));
    Ok(builds)
}

/// Appends a build, on a new line if the last one is incomplete.
pub(crate) fn add_build(work: &BulkWork, build: &BuildRecord) -> Result<(), RootError> {
    let file = work.dir.open_or_create(HISTORY, Mode::of(0o644))?;
    let size = file.size()?;
    // A line torn by a power cut must not run into this one.
    let is_torn = size > 0 && file.get_at(size - 1, 1)? != b"\n";
    let newline: &[u8] = if is_torn { b"\n" } else { b"" };
    file.put_at(&[newline, &build.to_bytes()].concat(), size)
}

pub(crate) struct ExpectedCosts {
    /// Milliseconds, or weights if nothing was ever built.
    pub(crate) work: Vec<u64>,
    /// True for milliseconds.
    pub(crate) is_time: bool,
    /// Bytes; 0 if unknown.
    pub(crate) peaks: Vec<u64>,
}

impl ExpectedCosts {
    pub(crate) fn of(work: &BulkWork, records: &Records) -> Result<Self, RootError> {
        let estimates = BuildEstimates::of(&read_builds(work)?);
        let names = || records.iter().map(|record| record.pkgname().as_str());
        let known: Vec<Option<u64>> = names().map(|name| estimates.duration_of(name)).collect();
        let weights: Vec<u32> = records.iter().map(RecipeRecord::weight).collect();
        let limit = work.conf.limits.get(LimitName::Memory).unwrap_or_default();
        let peaks = names().map(|name| estimates.peak_memory_of(name).unwrap_or(limit)).collect();
        let is_time = known.iter().any(Option::is_some);
        Ok(Self { work: expected_work(&known, &weights), is_time, peaks })
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
