use serde::Serialize;

use crate::surroundings::Surroundings;
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::trial::{TrialStatus, trial_status};
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
}

impl TrialStanding {
    pub fn of(root: &Root, surroundings: &Surroundings) -> Result<Option<Self>, Failure> {
        Ok(trial_status(root, &surroundings.moment())?.map(|status| Self::from(&status)))
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
}

impl From<&TrialStatus> for TrialStanding {
    fn from(status: &TrialStatus) -> Self {
        let record = &status.record;
        Self {
            run: record.run.clone(),
            until: record.deadline(),
            over: status.is_over,
            stuck: record.stuck.clone(),
            patches: record.patches.clone(),
            sentence: status.sentence(),
        }
    }
}
