//! What a run begins with: the tree is scanned and resolved, and it is known what is wanted and how long it takes.

use std::collections::BTreeSet;

use patchadm_bulk::conf::LimitName;
use patchadm_bulk::history::{BuildEstimates, parse_builds};
use patchadm_bulk::journal::{PackageOutcome, PackageState};
use patchadm_bulk::records::{Record, Records};
use patchadm_bulk::resolve::{PackageState as Resolved, Resolution, resolve, select};
use patchadm_bulk::result::Digest;
use patchadm_bulk::schedule::expected_work;
use patchadm_rootfs::RootError;
use patchadm_svr4::package::Mode;

use super::request::{RunError, RunEvent, RunRequest};
use crate::scan::{ScanRequest, scan};
use crate::work::{PROGRAM, Work};

/// The file with the builds of all runs, and the largest one that is read, in bytes.
pub(super) const HISTORY: &[u8] = b"history";
const LARGEST_HISTORY: u64 = 1 << 30;

/// Scans the tree, and finds what each package needs.
pub(super) fn read_tree(
    request: &RunRequest<'_>,
    tell: &mut dyn FnMut(RunEvent<'_>),
) -> Result<(Records, Resolution), RunError> {
    let base = request.base.1.to_string();
    let slots = request.work.conf.slots_on(request.cores, request.jobs);
    let local = slots.iter().filter(|slot| slot.is_local()).map(|slot| slot.count).max().unwrap_or(1);
    let scanned = scan(&ScanRequest {
        work: request.work,
        driver: request.driver,
        base: (request.base.0, &base),
        user: request.user,
        names: request.names,
        is_full: false,
        slots: local as usize,
        now: request.now,
        interrupt: request.interrupt,
    })?;
    scanned.notes.iter().for_each(|note| tell(RunEvent::Note(note)));
    let records = scanned.records;
    let resolution = resolve(&records);
    write_records(request, &records, &resolution)?;
    Ok((records, resolution))
}

/// Writes the records as pbulk has them.
fn write_records(
    request: &RunRequest<'_>,
    records: &Records,
    resolution: &Resolution,
) -> Result<(), RunError> {
    let dir = request.work.directory("scan")?;
    let (mut pscan, mut presolve) = (Vec::new(), Vec::new());
    let depends = |index: u32| {
        let found = resolution.depends(index).iter();
        found.filter_map(|need| records.get(*need).map(Record::pkgname)).collect::<Vec<_>>()
    };
    // Writing to memory cannot fail.
    let _ = records.write_pscan(&mut pscan);
    let _ = records.write_presolve(&mut presolve, depends);
    for (name, bytes) in [(&b"pscan"[..], pscan), (b"presolve", presolve)] {
        dir.replace_file(PROGRAM, name, &bytes, Mode::of(0o644))?;
    }
    Ok(())
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

/// Returns the work that each package is expected to take, and the memory, in bytes; 0 where nothing is known.
pub(super) fn expected(work: &Work, records: &Records) -> Result<(Vec<u64>, Vec<u64>), RootError> {
    let bytes = work.dir.read_regular(HISTORY, LARGEST_HISTORY)?.unwrap_or_default();
    let (builds, _) = parse_builds(&bytes);
    let estimates = BuildEstimates::of(&builds);
    let names = || records.iter().map(|record| record.pkgname().as_str());
    let known: Vec<Option<u64>> = names().map(|name| estimates.duration_of(name)).collect();
    let weights: Vec<u32> = records.iter().map(Record::weight).collect();
    let limit = work.conf.limits.get(LimitName::Memory).unwrap_or_default();
    let peaks = names().map(|name| estimates.peak_memory_of(name).unwrap_or(limit)).collect();
    Ok((expected_work(&known, &weights), peaks))
}

pub(super) fn digest_of_records(records: &Records) -> Digest {
    let mut text = Vec::new();
    let _ = records.write_pscan(&mut text);
    Digest::of(&text)
}

/// Returns what is known of a package before anything is built. Because of whom one waits is found out at the end.
pub(super) fn first_outcome(resolution: &Resolution, index: u32) -> PackageOutcome {
    match resolution.state(index) {
        Some(Resolved::Prefailed(reason)) => {
            let detail = Some(reason.to_string());
            PackageOutcome { detail, ..PackageOutcome::of(PackageState::Prefailed) }
        }
        Some(Resolved::IndirectPrefailed(_)) => PackageOutcome::of(PackageState::IndirectPrefailed),
        _ => PackageOutcome::of(PackageState::Open),
    }
}
