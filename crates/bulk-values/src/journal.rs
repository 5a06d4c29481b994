//! The journal of a run: the states of its packages.
//!
//! JSON lines, each appended whole. The reader folds them into a [`RunState`], which says if the run ended, was
//! abandoned, or can be continued. A last line torn by a power cut is dropped. Any other damage is an error, because a
//! lost state would lead to wrong builds and reports.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::conf::{LimitName, Limits, is_wider};
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
    /// The requested names; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operands: Vec<String>,
}

/// The state that a package came to, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageOutcome {
    /// Its key; `None` if a dependency has no result.
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
    /// The number of further such packages.
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
    /// The number of starts.
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
        /// The number of packages in each state.
        counts: StateCounts,
    },
    /// The run was abandoned for another one.
    Abandoned {
        /// The time, RFC 3339.
        end: String,
    },
}

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

    /// Parses a line without its newline. The first name determines its kind.
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
    /// It needs a failed package.
    IndirectFailed,
    /// It needs a `prefailed` package, and no failed one.
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

    /// Returns true if there is a result of the package.
    pub fn has_result(self) -> bool {
        matches!(self, Self::Done | Self::UpToDate)
    }

    /// Returns true if nothing more happens to the package in the run.
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
    /// `build` ended with an exit code other than 0.
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
    /// A distfile is missing or differs.
    Distfile,
    /// Its dependencies could not be installed.
    Install,
    /// Its output is not a valid result.
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
    /// Its record is not allowed, or its files cannot be read.
    Recipe,
}

const LONGEST_LINE: usize = 16 << 20;

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It is not: it goes on, or the next run continues it.
    Unfinished,
    /// It came to its end at this time, with these numbers of packages.
    Ended {
        /// The time, RFC 3339.
        at: String,
        /// The number of packages in each state.
        counts: StateCounts,
    },
    /// Another run was begun instead, at this time.
    Abandoned {
        /// The time, RFC 3339.
        at: String,
    },
}

/// The state of a run, as its journal tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunState {
    /// The number of the run.
    pub run: u64,
    /// The digest of `bulk.conf` when the run began, or was continued last.
    pub conf: Digest,
    /// When it began, RFC 3339.
    pub began: String,
    /// The requested names; empty for all.
    pub operands: Vec<String>,
    /// The number of times it was continued.
    pub continued: u32,
    /// The digest of the records it works on; `None` if it did not come so far.
    pub records: Option<Digest>,
    /// The packages with an outcome, including those from before an interruption.
    pub packages: BTreeMap<String, PackageOutcome>,
    /// The packages being built, with their slots. In an unfinished run without a process, those that were.
    pub running: BTreeMap<String, String>,
    /// The number of its set.
    pub set: Option<u64>,
    /// Its end.
    pub end: RunEnd,
}

/// A journal that is damaged: the line, counted from 1, and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal: line {line}: {reason}")]
pub struct JournalDamage {
    /// The line.
    pub line: usize,
    /// The reason.
    pub reason: String,
}

