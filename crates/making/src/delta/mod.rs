//! `delta`: a patch for each source of a maintained release that differs from the original.
//!
//! A failing source does not stop the others, and a package is opened only if its source has to be built. Callers may try
//! each patch before it is entered, and all together before the handover; patches that fail are withdrawn.

mod inputs;
mod request;
mod requirements;
mod source_patch;
mod state;
mod work;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::slice;

use crate::build::{BuildError, OtherPatch};
use crate::release::{ReleaseError, ReleaseProblem};
use inputs::{InputDigest, InputEntry, SourcePackages, SourceTable, read_inputs};
use patchadm_rootfs::{LockHolder, WorkStep, WorkUnit, side_by_side};
pub use request::{
    DeltaError, DeltaReport, DeltaRequest, MadePatch, NeededFeature, PatchToTry, PatchTrials, SourceEnd,
    SourceFailure, SourceOutcome, TogetherReport, TrialFailure, TriedPatches, TriedTogether,
};
use requirements::{SourceNeeds, highest_patch, requirements, waves};
use source_patch::SourceRun;
use state::BuiltRecord;
pub use state::{BuiltNews, StateError, parse_bases};
use work::{WorkDirectory, put_file};

/// `wait` decides whether to wait on while another run has the working directory.
pub fn delta(
    request: &DeltaRequest<'_>,
    wait: &mut dyn FnMut(&LockHolder) -> bool,
) -> Result<DeltaReport, DeltaError> {
    // Unusable inputs leave nothing behind; an existing working directory is locked before they are read.
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
    let against = OtherPatchInputs::read(request.against)?;
    let work = if request.is_dry_run || is_made {
        looked
    } else {
        WorkDirectory::open(request.work, &request.bases, wait)?
    };
    // Another run may have built something before this one got the lock.
    let mut sources: Vec<SourceOutcome> = strays.into_iter().chain(gone(&table, &work)).collect();
    if !request.only.is_empty() {
        table.sources.retain(|name, _| request.only.contains(name));
        sources.retain(|one| request.only.contains(&one.source));
    }
    sources.extend(patches(request, &work, &files, &table.sources, &against));
    sources.sort_by(|one, other| one.source.cmp(&other.source));
    if request.is_dry_run {
        return finished(request, DeltaReport { sources, to_sign: 0, together: None });
    }
    let together = match request.trials.filter(|_| interruption(request, &sources).is_none()) {
        Some(trials) => try_together((trials, &request.needs), &work, &mut sources)?,
        None => None,
    };
    let has_passed = together.as_ref().is_none_or(|tried| tried.failure.is_none());
    // Patches that failed together are not handed over for signing.
    let to_sign = if has_passed { work::hand_over(&work)? } else { 0 };
    finished(request, DeltaReport { sources, to_sign, together })
}

/// Returns each id with the SHA-256 of its file. The directory may be missing.
pub fn built_patches(work: &Path) -> Result<Vec<(String, String)>, DeltaError> {
    let looked = WorkDirectory::look(work, &BTreeMap::new())?;
    Ok(looked.built().into_iter().map(|record| (record.id, record.sha256)).collect())
}

fn finished(request: &DeltaRequest<'_>, report: DeltaReport) -> Result<DeltaReport, DeltaError> {
    match interruption(request, &report.sources) {
        Some(signal) => Err(DeltaError::Interrupted(signal)),
        None => Ok(report),
    }
}

fn strays(table: &mut SourceTable) -> Vec<SourceOutcome> {
    let strays = std::mem::take(&mut table.strays).into_iter();
    strays.map(|(name, error)| SourceOutcome::failed(&name, SourceFailure::Release(error))).collect()
}

/// Sources that only exist as patches.
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

#[derive(Default)]
struct OtherPatchInputs {
    patches: Vec<OtherPatch>,
    digests: Vec<String>,
}

