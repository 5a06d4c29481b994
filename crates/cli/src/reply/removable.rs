use serde::Serialize;

use super::exit::Exit;
use super::failure;
use patchadm_core::operation::failure::Failure;
use patchadm_planning::plan::refusal::Command;

/// The answer to the question if `remove` would succeed now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RemovableEntry {
    pub now: bool,
    /// The exit code of `remove`.
    pub code: u8,
    /// The applied patches that are in the way.
    pub blocked_by: Vec<String>,
    pub reason: Option<String>,
    /// True if undo data and objects were read for the answer; otherwise it relies on records and sizes.
    #[serde(skip)]
    pub checked: bool,
}

impl RemovableEntry {
    /// After undo data and objects were read.
    pub fn checked(backout: &Result<(), Failure>) -> Self {
        let is_closed = matches!(backout, Err(failed) if failed.is_refused_access());
        Self { checked: !is_closed, ..Self::at_a_glance(backout) }
    }

    /// By records and sizes.
    pub fn at_a_glance(backout: &Result<(), Failure>) -> Self {
        let checked = false;
        let Err(failed) = backout else {
            return Self { now: true, code: Exit::OK.code(), blocked_by: Vec::new(), reason: None, checked };
        };
        let in_the_way = match failed {
            Failure::Refused(refusal) => refusal.reason.stands_in_the_way(),
            _ => None,
        };
        Self {
            now: false,
            code: failure::verb_code(Command::Patchrm, failed).verb_code(),
            blocked_by: in_the_way.into_iter().collect(),
            reason: Some(failure::reason(failed)),
            checked,
        }
    }

    pub fn words(&self) -> String {
        match &self.reason {
            None if self.checked => "can be removed".to_owned(),
            None => "probably removable; `check --contents` verifies it".to_owned(),
            Some(reason) => format!("cannot be removed: {reason}"),
        }
    }
}