impl RunState {
    /// Parses a journal. Returns the state with the number of its complete bytes: the rest was torn by a power cut and
    /// has to be cut off before anything is appended. `None`: not even the first line is complete.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, JournalDamage> {
        let Some(last) = bytes.iter().rposition(|&byte| byte == b'\n') else { return Ok(None) };
        let mut state: Option<Self> = None;
        for (index, line) in bytes.get(..last).unwrap_or_default().split(|&byte| byte == b'\n').enumerate() {
            let damage = |reason: String| JournalDamage { line: index + 1, reason };
            if line.len() > LONGEST_LINE {
                return Err(damage(format!("it is longer than {LONGEST_LINE} bytes")));
            }
            let line = JournalLine::parse(line).map_err(damage)?;
            state = Some(match (state, line) {
                (None, JournalLine::Start(start)) => Self::begin(start),
                (None, _) => return Err(damage("the run does not begin".to_owned())),
                (Some(state), line) => state.after(line).map_err(damage)?,
            });
        }
        Ok(state.map(|state| (state, last + 1)))
    }

    fn begin(start: RunStart) -> Self {
        Self {
            run: start.run,
            conf: start.conf,
            began: start.began,
            operands: start.operands,
            continued: 0,
            records: None,
            packages: BTreeMap::new(),
            running: BTreeMap::new(),
            set: None,
            end: RunEnd::Unfinished,
        }
    }

    fn after(mut self, line: JournalLine) -> Result<Self, String> {
        if self.end != RunEnd::Unfinished {
            return Err("it is behind the end".to_owned());
        }
        match line {
            JournalLine::Start(start) => self.continue_with(&start)?,
            JournalLine::Records(records) => self.records = Some(records),
            JournalLine::Running { package, slot } => {
                self.running.insert(package, slot);
            }
            JournalLine::Outcome { package, outcome } => self.set_outcome(package, *outcome),
            JournalLine::Set(set) => self.set = Some(set),
            JournalLine::End { end: at, counts } => self.end = RunEnd::Ended { at, counts },
            JournalLine::Abandoned { end: at } => self.end = RunEnd::Abandoned { at },
        }
        Ok(self)
    }

    fn continue_with(&mut self, start: &RunStart) -> Result<(), String> {
        if start.run != self.run || start.operands != self.operands {
            return Err(format!("another run begins, {}", start.run));
        }
        self.continued = self.continued.saturating_add(1);
        self.conf = start.conf;
        self.records = None;
        // The interruption ended running tasks.
        self.running.clear();
        Ok(())
    }

    fn set_outcome(&mut self, package: String, outcome: PackageOutcome) {
        self.running.remove(&package);
        if outcome.state == PackageState::Open {
            // It was put back: machine trouble, or the run was told to stop.
            self.packages.remove(&package);
        } else {
            self.packages.insert(package, outcome);
        }
    }

    /// Returns true if the next run continues this one: it has no end, and the same names were requested.
    pub fn is_continued_by(&self, operands: &[String]) -> bool {
        self.end == RunEnd::Unfinished && self.operands == operands
    }

    /// Returns how many packages are in each state; of those that came to none nothing is said.
    pub fn counts(&self) -> StateCounts {
        let mut counts = StateCounts::new();
        for outcome in self.packages.values() {
            *counts.entry(outcome.state).or_default() += 1;
        }
        if !self.running.is_empty() {
            counts.insert(PackageState::Running, self.running.len() as u64);
        }
        counts
    }
}

/// Returns true if a package with this last outcome for the same key is built again.
///
/// A failure also counts in later runs, because the same inputs fail again. Exceptions: a limit that is wider now, a
/// missing distfile, a deferred package, and every failure with `retry`.
pub fn is_tried_again(outcome: &PackageOutcome, limits: &Limits, retry: bool) -> bool {
    match (outcome.state, outcome.cause) {
        (PackageState::Failed, Some(cause)) => retry || is_cause_gone(cause, outcome.limit, limits),
        (PackageState::Failed, None)
        | (PackageState::Deferred | PackageState::Open | PackageState::Running, _) => true,
        // No failure of its own: what it needs decides.
        _ => false,
    }
}

