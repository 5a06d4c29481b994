//! The files of an analysis, read up to a limit, and the errors in them.

use std::io;
use std::path::{Path, PathBuf};

use patchadm_inputs::input_file::read_start;
use patchadm_planning::analyze::{CrossReference, from_patchdiag};
use patchadm_svr4::format::package_list::PackageListError;
use patchadm_svr4::format::patchdiag::{self, PatchdiagError};
use patchadm_svr4::format::showrev::ShowrevError;

/// The reason why a file of an analysis cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// A file that cannot be read.
    #[error("cannot read {}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The error.
        reason: io::Error,
    },
    /// A file that is no cross-reference.
    #[error("{} is not a cross-reference of patches: {reason}", .path.display())]
    CrossReference {
        /// The file.
        path: PathBuf,
        /// The defect, with the line.
        reason: PatchdiagError,
    },
    /// A file that is no list of patches.
    #[error("{} is not the output of showrev -p: {reason}", .path.display())]
    Patches {
        /// The file.
        path: PathBuf,
        /// The defect, with the line.
        reason: ShowrevError,
    },
    /// A file that is no list of packages.
    #[error("{} is not the output of pkginfo -x or -l: {reason}", .path.display())]
    Packages {
        /// The file.
        path: PathBuf,
        /// The defect, with the line.
        reason: PackageListError,
    },
}

/// Reads a `patchdiag.xref`.
pub fn read_cross_reference(path: &Path) -> Result<CrossReference, AnalysisError> {
    parse_cross_reference(path, &read(path, patchdiag::LARGEST_FILE)?)
}

/// Parses the text of a `patchdiag.xref`, which came from `path`.
pub fn parse_cross_reference(path: &Path, text: &[u8]) -> Result<CrossReference, AnalysisError> {
    let file = patchdiag::parse(text)
        .map_err(|reason| AnalysisError::CrossReference { path: path.to_owned(), reason })?;
    Ok(from_patchdiag(&file))
}

/// Reads a file up to `largest` bytes and one more. The parser sees by the extra byte that the file is larger.
pub(super) fn read(path: &Path, largest: usize) -> Result<Vec<u8>, AnalysisError> {
    let text = read_start(path, u64::try_from(largest).unwrap_or(u64::MAX));
    text.map_err(|reason| AnalysisError::File { path: path.to_owned(), reason })
}
