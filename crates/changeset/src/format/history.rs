//! `var/sadm/patchadm/history`: a JSON line per run, or per patch of a run, appended after its outcome. Nothing depends
//! on it: packages' parameters tell which patches are applied. A torn last line is skipped, and cut off by the next
//! writer.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::format::run::Run;
use patchadm_rootfs::Timestamp;
use patchadm_svr4::format::LONGEST_LINE;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::control::truncated;

/// In characters. No run writes a longer text except for paths.
pub const LONGEST_TEXT: usize = 1_000;

/// In bytes, for the file of attempts. A larger one is foreign.
pub const LARGEST_ATTEMPTS_READ: u64 = 4 << 20;

/// Of patches, of packages and of merges in a line. No run has more.
const MOST_ENTRIES: usize = 50_000;

/// In the words of patchadm-signatures(5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureRecord {
    /// `trusted`, `unsigned`, …; `unchecked` if an option disabled the check.
    pub state: String,
    /// 16 hexadecimal digits.
    #[serde(default)]
    pub key: Option<String>,
    /// The root's name for the key.
    #[serde(default)]
    pub name: Option<String>,
    /// RFC 3339, if the signature covers a time.
    #[serde(default)]
    pub time: Option<String>,
    /// Coverage of the manifest: `members` or `file`.
    #[serde(default)]
    pub form: Option<String>,
    /// `require`, `warn` or `off`.
    pub policy: String,
}

/// A package manager's action on an adopted package, followed by a refresh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshRecord {
    pub package: String,
    /// `dpkg` or `rpm`.
    pub manager: String,
    /// In the package manager.
    pub name: String,
    pub from: String,
    /// `None` if the package was removed.
    #[serde(default)]
    pub to: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStart {
    /// Wall clock, RFC 3339.
    pub until: String,
    /// If the system told it.
    #[serde(default)]
    pub boot: Option<String>,
    /// Milliseconds since that boot.
    pub monotonic: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialEnd {
    pub run: String,
    /// `confirmed`, `expired`, `undone`, `failed` (by its check), or `stuck`.
    pub end: String,
    /// Not restored, because a package manager wrote there since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LeftPaths>,
}

impl TrialEnd {
    /// For example `expired, 2 paths left to dpkg`.
    pub fn told(&self) -> String {
        match &self.left {
            None => self.end.clone(),
            Some(left) => format!("{}, {left}", self.end),
        }
    }
}

/// Written by a package manager during a trial, and not restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftPaths {
    pub paths: u64,
    pub manager: String,
}

impl fmt::Display for LeftPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { paths, manager } = self;
        let noun = if *paths == 1 { "path" } else { "paths" };
        write!(f, "{paths} {noun} left to {manager}")
    }
}

/// An edited file that a patch left in place, with its own version beside it; or a file that was replaced although it was
/// edited, with a copy of the edited one beside it. The merge is open until someone removes the file beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    #[serde(with = "escaped_path")]
    pub path: ObjectPath,
    /// The patch's version, the edited one, or one that the end of a run put aside.
    #[serde(with = "escaped_path")]
    pub beside: ObjectPath,
}

impl Merge {
    /// True if the file beside is the edited one.
    pub fn is_of_edited(&self) -> bool {
        let rest = self.beside.as_bytes().strip_prefix(self.path.as_bytes());
        rest.is_some_and(|rest| rest.starts_with(b".edited-"))
    }

    /// Returns the run whose rollback, or whose end, put the file beside.
    pub fn ended_run(&self) -> Option<&str> {
        let rest = self.beside.as_bytes().strip_prefix(self.path.as_bytes())?;
        let rest = std::str::from_utf8(rest.strip_prefix(b".edited-")?).ok()?;
        let run = rest.split_once('.').map_or(rest, |(run, _)| run);
        Run::is_name(run).then_some(run)
    }
}

mod escaped_path {
    use serde::de::{Deserialize as _, Deserializer, Error as _};
    use serde::ser::Serializer;

    use crate::format::manifest::{decode, encode};
    use patchadm_svr4::package::ObjectPath;

