//! What a code means: who ends with it, and what to do.

use std::borrow::Cow;

use serde::Serialize;

use patchadm_cli::reply::ExitCause;

/// A code: who ends with it, what it means, what to do.
#[derive(Clone, Debug, Serialize)]
pub(super) struct CodeMeaning {
    pub(super) code: u8,
    /// The commands in words.
    #[serde(rename = "command")]
    pub(super) group: &'static str,
    /// The names of these commands; empty for all verbs, or all classic commands.
    pub(super) commands: &'static [&'static str],
    pub(super) text: &'static str,
    pub(super) advice: &'static str,
    pub(super) causes: Cow<'static, [ExitCause]>,
}

impl CodeMeaning {
    /// Tells whether it is about a classic command of this name.
    pub(super) fn is_about(&self, command: &str) -> bool {
        self.commands.is_empty() || self.commands.contains(&command)
    }
}
