//! States of packages and causes of failures, in pbulk's words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::conf::LimitName;

/// The state of a package in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageState {
    /// It is not built yet.
    Open,
    /// It is being built.
    Running,
    /// It was built in this run.
    Done,
    /// Its result was in the pool.
    UpToDate,
    /// Its build failed.
    Failed,
    /// Its recipe says that it cannot be built, or its records are at fault.
    Prefailed,
    /// It needs what failed.
    IndirectFailed,
    /// It needs what prefailed, and nothing that failed.
    IndirectPrefailed,
    /// The machines failed three times.
    Deferred,
}

impl PackageState {
    /// All states, in the order of the manual.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::Running,
        Self::Done,
        Self::UpToDate,
        Self::Failed,
        Self::Prefailed,
        Self::IndirectFailed,
        Self::IndirectPrefailed,
        Self::Deferred,
    ];

    /// Returns its word in journals and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Running => "running",
            Self::Done => "done",
            Self::UpToDate => "up-to-date",
            Self::Failed => "failed",
            Self::Prefailed => "prefailed",
            Self::IndirectFailed => "indirect-failed",
            Self::IndirectPrefailed => "indirect-prefailed",
            Self::Deferred => "deferred",
        }
    }

    /// Returns pbulk's word for it: pbulk knows no result that was there before, and no machine trouble.
    pub fn pbulk_word(self) -> &'static str {
        match self {
            Self::UpToDate => Self::Done.word(),
            Self::Running | Self::Deferred => Self::Open.word(),
            other => other.word(),
        }
    }

    /// Returns whether there is a result of the package.
    pub fn has_result(self) -> bool {
        matches!(self, Self::Done | Self::UpToDate)
    }

    /// Returns whether nothing more happens to the package in the run.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Open | Self::Running)
    }
}

impl fmt::Display for PackageState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

/// The cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCause {
    /// `build` ended with another code than 0.
    Exit,
    /// `build` was ended by a signal.
    Signal,
    /// The limit `time`.
    Time,
    /// The limit `silence`.
    Silence,
    /// The limit `cpu`.
    Cpu,
    /// The limit `memory`.
    Memory,
    /// The limit `processes`.
    Processes,
    /// The limit `disk`.
    Disk,
    /// The limit `output`.
    Output,
    /// A distfile is missing, or is another one.
    Distfile,
    /// What it needs could not be installed.
    Install,
    /// What it left as its result is none.
    Result,
    /// Its result could not be installed and removed.
    Check,
}

impl FailureCause {
    /// Returns its word in journals and reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exit => "exit",
            Self::Signal => "signal",
            Self::Distfile => "distfile",
            Self::Install => "install",
            Self::Result => "result",
            Self::Check => "check",
            limit => limit.limit().map_or("limit", LimitName::word),
        }
    }

    /// Returns the limit that was reached, if that is the cause.
    pub fn limit(self) -> Option<LimitName> {
        match self {
            Self::Time => Some(LimitName::Time),
            Self::Silence => Some(LimitName::Silence),
            Self::Cpu => Some(LimitName::Cpu),
            Self::Memory => Some(LimitName::Memory),
            Self::Processes => Some(LimitName::Processes),
            Self::Disk => Some(LimitName::Disk),
            Self::Output => Some(LimitName::Output),
            _ => None,
        }
    }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

/// A fault of the tree or of a record, which keeps a package from being built. A recipe that says itself that it is not to be built
/// (`PKG_SKIP_REASON`, `PKG_FAIL_REASON`) is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TreeFault {
    /// The scan of its location failed.
    Scan,
    /// Nothing matches a pattern of its needs.
    Unmatched,
    /// One of its needs is no pattern.
    Pattern,
    /// It needs itself, directly or not.
    Circle,
    /// Another location has the name of its package.
    Duplicate,
    /// Its record asks for what is not allowed, or its files cannot be read.
    Recipe,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_that_are_written() {
        for state in PackageState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
        let causes = [
            "exit",
            "signal",
            "time",
            "silence",
            "cpu",
            "memory",
            "processes",
            "disk",
            "output",
            "distfile",
            "install",
            "result",
            "check",
        ];
        for word in causes {
            let cause: FailureCause = serde_json::from_value(word.into()).unwrap();
            assert_eq!(cause.word(), word);
        }
    }

    #[test]
    fn pbulk_knows_six_of_the_words() {
        let words: std::collections::BTreeSet<_> =
            PackageState::ALL.iter().map(|state| state.pbulk_word()).collect();
        let known = ["done", "failed", "indirect-failed", "indirect-prefailed", "open", "prefailed"];
        assert_eq!(words.into_iter().collect::<Vec<_>>(), known);
    }
}
