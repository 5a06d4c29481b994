//! The command line.

use std::path::{Path, PathBuf};

use clap::Parser;

use crate::interval::FEWEST;
use crate::page::Section;

/// Measures patchadm beside the least that a program can do, and beside others. Nothing is measured but by `cargo bench`.
#[derive(Parser)]
#[command(name = "benchmark")]
pub(crate) struct Options {
    /// Only these sections of docs/benchmark.md; without one, all.
    sections: Vec<Section>,

    /// Two directories of Debian packages, a release and its stable branch: for the section debian, and for delta in making.
    #[arg(long, num_args = 2, value_names = ["RELEASE", "STABLE"])]
    branch: Vec<PathBuf>,

    /// Write the packages that most sections measure with to a new directory, for profiles made by hand, and measure nothing.
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["sections", "write_docs", "against"])]
    pub(crate) write_sets: Option<PathBuf>,

    /// Tiny data, one run, in seconds: does everything still work? Times mean nothing.
    #[arg(long)]
    pub(crate) small: bool,

    /// Runs of each command.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,

    /// Only on this file system, ext4 or xfs, where images are made.
    #[arg(long, value_name = "TYPE")]
    pub(crate) only: Option<String>,

    /// Only compare this build with another one, in pairs: applying and backing out, queries, and packages. Compares
    /// wall and processor time, of most also peak memory, and of applying and backing out flushes and switch windows.
    #[arg(long, value_name = "OTHER_BINARY", conflicts_with_all = ["sections", "write_docs"])]
    pub(crate) against: Option<PathBuf>,

    /// Pairs of --against.
    #[arg(long, default_value_t = 21, requires = "against", value_parser = clap::value_parser!(u16).range(6..=999))]
    pairs: u16,

    /// Write the figures of the measured sections to docs/benchmark.md, and keep the others there.
    #[arg(long, conflicts_with = "small")]
    pub(crate) write_docs: bool,

    /// What cargo bench adds.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

impl Options {
    /// The sections to measure, in the order of the page.
    pub(crate) fn sections(&self) -> impl Iterator<Item = Section> {
        let is_wanted = |section: &Section| self.sections.is_empty() || self.sections.contains(section);
        Section::ALL.into_iter().filter(is_wanted)
    }

    /// Returns the directories of a release and its stable branch, if they are named.
    pub(crate) fn branch(&self) -> Option<[&Path; 2]> {
        self.branch.first_chunk().map(|branch: &[PathBuf; 2]| branch.each_ref().map(PathBuf::as_path))
    }

    /// Returns the number of runs of each command.
    pub(crate) fn runs(&self) -> usize {
        if self.small { 1 } else { self.runs.into() }
    }

    /// Returns the number of pairs of two builds.
    pub(crate) fn pairs(&self) -> usize {
        if self.small { FEWEST } else { self.pairs.into() }
    }

    /// Returns the number of runs of a query, which takes milliseconds.
    pub(crate) fn many_runs(&self) -> usize {
        if self.small { 2 } else { usize::from(self.runs).max(21) }
    }

    /// Returns the value for the full or the small version.
    pub(crate) fn pick<T>(&self, full: T, small: T) -> T {
        if self.small { small } else { full }
    }
}
