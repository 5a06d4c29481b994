//! Making patches, checking, signing and publishing them, each beside the digests or copies that it cannot do without.

mod branch;
mod depot;
mod releases;
mod signed;

use std::path::Path;

use anyhow::Result;

use crate::disk::Disk;
use crate::inputs::Inputs;
use crate::line::Line;
use crate::measure::{Costs, Spread, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, mebibytes, seconds, spread};

/// Measures all of it on a disk.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    report.heading(&format!("Making patches, {}", disk.name()));
    let mut table =
        Table::new(&["command", "wall (least–most)", "CPU", "peak memory", "beside", "its wall", "ratio"]);
    releases::run(disk, options, report, &mut table)?;
    signed::run(disk, inputs, options, report, &mut table)?;
    depot::run(disk, options, report, &mut table)?;
    branch::run(disk, options, report, &mut table)?;
    report.table(&table);
    Ok(())
}

/// A command, and what it cannot do without.
struct Pair<'a> {
    name: &'static str,
    line: Line,
    beside: &'static str,
    floor: Line,
    /// What either of them makes: it goes after each run.
    made: &'a [&'a Path],
}

/// Measures both in turns; the row of both, and what they cost.
fn in_turns(pair: &Pair<'_>, disk: &Disk, options: &Options, table: &mut Table) -> Result<[Costs; 2]> {
    let (mut ours, mut theirs) = (Costs::default(), Costs::default());
    for _ in 0..options.runs() {
        for (line, costs) in [(&pair.floor, &mut theirs), (&pair.line, &mut ours)] {
            costs.0.push(measure(disk, line)?);
            pair.made.iter().try_for_each(|made| remove(made))?;
        }
    }
    row(table, pair.name, &ours, pair.beside, &theirs);
    Ok([ours, theirs])
}

fn row(table: &mut Table, name: &str, ours: &Costs, beside: &str, theirs: &Costs) {
    table.row([
        name.to_owned(),
        spread(ours.wall()),
        seconds(ours.spread(|cost| cost.cpu).median),
        mebibytes(ours.spread(|cost| cost.peak).median),
        beside.to_owned(),
        spread(theirs.wall()),
        format!("{:.2}", Spread::of_ratio(ours, theirs).median),
    ]);
}

fn remove(path: &Path) -> Result<()> {
    if path.is_dir() {
        std::fs::remove_dir_all(path)?;
    } else if path.exists() {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// The digests of all files of two directories, by two processes.
fn digests(one: &Path, other: &Path) -> Line {
    let each = "find \"$0\" -type f -print0 | xargs -0 sha256sum >/dev/null &
        find \"$1\" -type f -print0 | xargs -0 sha256sum >/dev/null & wait";
    Line::shell(each).arg(one).arg(other)
}
