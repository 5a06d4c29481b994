//! The command line.

use std::path::{Path, PathBuf};

use clap::Parser;

use crate::contender::Role;
use crate::interval::FEWEST;
use crate::report::Page;
use crate::sets::Set;

/// The parts of the benchmark.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Applying and backing out the 2,000-file patch, beside the floor and others.
    Apply,
    /// Of `apply` the program in both forms of undo data, beside both floors.
    Files,
    /// What it costs as files, records and roots become more.
    Growth,
    /// A depot of thousands of patches, hundreds of them in one command, one from under later ones.
    Many,
    /// Queries as whole processes.
    Reading,
    /// Installing, checking, making and moving packages.
    Family,
    /// Making, checking, signing and publishing patches.
    Making,
    /// A staged tree, promoted and taken back, beside cp and rsync.
    Stages,
    /// Looking at all programs and libraries of a root, and deciding which libraries stay.
    Libraries,
    /// Bulk builds of packages that do almost nothing, beside their scripts alone; on the first file system only.
    Bulk,
    /// Bulk builds beside a shell loop of unshare, an overlay, chroot and tar; on the first file system only.
    Loop,
    /// Reports about many hosts, documents of plans, and Ansible on many roots; on the first file system only.
    Fleet,
    /// The hooks of apt and dpkg, with the real tools; on the first file system only.
    Native,
    /// Applying and backing out after the page cache was dropped, beside the floor.
    Cold,
    /// Memory for each object of installing, planning, applying, backing out and removing.
    Memory,
    /// A package of a million empty files: only where it is named.
    Million,
    /// Compression and archive formats, in MB/s.
    Codecs,
}

/// Measures patchadm beside the least that a program can do, and beside others. Nothing is measured but by `cargo bench`.
#[derive(Parser)]
#[command(name = "benchmark")]
pub(crate) struct Options {
    /// Only these parts; without one, all.
    pub(crate) parts: Vec<Part>,

    /// A data set for apply and backout, instead of mixed, system, libraries and, where it is named, trees; may be
    /// repeated. All other parts are measured on mixed, where that is among the sets.
    #[arg(long = "set", value_name = "SET")]
    chosen: Vec<Set>,

    /// Two releases, each in a directory: the data set trees.
    #[arg(long, num_args = 2, value_names = ["OLD", "NEW"])]
    trees: Vec<PathBuf>,

    /// Two directories of packages, a release and its stable branch: what `delta` is measured with.
    #[arg(long, num_args = 2, value_names = ["RELEASE", "STABLE"])]
    branch: Vec<PathBuf>,

    /// Write the packages of the sets to a new directory, for profiles that are made by hand, and measure nothing.
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["parts", "write_docs", "against"])]
    pub(crate) write_sets: Option<PathBuf>,

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

    /// A build whose digests do without SHA, AVX2 and AVX-512 instructions, beside: a column of the table of targets.
    #[arg(long, value_name = "BINARY", conflicts_with = "against")]
    pub(crate) plain: Option<PathBuf>,

    /// A static build, beside.
    #[arg(long = "static", value_name = "BINARY", conflicts_with = "against")]
    pub(crate) static_build: Option<PathBuf>,

    /// Write docs/benchmark/results.md and the plots beside it; for the part `files`, `bulk`, `fleet` or `loop` alone, the
    /// page of this name. docs/book/src/speed.md quotes them: a test fails until it has the new figures.
    #[arg(long, conflicts_with = "small")]
    pub(crate) write_docs: bool,

    /// What cargo bench adds.
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

impl Options {
    /// Whether a part was asked for.
    pub(crate) fn wants(&self, part: Part) -> bool {
        let is_default = part != Part::Million || self.small;
        self.against.is_none() && (self.parts.is_empty() && is_default || self.parts.contains(&part))
    }

    /// Whether a part is measured that needs a data set.
    pub(crate) fn needs_sets(&self) -> bool {
        let is_without = |part: &Part| {
            matches!(part, Part::Bulk | Part::Loop | Part::Fleet | Part::Native | Part::Million)
        };
        self.parts.is_empty() || !self.parts.iter().all(is_without)
    }

    /// The data sets.
    pub(crate) fn sets(&self) -> Vec<Set> {
        let is_wanted = |set: &Set| match set {
            _ if !self.chosen.is_empty() => self.chosen.contains(set),
            Set::Trees => self.small || !self.trees.is_empty(),
            Set::Noise => self.small,
            Set::Mixed | Set::System | Set::Libraries => true,
        };
        [Set::Mixed, Set::System, Set::Libraries, Set::Trees, Set::Noise]
            .into_iter()
            .filter(is_wanted)
            .collect()
    }

    /// The page that the report is written to.
    pub(crate) fn page(&self) -> Page {
        match self.parts.as_slice() {
            [Part::Files] => Page::FILES,
            [Part::Bulk] => Page::BULK,
            [Part::Loop] => Page::LOOP,
            [Part::Fleet] => Page::FLEET,
            _ => Page::RESULTS,
        }
    }

    /// The two releases of the set trees, where they are named.
    pub(crate) fn trees(&self) -> Option<[&Path; 2]> {
        self.trees.first_chunk().map(|releases: &[PathBuf; 2]| releases.each_ref().map(PathBuf::as_path))
    }

    /// A release and its stable branch, where they are named.
    pub(crate) fn branch(&self) -> Option<[&Path; 2]> {
        self.branch.first_chunk().map(|branch: &[PathBuf; 2]| branch.each_ref().map(PathBuf::as_path))
    }

    /// Other builds of the program that are measured beside it. The small version takes itself, to see that it can be
    /// done.
    pub(crate) fn builds(&self) -> Vec<(Role, &Path)> {
        let itself = self.small.then(|| Path::new(env!("CARGO_BIN_EXE_patchadm")));
        let named = [(Role::Plain, &self.plain), (Role::Static, &self.static_build)];
        named.into_iter().filter_map(|(role, path)| Some((role, path.as_deref().or(itself)?))).collect()
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
