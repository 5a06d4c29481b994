//! The results that somebody needs: those of the sets and runs of all working directories that use the pool.

use std::collections::BTreeSet;
use std::path::Path;

use patchadm_bulk_values::journal::{PackageState, RunEnd};
use patchadm_bulk_values::result::Key;
use patchadm_rootfs::{Dir, FileType, RootError};

use crate::pool_use::pool_users;
use crate::runs::read_journal;
use crate::set::{LARGEST_MANIFEST, SETS, SetManifest};
use crate::work::{RUNS, Work, numbered_directories};

/// The results that stay.
#[derive(Debug, Default)]
pub(super) struct NeededResults {
    /// Their keys.
    pub(super) keys: BTreeSet<Key>,
    /// Runs that are to be continued: the identity of the working directory, and the number.
    pub(super) unfinished: BTreeSet<(String, u64)>,
}

/// What the journal of a run tells.
#[derive(Debug, Default)]
pub(super) struct RunFacts {
    keys: Vec<Key>,
    /// The runs in which what it reports as failed did fail.
    pub(super) failed_in: Vec<u64>,
    is_unfinished: bool,
}

impl NeededResults {
    /// Asks a working directory, of which these runs and sets stay, and all others that use its pool. The reason where one of
    /// them cannot be asked: it might need anything.
    pub(super) fn of(work: &Work, runs: &BTreeSet<u64>, sets: &BTreeSet<u64>) -> Result<Self, String> {
        let mut needed = Self::default();
        needed.ask(&work.dir, &work.id, runs, sets).map_err(|reason| of(&work.path, &reason))?;
        let users = pool_users(&work.conf.pool).map_err(|error| error.to_string())?;
        for (id, path) in users.into_iter().filter(|(id, _)| *id != work.id) {
            needed.ask_other(&id, &path).map_err(|reason| of(&path, &reason))?;
        }
        Ok(needed)
    }

    fn ask_other(&mut self, id: &str, path: &Path) -> Result<(), String> {
        let told = |error: RootError| error.to_string();
        let dir = Dir::of_host(path).map_err(told)?;
        let found = dir.read_regular(b"id", 64).map_err(told)?.unwrap_or_default();
        if String::from_utf8_lossy(&found).trim_end() != id {
            return Err(format!("it is not the bulk build {id}, which uses the pool"));
        }
        let all = |name: &str| -> Result<BTreeSet<u64>, String> {
            let Some(dir) = below(&dir, name)? else { return Ok(BTreeSet::new()) };
            Ok(numbered_directories(&dir).map_err(|error| error.to_string())?.into_iter().collect())
        };
        let (runs, sets) = (all(RUNS)?, all(SETS)?);
        self.ask(&dir, id, &runs, &sets)
    }

    fn ask(&mut self, dir: &Dir, id: &str, runs: &BTreeSet<u64>, sets: &BTreeSet<u64>) -> Result<(), String> {
        if let Some(of_runs) = below(dir, RUNS)? {
            for run in runs {
                let facts = run_facts(&of_runs, *run)?;
                self.keys.extend(facts.keys);
                if facts.is_unfinished {
                    self.unfinished.insert((id.to_owned(), *run));
                }
            }
        }
        if let Some(of_sets) = below(dir, SETS)? {
            for set in sets {
                let text = of_sets
                    .dir(set.to_string().as_bytes())
                    .and_then(|dir| dir.read_regular(b"MANIFEST", LARGEST_MANIFEST));
                let text = text.map_err(|error| error.to_string())?.unwrap_or_default();
                let manifest =
                    SetManifest::parse(&text).map_err(|reason| format!("set {set}: MANIFEST: {reason}"))?;
                self.keys.extend(manifest.files.values().map(|file| file.key));
            }
        }
        Ok(())
    }
}

/// Reads the journal of a run. A run that has none did not come so far.
pub(super) fn run_facts(runs: &Dir, run: u64) -> Result<RunFacts, String> {
    let read = read_journal(runs, run).map_err(|error| error.to_string())?;
    let state = read.map_err(|damage| format!("run {run}: {damage}"))?;
    let Some((state, _)) = state else { return Ok(RunFacts::default()) };
    let outcomes = || state.packages.values();
    let failed = outcomes().filter(|outcome| outcome.state == PackageState::Failed);
    Ok(RunFacts {
        keys: outcomes()
            .filter(|outcome| outcome.state.has_result())
            .filter_map(|outcome| outcome.key)
            .collect(),
        failed_in: failed.filter_map(|outcome| outcome.run).collect(),
        is_unfinished: state.end == RunEnd::Unfinished,
    })
}

/// Opens a directory in another one, if it is there.
fn below(dir: &Dir, name: &str) -> Result<Option<Dir>, String> {
    let told = |error: RootError| error.to_string();
    match dir.look(name.as_bytes()).map_err(told)?.map(|seen| seen.file_type) {
        Some(FileType::Directory) => Ok(Some(dir.dir(name.as_bytes()).map_err(told)?)),
        Some(_) => Err(format!("{name} is no directory")),
        None => Ok(None),
    }
}

fn of(path: &Path, reason: &str) -> String {
    format!("{}: {reason}", path.display())
}
