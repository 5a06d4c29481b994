//! The reasons a patch of a set does not go in, if they lie in the set or in the depot.

use patchadm_svr4::patch::{PatchId, Requirement};

/// A reason that only several patches, or a depot, can give.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetReason {
    /// A later revision is in the set.
    #[error("{0} of this set is a later revision")]
    LaterInSet(PatchId),
    /// A patch of the set obsoletes it, directly or through others.
    #[error("{0} of this set contains it")]
    ContainedInSet(PatchId),
    /// It needs a patch that is not available.
    #[error("it requires {requirement} or later, which is neither applied nor in {depot}")]
    RequiredNowhere {
        /// The requirement.
        requirement: Requirement,
        /// The depot, as it was named.
        depot: String,
    },
    /// It needs a patch that does not go in either.
    #[error("it requires {requirement} or later, which is refused: {reason}")]
    RequiredRefused {
        /// The requirement.
        requirement: Requirement,
        /// Why that does not go in, in words.
        reason: String,
    },
    /// It and a patch that was taken before cannot be together.
    #[error("it and {other} exclude each other ({says} says so); {other} was taken first")]
    ExcludeEachOther {
        /// The patch that was taken before.
        other: PatchId,
        /// The one of the two whose list says so.
        says: PatchId,
    },
    /// Each of these patches has to come before the one named before it, the last before the first.
    #[error("its requirements form a circle: {}", arrows(.0))]
    Circle(Vec<PatchId>),
    /// The depot no longer offers it.
    #[error("the depot marks it as withdrawn")]
    Withdrawn,
    /// Two sources have it, and they differ.
    #[error("it comes twice with different content: {0} and {1}")]
    TwoContents(String, String),
    /// The search for its requirements was given up.
    #[error("too many alternatives to decide")]
    TooManyAlternatives,
    /// It has scripts, so that it cannot be one transaction with others.
    #[error("its scripts need a run of their own")]
    OwnRun,
    /// It was named, and the depot, as it was named, has no such patch.
    #[error("{0} does not have it")]
    NotInDepot(String),
    /// It depends on what the patches before it leave, so that it cannot be one transaction with them.
    #[error("it can be planned only when the patches before it are applied")]
    PlannedAfterwards,
    /// It cannot be backed out in one run with others: its undo data is that of another tool, or others have its paths in
    /// other packages.
    #[error("it cannot be backed out in one run with the others")]
    NotTogether,
    /// An option of the command leaves it out.
    #[error("--exclude names it")]
    ExcludedByOption,
    /// A restricted patch is not taken because another one needs it.
    #[error("it is a restricted patch, which is taken only where it is named")]
    RestrictedUnasked,
}

impl SetReason {
    /// Returns the exit code of patchadd(1M) for it.
    pub(super) fn patchadd_code(&self) -> u8 {
        match self {
            Self::ContainedInSet(_) => 6,
            Self::ExcludeEachOther { .. } => 24,
            Self::RequiredNowhere { .. } | Self::RequiredRefused { .. } => 25,
            Self::NotInDepot(_) => 33,
            Self::LaterInSet(_) => 35,
            Self::Circle(_)
            | Self::Withdrawn
            | Self::TwoContents(..)
            | Self::TooManyAlternatives
            | Self::OwnRun
            | Self::PlannedAfterwards
            | Self::NotTogether
            | Self::ExcludedByOption
            | Self::RestrictedUnasked => 10,
        }
    }

    /// Returns the next step; empty if no command helps.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::OwnRun | Self::PlannedAfterwards | Self::NotTogether => "leave out --all-or-nothing",
            Self::RequiredNowhere { .. } => "put it into the depot, or leave this patch out with --exclude",
            Self::NotInDepot(_) => "`patchadm analyze total` with this depot lists what it has",
            Self::TwoContents(..) => "take one of the two away",
            Self::Withdrawn => "if it is wanted all the same, name it with its revision and --withdrawn",
            _ => "",
        }
    }
}

fn arrows(ids: &[PatchId]) -> String {
    ids.iter().map(PatchId::as_str).collect::<Vec<_>>().join(" → ")
}
