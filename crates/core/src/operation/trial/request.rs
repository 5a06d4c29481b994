//! The request for a trial, and what the runs of a session do to the trial of the root.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};

use patchadm_changeset::format::history::{LeftPaths, TrialEnd, TrialStart};
use patchadm_changeset::plan::{TreeContent, TreeFile, UndoFormat};
use patchadm_inputs::policy::Policy;
use patchadm_inputs::trial::{Moment, TrialDuration, TrialRecord};
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

/// Seconds that a trial outlasts its check: for the run before it, and the backout after it.
const MARGIN: u64 = 15 * 60;

/// Request for a trial, or for a check after a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrialRequest {
    /// Duration of the trial; `None` for that of the policy.
    pub duration: Option<TrialDuration>,
    /// Boots that the trial survives.
    pub reboots: u32,
    /// The check that follows the run.
    pub check: Option<CheckRequest>,
}

/// A command that says by its exit code whether the root works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckRequest {
    /// The command, for the shell.
    pub command: String,
    /// The seconds that it may take.
    pub limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operation) struct WantedTrial {
    pub(in crate::operation) duration: TrialDuration,
    /// The trial only guards the check that follows the run.
    pub(in crate::operation) guards_check: bool,
    /// Boots that the trial survives.
    reboots: u32,
}

impl TrialRequest {
    /// Returns the format of undo data: the requested one, plain files for a trial (which makes its backout
    /// fast), otherwise that of the policy.
    pub(in crate::operation) fn undo_format(
        &self,
        asked: Option<UndoFormat>,
        policy: &Policy,
        no_undo: bool,
    ) -> UndoFormat {
        let of_trial = self.wanted(policy, no_undo).map(|_| UndoFormat::Files);
        asked.or(of_trial).unwrap_or(policy.undo_format)
    }

    /// Returns the trial of a run. The policy does not apply to a run without undo data; an explicit request
    /// was refused before.
    pub(in crate::operation) fn wanted(&self, policy: &Policy, no_undo: bool) -> Option<WantedTrial> {
        let asked = self.duration.or(policy.trial.filter(|_| !no_undo));
        match (asked, &self.check) {
            (Some(duration), _) => Some(WantedTrial { duration, guards_check: false, reboots: self.reboots }),
            (None, Some(check)) => {
                let seconds = check.limit.saturating_add(MARGIN);
                let duration = TrialDuration::of_seconds(seconds)?;
                Some(WantedTrial { duration, guards_check: true, reboots: 0 })
            }
            (None, None) => None,
        }
    }
}

/// Effect of the runs of a session on the trial of the root.
#[derive(Debug, Default)]
pub(in crate::operation) enum TrialChange {
    #[default]
    None,
    Begin(WantedTrial, OnceLock<TrialRecord>),
    /// The run that backs out the last of the patches ends the trial.
    End(TrialEnd, Mutex<EndingTrial>),
    /// The run only records an event of it.
    Tell(TrialEnd),
}

#[derive(Debug, Default)]
pub(in crate::operation) struct EndingTrial {
    /// Patches that are not backed out yet.
    patches: BTreeSet<String>,
    /// Paths of patches that a package manager wrote since, with its name. The ones that no run restores
    /// stay.
    native: BTreeMap<ObjectPath, &'static str>,
}

impl TrialChange {
    pub(in crate::operation) fn beginning(wanted: WantedTrial) -> Self {
        Self::Begin(wanted, OnceLock::new())
    }

    /// Ends a trial with the run that backs out the last of these patches; with the next run if there are
    /// none.
    pub(in crate::operation) fn ending(record: &TrialRecord, end: &str, patches: &[String]) -> Self {
        Self::ending_beside(record, end, patches, BTreeMap::new())
    }

    /// `native` are the paths that package managers wrote since, with their names.
    pub(in crate::operation) fn ending_beside(
        record: &TrialRecord,
        end: &str,
        patches: &[String],
        native: BTreeMap<ObjectPath, &'static str>,
    ) -> Self {
        let patches = patches.iter().cloned().collect();
        Self::End(trial_end(record, end), Mutex::new(EndingTrial { patches, native }))
    }

    pub(in crate::operation) fn telling(record: &TrialRecord, end: &str) -> Self {
        Self::Tell(trial_end(record, end))
    }

    /// Returns whether a plan gets an additional record.
    pub(in crate::operation) fn concerns(&self, plan: &Plan) -> bool {
        match self {
            Self::Begin(..) => !plan.patches.is_empty(),
            Self::End(..) => true,
            Self::None | Self::Tell(_) => false,
        }
    }

    pub(in crate::operation) fn add_to(&self, plan: &mut Plan, now: &Moment) {
        match self {
            Self::Begin(wanted, record) if !plan.patches.is_empty() => {
                let record = record.get_or_init(|| {
                    let begun = TrialRecord::beginning(plan.patches.clone(), wanted.duration, now);
                    TrialRecord { guards_check: wanted.guards_check, reboots: wanted.reboots, ..begun }
                });
                plan.records.push(made(record));
            }
            Self::End(_, left) => {
                let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
                left.patches.retain(|patch| !plan.patches.contains(patch));
                left.native.retain(|path, _| !plan.changes.iter().any(|change| change.path == *path));
                if left.patches.is_empty() {
                    plan.records.push(RecordChange::RemoveTree(places::trial()));
                }
            }
            Self::Begin(..) | Self::None | Self::Tell(_) => {}
        }
    }

    /// Returns what the history records about a run: the trial that it begins, and the one that it ends.
    pub(in crate::operation) fn told(&self, plan: &Plan) -> (Option<TrialStart>, Option<TrialEnd>) {
        match self {
            Self::None => (None, None),
            Self::Begin(_, record) => {
                let begins = plan.records.iter().any(|change| *change.path() == places::trial());
                (record.get().filter(|_| begins).map(TrialRecord::start), None)
            }
            Self::End(end, left) => {
                let left = left.lock().unwrap_or_else(PoisonError::into_inner);
                let manager = left.native.values().next().filter(|_| left.patches.is_empty());
                let told = manager.map(|manager| LeftPaths {
                    paths: left.native.len() as u64,
                    manager: (*manager).to_owned(),
                });
                (None, Some(TrialEnd { left: told, ..end.clone() }))
            }
            Self::Tell(end) => (None, Some(end.clone())),
        }
    }
}

fn trial_end(record: &TrialRecord, end: &str) -> TrialEnd {
    TrialEnd { run: record.run.clone(), end: end.to_owned(), left: None }
}

fn made(record: &TrialRecord) -> RecordChange {
    let (before, after) = record.around_run();
    let place = places::trial_record();
    let content = TreeContent::AroundRun(before, after);
    let file = TreeFile { name: place.name().to_vec(), content, mode: Mode::of(0o644), mtime: None };
    RecordChange::AddTree { path: places::trial(), files: vec![file] }
}

/// There is nothing to confirm, or it is too late.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmRefusal {
    /// No run is on trial.
    #[error("no run is on trial")]
    NoTrial,
    /// The run is not on trial.
    #[error("run {0} is not on trial")]
    NotOnTrial(String),
    /// The trial has ended, and its patches were backed out.
    #[error("the trial of run {run} has ended: it was reverted ({end})")]
    Ended {
        /// The run.
        run: String,
        /// How it ended, in the word of the history.
        end: String,
    },
}
