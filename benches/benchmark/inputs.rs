//! Inputs of most sections: packages, written once to the scratch directory before anything is timed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::delivery::{PACKAGE, PATCH, write_base, write_patch};
use crate::floor;
use crate::options::Options;
use crate::slices::{LONGEST_NOISE, longest_noise};
use crate::table::{grouped, megabytes};
use crate::tree::Tree;
use crate::workload::{File, Scale, Version, Workload};

/// A workload and the paths of its packages.
pub(crate) struct Inputs {
    pub(crate) workload: Workload,
    /// The directory with the base package.
    pub(crate) base: PathBuf,
    /// The directory of the patch.
    pub(crate) patch: PathBuf,
    /// The files of the patch, as a tree.
    pub(crate) patched_files: PathBuf,
    /// The changes of the patch, for the floor.
    pub(crate) changes: PathBuf,
    /// The installed trees, before the patch and after it.
    trees: [Tree; 2],
}

impl Inputs {
    /// Writes the packages of generated files.
    pub(crate) fn made(options: &Options, directory: &Path) -> Result<Self> {
        let workload = Workload::made(options.pick(Scale::FULL, Scale::SMALL));
        for file in workload.files.iter().step_by(100) {
            let noise = longest_noise(&file.content(Version::New)?);
            ensure!(noise <= LONGEST_NOISE, "{} has {noise} bytes of noise in a row", file.path);
        }
        Self::write(workload, directory)
    }

    /// Writes the packages of a workload into a directory.
    pub(crate) fn write(workload: Workload, directory: &Path) -> Result<Self> {
        fresh(directory)?;
        let (base, patches, changes) =
            (directory.join("base"), directory.join("patch"), directory.join("changes"));
        write_base(&base, &workload.files)?;
        write_patch(&patches, &workload)?;
        floor::write_changes(&changes, &workload)?;
        let files = base.join(PACKAGE).join("reloc");
        let patch = patches.join(PATCH);
        let patched_files = patch.join(PACKAGE).join("reloc");
        let old = Tree::packaged(&files)?;
        let new = old.changed(&workload, Tree::packaged(&patched_files)?);
        Ok(Self { workload, base, patch, patched_files, changes, trees: [old, new] })
    }

    /// The files of the base, as a tree.
    pub(crate) fn base_files(&self) -> PathBuf {
        self.base.join(PACKAGE).join("reloc")
    }

    /// Returns the path of a file of the tree in the packages.
    pub(crate) fn packaged(&self, file: &File, version: Version) -> PathBuf {
        match version {
            Version::Old => self.base_files().join(&file.path),
            Version::New => self.patched_files.join(&file.path),
        }
    }

    /// Returns the tree that an installation must have.
    pub(crate) fn expected(&self, version: Version) -> &Tree {
        &self.trees[version as usize]
    }

    /// Returns the number of objects that the patch changes.
    pub(crate) fn objects(&self) -> usize {
        let Workload { replaced, deleted, added, .. } = &self.workload;
        replaced.len() + deleted.len() + added.len()
    }

    /// Returns the bytes of the files that the patch delivers.
    pub(crate) fn delivered(&self) -> f64 {
        self.workload.delivered().map(|file| file.size(Version::New)).sum::<usize>() as f64
    }

    /// Describes the patch in a few words.
    pub(crate) fn in_short(&self) -> String {
        let files = &self.workload.files;
        let installed = files.iter().map(|file| file.size(Version::Old)).sum::<usize>() as f64;
        let [changed, all] = [self.objects(), files.len()].map(grouped);
        let [delivered, installed] = [self.delivered(), installed].map(megabytes);
        format!("a patch of {changed} files ({delivered}) on {all} files ({installed})")
    }
}

/// Makes an empty directory.
pub(crate) fn fresh(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path)?;
    }
    Ok(fs::create_dir_all(path)?)
}
