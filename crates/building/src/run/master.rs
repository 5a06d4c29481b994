//! The run itself: scanned and resolved, then one task after another, until nothing is left that can be built.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use patchadm_bulk::conf::{LimitName, Limits, Slot, TaskPlaceholders};
use patchadm_bulk::journal::{JournalLine, PackageOutcome, PackageState, is_tried_again};
use patchadm_bulk::records::{Record, Records};
use patchadm_bulk::resolve::Resolution;
use patchadm_bulk::result::{Digest, Key, KeyInputs};
use patchadm_bulk::schedule::Schedule;

use super::fetch_queue::FetchQueue;
use super::journal_file::{JournalFile, KnownRuns};
use super::request::{RunError, RunEvent, RunRequest, Tell};
use super::slots::{RunningTask, TaskMessage};
use crate::keys::KeyMaker;
use crate::pool::{FoundResult, Pool, PoolEntry};
use crate::task::order::{TaskEnd, TaskEvent, TaskOrder};

/// The argument that makes the program the process of a task.
pub const TASK_PROCESS: &str = "__bulk-task";

/// How long is waited for a message before something else is looked at.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest time without a word of a task: its machine has failed then.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// The messages of tasks, each with the number of the package.
type TaskChannel = (Sender<(u32, TaskMessage)>, Receiver<(u32, TaskMessage)>);

/// A slot, and what it does.
pub(super) struct SlotState {
    pub(super) slot: Slot,
    pub(super) running: u32,
    pub(super) trouble: u64,
}

/// A run that is being carried out.
pub(super) struct Master<'a> {
    pub(super) request: &'a RunRequest<'a>,
    pub(super) records: &'a Records,
    pub(super) resolution: &'a Resolution,
    pub(super) schedule: Schedule<'a>,
    /// The memory that each package is expected to take, in bytes.
    pub(super) peaks: Vec<u64>,
    pub(super) keys: KeyMaker<'a>,
    pub(super) pool: Pool,
    pub(super) journal: JournalFile,
    pub(super) known: KnownRuns,
    pub(super) run: u64,
    pub(super) slots: Vec<SlotState>,
    pub(super) running: HashMap<u32, RunningTask>,
    pub(super) tries: HashMap<u32, u32>,
    pub(super) outcomes: BTreeMap<u32, PackageOutcome>,
    pub(super) entries: HashMap<u32, PoolEntry>,
    pub(super) suspects: HashMap<u32, Vec<String>>,
    pub(super) not_reproducible: Vec<String>,
    pub(super) channel: TaskChannel,
    pub(super) fetches: FetchQueue,
    /// Whether the run is to end, for the threads that fetch.
    pub(super) ends: Arc<AtomicBool>,
    pub(super) has_failed: bool,
    pub(super) is_ending: Option<i32>,
    pub(super) trouble: Option<String>,
    pub(super) began: String,
}

/// What is known of a run when it begins.
#[derive(Debug)]
pub(super) struct RunBegin {
    /// Its number.
    pub(super) run: u64,
    /// The digest of its configuration.
    pub(super) conf: Digest,
    /// When it began, RFC 3339.
    pub(super) began: String,
    /// Whether it was cut off before.
    pub(super) is_continued: bool,
    /// What is known of earlier runs.
    pub(super) known: KnownRuns,
    /// Its journal.
    pub(super) journal: JournalFile,
}

