//! The journal of a run: the states of its packages, as JSON lines that fold into a [`RunState`].
//!
//! A last line torn by a power cut is dropped. Other damage is an error: a lost state would lead to wrong builds.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::conf::{LimitName, Limits, is_wider};
use crate::result::{Blake3Digest, ResultKey};

/// The first line, and the line that continues a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunStart {
    pub run: u64,
    /// Digest of `bulk.conf`.
    pub conf: Blake3Digest,
    /// RFC 3339.
    pub began: String,
    /// Requested names; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operands: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageOutcome {
    /// `None` if a dependency has no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ResultKey>,
    pub state: BuildState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<FailureCause>,
    /// The exceeded limit, in its unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Prefails the package. The journal leaves it out, because a continued run finds it again.
    #[serde(skip)]
    pub fault: Option<TreeFault>,
    /// Nearest packages that failed by themselves, sorted; of many only the first ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub because: Vec<String>,
    /// Number of further ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_causes: u64,
    /// The earlier run in which it was built or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// Starts.
    #[serde(default)]
    pub tries: u32,
    /// After a rebuild: first file that differs from the result that stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl PackageOutcome {
    pub fn of(state: BuildState) -> Self {
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

pub type StateCounts = BTreeMap<BuildState, u64>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalLine {
    Start(RunStart),
    /// The records of the run are known.
    Records(Blake3Digest),
    /// A package is being built. The line need not be durable before the build begins.
    Running {
        package: String,
        slot: String,
    },
    Outcome {
        package: String,
        outcome: Box<PackageOutcome>,
    },
    /// The number of the run's set.
    Set(u64),
    End {
        /// RFC 3339.
        end: String,
        counts: StateCounts,
    },
    Abandoned {
        /// RFC 3339.
        end: String,
    },
}

#[derive(Serialize, Deserialize)]
struct OutcomeFields {
    package: String,
    #[serde(flatten)]
    outcome: PackageOutcome,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordsFields {
    records: Blake3Digest,
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
    /// Returns the line with its newline, to be written at once.
    pub fn to_bytes(&self) -> Vec<u8> {
        let json = match self {
            Self::Start(start) => serde_json::to_vec(start),
            Self::Records(records) => serde_json::to_vec(&RecordsFields { records: *records }),
            Self::Running { package, slot } => {
                let outcome =
                    PackageOutcome { slot: Some(slot.clone()), ..PackageOutcome::of(BuildState::Running) };
                serde_json::to_vec(&OutcomeFields { package: package.clone(), outcome })
            }
            Self::Outcome { package, outcome } => {
                serde_json::to_vec(&OutcomeFields { package: package.clone(), outcome: (**outcome).clone() })
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
            Err("it is not a line of a journal".to_owned())
        }
    }

    fn of_package(OutcomeFields { package, outcome }: OutcomeFields) -> Result<Self, String> {
        match outcome.state {
            BuildState::Running => {
                let slot = outcome.slot.ok_or("a running package has no slot")?;
                Ok(Self::Running { package, slot })
            }
            BuildState::Failed if outcome.cause.is_none() => Err("a failed package has no cause".to_owned()),
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildState {
    /// Not built yet.
    Open,
    Running,
    /// Built in this run.
    Done,
    /// The pool had its result.
    UpToDate,
    Failed,
    /// Its recipe says that it cannot be built, or its records are at fault.
    Prefailed,
    /// Needs a failed package.
    IndirectFailed,
    /// Needs a `prefailed` package, but no failed one.
    IndirectPrefailed,
    /// The machines failed three times.
    Deferred,
}

impl BuildState {
    /// In the order of the manual.
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

    /// pbulk knows neither earlier results nor machine failures.
    pub fn pbulk_word(self) -> &'static str {
        match self {
            Self::UpToDate => Self::Done.word(),
            Self::Running | Self::Deferred => Self::Open.word(),
            other => other.word(),
        }
    }

    pub fn has_result(self) -> bool {
        matches!(self, Self::Done | Self::UpToDate)
    }

    /// True if nothing more happens to the package in the run.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Open | Self::Running)
    }
}

impl fmt::Display for BuildState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.word())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCause {
    /// `build` exited with another code than 0.
    Exit,
    /// A signal ended `build`, or the first process of its sandbox, twice.
    Signal,
    Time,
    Silence,
    Cpu,
    Memory,
    Processes,
    Disk,
    Output,
    /// A distfile is missing or differs.
    Distfile,
    /// Dependencies could not be installed.
    Install,
    /// The output is no valid result.
    Result,
    /// The result could not be installed and removed.
    Check,
}

impl FailureCause {
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

    /// The limit that was reached, if that is the cause.
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

/// A fault of the tree or a record. `PKG_SKIP_REASON` and `PKG_FAIL_REASON` are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TreeFault {
    /// The scan of its location failed.
    Scan,
    /// No match for a pattern of its dependencies.
    Unmatched,
    /// A dependency is no pattern.
    Pattern,
    /// It depends on itself, perhaps indirectly.
    Circle,
    /// Another location has its package name.
    Duplicate,
    /// Its record is not allowed, or its files cannot be read.
    Recipe,
}

const LONGEST_LINE: usize = 16 << 20;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BulkRunEnd {
    /// It is running, or the next run continues it.
    Unfinished,
    Ended {
        /// RFC 3339.
        at: String,
        counts: StateCounts,
    },
    /// Abandoned for a new run.
    Abandoned {
        /// RFC 3339.
        at: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunState {
    pub run: u64,
    /// Digest of `bulk.conf` at the start or the last continuation.
    pub conf: Blake3Digest,
    /// RFC 3339.
    pub began: String,
    /// Requested names; empty for all.
    pub operands: Vec<String>,
    /// How often it was continued.
    pub continued: u32,
    /// Digest of the records; `None` if it did not get that far.
    pub records: Option<Blake3Digest>,
    /// Packages with an outcome, even from before an interruption.
    pub packages: BTreeMap<String, PackageOutcome>,
    /// Packages being built, with their slots; of an unfinished run without a process, the last ones.
    pub running: BTreeMap<String, String>,
    /// The number of its set.
    pub set: Option<u64>,
    pub end: BulkRunEnd,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal: line {line}: {reason}")]
pub struct JournalDamage {
    /// Counted from 1.
    pub line: usize,
    pub reason: String,
}

impl RunState {
    /// Returns the state and the number of complete bytes: cut off the rest before appending. `None` without a first
    /// line.
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
            end: BulkRunEnd::Unfinished,
        }
    }

    fn after(mut self, line: JournalLine) -> Result<Self, String> {
        if self.end != BulkRunEnd::Unfinished {
            return Err("it comes after the end".to_owned());
        }
        match line {
            JournalLine::Start(start) => self.continue_with(&start)?,
            JournalLine::Records(records) => self.records = Some(records),
            JournalLine::Running { package, slot } => {
                self.running.insert(package, slot);
            }
            JournalLine::Outcome { package, outcome } => self.set_outcome(package, *outcome),
            JournalLine::Set(set) => self.set = Some(set),
            JournalLine::End { end: at, counts } => self.end = BulkRunEnd::Ended { at, counts },
            JournalLine::Abandoned { end: at } => self.end = BulkRunEnd::Abandoned { at },
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
        if outcome.state == BuildState::Open {
            // It was put back: machine trouble, or the run had to stop.
            self.packages.remove(&package);
        } else {
            self.packages.insert(package, outcome);
        }
    }

    /// True if the run has no end and the same names were requested.
    pub fn is_continued_by(&self, operands: &[String]) -> bool {
        self.end == BulkRunEnd::Unfinished && self.operands == operands
    }

    /// Packages without a state are missing.
    pub fn counts(&self) -> StateCounts {
        let mut counts = StateCounts::new();
        for outcome in self.packages.values() {
            *counts.entry(outcome.state).or_default() += 1;
        }
        if !self.running.is_empty() {
            counts.insert(BuildState::Running, self.running.len() as u64);
        }
        counts
    }
}

/// True if a package with this last outcome for the same key is built again.
///
/// The same inputs fail again, so a failure counts in later runs. Exceptions: a wider limit, a missing distfile, a
/// deferred package, and `retry`.
pub fn is_tried_again(outcome: &PackageOutcome, limits: &Limits, retry: bool) -> bool {
    match (outcome.state, outcome.cause) {
        (BuildState::Failed, Some(cause)) => retry || is_cause_gone(cause, outcome.limit, limits),
        (BuildState::Failed, None) | (BuildState::Deferred | BuildState::Open | BuildState::Running, _) => {
            true
        }
        // No failure of its own: its dependencies decide.
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
        for state in BuildState::ALL {
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
            BuildState::ALL.iter().map(|state| state.pbulk_word()).collect();
        let known = ["done", "failed", "indirect-failed", "indirect-prefailed", "open", "prefailed"];
        assert_eq!(words.into_iter().collect::<Vec<_>>(), known);
    }

    fn start(run: u64) -> JournalLine {
        JournalLine::Start(RunStart {
            run,
            conf: Blake3Digest::of(b"conf"),
            began: "2026-11-26T08:00:00Z".to_owned(),
            operands: Vec::new(),
        })
    }

    fn outcome(package: &str, state: BuildState) -> JournalLine {
        let cause = (state == BuildState::Failed).then_some(FailureCause::Exit);
        let outcome = PackageOutcome { cause, ..PackageOutcome::of(state) };
        JournalLine::Outcome { package: package.to_owned(), outcome: Box::new(outcome) }
    }

    fn running(package: &str) -> JournalLine {
        JournalLine::Running { package: package.to_owned(), slot: "local".to_owned() }
    }

    fn end() -> JournalLine {
        let counts = StateCounts::from([(BuildState::Done, 1), (BuildState::UpToDate, 2)]);
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
            ..PackageOutcome::of(BuildState::Failed)
        };
        let because = vec!["a-1".to_owned()];
        let indirect = PackageOutcome { because, ..PackageOutcome::of(BuildState::IndirectFailed) };
        let lines = [
            start(4),
            JournalLine::Records(Blake3Digest::of(b"records")),
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
            Blake3Digest::of(b"conf"),
            Blake3Digest::of(b"records"),
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
        let mut lines = vec![start(4), outcome("a-1", BuildState::Done), running("b-1")];
        let unfinished = state(&lines);
        assert!(unfinished.is_continued_by(&[]));
        assert!(!unfinished.is_continued_by(&["a-1".to_owned()]));
        assert_eq!(unfinished.running.len(), 1);
        lines.extend([start(4), outcome("a-1", BuildState::UpToDate)]);
        let continued = state(&lines);
        assert_eq!((continued.continued, continued.running.len()), (1, 0));
        assert_eq!(continued.packages["a-1"].state, BuildState::UpToDate);
        lines.push(end());
        assert!(!state(&lines).is_continued_by(&[]));
        assert_eq!(damage(&[start(4), start(5)]), "journal: line 2: another run begins, 5");
    }

    #[test]
    fn a_package_that_was_put_back_is_open() {
        let put_back = state(&[start(1), running("a-1"), outcome("a-1", BuildState::Open)]);
        assert!(put_back.running.is_empty() && put_back.packages.is_empty());
        let counts = state(&[start(1), running("a-1"), outcome("b-1", BuildState::Failed)]).counts();
        assert_eq!(counts, StateCounts::from([(BuildState::Running, 1), (BuildState::Failed, 1)]));
    }

    #[test]
    fn an_abandoned_run_is_over() {
        let lines = [start(1), JournalLine::Abandoned { end: "2026-11-26T09:00:00Z".to_owned() }];
        assert!(matches!(state(&lines).end, BulkRunEnd::Abandoned { .. }));
        assert!(!state(&lines).is_continued_by(&[]));
    }

    #[test]
    fn damage_is_told_with_its_line() {
        assert_eq!(damage(&[end()]), "journal: line 1: the run does not begin");
        assert_eq!(damage(&[start(1), end(), running("a-1")]), "journal: line 3: it comes after the end");
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
            let states = states.iter().map(|state| match BuildState::ALL[*state] {
                BuildState::Running => running("a-1"),
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
        PackageOutcome { cause: Some(cause), limit, ..PackageOutcome::of(BuildState::Failed) }
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
        assert!(is_tried_again(&PackageOutcome::of(BuildState::Deferred), &Limits::default(), false));
        assert!(!is_tried_again(&PackageOutcome::of(BuildState::Done), &Limits::default(), true));
    }
}
