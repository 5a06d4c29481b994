//! The main loop of a run: starts and follows tasks until nothing is left to build.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use patchadm_bulk_values::conf::{LimitName, Limits, TaskPlaceholders};
use patchadm_bulk_values::journal::{BuildState, FailureCause, JournalLine, PackageOutcome, TreeFault};
use patchadm_bulk_values::probe::SlotMisfit;
use patchadm_bulk_values::records::{RecipeRecord, Records};
use patchadm_bulk_values::resolve::DependencyResolution;
use patchadm_bulk_values::result::{KeyInputs, ResultKey, VerifiedFiles};
use patchadm_bulk_values::schedule::{Schedule, TaskOutcome, simulate};
use patchadm_bulk_values::slots::SlotTable;
use patchadm_rootfs::Dir;

use super::decision::{BuildDecision, BuildDecisionInput, OrderInput, decide, limits_of, task_order};
use super::driver_fetch::DriverFetch;
use super::fetch_queue::{FetchQueue, PackageFetch};
use super::journal::{Flushing, JournalFile, KnownRuns};
use super::probing::{SlotProbe, command_of};
use super::slot_command::{RunMessage, RunMessages, RunningTask, TO_LEAVE, TaskMessage};
use super::status::{NowFile, RunningPackage, remove_now};
use super::{BulkRunEvent, RunError, RunRequest, Tell};
use crate::keys::KeyMaker;
use crate::pool::{Pool, PoolEntry, find_verified, read_verified};
use crate::runs::{ExpectedCosts, run_directory};
use crate::sources::{ExpectedDistfile, FetchFailure, Sources, must_be_within, provide};
use crate::task::{LARGEST_ORDER, TaskEnd, TaskEvent, TaskOrder};

/// Makes the program the process of a task.
pub const TASK_PROCESS: &str = "__bulk-task";

const PAUSE: Duration = Duration::from_millis(100);

/// Time for a task beside its build: two installations and a removal have half an hour each.
pub const LONGEST_OVERTIME: Duration = Duration::from_secs(2 * 60 * 60);

/// Time for an installation after the first signal.
const LONGEST_INSTALLATION: Duration = Duration::from_secs(5);

/// Time for tasks to end after the second signal.
const LONGEST_END: Duration = Duration::from_secs(5);

pub(super) struct Master<'a> {
    pub(super) request: &'a RunRequest<'a>,
    pub(super) records: &'a Records,
    pub(super) resolution: &'a DependencyResolution,
    pub(super) schedule: Schedule<'a>,
    pub(super) costs: ExpectedCosts,
    pub(super) keys: KeyMaker<'a>,
    pub(super) pool: Pool,
    pub(super) verified: VerifiedFiles,
    pub(super) flushing: Flushing,
    pub(super) known: KnownRuns,
    pub(super) run: u64,
    pub(super) slots: SlotTable,
    pub(super) running: HashMap<u32, RunningTask>,
    starts: u64,
    pub(super) probing: usize,
    pub(super) tries: HashMap<u32, u32>,
    pub(super) troubles: HashMap<u32, Vec<usize>>,
    pub(super) outcomes: BTreeMap<u32, PackageOutcome>,
    pub(super) entries: HashMap<u32, PoolEntry>,
    pub(super) suspects: HashMap<u32, Vec<String>>,
    pub(super) messages: RunMessages,
    pub(super) fetches: FetchQueue,
    /// Tells threads that fetch to end.
    pub(super) ends: Arc<AtomicBool>,
    pub(super) has_failed: bool,
    pub(super) is_ending: Option<i32>,
    ending_since: Option<Instant>,
    ended_at: Option<Instant>,
    pub(super) trouble: Option<String>,
    pub(super) began: String,
    pub(super) began_at: Instant,
    pub(super) dir: Dir,
    pub(super) now: NowFile,
}

#[derive(Debug)]
pub(super) struct RunBegin {
    pub(super) run: u64,
    pub(super) began: String,
    pub(super) known: KnownRuns,
    pub(super) journal: JournalFile,
}

