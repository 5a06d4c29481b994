//! Making, installing and checking packages; making, checking, signing and publishing patches. Each is measured beside
//! the digests or copies that it cannot do without.

mod branch;
mod depot;
mod releases;
mod signed;

use std::path::Path;

use anyhow::Result;

use crate::disk::Disk;
use crate::family;
use crate::inputs::Inputs;
use crate::line::Line;
use crate::measure::{Costs, measure};
use crate::options::Options;
use crate::report::{Report, Row};

/// Runs all measurements of the section on a disk.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    family::run(disk, inputs, options, report)?;
    releases::run(disk, options, report)?;
    signed::run(disk, inputs, options, report)?;
    depot::run(disk, options, report)?;
    branch::run(disk, options, report)
}

/// A command and its floor, the work that it cannot do without.
struct Pair<'a> {
    line: Line,
    floor: Line,
    /// Paths that either of them makes. They are removed after each run.
    made: &'a [&'a Path],
}

/// Measures both in turns.
fn in_turns(pair: &Pair<'_>, disk: &Disk, options: &Options) -> Result<[Costs; 2]> {
    let (mut ours, mut theirs) = (Costs::default(), Costs::default());
    for _ in 0..options.runs() {
        for (line, costs) in [(&pair.floor, &mut theirs), (&pair.line, &mut ours)] {
            costs.0.push(measure(disk, line)?);
            pair.made.iter().try_for_each(|made| remove(made))?;
        }
    }
    Ok([ours, theirs])
}

/// Returns the row of a command beside its floor.
fn row(name: &str, ours: &Costs, beside: &str, theirs: &Costs) -> Row {
    Row::beside(format!("{name}, beside {beside}"), ours, theirs)
}

fn remove(path: &Path) -> Result<()> {
    if path.is_dir() {
        std::fs::remove_dir_all(path)?;
    } else if path.exists() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Returns a command that digests all files of two directories, with two processes.
fn digests(one: &Path, other: &Path) -> Line {
    let each = "find \"$0\" -type f -print0 | xargs -0 sha256sum >/dev/null &
        find \"$1\" -type f -print0 | xargs -0 sha256sum >/dev/null & wait";
    Line::shell(each).arg(one).arg(other)
}
