//! Tasks end, and the run with the last of them.

use patchadm_bulk::history::BuildRecord;
use patchadm_bulk::journal::{JournalLine, PackageOutcome, PackageState};
use patchadm_bulk::report::MachineReport;
use patchadm_bulk::result::Digest;
use patchadm_bulk::schedule::{Outcome, TaskState};
use patchadm_svr4::package::Mode;

use super::beginning::HISTORY;
use super::journal_file::JournalFile;
use super::master::Master;
use super::request::{RunError, RunEvent, Tell};
use super::results::{EndedRun, RunFacts, report_of, set_indirect};
use crate::pool::FoundResult;
use crate::task::order::{TaskEnd, TaskOrder};

/// How often a task is tried whose machine fails.
const MOST_TRIES: u32 = 3;

impl Master<'_> {
    /// Takes the end of a task.
    pub(super) fn take_end(&mut self, index: u32, end: TaskEnd, tell: Tell<'_>) -> Result<(), RunError> {
        let slot = self.running.remove(&index).map(|task| {
            let slot = task.slot;
            task.wait();
            slot
        });
        let state = slot.and_then(|slot| self.slots.get_mut(slot));
        let mut slot_name = String::new();
        if let Some(state) = state {
            state.running = state.running.saturating_sub(1);
            slot_name.clone_from(&state.slot.name);
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
        if outcome.state == PackageState::Failed {
            self.suspect(index, &order)?;
        }
        if let Some(file) = end.differs {
            self.not_reproducible.push(format!("{}: {file}", order.package));
        }
        self.note_build(&order, &outcome, &slot_name)?;
        self.finish(index, outcome, tell)
    }

    /// Notes which inputs of a package that failed differ from those of its last success.
    fn suspect(&mut self, index: u32, order: &TaskOrder) -> Result<(), RunError> {
        let Some(key) = self.known.successes.get(&order.package) else { return Ok(()) };
        if let FoundResult::Result(success) = self.pool.find(key)? {
            let differing = order.inputs.differences_from(&success.result.inputs);
            let names = differing.into_iter().map(|difference| difference.input).collect();
            self.suspects.insert(index, names);
        }
        Ok(())
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
    pub(super) fn trouble_with(
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
    pub(super) fn finish(
        &mut self,
        index: u32,
        outcome: PackageOutcome,
        tell: Tell<'_>,
    ) -> Result<(), RunError> {
        let is_done = outcome.state.has_result();
        self.has_failed |= outcome.state == PackageState::Failed;
        self.schedule.finished(index, if is_done { Outcome::Done } else { Outcome::Failed });
        self.note(index, outcome, tell)
    }

    pub(super) fn note(
        &mut self,
        index: u32,
        outcome: PackageOutcome,
        tell: Tell<'_>,
    ) -> Result<(), RunError> {
        let package = self.records.get(index).map(|record| record.pkgname().to_string()).unwrap_or_default();
        let line = JournalLine::Outcome { package: package.clone(), outcome: Box::new(outcome.clone()) };
        self.journal.add(&line)?;
        tell(RunEvent::Ends { package: &package, outcome: &outcome });
        self.outcomes.insert(index, outcome);
        Ok(())
    }

    /// Ends the run, or leaves it to be continued.
    pub(super) fn end(
        mut self,
        conf: Digest,
        is_continued: bool,
        tell: Tell<'_>,
    ) -> Result<(EndedRun, JournalFile), RunError> {
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
            ended,
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
            not_reproducible: std::mem::take(&mut self.not_reproducible),
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
        Ok((ended, self.journal))
    }
}
