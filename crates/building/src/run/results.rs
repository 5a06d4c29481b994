//! The result of a run, and its report.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use patchadm_bulk_values::journal::{BuildState, PackageOutcome};
use patchadm_bulk_values::records::Records;
use patchadm_bulk_values::report::{
    LeftoverReport, MachineReport, PackageRemarks, ReportedPackage, RunReport,
};
use patchadm_bulk_values::resolve::{DependencyResolution, blockers, waits_for};
use patchadm_bulk_values::result::Blake3Digest;

use crate::patches::MakePatchesError;
use crate::pool::PoolEntry;

#[derive(Debug)]
pub struct BulkRunOutcome {
    pub records: Records,
    pub resolution: DependencyResolution,
    pub ended: EndedRun,
    /// True if all packages were requested.
    pub is_whole: bool,
}

#[derive(Debug)]
pub struct EndedRun {
    pub outcomes: BTreeMap<u32, PackageOutcome>,
    pub entries: HashMap<u32, PoolEntry>,
    pub report: RunReport,
    pub interrupted: Option<i32>,
    /// Why tasks were deferred if no slot could run them.
    pub trouble: Option<String>,
    /// True if all patches were made, pass together, and were published as configured.
    pub are_patches_whole: bool,
    pub patches_error: Option<MakePatchesError>,
    /// True if the report was delivered to every configured place.
    pub is_handed_on: bool,
}

/// Sets states and causes of packages not built because of others.
pub(super) fn set_indirect(
    records: &Records,
    resolution: &DependencyResolution,
    outcomes: &mut BTreeMap<u32, PackageOutcome>,
) {
    let in_state = |state: BuildState| -> BTreeSet<u32> {
        let found = outcomes.iter().filter(|(_, outcome)| outcome.state == state);
        found.map(|(index, _)| *index).collect()
    };
    let (failed, prefailed) = (in_state(BuildState::Failed), in_state(BuildState::Prefailed));
    let is_cause = |index: u32| failed.contains(&index) || prefailed.contains(&index);
    let causes: Vec<bool> = resolution.graph().indices().map(is_cause).collect();
    let wait_for_failed = waits_for(resolution.graph(), &causes, &|index| failed.contains(&index));
    let causes = blockers(resolution.graph(), &causes);
    for (index, outcome) in outcomes.iter_mut() {
        let is_open = matches!(
            outcome.state,
            BuildState::Open | BuildState::IndirectFailed | BuildState::IndirectPrefailed
        );
        let Some(blockers) = causes.get(*index as usize).filter(|causes| is_open && !causes.is_empty())
        else {
            continue;
        };
        outcome.state = if wait_for_failed.get(*index as usize) == Some(&true) {
            BuildState::IndirectFailed
        } else {
            BuildState::IndirectPrefailed
        };
        outcome.because = blockers.named.iter().map(|cause| records.name_of(*cause)).collect();
        outcome.because.sort();
        outcome.more_causes = blockers.more();
    }
}

pub(super) struct ReportFacts {
    pub(super) run: u64,
    pub(super) work: String,
    pub(super) conf: Blake3Digest,
    pub(super) began: String,
    pub(super) ended: String,
    pub(super) is_continued: bool,
    pub(super) machines: Vec<MachineReport>,
    /// Changed inputs of failed packages since their last success.
    pub(super) suspects: HashMap<u32, Vec<String>>,
    pub(super) not_reproducible: Vec<String>,
}

pub(super) fn report_of(
    facts: ReportFacts,
    records: &Records,
    outcomes: &BTreeMap<u32, PackageOutcome>,
    entries: &HashMap<u32, PoolEntry>,
) -> RunReport {
    let mut packages = Vec::new();
    for (index, outcome) in outcomes {
        let Some(record) = records.get(*index) else { continue };
        let has_log = matches!(outcome.state, BuildState::Done | BuildState::Failed);
        let log_run = outcome.run.unwrap_or(facts.run);
        packages.push(ReportedPackage {
            package: record.pkgname().to_string(),
            location: record.location().to_string(),
            state: outcome.state,
            cause: outcome.cause,
            phase: outcome.phase.clone(),
            detail: outcome.detail.clone(),
            fault: outcome.fault,
            because: outcome.because.clone(),
            more_causes: outcome.more_causes,
            breaks: 0,
            breaks_alone: 0,
            key: outcome.key,
            run: outcome.run,
            slot: outcome.slot.clone(),
            tries: outcome.tries,
            ms: outcome.ms,
            cpu_ms: outcome.cpu_ms,
            peak_memory: outcome.peak_memory,
            log: has_log.then(|| log_path(facts.run, log_run, record.pkgname().as_str())),
            maintainer: Some(record.maintainer().to_owned()).filter(|maintainer| !maintainer.is_empty()),
            suspects: facts.suspects.get(index).cloned().unwrap_or_default(),
        });
    }
    packages.sort_by(|one, other| one.package.cmp(&other.package));
    let leftovers = outcomes.keys().filter_map(|index| {
        let entry = entries.get(index).filter(|entry| !entry.result.leftovers.is_empty())?;
        Some(LeftoverReport { package: entry.result.pkgname.clone(), paths: entry.result.leftovers.clone() })
    });
    let remarks = outcomes.keys().filter_map(|index| {
        let entry = entries.get(index).filter(|entry| !entry.result.remarks.is_empty())?;
        let result = &entry.result;
        Some(PackageRemarks { package: result.pkgname.clone(), remarks: result.remarks.clone() })
    });
    let mut report = RunReport {
        run: facts.run,
        work: facts.work,
        conf: facts.conf,
        began: facts.began,
        ended: facts.ended,
        continued: facts.is_continued,
        counts: BTreeMap::new(),
        packages,
        set: None,
        set_refused: None,
        not_reproducible: facts.not_reproducible,
        leftovers: leftovers.collect(),
        shared_paths: Vec::new(),
        remarks: remarks.collect(),
        machines: facts.machines,
        patches: None,
        published: None,
        platform: None,
        upload: None,
    };
    report.count_breaks();
    report
}

/// Relative to the run's directory.
fn log_path(run: u64, of_run: u64, package: &str) -> String {
    if run == of_run { format!("logs/{package}.log") } else { format!("../{of_run}/logs/{package}.log") }
}
