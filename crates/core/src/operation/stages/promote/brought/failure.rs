//! The reasons why nothing comes from the package database of a stage.

use crate::operation::failure::Failure;
use patchadm_planning::plan::refusal::{BroughtReason, PromotionReason, Reason};
use patchadm_rootfs::Root;

/// The reason why nothing comes: the rules refuse it, or something cannot be read.
#[derive(Debug)]
pub(in crate::operation::stages) enum BroughtFailure {
    /// The rules refuse it.
    Refused(BroughtReason),
    /// Something cannot be read, or has changed.
    Failed(Failure),
}

impl BroughtFailure {
    /// Returns the same for a promotion from the stage in this tree; `refuse` turns a refusal into a failure.
    pub(in crate::operation::stages) fn of(
        self,
        stage: &Root,
        refuse: impl FnOnce(Reason) -> Failure,
    ) -> Failure {
        match self {
            Self::Refused(reason) => {
                let stage = stage.prefix().display().to_string();
                refuse(Reason::Promotion(PromotionReason::Brought { stage, reason }))
            }
            Self::Failed(failure) => failure,
        }
    }
}

impl From<BroughtReason> for BroughtFailure {
    fn from(reason: BroughtReason) -> Self {
        Self::Refused(reason)
    }
}

impl<E: Into<Failure>> From<E> for BroughtFailure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}