impl OtherPatchInputs {
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

/// Builds several sources at a time, the largest first, but required ones before those that need them.
fn patches(
    request: &DeltaRequest<'_>,
    work: &WorkDirectory,
    files: &[InputEntry],
    sources: &BTreeMap<String, SourcePackages>,
    against: &OtherPatchInputs,
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

fn patches_of(
    request: &DeltaRequest<'_>,
    work: &WorkDirectory,
    files: &[InputEntry],
    mut jobs: Vec<(&String, &SourcePackages)>,
    against: &OtherPatchInputs,
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

/// A reader that a signal has ended reports it as the failure of its source.
fn interruption(request: &DeltaRequest<'_>, sources: &[SourceOutcome]) -> Option<i32> {
    sources.iter().find_map(|outcome| match &outcome.end {
        SourceEnd::Failed(failure) => match &**failure {
            SourceFailure::Build(BuildError::Interrupted(signal)) => Some(*signal),
            _ => (request.interrupt)(),
        },
        _ => None,
    })
}

const TRIED: &[u8] = b"tried";
const LOG: &str = "together";
const LARGEST: u64 = 64 << 20;

/// Tries all patches together, unless exactly these passed before. Withdraws guilty ones and those that require them,
/// and tries the others again.
fn try_together(
    (trials, needs): (&dyn PatchTrials, &SourceNeeds),
    work: &WorkDirectory,
    sources: &mut [SourceOutcome],
) -> Result<Option<TogetherReport>, DeltaError> {
    let top = work.top()?;
    let mut text = Vec::new();
    loop {
        let with_patch = sources.iter().filter(|one| matches!(one.end, SourceEnd::Built | SourceEnd::Kept));
        let mut patches: Vec<MadePatch> =
            with_patch.filter_map(|one| highest_patch(work, &one.source)).collect();
        let built = work.built();
        let list = list_of(&built, &patches);
        if patches.is_empty() && text.is_empty() {
            return Ok(None);
        }
        let passed = top.read_regular(TRIED, LARGEST)?.unwrap_or_default();
        if patches.is_empty() || passed == list.as_bytes() {
            let log =
                if text.is_empty() { work.at(&format!("logs/{LOG}.log")) } else { work.put_log(LOG, &text)? };
            return Ok(log.exists().then_some(TogetherReport { failure: None, log }));
        }
        // Earlier patches first: the new ones must fit them.
        let passed: Vec<&[u8]> = passed.split(|byte| *byte == b'\n').collect();
        patches.sort_by_cached_key(|patch| {
            !list_of(&built, slice::from_ref(patch)).lines().all(|line| passed.contains(&line.as_bytes()))
        });
        let TriedTogether { tried, guilty } = trials.try_together(&patches);
        text.extend(tried.log);
        match tried.end {
            Ok(()) => {
                // Written before the patches count as tried, so that a continued run shows the log.
                let log = work.put_log(LOG, &text)?;
                put_file(&top, TRIED, list.as_bytes())?;
                return Ok(Some(TogetherReport { failure: None, log }));
            }
            Err(TrialFailure::Interrupted(signal)) => {
                work.put_log(LOG, &text)?;
                return Err(DeltaError::Interrupted(signal));
            }
            Err(failure) => {
                let withdrawn = withdraw((work, needs), &patches, guilty)?;
                if withdrawn.is_empty() {
                    return Ok(Some(TogetherReport {
                        failure: Some(failure),
                        log: work.put_log(LOG, &text)?,
                    }));
                }
                for outcome in sources.iter_mut() {
                    if let Some(reason) = withdrawn.get(&outcome.source) {
                        fail(outcome, reason.clone());
                    }
                }
            }
        }
    }
}

/// Withdraws the patches of guilty sources and those that require them, except a signed one, which others know. Returns
/// the sources with reasons.
fn withdraw(
    (work, needs): (&WorkDirectory, &SourceNeeds),
    patches: &[MadePatch],
    mut guilty: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, DeltaError> {
    let of = |source: &String| patches.iter().find(|patch| patch.source == *source);
    guilty.retain(|source, _| of(source).is_some());
    let mut open: Vec<String> = guilty.keys().cloned().collect();
    while let Some(source) = open.pop() {
        let Some(patch) = of(&source) else { continue };
        for other in patches.iter().filter(|other| other.source != source) {
            let needed = needs.get(&other.source).map(Vec::as_slice).unwrap_or_default();
            if guilty.contains_key(&other.source) || !requires(work, needed, patch) {
                continue;
            }
            guilty.insert(other.source.clone(), format!("it requires {}, which failed its trial", patch.id));
            open.push(other.source.clone());
        }
    }
    for patch in patches.iter().filter(|patch| guilty.contains_key(&patch.source)) {
        if work.is_signed_patch(patch)? {
            return Ok(BTreeMap::new());
        }
    }
    for patch in patches.iter().filter(|patch| guilty.contains_key(&patch.source)) {
        work.withdraw(patch)?;
    }
    Ok(guilty)
}

/// True if this patch provides required features. Unknown features count as required.
fn requires(work: &WorkDirectory, needed: &[NeededFeature], patch: &MadePatch) -> bool {
    needed.iter().any(|need| need.source == patch.source)
        && requirements(work, needed, false)
            .map_or(true, |ids| ids.iter().any(|id| id.to_string() == patch.id))
}

fn fail(outcome: &mut SourceOutcome, reason: String) {
    let failure = SourceFailure::Trial(TrialFailure::Patch(reason));
    (outcome.path, outcome.key, outcome.sha256, outcome.news) = (None, None, None, None);
    outcome.scripts_left_out.clear();
    outcome.reason = failure.to_string();
    outcome.end = SourceEnd::Failed(Box::new(failure));
}

fn list_of(built: &[BuiltRecord], patches: &[MadePatch]) -> String {
    let mut list = String::new();
    for record in built {
        if patches.iter().any(|patch| patch.id == record.id) {
            // Writing to a string does not fail.
            let _ = writeln!(list, "{} {}", record.id, record.sha256);
        }
    }
    list
}