impl<'a> Master<'a> {
    pub(super) fn of(
        request: &'a RunRequest<'a>,
        (records, resolution): (&'a Records, &'a DependencyResolution),
        (schedule, costs): (Schedule<'a>, ExpectedCosts),
        slots: SlotTable,
        outcomes: BTreeMap<u32, PackageOutcome>,
        begin: RunBegin,
    ) -> Result<Self, RunError> {
        let conf = &request.work.conf;
        Ok(Self {
            request,
            records,
            resolution,
            schedule,
            costs,
            keys: KeyMaker::of(conf, request.driver, request.base.1),
            pool: Pool::open(&conf.pool)?,
            verified: read_verified(&request.work.dir)?,
            flushing: Flushing::of(begin.journal),
            known: begin.known,
            run: begin.run,
            slots,
            running: HashMap::new(),
            starts: 0,
            probing: 0,
            tries: HashMap::new(),
            troubles: HashMap::new(),
            outcomes,
            entries: HashMap::new(),
            suspects: HashMap::new(),
            messages: RunMessages::new(),
            fetches: FetchQueue::default(),
            ends: Arc::new(AtomicBool::new(false)),
            has_failed: false,
            is_ending: None,
            ending_since: None,
            ended_at: None,
            trouble: None,
            began: begin.began,
            began_at: Instant::now(),
            dir: run_directory(request.work, begin.run)?,
            now: NowFile::new(),
        })
    }
}

impl Master<'_> {
    /// Runs tasks until nothing is left and all slot commands have ended.
    pub(super) fn follow(&mut self, tell: Tell<'_>) -> Result<(), RunError> {
        loop {
            let stops = self.is_ending.is_some() || self.has_failed && self.request.stops_on_failure;
            if !stops {
                self.fetches.make_way(Instant::now());
                self.probe_rested()?;
                self.start_ready(tell)?;
                self.give_up_hopeless(tell)?;
            }
            let rests = self.running.is_empty() && (stops || self.fetches.is_empty());
            let is_over = rests && (stops || self.schedule.ready() == 0);
            if is_over {
                self.ends.store(true, Ordering::Relaxed);
                if self.probing == 0 && !self.slots.is_running() {
                    self.settle()?;
                    return Ok(remove_now(&self.dir)?);
                }
            }
            self.write_now();
            self.flushing.begin_if_due(&self.pool)?;
            match self.messages.receiver.recv_timeout(PAUSE) {
                Ok(message) => self.hear(message, tell)?,
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            self.look_at_signals();
            self.take_leave_of_silent(tell)?;
        }
    }

    pub(super) fn settle(&mut self) -> Result<(), RunError> {
        self.flushing.settle(&self.pool)
    }

    /// Ends everything that runs, ignoring its messages.
    pub(super) fn abandon(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        self.running.values_mut().for_each(RunningTask::end);
        for (_, task) in self.running.drain() {
            let _ = task.leave((TO_LEAVE, Duration::ZERO), false, self.messages.sender.clone());
        }
        let until = Instant::now() + 2 * LONGEST_END;
        while (self.probing > 0 || self.slots.is_running()) && Instant::now() < until {
            match self.messages.receiver.recv_timeout(PAUSE) {
                Ok(RunMessage::Left(slot)) => self.slots.left(slot),
                Ok(RunMessage::Probed(..)) => self.probing = self.probing.saturating_sub(1),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// After the first signal nothing starts and installations end soon: no build loses work. The second ends all
    /// tasks.
    fn look_at_signals(&mut self) {
        if self.is_ending.is_none() {
            self.is_ending = (self.request.interrupt)();
            self.ending_since = self.is_ending.map(|_| Instant::now());
        }
        if self.is_ending.is_some() {
            if self.ending_since.is_some_and(|since| since.elapsed() > LONGEST_INSTALLATION) {
                self.running.values_mut().filter(|task| task.installs).for_each(RunningTask::end);
            }
            self.ends.store(true, Ordering::Relaxed);
            if self.ended_at.is_none() && (self.request.is_urgent)() {
                self.ended_at = Some(Instant::now());
                self.running.values_mut().for_each(RunningTask::end);
            }
        }
    }

    /// Ends tasks that are silent, do not end when they should, or far exceed their time limit.
    fn take_leave_of_silent(&mut self, tell: Tell<'_>) -> Result<(), RunError> {
        let is_late = self.ended_at.is_some_and(|at| at.elapsed() > LONGEST_END);
        let silence_of = |task: &RunningTask| {
            let limit = self.slots.get(task.slot).and_then(|used| used.slot.longest_silence());
            let silence = task.heard.elapsed();
            (is_late || limit.is_some_and(|limit| silence > limit)).then_some(silence)
        };
        let silent = self.running.iter().filter_map(|(index, task)| Some((*index, silence_of(task)?)));
        for (index, silence) in silent.collect::<Vec<_>>() {
            let reason = format!("it did not respond for {} s", silence.as_secs());
            self.take_end(index, TaskEnd::trouble(reason), true, tell)?;
        }
        let overtime = self.request.overtime;
        let late = self.running.iter().filter(|(_, task)| task.is_late(overtime));
        for index in late.map(|(index, _)| *index).collect::<Vec<_>>() {
            let reason = format!("it ran for {} s beyond its time limit", overtime.as_secs());
            self.take_end(index, TaskEnd::trouble(reason), true, tell)?;
        }
        Ok(())
    }

    /// Publishes running tasks and, from time to time, an estimate of the remaining time.
    fn write_now(&mut self) {
        if self.now.wants_estimate() {
            let left = self.costs.is_time.then(|| self.left_ms());
            self.now.estimate((self.request.time)(), left);
        }
        self.now.write(&self.dir);
    }

    fn left_ms(&self) -> u64 {
        let (mut schedule, mut work) = (self.schedule.clone(), self.costs.work.clone());
        for (index, task) in &self.running {
            schedule.finished(*index, TaskOutcome::Again);
            if let Some(own) = work.get_mut(*index as usize) {
                let took = u64::try_from(task.began.elapsed().as_millis()).unwrap_or(u64::MAX);
                *own = own.saturating_sub(took);
            }
        }
        let slots: u32 = self.slots.iter().map(|slot| slot.slot.count).sum();
        simulate(&schedule, &work, slots as usize).makespan
    }

    fn start_ready(&mut self, tell: Tell<'_>) -> Result<(), RunError> {
        while let Some((index, slot)) = self.next_with_room() {
            self.begin(index, slot, tell)?;
        }
        Ok(())
    }

    /// Returns the next task with its slot. Local tasks need free memory, but a single task always starts.
    fn next_with_room(&mut self) -> Option<(u32, usize)> {
        let peak = |index: u32| self.costs.peaks.get(index as usize).copied().unwrap_or_default();
        let here = || {
            self.running.iter().filter(|(_, task)| self.slots.is_local(task.slot)).map(|(index, _)| *index)
        };
        for slot in self.slots.with_room() {
            let is_limited = self.slots.is_local(slot) && here().next().is_some();
            let budget = self.request.work.conf.memory_budget.filter(|_| is_limited);
            let used: u64 = here().map(peak).sum();
            // Two tasks that failed here may have disturbed each other, so they do not run side by side.
            let was_troubled = |index: &u32| self.troubles.get(index).is_some_and(|on| on.contains(&slot));
            let mut others = self.running.iter().filter(|(_, task)| task.slot == slot);
            let is_troubled_one_running = others.any(|(index, _)| was_troubled(index));
            let may_take = |index: u32| {
                let troubles = self.troubles.get(&index).map(Vec::as_slice).unwrap_or_default();
                self.slots.may_take(slot, troubles)
                    && !(is_troubled_one_running && was_troubled(&index))
                    && budget.is_none_or(|budget| used + peak(index) <= budget)
            };
            let next = self.fetches.next_ready_if(may_take).or_else(|| self.schedule.next_ready_if(may_take));
            if let Some(index) = next {
                return Some((index, slot));
            }
        }
        None
    }

    fn begin(&mut self, index: u32, slot: usize, tell: Tell<'_>) -> Result<(), RunError> {
        let Some(record) = self.records.get(index) else { return Ok(()) };
        let input = BuildDecisionInput {
            conf: &self.request.work.conf,
            records: self.records,
            resolution: self.resolution,
            pool: &self.pool,
            known: &self.known,
            rebuild: if self.was_built_before(index) { &[] } else { self.request.rebuild },
            retries: self.request.retries,
        };
        let (pool, verified) = (&self.pool, &mut self.verified);
        let mut find = |key: &ResultKey| find_verified(pool, key, verified);
        let task = match decide(&input, &mut self.keys, index, &self.entries, &mut find)? {
            BuildDecision::Task(task) => task,
            BuildDecision::Result(entry) => return self.take_result(index, *entry, tell),
            BuildDecision::Remembered { run, outcome, inputs } => {
                if run == self.run {
                    self.suspect(index, record.pkgname().as_str(), &inputs)?;
                }
                let run = (run != self.run).then_some(run);
                return self.finish(index, PackageOutcome { run, ..*outcome }, tell);
            }
            BuildDecision::Unbuildable(fault, detail) => {
                return self.finish(index, unbuildable(fault, detail), tell);
            }
        };
        if let Some(reason) = &task.damage {
            let how = if self.pool.set_aside(&task.key)? {
                "it is set aside and built again"
            } else {
                "it had not reached the disk, and is built again"
            };
            tell(BulkRunEvent::Note(&format!("{reason}: {how}")));
        }
        if self.awaits_distfiles(index, record, task.key) {
            return Ok(());
        }
        let checks_only = task.unchecked.is_some();
        let order = self.order(index, (task.key, task.inputs), task.limits, (slot, checks_only));
        let line = order.to_line();
        if line.len() > LARGEST_ORDER {
            let bytes = line.len();
            let detail = format!(
                "the order for its task would have {bytes} bytes, more than {LARGEST_ORDER}: its record is too large"
            );
            return self.finish(index, unbuildable(TreeFault::Scan, detail), tell);
        }
        self.start((index, slot), order, line, tell)
    }

    fn order(
        &self,
        index: u32,
        decided: (ResultKey, KeyInputs),
        limits: Limits,
        (slot, checks_only): (usize, bool),
    ) -> TaskOrder {
        let input = OrderInput {
            work: self.request.work,
            base: self.request.base.1,
            records: self.records,
            resolution: self.resolution,
            results: &self.entries,
            run: self.run,
            slot: self.slots.get(slot).map(|used| used.slot.name.as_str()).unwrap_or_default(),
            jobs: self.jobs(slot),
            time: (self.request.time)(),
            began: &self.began,
            previous: self.known.success(&self.records.name_of(index)).copied(),
            is_local: self.slots.is_local(slot),
        };
        task_order(&input, index, decided, limits, checks_only)
    }

    fn jobs(&self, slot: usize) -> u32 {
        let Some(state) = self.slots.get(slot) else { return 1 };
        let count = state.slot.count.max(1);
        if !state.slot.is_local() {
            return (state.slot.cores.unwrap_or(count) / count).max(1);
        }
        let cores = self.request.work.conf.cores.unwrap_or(self.request.cores);
        let running = self.running.values().filter(|task| self.slots.is_local(task.slot)).count();
        let tasks = u32::try_from(running + self.schedule.ready() + 1).unwrap_or(u32::MAX);
        (cores / count.min(tasks).max(1)).max(1)
    }

    /// Returns the outcome if this run built the package before its interruption.
    fn built_before(&self, index: u32) -> Option<&PackageOutcome> {
        let (state, _) = self.known.unfinished().filter(|(state, _)| state.run == self.run)?;
        let outcome = state.packages.get(self.records.get(index)?.pkgname().as_str())?;
        Some(outcome).filter(|outcome| outcome.state == BuildState::Done)
    }

    fn was_built_before(&self, index: u32) -> bool {
        self.built_before(index).is_some()
    }

    fn take_result(&mut self, index: u32, entry: PoolEntry, tell: Tell<'_>) -> Result<(), RunError> {
        if entry.is_unflushed {
            self.flushing.add_result(entry.result.key);
        }
        let before = self.built_before(index).filter(|before| before.key == Some(entry.result.key));
        if let Some(outcome) = before.cloned() {
            self.entries.insert(index, entry.without_inputs());
            return self.finish(index, outcome, tell);
        }
        let is_own = entry.result.work == self.request.work.id && entry.result.run == self.run;
        let state = if is_own { BuildState::Done } else { BuildState::UpToDate };
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
        self.entries.insert(index, entry.without_inputs());
        self.finish(index, outcome, tell)
    }

    fn start(
        &mut self,
        (index, slot): (u32, usize),
        order: TaskOrder,
        line: Vec<u8>,
        tell: Tell<'_>,
    ) -> Result<(), RunError> {
        let Some(used) = self.slots.get(slot) else { return Ok(()) };
        self.starts += 1;
        let job = format!("{}.{}.{}.{}", order.package, self.run, self.starts, self.request.work.id);
        let placeholders = TaskPlaceholders {
            cpus: order.jobs,
            memory: order.limits.get(LimitName::Memory),
            time: order.limits.get(LimitName::Time),
            package: &order.package,
            job: &job,
        };
        let cancel = used.slot.cancel_for(&placeholders);
        let words = command_of(self.request, &used.slot, &placeholders, TASK_PROCESS);
        *self.tries.entry(index).or_default() += 1;
        let (package, name) = (order.package.clone(), used.slot.name.clone());
        let now = RunningPackage {
            package: package.clone(),
            slot: name.clone(),
            since: Some((self.request.time)()),
            ..RunningPackage::default()
        };
        self.flushing.add(&JournalLine::Running { package: package.clone(), slot: name.clone() })?;
        tell(BulkRunEvent::Starts { package: &package, slot: &name });
        let sender = self.messages.sender.clone();
        match RunningTask::start((&words, cancel), (order, line), (index, slot, self.starts), sender) {
            Ok(task) => {
                self.slots.started(slot);
                self.now.begin(index, now);
                self.running.insert(index, task);
                Ok(())
            }
            Err(error) => {
                let program = words.first().map(|word| word.display().to_string()).unwrap_or_default();
                let reason = format!("`{program}` cannot be started: {error}");
                self.trouble_with((index, slot), &package, (&reason, false), tell)
            }
        }
    }

    fn hear(&mut self, message: RunMessage, tell: Tell<'_>) -> Result<(), RunError> {
        match message {
            RunMessage::Task { package, start, message } => self.hear_task(package, start, message, tell),
            RunMessage::Left(slot) => {
                self.slots.left(slot);
                Ok(())
            }
            RunMessage::Probed(slot, found) => {
                self.probed(slot, found, tell);
                Ok(())
            }
            RunMessage::Fetched { package, fetched } => self.fetched(package, fetched, tell),
        }
    }

    /// Handles a task's message. Ignores those of an earlier start of the same package.
    fn hear_task(
        &mut self,
        index: u32,
        start: u64,
        message: TaskMessage,
        tell: Tell<'_>,
    ) -> Result<(), RunError> {
        let Some(task) = self.running.get_mut(&index).filter(|task| task.start == start) else {
            return Ok(());
        };
        task.heard = Instant::now();
        match message {
            TaskMessage::Event(TaskEvent::End(end)) => self.take_end(index, end, false, tell),
            TaskMessage::Event(TaskEvent::Started { host, .. }) => {
                self.now.note(index, |package| package.host = Some(host));
                Ok(())
            }
            TaskMessage::Event(TaskEvent::Alive { memory, .. }) => {
                self.now.note(index, |package| package.memory = memory);
                Ok(())
            }
            TaskMessage::Event(TaskEvent::Installs(is_begin)) => {
                task.installs = is_begin;
                Ok(())
            }
            TaskMessage::Event(TaskEvent::Phase(phase)) => {
                tell(BulkRunEvent::Phase { package: &task.order.package, phase: &phase });
                self.now.note(index, |package| package.phase = Some(phase));
                Ok(())
            }
            TaskMessage::Gone(said) => {
                let exit = task.exit().map(|exit| format!(" ({exit})")).unwrap_or_default();
                let said = if said.is_empty() { said } else { format!(": {said}") };
                let reason = format!("its process is gone{exit}{said}");
                self.take_end(index, TaskEnd::trouble(reason), false, tell)
            }
        }
    }

    fn probe_rested(&mut self) -> Result<(), RunError> {
        for slot in self.slots.take_due_probes(self.began_at.elapsed()) {
            let Some(used) = self.slots.get(slot) else { continue };
            let probe = SlotProbe::of(self.request, &used.slot)?;
            let (sender, ends) = (self.messages.sender.clone(), self.ends.clone());
            self.probing += 1;
            std::thread::spawn(move || {
                let found = probe.look(&|| ends.load(Ordering::Relaxed));
                // Without a listener, the run is over.
                let _ = sender.send(RunMessage::Probed(slot, found.map(drop)));
            });
        }
        Ok(())
    }

    /// Defers all remaining packages if no slot has worked for too long.
    fn give_up_hopeless(&mut self, tell: Tell<'_>) -> Result<(), RunError> {
        if !self.running.is_empty() || !self.slots.is_hopeless(self.began_at.elapsed()) {
            return Ok(());
        }
        while let Some(index) = self.fetches.next_ready_if(|_| true).or_else(|| self.schedule.next_ready()) {
            let reason = self.trouble.clone().unwrap_or_else(|| "no slot works".to_owned());
            self.defer(index, reason, tell)?;
        }
        Ok(())
    }

    fn probed(&mut self, slot: usize, found: Result<(), SlotMisfit>, tell: Tell<'_>) {
        self.probing = self.probing.saturating_sub(1);
        self.slots.probed(slot, found.is_ok(), self.began_at.elapsed());
        let name = self.slots.get(slot).map(|used| used.slot.name.as_str()).unwrap_or_default();
        match found {
            Ok(()) => tell(BulkRunEvent::Note(&format!("slot {name} works again"))),
            // It was asked to end.
            Err(_) if self.ends.load(Ordering::Relaxed) => {}
            Err(misfit) => tell(BulkRunEvent::Note(&format!("slot {name} rests on: {misfit}"))),
        }
    }

    /// Queues a package until its distfiles are available. Returns false if nothing has to be fetched.
    fn awaits_distfiles(&mut self, index: u32, record: &RecipeRecord, key: ResultKey) -> bool {
        if record.distfiles().is_empty() || self.fetches.is_done(index) {
            return false;
        }
        self.fetches.add(PackageFetch { package: index, key, location: record.location().clone() });
        self.start_fetches();
        true
    }

    fn start_fetches(&mut self) {
        while let Some((fetch, gives_way)) = self.fetches.begin_next(Instant::now()) {
            let Some(record) = self.records.get(fetch.package) else {
                self.fetches.end(fetch.package, false, Instant::now());
                continue;
            };
            let wanted = ExpectedDistfile::of(record);
            let by_driver = DriverFetch::of(self.request, record);
            let conf = &self.request.work.conf;
            let limits = limits_of(conf, record).ok();
            let limit = |name| limits.as_ref().and_then(|limits| limits.get(name));
            let most = limit(LimitName::Disk);
            let directory = conf.distfiles.clone();
            let sources = Sources {
                package_time: limit(LimitName::Time).map(Duration::from_secs),
                ..self.request.sources.clone()
            };
            let (sender, ended) = (self.messages.sender.clone(), self.ends.clone());
            std::thread::spawn(move || {
                let is_over = || ended.load(Ordering::Relaxed) || gives_way.load(Ordering::Relaxed);
                let interrupt = || is_over().then_some(2);
                let fetched = must_be_within(&wanted, most).map_err(FetchFailure::Package).and_then(|()| {
                    let missing = provide(&directory, &wanted, &sources, &interrupt)?;
                    match (missing.first(), by_driver) {
                        (None, _) => Ok(()),
                        (Some(first), None) => Err(FetchFailure::Package(first.to_string())),
                        (Some(_), Some(driver)) => driver.fetch(&missing, &directory, &interrupt),
                    }
                });
                // Without a listener, the run is over.
                let _ = sender.send(RunMessage::Fetched { package: fetch.package, fetched });
            });
        }
    }

    fn fetched(
        &mut self,
        index: u32,
        fetched: Result<(), FetchFailure>,
        tell: Tell<'_>,
    ) -> Result<(), RunError> {
        let ended = self.fetches.end(index, fetched.is_err(), Instant::now());
        if self.is_ending.is_some() {
            // The package is open again whatever happened.
            self.schedule.finished(index, TaskOutcome::Deferred);
            return Ok(());
        }
        self.start_fetches();
        let Some(PackageFetch { key, .. }) = ended else { return Ok(()) };
        match fetched {
            Ok(()) => {
                self.fetches.add_ready(index);
                Ok(())
            }
            // Others may need less space, and the next run tries it again.
            Err(FetchFailure::Machine(reason)) => self.defer(index, reason, tell),
            Err(FetchFailure::Package(detail)) => {
                let outcome = PackageOutcome {
                    key: Some(key),
                    cause: Some(FailureCause::Distfile),
                    detail: Some(detail),
                    ..PackageOutcome::of(BuildState::Failed)
                };
                self.finish(index, outcome, tell)
            }
        }
    }
}

fn unbuildable(fault: TreeFault, detail: String) -> PackageOutcome {
    let (detail, fault) = (Some(detail), Some(fault));
    PackageOutcome { detail, fault, ..PackageOutcome::of(BuildState::Prefailed) }
}
