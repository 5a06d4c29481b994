//! What a patch costs as things become more: lines of `contents`, patches before it, files in it, roots to patch.

mod files;
mod history;
mod records;
pub(crate) mod roots;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::delivery::PackageWriter;
use crate::disk::Disk;
use crate::inputs::{Inputs, fresh};
use crate::measure::Spread;
use crate::options::Options;
use crate::report::Report;
use crate::workload::{File, NEW, Version};

/// Measures all of it on a disk.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    records::run(disk, options, report)?;
    history::run(disk, options, report)?;
    files::run(disk, inputs, options, report)?;
    roots::run(disk, options, report)
}

/// Lines of a plot, each growing by a point for each number of something.
pub(crate) struct Lines<const N: usize>([Vec<(f64, f64)>; N]);

impl<const N: usize> Lines<N> {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| Vec::new()))
    }

    pub(crate) fn add(&mut self, number: usize, walls: [Spread; N]) {
        for (line, wall) in self.0.iter_mut().zip(walls) {
            line.push((number as f64, wall.median));
        }
    }

    pub(crate) fn draw(
        self,
        report: &mut Report,
        disk: &Disk,
        [plot, title, across]: [&'static str; 3],
        names: [&str; N],
    ) {
        for (name, points) in names.into_iter().zip(self.0) {
            report.plot(plot, title, across, format!("{name}, {}", disk.word()), points);
        }
    }
}

/// Writes a patch that replaces some files of a package; gives its directory.
pub(crate) fn write_patch(parent: &Path, id: &str, package: &str, files: &[File]) -> Result<PathBuf> {
    let mut patch = PackageWriter::of_patch(parent, id, package)?;
    for file in files {
        patch.file(&file.path, &file.content(Version::New)?, NEW)?;
    }
    patch.finish()?;
    Ok(parent.join(id))
}

/// An empty directory of inputs in the scratch directory.
pub(crate) fn inputs_of(disk: &Disk, name: &str) -> Result<PathBuf> {
    let directory = disk.scratch().join(name);
    fresh(&directory)?;
    Ok(directory)
}

/// Removes what a part has made.
pub(crate) fn clear(directories: &[&Path]) -> Result<()> {
    directories.iter().try_for_each(|directory| Ok(fs::remove_dir_all(directory)?))
}
