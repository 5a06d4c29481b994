use serde::Serialize;

use crate::surroundings::{Surroundings, Zone};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::trial::{TrialStatus, trial_status};
use patchadm_planning::plan::refusal::Wording;
use patchadm_rootfs::Root;

/// The trial of a root, in answers of queries.
#[derive(Clone, Debug, Serialize)]
pub struct TrialStanding {
    /// The run on trial.
    pub run: String,
    /// The deadline.
    until: String,
    /// The next command that changes the root backs it out.
    over: bool,
    /// Why a trial that is over could not be backed out.
    stuck: Option<String>,
    patches: Vec<String>,
    /// Without full stop.
    #[serde(skip)]
    pub sentence: String,
    /// Its deadline for people.
    #[serde(skip)]
    deadline: String,
}

impl TrialStanding {
    pub fn of(root: &Root, surroundings: &Surroundings) -> Result<Option<Self>, Failure> {
        let status = trial_status(root, &surroundings.moment())?;
        Ok(status.map(|status| Self::of_status(&status, surroundings.zone)))
    }

    fn of_status(status: &TrialStatus, zone: Zone) -> Self {
        let record = &status.record;
        let deadline = zone.minute(record.until);
        Self {
            run: record.run.clone(),
            until: record.deadline(),
            over: status.is_over,
            stuck: record.stuck.clone(),
            patches: record.patches.clone(),
            sentence: status.sentence(&deadline),
            deadline,
        }
    }

    pub fn is_over(&self) -> bool {
        self.over
    }

    pub fn is_about(&self, patch: &str) -> bool {
        self.patches.iter().any(|id| id == patch)
    }

    /// Returns the trial with its run and its patches, as a sentence.
    pub fn remark(&self) -> String {
        format!("run {} ({}): {}", self.run, self.patches.join(", "), self.sentence)
    }

    /// Returns what is on trial, until when, and the command that keeps it, as a sentence. A trial that is over has its remark.
    pub fn reminder(&self, root: &Root) -> String {
        if self.over {
            return self.remark();
        }
        let (what, them) = match self.patches.len() {
            0 => (format!("run {} is", self.run), "it"),
            1 => ("1 patch is".to_owned(), "it"),
            number => (format!("{number} patches are"), "them"),
        };
        let confirm = Wording::of_verbs(root.prefix()).verb("confirm");
        format!("{what} on trial until {}; {confirm} keeps {them}", self.deadline)
    }
}
