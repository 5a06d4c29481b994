//! The reason a file of a stage is rejected.

/// A line of a file that is not as this program writes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct StageFileError {
    /// The number of the line; the first is 1.
    pub line: usize,
    /// The fault.
    pub reason: String,
}

impl StageFileError {
    /// Makes the error of a line.
    pub fn at(line: usize, reason: impl Into<String>) -> Self {
        Self { line, reason: reason.into() }
    }
}
