//! The trial of the patches of all sources together: once for each composition.

use std::fmt::Write as _;

use super::error::DeltaError;
use super::report::{SourceEnd, SourceOutcome};
use super::requirements::highest_patch;
use super::trial::{MadePatch, PatchTrials, TogetherReport, TrialFailure};
use super::work::{WorkDirectory, put_file};

/// The patches that have passed it: a line `ID SHA256` each.
const TRIED: &[u8] = b"tried";

/// The name of its log.
const LOG: &str = "together";

/// The largest list that is read, in bytes.
const LARGEST: u64 = 64 << 20;

/// Tries the patches of all sources together, unless exactly these have passed before.
pub(super) fn try_together(
    trials: &dyn PatchTrials,
    work: &WorkDirectory,
    sources: &[SourceOutcome],
) -> Result<Option<TogetherReport>, DeltaError> {
    let with_patch = sources.iter().filter(|one| matches!(one.end, SourceEnd::Built | SourceEnd::Kept));
    let patches: Vec<MadePatch> = with_patch.filter_map(|one| highest_patch(work, &one.source)).collect();
    let list = list_of(work, &patches);
    let top = work.top()?;
    if patches.is_empty() {
        return Ok(None);
    }
    if top.read_regular(TRIED, LARGEST)?.as_deref() == Some(list.as_bytes()) {
        let log = work.at(&format!("logs/{LOG}.log"));
        return Ok(log.exists().then_some(TogetherReport { failure: None, log }));
    }
    let tried = trials.try_together(&patches);
    let log = work.put_log(LOG, &tried.log)?;
    match tried.end {
        Ok(()) => {
            put_file(&top, TRIED, list.as_bytes())?;
            Ok(Some(TogetherReport { failure: None, log }))
        }
        Err(TrialFailure::Interrupted(signal)) => Err(DeltaError::Interrupted(signal)),
        Err(failure) => Ok(Some(TogetherReport { failure: Some(failure), log })),
    }
}

fn list_of(work: &WorkDirectory, patches: &[MadePatch]) -> String {
    let mut list = String::new();
    for record in work.built() {
        if patches.iter().any(|patch| patch.id == record.id) {
            // Writing to a string does not fail.
            let _ = writeln!(list, "{} {}", record.id, record.sha256);
        }
    }
    list
}
