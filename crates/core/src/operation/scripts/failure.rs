//! A refusing or failing script, in the words and codes of pkgadd(1M).

use std::fmt;
use std::path::Path;

use crate::script::ScriptEnd;
use crate::script::environment::ProcedureScript;
use crate::script::protocol::{ExitMeaning, PatchMessage, RebootRequest, ScriptOutcome};
use patchadm_changeset::transaction::RootCondition;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptFailure {
    /// In messages: `preinstall script`, `class action script`.
    what: String,
    pub meaning: ExitMeaning,
    /// How it ended, if `meaning` does not tell.
    detail: Option<String>,
    /// A message tells it; otherwise the closing line is enough.
    pub is_told: bool,
    pub left: RootCondition,
    pub part: FailedStage,
    /// A signal from elsewhere ended it.
    pub is_signalled: bool,
    pub context: Box<FailureContext>,
}

/// For scripts of patches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailureContext {
    /// `None` for a script of the patch itself.
    pub package: Option<String>,
    /// The script's message to patchadd(1M).
    pub message: Option<PatchMessage>,
    /// Log with script output.
    pub log: Option<String>,
    /// The last lines of the script's output, unless a message tells enough.
    pub last_lines: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedStage {
    /// Checkinstall, before anything is changed.
    Question,
    Package,
    /// Prepatch or prebackout.
    Before,
    /// Postpatch or postbackout.
    After,
    /// A script of the patch that cannot be executed.
    NotExecutable,
}

/// Outlast a committed run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LastingResults {
    /// A script warned, or did only a part of its work.
    pub warned: bool,
    /// The strongest request.
    pub reboot: RebootRequest,
}

impl ScriptFailure {
    /// For a root that is unchanged so far.
    pub(crate) fn new(script: &ProcedureScript, ended: ScriptEnd, outcome: ScriptOutcome) -> Self {
        let what = match script {
            ProcedureScript::InstallClass(_) | ProcedureScript::RemoveClass(_) => {
                "class action script".to_owned()
            }
            script => format!("{} script", script.name()),
        };
        let is_plain =
            matches!(ended, ScriptEnd::Exited(code) if (0..=5).contains(&(code % 10)) && code < 30);
        let suspends = matches!((script, ended), (ProcedureScript::Checkinstall, ScriptEnd::Exited(3)));
        Self {
            what,
            meaning: outcome.meaning,
            detail: (!is_plain).then(|| words(ended)),
            is_told: outcome.meaning != ExitMeaning::Interrupted && !suspends,
            left: RootCondition::Unchanged,
            part: match script {
                ProcedureScript::Request | ProcedureScript::Checkinstall => FailedStage::Question,
                _ => FailedStage::Package,
            },
            is_signalled: matches!(ended, ScriptEnd::Signalled(_)),
            context: Box::default(),
        }
    }

    pub(crate) fn of_patch(name: &str, ended: ScriptEnd) -> Self {
        let part = if name.starts_with("pre") { FailedStage::Before } else { FailedStage::After };
        Self {
            what: format!("the {name} script"),
            part,
            detail: Some(words(ended)),
            ..Self::new(
                &ProcedureScript::Postinstall,
                ended,
                ScriptOutcome { meaning: ExitMeaning::Fatal, reboot: RebootRequest::None },
            )
        }
    }

    pub(crate) fn of_hook(key: &str, file: &Path, ended: ScriptEnd, is_before: bool) -> Self {
        let part = if is_before { FailedStage::Before } else { FailedStage::After };
        let what = format!("the hook {key} ({})", file.display());
        Self { what, part, is_signalled: false, ..Self::of_patch(key, ended) }
    }

    /// Tells how it ended or why it did not begin, if the meaning does not.
    pub(crate) fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    pub(crate) fn not_executable(name: &str, reason: String) -> Self {
        let failure = Self::of_patch(name, ScriptEnd::Exited(126));
        Self { part: FailedStage::NotExecutable, detail: Some(reason), ..failure }
    }