fn is_cause_gone(cause: FailureCause, then: Option<u64>, limits: &Limits) -> bool {
    let Some(name) = cause.limit() else { return cause == FailureCause::Distfile };
    // If the limit was not recorded, an unnecessary build is better than a missing one.
    then.is_none_or(|then| is_wider(limits.get(name).unwrap_or_default(), then))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{FailureCause, *};
    use crate::conf::LimitName;
    use crate::result::KeyInputs;

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

    fn start(run: u64) -> JournalLine {
        JournalLine::Start(RunStart {
            run,
            conf: Digest::of(b"conf"),
            began: "2026-11-26T08:00:00Z".to_owned(),
            operands: Vec::new(),
        })
    }

    fn outcome(package: &str, state: PackageState) -> JournalLine {
        let cause = (state == PackageState::Failed).then_some(FailureCause::Exit);
        let outcome = PackageOutcome { cause, ..PackageOutcome::of(state) };
        JournalLine::Outcome { package: package.to_owned(), outcome: Box::new(outcome) }
    }

    fn running(package: &str) -> JournalLine {
        JournalLine::Running { package: package.to_owned(), slot: "local".to_owned() }
    }

    fn end() -> JournalLine {
        let counts = StateCounts::from([(PackageState::Done, 1), (PackageState::UpToDate, 2)]);
        JournalLine::End { end: "2026-11-26T09:00:00Z".to_owned(), counts }
    }

    fn bytes(lines: &[JournalLine]) -> Vec<u8> {
        lines.iter().flat_map(JournalLine::to_bytes).collect()
    }

    fn state(lines: &[JournalLine]) -> RunState {
        RunState::parse(&bytes(lines)).unwrap().unwrap().0
    }

    fn damage(lines: &[JournalLine]) -> String {
        RunState::parse(&bytes(lines)).unwrap_err().to_string()
    }

    #[test]
    fn lines_have_the_names_of_the_contract() {
        let key = KeyInputs::new().key();
        let failed = PackageOutcome {
            key: Some(key),
            cause: Some(FailureCause::Time),
            limit: Some(3600),
            phase: Some("build".to_owned()),
            detail: Some("limit".to_owned()),
            slot: Some("b1".to_owned()),
            ms: Some(3_600_123),
            tries: 1,
            ..PackageOutcome::of(PackageState::Failed)
        };
        let because = vec!["a-1".to_owned()];
        let indirect = PackageOutcome { because, ..PackageOutcome::of(PackageState::IndirectFailed) };
        let lines = [
            start(4),
            JournalLine::Records(Digest::of(b"records")),
            running("a-1"),
            JournalLine::Outcome { package: "a-1".to_owned(), outcome: Box::new(failed) },
            JournalLine::Outcome { package: "b-1".to_owned(), outcome: Box::new(indirect) },
            JournalLine::Set(4),
            end(),
        ];
        let expected = format!(
            "{{\"run\":4,\"conf\":\"{}\",\"began\":\"2026-11-26T08:00:00Z\"}}\n\
             {{\"records\":\"{}\"}}\n\
             {{\"package\":\"a-1\",\"state\":\"running\",\"slot\":\"local\",\"tries\":0}}\n\
             {{\"package\":\"a-1\",\"key\":\"{key}\",\"state\":\"failed\",\"cause\":\"time\",\"limit\":3600,\
             \"phase\":\"build\",\"detail\":\"limit\",\"slot\":\"b1\",\"ms\":3600123,\"tries\":1}}\n\
             {{\"package\":\"b-1\",\"state\":\"indirect-failed\",\"because\":[\"a-1\"],\"tries\":0}}\n\
             {{\"set\":4}}\n\
             {{\"end\":\"2026-11-26T09:00:00Z\",\"counts\":{{\"done\":1,\"up-to-date\":2}}}}\n",
            Digest::of(b"conf"),
            Digest::of(b"records"),
        );
        assert_eq!(String::from_utf8(bytes(&lines)).unwrap(), expected);
        for line in &lines {
            let bytes = line.to_bytes();
            assert_eq!(JournalLine::parse(&bytes[..bytes.len() - 1]).as_ref(), Ok(line));
        }
        let abandoned = JournalLine::Abandoned { end: "t".to_owned() };
        assert_eq!(abandoned.to_bytes(), b"{\"end\":\"t\",\"abandoned\":true}\n");
    }

    #[test]
    fn a_run_without_an_end_is_continued_and_what_ran_then_is_open_again() {
        let mut lines = vec![start(4), outcome("a-1", PackageState::Done), running("b-1")];
        let unfinished = state(&lines);
        assert!(unfinished.is_continued_by(&[]));
        assert!(!unfinished.is_continued_by(&["a-1".to_owned()]));
        assert_eq!(unfinished.running.len(), 1);
        lines.extend([start(4), outcome("a-1", PackageState::UpToDate)]);
        let continued = state(&lines);
        assert_eq!((continued.continued, continued.running.len()), (1, 0));
        assert_eq!(continued.packages["a-1"].state, PackageState::UpToDate);
        lines.push(end());
        assert!(!state(&lines).is_continued_by(&[]));
        assert_eq!(damage(&[start(4), start(5)]), "journal: line 2: another run begins, 5");
    }

    #[test]
    fn a_package_that_was_put_back_is_open() {
        let put_back = state(&[start(1), running("a-1"), outcome("a-1", PackageState::Open)]);
        assert!(put_back.running.is_empty() && put_back.packages.is_empty());
        let counts = state(&[start(1), running("a-1"), outcome("b-1", PackageState::Failed)]).counts();
        assert_eq!(counts, StateCounts::from([(PackageState::Running, 1), (PackageState::Failed, 1)]));
    }

    #[test]
    fn an_abandoned_run_is_over() {
        let lines = [start(1), JournalLine::Abandoned { end: "2026-11-26T09:00:00Z".to_owned() }];
        assert!(matches!(state(&lines).end, RunEnd::Abandoned { .. }));
        assert!(!state(&lines).is_continued_by(&[]));
    }

    #[test]
    fn damage_is_told_with_its_line() {
        assert_eq!(damage(&[end()]), "journal: line 1: the run does not begin");
        assert_eq!(damage(&[start(1), end(), running("a-1")]), "journal: line 3: it is behind the end");
        let mut bytes = bytes(&[start(1), running("a-1"), end()]);
        bytes.splice(0..0, *b"\0\n");
        assert!(RunState::parse(&bytes).unwrap_err().to_string().starts_with("journal: line 1: "));
        let wrong = [
            "{\"package\":\"a-1\",\"state\":\"lost\"}",
            "{\"package\":\"a-1\",\"state\":\"failed\"}",
            "{\"package\":\"a-1\",\"state\":\"running\"}",
            "{\"end\":\"t\"}",
            "{\"end\":\"t\",\"counts\":{\"lost\":1}}",
            "{\"set\":-1}",
            "{\"set\":1,\"more\":2}",
            "",
        ];
        for line in wrong {
            assert!(JournalLine::parse(line.as_bytes()).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_journal_that_was_cut_anywhere_is_the_journal_of_its_whole_lines(
            states in prop::collection::vec(0_usize..9, 0..6),
            cut in 0.0..1.0,
        ) {
            let states = states.iter().map(|state| match PackageState::ALL[*state] {
                PackageState::Running => running("a-1"),
                state => outcome("a-1", state),
            });
            let lines: Vec<JournalLine> = std::iter::once(start(1)).chain(states).collect();
            let whole = bytes(&lines);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
            let cut = (whole.len() as f64 * cut) as usize;
            let newlines = whole[..cut].split(|byte| *byte == b'\n').count() - 1;
            let read = RunState::parse(&whole[..cut]).unwrap();
            let expected = RunState::parse(&bytes(&lines[..newlines])).unwrap();
            prop_assert_eq!(read, expected);
        }
    }

    fn failed(cause: FailureCause, limit: Option<u64>) -> PackageOutcome {
        PackageOutcome { cause: Some(cause), limit, ..PackageOutcome::of(PackageState::Failed) }
    }

    #[test]
    fn a_failure_counts_again_until_it_is_asked_for() {
        for cause in [FailureCause::Exit, FailureCause::Signal, FailureCause::Check, FailureCause::Install] {
            assert!(!is_tried_again(&failed(cause, None), &Limits::default(), false), "{cause}");
            assert!(is_tried_again(&failed(cause, None), &Limits::default(), true), "{cause}");
        }
    }

    #[test]
    fn what_reached_a_limit_is_tried_again_when_that_limit_is_wider() {
        let mut limits = Limits::default();
        let time = failed(FailureCause::Time, Some(3600));
        limits.set(LimitName::Cpu, 0);
        assert!(!is_tried_again(&time, &limits, false), "another limit is wider");
        limits.set(LimitName::Time, 1800);
        assert!(!is_tried_again(&time, &limits, false));
        limits.set(LimitName::Time, 3601);
        assert!(is_tried_again(&time, &limits, false));
        limits.set(LimitName::Time, 0);
        assert!(is_tried_again(&time, &limits, false), "there is no limit any more");
    }

    #[test]
    fn a_missing_distfile_and_machine_trouble_are_always_tried_again() {
        assert!(is_tried_again(&failed(FailureCause::Distfile, None), &Limits::default(), false));
        assert!(is_tried_again(&PackageOutcome::of(PackageState::Deferred), &Limits::default(), false));
        assert!(!is_tried_again(&PackageOutcome::of(PackageState::Done), &Limits::default(), true));
    }
}
