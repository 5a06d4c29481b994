use serde::Serialize;

use super::cause::ExitCause;
use patchadm_changeset::transaction::RootCondition;
use patchadm_core::operation::failure::Failure;

/// `result` in the document of a command that can change or make something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResultWord {
    Done,
    /// Nothing was changed.
    Planned,
    /// `recover` completed a run.
    Finished,
    /// Everything is as before.
    RolledBack,
    NothingToDo,
    /// The rules do not allow it; nothing was changed.
    Refused,
    /// It went wrong, or could not be tried.
    Failed,
}

impl ResultWord {
    const ALL: [Self; 7] = [
        Self::Done,
        Self::Planned,
        Self::Finished,
        Self::RolledBack,
        Self::NothingToDo,
        Self::Refused,
        Self::Failed,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Planned => "planned",
            Self::Finished => "finished",
            Self::RolledBack => "rolled-back",
            Self::NothingToDo => "nothing-to-do",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    pub fn named(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.word() == word)
    }

    pub fn of_failure(failure: &Failure) -> Self {
        match failure.left() {
            RootCondition::RolledBack => return Self::RolledBack,
            RootCondition::InDoubt | RootCondition::Unfinished(_) => return Self::Failed,
            RootCondition::Unchanged => {}
        }
        match failure {
            Failure::Refused(_) | Failure::Declined | Failure::OnTrial { .. } | Failure::NotConfirmed(_) => {
                Self::Refused
            }
            Failure::Plan(fault) if fault.is_difference() => Self::Refused,
            _ => Self::Failed,
        }
    }

    /// If only the cause is known.
    pub fn of_cause(cause: ExitCause) -> Self {
        match cause {
            ExitCause::Ok => Self::Done,
            ExitCause::Usage
            | ExitCause::Settings
            | ExitCause::Exists
            | ExitCause::AlreadyApplied
            | ExitCause::Superseded
            | ExitCause::NotApplicable
            | ExitCause::Restricted
            | ExitCause::Edited
            | ExitCause::OnTrial
            | ExitCause::TrialOver
            | ExitCause::Dependency => Self::Refused,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_what_documents_have() {
        for one in ResultWord::ALL {
            assert_eq!(serde_json::to_value(one).unwrap(), one.word());
            assert_eq!(ResultWord::named(one.word()), Some(one));
        }
        assert_eq!(ResultWord::named("not-begun"), None);
    }
}
