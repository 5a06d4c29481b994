//! The lines of the journal of a run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::state::{FailureCause, PackageState, TreeFault};
use crate::result::{Digest, Key};

/// The first line, and the line with which a run is continued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunStart {
    /// The number of the run.
    pub run: u64,
    /// The digest of `bulk.conf`.
    pub conf: Digest,
    /// The time, RFC 3339.
    pub began: String,
    /// The names that were asked for; none for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operands: Vec<String>,
}

/// The state that a package came to, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageOutcome {
    /// Its key; `None` if what it needs has no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// The state.
    pub state: PackageState,
    /// The cause of a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,
    /// The value of the limit that is the cause, in its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The phase in which the build failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// The failure in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The fault of the tree that prefails it. The journal leaves it out, because a continued run finds it again.
    #[serde(skip)]
    pub fault: Option<TreeFault>,
    /// For an indirect state: the nearest packages that failed by themselves, sorted; of many only the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
    /// How many more such packages there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_causes: u64,
    /// The run in which it was built or failed, if that is an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    /// The slot where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Its duration in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// The CPU time in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// The most memory that it used, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// How often it was started.
    #[serde(default)]
    pub tries: u32,
    /// Of a package that was built again: the first file that differs from that of the result that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl PackageOutcome {
    /// Returns a state with nothing else known.
    pub fn of(state: PackageState) -> Self {
        Self {
            key: None,
            state,
            cause: None,
            limit: None,
            phase: None,
            detail: None,
            fault: None,
            because: Vec::new(),
            more_causes: 0,
            run: None,
            slot: None,
            ms: None,
            cpu_ms: None,
            peak_memory: None,
            tries: 0,
            differs: None,
        }
    }
}

/// Numbers of packages by state.
pub type StateCounts = BTreeMap<PackageState, u64>;

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalLine {
    /// A run begins or is continued.
    Start(RunStart),
    /// The records of the run are known.
    Records(Digest),
    /// A package is being built. This line need not reach the disk before the build begins.
    Running {
        /// The package.
        package: String,
        /// The slot.
        slot: String,
    },
    /// A package came to a state.
    Outcome {
        /// The package.
        package: String,
        /// The state, with all that is known.
        outcome: Box<PackageOutcome>,
    },
    /// The run has a set of this number.
    Set(u64),
    /// The run ended.
    End {
        /// The time, RFC 3339.
        end: String,
        /// How many packages are in each state.
        counts: StateCounts,
    },
    /// The run was given up for another one.
    Abandoned {
        /// The time, RFC 3339.
        end: String,
    },
}

/// The fields of a line about a package, as written.
#[derive(Serialize, Deserialize)]
struct PackageFields {
    package: String,
    #[serde(flatten)]
    outcome: PackageOutcome,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordsFields {
    records: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SetFields {
    set: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndFields {
    end: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counts: Option<StateCounts>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    abandoned: bool,
}

impl JournalLine {
    /// Returns the bytes of the line, with its newline: to be written at once.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = match self {
            Self::Start(start) => serde_json::to_vec(start),
            Self::Records(records) => serde_json::to_vec(&RecordsFields { records: *records }),
            Self::Running { package, slot } => {
                let outcome =
                    PackageOutcome { slot: Some(slot.clone()), ..PackageOutcome::of(PackageState::Running) };
                serde_json::to_vec(&PackageFields { package: package.clone(), outcome })
            }
            Self::Outcome { package, outcome } => {
                serde_json::to_vec(&PackageFields { package: package.clone(), outcome: (**outcome).clone() })
            }
            Self::Set(set) => serde_json::to_vec(&SetFields { set: *set }),
            Self::End { end, counts } => {
                let counts = Some(counts.clone());
                serde_json::to_vec(&EndFields { end: end.clone(), counts, abandoned: false })
            }
            Self::Abandoned { end } => {
                serde_json::to_vec(&EndFields { end: end.clone(), counts: None, abandoned: true })
            }
        };
        // Strings, numbers, and maps with words as keys: serialising these cannot fail.
        let mut line = json.unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Reads a line without its newline. Its kind is told by its first name.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let begins =
            |name: &str| line.strip_prefix(b"{\"").is_some_and(|rest| rest.starts_with(name.as_bytes()));
        if begins("run\":") {
            Ok(Self::Start(read(line)?))
        } else if begins("records\":") {
            Ok(Self::Records(read::<RecordsFields>(line)?.records))
        } else if begins("package\":") {
            Self::of_package(read(line)?)
        } else if begins("set\":") {
            Ok(Self::Set(read::<SetFields>(line)?.set))
        } else if begins("end\":") {
            Self::of_end(read(line)?)
        } else {
            Err("it is none of the lines of a journal".to_owned())
        }
    }

    fn of_package(PackageFields { package, outcome }: PackageFields) -> Result<Self, String> {
        match outcome.state {
            PackageState::Running => {
                let slot = outcome.slot.ok_or("what runs has no slot")?;
                Ok(Self::Running { package, slot })
            }
            PackageState::Failed if outcome.cause.is_none() => Err("what failed has no cause".to_owned()),
            _ => Ok(Self::Outcome { package, outcome: Box::new(outcome) }),
        }
    }

    fn of_end(EndFields { end, counts, abandoned }: EndFields) -> Result<Self, String> {
        match (counts, abandoned) {
            (Some(counts), false) => Ok(Self::End { end, counts }),
            (None, true) => Ok(Self::Abandoned { end }),
            _ => Err("an end has either counts or is abandoned".to_owned()),
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|error| error.to_string())
}
