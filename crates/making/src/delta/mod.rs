//! `delta`: the sources of a maintained release that differ from its original, and a patch for each of them.
//!
//! ```text
//! RELEASE ─┐  digests,                       choose        ┌─ kept: the key is that of the patch that lies there
//!          ├─ identities ─► sources ─ each ─────────► ─────┤
//! STABLE ──┘                   WORK/state.json ┘           └─ built: open, draft, write, enter ─► handover
//! ```
//! All packages of a source go into one patch; those without a change are named. A package is opened only if its source
//! has to be built. A source that fails does not stop the others. A killed run leaves the patches that it finished: the
//! next run ends as if nothing had happened.
//!
//! A caller may have each patch tried before it is entered, and then all of them together before they are handed over. What
//! fails its trial is no patch, and what keeps others from passing together is none any more.
//!
//! Not done here: nothing is compiled, signed or published.

mod digest;
mod error;
mod handover;
mod inputs;
mod key;
mod log;
mod report;
mod request;
mod requirements;
mod revision;
mod shown;
mod source_patch;
mod sources;
mod state;
mod together;
mod trial;
mod work;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::build::{BuildError, OtherPatch};
use crate::release::{ReleaseError, ReleaseProblem};
use digest::InputDigest;
pub use error::{DeltaError, SourceFailure};
use inputs::{InputFile, read_inputs};
use patchadm_rootfs::{LockHolder, WorkStep, WorkUnit, side_by_side};
pub use report::{DeltaReport, SourceEnd, SourceOutcome};
pub use request::{DeltaRequest, NeededFeature};
use requirements::waves;
pub use shown::{ShownPackage, ShownSource};
use source_patch::SourceRun;
use sources::{SourcePackages, SourceTable};
pub use state::{BuiltNews, StateError, parse_bases};
use together::try_together;
pub use trial::{
    MadePatch, PatchToTry, PatchTrials, TogetherReport, TrialFailure, TriedPatches, TriedTogether,
};
use work::WorkDirectory;

/// Makes the patches. `wait` is asked whether to wait on while another run has the working directory.
pub fn delta(
    request: &DeltaRequest<'_>,
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<DeltaReport, DeltaError> {
    // Nothing is made for inputs that cannot be used; a directory that a run has made is locked before they are read.
    let is_made = WorkDirectory::is_made(request.work)?;
    let looked = if request.is_dry_run || !is_made {
        WorkDirectory::look(request.work, &request.bases)?
    } else {
        WorkDirectory::open(request.work, &request.bases, wait)?
    };
    let files = read_inputs(request.release, request.stable, request.cores, &request.meter)?;
    let mut table = SourceTable::of(&files);
    let strays = strays(&mut table);
    must_be_there(&table, strays.iter().chain(&gone(&table, &looked)), request.only)?;
    let against = OtherPatches::read(request.against)?;
    let work = if request.is_dry_run || is_made {
        looked
    } else {
        WorkDirectory::open(request.work, &request.bases, wait)?
    };
    // Another run may have built something before the lock was there.
    let mut sources: Vec<SourceOutcome> = strays.into_iter().chain(gone(&table, &work)).collect();
    choose_only(&mut table, &mut sources, request.only);
    sources.extend(patches(request, &work, &files, &table.sources, &against));
    sources.sort_by(|one, other| one.source.cmp(&other.source));
    if request.is_dry_run {
        return finished(DeltaReport { sources, to_sign: 0, together: None });
    }
    let together = match request.trials.filter(|_| interruption(&sources).is_none()) {
        Some(trials) => try_together((trials, &request.needs), &work, &mut sources)?,
        None => None,
    };
    let has_passed = together.as_ref().is_none_or(|tried| tried.failure.is_none());
    // No one is asked to sign for patches that do not fit together.
    let to_sign = if has_passed { handover::hand_over(&work)? } else { 0 };
    finished(DeltaReport { sources, to_sign, together })
}

/// Returns the patches of a working directory, which may be missing: the id of each, with the SHA-256 of its file.
pub fn built_patches(work: &Path) -> Result<Vec<(String, String)>, DeltaError> {
    let looked = WorkDirectory::look(work, &BTreeMap::new())?;
    Ok(looked.built().into_iter().map(|record| (record.id, record.sha256)).collect())
}

/// Returns the report, unless a signal kept a source from being taken.
fn finished(report: DeltaReport) -> Result<DeltaReport, DeltaError> {
    match interruption(&report.sources) {
        Some(signal) => Err(DeltaError::Interrupted(signal)),
        None => Ok(report),
    }
}

/// Returns the outcomes of files that belong to no source.
fn strays(table: &mut SourceTable) -> Vec<SourceOutcome> {
    let strays = std::mem::take(&mut table.strays).into_iter();
    strays.map(|(name, error)| SourceOutcome::failed(&name, SourceFailure::Release(error))).collect()
}

/// Returns the outcomes of sources that have nothing but a patch.
fn gone(table: &SourceTable, work: &WorkDirectory) -> Vec<SourceOutcome> {
    let mut gone: BTreeMap<String, SourceOutcome> = BTreeMap::new();
    for record in work.built() {
        if !table.sources.contains_key(&record.source) {
            let reason = "neither directory has a package of it";
            let mut outcome = SourceOutcome::new(&record.source, SourceEnd::Gone, reason);
            outcome.id = Some(record.id);
            gone.insert(record.source, outcome);
        }
    }
    gone.into_values().collect()
}

/// Refuses a named source that there is not, before anything is made.
fn must_be_there<'a>(
    table: &SourceTable,
    others: impl Iterator<Item = &'a SourceOutcome>,
    only: &[String],
) -> Result<(), DeltaError> {
    let others: Vec<&str> = others.map(|one| &*one.source).collect();
    let is_there = |name: &String| table.sources.contains_key(name) || others.contains(&&**name);
    match only.iter().find(|name| !is_there(name)) {
        Some(unknown) => Err(DeltaError::UnknownSource(unknown.clone())),
        None => Ok(()),
    }
}

