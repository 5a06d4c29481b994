//! The identification of packages without their objects: sorting thousands of them reads only the description of each.

use std::path::{Path, PathBuf};

use super::archive_file::ArchiveFile;
use super::error::{ReleaseError, ReleaseProblem};
use super::form::{MOST_PACKAGES, OperandForm, entries, named_form};
use super::package_identity::PackageIdentity;
use super::{deb, rpm, svr4};

/// Lists the entries of a directory of packages, sorted by name. What each of them is, is not looked at.
pub fn set_entries(path: &Path) -> Result<Vec<PathBuf>, ReleaseError> {
    let failed = |problem| ReleaseError { path: path.to_owned(), problem };
    let found = entries(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => failed(ReleaseProblem::NotFound),
        _ => failed(ReleaseProblem::Io(error)),
    })?;
    if found.len() > MOST_PACKAGES {
        return Err(failed(ReleaseProblem::BadForm(format!("more than {MOST_PACKAGES} entries"))));
    }
    Ok(found)
}

/// Reads what the packages of an entry say of themselves; only a datastream has several. A tree and a tar archive are
/// refused: they have no name.
pub fn identify(path: &Path) -> Result<Vec<PackageIdentity>, ReleaseError> {
    let file = || ArchiveFile::open(path);
    let found = named_form(path).and_then(|form| match form {
        OperandForm::Deb => file().and_then(|file| deb::identify(&file)).map(|one| vec![one]),
        OperandForm::Rpm => file().and_then(|file| rpm::identify(&file)).map(|one| vec![one]),
        OperandForm::Svr4 => svr4::identify(path),
        OperandForm::Tree | OperandForm::Tar => {
            Err(ReleaseProblem::Unsupported("an archive that is no package".to_owned()))
        }
    });
    found.map_err(|problem| ReleaseError { path: path.to_owned(), problem })
}
