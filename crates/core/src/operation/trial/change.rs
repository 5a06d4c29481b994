//! What the runs of a session do to the trial of the root: begin one, end one, or tell of one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::request::WantedTrial;
use patchadm_changeset::format::history::{LeftPaths, TrialEnd, TrialStart};
use patchadm_changeset::plan::{TreeContent, TreeFile};
use patchadm_inputs::trial::{Moment, TrialRecord};
use patchadm_planning::plan::{Plan, RecordChange};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

/// What the runs of a session do to the trial of the root.
#[derive(Debug, Default)]
pub(in crate::operation) enum TrialChange {
    /// Nothing.
    #[default]
    None,
    /// The run that applies patches puts them on trial.
    Begin(WantedTrial, OnceLock<TrialRecord>),
    /// The run after which none of the patches is left ends the trial.
    End(TrialEnd, Mutex<EndingTrial>),
    /// The run only tells of it.
    Tell(TrialEnd),
}

/// What has to go before a trial is over, and what stays.
#[derive(Debug, Default)]
pub(in crate::operation) struct EndingTrial {
    /// The patches that are not backed out yet.
    patches: BTreeSet<String>,
    /// The paths of patches on trial that a package manager wrote since, with its name: those that no run takes back stay.
    native: BTreeMap<ObjectPath, &'static str>,
}

impl TrialChange {
    /// The beginning of a trial.
    pub(in crate::operation) fn beginning(wanted: WantedTrial) -> Self {
        Self::Begin(wanted, OnceLock::new())
    }

    /// The end of a trial with the run that backs out the last of these patches; with the next run if there are none.
    pub(in crate::operation) fn ending(record: &TrialRecord, end: &str, patches: &[String]) -> Self {
        Self::ending_beside(record, end, patches, BTreeMap::new())
    }

    /// Ends a trial. `native` are the paths that package managers wrote since, with their names.
    pub(in crate::operation) fn ending_beside(
        record: &TrialRecord,
        end: &str,
        patches: &[String],
        native: BTreeMap<ObjectPath, &'static str>,
    ) -> Self {
        let patches = patches.iter().cloned().collect();
        Self::End(trial_end(record, end), Mutex::new(EndingTrial { patches, native }))
    }

    /// A remark on a trial, with the next run.
    pub(in crate::operation) fn telling(record: &TrialRecord, end: &str) -> Self {
        Self::Tell(trial_end(record, end))
    }

    /// Tells whether a plan gets another record because of it.
    pub(in crate::operation) fn concerns(&self, plan: &Plan) -> bool {
        match self {
            Self::Begin(..) => !plan.patches.is_empty(),
            Self::End(..) => true,
            Self::None | Self::Tell(_) => false,
        }
    }

    /// Adds to a plan what it does to the record of the trial.
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

    /// Returns what the history tells of a run: the trial that it begins, and what it means for an earlier one.
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

/// The record of a trial, made by the run itself, whose name is part of it.
fn made(record: &TrialRecord) -> RecordChange {
    let (before, after) = record.around_run();
    let place = places::trial_record();
    let content = TreeContent::AroundRun(before, after);
    let file = TreeFile { name: place.name().to_vec(), content, mode: Mode::of(0o644), mtime: None };
    RecordChange::AddTree { path: places::trial(), files: vec![file] }
}
