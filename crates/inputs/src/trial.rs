//! The trial of a run: its duration, its record in the root, and the rule for its end. The run itself writes the
//! record, and the run that ends the trial removes it. The rule is a function of the record and three clocks; nothing
//! here reads a clock.

use std::collections::HashSet;
use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use crate::duration::{DAY, DurationError, HOUR, ShownDuration, duration};
use patchadm_changeset::format::history::TrialStart;
use patchadm_changeset::format::journal::is_boot_id;
use patchadm_changeset::format::run::{RUN_MARK, Run, around_mark};
use patchadm_svr4::package::rule;
use patchadm_svr4::patch::PatchId;

const SHORTEST: u64 = 10;
const LONGEST: u64 = 30 * DAY;

/// In seconds: from ten seconds to 30 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrialDuration(u64);

impl TrialDuration {
    /// Parses a number with a unit: `30s`, `10m`, `2h`, `1d`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let seconds = match duration(text) {
            Ok(seconds) => Some(seconds),
            Err(DurationError::TooLong) => None,
            Err(error @ DurationError::Form) => return Err(error.to_string()),
        };
        seconds.and_then(Self::of_seconds).ok_or_else(|| "a trial lasts from 10s to 30d".to_owned())
    }

    /// Returns the duration if a trial may last that long.
    pub fn of_seconds(seconds: u64) -> Option<Self> {
        (SHORTEST..=LONGEST).contains(&seconds).then_some(Self(seconds))
    }

    pub fn seconds(self) -> u64 {
        self.0
    }

    /// True if a deadline needs its seconds.
    pub fn is_short(self) -> bool {
        self.0 < HOUR
    }

    pub fn milliseconds(self) -> u64 {
        self.0.saturating_mul(1000)
    }
}

impl fmt::Display for TrialDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ShownDuration(self.0).fmt(f)
    }
}

// The record, `var/sadm/patchadm/trial/record`, is one line:
// {"trial":1,"run":"7-9c1d6f20aa31b7e4","patches":["100-01"],"seconds":600,"until":"2026-11-20T06:47:39Z",
//  "boot":"6f1e…","monotonic":1234567,"guards_check":false,"reboots":0,"boots":0,"stuck":null}
// A record that this program could not have written is not trusted: it ends nothing and backs nothing out.

const VERSION: u32 = 1;

/// 1 MiB.
pub const LONGEST_TRIAL_RECORD: u64 = 1 << 20;

/// A trial may continue after so many boots.
pub const MOST_REBOOTS: u32 = 100;

