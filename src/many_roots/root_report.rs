use std::path::Path;

use serde::Serialize;

use patchadm_cli::reply::{Exit, ExitCause, ResultWord};
use patchadm_cli::surroundings::recovery::RecoveryNews;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RootClass {
    Done,
    /// Everything is in force already.
    Idle,
    /// The root has none of the packages.
    NotApplicable,
    Refused,
    Failed,
    /// A signal came before its turn.
    NotBegun,
}

impl RootClass {
    fn result(self) -> ResultWord {
        match self {
            Self::Done => ResultWord::Done,
            Self::Idle | Self::NotApplicable => ResultWord::NothingToDo,
            Self::Refused => ResultWord::Refused,
            Self::Failed | Self::NotBegun => ResultWord::Failed,
        }
    }
}

#[derive(Debug)]
pub(crate) struct RootReport<B> {
    pub(crate) class: RootClass,
    pub(crate) result: ResultWord,
    pub(crate) exit: Exit,
    /// Without the name of the root.
    pub(crate) line: String,
    /// After a refusal or failure, as for this root alone.
    pub(crate) advice: Vec<String>,
    pub(crate) notes: Vec<String>,
    /// Why it was refused or failed, in the same words for every root.
    pub(crate) reason: Option<String>,
    pub(crate) reboots: Vec<&'static str>,
    pub(crate) changed: bool,
    /// A plan would change the root.
    pub(crate) would_change: bool,
    pub(crate) body: RootBody<B>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum RootBody<B> {
    Worked(B),
    /// From a process of the root's owner.
    OfOwner(serde_json::Map<String, serde_json::Value>),
    Unworked {
        result: ResultWord,
        changed: bool,
        error: String,
    },
}

impl<B> RootReport<B> {
    /// Adds what was done before the work, and is not in the report.
    pub(crate) fn told(mut self, recovery: &RecoveryNews) -> Self {
        std::iter::once(&self.line).chain(&self.notes).for_each(|line| recovery.is_told_by(line.as_bytes()));
        self.notes.splice(0..0, recovery.take_untold());
        self.changed |= recovery.has_changed();
        self
    }

    /// A root described by one line.
    pub(crate) fn of_line(
        class: RootClass,
        exit: Exit,
        line: String,
        root: &Path,
        body: RootBody<B>,
    ) -> Self {
        let is_bad = matches!(class, RootClass::Refused | RootClass::Failed);
        let reason = is_bad.then(|| without_root(&line, root));
        Self {
            class,
            result: class.result(),
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
    /// A root with nothing to report but an error.
    pub(crate) fn unworked(class: RootClass, exit: Exit, error: String, root: &Path) -> Self {
        let line = failure_line(exit, &error);
        let body = RootBody::Unworked { result: class.result(), changed: false, error };
        Self::of_line(class, exit, line, root, body)
    }

    pub(crate) fn of_answer(line: String, notes: Vec<String>, body: B) -> Self {
        let body = RootBody::Worked(body);
        Self { notes, ..Self::of_line(RootClass::Done, Exit::OK, line, Path::new("/"), body) }
    }
}

pub(crate) fn failure_class(exit: Exit) -> RootClass {
    if exit.is_refusal() { RootClass::Refused } else { RootClass::Failed }
}

pub(crate) fn failure_line(exit: Exit, error: &str) -> String {
    let word = if exit.is_refusal() { "refused" } else { "failed" };
    format!("{word} ({}): {}", exit.verb_code(), in_one_line(error))
}

/// Stands for every root that another command holds.
pub(crate) fn locked_reason(exit: Exit) -> Option<String> {
    (exit.cause() == ExitCause::Locked).then(|| failure_line(exit, "locked by another command"))
}

/// Replaces the path of a root by `ROOT`.
pub(crate) fn without_root(text: &str, prefix: &Path) -> String {
    match prefix.display().to_string().trim_end_matches('/') {
        "" => text.to_owned(),
        prefix => text.replace(prefix, "ROOT"),
    }
}

pub(crate) fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}
