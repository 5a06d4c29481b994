use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, OnceLock, PoisonError};

use patchadm_changeset::format::history::{LeftPaths, TrialEnd, TrialStart};
use patchadm_changeset::plan::{TreeContent, TreeFile, UndoFormat};
use patchadm_inputs::policy::Policy;
use patchadm_inputs::trial::{Moment, TrialDuration, TrialRecord};
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

/// Seconds beyond the check: for the run before it, and the backout after it.
const MARGIN: u64 = 15 * 60;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrialRequest {
    /// `None` for the policy's.
    pub duration: Option<TrialDuration>,
    /// Boots that the trial survives.
    pub reboots: u32,
    pub check: Option<TrialCheckRequest>,
}

/// Its exit code tells whether the root works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialCheckRequest {
    /// For the shell.
    pub command: String,
    /// Seconds.
    pub limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operation) struct WantedTrial {
    pub(in crate::operation) duration: TrialDuration,
    /// The trial only guards the check.
    pub(in crate::operation) guards_check: bool,
    /// Boots that the trial survives.
    reboots: u32,
}

impl TrialRequest {
    /// The requested format, or plain files for a trial (fast backout), or the policy's.
    pub(in crate::operation) fn undo_format(
        &self,
        asked: Option<UndoFormat>,
        policy: &Policy,
        no_undo: bool,
    ) -> UndoFormat {
        let of_trial = self.wanted(policy, no_undo).map(|_| UndoFormat::Files);
        asked.or(of_trial).unwrap_or(policy.undo_format)
    }

    /// The policy does not apply without undo data; an explicit request was refused before.
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

#[derive(Debug, Default)]
pub(in crate::operation) enum TrialChange {
    #[default]
    None,
    Begin(WantedTrial, OnceLock<TrialRecord>),
    /// The run that backs out the last patch ends the trial.
    End(TrialEnd, Mutex<EndingTrial>),
    /// Only records an event.
    Tell(TrialEnd),
}

#[derive(Debug, Default)]
pub(in crate::operation) struct EndingTrial {
    /// Not backed out yet.
    patches: BTreeSet<String>,
    /// Paths written by a package manager since, with its name. Unrestored ones stay.
    native: BTreeMap<ObjectPath, &'static str>,
}

impl TrialChange {
    pub(in crate::operation) fn beginning(wanted: WantedTrial) -> Self {
        Self::Begin(wanted, OnceLock::new())
    }

    /// Ends a trial with the run that backs out the last patch, or with the next run if there is none.
    pub(in crate::operation) fn ending(record: &TrialRecord, end: &str, patches: &[String]) -> Self {
        Self::ending_beside(record, end, patches, BTreeMap::new())
    }

    /// `native` are paths written by package managers since, with their names.
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
                let changed: HashSet<&ObjectPath> = plan.changes.iter().map(|change| &change.path).collect();
                left.native.retain(|path, _| !changed.contains(path));
                if left.patches.is_empty() {
                    plan.records.push(RecordChange::RemoveTree(places::trial()));
                }
            }
            Self::Begin(..) | Self::None | Self::Tell(_) => {}
        }
    }

    /// For the history: the trial that a run begins, and the one that it ends.
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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmRefusal {
    #[error("no run is on trial")]
    NoTrial,
    #[error("run {0} is not on trial")]
    NotOnTrial(String),
    #[error("the trial of run {run} has ended: it was reverted ({end})")]
    Ended { run: String, end: String },
    /// By the command that should have confirmed it.
    #[error("the trial of run {0} was over: it was reverted just now, and cannot be confirmed")]
    EndedNow(String),
}
