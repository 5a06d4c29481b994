//! The record of a trial, `var/sadm/patchadm/trial/record`: one line.
//!
//! ```text
//! {"trial":1,"run":"7-9c1d6f20aa31b7e4","patches":["100-01"],"seconds":600,"until":"2026-11-20T06:47:39Z",
//!  "boot":"6f1e…","monotonic":1234567,"guards_check":false,"reboots":0,"boots":0,"stuck":null}
//! ```
//! What the program could not have written is not believed: such a record ends nothing and backs nothing out.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::duration::TrialDuration;
use super::moment::Moment;
use patchadm_changeset::format::history::TrialStart;
use patchadm_changeset::format::journal::is_boot_id;
use patchadm_changeset::format::run::{RUN_MARK, Run, around_mark};
use patchadm_svr4::package::rule;
use patchadm_svr4::patch::PatchId;

/// The version of the format.
const VERSION: u32 = 1;

/// The size of the largest record that is read, in bytes: 1 MiB.
pub const LONGEST_TRIAL_RECORD: u64 = 1 << 20;

/// The most boots that a trial may go on after.
pub const MOST_REBOOTS: u32 = 100;

/// The longest reason for which a trial is stuck, in bytes.
const LONGEST_REASON: usize = 1_000;

/// A run whose patches are on trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialRecord {
    /// The run that applied the patches.
    pub run: String,
    /// The patches, in the order in which they were applied, as the root spells their ids.
    pub patches: Vec<String>,
    /// How long the trial lasts.
    pub duration: TrialDuration,
    /// The deadline by the clock on the wall, in whole seconds.
    pub until: DateTime<Utc>,
    /// The id of the boot in which it began; `None` where the system did not tell it.
    pub boot: Option<String>,
    /// The milliseconds from that boot to its beginning.
    pub monotonic: u64,
    /// Whether nobody asked for a trial: it only guards the check that follows the run.
    pub guards_check: bool,
    /// How many boots it may go on after.
    pub reboots: u32,
    /// How many boots it went on after, so that `boot` is the last of them.
    pub boots: u32,
    /// Why the patches could not be backed out when the trial was over.
    pub stuck: Option<String>,
}

/// A record that this program did not write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a record of a trial: {0}")]
pub struct TrialRecordError(String);

/// The line as it is written.
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
    /// Begins a trial now, of a run whose name is not known yet.
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

    /// Returns the deadline as records and reports have it.
    pub fn deadline(&self) -> String {
        self.until.to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// Returns what the history tells of it.
    pub fn start(&self) -> TrialStart {
        TrialStart { until: self.deadline(), boot: self.boot.clone(), monotonic: self.monotonic }
    }

    /// Returns the same record with the reason why the patches could not be backed out, cut to one line of its limit.
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

    /// Reads the file.
    pub fn parse(text: &[u8]) -> Result<Self, TrialRecordError> {
        let line =
            text.strip_suffix(b"\n").ok_or_else(|| TrialRecordError("its end is missing".to_owned()))?;
        Self::read(line).map_err(TrialRecordError)
    }

    fn read(line: &[u8]) -> Result<Self, String> {
        let written: WrittenTrial = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if !rule::holds("trial.version", written.trial == VERSION) {
            return Err("`trial` is another version than 1".to_owned());
        }
        if !rule::holds("trial.run", Run::is_name(&written.run)) {
            return Err("`run` is no run".to_owned());
        }
        let patches = written.patches;
        let is_once = |(at, id): (usize, &String)| !patches.iter().take(at).any(|other| other == id);
        let is_new = |(at, id): (usize, &String)| is_patch_id(id) && is_once((at, id));
        if !rule::holds("trial.patches", !patches.is_empty() && patches.iter().enumerate().all(is_new)) {
            return Err("`patches` is empty, or has something else than ids, or one twice".to_owned());
        }
        let duration = TrialDuration::of_seconds(written.seconds)
            .ok_or_else(|| "`seconds` is not from 10 to 2592000".to_owned())?;
        let until = DateTime::parse_from_rfc3339(&written.until)
            .map_err(|error| format!("`until` is no time: {error}"))?
            .with_timezone(&Utc);
        if !rule::holds("trial.boot", written.boot.as_deref().is_none_or(is_boot_id)) {
            return Err("`boot` is no id of a boot".to_owned());
        }
        if !rule::holds("trial.boots", written.boots <= written.reboots && written.reboots <= MOST_REBOOTS) {
            return Err("`boots` is more than `reboots`, or that more than 100".to_owned());
        }
        let is_reason = |text: &str| text.len() <= LONGEST_REASON && !text.chars().any(char::is_control);
        if !rule::holds("trial.stuck", written.stuck.as_deref().is_none_or(is_reason)) {
            return Err("`stuck` is no line, or too long".to_owned());
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
            return Err("`until` is not in the spelling of this program".to_owned());
        }
        Ok(record)
    }

    /// Formats the file as it is around the name of the run, which is not known before the run.
    pub fn around_run(&self) -> (Vec<u8>, Vec<u8>) {
        around_mark(&Self { run: RUN_MARK.to_owned(), ..self.clone() }.write())
    }

    /// Formats the file.
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

/// Tells whether a text can be the id of a patch, whatever the root has between base and revision.
fn is_patch_id(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte);
    (1..=PatchId::LONGEST).contains(&text.len())
        && text.bytes().all(is_letter)
        && text.bytes().next_back().is_some_and(|last| last.is_ascii_digit())
        && !text.starts_with(['-', '.'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = TrialRecord::parse(&bytes);
        }
    }
}
