//! What is known of a package before anything is built.

use std::fmt;
use std::sync::Arc;

use super::blockers::Blockers;
use crate::journal::TreeFault;
use crate::records::{Location, PkgName};

/// The state of a package after its needs were looked for, in pbulk's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageState {
    /// `open`: it can be built when all that it needs is.
    Open,
    /// `prefailed`: it cannot be built, by a reason of its own.
    Prefailed(PrefailReason),
    /// `indirect-prefailed`: it needs, directly or not, what is `prefailed`. The nearest such packages.
    IndirectPrefailed(Blockers),
}

/// The reason a package cannot be built before anything is tried; its text is one line, if the record's is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrefailReason {
    /// The scan of its location failed.
    Scan(Box<str>),
    /// `PKG_SKIP_REASON`.
    Skip(Box<str>),
    /// `PKG_FAIL_REASON`.
    Fail(Box<str>),
    /// Another location makes a package of this name, or has it since the set before.
    Duplicate {
        /// The name.
        pkgname: PkgName,
        /// Its location.
        location: Location,
        /// The location whose package keeps the name.
        keeper: Location,
    },
    /// Nothing matches this pattern of its needs.
    Unmatched(Box<str>),
    /// This need is no pattern, and why.
    NoPattern(Box<str>, &'static str),
    /// The needs of its location have so many patterns that it would take long to compare them with all packages.
    TooManyPatterns,
    /// It needs itself, directly or by others: `a-1 → b-1 → a-1`.
    Circle(Arc<str>),
}

impl PrefailReason {
    /// Returns the fault of the tree that it is; `None` for a reason that the recipe gives itself.
    pub fn fault(&self) -> Option<TreeFault> {
        match self {
            Self::Skip(_) | Self::Fail(_) => None,
            Self::Scan(_) => Some(TreeFault::Scan),
            Self::Duplicate { .. } => Some(TreeFault::Duplicate),
            Self::Unmatched(_) => Some(TreeFault::Unmatched),
            Self::NoPattern(..) | Self::TooManyPatterns => Some(TreeFault::Pattern),
            Self::Circle(_) => Some(TreeFault::Circle),
        }
    }
}

impl fmt::Display for PrefailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scan(reason) | Self::Skip(reason) | Self::Fail(reason) => f.write_str(reason),
            Self::Duplicate { pkgname, location, keeper } => {
                write!(f, "{pkgname} of {location} has the name of a package of {keeper}, which keeps it")
            }
            Self::Unmatched(pattern) => write!(f, "it needs {pattern}, which nothing matches"),
            Self::NoPattern(pattern, reason) => {
                write!(f, "it needs {pattern}, which is no pattern: {reason}")
            }
            Self::TooManyPatterns => f.write_str(
                "the needs of its location have so many patterns that it would take too long to compare them with all packages",
            ),
            Self::Circle(circle) => write!(f, "it needs itself: {circle}"),
        }
    }
}
