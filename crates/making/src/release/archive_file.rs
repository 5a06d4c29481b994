//! A file that is opened once and read many times, whole or in parts, by several threads.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::error::ReleaseProblem;
use patchadm_inputs::input_file::InputFile;
use patchadm_rootfs::WorkStep;

/// An open regular file.
#[derive(Clone, Debug)]
pub(super) struct ArchiveFile {
    file: Arc<File>,
    size: u64,
    /// The step of the work that counts what is read.
    step: Option<WorkStep>,
}

impl ArchiveFile {
    /// Opens a regular file, through symbolic links if need be.
    pub(super) fn open(path: &Path) -> Result<Self, ReleaseProblem> {
        let file = InputFile::open_anything(path).map_err(ReleaseProblem::Io)?.into_regular();
        let file =
            file.map_err(|_| ReleaseProblem::Unsupported("a release that is no regular file".to_owned()))?;
        let seen = file.metadata().map_err(ReleaseProblem::Io)?;
        Ok(Self { file: Arc::new(file), size: seen.len(), step: None })
    }

    /// Returns the same file, whose bytes count for a step as they are read.
    pub(super) fn counted(self, step: WorkStep) -> Self {
        Self { step: Some(step), ..self }
    }

    /// Returns the size that the file had when it was opened.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Returns a part of the file.
    pub(super) fn part(&self, start: u64, size: u64) -> FilePart {
        FilePart { file: self.clone(), start, size }
    }
}

/// A part of a file.
#[derive(Clone, Debug)]
pub(super) struct FilePart {
    file: ArchiveFile,
    pub(super) start: u64,
    pub(super) size: u64,
}

impl FilePart {
    /// Reads the part from its beginning.
    pub(super) fn reader(&self) -> PartReader<'_> {
        PartReader { file: &self.file, position: self.start, left: self.size }
    }
}

/// A part of a file being read.
#[derive(Debug)]
pub(super) struct PartReader<'a> {
    file: &'a ArchiveFile,
    position: u64,
    left: u64,
}

impl Read for PartReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.file.read_at(buffer.get_mut(..wanted).unwrap_or_default(), self.position)?;
        self.position += count as u64;
        self.left -= count as u64;
        if let Some(step) = &self.file.step {
            step.advance(count as u64);
        }
        Ok(count)
    }
}

/// Reads at most `limit` bytes to the end; `what` names what would be longer.
pub(super) fn read_limited(input: &mut dyn Read, limit: u64, what: &str) -> Result<Vec<u8>, ReleaseProblem> {
    let mut bytes = Vec::new();
    input.take(limit + 1).read_to_end(&mut bytes).map_err(ReleaseProblem::of_archive)?;
    if bytes.len() as u64 > limit {
        return Err(ReleaseProblem::BadForm(format!("{what} is longer than {limit} bytes")));
    }
    Ok(bytes)
}
