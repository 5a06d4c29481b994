//! What is wrong in a `bulk.conf`.

use std::fmt;

/// An invalid `bulk.conf`: the line, if one is to blame, and the reason, in one line of text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigurationError {
    /// The number of the line; the first is 1. `None` if something is missing.
    pub line: Option<usize>,
    /// The setting and its fault.
    pub reason: String,
}

impl ConfigurationError {
    pub(super) fn at(line: usize, reason: impl Into<String>) -> Self {
        Self { line: Some(line), reason: without_passwords(&reason.into()) }
    }

    pub(super) fn of_all(reason: impl Into<String>) -> Self {
        Self { line: None, reason: without_passwords(&reason.into()) }
    }
}

/// Leaves out what may be a password in a value that is quoted: what stands before the last `@` of each word, if a `:` is in it.
fn without_passwords(reason: &str) -> String {
    let shown = |word: &str| match word.rsplit_once('@') {
        Some((before, host)) if before.contains(':') => {
            let quote = if before.starts_with('`') { "`" } else { "" };
            format!("{quote}...@{host}")
        }
        _ => word.to_owned(),
    };
    reason.split(' ').map(shown).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "line {line}: {}", self.reason),
            None => out.write_str(&self.reason),
        }
    }
}
