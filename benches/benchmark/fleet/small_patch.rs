//! A package and a patch to it of a few small files, for whatever costs the same with any patch.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::delivery::{PACKAGE, write_base};
use crate::disk::Disk;
use crate::growth::roots::make_roots;
use crate::growth::{clear, inputs_of, write_patch};
use crate::line::Line;
use crate::workload::File;

/// Its id.
pub(super) const ID: &str = "410001-01";

/// The files that it replaces.
pub(super) const FILES: usize = 7;

/// Where both are.
pub(super) struct SmallPatch {
    directory: PathBuf,
    /// The directory of the patch.
    pub(super) path: PathBuf,
}

impl SmallPatch {
    /// Writes both.
    pub(super) fn write(disk: &Disk) -> Result<Self> {
        let directory = inputs_of(disk, "fleet")?;
        let file = |number: u64| File::new(format!("opt/small/f{number}"), 20_000, 8_000_000 + number);
        let files: Vec<File> = (0..).map(file).take(FILES).collect();
        write_base(&directory.join("base"), &files)?;
        let path = write_patch(&directory, ID, PACKAGE, &files)?;
        Ok(Self { directory, path })
    }

    /// Makes roots with the package.
    pub(super) fn roots(&self, below: &Path, count: usize) -> Result<Vec<PathBuf>> {
        make_roots(below, &self.directory.join("base"), count)
    }

    /// The document that `list --json` prints on a root with the patch.
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