impl<'a> Master<'a> {
    /// Begins to carry a run out.
    pub(super) fn of(
        request: &'a RunRequest<'a>,
        (records, resolution): (&'a Records, &'a Resolution),
        (schedule, peaks): (Schedule<'a>, Vec<u64>),
        outcomes: BTreeMap<u32, PackageOutcome>,
        begin: RunBegin,
    ) -> Result<Self, RunError> {
        let conf = &request.work.conf;
        let slots = conf.slots_on(request.cores, request.jobs);
        Ok(Self {
            request,
            records,
            resolution,
            schedule,
            peaks,
            keys: KeyMaker::of(conf, request.driver, request.base.1),
            pool: Pool::open(&conf.pool)?,
            journal: begin.journal,
            known: begin.known,
            run: begin.run,
            slots: slots.into_iter().map(|slot| SlotState { slot, running: 0, trouble: 0 }).collect(),
            running: HashMap::new(),
            tries: HashMap::new(),
            outcomes,
            entries: HashMap::new(),
            suspects: HashMap::new(),
            not_reproducible: Vec::new(),
            channel: channel(),
            fetches: FetchQueue::default(),
            ends: Arc::new(AtomicBool::new(false)),
            has_failed: false,
            is_ending: None,
            trouble: None,
            began: begin.began,
        })
    }
}

impl Master<'_> {
    /// Starts and follows tasks until nothing is left to be done.
    pub(super) fn follow(&mut self, tell: Tell<'_>) -> Result<(), RunError> {
        loop {
            let stops = self.is_ending.is_some() || self.has_failed && self.request.stops_on_failure;
            if !stops {
                self.start_ready(tell)?;
            }
            let rests = self.running.is_empty() && (stops || self.fetches.is_empty());
            if rests && (stops || self.schedule.ready() == 0) {
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
                    self.ends.store(true, Ordering::Relaxed);
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
            let next = self.fetches.next_ready().or_else(|| self.next_with_room());
            let Some(index) = next else { return Ok(()) };
            self.begin(index, slot, tell)?;
        }
        Ok(())
    }

    /// Returns the next task for which there is memory. One alone always begins.
    fn next_with_room(&mut self) -> Option<u32> {
        let Some(budget) = self.request.work.conf.memory_budget.filter(|_| !self.running.is_empty()) else {
            return self.schedule.next_ready();
        };
        let peak = |index: u32| self.peaks.get(index as usize).copied().unwrap_or_default();
        let used: u64 = self.running.keys().map(|index| peak(*index)).sum();
        self.schedule.next_ready_if(|index| used + peak(index) <= budget)
    }

    fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(|slot| slot.running < slot.slot.count)
    }

    /// Finds out whether a package must be built, and starts its task.
    fn begin(&mut self, index: u32, slot: usize, tell: Tell<'_>) -> Result<(), RunError> {
        let Some(record) = self.records.get(index) else { return Ok(()) };
        let (limits, inputs) = match self.limits_and_inputs(index, record) {
            Ok(known) => known,
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
        if self.awaits_distfiles(index, record, key) {
            return Ok(());
        }
        let order = self.order(index, (key, inputs), limits, (slot, checks_only));
        self.start(index, slot, order, tell)
    }

    /// Returns what a task may use and what its key is made of; the reason where it can have neither.
    fn limits_and_inputs(&mut self, index: u32, record: &Record) -> Result<(Limits, KeyInputs), String> {
        let limits = self.limits(record)?;
        let install: Vec<u32> = self.resolution.to_install(index);
        let entries = install.iter().filter_map(|need| self.entries.get(need));
        let results: Vec<_> = entries.map(|entry| &entry.result).collect();
        Ok((limits, self.keys.inputs(self.records, record, &results)?))
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
        let package = order.package.clone();
        match RunningTask::start(&words, order, (index, slot), self.channel.0.clone()) {
            Ok(task) => {
                state.running += 1;
                self.running.insert(index, task);
                Ok(())
            }
            Err(error) => {
                let reason = format!(
                    "{}: {error}",
                    words.first().map(|word| word.display().to_string()).unwrap_or_default()
                );
                state.trouble += 1;
                self.trouble_with(index, &package, &reason, tell)
            }
        }
    }

    /// Takes a message of a task.
    fn hear(&mut self, index: u32, message: TaskMessage, tell: Tell<'_>) -> Result<(), RunError> {
        if let TaskMessage::Fetched(key, fetched) = message {
            return self.fetched((index, key), fetched, tell);
        }
        let Some(task) = self.running.get_mut(&index) else { return Ok(()) };
        task.heard = Instant::now();
        match message {
            TaskMessage::Event(TaskEvent::End(end)) => self.take_end(index, end, tell),
            TaskMessage::Fetched(..) | TaskMessage::Event(_) => Ok(()),
            TaskMessage::Gone(said) => {
                let reason = if said.is_empty() { "its process is gone".to_owned() } else { said };
                self.take_end(index, TaskEnd::trouble(reason), tell)
            }
        }
    }
}
