//! `DEPOT/flags`, read from a directory of this machine.

use std::io;
use std::path::{Path, PathBuf};

use patchadm_inputs::depot::{DepotFlags, DepotFlagsError, LARGEST_FLAGS};
use patchadm_inputs::input_file::InputDirectory;

/// The reason why the flags of a depot cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FlagsFileError {
    /// They make no sense.
    #[error("{}: {error}", path.display())]
    Words {
        /// The file.
        path: PathBuf,
        /// The fault.
        error: DepotFlagsError,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        error: io::Error,
    },
}

/// Reads `DIR/flags`; empty if it is missing.
pub(in crate::operation) fn read_flags(directory: &Path) -> Result<DepotFlags, FlagsFileError> {
    let path = directory.join("flags");
    let read = InputDirectory::open(directory)
        .and_then(|directory| directory.read_small(Path::new("flags"), LARGEST_FLAGS));
    let text = match read {
        Ok(Some(text)) => text,
        Ok(None) => return Ok(DepotFlags::default()),
        // A depot that is published for the first time is not there yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(DepotFlags::default()),
        Err(error) => return Err(FlagsFileError::Read { path, error }),
    };
    DepotFlags::parse(&text).map_err(|error| FlagsFileError::Words { path, error })
}
