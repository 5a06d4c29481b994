//! The meaning of a code, the commands that end with it, and the next step.

use std::borrow::Cow;

use serde::Serialize;

use patchadm_cli::reply::ExitCause;

#[derive(Clone, Debug, Serialize)]
pub(super) struct CodeMeaning {
    pub(super) code: u8,
    #[serde(rename = "command")]
    pub(super) group: &'static str,
    /// Empty for all verbs, or all classic commands.
    pub(super) commands: &'static [&'static str],
    pub(super) text: &'static str,
    pub(super) advice: &'static str,
    pub(super) causes: Cow<'static, [ExitCause]>,
}

impl CodeMeaning {
    pub(super) fn is_about(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.contains(&command)
    }
}
