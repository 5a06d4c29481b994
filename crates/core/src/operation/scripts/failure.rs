//! A script that says no, in the words and codes of pkgadd(1M).

use std::fmt;

use crate::script::Ended;
use crate::script::environment::Script;
use crate::script::protocol::{Meaning, Outcome, PatchMessage, Reboot};
use crate::transaction::Left;

/// A script that did not do what it should, and what became of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptFailure {
    /// What messages call it: `preinstall script`, `class action script`.
    what: String,
    /// What its exit code means.
    pub meaning: Meaning,
    /// How it ended, where that is not plain from the meaning.
    detail: Option<String>,
    /// Whether a message says so, or the closing line is enough.
    pub is_told: bool,
    /// What the root is like now.
    pub left: Left,
    /// Which part of a patch it belongs to.
    pub part: Part,
    /// Whether a signal ended it, which came from elsewhere.
    pub is_signalled: bool,
    /// What commands about patches know of it beside.
    pub told: Box<Told>,
}

/// What commands about patches know of a script that failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The package whose script it is; none for a script of the patch itself.
    pub package: Option<String>,
    /// What the script says to patchadd(1M), where it does.
    pub message: Option<PatchMessage>,
    /// Where the output of the scripts is.
    pub log: Option<String>,
}

/// The parts of a patch that have scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A package, before anything is changed: its checkinstall.
    Question,
    /// A package.
    Package,
    /// The patch itself, before its packages: prepatch, prebackout.
    Before,
    /// The patch itself, after its packages: postpatch, postbackout.
    After,
    /// A script of the patch itself that cannot be executed.
    NotExecutable,
}

/// What scripts left behind them in a run that was committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ending {
    /// Whether a script warned, or did not do all of its work.
    pub warned: bool,
    /// Whether one of them wants a reboot.
    pub reboot: Reboot,
}

impl ScriptFailure {
    /// How `script` ended, before anything has been changed.
    pub(crate) fn new(script: &Script, ended: Ended, outcome: Outcome) -> Self {
        let what = match script {
            Script::InstallClass(_) | Script::RemoveClass(_) => "class action script".to_owned(),
            script => format!("{} script", script.name()),
        };
        let is_plain = matches!(ended, Ended::Exited(code) if (0..=5).contains(&(code % 10)) && code < 30);
        let suspends = matches!((script, ended), (Script::Checkinstall, Ended::Exited(3)));
        Self {
            what,
            meaning: outcome.meaning,
            detail: (!is_plain).then(|| words(ended)),
            is_told: outcome.meaning != Meaning::Interrupted && !suspends,
            left: Left::Unchanged,
            part: match script {
                Script::Request | Script::Checkinstall => Part::Question,
                _ => Part::Package,
            },
            is_signalled: matches!(ended, Ended::Signalled(_)),
            told: Box::default(),
        }
    }

    /// How the script `name` of a patch itself ended.
    pub(crate) fn of_patch(name: &str, ended: Ended) -> Self {
        let part = if name.starts_with("pre") { Part::Before } else { Part::After };
        Self {
            what: format!("the {name} script"),
            part,
            detail: Some(words(ended)),
            ..Self::new(
                &Script::Postinstall,
                ended,
                Outcome { meaning: Meaning::Fatal, reboot: Reboot::None },
            )
        }
    }

    /// A script of a patch itself that cannot be executed.
    pub(crate) fn not_executable(name: &str, reason: String) -> Self {
        let failure = Self::of_patch(name, Ended::Exited(126));
        Self { part: Part::NotExecutable, detail: Some(reason), ..failure }
    }

    /// A package that wants to ask, where nobody can be asked.
    pub(crate) fn nobody_to_ask() -> Self {
        let outcome = Outcome { meaning: Meaning::Interaction, reboot: Reboot::None };
        Self::new(&Script::Request, Ended::Exited(5), outcome)
    }

    /// Whether the installation goes on nevertheless.
    pub(crate) fn is_warning(&self) -> bool {
        self.meaning == Meaning::Warning
    }

    /// The exit code of patchadd(1M).
    pub fn patchadd_code(&self) -> u8 {
        match (&self.told.message, self.part) {
            (Some(message), Part::Question | Part::Package) => message.number,
            (_, Part::NotExecutable) => 38,
            _ if self.is_signalled => 12,
            (_, Part::Before) => 15,
            (_, Part::After) => 16,
            _ => 5,
        }
    }

    /// The exit code of patchrm(1M).
    pub fn patchrm_code(&self) -> u8 {
        let suspends = matches!(self.meaning, Meaning::Administration | Meaning::Interaction);
        match (&self.told.message, self.part) {
            (Some(message), Part::Question | Part::Package) => message.number,
            (_, Part::Before) => 9,
            (_, Part::After | Part::NotExecutable) => 10,
            (_, Part::Question) if suspends => 11,
            _ => 5,
        }
    }

    /// The exit code of pkgadd(1M) and pkgrm(1M).
    pub fn code(&self) -> u8 {
        match self.meaning {
            Meaning::Ok => 0,
            Meaning::Fatal => 1,
            Meaning::Warning => 2,
            Meaning::Interrupted => 3,
            Meaning::Administration => 4,
            Meaning::Interaction => 5,
        }
    }
}

impl fmt::Display for ScriptFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(message) = &self.told.message {
            return f.write_str(&message.text);
        }
        if let Some(package) = &self.told.package {
            write!(f, "package {package}: ")?;
        }
        write!(f, "{} did not complete successfully", self.what)?;
        match &self.detail {
            Some(detail) => write!(f, "\n{detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ScriptFailure {}

/// Says how a script ended, for the log and for messages.
pub(crate) fn words(ended: Ended) -> String {
    match ended {
        Ended::Exited(code) => format!("exit code {code}"),
        Ended::Signalled(signal) => format!("ended by signal {signal}"),
        Ended::TimedOut => "ended because it took too long".to_owned(),
        Ended::Interrupted => "ended on request".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(script: &Script, ended: Ended) -> ScriptFailure {
        let outcome = Outcome::of(ended, *script == Script::Checkinstall);
        ScriptFailure::new(script, ended, outcome)
    }

    #[test]
    fn the_words_are_the_classic_ones_and_say_more_where_the_code_does_not() {
        let told = |script: &Script, ended| failure(script, ended).to_string();
        assert_eq!(
            told(&Script::Preinstall, Ended::Exited(1)),
            "preinstall script did not complete successfully"
        );
        let class = Script::InstallClass("none".to_owned());
        assert_eq!(
            told(&class, Ended::Exited(77)),
            "class action script did not complete successfully\nexit code 77"
        );
        assert!(told(&Script::Postinstall, Ended::Signalled(9)).ends_with("\nended by signal 9"));
        assert!(told(&Script::Postinstall, Ended::TimedOut).ends_with("\nended because it took too long"));
    }

    #[test]
    fn who_suspends_is_not_blamed() {
        let of = |script: Script, code| {
            let failure = failure(&script, Ended::Exited(code));
            (failure.code(), failure.is_told)
        };
        assert_eq!(of(Script::Checkinstall, 3), (4, false));
        assert_eq!(of(Script::Checkinstall, 4), (4, true));
        assert_eq!(of(Script::Preinstall, 3), (3, false));
        assert_eq!(of(Script::Preinstall, 5), (5, true));
        assert_eq!(of(Script::Preinstall, 6), (1, true));
    }
}
