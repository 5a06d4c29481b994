//! What a set is measured with: its packages, written once to the scratch directory before anything is timed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::delivery::{PACKAGE, PATCH, write_base, write_patch};
use crate::floor;
use crate::options::Options;
use crate::portrait::Portrait;
use crate::sets::Set;
use crate::table::{Table, grouped, megabytes};
use crate::tree::Tree;
use crate::workload::{File, Version, Workload};

/// The columns of the table of sets; the parts of each kind are those of the bytes, and of the files.
const COLUMNS: [&str; 12] = [
    "set",
    "files",
    "bytes",
    "median",
    "gzip -1",
    "ELF",
    "text",
    "compressed",
    "other",
    "replaced, added, deleted",
    "to deliver",
    "to save",
];

/// The empty table of sets.
pub(crate) fn table_of_sets() -> Table {
    Table::new(&COLUMNS)
}

/// A workload and where its packages are.
pub(crate) struct Inputs {
    pub(crate) set: Set,
    pub(crate) workload: Workload,
    /// The directory with the base package.
    pub(crate) base: PathBuf,
    /// The directory of the patch.
    pub(crate) patch: PathBuf,
    /// The files of the patch, as a tree.
    pub(crate) patched_files: PathBuf,
    /// What the patch does, for the floor.
    pub(crate) changes: PathBuf,
    portrait: Portrait,
    /// What is installed before the patch, and with it.
    trees: [Tree; 2],
}

impl Inputs {
    /// Writes the packages of a set into a directory.
    pub(crate) fn write(set: Set, options: &Options, directory: &Path) -> Result<Self> {
        fresh(directory)?;
        let workload = set.workload(options, &directory.join("releases"))?;
        let (base, patches, changes) =
            (directory.join("base"), directory.join("patch"), directory.join("changes"));
        write_base(&base, &workload.files)?;
        write_patch(&patches, &workload, &[])?;
        floor::write_changes(&changes, &workload)?;
        let files = base.join(PACKAGE).join("reloc");
        let paths: Vec<PathBuf> = workload.files.iter().map(|file| files.join(&file.path)).collect();
        let portrait = Portrait::of(&paths)?;
        set.check(&workload, &portrait)?;
        let patch = patches.join(PATCH);
        let patched_files = patch.join(PACKAGE).join("reloc");
        let old = Tree::packaged(&files)?;
        let new = old.changed(&workload, Tree::packaged(&patched_files)?);
        Ok(Self { set, workload, base, patch, patched_files, changes, portrait, trees: [old, new] })
    }

    /// The files of the base, as a tree.
    pub(crate) fn base_files(&self) -> PathBuf {
        self.base.join(PACKAGE).join("reloc")
    }

    /// Where a file of the tree is in the packages.
    pub(crate) fn packaged(&self, file: &File, version: Version) -> PathBuf {
        match version {
            Version::Old => self.base_files().join(&file.path),
            Version::New => self.patched_files.join(&file.path),
        }
    }

    /// What is to be installed.
    pub(crate) fn expected(&self, version: Version) -> &Tree {
        &self.trees[version as usize]
    }

    /// The bytes of the base.
    pub(crate) fn installed(&self) -> f64 {
        self.workload.files.iter().map(|file| file.size(Version::Old)).sum::<usize>() as f64
    }

    /// The bytes of what the patch delivers.
    pub(crate) fn delivered(&self) -> f64 {
        self.workload.delivered().map(|file| file.size(Version::New)).sum::<usize>() as f64
    }

    /// The bytes of what the patch replaces and deletes.
    pub(crate) fn saved(&self) -> f64 {
        let Workload { files, replaced, deleted, .. } = &self.workload;
        let saved = replaced.iter().chain(deleted).map(|&number| files[number].size(Version::Old));
        saved.sum::<usize>() as f64
    }

    /// The patch in a few words.
    pub(crate) fn in_short(&self) -> String {
        let Workload { files, replaced, .. } = &self.workload;
        let [base, delivered] =
            [self.installed(), self.delivered()].map(|bytes| format!("{:.0} MB", bytes / 1e6));
        let [changed, all] = [replaced.len(), files.len()].map(grouped);
        format!("A patch of {changed} files ({delivered}) on {all} files ({base})")
    }

    /// The row of the table of sets.
    pub(crate) fn row(&self) -> Vec<String> {
        let Workload { replaced, deleted, added, .. } = &self.workload;
        let name = [self.set.name().to_owned()].into_iter();
        let change = [replaced.len(), added.len(), deleted.len()].map(grouped).join(", ");
        let bytes = [self.delivered(), self.saved()].map(megabytes);
        name.chain(self.portrait.row()).chain([change]).chain(bytes).collect()
    }
}

/// Makes an empty directory.
pub(crate) fn fresh(path: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path)?;
    }
    Ok(fs::create_dir_all(path)?)
}
