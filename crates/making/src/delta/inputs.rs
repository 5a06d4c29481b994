//! The entries of the two directories: each digested and identified once, several at a time, none of them unpacked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::digest::InputDigest;
use crate::build::ReleaseSide;
use crate::release::{PackageIdentity, ReleaseError, ReleaseProblem, identify, set_entries};
use patchadm_rootfs::{WorkMeter, WorkUnit, side_by_side};

/// An entry of one of the directories.
#[derive(Debug)]
pub(super) struct InputFile {
    /// Its path.
    pub(super) path: PathBuf,
    /// The directory that has it.
    pub(super) side: ReleaseSide,
    /// Its digest and its packages, or why it cannot be read.
    pub(super) content: Result<InputContent, Arc<ReleaseError>>,
}

/// The contents of an entry.
#[derive(Debug)]
pub(super) struct InputContent {
    pub(super) digest: InputDigest,
    pub(super) packages: Vec<PackageIdentity>,
}

/// Reads the entries of both directories. An unreadable entry is also a result.
pub(super) fn read_inputs(
    release: &Path,
    stable: &Path,
    cores: usize,
    meter: &WorkMeter,
) -> Result<Vec<InputFile>, ReleaseError> {
    let mut found = Vec::new();
    for (side, path) in [(ReleaseSide::From, release), (ReleaseSide::To, stable)] {
        found.extend(set_entries(path)?.into_iter().map(|path| (side, path)));
    }
    let step = meter.begin(WorkUnit::Packages, found.len() as u64);
    let read = side_by_side(cores.max(1), found.len(), || {
        |at: usize| {
            let read = found.get(at).map(|(_, path)| content(path).map_err(Arc::new));
            step.advance(1);
            read
        }
    });
    let files = found.iter().zip(read.into_iter().flatten());
    Ok(files.map(|((side, path), content)| InputFile { path: path.clone(), side: *side, content }).collect())
}

fn content(path: &Path) -> Result<InputContent, ReleaseError> {
    let packages = identify(path)?;
    let unreadable = |error| ReleaseError { path: path.to_owned(), problem: ReleaseProblem::Io(error) };
    Ok(InputContent { digest: InputDigest::of(path).map_err(unreadable)?, packages })
}

impl InputFile {
    /// Returns its last component, as far as it is text.
    pub(super) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}
