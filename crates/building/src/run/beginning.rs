//! What a run begins with: the tree is scanned and resolved, and it is known what is wanted and how long it takes.

use std::collections::BTreeSet;

use patchadm_bulk_values::conf::LimitName;
use patchadm_bulk_values::history::BuildEstimates;
use patchadm_bulk_values::journal::{PackageOutcome, PackageState};
use patchadm_bulk_values::records::{Record, Records};
use patchadm_bulk_values::resolve::{PackageState as Resolved, Resolution, select};
use patchadm_bulk_values::schedule::expected_work;
use patchadm_rootfs::{RootError, WorkMeter};

use super::request::{RunError, RunEvent, RunRequest};
use crate::history::read_builds;
use crate::scan::ScanRequest;
use crate::task::order::cut;
use crate::tree::{ScannedTree, scan_tree};
use crate::work::Work;

/// Scans the tree, and finds what each package needs. What was found is written down where the run is carried out.
pub(super) fn read_tree(
    request: &RunRequest<'_>,
    is_kept: bool,
    tell: &mut dyn FnMut(RunEvent<'_>),
) -> Result<ScannedTree, RunError> {
    let scanned = scan_tree(&scan_request(request, &request.base.1.to_string(), is_kept))?;
    scanned.notes.iter().for_each(|note| tell(RunEvent::Note(note)));
    Ok(scanned)
}

/// Returns the scan that a run needs; `base` is the digest of the base.
pub(super) fn scan_request<'a>(request: &RunRequest<'a>, base: &'a str, is_kept: bool) -> ScanRequest<'a> {
    ScanRequest {
        work: request.work,
        driver: request.driver,
        base: (request.base.0, base),
        user: request.user,
        names: request.names,
        is_full: false,
        is_kept,
        slots: request.work.conf.local_tasks_on(request.cores, request.jobs) as usize,
        now: request.now,
        interrupt: request.interrupt,
        meter: WorkMeter::default(),
    }
}

/// Returns the packages that are wanted, with what they need.
pub(super) fn wanted(
    request: &RunRequest<'_>,
    records: &Records,
    resolution: &Resolution,
) -> Result<BTreeSet<u32>, RunError> {
    if request.names.is_empty() {
        return Ok(resolution.graph().indices().collect());
    }
    let selected = select(records, request.names.iter().map(String::as_str))?;
    Ok(resolution.graph().with_needs(&selected).into_iter().collect())
}

/// What the builds of packages are expected to take, in the order of their records.
pub(super) struct ExpectedCosts {
    /// The work: milliseconds, or weights where nothing was ever built.
    pub(super) work: Vec<u64>,
    /// Whether the work is in milliseconds.
    pub(super) is_time: bool,
    /// The memory in bytes; 0 where nothing is known.
    pub(super) peaks: Vec<u64>,
}

/// Returns what the builds of packages are expected to take.
pub(super) fn expected(work: &Work, records: &Records) -> Result<ExpectedCosts, RootError> {
    let estimates = BuildEstimates::of(&read_builds(work)?);
    let names = || records.iter().map(|record| record.pkgname().as_str());
    let known: Vec<Option<u64>> = names().map(|name| estimates.duration_of(name)).collect();
    let weights: Vec<u32> = records.iter().map(Record::weight).collect();
    let limit = work.conf.limits.get(LimitName::Memory).unwrap_or_default();
    let peaks = names().map(|name| estimates.peak_memory_of(name).unwrap_or(limit)).collect();
    let is_time = known.iter().any(Option::is_some);
    Ok(ExpectedCosts { work: expected_work(&known, &weights), is_time, peaks })
}

/// Returns what is known of a package before anything is built. Because of whom one waits is found out at the end.
pub(super) fn first_outcome(resolution: &Resolution, index: u32) -> PackageOutcome {
    match resolution.state(index) {
        Some(Resolved::Prefailed(reason)) => {
            let detail = Some(cut(reason.to_string()));
            PackageOutcome { detail, fault: reason.fault(), ..PackageOutcome::of(PackageState::Prefailed) }
        }
        Some(Resolved::IndirectPrefailed(_)) => PackageOutcome::of(PackageState::IndirectPrefailed),
        _ => PackageOutcome::of(PackageState::Open),
    }
}
