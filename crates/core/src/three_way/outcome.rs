//! What becomes of each path.

use std::collections::BTreeMap;

use patchadm_svr4::package::ObjectPath;

/// What becomes of the paths at which the trees differ; a path that is not named stays as it is in both.
pub type Outcomes = BTreeMap<ObjectPath, Outcome>;

/// What becomes of one path of the tree that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It gets the object of the other tree.
    Take,
    /// It gets the modification time of the other tree's object, which is the same but for that.
    TakeTime,
    /// Its object goes.
    Delete,
    /// Its object, or the absence of one, stays although the other tree differs.
    Keep(KeptBecause),
    /// Both trees changed it, differently.
    Conflict(Conflict),
}

/// Why a path stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeptBecause {
    /// Only the tree that would change has changed it.
    LiveOnly,
    /// It is recorded as volatile: what is there always wins.
    Volatile,
}

/// A path that both trees changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What the tree that is taken from did.
    pub from: SideChange,
    /// What the tree that would change did.
    pub to: SideChange,
    /// What is done about it.
    pub decision: Decision,
}

/// What a tree did to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideChange {
    /// It has another object than the base, or without a base simply an object.
    Changed,
    /// It has an object, and the base has none.
    New,
    /// It has no object any more.
    Gone,
}

/// What is done about a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing at all is changed anywhere.
    Stop,
    /// The object of the tree that is taken from comes.
    Replace,
    /// The object that is there stays.
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
    /// Whether the object of the other tree comes, conflicts that are decided so among them.
    pub fn is_taken(&self) -> bool {
        match self {
            Self::Take => true,
            Self::Conflict(conflict) => {
                conflict.decision == Decision::Replace && conflict.from != SideChange::Gone
            }
            _ => false,
        }
    }

    /// Whether the object that is there goes, conflicts that are decided so among them.
    pub fn is_deleted(&self) -> bool {
        match self {
            Self::Delete => true,
            Self::Conflict(conflict) => {
                conflict.decision == Decision::Replace && conflict.from == SideChange::Gone
            }
            _ => false,
        }
    }

    /// Whether it stops everything.
    pub fn stops(&self) -> bool {
        matches!(self, Self::Conflict(Conflict { decision: Decision::Stop, .. }))
    }
}