const LONGEST_REASON: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialRecord {
    /// The run that applied the patches.
    pub run: String,
    /// In order of application, as the root spells their ids.
    pub patches: Vec<String>,
    pub duration: TrialDuration,
    /// By the wall clock, in whole seconds.
    pub until: DateTime<Utc>,
    /// In which it began, if the system has boot ids.
    pub boot: Option<String>,
    /// Milliseconds from that boot to its beginning.
    pub monotonic: u64,
    /// Nobody asked for a trial: it only guards the check after the run.
    pub guards_check: bool,
    /// It may continue after so many boots.
    pub reboots: u32,
    /// It continued after so many boots; `boot` is the last of them.
    pub boots: u32,
    /// Why the patches could not be backed out after the trial.
    pub stuck: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a record of a trial: {0}")]
pub struct TrialRecordError(String);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTrial {
    trial: u32,
    run: String,
    patches: Vec<String>,
    seconds: u64,
    until: String,
    boot: Option<String>,
    monotonic: u64,
    guards_check: bool,
    reboots: u32,
    boots: u32,
    stuck: Option<String>,
}

impl TrialRecord {
    /// Begins a trial of a run that has no name yet.
    pub fn beginning(patches: Vec<String>, duration: TrialDuration, now: &Moment) -> Self {
        let seconds = i64::try_from(duration.seconds()).unwrap_or(i64::MAX);
        let until = DateTime::from_timestamp(now.wall.timestamp().saturating_add(seconds), 0);
        Self {
            run: String::new(),
            patches,
            duration,
            until: until.unwrap_or(DateTime::<Utc>::MAX_UTC),
            boot: now.boot.clone(),
            monotonic: now.since_boot,
            guards_check: false,
            reboots: 0,
            boots: 0,
            stuck: None,
        }
    }

    /// Returns the deadline for records and reports.
    pub fn deadline(&self) -> String {
        self.until.to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// Returns the text for the history.
    pub fn start(&self) -> TrialStart {
        TrialStart { until: self.deadline(), boot: self.boot.clone(), monotonic: self.monotonic }
    }

    /// Returns the record with the reason why the patches could not be backed out, cut to one line.
    #[must_use]
    pub fn stuck_because(&self, reason: &str) -> Self {
        let one_line: String =
            reason.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        let mut end = one_line.len().min(LONGEST_REASON);
        while !one_line.is_char_boundary(end) {
            end -= 1;
        }
        Self { stuck: Some(one_line[..end].to_owned()), ..self.clone() }
    }

    pub fn parse(text: &[u8]) -> Result<Self, TrialRecordError> {
        let line =
            text.strip_suffix(b"\n").ok_or_else(|| TrialRecordError("its end is missing".to_owned()))?;
        Self::read(line).map_err(TrialRecordError)
    }

    fn read(line: &[u8]) -> Result<Self, String> {
        let written: WrittenTrial = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if !rule::holds("trial.version", written.trial == VERSION) {
            return Err("the version in `trial` is not 1".to_owned());
        }
        if !rule::holds("trial.run", Run::is_name(&written.run)) {
            return Err("`run` is not a run".to_owned());
        }
        let patches = written.patches;
        if !rule::holds("trial.patches", !patches.is_empty() && are_different_ids(&patches)) {
            return Err("`patches` is empty, or contains anything other than ids, or an id twice".to_owned());
        }
        let duration = TrialDuration::of_seconds(written.seconds)
            .ok_or_else(|| "`seconds` is not from 10 to 2592000".to_owned())?;
        let until = DateTime::parse_from_rfc3339(&written.until)
            .map_err(|error| format!("`until` is not a time: {error}"))?
            .with_timezone(&Utc);
        if !rule::holds("trial.boot", written.boot.as_deref().is_none_or(is_boot_id)) {
            return Err("`boot` is not a valid id of a boot".to_owned());
        }
        if !rule::holds("trial.boots", written.boots <= written.reboots && written.reboots <= MOST_REBOOTS) {
            return Err("`boots` is greater than `reboots`, or `reboots` is greater than 100".to_owned());
        }
        let is_reason = |text: &str| text.len() <= LONGEST_REASON && !text.chars().any(char::is_control);
        if !rule::holds("trial.stuck", written.stuck.as_deref().is_none_or(is_reason)) {
            return Err("`stuck` is not a line, or too long".to_owned());
        }
        let record = Self {
            run: written.run,
            patches,
            duration,
            until,
            boot: written.boot,
            monotonic: written.monotonic,
            guards_check: written.guards_check,
            reboots: written.reboots,
            boots: written.boots,
            stuck: written.stuck,
        };
        if !rule::holds("trial.until", record.deadline() == written.until) {
            return Err("`until` is not in the form that this program writes".to_owned());
        }
        Ok(record)
    }

    /// Formats the file around the name of the run, which is not known before the run.
    pub fn around_run(&self) -> (Vec<u8>, Vec<u8>) {
        around_mark(&Self { run: RUN_MARK.to_owned(), ..self.clone() }.write())
    }

    pub fn write(&self) -> Vec<u8> {
        let written = WrittenTrial {
            trial: VERSION,
            run: self.run.clone(),
            patches: self.patches.clone(),
            seconds: self.duration.seconds(),
            until: self.deadline(),
            boot: self.boot.clone(),
            monotonic: self.monotonic,
            guards_check: self.guards_check,
            reboots: self.reboots,
            boots: self.boots,
            stuck: self.stuck.clone(),
        };
        // Strings, lists of strings and numbers: serialising these cannot fail.
        let mut line = serde_json::to_vec(&written).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

fn are_different_ids(patches: &[String]) -> bool {
    let mut known = HashSet::new();
    patches.iter().all(|id| is_patch_id(id) && known.insert(id))
}

/// With any separator between base and revision.
fn is_patch_id(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    (1..=PatchId::LONGEST).contains(&text.len())
        && text.bytes().all(is_letter)
        && text.bytes().next_back().is_some_and(|last| last.is_ascii_digit())
        && !text.starts_with(['-', '.'])
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    pub wall: DateTime<Utc>,
    /// `None` if the system has no boot ids.
    pub boot: Option<String>,
    /// Milliseconds since that boot, including suspension.
    pub since_boot: u64,
}

// The end of a trial, by its record and the clocks.
//
// | since the beginning | decides |
// | --- | --- |
// | the same boot, and its clock went on | the time since the boot alone: nobody sets it |
// | the same boot, and its clock is earlier than at the beginning | the wall clock: a restarted container keeps the id of the boot and has a clock of its own |
// | one of the two boots is not known | the wall clock |
// | another boot | it is over, unless it may continue after so many boots |
// | a boot that it continued after | the wall clock and the time since that boot: whichever is over first |
//
// A wall clock that is before the beginning, or beyond the deadline by more than the trial lasts, was set. Nothing
// tells the time then, and the trial is over: the state before it is safe.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialState {
    Running {
        /// In milliseconds.
        left: u64,
    },
    /// Not confirmed in time.
    Over(OverReason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverReason {
    TimeIsUp,
    OtherBoot,
    /// Time cannot be measured.
    ClockWasSet,
    /// Its probe failed, and its patches could not be backed out then.
    ProbeFailed,
}

impl TrialRecord {
    /// Returns the state at a moment. A trial whose patches could not be backed out is over before its time.
    pub fn state(&self, now: &Moment) -> TrialState {
        match self.state_by_time(now) {
            TrialState::Running { .. } if self.stuck.is_some() => TrialState::Over(OverReason::ProbeFailed),
            state => state,
        }
    }

    fn state_by_time(&self, now: &Moment) -> TrialState {
        match (&self.boot, &now.boot) {
            (Some(then), Some(of_now)) if then != of_now && self.boots >= self.reboots => {
                TrialState::Over(OverReason::OtherBoot)
            }
            (Some(then), Some(of_now)) if then != of_now || self.boots > 0 => self.after_boot(now),
            (Some(_), Some(_)) if now.since_boot >= self.monotonic => {
                let gone = now.since_boot - self.monotonic;
                running_for(self.duration.milliseconds().saturating_sub(gone))
            }
            _ => self.by_the_wall(now),
        }
    }

    /// Returns the record for the present boot; `None` if that was counted already, or the trial is over.
    #[must_use]
    pub fn counting_boot(&self, now: &Moment) -> Option<Self> {
        let is_other = self.boot.is_some() && now.boot.is_some() && self.boot != now.boot;
        let goes_on = matches!(self.state(now), TrialState::Running { .. });
        let boots = self.boots.checked_add(1).filter(|_| is_other && goes_on)?;
        // From this boot on.
        Some(Self { boot: now.boot.clone(), monotonic: 0, boots, ..self.clone() })
    }

    /// A wall clock that was set meanwhile never makes the trial longer than within one boot.
    fn after_boot(&self, now: &Moment) -> TrialState {
        let left_of_boot = self.duration.milliseconds().saturating_sub(now.since_boot);
        match self.by_the_wall(now) {
            TrialState::Running { left } => running_for(left.min(left_of_boot)),
            over @ TrialState::Over(_) => over,
        }
    }

    fn by_the_wall(&self, now: &Moment) -> TrialState {
        let left = self.until.timestamp_millis().saturating_sub(now.wall.timestamp_millis());
        let left = u64::try_from(left).unwrap_or_default();
        // The deadline is in whole seconds.
        if left > self.duration.milliseconds().saturating_add(1000) {
            return TrialState::Over(OverReason::ClockWasSet);
        }
        running_for(left)
    }
}

fn running_for(left: u64) -> TrialState {
    if left == 0 { TrialState::Over(OverReason::TimeIsUp) } else { TrialState::Running { left } }
}

#[cfg(test)]
mod tests {
    use super::*;

    use chrono::{DateTime, Days, TimeDelta, Utc};
    use proptest::prelude::*;

    #[test]
    fn a_duration_is_a_number_with_a_unit_within_its_limits() {
        for (text, seconds, shown) in [
            ("30s", 30, "30s"),
            ("10m", 600, "10m"),
            ("2h", 7_200, "2h"),
            ("1d", 86_400, "1d"),
            ("30d", 2_592_000, "30d"),
            ("10s", 10, "10s"),
            ("24h", 86_400, "1d"),
            ("90s", 90, "90s"),
            ("5min", 300, "5m"),
            ("1w", 604_800, "7d"),
        ] {
            let duration = TrialDuration::parse(text).unwrap();
            assert_eq!((duration.seconds(), duration.to_string().as_str()), (seconds, shown));
        }
        for bad in ["", "s", "10", "-10s", "+10s", "1.5h", "10 m", "10M", "ten", "10é", "٣٠s"] {
            assert_eq!(
                TrialDuration::parse(bad).unwrap_err(),
                "not a duration: write 30s, 10m, 2h, 7d, 12w, or 1y",
                "{bad}"
            );
        }
        for bad in
            ["0s", "0d", "9s", "31d", "5w", "1y", "365d", "99999999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(TrialDuration::parse(bad).unwrap_err(), "a trial lasts from 10s to 30d", "{bad}");
        }
    }

    const LINE: &str = "{\"trial\":1,\"run\":\"7-9c1d6f20aa31b7e4\",\"patches\":[\"100-01\",\"web-02\"],\
        \"seconds\":600,\"until\":\"2026-11-20T06:47:39Z\",\"boot\":\"0b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b\",\
        \"monotonic\":1234567,\"guards_check\":false,\"reboots\":2,\"boots\":1,\"stuck\":null}\n";

    #[test]
    fn the_line_of_the_manual_is_read_and_written_again() {
        let record = TrialRecord::parse(LINE.as_bytes()).unwrap();
        assert_eq!(record.patches.len(), 2);
        assert_eq!(String::from_utf8(record.write()).unwrap(), LINE);
        let (before, after) = record.around_run();
        assert_eq!([before, record.run.as_bytes().to_vec(), after].concat(), LINE.as_bytes());
        let stuck = record.stuck_because(&format!("two\nlines, {}", "é".repeat(600)));
        assert_eq!(TrialRecord::parse(&stuck.write()).unwrap(), stuck);
        let unknown = LINE.replace("\"0b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b\"", "null");
        assert_eq!(TrialRecord::parse(unknown.as_bytes()).unwrap().boot, None);
    }

    #[test]
    fn what_no_trial_writes_is_refused() {
        for (old, new) in [
            ("\"trial\":1", "\"trial\":2"),
            ("7-9c1d6f20aa31b7e4", "18446744073709551615-ffffffffffffffff"),
            ("7-9c1d6f20aa31b7e4", "7-9C1D6F20AA31B7E4"),
            ("100-01", "../etc"),
            ("[\"100-01\",\"web-02\"]", "[]"),
            ("web-02", "100-01"),
            (":600", ":0"),
            (":600", ":31536000"),
            (":600", ":-600"),
            ("2026-11-20T06:47:39Z", "tomorrow"),
            ("2026-11-20T06:47:39Z", "2026-11-20T07:47:39+01:00"),
            ("0b2a1c6e-5d1f", "0b2a1c6e/5d1f"),
            ("0b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b", ""),
            (":1234567", ":-1"),
            (":false", ":0"),
            ("\"boots\":1", "\"boots\":3"),
            ("\"boots\":1", "\"boots\":-1"),
            ("\"reboots\":2", "\"reboots\":101"),
            ("\"stuck\":null", "\"stuck\":\"a\\nb\""),
            ("\"stuck\"", "\"other\""),
        ] {
            let text = LINE.replacen(old, new, 1);
            assert!(text != LINE && TrialRecord::parse(text.as_bytes()).is_err(), "{new}");
        }
        for end in 0..LINE.len() {
            assert!(TrialRecord::parse(&LINE.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn a_record_of_two_hundred_thousand_patches_is_read_at_once() {
        let ids: Vec<String> = (0..200_000).map(|number| format!("\"{number}-01\"")).collect();
        let text = LINE.replace("\"100-01\",\"web-02\"", &ids.join(","));
        let began = std::time::Instant::now();
        assert_eq!(TrialRecord::parse(text.as_bytes()).unwrap().patches.len(), 200_000);
        // Comparing each with all before it takes minutes.
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
        let twice = text.replace("\"199999-01\"", "\"0-01\"");
        assert!(TrialRecord::parse(twice.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = TrialRecord::parse(&bytes);
        }
    }

    const BOOT: &str = "0b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b";

    const OTHER: &str = "1b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b";

    fn begun() -> Moment {
        let wall = DateTime::parse_from_rfc3339("2026-11-20T06:37:39Z").unwrap().with_timezone(&Utc);
        Moment { wall, boot: Some(BOOT.to_owned()), since_boot: 5_000_000 }
    }

    fn record() -> TrialRecord {
        let patches = vec!["100-01".to_owned()];
        TrialRecord::beginning(patches, TrialDuration::parse("10m").unwrap(), &begun())
    }

    #[test]
    fn a_trial_whose_patches_could_not_go_is_over_before_its_time() {
        let stuck = record().stuck_because("a file is immutable");
        assert_eq!(stuck.state(&begun()), TrialState::Over(OverReason::ProbeFailed));
        assert_eq!(stuck.state(&later(600)), TrialState::Over(OverReason::TimeIsUp));
    }

    fn later(seconds: i64) -> Moment {
        let begun = begun();
        Moment {
            wall: begun.wall + TimeDelta::seconds(seconds),
            since_boot: begun.since_boot.saturating_add_signed(seconds * 1000),
            ..begun
        }
    }

    const UP: TrialState = TrialState::Over(OverReason::TimeIsUp);

    #[test]
    fn in_the_same_boot_its_time_decides_alone() {
        assert_eq!(record().state(&later(0)), TrialState::Running { left: 600_000 });
        assert_eq!(record().state(&later(599)), TrialState::Running { left: 1_000 });
        assert_eq!(record().state(&later(600)), UP);
        assert_eq!(record().state(&later(1_000_000)), UP);
    }

    #[test]
    fn a_clock_that_is_set_ten_years_forth_or_back_changes_nothing() {
        for days in [Days::new(3_653), Days::new(1)] {
            let forth = Moment { wall: later(300).wall + days, ..later(300) };
            let back = Moment { wall: later(300).wall - days, ..later(300) };
            assert_eq!(record().state(&forth), TrialState::Running { left: 300_000 });
            assert_eq!(record().state(&back), TrialState::Running { left: 300_000 });
            assert_eq!(record().state(&Moment { wall: back.wall, ..later(600) }), UP);
        }
    }

    #[test]
    fn where_the_time_of_the_boot_runs_backwards_the_wall_decides() {
        let earlier = |seconds| Moment { since_boot: 4_999_999, ..later(seconds) };
        assert_eq!(record().state(&earlier(100)), TrialState::Running { left: 500_000 });
        assert_eq!(record().state(&earlier(600)), UP);
        let set = Moment { wall: begun().wall - Days::new(3_653), since_boot: 0, ..begun() };
        assert_eq!(record().state(&set), TrialState::Over(OverReason::ClockWasSet));
        let forth = Moment { wall: begun().wall + Days::new(3_653), since_boot: 0, ..begun() };
        assert_eq!(record().state(&forth), UP);
    }

    #[test]
    fn another_boot_is_the_end() {
        let booted = Moment { boot: Some(OTHER.to_owned()), ..later(1) };
        assert_eq!(record().state(&booted), TrialState::Over(OverReason::OtherBoot));
    }

    /// After another boot; `of_wall` is in seconds since the beginning.
    fn booted(boot: &str, of_wall: i64, since_boot: u64) -> Moment {
        Moment { boot: Some(boot.to_owned()), since_boot: since_boot * 1000, ..later(of_wall) }
    }

    #[test]
    fn a_trial_goes_on_after_as_many_boots_as_it_may() {
        const THIRD: &str = "2b2a1c6e-5d1f-4c5e-9a8b-7c6d5e4f3a2b";
        let once = TrialRecord { reboots: 1, ..record() };
        assert_eq!(once.counting_boot(&later(10)), None, "the boot is the same");
        let counted = once.counting_boot(&booted(OTHER, 100, 20)).unwrap();
        assert_eq!((counted.boots, counted.monotonic, counted.boot.as_deref()), (1, 0, Some(OTHER)));
        assert_eq!(counted.counting_boot(&booted(OTHER, 110, 30)), None, "it is counted once");
        assert_eq!(counted.state(&booted(OTHER, 110, 30)), TrialState::Running { left: 490_000 });
        assert_eq!(counted.state(&booted(OTHER, 600, 520)), UP);
        assert_eq!(counted.state(&booted(THIRD, 200, 1)), TrialState::Over(OverReason::OtherBoot));
        assert_eq!(counted.counting_boot(&booted(THIRD, 200, 1)), None);
        assert_eq!(record().counting_boot(&booted(OTHER, 100, 20)), None, "nobody allowed it");
    }

    #[test]
    fn after_a_boot_a_clock_that_was_set_makes_no_trial_longer() {
        let counted = TrialRecord { reboots: 3, ..record() }.counting_boot(&booted(OTHER, 100, 20)).unwrap();
        // The clock stands still from here on.
        assert_eq!(counted.state(&booted(OTHER, 100, 599)), TrialState::Running { left: 1_000 });
        assert_eq!(counted.state(&booted(OTHER, 100, 600)), UP, "it lasts no longer than within one boot");
        let back = Moment { wall: begun().wall - Days::new(3_653), ..booted(OTHER, 0, 20) };
        assert_eq!(counted.state(&back), TrialState::Over(OverReason::ClockWasSet));
        let forth = Moment { wall: begun().wall + Days::new(3_653), ..booted(OTHER, 0, 20) };
        assert_eq!(counted.state(&forth), UP);
        let late = TrialRecord { reboots: 3, ..record() };
        assert_eq!(late.counting_boot(&booted(OTHER, 700, 5)), None, "its time was up before the boot");
    }

    #[test]
    fn where_a_boot_is_not_known_the_wall_decides() {
        let unknown = |seconds| Moment { boot: None, ..later(seconds) };
        assert_eq!(record().state(&unknown(100)), TrialState::Running { left: 500_000 });
        assert_eq!(record().state(&unknown(600)), UP);
        let nowhere = TrialRecord { boot: None, ..record() };
        assert_eq!(nowhere.state(&unknown(599)), TrialState::Running { left: 1_000 });
        assert_eq!(nowhere.state(&later(601)), UP);
    }

    #[test]
    fn a_record_that_claims_a_beginning_in_the_future_is_no_trial_for_ever() {
        let forged = TrialRecord {
            monotonic: u64::MAX,
            until: DateTime::parse_from_rfc3339("9999-12-31T23:59:59Z").unwrap().with_timezone(&Utc),
            ..record()
        };
        assert_eq!(forged.state(&later(0)), TrialState::Over(OverReason::ClockWasSet));
    }
}
