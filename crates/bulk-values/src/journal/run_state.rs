//! The journal of a run, folded into the state of the run.

use std::collections::BTreeMap;

use super::line::{JournalLine, PackageOutcome, RunStart, StateCounts};
use super::state::PackageState;
use crate::result::Digest;

/// The bytes of the longest line.
const LONGEST_LINE: usize = 16 << 20;

/// Whether a run is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It is not: it goes on, or the next run continues it.
    Unfinished,
    /// It came to its end at this time, with these numbers of packages.
    Ended {
        /// The time, RFC 3339.
        at: String,
        /// How many packages are in each state.
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
    /// The names that were asked for; none for all.
    pub operands: Vec<String>,
    /// How often it was continued.
    pub continued: u32,
    /// The digest of the records it works on; `None` if it did not come so far.
    pub records: Option<Digest>,
    /// The packages that came to a state. Of a run that was continued, what the earlier part found, too.
    pub packages: BTreeMap<String, PackageOutcome>,
    /// What is being built, with its slot; in an unfinished run that nobody continues, what was.
    pub running: BTreeMap<String, String>,
    /// The number of its set.
    pub set: Option<u64>,
    /// Whether it is over.
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
    /// Reads a journal. Returns the state with the number of its whole bytes: what is behind them was torn by a power
    /// cut, and is to be cut off before anything is appended. `None`: not even its first line is whole.
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

    /// Returns the state after one more line.
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
        // What was running then was ended with the run.
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

    /// Returns whether the next run continues this one: it has no end, and the same names were asked for.
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::FailureCause;
    use crate::result::KeyInputs;

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
}
