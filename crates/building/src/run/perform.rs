//! A run from start to report, a dry run, and the check for changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use patchadm_bulk_values::journal::{BuildState, BulkRunEnd, JournalLine, PackageOutcome, RunStart};
use patchadm_bulk_values::pbulk_files::{PbulkPackage, restricted_subset};
use patchadm_bulk_values::records::{RecipeRecord, Records};
use patchadm_bulk_values::report::{RunReport, UploadReport};
use patchadm_bulk_values::resolve::{DependencyResolution, ResolvedState, select};
use patchadm_bulk_values::result::Blake3Digest;
use patchadm_bulk_values::schedule::{PlannedAction, PlannedPackage, RunPlan, Schedule};
use patchadm_inputs::depot::{DepotIndex, LARGEST_INDEX};
use patchadm_inputs::input_file::read_small;
use patchadm_making::delta::{DeltaError, built_patches};
use patchadm_rootfs::{RootError, WorkMeter};
use patchadm_svr4::package::Mode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::decision::{BuildDecisionInput, Foresight, PredictedOutcome};
use super::journal::{JournalFile, KnownRuns, known_runs};
use super::master::{Master, RunBegin};
use super::probing::probe_all;
use super::{BulkRunEvent, BulkRunOutcome, RunError, RunRequest, Tell};
use crate::command_run::output_digest;
use crate::keys::machine_type;
use crate::patches::{MakePatchesError, PATCHES, PatchesRequest, make_patches};
use crate::pool::{Pool, use_pool};
use crate::report_files::{
    copy_report, find_platform, keep_platform, send_report, tell_report, write_pbulk_files,
};
use crate::runs::{ExpectedCosts, read_bounded, run_directory};
use crate::scan::{TreeScanError, TreeScanRequest, is_as_scanned};
use crate::set::{MadeSet, SetInput, SetPackage, make_set};
use crate::task::cut;
use crate::task::place::{remove_abandoned, remove_idle};
use crate::tree::{ResolvedTree, ScannedTree, is_of_pbulk, pbulk_depths, pbulk_record_text, scan_tree};
use crate::upload::{UploadError, UploadRequest, upload};
use crate::work::{BulkWork, PROGRAM, SCAN, WorkError, remove_remains};

/// Performs a run, or continues an interrupted one.
pub fn run(request: &RunRequest<'_>, tell: Tell<'_>) -> Result<BulkRunOutcome, RunError> {
    let work = request.work;
    remove_abandoned(&work.conf.build_dir, &work.id, request.interrupt).map_err(WorkError::from)?;
    remove_remains(work)?;
    let known = known_runs(work, request.is_new)?;
    if let Some(note) = &known.note {
        tell(BulkRunEvent::Note(note));
    }
    let polled = poll(request, tell)?;
    let slots = probe_all(request, tell)?;

    let scanned = read_tree(request, true, tell)?;
    let ResolvedTree { records, resolution } = scanned.tree;
    let selected = selected_packages(request, &records, &resolution)?;
    select(&records, request.rebuild.iter().map(String::as_str))?;
    let _used = use_pool(work).map_err(WorkError::from)?;

    let operands = request.operands();
    let (run, is_continued, whole) = number_of_run(request, &known, &operands)?;
    let (conf, began) = (Blake3Digest::of(&work.conf_text), (request.time)());
    let mut journal = JournalFile::open(work, run, whole)?;
    journal.add(&JournalLine::Start(RunStart { run, conf, began: began.clone(), operands }))?;
    journal.add_durably(&JournalLine::Records(scanned.digest))?;
    tell(BulkRunEvent::Begins { run, is_continued, packages: selected.len() });
    let (platform, note) =
        find_platform(work, request.driver, (request.base.0, request.user), request.interrupt);
    if let Some(note) = note {
        tell(BulkRunEvent::Note(&note));
    }
    keep_platform(&run_directory(work, run)?, &platform)?;

    let names: Vec<&str> = records.iter().map(|record: &RecipeRecord| record.pkgname().as_str()).collect();
    let costs = ExpectedCosts::of(work, &records)?;
    let states = resolution.states();
    let is_task = |index: u32| {
        selected.contains(&index) && matches!(states.get(index as usize), Some(ResolvedState::Open))
    };
    let schedule = Schedule::new(resolution.graph(), &costs.work, &names, is_task);
    let outcomes: BTreeMap<_, _> =
        selected.iter().map(|index| (*index, first_outcome(&resolution, *index))).collect();
    let begin = RunBegin { run, began, known, journal };
    let mut master = Master::of(request, (&records, &resolution), (schedule, costs), slots, outcomes, begin)?;
    let followed = master.follow(tell);
    if followed.is_err() {
        master.abandon();
        // A power cut loses unflushed results; the run has failed anyway.
        let _ = master.settle();
    }
    // The next run removes the rest.
    let _ = remove_idle(&work.conf.build_dir, &work.id);
    followed?;
    let (mut ended, mut journal) = master.end(conf, is_continued, tell)?;

    ended.report.platform = Some(platform);
    let mut outcome = BulkRunOutcome { records, resolution, ended, is_whole: request.is_whole };
    let restricted = restricted(&outcome);
    if outcome.ended.interrupted.is_none() {
        make_set_of_run(request, &mut outcome, &restricted, &mut journal)?;
        make_patches_of_run(request, &mut outcome, tell);
        upload_set_of_run(request, &mut outcome, tell);
    }
    write_files(request, &outcome, &restricted)?;
    if outcome.ended.interrupted.is_none() {
        let report = &outcome.ended.report;
        // A report delivered twice after a crash is better than a lost one, so note its delivery afterwards.
        outcome.ended.is_handed_on &= deliver_report(request, report, tell);
        journal
            .add_durably(&JournalLine::End { end: report.ended.clone(), counts: report.counts.clone() })?;
        keep_polled(work, run, polled)?;
    }
    Ok(outcome)
}

