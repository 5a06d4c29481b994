//! The run itself: scanned and resolved, then one task after another, until nothing is left that can be built.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use patchadm_bulk::conf::{LimitName, Slot, TaskPlaceholders};
use patchadm_bulk::journal::{JournalLine, PackageOutcome, PackageState};
use patchadm_bulk::records::Records;
use patchadm_bulk::resolve::Resolution;
use patchadm_bulk::result::Digest;
use patchadm_bulk::schedule::{Outcome, Schedule, simulate};
use patchadm_rootfs::Dir;

use super::beginning::ExpectedCosts;
use super::decision::{Decision, DecisionInput, decide};
use super::fetch_queue::FetchQueue;
use super::journal_file::{JournalFile, KnownRuns};
use super::now_file::{NowFile, RunningPackage, remove_now};
use super::request::{RunError, RunEvent, RunRequest, Tell};
use super::slots::{RunningTask, TaskMessage};
use crate::keys::KeyMaker;
use crate::pool::{Pool, PoolEntry};
use crate::runs::run_directory;
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
    /// What the builds of packages are expected to take.
    pub(super) costs: ExpectedCosts,
    pub(super) keys: KeyMaker<'a>,
    pub(super) pool: Pool,
    pub(super) journal: JournalFile,
    pub(super) known: KnownRuns,
    pub(super) run: u64,
    pub(super) slots: Vec<SlotState>,
    pub(super) running: HashMap<u32, RunningTask>,
    /// What was ordered of running tasks, and when they began.
    pub(super) orders: HashMap<u32, TaskOrder>,
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
    /// The directory of the run.
    pub(super) dir: Dir,
    pub(super) now: NowFile,
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
        (schedule, costs): (Schedule<'a>, ExpectedCosts),
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
            costs,
            keys: KeyMaker::of(conf, request.driver, request.base.1),
            pool: Pool::open(&conf.pool)?,
            journal: begin.journal,
            known: begin.known,
            run: begin.run,
            slots: slots.into_iter().map(|slot| SlotState { slot, running: 0, trouble: 0 }).collect(),
            running: HashMap::new(),
            orders: HashMap::new(),
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
            dir: run_directory(request.work, begin.run)?,
            now: NowFile::new(),
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
                return Ok(remove_now(&self.dir)?);
            }
            self.write_now();
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

    /// Tells readers what is being built, and now and then how long the rest is expected to take.
    fn write_now(&mut self) {
        if self.now.wants_estimate() {
            let left = self.costs.is_time.then(|| self.left_ms());
            self.now.estimate((self.request.time)(), left);
        }
        self.now.write(&self.dir);
    }

    /// Returns how long the rest is expected to take, in milliseconds.
    fn left_ms(&self) -> u64 {
        let (mut schedule, mut work) = (self.schedule.clone(), self.costs.work.clone());
        for (index, task) in &self.running {
            schedule.finished(*index, Outcome::Again);
            if let Some(own) = work.get_mut(*index as usize) {
                let took = u64::try_from(task.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                *own = own.saturating_sub(took);
            }
        }
        let slots: u32 = self.slots.iter().map(|slot| slot.slot.count).sum();
        simulate(&schedule, &work, slots as usize).makespan
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
        let peak = |index: u32| self.costs.peaks.get(index as usize).copied().unwrap_or_default();
        let used: u64 = self.running.keys().map(|index| peak(*index)).sum();
        self.schedule.next_ready_if(|index| used + peak(index) <= budget)
    }

    fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(|slot| slot.running < slot.slot.count)
    }

    /// Finds out whether a package must be built, and starts its task.
    fn begin(&mut self, index: u32, slot: usize, tell: Tell<'_>) -> Result<(), RunError> {
        let Some(record) = self.records.get(index) else { return Ok(()) };
        let input = DecisionInput {
            conf: &self.request.work.conf,
            records: self.records,
            resolution: self.resolution,
            pool: &self.pool,
            known: &self.known,
            rebuild: self.request.rebuild,
            retries: self.request.retries,
        };
        let task = match decide(&input, &mut self.keys, index, &self.entries)? {
            Decision::Task(task) => task,
            Decision::Result(entry) => return self.take_result(index, *entry, tell),
            Decision::Remembered { run, outcome, .. } => {
                let run = (run != self.run).then_some(run);
                return self.finish(index, PackageOutcome { run, ..*outcome }, tell);
            }
            Decision::Unbuildable(detail) => {
                let outcome =
                    PackageOutcome { detail: Some(detail), ..PackageOutcome::of(PackageState::Prefailed) };
                return self.finish(index, outcome, tell);
            }
        };
        if let Some(reason) = &task.damage {
            tell(RunEvent::Note(&format!("{reason}: it is set aside and built again")));
            self.pool.set_aside(&task.key)?;
        }
        if self.awaits_distfiles(index, record, task.key) {
            return Ok(());
        }
        let checks_only = task.unchecked.is_some();
        let order = self.order(index, (task.key, task.inputs), task.limits, (slot, checks_only));
        self.start(index, slot, order, tell)
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
        let now = RunningPackage {
            package: order.package.clone(),
            slot: name.clone(),
            since: Some((self.request.time)()),
            ..RunningPackage::default()
        };
        self.journal.add(&JournalLine::Running { package: order.package.clone(), slot: name.clone() })?;
        tell(RunEvent::Starts { package: &order.package, slot: &name });
        match RunningTask::start(&words, &order, (index, slot), self.channel.0.clone()) {
            Ok(task) => {
                state.running += 1;
                self.now.begin(index, now);
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
        if let TaskMessage::Fetched(fetched) = message {
            return self.fetched(index, fetched, tell);
        }
        let Some(task) = self.running.get_mut(&index) else { return Ok(()) };
        task.heard = Instant::now();
        match message {
            TaskMessage::Event(TaskEvent::End(end)) => self.take_end(index, end, tell),
            TaskMessage::Event(TaskEvent::Started { host, .. }) => {
                self.now.note(index, |package| package.host = Some(host));
                Ok(())
            }
            TaskMessage::Event(TaskEvent::Alive { memory, .. }) => {
                self.now.note(index, |package| package.memory = memory);
                Ok(())
            }
            TaskMessage::Event(TaskEvent::Phase(phase)) => {
                self.now.note(index, |package| package.phase = Some(phase.clone()));
                if let Some(order) = self.orders.get(&index) {
                    tell(RunEvent::Phase { package: &order.package, phase: &phase });
                }
                Ok(())
            }
            TaskMessage::Fetched(_) => Ok(()),
            TaskMessage::Gone(said) => {
                let reason = if said.is_empty() { "its process is gone".to_owned() } else { said };
                self.take_end(index, TaskEnd::trouble(reason), tell)
            }
        }
    }
}
