//! The answer of an analysis: a row for each patch.

use chrono::NaiveDate;

/// The answer of an analysis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// The patches, in the order in which they would be applied.
    pub patches: Vec<AnalysedPatch>,
    /// The patches that were named, and are neither in the cross-reference nor applied.
    pub unknown: Vec<String>,
}

/// A patch and how the machine stands to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnalysedPatch {
    /// The base of its id.
    pub base: String,
    /// The highest revision that is applied.
    pub installed: Option<String>,
    /// The current revision, or the one that was named; none if the cross-reference does not have the patch.
    pub current: Option<String>,
    /// How the two compare.
    pub relation: RevisionRelation,
    /// Whether it is recommended.
    pub recommended: FlagOrigin,
    /// Whether it is about security.
    pub security: FlagOrigin,
    /// Whether the applied revision was withdrawn, or the current one where none is applied.
    pub is_bad: bool,
    /// Whether the machine lacks it.
    pub is_missing: bool,
    /// The day of the current revision.
    pub date: Option<NaiveDate>,
    /// The days since then.
    pub age_days: Option<u32>,
    /// One line about it.
    pub synopsis: String,
    /// The packages that it is for, each once.
    pub packages: Vec<String>,
    /// Its requirements: ids, or alternatives (`1-01 | 2-01`).
    pub requires: Vec<String>,
    /// Its size in bytes, where that is known.
    pub size: Option<u64>,
    /// The word for the reboot that it asks for, where that is known.
    pub reboot: Option<String>,
}

/// How the applied revision compares with the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionRelation {
    /// None or a lower one is applied.
    Lower,
    /// The current one is applied.
    Same,
    /// A higher one is applied, or one that the cross-reference does not have.
    Higher,
}

/// Where a flag of a patch comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagOrigin {
    /// The patch does not have it.
    None,
    /// The caller gave it.
    Given,
    /// The cross-reference has it.
    Reference,
}

impl FlagOrigin {
    /// Tells whether the patch has the flag.
    pub fn is_set(self) -> bool {
        self != Self::None
    }
}

impl RevisionRelation {
    /// Returns the sign of the relation: `<`, `=` or `>`.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Lower => "<",
            Self::Same => "=",
            Self::Higher => ">",
        }
    }
}
