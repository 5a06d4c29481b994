//! The trial of the patches of all sources together: once for each composition.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::slice;

use super::error::{DeltaError, SourceFailure};
use super::report::{SourceEnd, SourceOutcome};
use super::request::NeededFeature;
use super::requirements::{SourceNeeds, highest_patch, requirements};
use super::state::BuiltRecord;
use super::trial::{MadePatch, PatchTrials, TogetherReport, TrialFailure, TriedTogether};
use super::work::{WorkDirectory, put_file};

/// The patches that have passed it: a line `ID SHA256` each.
const TRIED: &[u8] = b"tried";

/// The name of its log.
const LOG: &str = "together";

/// The largest list that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// Tries the patches of all sources together, unless exactly these have passed before. Those that keep the others from passing,
/// and those that require them, are patches no more, and the others are tried again.
pub(super) fn try_together(
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
        // Those that have passed before come first: the new ones must fit them.
        let passed: Vec<&[u8]> = passed.split(|byte| *byte == b'\n').collect();
        patches.sort_by_cached_key(|patch| {
            !list_of(&built, slice::from_ref(patch)).lines().all(|line| passed.contains(&line.as_bytes()))
        });
        let TriedTogether { tried, guilty } = trials.try_together(&patches);
        text.extend(tried.log);
        match tried.end {
            Ok(()) => {
                // Before it counts as tried: a run that goes on from there tells of it.
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

/// Withdraws the patches of guilty sources, and those that require them, unless one of them is signed: that is known elsewhere.
/// Returns the sources whose patches are withdrawn, each with the reason.
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

/// Tells whether what is needed is brought by just this patch. What cannot be found out is required.
fn requires(work: &WorkDirectory, needed: &[NeededFeature], patch: &MadePatch) -> bool {
    needed.iter().any(|need| need.source == patch.source)
        && requirements(work, needed, false)
            .map_or(true, |ids| ids.iter().any(|id| id.to_string() == patch.id))
}

/// Makes the outcome of a source a failed trial.
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
