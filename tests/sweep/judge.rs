//! Judges whether an answer is honest.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;

use super::damages::{Damage, Need, Record};
use crate::tree::Tree;

/// Answers that are right without mentioning the record: its path, the beginning of the command, and the reason.
const ELSEWHERE: [(&str, &str, &str); 7] = [
    ("/var/sadm/install/contents", "pkginfo -l", "objects are counted where there are some to count"),
    ("/var/sadm/pkg/ACMEweb", "patchadd -p", DIRECTORIES),
    ("/var/sadm/pkg/ACMEweb", "showrev", DIRECTORIES),
    ("/var/sadm/pkg/ACMEweb", "pkginfo", DIRECTORIES),
    ("/var/sadm/pkg/ACMEweb", "pkgparam", DIRECTORIES),
    ("/var/sadm/patch/100-02", "show", "what a patch says of itself is left out where it is not kept"),
    ("/var/sadm/patchadm/ledger/ACMEweb", "show", "what may not be read is told by the names that are there"),
];

/// Why some queries do not miss a package that has no directory.
const DIRECTORIES: &str = "it reads the directories of packages, and nothing that names others";

/// The answer of a command, and its effects.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Both outputs, without random parts.
    pub(crate) text: String,
    /// True if anything in the root has changed.
    pub(crate) touched: bool,
    /// True if anything has changed that a run which was rolled back does not leave.
    pub(crate) changed: bool,
    /// The objects outside the records afterwards.
    pub(crate) objects: Tree,
    /// The changes, as lines.
    pub(crate) difference: String,
}

/// One command on one damaged root.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) record: &'static Record,
    pub(crate) damage: Damage,
    pub(crate) command: &'static str,
    pub(crate) text: String,
    pub(crate) verdict: Verdict,
}

impl Cell {
    /// True if the answer is about the record, and not an error of another kind.
    pub(crate) fn names_its_record(&self) -> bool {
        !matches!(self.verdict, Verdict::Same) && self.record.is_named(&self.text)
    }
}

/// The classification of an answer.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// An error that names the record; nothing was changed.
    Refused,
    /// The answer of the whole root, which says nothing about the record.
    Same,
    /// The work was done, and the record is named.
    Noted,
    /// None of these.
    Fault(String),
}

impl Verdict {
    /// Its word in the table.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Same => "same",
            Self::Noted => "noted",
            Self::Fault(_) => "FAULT",
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = if let Verdict::Fault(said) = &self.verdict { said } else { "" };
        write!(f, "{} {:?}: {}: {said}", self.record.path, self.damage, self.command)
    }
}

/// The answer without run numbers, digests and durations.
pub(crate) fn without_chance(text: &str) -> String {
    static CHANCE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"[0-9]+-[0-9a-f]{16}|b3:[0-9a-f]+|"duration_ms": ?[0-9]+|run [0-9]+|"run": ?[0-9]+|[0-9.]+ ?([KMG]iB|bytes|B)\b|"bytes": ?[0-9]+"#).unwrap()
    });
    CHANCE.replace_all(text, "~").into_owned()
}

/// True if a line of a difference is about something that a run leaves which was rolled back.
pub(crate) fn is_of_a_run(line: &str) -> bool {
    let own =
        ["journal", "ops-", "history", "attempts", "log"].map(|name| format!("var/sadm/patchadm/{name}"));
    own.iter().any(|name| line.get(2..).is_some_and(|path| path.starts_with(name.as_str())))
}

/// Judges an answer by the one on the whole root.
pub(crate) fn verdict(
    record: &Record,
    line: &str,
    changes: bool,
    answer: &Answer,
    whole: &Answer,
) -> Verdict {
    let fault = |what: &str| {
        let code = answer.code.map_or_else(|| "signal".to_owned(), |code| code.to_string());
        let known: Vec<&str> = whole.text.lines().collect();
        let text: Vec<&str> = answer.text.lines().filter(|line| !known.contains(line)).take(6).collect();
        Verdict::Fault(format!("{what} (exit {code})\n    {}", text.join("\n    ")))
    };
    if matches!(answer.code, None | Some(70 | 101 | 128..)) || answer.text.contains("panicked") {
        return fault("a crash");
    }
    let named = record.is_named(&answer.text);
    if !changes && answer.changed {
        return fault(&format!("a question changed the root: {}", answer.difference));
    }
    let is_same = answer.code == whole.code && answer.text == whole.text && answer.objects == whole.objects;
    if is_same {
        let is_verify = line.starts_with("check");
        return match record.kind {
            Need::Record if is_verify => fault("check --contents is content"),
            _ => Verdict::Same,
        };
    }
    if record.kind == Need::Hint && answer.code != whole.code {
        return fault("a hint changed the answer");
    }
    if ELSEWHERE.iter().any(|(path, start, _)| record.path == *path && line.starts_with(start)) {
        return Verdict::Same;
    }
    match (named, answer.code == whole.code) {
        (false, _) => fault("the answer differs and does not name the record"),
        (true, true) if answer.objects == whole.objects => Verdict::Noted,
        (true, true) => fault("the same code, but other objects"),
        (true, false) if answer.code == Some(0) => Verdict::Noted,
        (true, false) if answer.changed && !line.starts_with("recover") => {
            fault(&format!("an error that changed the root: {}", answer.difference))
        }
        (true, false) => Verdict::Refused,
    }
}