    pub(super) fn serialize<S: Serializer>(path: &ObjectPath, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encode(path.as_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ObjectPath, D::Error> {
        let text = String::deserialize(from)?;
        ObjectPath::new(&decode(&text)).map_err(D::Error::custom)
    }
}

/// One run, or one patch of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// `<number>-<16 hexadecimal digits>`.
    pub run: String,
    /// RFC 3339, in seconds, UTC.
    pub time: String,
    /// Login name, or the number of a user without one.
    pub user: String,
    /// For example `patchadd` or `recover`.
    pub command: String,
    /// The command line as it was typed, without secrets; in the first line of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
    /// Empty for packages.
    #[serde(default)]
    pub patches: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// `done` or `rolled-back`.
    pub result: String,
    /// Milliseconds.
    pub duration: u64,
    /// The superuser trusted the root's owner (`--trust-root`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trusted: bool,
    /// A package manager's hook called, not a person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hook: bool,
    /// If the check was requested, or disabled by an option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// For each patch that nobody named: the patch that requires it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub because: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refreshed: Vec<RefreshRecord>,
    /// Edited files that stayed, and versions that were put aside; use [`HistoryEntry::made_merges`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merges: Vec<Merge>,
    /// The trial that it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialStart>,
    /// Its effect on an earlier trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_end: Option<TrialEnd>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct HistoryError {
    /// Counts from 1.
    pub line: usize,
    pub reason: String,
}

impl HistoryEntry {
    /// Returns a moment at which the run had certainly ended; `None` if its time is invalid.
    pub fn end(&self) -> Option<Timestamp> {
        let start = chrono::DateTime::parse_from_rfc3339(&self.time).ok()?;
        let duration = i64::try_from(self.duration.div_ceil(1000)).ok()?;
        // The start is in whole seconds.
        Some(Timestamp::whole(start.timestamp().checked_add(duration)?.checked_add(1)?))
    }

    /// Takes the merges that the run made: of a run that was rolled back, only those of its rollback.
    pub fn made_merges(&mut self) -> Vec<Merge> {
        let mut merges = std::mem::take(&mut self.merges);
        merges.retain(|merge| self.result == "done" || merge.ended_run() == Some(&self.run));
        merges
    }

    /// With its newline.
    pub fn line(&self) -> Vec<u8> {
        // Serializing strings, lists of strings and a number cannot fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Ignores fields of later versions. Cuts texts that are too long: the owner of a root can write any into its history.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        if line.len() > LONGEST_LINE {
            return Err(format!("it is longer than {LONGEST_LINE} bytes"));
        }
        let entry: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if line.len() <= LONGEST_TEXT {
            return Ok(entry);
        }
        let (what, length) = entry.longest_list();
        if length > MOST_ENTRIES {
            return Err(format!("it has more than {MOST_ENTRIES} {what}"));
        }
        // Untyped only now: foreign values of other kinds take many times the size of their text.
        let mut entry = serde_json::to_value(entry).map_err(|error| error.to_string())?;
        cut_texts(&mut entry);
        serde_json::from_value(entry).map_err(|error| error.to_string())
    }

    fn longest_list(&self) -> (&'static str, usize) {
        let Self { patches, packages, merges, .. } = self;
        let lists = [("patches", patches.len()), ("packages", packages.len()), ("merges", merges.len())];
        lists.into_iter().max_by_key(|(_, length)| *length).unwrap_or_default()
    }
}

/// Paths have their own limit.
fn cut_texts(value: &mut Value) {
    match value {
        Value::String(text) if text.len() > LONGEST_TEXT => {
            *text = truncated(text, LONGEST_TEXT).into_owned();
        }
        Value::Array(values) => values.iter_mut().for_each(cut_texts),
        Value::Object(fields) => {
            let texts = fields.iter_mut().filter(|(name, _)| name.as_str() != "merges");
            texts.for_each(|(_, value)| cut_texts(value));
        }
        _ => {}
    }
}

