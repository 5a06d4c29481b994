//! A trial as queries tell of it.

use serde::Serialize;

use crate::surroundings::{Surroundings, Zone};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::trial::{TrialStatus, trial_status};
use patchadm_rootfs::Root;

/// The trial that a root is on.
#[derive(Clone, Debug, Serialize)]
pub struct TrialStanding {
    /// The run on trial.
    pub run: String,
    /// Its deadline.
    until: String,
    /// Whether it is over: the next command that changes the root backs it out.
    over: bool,
    /// Why it cannot be backed out, if it is over and somebody tried.
    stuck: Option<String>,
    /// The patches on trial.
    patches: Vec<String>,
    /// The same as a sentence without full stop.
    #[serde(skip)]
    pub sentence: String,
}

impl TrialStanding {
    /// Returns the trial that a root is on now.
    pub fn of(root: &Root, surroundings: &Surroundings) -> Result<Option<Self>, Failure> {
        let status = trial_status(root, &surroundings.moment())?;
        Ok(status.map(|status| Self::of_status(&status, surroundings.zone)))
    }

    fn of_status(status: &TrialStatus, zone: Zone) -> Self {
        let record = &status.record;
        Self {
            run: record.run.clone(),
            until: record.deadline(),
            over: status.is_over,
            stuck: record.stuck.clone(),
            patches: record.patches.clone(),
            sentence: status.sentence(&zone.minute(record.until)),
        }
    }

    /// Tells whether it is over, and the next command that changes the root ends it.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Tells whether a patch is on trial.
    pub fn is_about(&self, patch: &str) -> bool {
        self.patches.iter().any(|id| id == patch)
    }

    /// Returns the trial with its run and its patches, as a sentence.
    pub fn remark(&self) -> String {
        format!("run {} ({}): {}", self.run, self.patches.join(", "), self.sentence)
    }
}
