//! Whether a patch could be backed out now: the same fields in every document.

use serde::Serialize;

use super::exit::Exit;
use super::failure;
use patchadm_core::operation::failure::Failure;
use patchadm_core::plan::refusal::Command;

/// Whether `remove` would take a patch back now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RemovableEntry {
    pub(crate) now: bool,
    /// The code with which `remove` would end.
    pub(crate) code: u8,
    /// The applied patches that are in the way.
    pub(crate) blocked_by: Vec<String>,
    /// Why it would not go.
    pub(crate) reason: Option<String>,
}

impl RemovableEntry {
    pub(crate) fn of(backout: &Result<(), Failure>) -> Self {
        let Err(failed) = backout else {
            return Self { now: true, code: Exit::OK.code(), blocked_by: Vec::new(), reason: None };
        };
        let in_the_way = match failed {
            Failure::Refused(refusal) => refusal.reason.stands_in_the_way(),
            _ => None,
        };
        Self {
            now: false,
            code: failure::verb_code(Command::Patchrm, failed).code(),
            blocked_by: in_the_way.into_iter().collect(),
            reason: Some(failure::reason(failed)),
        }
    }

    /// The answer in words.
    pub(crate) fn words(&self) -> String {
        match &self.reason {
            None => "can be backed out".to_owned(),
            Some(reason) => format!("cannot be backed out: {reason}"),
        }
    }
}
