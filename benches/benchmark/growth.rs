//! How the cost of a patch grows: with files in it, patches in one command, patches before it, roots, and lines of
//! `contents`.

mod files;
mod history;
pub(crate) mod patches;
mod records;
pub(crate) mod roots;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::delivery::PackageWriter;
use crate::disk::Disk;
use crate::inputs::{Inputs, fresh};
use crate::options::Options;
use crate::report::Report;
use crate::workload::{File, NEW, Version};

/// Runs all measurements of the section on a disk.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    files::run(disk, inputs, options, report)?;
    patches::run(disk, options, report)?;
    history::run(disk, options, report)?;
    roots::run(disk, options, report)?;
    records::run(disk, options, report)
}

/// Writes a patch that replaces some files of a package, and returns its directory.
pub(crate) fn write_patch(parent: &Path, id: &str, package: &str, files: &[File]) -> Result<PathBuf> {
    let mut patch = PackageWriter::of_patch(parent, id, package)?;
    for file in files {
        patch.file(&file.path, &file.content(Version::New)?, NEW)?;
    }
    patch.finish()?;
    Ok(parent.join(id))
}

/// Makes an empty directory for inputs in the scratch directory.
pub(crate) fn inputs_of(disk: &Disk, name: &str) -> Result<PathBuf> {
    let directory = disk.scratch().join(name);
    fresh(&directory)?;
    Ok(directory)
}

pub(crate) fn clear(directories: &[&Path]) -> Result<()> {
    directories.iter().try_for_each(|directory| Ok(fs::remove_dir_all(directory)?))
}
