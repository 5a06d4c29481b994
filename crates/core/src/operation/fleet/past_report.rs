//! The report before, read from its file.

use std::io;
use std::path::{Path, PathBuf};

use super::files::read_limited;
use patchadm_planning::fleet::{PastReport, PastReportError};

/// The largest report, in bytes: 512 MiB, for ten thousand hosts with some thousand patches each.
const LARGEST_REPORT: u64 = 512 << 20;

/// The reason the report before cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PastFileError {
    /// Its file cannot be read.
    #[error("cannot read {}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        reason: io::Error,
    },
    /// It is no report.
    #[error("{}: {reason}", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// The defect.
        reason: PastReportError,
    },
}

/// Reads the report before.
pub fn read_past_report(path: &Path) -> Result<PastReport, PastFileError> {
    let text = read_limited(path, LARGEST_REPORT)
        .map_err(|reason| PastFileError::File { path: path.to_owned(), reason })?;
    PastReport::parse(&text).map_err(|reason| PastFileError::Form { path: path.to_owned(), reason })
}