/// Leaves out all sources but those that were named.
fn choose_only(table: &mut SourceTable, others: &mut Vec<SourceOutcome>, only: &[String]) {
    if !only.is_empty() {
        table.sources.retain(|name, _| only.contains(name));
        others.retain(|one| only.contains(&one.source));
    }
}

/// The patches that none must overlap.
#[derive(Default)]
struct OtherPatches {
    patches: Vec<OtherPatch>,
    /// The digests of what was named.
    digests: Vec<String>,
}

impl OtherPatches {
    fn read(named: &[PathBuf]) -> Result<Self, DeltaError> {
        let mut read = Self::default();
        for path in named {
            let unreadable = |error| ReleaseError { path: path.clone(), problem: ReleaseProblem::Io(error) };
            read.digests.push(InputDigest::of(path).map_err(unreadable)?.sha256);
            read.patches.extend(OtherPatch::open_all(path)?);
        }
        Ok(read)
    }
}

/// Takes source after source, several at a time, the largest first; those that others need before these.
fn patches(
    request: &DeltaRequest<'_>,
    work: &WorkDirectory,
    files: &[InputFile],
    sources: &BTreeMap<String, SourcePackages>,
    against: &OtherPatches,
) -> Vec<SourceOutcome> {
    let mut outcomes = Vec::new();
    let sizes = sources.values().map(|packages| packages.size_to_read(files));
    let step = request.meter.begin(WorkUnit::Bytes, sizes.fold(0, u64::saturating_add));
    for wave in waves(sources.keys(), &request.needs) {
        let jobs = wave.into_iter().filter_map(|name| sources.get_key_value(name)).collect();
        outcomes.extend(patches_of(request, work, files, jobs, against, &step));
    }
    outcomes
}

/// Takes sources that do not need each other.
fn patches_of(
    request: &DeltaRequest<'_>,
    work: &WorkDirectory,
    files: &[InputFile],
    mut jobs: Vec<(&String, &SourcePackages)>,
    against: &OtherPatches,
    step: &WorkStep,
) -> Vec<SourceOutcome> {
    jobs.sort_by_key(|(_, packages)| Reverse(packages.size(files)));
    let cores = request.cores.max(1);
    let changed = jobs.iter().filter(|(_, packages)| !packages.is_same()).count().max(1);
    let run = SourceRun {
        request,
        work,
        files,
        others: &against.patches,
        against: &against.digests,
        cores: cores.div_ceil(changed),
    };
    let (run, jobs) = (&run, &jobs);
    let outcomes = side_by_side(cores, jobs.len(), || {
        move |at: usize| {
            let (name, packages) = jobs.get(at)?;
            let outcome = run.outcome(name, packages);
            step.advance(packages.size_to_read(files));
            Some(outcome)
        }
    });
    outcomes.into_iter().flatten().collect()
}

/// Returns the signal that kept a source from being taken.
fn interruption(sources: &[SourceOutcome]) -> Option<i32> {
    sources.iter().find_map(|outcome| match &outcome.end {
        SourceEnd::Failed(failure) => match &**failure {
            SourceFailure::Build(BuildError::Interrupted(signal)) => Some(*signal),
            _ => None,
        },
        _ => None,
    })
}