    pub(crate) fn nobody_to_ask() -> Self {
        let outcome = ScriptOutcome { meaning: ExitMeaning::Interaction, reboot: RebootRequest::None };
        Self::new(&ProcedureScript::Request, ScriptEnd::Exited(5), outcome)
    }

    /// True if the installation continues.
    pub(crate) fn is_warning(&self) -> bool {
        self.meaning == ExitMeaning::Warning
    }

    pub fn patchadd_code(&self) -> u8 {
        match (&self.context.message, self.part) {
            (Some(message), FailedStage::Question | FailedStage::Package) => message.number,
            (_, FailedStage::NotExecutable) => 38,
            _ if self.is_signalled => 12,
            (_, FailedStage::Before) => 15,
            (_, FailedStage::After) => 16,
            _ => 5,
        }
    }

    pub fn patchrm_code(&self) -> u8 {
        let suspends = matches!(self.meaning, ExitMeaning::Administration | ExitMeaning::Interaction);
        match (&self.context.message, self.part) {
            (Some(message), FailedStage::Question | FailedStage::Package) => message.number,
            (_, FailedStage::Before) => 9,
            (_, FailedStage::After | FailedStage::NotExecutable) => 10,
            (_, FailedStage::Question) if suspends => 11,
            _ => 5,
        }
    }

    pub fn code(&self) -> u8 {
        match self.meaning {
            ExitMeaning::Ok => 0,
            ExitMeaning::Fatal => 1,
            ExitMeaning::Warning => 2,
            ExitMeaning::Interrupted => 3,
            ExitMeaning::Administration => 4,
            ExitMeaning::Interaction => 5,
        }
    }
}

impl fmt::Display for ScriptFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(message) = &self.context.message {
            return f.write_str(&message.text);
        }
        if let Some(package) = &self.context.package {
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

pub(crate) fn words(ended: ScriptEnd) -> String {
    match ended {
        ScriptEnd::Exited(code) => format!("exit code {code}"),
        ScriptEnd::Signalled(signal) => format!("ended by signal {signal}"),
        ScriptEnd::TimedOut => "ended because it took too long".to_owned(),
        ScriptEnd::Interrupted => "ended on request".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(script: &ProcedureScript, ended: ScriptEnd) -> ScriptFailure {
        let outcome = ScriptOutcome::of(ended, *script == ProcedureScript::Checkinstall);
        ScriptFailure::new(script, ended, outcome)
    }

    #[test]
    fn the_words_are_the_classic_ones_and_say_more_where_the_code_does_not() {
        let told = |script: &ProcedureScript, ended| failure(script, ended).to_string();
        assert_eq!(
            told(&ProcedureScript::Preinstall, ScriptEnd::Exited(1)),
            "preinstall script did not complete successfully"
        );
        let class = ProcedureScript::InstallClass("none".to_owned());
        assert_eq!(
            told(&class, ScriptEnd::Exited(77)),
            "class action script did not complete successfully\nexit code 77"
        );
        assert!(
            told(&ProcedureScript::Postinstall, ScriptEnd::Signalled(9)).ends_with("\nended by signal 9")
        );
        assert!(
            told(&ProcedureScript::Postinstall, ScriptEnd::TimedOut)
                .ends_with("\nended because it took too long")
        );
    }

    #[test]
    fn who_suspends_is_not_blamed() {
        let of = |script: ProcedureScript, code| {
            let failure = failure(&script, ScriptEnd::Exited(code));
            (failure.code(), failure.is_told)
        };
        assert_eq!(of(ProcedureScript::Checkinstall, 3), (4, false));
        assert_eq!(of(ProcedureScript::Checkinstall, 4), (4, true));
        assert_eq!(of(ProcedureScript::Preinstall, 3), (3, false));
        assert_eq!(of(ProcedureScript::Preinstall, 5), (5, true));
        assert_eq!(of(ProcedureScript::Preinstall, 6), (1, true));
    }
}
