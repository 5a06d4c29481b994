//! The runs of a bulk build, and the builds of its packages, from the first one on.

use patchadm_bulk::history::{BuildRecord, parse_builds};
use patchadm_bulk::journal::{RunEnd, StateCounts};
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;
use serde::Serialize;

use crate::runs::read_journal;
use crate::work::{RUNS, Work, numbered_directories};

/// The file with the builds of all runs, and the largest one that is read, in bytes.
const HISTORY: &[u8] = b"history";
const LARGEST_HISTORY: u64 = 1 << 30;

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

/// Reads the builds of all runs. Lines that cannot be read are passed over.
pub fn read_builds(work: &Work) -> Result<Vec<BuildRecord>, RootError> {
    let bytes = work.dir.read_regular(HISTORY, LARGEST_HISTORY)?.unwrap_or_default();
    Ok(parse_builds(&bytes).0)
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
