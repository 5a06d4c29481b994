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
        Self { line: Some(line), reason: reason.into() }
    }

    pub(super) fn of_all(reason: impl Into<String>) -> Self {
        Self { line: None, reason: reason.into() }
    }
}

impl fmt::Display for ConfigurationError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "line {line}: {}", self.reason),
            None => out.write_str(&self.reason),
        }
    }
}
