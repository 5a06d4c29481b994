use serde::Serialize;

use super::cause_of::{cause_of, is_refusal};
use super::verb_codes::{self, ExitKind};
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
            // A failed trust check is a refusal, as its exit code says.
            failure => {
                let kind = if is_refusal(failure) { ExitKind::Refusal } else { ExitKind::Plain };
                let code = verb_codes::code(cause_of(failure), kind, None);
                if code == verb_codes::REFUSED { Self::Refused } else { Self::Failed }
            }
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

    #[test]
    fn a_check_of_trust_refuses_and_any_other_fault_fails() {
        for refused in [Failure::NotPrivileged("/".to_owned()), Failure::OwnedByRoot("/".to_owned())] {
            assert_eq!(ResultWord::of_failure(&refused), ResultWord::Refused, "{refused}");
        }
        for failed in [Failure::ReadOnly("/".to_owned()), Failure::NoDatabase("/".to_owned())] {
            assert_eq!(ResultWord::of_failure(&failed), ResultWord::Failed, "{failed}");
        }
    }
}
