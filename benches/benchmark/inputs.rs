//! What the parts measure with, written once to the scratch directory before anything is timed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::delivery::{PACKAGE, PATCH, write_base, write_patch};
use crate::floor;
use crate::workload::{File, Scale, Workload};

/// The workload and where its packages are.
pub(crate) struct Inputs {
    pub(crate) workload: Workload,
    /// The directory with the base package.
    pub(crate) base: PathBuf,
    /// The directory of the patch.
    pub(crate) patch: PathBuf,
    /// The files of the patch, as a tree.
    pub(crate) patched_files: PathBuf,
    /// What the patch does, for the floor.
    pub(crate) changes: PathBuf,
    /// `gzip -1` brings the data to this part of its size.
    pub(crate) ratio: f64,
}

impl Inputs {
    /// Writes the packages of a scale into `scratch`.
    pub(crate) fn write(scale: Scale, scratch: &Path) -> Result<Self> {
        let workload = Workload::new(scale);
        let ratio = workload.check_ratio()?;
        let (base, patches, changes) = (scratch.join("base"), scratch.join("patch"), scratch.join("changes"));
        write_base(&base, &workload.files)?;
        write_patch(&patches, &workload, &[])?;
        floor::write_changes(&changes, &workload)?;
        let patch = patches.join(PATCH);
        let patched_files = patch.join(PACKAGE).join("reloc");
        Ok(Self { workload, base, patch, patched_files, changes, ratio })
    }

    /// The files of the base, as a tree.
    pub(crate) fn base_files(&self) -> PathBuf {
        self.base.join(PACKAGE).join("reloc")
    }

    /// One sentence about the data.
    pub(crate) fn describe(&self) -> String {
        let bytes =
            |files: &mut dyn Iterator<Item = &File>| files.map(File::size).sum::<usize>() as f64 / 1e6;
        let Workload { files, replaced, deleted, added } = &self.workload;
        format!(
            "Base: {} files, {:.1} MB. Patch: {} replaced ({:.1} MB, a tenth of their blocks rewritten), {} added, {} \
             deleted. `gzip -1` brings the data to {:.2} of its size.",
            files.len(),
            bytes(&mut files.iter()),
            replaced.len(),
            bytes(&mut replaced.iter().map(|&number| &files[number])),
            added.len(),
            deleted.len(),
            self.ratio
        )
    }
}

/// Makes an empty directory.
pub(crate) fn fresh(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path)?;
    }
    Ok(fs::create_dir_all(path)?)
}
