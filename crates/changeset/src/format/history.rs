//! The history of a root, `var/sadm/patchadm/history`: one JSON line for each run, appended after its outcome. A run
//! of several patches has one line for each patch.
//!
//! [`HistoryEntry`] is the line, for the writer and for readers. History decides nothing: the parameters of the
//! packages state which patches are applied. A last line torn by a power cut is skipped (the next writer cuts it
//! off).

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use patchadm_rootfs::Timestamp;
use patchadm_svr4::format::lines::LONGEST_LINE;
use patchadm_svr4::package::ObjectPath;

/// The facts known about the signature of a patch when it was applied, in the words of patchadm-signatures(5).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureRecord {
    /// The result of the check: `trusted`, `unsigned`, …; `unchecked` if an option disabled the check.
    pub state: String,
    /// The id of the key that signed, 16 hexadecimal digits.
    #[serde(default)]
    pub key: Option<String>,
    /// The name that the root has for the key.
    #[serde(default)]
    pub name: Option<String>,
    /// The time of signing, RFC 3339, if the signature covers one.
    #[serde(default)]
    pub time: Option<String>,
    /// The coverage of the manifest: `members` or `file`.
    #[serde(default)]
    pub form: Option<String>,
    /// The policy in force: `require`, `warn` or `off`.
    pub policy: String,
}

/// The action of a package manager on an adopted package whose registration a run refreshed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshRecord {
    /// The adopted package.
    pub package: String,
    /// Its package manager: `dpkg` or `rpm`.
    pub manager: String,
    /// Its name there.
    pub name: String,
    /// The version that was registered.
    pub from: String,
    /// The version that is registered now; `None` if the package was removed.
    #[serde(default)]
    pub to: Option<String>,
}

/// The trial on which a run put its patches: when it began and when it ends.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialStart {
    /// The deadline by the clock on the wall, RFC 3339.
    pub until: String,
    /// The id of the boot in which it began, if the system told it.
    #[serde(default)]
    pub boot: Option<String>,
    /// The milliseconds since that boot.
    pub monotonic: u64,
}

/// The effect of a run on the trial of an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialEnd {
    /// The run whose patches were on trial.
    pub run: String,
    /// `confirmed`, `expired`, `undone`, `failed` (by its check), or `stuck`.
    pub end: String,
    /// Paths that the rollback left alone because a package manager wrote there since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<LeftPaths>,
}

impl TrialEnd {
    /// Returns the end in words: `expired, 2 paths left to dpkg`.
    pub fn told(&self) -> String {
        match &self.left {
            None => self.end.clone(),
            Some(left) => format!("{}, {left}", self.end),
        }
    }
}

/// Paths of patches on trial that a package manager wrote since, and that stay as it left them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftPaths {
    /// Their number.
    pub paths: u64,
    /// The package manager.
    pub manager: String,
}

impl fmt::Display for LeftPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { paths, manager } = self;
        let noun = if *paths == 1 { "path" } else { "paths" };
        write!(f, "{paths} {noun} left to {manager}")
    }
}

/// An edited file that a patch left in place, with the patch's version beside it. The merge is open until someone
/// removes the file beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merge {
    /// The edited file.
    #[serde(with = "escaped_path")]
    pub path: ObjectPath,
    /// The patch's version.
    #[serde(with = "escaped_path")]
    pub beside: ObjectPath,
}

/// Paths as text, with `%XX` for unusual bytes.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The run: `<number>-<16 hexadecimal digits>`.
    pub run: String,
    /// Its start time: RFC 3339, in seconds, UTC.
    pub time: String,
    /// The login name of the user who ran it, or the number of a user without one.
    pub user: String,
    /// The command: `patchadd`, `patchrm`, `pkgadd`, `pkgrm`, `recover`.
    pub command: String,
    /// The command line as it was typed, without secrets; in the first line of a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
    /// The patches concerned; empty for packages.
    #[serde(default)]
    pub patches: Vec<String>,
    /// The packages it changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Its outcome: `done` or `rolled-back`.
    pub result: String,
    /// Its duration in milliseconds.
    pub duration: u64,
    /// True if the superuser trusted the owner of the root (`--trust-root`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trusted: bool,
    /// True if a hook of a package manager of the system ran it, and not a person.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hook: bool,
    /// The signature of the patch, if the check was requested or an option disabled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureRecord>,
    /// The note that the caller asked to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// For each patch that nobody named: the patch for which it was taken, too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub because: BTreeMap<String, String>,
    /// The run that it undid, if its purpose was to undo one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<String>,
    /// The registrations that it refreshed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refreshed: Vec<RefreshRecord>,
    /// The edited files that it left in place, each with the version of the patch beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merges: Vec<Merge>,
    /// The trial on which it put its patches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<TrialStart>,
    /// The effect on an earlier trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial_end: Option<TrialEnd>,
}

/// An invalid line of the history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct HistoryError {
    /// Its number; the first is 1.
    pub line: usize,
    /// The fault.
    pub reason: String,
}

impl HistoryEntry {
    /// Returns the moment at which the run had certainly ended; `None` if its time is no time.
    pub fn end(&self) -> Option<Timestamp> {
        let start = chrono::DateTime::parse_from_rfc3339(&self.time).ok()?;
        let duration = i64::try_from(self.duration.div_ceil(1000)).ok()?;
        // The start is in whole seconds.
        Some(Timestamp::whole(start.timestamp().checked_add(duration)?.checked_add(1)?))
    }

    /// Returns the line, with its newline.
    pub fn line(&self) -> Vec<u8> {
        // Strings, lists of strings and a number: serialising these cannot fail.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }

    /// Reads a line, with or without its newline. Fields added by a later version are ignored.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        if line.len() > LONGEST_LINE {
            return Err(format!("it is longer than {LONGEST_LINE} bytes"));
        }
        serde_json::from_slice(line).map_err(|error| error.to_string())
    }
}

/// Reads the text of a history. Text after the last newline was torn off by a power cut, and is skipped.
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
