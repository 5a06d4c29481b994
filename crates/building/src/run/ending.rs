//! The end of tasks, and of the run after the last one.

use std::time::Duration;

use patchadm_bulk_values::history::BuildRecord;
use patchadm_bulk_values::journal::{BuildState, JournalLine, PackageOutcome};
use patchadm_bulk_values::report::MachineReport;
use patchadm_bulk_values::result::{Blake3Digest, KeyInputs};
use patchadm_bulk_values::schedule::{TaskOutcome, TaskState};
use patchadm_rootfs::Dir;

use super::decision::inputs_of_success;
use super::journal::JournalFile;
use super::master::Master;
use super::slot_command::{TO_LEAVE, TO_RELEASE};
use super::{BulkRunEvent, EndedRun, ReportFacts, RunError, Tell, report_of, set_indirect};
use crate::pool::{FoundResult, find_verified, write_verified};
use crate::runs::add_build;
use crate::space::{is_full, must_have_room};
use crate::task::{TaskEnd, TaskOrder};

const MOST_TRIES: usize = 3;

impl Master<'_> {
    pub(super) fn take_end(
        &mut self,
        index: u32,
        mut end: TaskEnd,
        was_lost: bool,
        tell: Tell<'_>,
    ) -> Result<(), RunError> {
        let Some(task) = self.running.remove(&index) else { return Ok(()) };
        self.now.end(index);
        let slot = task.slot;
        let may_stay = if was_lost { Duration::ZERO } else { TO_LEAVE };
        let rest = if self.slots.is_local(slot) { Duration::ZERO } else { TO_RELEASE };
        let has_ended = end.trouble.is_none();
        let order = task.leave((may_stay, rest), has_ended, self.messages.sender.clone());
        let slot_name = self.slots.get(slot).map(|used| used.slot.name.clone()).unwrap_or_default();
        let tries = self.tries.get(&index).copied().unwrap_or_default();
        if end.failure.is_none() && end.trouble.is_none() {
            end.trouble = self.take_new_result(index, &order)?;
        }
        if let Some(reason) = end.trouble {
            if end.is_full {
                return Err(RunError::Full(reason));
            }
            return self.trouble_with((index, slot), &order.package, (&reason, end.lacks_room), tell);
        }
        self.slots.went_well(slot);
        let state = if end.failure.is_some() { BuildState::Failed } else { BuildState::Done };
        let mut outcome = PackageOutcome {
            key: Some(order.key),
            slot: Some(slot_name.clone()),
            ms: Some(end.ms),
            cpu_ms: Some(end.cpu_ms),
            peak_memory: Some(end.peak_memory),
            tries,
            differs: end.differs,
            ..PackageOutcome::of(state)
        };
        if let Some(failure) = end.failure {
            outcome.cause = Some(failure.cause);
            outcome.limit = failure.limit;
            outcome.phase = failure.phase;
            outcome.detail = Some(failure.detail);
        }
        if outcome.state == BuildState::Failed {
            self.suspect(index, &order.package, &order.inputs)?;
        }
        self.note_build(&order, &outcome, &slot_name)?;
        self.finish(index, outcome, tell)
    }

    /// Takes a new result from the pool, or returns why it is unusable.
    fn take_new_result(&mut self, index: u32, order: &TaskOrder) -> Result<Option<String>, RunError> {
        Ok(match find_verified(&self.pool, &order.key, &mut self.verified)? {
            FoundResult::Result(entry) => {
                if entry.is_unflushed {
                    self.flushing.add_result(entry.result.key);
                }
                self.entries.insert(index, entry.without_inputs());
                None
            }
            FoundResult::Nothing => Some("its result is not in the pool".to_owned()),
            FoundResult::Damaged(reason) => {
                self.pool.set_aside(&order.key)?;
                Some(reason)
            }
        })
    }

    /// Records the inputs of a failed package that differ from its last success.
    pub(super) fn suspect(&mut self, index: u32, package: &str, inputs: &KeyInputs) -> Result<(), RunError> {
        let key = self.known.success(package);
        if let Some(success) = inputs_of_success(&self.pool, key)? {
            let differing = inputs.differences_from(&success);
            let names = differing.into_iter().map(|difference| difference.input).collect();
            self.suspects.insert(index, names);
        }
        Ok(())
    }

    fn not_reproducible(&self) -> Vec<String> {
        let differing = self.outcomes.iter().filter_map(|(index, outcome)| {
            Some(format!("{}: {}", self.records.name_of(*index), outcome.differs.as_ref()?))
        });
        let mut differing: Vec<String> = differing.collect();
        differing.sort();
        differing
    }

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
        Ok(add_build(self.request.work, &build)?)
    }

    /// Retries or defers a task after a failure of the machine.
    pub(super) fn trouble_with(
        &mut self,
        (index, slot): (u32, usize),
        package: &str,
        (reason, lacks_room): (&str, bool),
        tell: Tell<'_>,
    ) -> Result<(), RunError> {
        if self.is_ending.is_some() {
            // It ended with the run, and is open as before.
            tell(BulkRunEvent::PutBack { package });
            self.schedule.finished(index, TaskOutcome::Deferred);
            return Ok(());
        }
        let name = self.slots.get(slot).map(|used| used.slot.name.clone()).unwrap_or_default();
        tell(BulkRunEvent::Note(&format!("{package}: slot {name} failed: {reason}")));
        self.trouble = Some(reason.to_owned());
        if self.slots.troubled(slot, self.began_at.elapsed(), lacks_room) {
            let note = format!("slot {name} failed three times in a row: it rests until a probe succeeds");
            tell(BulkRunEvent::Note(&note));
        }
        for directory in [&self.request.work.path, &self.request.work.conf.pool] {
            if is_full(directory) {
                let looked = Dir::of_host(directory).and_then(|dir| must_have_room(&dir, 0));
                let reason = looked.map_or_else(|error| format!(": {error}"), |()| String::new());
                let reason = format!("no space is left in {}{reason}", directory.display());
                return Err(RunError::Full(reason));
            }
        }
        let troubles = self.troubles.entry(index).or_default();
        troubles.push(slot);
        if troubles.len() < MOST_TRIES {
            tell(BulkRunEvent::PutBack { package });
            self.schedule.finished(index, TaskOutcome::Again);
            return Ok(());
        }
        self.defer(index, reason.to_owned(), tell)
    }

    pub(super) fn defer(&mut self, index: u32, reason: String, tell: Tell<'_>) -> Result<(), RunError> {
        let tries = self.tries.get(&index).copied().unwrap_or_default();
        let detail = Some(reason);
        let outcome = PackageOutcome { detail, tries, ..PackageOutcome::of(BuildState::Deferred) };
        self.schedule.finished(index, TaskOutcome::Deferred);
        self.note(index, outcome, tell)
    }

    pub(super) fn finish(
        &mut self,
        index: u32,
        outcome: PackageOutcome,
        tell: Tell<'_>,
    ) -> Result<(), RunError> {
        let is_done = outcome.state.has_result();
        self.has_failed |= outcome.state == BuildState::Failed;
        self.schedule.finished(index, if is_done { TaskOutcome::Done } else { TaskOutcome::Failed });
        self.note(index, outcome, tell)
    }

    pub(super) fn note(
        &mut self,
        index: u32,
        outcome: PackageOutcome,
        tell: Tell<'_>,
    ) -> Result<(), RunError> {
        let package = self.records.name_of(index);
        let line = JournalLine::Outcome { package: package.clone(), outcome: Box::new(outcome.clone()) };
        self.flushing.add(&line)?;
        tell(BulkRunEvent::Ends { package: &package, outcome: &outcome });
        self.outcomes.insert(index, outcome);
        Ok(())
    }

    /// Finishes the run, or leaves it to be continued.
    pub(super) fn end(
        mut self,
        conf: Blake3Digest,
        is_continued: bool,
        tell: Tell<'_>,
    ) -> Result<(EndedRun, JournalFile), RunError> {
        let is_cut_off = self.is_ending.is_some();
        write_verified(&self.request.work.dir, &self.verified)?;
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
        self.settle()?;
        let ended = (self.request.time)();
        let facts = ReportFacts {
            run: self.run,
            work: self.request.work.path.to_string_lossy().into_owned(),
            conf,
            began: self.began.clone(),
            ended,
            is_continued,
            machines: self
                .slots
                .iter()
                .map(|used| MachineReport {
                    slot: used.slot.name.clone(),
                    count: used.slot.count,
                    trouble: used.trouble(),
                    left_out: used.left_out().map(str::to_owned),
                })
                .collect(),
            suspects: std::mem::take(&mut self.suspects),
            not_reproducible: self.not_reproducible(),
        };
        let report = report_of(facts, self.records, &self.outcomes, &self.entries);
        let ended = EndedRun {
            outcomes: self.outcomes,
            entries: self.entries,
            report,
            interrupted: self.is_ending,
            trouble: self.trouble,
            are_patches_whole: true,
            patches_error: None,
            is_handed_on: true,
        };
        Ok((ended, self.flushing.into_journal()))
    }
}
