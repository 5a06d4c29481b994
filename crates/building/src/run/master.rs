//! The run itself: scanned and resolved, then one task after another, until nothing is left that can be built.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use patchadm_bulk::conf::{LimitChanges, LimitName, Limits, Slot, TaskPlaceholders};
use patchadm_bulk::history::{BuildEstimates, BuildRecord, parse_builds};
use patchadm_bulk::journal::{
    JournalLine, PackageOutcome, PackageState, RunStart, StateCounts, is_tried_again,
};
use patchadm_bulk::records::{Record, Records};
use patchadm_bulk::report::MachineReport;
use patchadm_bulk::resolve::{PackageState as Resolved, Resolution, resolve, select};
use patchadm_bulk::result::{Digest, Key, KeyInputs};
use patchadm_bulk::schedule::{Outcome, Schedule, TaskState, expected_work};
use patchadm_rootfs::RootError;
use patchadm_svr4::package::Mode;

use super::journal_file::{JournalFile, KnownRuns, known_runs};
use super::request::{RunError, RunEvent, RunRequest};
use super::results::{EndedRun, RunFacts, RunOutcome, report_of, set_indirect};
use super::slots::{RunningTask, TaskMessage};
use crate::keys::{KeyMaker, has_network, means, source_date_epoch};
use crate::pool::{FoundResult, Pool, PoolEntry};
use crate::scan::{ScanRequest, scan};
use crate::task::order::{TASK_FORMAT, TaskEnd, TaskEvent, TaskOrder};
use crate::task::place::remove_abandoned;
use crate::work::PROGRAM;

/// The argument that makes the program the process of a task.
pub const TASK_PROCESS: &str = "__bulk-task";

/// How long is waited for a message before something else is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest time without a word of a task: its machine has failed then.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// How often a task is tried whose machine fails.
const MOST_TRIES: u32 = 3;

/// The file with the builds of all runs, and the largest one that is read, in bytes.
const HISTORY: &[u8] = b"history";
const LARGEST_HISTORY: u64 = 1 << 30;

/// Carries a run out, or continues the one that was cut off; `tell` gets what happens.
pub fn run(request: &RunRequest<'_>, tell: &mut dyn FnMut(RunEvent<'_>)) -> Result<RunOutcome, RunError> {
    let work = request.work;
    remove_abandoned(&work.conf.build_dir)?;
    let known = known_runs(work, request.is_new)?;
    let (records, resolution) = read_tree(request, tell)?;
    let wanted = wanted(request, &records, &resolution)?;
    let names: Vec<&str> = records.iter().map(|record| record.pkgname().as_str()).collect();
    let durations = expected(work, &records)?;
    let states = resolution.states();
    let is_task =
        |index: u32| wanted.contains(&index) && matches!(states.get(index as usize), Some(Resolved::Open));
    let schedule = Schedule::new(resolution.graph(), &durations, &names, is_task);
    let pool = Pool::open(&work.conf.pool)?;
    let mut operands = request.names.to_vec();
    operands.sort();
    let (run, is_continued, whole) = match known.unfinished() {
        Some((state, whole)) if !request.is_new && state.is_continued_by(&operands) => {
            (state.run, true, *whole)
        }
        unfinished => {
            if let Some((state, whole)) = unfinished {
                let line = JournalLine::Abandoned { end: (request.time)() };
                JournalFile::open(work, state.run, *whole)?.add(&line)?;
            }
            (known.greatest + 1, false, 0)
        }
    };
    let conf = Digest::of(&work.conf_text);
    let began = (request.time)();
    let mut journal = JournalFile::open(work, run, whole)?;
    journal.add(&JournalLine::Start(RunStart { run, conf, began: began.clone(), operands }))?;
    journal.add(&JournalLine::Records(digest_of_records(&records)))?;
    tell(RunEvent::Begins { run, is_continued, packages: wanted.len() });
    let mut outcomes = BTreeMap::new();
    for index in &wanted {
        outcomes.insert(*index, first_outcome(&records, &resolution, *index));
    }
    let (sender, receiver) = channel();
    let slots = work.conf.slots_on(request.cores, request.jobs);
    let mut master = Master {
        request,
        records: &records,
        resolution: &resolution,
        schedule,
        keys: KeyMaker::of(&work.conf, request.driver, request.base.1),
        pool,
        journal,
        known,
        run,
        slots: slots.into_iter().map(|slot| SlotState { slot, running: 0, trouble: 0 }).collect(),
        running: HashMap::new(),
        orders: HashMap::new(),
        tries: HashMap::new(),
        outcomes,
        entries: HashMap::new(),
        suspects: HashMap::new(),
        channel: (sender, receiver),
        has_failed: false,
        is_ending: None,
        trouble: None,
        began,
    };
    master.follow(tell)?;
    let ended = master.end(conf, is_continued, tell)?;
    let is_whole = request.names.is_empty() && work.conf.list.is_none();
    Ok(RunOutcome { records, resolution, ended, is_whole })
}

