//! The outcome for each path.

use std::collections::BTreeMap;

use patchadm_svr4::package::ObjectPath;

/// The outcomes for the paths at which the trees differ; any other path stays as it is in both.
pub type Outcomes = BTreeMap<ObjectPath, Outcome>;

/// The outcome for one path of the tree that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It gets the object of the other tree.
    Take,
    /// It gets the modification time of the other tree's object, the only difference.
    TakeTime,
    /// Its object is deleted.
    Delete,
    /// Its object, or the absence of one, stays although the other tree differs.
    Keep(KeptBecause),
    /// Both trees changed it, differently.
    Conflict(Conflict),
}

/// The reason why a path stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptBecause {
    /// Only the tree that would change has changed it.
    LiveOnly,
    /// It is recorded as volatile: the existing object always wins.
    Volatile,
}

/// A path that both trees changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The change in the source tree.
    pub from: SideChange,
    /// The change in the tree that would change.
    pub to: SideChange,
    /// The decision about it.
    pub decision: Decision,
}

/// The change of a path in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideChange {
    /// It has another object than the base, or, without a base, just an object.
    Changed,
    /// It has an object, and the base has none.
    New,
    /// It has no object any more.
    Gone,
}

/// The decision about a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing at all is changed anywhere.
    Stop,
    /// The object of the source tree comes.
    Replace,
    /// The existing object stays.
    Keep,
}

impl SideChange {
    /// Returns the word of JSON documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::New => "new",
            Self::Gone => "gone",
        }
    }
}

impl Decision {
    /// Returns the word of JSON documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Replace => "replace",
            Self::Keep => "keep",
        }
    }
}

impl KeptBecause {
    /// Returns the word of JSON documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::LiveOnly => "live-only",
            Self::Volatile => "volatile",
        }
    }
}

impl Outcome {
    /// Returns whether the object of the other tree comes, including conflicts that are decided so.
    pub fn is_taken(&self) -> bool {
        match self {
            Self::Take => true,
            Self::Conflict(conflict) => {
                conflict.decision == Decision::Replace && conflict.from != SideChange::Gone
            }
            _ => false,
        }
    }

    /// Returns whether the existing object is deleted, including conflicts that are decided so.
    pub fn is_deleted(&self) -> bool {
        match self {
            Self::Delete => true,
            Self::Conflict(conflict) => {
                conflict.decision == Decision::Replace && conflict.from == SideChange::Gone
            }
            _ => false,
        }
    }

    /// Returns whether it stops everything.
    pub fn stops(&self) -> bool {
        matches!(self, Self::Conflict(Conflict { decision: Decision::Stop, .. }))
    }
}
