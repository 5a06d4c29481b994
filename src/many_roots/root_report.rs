//! The report about one root of many.

use std::path::Path;

use serde::Serialize;

use patchadm_cli::reply::{Exit, ExitCause, ResultWord};

/// The outcome for a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootClass {
    /// Something was done, or planned.
    Done,
    /// Everything is in force already.
    Idle,
    /// It concerns no package that is there.
    NotApplicable,
    /// The rules say no.
    Refused,
    /// It went wrong.
    Failed,
    /// A signal came before its turn.
    NotBegun,
}

/// The report about one root.
#[derive(Debug)]
pub(crate) struct RootReport<B> {
    pub(crate) class: RootClass,
    /// The word of the root's document.
    pub(crate) result: ResultWord,
    pub(crate) exit: Exit,
    /// One line, without the name of the root.
    pub(crate) line: String,
    /// The next steps after a refusal or failure, as for this root alone.
    pub(crate) advice: Vec<String>,
    /// Notes for a person, line by line.
    pub(crate) notes: Vec<String>,
    /// The reason of a refusal or failure, in words that are the same for every root.
    pub(crate) reason: Option<String>,
    /// The reboots that patches ask for after installation.
    pub(crate) reboots: Vec<&'static str>,
    pub(crate) changed: bool,
    /// Whether a plan would change the root.
    pub(crate) would_change: bool,
    /// The fields of the root's document.
    pub(crate) body: RootBody<B>,
}

/// The fields of the document of a root among others.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum RootBody<B> {
    Worked(B),
    /// The document from a process of the owner of the root.
    OfOwner(serde_json::Map<String, serde_json::Value>),
    Unworked {
        result: ResultWord,
        changed: bool,
        error: String,
    },
}

impl<B> RootReport<B> {
    /// A root that one line describes; without a failure it has no reason.
    pub(crate) fn of_line(
        class: RootClass,
        exit: Exit,
        line: String,
        root: &Path,
        body: RootBody<B>,
    ) -> Self {
        let result = match class {
            RootClass::Done => ResultWord::Done,
            RootClass::Idle | RootClass::NotApplicable => ResultWord::NothingToDo,
            RootClass::Refused => ResultWord::Refused,
            RootClass::Failed | RootClass::NotBegun => ResultWord::Failed,
        };
        let is_bad = matches!(class, RootClass::Refused | RootClass::Failed);
        let reason = is_bad.then(|| without_root(&line, root));
        Self {
            class,
            result,
            exit,
            line,
            advice: Vec::new(),
            notes: Vec::new(),
            reason,
            reboots: Vec::new(),
            changed: false,
            would_change: false,
            body,
        }
    }
}

impl<B> RootReport<B> {
    /// A root that was asked, and answered: one line, and more below it.
    pub(crate) fn of_answer(line: String, notes: Vec<String>, body: B) -> Self {
        let body = RootBody::Worked(body);
        Self { notes, ..Self::of_line(RootClass::Done, Exit::OK, line, Path::new("/"), body) }
    }
}

/// Returns the line of a root where something went wrong.
pub(crate) fn failure_line(exit: Exit, error: &str) -> String {
    format!("failed ({}): {}", exit.verb_code(), in_one_line(error))
}

/// Returns the reason that stands for every root that another command holds.
pub(crate) fn locked_reason(exit: Exit) -> Option<String> {
    (exit.cause() == ExitCause::Locked).then(|| failure_line(exit, "locked by another command"))
}

/// Returns a text with `ROOT` for the path of a root.
pub(crate) fn without_root(text: &str, prefix: &Path) -> String {
    match prefix.display().to_string().trim_end_matches('/') {
        "" => text.to_owned(),
        prefix => text.replace(prefix, "ROOT"),
    }
}

pub(crate) fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