/// Scans the tree, and finds what each package needs.
fn read_tree(
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
fn wanted(
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

/// Returns the work that each package is expected to take.
fn expected(work: &crate::work::Work, records: &Records) -> Result<Vec<u64>, RootError> {
    let bytes = work.dir.read_regular(HISTORY, LARGEST_HISTORY)?.unwrap_or_default();
    let (builds, _) = parse_builds(&bytes);
    let estimates = BuildEstimates::of(&builds);
    let known: Vec<Option<u64>> =
        records.iter().map(|record| estimates.duration_of(record.pkgname().as_str())).collect();
    let weights: Vec<u32> = records.iter().map(Record::weight).collect();
    Ok(expected_work(&known, &weights))
}

fn digest_of_records(records: &Records) -> Digest {
    let mut text = Vec::new();
    let _ = records.write_pscan(&mut text);
    Digest::of(&text)
}

/// Returns what is known of a package before anything is built.
fn first_outcome(records: &Records, resolution: &Resolution, index: u32) -> PackageOutcome {
    match resolution.state(index) {
        Some(Resolved::Prefailed(reason)) => {
            let detail = Some(reason.to_string());
            PackageOutcome { detail, ..PackageOutcome::of(PackageState::Prefailed) }
        }
        Some(Resolved::IndirectPrefailed(because)) => {
            let name = |index: &u32| records.get(*index).map(|record| record.pkgname().to_string());
            let mut because: Vec<String> = because.iter().filter_map(name).collect();
            because.sort();
            PackageOutcome { because, ..PackageOutcome::of(PackageState::IndirectPrefailed) }
        }
        _ => PackageOutcome::of(PackageState::Open),
    }
}

struct SlotState {
    slot: Slot,
    running: u32,
    trouble: u64,
}

struct Master<'a> {
    request: &'a RunRequest<'a>,
    records: &'a Records,
    resolution: &'a Resolution,
    schedule: Schedule<'a>,
    keys: KeyMaker<'a>,
    pool: Pool,
    journal: JournalFile,
    known: KnownRuns,
    run: u64,
    slots: Vec<SlotState>,
    running: HashMap<u32, RunningTask>,
    /// What was ordered of running tasks, and when they began.
    orders: HashMap<u32, TaskOrder>,
    tries: HashMap<u32, u32>,
    outcomes: BTreeMap<u32, PackageOutcome>,
    entries: HashMap<u32, PoolEntry>,
    suspects: HashMap<u32, Vec<String>>,
    channel: (Sender<(u32, TaskMessage)>, Receiver<(u32, TaskMessage)>),
    has_failed: bool,
    is_ending: Option<i32>,
    trouble: Option<String>,
    began: String,
}

type Tell<'t> = &'t mut dyn FnMut(RunEvent<'_>);

impl Master<'_> {
    /// Starts and follows tasks until nothing is left to be done.
    fn follow(&mut self, tell: Tell<'_>) -> Result<(), RunError> {
        loop {
            let stops = self.is_ending.is_some() || self.has_failed && self.request.stops_on_failure;
            if !stops {
                self.start_ready(tell)?;
            }
            if self.running.is_empty() && (stops || self.schedule.is_over()) {
                return Ok(());
            }
            match self.channel.1.recv_timeout(PAUSE) {
                Ok((package, message)) => self.hear(package, message, tell)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            if self.is_ending.is_none() {
                self.is_ending = (self.request.interrupt)();
                if self.is_ending.is_some() {
                    self.running.values_mut().for_each(RunningTask::end);
                }
            }
            for task in self.running.values_mut() {
                if task.heard.elapsed() > LONGEST_SILENCE {
                    task.kill();
                }
            }
        }
    }

    /// Starts tasks while there are slots for them.
    fn start_ready(&mut self, tell: Tell<'_>) -> Result<(), RunError> {
        while let Some(slot) = self.free_slot() {
            let Some(index) = self.schedule.next_ready() else { return Ok(()) };
            self.begin(index, slot, tell)?;
        }
        Ok(())
    }

    fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(|slot| slot.running < slot.slot.count)
    }

    /// Finds out whether a package must be built, and starts its task.
    fn begin(&mut self, index: u32, slot: usize, tell: Tell<'_>) -> Result<(), RunError> {
        let Some(record) = self.records.get(index) else { return Ok(()) };
        let limits = match self.limits(record) {
            Ok(limits) => limits,
            Err(detail) => {
                let outcome =
                    PackageOutcome { detail: Some(detail), ..PackageOutcome::of(PackageState::Prefailed) };
                return self.finish(index, outcome, tell);
            }
        };
        let install: Vec<u32> = self.resolution.to_install(index);
        let results: Vec<&PoolEntry> = install.iter().filter_map(|need| self.entries.get(need)).collect();
        let results: Vec<_> = results.into_iter().map(|entry| &entry.result).collect();
        let inputs = match self.keys.inputs(self.records, record, &results) {
            Ok(inputs) => inputs,
            Err(detail) => {
                let outcome =
                    PackageOutcome { detail: Some(detail), ..PackageOutcome::of(PackageState::Prefailed) };
                return self.finish(index, outcome, tell);
            }
        };
        let key = inputs.key();
        let is_rebuilt = self.is_rebuilt(record);
        let found = if is_rebuilt { FoundResult::Nothing } else { self.pool.find(&key)? };
        let mut checks_only = false;
        match found {
            FoundResult::Result(entry) if entry.result.check >= self.request.work.conf.check => {
                return self.take_result(index, *entry, tell);
            }
            FoundResult::Result(_) => checks_only = true,
            FoundResult::Damaged(reason) => {
                tell(RunEvent::Note(&format!("{reason}: it is set aside and built again")));
                self.pool.set_aside(&key)?;
            }
            FoundResult::Nothing => {}
        }
        if let Some(outcome) = self.remembered(record, &key, &limits, is_rebuilt) {
            return self.finish(index, outcome, tell);
        }
        let order = self.order(index, (key, inputs), limits, (slot, checks_only));
        self.start(index, slot, order, tell)
    }

    fn limits(&self, record: &Record) -> Result<Limits, String> {
        let words: Vec<String> =
            record.limits().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let asked = LimitChanges::parse(&words.join(" ")).map_err(|error| format!("LIMITS: {error}"))?;
        let conf = &self.request.work.conf;
        conf.limits_of(&asked, |pattern| means(pattern, record)).map_err(|error| error.to_string())
    }

    fn is_rebuilt(&self, record: &Record) -> bool {
        let name = record.pkgname();
        let names = [name.as_str(), name.name(), record.location().as_str()];
        self.request.rebuild.iter().any(|named| names.contains(&named.as_str()))
    }

    /// Returns the outcome of an earlier build with the same key, where it counts again.
    fn remembered(
        &self,
        record: &Record,
        key: &Key,
        limits: &Limits,
        is_rebuilt: bool,
    ) -> Option<PackageOutcome> {
        let (run, outcome) = self.known.outcomes.get(record.pkgname().as_str())?;
        let is_failure = outcome.state == PackageState::Failed && outcome.key == Some(*key);
        let again = is_rebuilt || is_tried_again(outcome, limits, self.request.retries);
        let other_run = (*run != self.run).then_some(*run);
        (is_failure && !again).then(|| PackageOutcome { run: other_run, ..outcome.clone() })
    }

    /// Takes a result that is there.
    fn take_result(&mut self, index: u32, entry: PoolEntry, tell: Tell<'_>) -> Result<(), RunError> {
        let is_own = entry.result.work == self.request.work.id && entry.result.run == self.run;
        let state = if is_own { PackageState::Done } else { PackageState::UpToDate };
        let outcome = PackageOutcome {
            key: Some(entry.result.key),
            run: (!is_own && entry.result.work == self.request.work.id).then_some(entry.result.run),
            slot: is_own.then(|| entry.result.slot.clone()),
            ms: is_own.then_some(entry.result.ms),
            cpu_ms: is_own.then_some(entry.result.cpu_ms),
            peak_memory: is_own.then_some(entry.result.peak_memory),
            tries: self.tries.get(&index).copied().unwrap_or_default(),
            ..PackageOutcome::of(state)
        };
        self.entries.insert(index, entry);
        self.finish(index, outcome, tell)
    }

    fn order(
        &self,
        index: u32,
        (key, inputs): (Key, KeyInputs),
        limits: Limits,
        (slot, checks_only): (usize, bool),
    ) -> TaskOrder {
        let request = self.request;
        let record = self.records.get(index);
        let pkgname = |index: &u32| self.records.get(*index).map(|record| record.pkgname());
        let depends: Vec<_> = self.resolution.depends(index).iter().filter_map(pkgname).collect();
        let mut text = Vec::new();
        if let Some(record) = record {
            // Writing to memory cannot fail.
            let _ = self.records.write_record(record, &depends, &mut text);
        }
        let install = self.resolution.to_install(index);
        let keys = install.iter().filter_map(|need| {
            let entry = self.entries.get(need)?;
            Some((entry.result.pkgname.clone(), entry.result.key))
        });
        let is_run = |place: usize| record.is_some_and(|record| record.is_run_depends(place));
        let needs = self.resolution.found(index).iter().enumerate();
        let needs = needs.filter(|(place, _)| is_run(*place)).filter_map(|(_, found)| pkgname(&(*found)?));
        let epoch = record.map(|record| source_date_epoch(&request.work.conf, record)).unwrap_or_default();
        TaskOrder {
            task: TASK_FORMAT,
            work: request.work.path.to_string_lossy().into_owned(),
            run: self.run,
            package: pkgname(&index).map(ToString::to_string).unwrap_or_default(),
            location: record.map(|record| record.location().to_string()).unwrap_or_default(),
            key,
            inputs,
            record: String::from_utf8_lossy(&text).into_owned(),
            install: keys.collect(),
            needs: needs.map(ToString::to_string).collect(),
            limits,
            jobs: self.jobs(slot),
            slot: self.slots.get(slot).map(|slot| slot.slot.name.clone()).unwrap_or_default(),
            source_date_epoch: epoch,
            has_network: record.is_some_and(|record| has_network(&request.work.conf, record)),
            base: request.base.1.to_string(),
            checks_only,
            time: (request.time)(),
            variables: record
                .map(|record| record.multi_version())
                .unwrap_or_default()
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    /// Returns how many jobs a task of a slot may run.
    fn jobs(&self, slot: usize) -> u32 {
        let Some(state) = self.slots.get(slot) else { return 1 };
        let count = state.slot.count.max(1);
        if !state.slot.is_local() {
            return (state.slot.cores.unwrap_or(count) / count).max(1);
        }
        let cores = self.request.work.conf.cores.unwrap_or(self.request.cores);
        let tasks = u32::try_from(self.running.len() + self.schedule.ready() + 1).unwrap_or(u32::MAX);
        (cores / count.min(tasks).max(1)).max(1)
    }

    fn start(&mut self, index: u32, slot: usize, order: TaskOrder, tell: Tell<'_>) -> Result<(), RunError> {
        let Some(state) = self.slots.get_mut(slot) else { return Ok(()) };
        let placeholders = TaskPlaceholders {
            cpus: order.jobs,
            memory: order.limits.get(LimitName::Memory),
            time: order.limits.get(LimitName::Time),
            package: &order.package,
        };
        let mut words: Vec<OsString> =
            state.slot.prefix_for(&placeholders).into_iter().map(OsString::from).collect();
        words.extend([self.request.program.as_os_str().to_owned(), TASK_PROCESS.into()]);
        *self.tries.entry(index).or_default() += 1;
        let name = state.slot.name.clone();
        self.journal.add(&JournalLine::Running { package: order.package.clone(), slot: name.clone() })?;
        tell(RunEvent::Starts { package: &order.package, slot: &name });
        match RunningTask::start(&words, &order, (index, slot), self.channel.0.clone()) {
            Ok(task) => {
                state.running += 1;
                self.running.insert(index, task);
                self.orders.insert(index, order);
                Ok(())
            }
            Err(error) => {
                let reason = format!(
                    "{}: {error}",
                    words.first().map(|word| word.display().to_string()).unwrap_or_default()
                );
                state.trouble += 1;
                self.trouble_with(index, &order.package, &reason, tell)
            }
        }
    }

    /// Takes a message of a task.
    fn hear(&mut self, index: u32, message: TaskMessage, tell: Tell<'_>) -> Result<(), RunError> {
        let Some(task) = self.running.get_mut(&index) else { return Ok(()) };
        task.heard = Instant::now();
        match message {
            TaskMessage::Event(TaskEvent::End(end)) => self.take_end(index, end, tell),
            TaskMessage::Event(_) => Ok(()),
            TaskMessage::Gone(said) => {
                let reason = if said.is_empty() { "its process is gone".to_owned() } else { said };
                self.take_end(index, TaskEnd::trouble(reason), tell)
            }
        }
    }

    /// Takes the end of a task.
    fn take_end(&mut self, index: u32, end: TaskEnd, tell: Tell<'_>) -> Result<(), RunError> {
        let slot = self.running.remove(&index).map(|task| {
            let slot = task.slot;
            task.wait();
            slot
        });
        let state = slot.and_then(|slot| self.slots.get_mut(slot));
        let mut slot_name = String::new();
        if let Some(state) = state {
            state.running = state.running.saturating_sub(1);
            slot_name = state.slot.name.clone();
            state.trouble += u64::from(end.trouble.is_some() && self.is_ending.is_none());
        }
        let Some(order) = self.orders.remove(&index) else { return Ok(()) };
        let tries = self.tries.get(&index).copied().unwrap_or_default();
        let mut end = end;
        if end.failure.is_none() && end.trouble.is_none() {
            match self.pool.find(&order.key)? {
                FoundResult::Result(entry) => {
                    self.entries.insert(index, *entry);
                }
                FoundResult::Nothing => end.trouble = Some("its result is not in the pool".to_owned()),
                FoundResult::Damaged(reason) => end.trouble = Some(reason),
            }
        }
        if self.is_ending.is_some() && end.trouble.is_some() {
            // It was ended with the run, and is open as before.
            self.schedule.finished(index, Outcome::Deferred);
            return Ok(());
        }
        if let Some(reason) = end.trouble {
            return self.trouble_with(index, &order.package, &reason, tell);
        }
        let state = if end.failure.is_some() { PackageState::Failed } else { PackageState::Done };
        let mut outcome = PackageOutcome {
            key: Some(order.key),
            slot: Some(slot_name.clone()),
            ms: Some(end.ms),
            cpu_ms: Some(end.cpu_ms),
            peak_memory: Some(end.peak_memory),
            tries,
            ..PackageOutcome::of(state)
        };
        if let Some(failure) = end.failure {
            outcome.cause = Some(failure.cause);
            outcome.limit = failure.limit;
            outcome.phase = failure.phase;
            outcome.detail = Some(failure.detail);
        }
        self.note_build(&order, &outcome, &slot_name)?;
        self.finish(index, outcome, tell)
    }

    /// Adds a build to the history.
    fn note_build(&self, order: &TaskOrder, outcome: &PackageOutcome, slot: &str) -> Result<(), RunError> {
        let build = BuildRecord {
            run: self.run,
            package: order.package.clone(),
            location: order.location.clone(),
            state: outcome.state,
            cause: outcome.cause,
            ms: outcome.ms.unwrap_or_default(),
            peak_memory: outcome.peak_memory.unwrap_or_default(),
            slot: slot.to_owned(),
        };
        let file = self.request.work.dir.open_or_create(HISTORY, Mode::of(0o644))?;
        let size = file.size()?;
        // A line that a power cut left torn must not run into this one.
        let is_torn = size > 0 && file.get_at(size - 1, 1)? != b"\n";
        let newline: &[u8] = if is_torn { b"\n" } else { b"" };
        Ok(file.put_at(&[newline, &build.to_bytes()].concat(), size)?)
    }

    /// Takes the trouble of a machine: the task goes back, or is left.
    fn trouble_with(
        &mut self,
        index: u32,
        package: &str,
        reason: &str,
        tell: Tell<'_>,
    ) -> Result<(), RunError> {
        let tries = self.tries.get(&index).copied().unwrap_or_default();
        tell(RunEvent::Note(&format!("{package}: the machine failed: {reason}")));
        if tries < MOST_TRIES {
            self.schedule.finished(index, Outcome::Again);
            return Ok(());
        }
        self.trouble = Some(reason.to_owned());
        let detail = Some(reason.to_owned());
        let outcome = PackageOutcome { detail, tries, ..PackageOutcome::of(PackageState::Deferred) };
        self.schedule.finished(index, Outcome::Deferred);
        self.note(index, outcome, tell)
    }

    /// Ends a package with a state of its own.
    fn finish(&mut self, index: u32, outcome: PackageOutcome, tell: Tell<'_>) -> Result<(), RunError> {
        let is_done = outcome.state.has_result();
        self.has_failed |= outcome.state == PackageState::Failed;
        self.schedule.finished(index, if is_done { Outcome::Done } else { Outcome::Failed });
        self.note(index, outcome, tell)
    }

    fn note(&mut self, index: u32, outcome: PackageOutcome, tell: Tell<'_>) -> Result<(), RunError> {
        let package = self.records.get(index).map(|record| record.pkgname().to_string()).unwrap_or_default();
        let line = JournalLine::Outcome { package: package.clone(), outcome: Box::new(outcome.clone()) };
        self.journal.add(&line)?;
        tell(RunEvent::Ends { package: &package, outcome: &outcome });
        self.outcomes.insert(index, outcome);
        Ok(())
    }

    /// Ends the run, or leaves it to be continued.
    fn end(mut self, conf: Digest, is_continued: bool, tell: Tell<'_>) -> Result<EndedRun, RunError> {
        let is_cut_off = self.is_ending.is_some();
        set_indirect(self.records, self.resolution, &mut self.outcomes);
        let decided: Vec<(u32, PackageOutcome)> = self
            .outcomes
            .iter()
            .filter(|(index, outcome)| {
                outcome.state.is_final()
                    && !matches!(
                        self.schedule.state(**index),
                        TaskState::Done | TaskState::Failed | TaskState::Deferred
                    )
            })
            .map(|(index, outcome)| (*index, outcome.clone()))
            .collect();
        if !is_cut_off {
            for (index, outcome) in decided {
                self.note(index, outcome, &mut *tell)?;
            }
        }
        let ended = (self.request.time)();
        let facts = RunFacts {
            run: self.run,
            work: self.request.work.path.to_string_lossy().into_owned(),
            conf,
            began: self.began.clone(),
            ended: ended.clone(),
            is_continued,
            machines: self
                .slots
                .iter()
                .map(|state| MachineReport {
                    slot: state.slot.name.clone(),
                    count: state.slot.count,
                    trouble: state.trouble,
                    left_out: None,
                })
                .collect(),
            suspects: std::mem::take(&mut self.suspects),
            not_reproducible: Vec::new(),
        };
        let report = report_of(facts, self.records, &self.outcomes, &self.entries);
        if !is_cut_off {
            let counts: StateCounts = report.counts.clone();
            self.journal.add(&JournalLine::End { end: ended, counts })?;
        }
        Ok(EndedRun {
            outcomes: self.outcomes,
            entries: self.entries,
            report,
            interrupted: self.is_ending,
            trouble: self.trouble,
        })
    }
}
