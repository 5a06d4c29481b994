//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::interval::FEWEST;

/// The parts of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Applying and backing out the 2,000-file patch, beside the floor and others.
    Apply,
    /// What it costs as files, records, patches and roots become more.
    Growth,
    /// Queries as whole processes.
    Reading,
    /// Installing, checking, making and moving packages.
    Family,
    /// Compression and archive formats, in MB/s.
    Codecs,
}

/// Measures patchadm beside the least that a program can do, and beside others. Nothing is measured but by `cargo bench`.
#[derive(Parser)]
#[command(name = "benchmark")]
pub(crate) struct Options {
    /// Only these parts; without one, all.
    pub(crate) parts: Vec<Part>,

    /// Tiny data, one run, in seconds: does everything still work? Times mean nothing.
    #[arg(long)]
    pub(crate) small: bool,

    /// Runs of everything that takes less than ten seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,

    /// Only on this file system, ext4 or xfs, where images are made.
    #[arg(long, value_name = "TYPE")]
    pub(crate) only: Option<String>,

    /// Nothing but this build beside another one, in pairs: apply and back out, wall and processor time.
    #[arg(long, value_name = "OTHER_BINARY", conflicts_with_all = ["parts", "write_docs"])]
    pub(crate) against: Option<PathBuf>,

    /// Pairs of --against.
    #[arg(long, default_value_t = 21, requires = "against", value_parser = clap::value_parser!(u16).range(6..=999))]
    pairs: u16,

    /// Write docs/benchmark/results.md and the plots beside it.
    #[arg(long)]
    pub(crate) write_docs: bool,

    /// What cargo bench adds.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

impl Options {
    /// Whether a part was asked for.
    pub(crate) fn wants(&self, part: Part) -> bool {
        self.against.is_none() && (self.parts.is_empty() || self.parts.contains(&part))
    }

    /// How often everything is measured.
    pub(crate) fn runs(&self) -> usize {
        if self.small { 1 } else { self.runs.into() }
    }

    /// How many pairs two builds are measured in.
    pub(crate) fn pairs(&self) -> usize {
        if self.small { FEWEST } else { self.pairs.into() }
    }

    /// How often a query is measured, which takes milliseconds.
    pub(crate) fn many_runs(&self) -> usize {
        if self.small { 2 } else { usize::from(self.runs).max(21) }
    }

    /// One of two figures.
    pub(crate) fn pick<T>(&self, full: T, small: T) -> T {
        if self.small { small } else { full }
    }
}