pub fn plan_run(request: &RunRequest<'_>, tell: Tell<'_>) -> Result<RunPlan, RunError> {
    let known = known_runs(request.work, request.is_new)?;
    let tree = read_tree(request, false, tell)?.tree;
    let selected = selected_packages(request, &tree.records, &tree.resolution)?;
    let pool = Pool::open(&request.work.conf.pool)?;
    let input = BuildDecisionInput {
        conf: &request.work.conf,
        records: &tree.records,
        resolution: &tree.resolution,
        pool: &pool,
        known: &known,
        rebuild: request.rebuild,
        retries: request.retries,
    };
    let foresight = Foresight::of(input, (request.driver, request.base.1), selected.iter().copied())?;
    let mut planned = Vec::with_capacity(selected.len());
    for (index, fate) in &foresight.fates {
        let action = match fate {
            PredictedOutcome::Task(_) | PredictedOutcome::First => PlannedAction::Build,
            PredictedOutcome::After(_) => PlannedAction::Maybe,
            PredictedOutcome::Result | PredictedOutcome::Remembered { .. } | PredictedOutcome::Stuck(_) => {
                PlannedAction::Nothing
            }
        };
        let package = tree.pkgname(*index);
        planned.push((*index, PlannedPackage { package, action, why: foresight.why(*index)? }));
    }
    let costs = ExpectedCosts::of(request.work, &tree.records)?;
    let slots = request.work.conf.slots_on(request.cores, request.jobs);
    let slots: u32 = slots.iter().map(|slot| slot.count).sum();
    Ok(RunPlan::of(tree.resolution.graph(), planned, (&costs.work, costs.is_time), slots as usize))
}

/// Returns the last run if nothing has changed since, `None` if a new run may differ. Unknown state counts as a change.
pub fn has_changed(request: &RunRequest<'_>, tell: Tell<'_>) -> Result<Option<u64>, RunError> {
    let work = request.work;
    if request.retries || !request.rebuild.is_empty() {
        return Ok(None);
    }
    let known = known_runs(work, request.is_new)?;
    let Some((last, _)) = &known.last else { return Ok(None) };
    let is_same = matches!(last.end, BulkRunEnd::Ended { .. })
        && last.operands == request.operands()
        && last.conf == Blake3Digest::of(&work.conf_text);
    if !is_same {
        return Ok(None);
    }
    let is_unchanged = if work.conf.poll.is_some() {
        let now = poll(request, tell)?.map(|poll| Polled { run: last.run, poll });
        now.is_some() && now == read_polled(work)?
    } else {
        is_as_scanned(&scan_request(request, &request.base.1.to_string(), false))?
    };
    Ok(is_unchanged.then_some(last.run))
}