/// Skips text after the last newline, torn by a power cut.
pub fn parse(text: &[u8]) -> Result<Vec<HistoryEntry>, HistoryError> {
    let whole = text.iter().rposition(|&byte| byte == b'\n').and_then(|end| text.get(..end));
    let lines = whole.unwrap_or_default().split(|&byte| byte == b'\n').enumerate();
    lines
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(at, line)| HistoryEntry::parse(line).map_err(|reason| HistoryError { line: at + 1, reason }))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(run: &str) -> HistoryEntry {
        HistoryEntry {
            run: run.to_owned(),
            time: "2026-11-20T06:37:39Z".to_owned(),
            user: "root".to_owned(),
            command: "patchadd".to_owned(),
            typed: None,
            patches: vec!["105181-05".to_owned()],
            packages: vec!["SUNWcsr".to_owned()],
            result: "done".to_owned(),
            duration: 412,
            trusted: false,
            hook: false,
            signature: None,
            note: None,
            because: BTreeMap::new(),
            undoes: None,
            refreshed: Vec::new(),
            merges: Vec::new(),
            trial: None,
            trial_end: None,
        }
    }

    #[test]
    fn a_line_has_the_names_of_the_contract() {
        let line = String::from_utf8(entry("17-00000000000000ab").line()).unwrap();
        let expected = "{\"run\":\"17-00000000000000ab\",\"time\":\"2026-11-20T06:37:39Z\",\"user\":\"root\",\
            \"command\":\"patchadd\",\"patches\":[\"105181-05\"],\"packages\":[\"SUNWcsr\"],\"result\":\"done\",\
            \"duration\":412}\n";
        assert_eq!(line, expected);
        let line =
            String::from_utf8(HistoryEntry { trusted: true, ..entry("17-00000000000000ab") }.line()).unwrap();
        assert!(line.ends_with("\"duration\":412,\"trusted\":true}\n"), "{line}");
        let by_hook = HistoryEntry { hook: true, ..entry("17-00000000000000ab") };
        let line = String::from_utf8(by_hook.line()).unwrap();
        assert!(line.ends_with("\"duration\":412,\"hook\":true}\n"), "{line}");
        assert_eq!(parse(line.as_bytes()).unwrap(), [by_hook]);
        let waived = SignatureRecord {
            state: "unchecked".to_owned(),
            policy: "off".to_owned(),
            ..SignatureRecord::default()
        };
        let undone = HistoryEntry { undoes: Some("16-0".to_owned()), ..entry("17-00000000000000ab") };
        assert_eq!(parse(&undone.line()).unwrap(), [undone]);
        let entry = HistoryEntry { signature: Some(waived), ..entry("17-00000000000000ab") };
        let line = String::from_utf8(entry.line()).unwrap();
        let signature = "{\"state\":\"unchecked\",\"key\":null,\"name\":null,\"time\":null,\"form\":null,\"policy\":\"off\"}";
        assert!(line.ends_with(&format!(",\"signature\":{signature}}}\n")), "{line}");
        assert_eq!(parse(line.as_bytes()).unwrap(), [entry]);
    }

    #[test]
    fn a_torn_last_line_is_passed_over_and_a_broken_one_before_it_is_named() {
        let whole = [entry("1-0").line(), entry("2-0").line()].concat();
        assert_eq!(parse(&whole).unwrap(), [entry("1-0"), entry("2-0")]);
        assert_eq!(parse(&whole[..whole.len() - 7]).unwrap(), [entry("1-0")]);
        assert_eq!(parse(&whole[..10]).unwrap(), []);
        let broken = [&b"{\"run\":\n"[..], &whole].concat();
        assert_eq!(parse(&broken).unwrap_err().line, 1);
    }

    #[test]
    fn a_text_that_no_run_writes_is_cut() {
        let long = "x".repeat(500_000);
        let merge = Merge {
            path: ObjectPath::new("/x".repeat(2_000).as_bytes()).unwrap(),
            beside: ObjectPath::new(b"/etc/x.patch-1-01").unwrap(),
        };
        let forged = HistoryEntry {
            typed: Some(long.clone()),
            packages: vec!["ACMEweb".to_owned(), long],
            merges: vec![merge.clone()],
            ..entry("1-0")
        };
        let read = HistoryEntry::parse(&forged.line()).unwrap();
        let cut = format!("{}…", "x".repeat(LONGEST_TEXT - 1));
        assert_eq!(read.typed.as_deref(), Some(cut.as_str()));
        assert_eq!(read.packages, ["ACMEweb".to_owned(), cut]);
        assert_eq!(read.merges, [merge]);
        assert_eq!(HistoryEntry::parse(&read.line()), Ok(read));
    }

    #[test]
    fn a_line_with_more_names_than_any_run_has_is_damaged() {
        let with = |number: usize| HistoryEntry { patches: vec!["1-01".to_owned(); number], ..entry("1-0") };
        assert!(HistoryEntry::parse(&with(MOST_ENTRIES).line()).is_ok());
        let reason = HistoryEntry::parse(&with(MOST_ENTRIES + 1).line()).unwrap_err();
        assert_eq!(reason, "it has more than 50000 patches");
    }

    proptest! {
        #[test]
        fn an_entry_comes_back_whatever_its_words_are(user: String, patches: Vec<String>, duration: u64) {
            let entry = HistoryEntry { user, patches, duration, ..entry("1-0") };
            let line = entry.line();
            prop_assert_eq!(line.split(|&byte| byte == b'\n').count(), 2, "one line");
            prop_assert_eq!(parse(&line).unwrap(), [entry]);
        }
    }
}
