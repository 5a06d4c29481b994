//! A finding of a diagnosis, as a value.

/// The state of what was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingState {
    /// It works.
    Ok,
    /// It was not looked at or tried; the text says why.
    Unknown,
    /// It works, but something is slower, less exact or not possible here.
    Limited,
    /// Somebody has to do something.
    Attention,
}

impl FindingState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Ok, Self::Unknown, Self::Limited, Self::Attention];

    /// Returns the word for it, which never changes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Limited => "limited",
            Self::Attention => "attention",
        }
    }
}

/// One finding of a diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: a word that never changes, such as `lock`.
    pub what: &'static str,
    /// Its state.
    pub state: FindingState,
    /// The finding for a person: no capital letter at the beginning and no period at the end.
    pub text: String,
    /// The command that helps, ready to be typed; words in capitals are to be replaced.
    pub command: Option<String>,
}

impl Finding {
    /// Something that works.
    pub(super) fn ok(what: &'static str, text: impl Into<String>) -> Self {
        Self { what, state: FindingState::Ok, text: text.into(), command: None }
    }

    /// Something that was not looked at or tried, with the reason.
    pub(super) fn unknown(what: &'static str, text: impl Into<String>) -> Self {
        Self { state: FindingState::Unknown, ..Self::ok(what, text) }
    }

    /// Something that works with a limit.
    pub(super) fn limited(what: &'static str, text: impl Into<String>) -> Self {
        Self { state: FindingState::Limited, ..Self::ok(what, text) }
    }

    /// Something that somebody has to do something about.
    pub(super) fn attention(what: &'static str, text: impl Into<String>) -> Self {
        Self { state: FindingState::Attention, ..Self::ok(what, text) }
    }

    /// The same with the command that helps. Backquotes around it are taken away.
    pub(super) fn with_command(self, command: impl AsRef<str>) -> Self {
        Self { command: Some(command.as_ref().trim_matches('`').to_owned()), ..self }
    }
}
