//! Packages and patches for many roots: one of a few small files, and one the size of a library.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::delivery::{PACKAGE, write_base};
use crate::disk::Disk;
use crate::growth::roots::make_roots;
use crate::growth::{clear, inputs_of, write_patch};
use crate::line::Line;
use crate::workload::File;

/// The id of every patch here.
pub(super) const ID: &str = "410001-01";

/// The files that a patch replaces.
#[derive(Clone, Copy)]
pub(super) struct PatchSize {
    /// The number of files.
    pub(super) files: usize,
    /// The bytes of each.
    bytes: usize,
}

impl PatchSize {
    /// A few small files, so that everything but them is measured.
    pub(super) const SMALL: Self = Self { files: 7, bytes: 20_000 };
    /// A library with its programs and manual, like OpenSSL.
    pub(super) const LIBRARY: Self = Self { files: 40, bytes: 100_000 };
}

impl std::fmt::Display for PatchSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} files of {} kB", self.files, self.bytes / 1000)
    }
}

/// A package and its patch on disk.
pub(super) struct FleetPatch {
    directory: PathBuf,
    /// The directory of the patch.
    pub(super) path: PathBuf,
    pub(super) size: PatchSize,
}

impl FleetPatch {
    /// Writes the package and the patch.
    pub(super) fn write(disk: &Disk, size: PatchSize) -> Result<Self> {
        let directory = inputs_of(disk, "fleet")?;
        let file = |number: u64| File::new(format!("opt/fleet/f{number}"), size.bytes, 8_000_000 + number);
        let files: Vec<File> = (0..).map(file).take(size.files).collect();
        write_base(&directory.join("base"), &files)?;
        let path = write_patch(&directory, ID, PACKAGE, &files)?;
        Ok(Self { directory, path, size })
    }

    /// Makes roots with the package.
    pub(super) fn roots(&self, below: &Path, count: usize) -> Result<Vec<PathBuf>> {
        make_roots(below, &self.directory.join("base"), count)
    }

    /// Returns the document that `list --json` prints on a root with the patch.
    pub(super) fn listed(&self, below: &Path) -> Result<Vec<u8>> {
        let roots = self.roots(below, 1)?;
        Line::patchadm().words("add -R").arg(&roots[0]).arg(&self.path).run()?;
        let document = Line::patchadm().words("list --json -R").arg(&roots[0]).output()?;
        clear(&[below])?;
        Ok(document)
    }

    pub(super) fn clear(&self) -> Result<()> {
        clear(&[&self.directory])
    }
}
