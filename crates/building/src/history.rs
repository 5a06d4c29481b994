//! The runs of a bulk build, and the builds of its packages, from the first one on.

use std::io::{Read as _, Seek as _, SeekFrom};

use patchadm_bulk_values::history::{BuildRecord, parse_builds};
use patchadm_bulk_values::journal::{RunEnd, StateCounts};
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;
use serde::Serialize;

use crate::runs::{read_bounded, read_journal};
use crate::work::{RUNS, Work, numbered_directories};

/// The file with the builds of all runs, and the most bytes of it that are read.
const HISTORY: &[u8] = b"history";
const LARGEST_HISTORY: u64 = 128 << 20;

/// A run as its journal tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PastRun {
    /// The number of the run.
    pub run: u64,
    /// When it began, RFC 3339.
    pub began: String,
    /// When it ended, RFC 3339; `None` where it was cut off or goes on.
    pub ended: Option<String>,
    /// How many packages came to each state.
    pub counts: StateCounts,
    /// The number of its set.
    pub set: Option<u64>,
}

/// The runs that are there, the first one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastRuns {
    /// Those whose journals can be read.
    pub runs: Vec<PastRun>,
    /// Remarks on those whose journals cannot.
    pub notes: Vec<String>,
}

/// Reads the runs of a bulk build.
pub fn read_runs(work: &Work) -> Result<PastRuns, RootError> {
    let runs = work.directory(RUNS)?;
    let mut past = PastRuns::default();
    for number in numbered_directories(&runs)? {
        past.add(&runs, number)?;
    }
    Ok(past)
}

impl PastRuns {
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
            RunEnd::Unfinished => (None, state.counts()),
            RunEnd::Ended { at, counts } => (Some(at.clone()), counts.clone()),
            RunEnd::Abandoned { at } => (Some(at.clone()), state.counts()),
        };
        self.runs.push(PastRun { run, began: state.began, ended, counts, set: state.set });
        Ok(())
    }
}

/// Reads the builds of all runs, of a long history the last ones. Lines that cannot be read are passed over.
pub fn read_builds(work: &Work) -> Result<Vec<BuildRecord>, RootError> {
    let bytes = match read_bounded(&work.dir, HISTORY, LARGEST_HISTORY)? {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(_) => last_bytes(&work.dir, LARGEST_HISTORY)?,
    };
    Ok(parse_builds(&bytes).0)
}

/// Reads the end of the history. Its first line may be torn.
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

/// Returns the builds of the packages that a name means: PKGNAME, name without version, or location.
pub fn builds_of(work: &Work, name: &str) -> Result<Vec<BuildRecord>, RootError> {
    let mut builds = read_builds(work)?;
    builds.retain(|build| build.is_meant_by(name));
    Ok(builds)
}

/// Adds a build at the end of the history, on a line of its own.
pub(crate) fn add_build(work: &Work, build: &BuildRecord) -> Result<(), RootError> {
    let file = work.dir.open_or_create(HISTORY, Mode::of(0o644))?;
    let size = file.size()?;
    // A line that a power cut left torn must not run into this one.
    let is_torn = size > 0 && file.get_at(size - 1, 1)? != b"\n";
    let newline: &[u8] = if is_torn { b"\n" } else { b"" };
    file.put_at(&[newline, &build.to_bytes()].concat(), size)
}
