//! A run from its number to its report.

use std::collections::{BTreeMap, BTreeSet};

use patchadm_bulk_values::journal::{JournalLine, RunStart};
use patchadm_bulk_values::records::{Record, Records};
use patchadm_bulk_values::resolve::{PackageState as Resolved, Resolution, select};
use patchadm_bulk_values::result::Digest;
use patchadm_bulk_values::schedule::Schedule;
use patchadm_bulk_values::slots::SlotTable;

use super::beginning::{expected, first_outcome, read_tree, wanted};
use super::changes::{keep_polled, poll};
use super::journal_file::{JournalFile, KnownRuns, known_runs};
use super::master::{Master, RunBegin};
use super::patching::make_its_patches;
use super::probing::probe_all;
use super::request::{RunError, RunEvent, RunRequest, Tell};
use super::results::RunOutcome;
use super::telling::{hand_on, make_its_set, restricted, upload_its_set, write_files};
use crate::platform::{find_platform, keep_platform};
use crate::pool_use::use_pool;
use crate::remains::remove_remains;
use crate::runs::run_directory;
use crate::task::place::{remove_abandoned, remove_idle};
use crate::tree::KnownTree;
use crate::work::WorkError;

/// Carries a run out, or continues the one that was cut off; `tell` gets what happens.
pub fn run(request: &RunRequest<'_>, tell: Tell<'_>) -> Result<RunOutcome, RunError> {
    let work = request.work;
    remove_abandoned(&work.conf.build_dir, &work.id).map_err(WorkError::from)?;
    remove_remains(work)?;
    let known = known_runs(work, request.is_new)?;
    if let Some(note) = &known.note {
        tell(RunEvent::Note(note));
    }
    let polled = poll(work, tell);
    let slots = probe_all(request, tell)?;
    let scanned = read_tree(request, true, tell)?;
    let KnownTree { records, resolution } = scanned.tree;
    let wanted = wanted(request, &records, &resolution)?;
    select(&records, request.rebuild.iter().map(String::as_str))?;
    let _used = use_pool(work).map_err(WorkError::from)?;
    let operands = request.operands();
    let (number, is_continued, whole) = number_of_run(request, &known, &operands)?;
    let (conf, began) = (Digest::of(&work.conf_text), (request.time)());
    let mut journal = JournalFile::open(work, number, whole)?;
    journal.add(&JournalLine::Start(RunStart { run: number, conf, began: began.clone(), operands }))?;
    journal.add_durably(&JournalLine::Records(scanned.digest))?;
    tell(RunEvent::Begins { run: number, is_continued, packages: wanted.len() });
    let (platform, note) =
        find_platform(work, request.driver, (request.base.0, request.user), request.interrupt);
    if let Some(note) = note {
        tell(RunEvent::Note(&note));
    }
    keep_platform(&run_directory(work, number)?, &platform)?;
    let begin = RunBegin { run: number, conf, began, is_continued, known, journal };
    let (mut ended, journal) = build_all(request, (&records, &resolution), (&wanted, slots), begin, tell)?;
    ended.report.platform = Some(platform);
    let is_whole = request.is_whole;
    let outcome = tell_all(request, RunOutcome { records, resolution, ended, is_whole }, journal, tell)?;
    if outcome.ended.interrupted.is_none() {
        keep_polled(work, number, polled)?;
    }
    Ok(outcome)
}

/// Returns the number of the run: that of the one which was cut off and is continued, else a new one; whether it is continued,
/// and how much of its journal is whole.
fn number_of_run(
    request: &RunRequest<'_>,
    known: &KnownRuns,
    operands: &[String],
) -> Result<(u64, bool, u64), RunError> {
    let Some((state, whole)) = known.unfinished() else { return Ok((known.next_number(), false, 0)) };
    if !request.is_new && state.is_continued_by(operands) {
        return Ok((state.run, true, *whole));
    }
    let line = JournalLine::Abandoned { end: (request.time)() };
    JournalFile::open(request.work, state.run, *whole)?.add_durably(&line)?;
    Ok((known.next_number(), false, 0))
}

/// Builds what can be built.
fn build_all(
    request: &RunRequest<'_>,
    (records, resolution): (&Records, &Resolution),
    (wanted, slots): (&BTreeSet<u32>, SlotTable),
    begin: RunBegin,
    tell: Tell<'_>,
) -> Result<(super::results::EndedRun, JournalFile), RunError> {
    let names: Vec<&str> = records.iter().map(|record: &Record| record.pkgname().as_str()).collect();
    let costs = expected(request.work, records)?;
    let states = resolution.states();
    let is_task =
        |index: u32| wanted.contains(&index) && matches!(states.get(index as usize), Some(Resolved::Open));
    let schedule = Schedule::new(resolution.graph(), &costs.work, &names, is_task);
    let outcomes: BTreeMap<_, _> =
        wanted.iter().map(|index| (*index, first_outcome(resolution, *index))).collect();
    let (conf, is_continued) = (begin.conf, begin.is_continued);
    let mut master = Master::of(request, (records, resolution), (schedule, costs), slots, outcomes, begin)?;
    let followed = master.follow(tell);
    if followed.is_err() {
        master.abandon();
        // What cannot be written to the disk is not there after a power cut; the run has failed anyway.
        let _ = master.settle();
    }
    // What cannot be removed stays for the next run.
    let _ = remove_idle(&request.work.conf.build_dir, &request.work.id);
    followed?;
    master.end(conf, is_continued, tell)
}

/// Makes the set of a run, writes its files, and hands its report on.
fn tell_all(
    request: &RunRequest<'_>,
    mut outcome: RunOutcome,
    mut journal: JournalFile,
    tell: Tell<'_>,
) -> Result<RunOutcome, RunError> {
    let restricted = restricted(&outcome);
    if outcome.ended.interrupted.is_none() {
        make_its_set(request, &mut outcome, &restricted, &mut journal)?;
        make_its_patches(request, &mut outcome, tell);
        upload_its_set(request, &mut outcome, tell);
    }
    let is_over = outcome.ended.interrupted.is_none();
    write_files(request, &outcome, &restricted)?;
    if is_over {
        let report = &outcome.ended.report;
        // A report that may have been handed on twice is better than one that nobody got.
        outcome.ended.is_handed_on &= hand_on(request, report, tell);
        journal
            .add_durably(&JournalLine::End { end: report.ended.clone(), counts: report.counts.clone() })?;
    }
    Ok(outcome)
}