/// Scans the tree and resolves dependencies. `is_kept` stores the result.
fn read_tree(request: &RunRequest<'_>, is_kept: bool, tell: Tell<'_>) -> Result<ScannedTree, RunError> {
    let scanned = scan_tree(&scan_request(request, &request.base.1.to_string(), is_kept))?;
    scanned.notes.iter().for_each(|note| tell(BulkRunEvent::Note(note)));
    Ok(scanned)
}

/// `base` is the digest of the base.
fn scan_request<'a>(request: &RunRequest<'a>, base: &'a str, is_kept: bool) -> TreeScanRequest<'a> {
    TreeScanRequest {
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

fn selected_packages(
    request: &RunRequest<'_>,
    records: &Records,
    resolution: &DependencyResolution,
) -> Result<BTreeSet<u32>, RunError> {
    if request.names.is_empty() {
        return Ok(resolution.graph().indices().collect());
    }
    let selected = select(records, request.names.iter().map(String::as_str))?;
    Ok(resolution.graph().with_needs(&selected).into_iter().collect())
}

/// Returns the run's number, true for a continued run, and the complete bytes of its journal.
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

/// Returns the initial outcome. Causes of indirect failures are found at the end.
fn first_outcome(resolution: &DependencyResolution, index: u32) -> PackageOutcome {
    match resolution.state(index) {
        Some(ResolvedState::Prefailed(reason)) => {
            let detail = Some(cut(reason.to_string()));
            PackageOutcome { detail, fault: reason.fault(), ..PackageOutcome::of(BuildState::Prefailed) }
        }
        Some(ResolvedState::IndirectPrefailed(_)) => PackageOutcome::of(BuildState::IndirectPrefailed),
        _ => PackageOutcome::of(BuildState::Open),
    }
}

/// Requires a completed run of all packages.
fn make_set_of_run(
    request: &RunRequest<'_>,
    outcome: &mut BulkRunOutcome,
    restricted: &[bool],
    journal: &mut JournalFile,
) -> Result<(), RunError> {
    if !outcome.is_whole || !request.makes_set {
        return Ok(());
    }
    let mut packages = Vec::new();
    for (index, state) in &outcome.ended.outcomes {
        let Some(record) = outcome.records.get(*index) else { continue };
        packages.push(SetPackage {
            package: record.pkgname().as_str(),
            location: record.location().as_str(),
            state: state.state,
            entry: outcome.ended.entries.get(index).cloned(),
            is_restricted: restricted.get(*index as usize).copied().unwrap_or_default(),
        });
    }
    let report = &outcome.ended.report;
    let input =
        SetInput { run: report.run, date: &report.ended, packages: &packages, interrupt: request.interrupt };
    let made = make_set(request.work, &input)?;
    match made {
        Ok(MadeSet { report: mut set, shared_paths }) => {
            let graph = outcome.resolution.graph();
            for left_out in &mut set.left_out {
                let index =
                    outcome.records.iter().position(|record| record.pkgname().as_str() == left_out.package);
                let index = index.and_then(|index| u32::try_from(index).ok());
                left_out.breaks = index.map_or(0, |index| graph.with_dependents(&[index]).len() as u64 - 1);
            }
            journal.add_durably(&JournalLine::Set(set.run))?;
            outcome.ended.report.set = Some(set);
            outcome.ended.report.shared_paths = shared_paths;
        }
        Err(refusal) => outcome.ended.report.set_refused = Some(refusal.to_string()),
    }
    Ok(())
}

const BEFORE: &[u8] = b"before";

const LARGEST_BEFORE: u64 = 256 << 20;

const INDEX: &str = "index.json";

/// Patches from before a run. They are noted in its directory, so that a continued run still reports everything it made
/// or published before its interruption.
#[derive(Debug, Default, Serialize, Deserialize)]
struct PatchesBefore {
    patches: BTreeSet<(String, String)>,
    published: BTreeSet<String>,
}

impl PatchesBefore {
    /// Returns the noted state, or notes the current one.
    fn of(request: &RunRequest<'_>, run: u64) -> Result<Self, MakePatchesError> {
        let work = request.work;
        let dir = run_directory(work, run)?;
        if let Ok(Some(text)) = read_bounded(&dir, BEFORE, LARGEST_BEFORE)?
            && let Ok(before) = serde_json::from_slice(&text)
        {
            return Ok(before);
        }
        let before = Self {
            patches: built_patches(&work.path.join(PATCHES))?.into_iter().collect(),
            published: work.conf.depot.as_deref().map(published_ids).unwrap_or_default(),
        };
        // Strings: serializing these cannot fail.
        let text = serde_json::to_vec(&before).unwrap_or_default();
        dir.replace_file(PROGRAM, BEFORE, &text, Mode::of(0o644))?;
        dir.sync()?;
        Ok(before)
    }

    /// Reports as added everything that this run published, even before an interruption.
    fn tell_as_added(&self, document: &mut Value) {
        let mut ids = BTreeSet::new();
        for field in ["added", "kept"] {
            let listed = document.get(field).and_then(Value::as_array).into_iter().flatten();
            ids.extend(listed.filter_map(Value::as_str).map(str::to_owned));
        }
        let (kept, added): (Vec<String>, Vec<String>) =
            ids.into_iter().partition(|id| self.published.contains(id));
        let Some(fields) = document.as_object_mut() else { return };
        if fields.get("result").and_then(Value::as_str) == Some("nothing-to-do") && !added.is_empty() {
            fields.insert("result".to_owned(), "done".into());
        }
        fields.insert("added".to_owned(), added.into());
        fields.insert("kept".to_owned(), kept.into());
    }
}

/// An unreadable index counts as empty; publishing reports it.
fn published_ids(depot: &Path) -> BTreeSet<String> {
    let text = read_small(&depot.join(INDEX), LARGEST_INDEX as u64).unwrap_or_default();
    let index = DepotIndex::parse(&text).ok();
    index.iter().flat_map(DepotIndex::patches).map(|patch| patch.id.clone()).collect()
}

fn make_patches_of_run(request: &RunRequest<'_>, outcome: &mut BulkRunOutcome, tell: Tell<'_>) {
    let ended = &mut outcome.ended;
    let Some(patches) = request.patches.filter(|_| ended.report.set.is_some()) else { return };
    let made = PatchesBefore::of(request, ended.report.run).and_then(|before| {
        let made = make_patches(&PatchesRequest {
            work: request.work,
            base: request.base,
            patch: patches.patch,
            syntax: patches.syntax,
            cores: request.cores as usize,
            is_dry_run: false,
            before: Some(&before.patches),
            interrupt: request.interrupt,
            meter: WorkMeter::default(),
        })?;
        Ok((before, made))
    });
    match made {
        Ok((before, mut made)) => {
            ended.are_patches_whole = made.failed == 0 && made.refused.is_none();
            if let Some(refused) = &made.refused {
                tell(BulkRunEvent::Note(&format!("{refused}; nothing is published")));
            } else {
                match (patches.publish)(&made) {
                    Ok(Some(mut published)) => {
                        before.tell_as_added(&mut published);
                        // Published patches no longer wait for a signature.
                        let waits = published.get("to_sign").and_then(Value::as_array).map_or(0, Vec::len);
                        made.report.others.insert("to_sign".to_owned(), waits.into());
                        ended.report.published = Some(published);
                    }
                    Ok(None) => {}
                    Err(reason) => {
                        tell(BulkRunEvent::Note(&reason));
                        ended.are_patches_whole = false;
                    }
                }
            }
            ended.report.patches = Some(made.report);
        }
        Err(MakePatchesError::NothingReleased) => {
            tell(BulkRunEvent::Note("no set is released: there are no patches"));
        }
        Err(
            MakePatchesError::Interrupted(signal) | MakePatchesError::Delta(DeltaError::Interrupted(signal)),
        ) => {
            ended.interrupted = Some(signal);
        }
        Err(error) => {
            tell(BulkRunEvent::Note(&format!("no patches were made: {error}")));
            ended.patches_error = Some(error);
        }
    }
}

/// Uploads the set if configured. Only the report shows a failure.
fn upload_set_of_run(request: &RunRequest<'_>, outcome: &mut BulkRunOutcome, tell: Tell<'_>) {
    let ended = &mut outcome.ended;
    let set = ended.report.set.as_ref().filter(|_| request.work.conf.upload_command.is_some());
    let Some(set) = set.filter(|_| ended.interrupted.is_none()) else { return };
    let upload_request = UploadRequest {
        work: request.work,
        base: request.base.0,
        set: set.run,
        again: false,
        interrupt: request.interrupt,
    };
    let report = match upload(&upload_request) {
        Ok(report) => report,
        Err(UploadError::Interrupted(signal)) => {
            ended.interrupted = Some(signal);
            return;
        }
        Err(error) => UploadReport { error: Some(error.to_string()), ..UploadReport::default() },
    };
    if let Some(error) = &report.error {
        tell(BulkRunEvent::Note(&format!(
            "the set was not uploaded: {error}; `patchadm bulk upload` tries again"
        )));
        ended.is_handed_on = false;
    }
    ended.report.upload = Some(report);
}

/// True for packages that must not be distributed, directly or because of a dependency.
fn restricted(outcome: &BulkRunOutcome) -> Vec<bool> {
    let own: Vec<bool> = outcome.records.iter().map(RecipeRecord::is_restricted).collect();
    let graph = outcome.resolution.graph();
    let needs: Vec<Vec<u32>> = graph.indices().map(|index| graph.needs(index).to_vec()).collect();
    restricted_subset(&own, &needs)
}

fn write_files(
    request: &RunRequest<'_>,
    outcome: &BulkRunOutcome,
    restricted: &[bool],
) -> Result<(), RunError> {
    let work = request.work;
    let report = &outcome.ended.report;
    let dir = run_directory(work, report.run)?;
    tell_report(work, report, None, request.page)?;
    let depths = pbulk_depths(&outcome.resolution);
    let mut packages = Vec::new();
    for (index, state) in &outcome.ended.outcomes {
        let record = outcome.records.get(*index).filter(|_| is_of_pbulk(&outcome.resolution, *index));
        let Some(record) = record else { continue };
        packages.push(PbulkPackage {
            pkgname: record.pkgname().as_str(),
            state: state.state,
            is_restricted: restricted.get(*index as usize).copied().unwrap_or_default(),
            depth: depths.get(*index as usize).copied().unwrap_or_default().into(),
            index: *index,
        });
    }
    let uname = rustix::system::uname();
    let os = report.platform.as_ref().and_then(|platform| platform.os.clone());
    let os = os.unwrap_or_else(|| uname.sysname().to_string_lossy().into_owned());
    let platform = format!("{os}/{}", machine_type());
    let text = |index| pbulk_record_text(&outcome.records, &outcome.resolution, index);
    Ok(write_pbulk_files(&dir, report, &packages, &text, (&platform, work.conf.report.url.as_deref()))?)
}

/// Delivers the report as configured. Failures become notes.
fn deliver_report(request: &RunRequest<'_>, report: &RunReport, tell: Tell<'_>) -> bool {
    let mut is_done = true;
    if let Err(error) = send_report(request.work, report.run) {
        tell(BulkRunEvent::Note(&error.to_string()));
        is_done = false;
    }
    if let Err(error) = copy_report(request.work, report) {
        tell(BulkRunEvent::Note(&error.to_string()));
        is_done = false;
    }
    is_done
}

const POLLED: &[u8] = b"polled";

const LARGEST_POLLED: u64 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Polled {
    run: u64,
    poll: Blake3Digest,
}

/// Runs the configured command before reading the tree. A signal ends it and the run.
fn poll(request: &RunRequest<'_>, tell: Tell<'_>) -> Result<Option<Blake3Digest>, RunError> {
    let work = request.work;
    let Some(words) = work.conf.poll.as_deref() else { return Ok(None) };
    match (output_digest("poll", words, Some(&work.path), request.interrupt), (request.interrupt)()) {
        (Ok(poll), _) => Ok(Some(poll)),
        (Err(_), Some(signal)) => Err(TreeScanError::Interrupted(signal).into()),
        (Err(reason), None) => {
            tell(BulkRunEvent::Note(&format!("{reason}: it counts as a change")));
            Ok(None)
        }
    }
}

/// Stores the digest of the command's output after the run.
fn keep_polled(work: &BulkWork, run: u64, poll: Option<Blake3Digest>) -> Result<(), RootError> {
    let dir = work.directory(SCAN)?;
    match poll.and_then(|poll| serde_json::to_vec(&Polled { run, poll }).ok()) {
        Some(bytes) => dir.replace_file(PROGRAM, POLLED, &bytes, Mode::of(0o644)),
        None => dir.remove(POLLED),
    }
}

fn read_polled(work: &BulkWork) -> Result<Option<Polled>, RootError> {
    let dir = work.directory(SCAN)?;
    let bytes = dir.read_regular(POLLED, LARGEST_POLLED)?.unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).ok())
}
