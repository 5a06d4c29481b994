//! The formats and values of SVR4 packages and patches: bytes to values and back.

pub mod format;
pub mod package;
pub mod patch;
pub mod places;

/// Says which test is skipped and why, where it is seen: past the capture of what a test prints.
#[cfg(test)]
pub(crate) fn skipped(what: &str) {
    use std::io::Write as _;
    // Nothing depends on it.
    let _ = writeln!(std::io::stderr(), "skipped: {what}");
}
