//! Kept libraries: the cost of examining all programs and libraries of a root, for the first time and later.
//!
//! The root has the smallest programs and libraries of this machine under their own paths, with their links, and small
//! files. The cost of a search is the difference between a plan that deletes a library and one that changes a text.

mod ground;

use std::time::Duration;

use anyhow::Result;

use crate::disk::Disk;
use crate::growth::clear;
use crate::line::Line;
use crate::measure::{Costs, Spread, in_turns};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::spread;
use ground::{Ground, Size};

/// The limits: seconds, milliseconds, MiB.
const FIRST: f64 = 1.0;
const LATER: f64 = 0.2;
const TEXT: f64 = 1.0;
const MEMORY: f64 = 64.0;

/// How long files must be unchanged before a cache keeps them.
const QUIET: Duration = Duration::from_millis(2100);

/// Runs all measurements of the section on a disk.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let size = options.pick(Size { files: 65_000, programs: 2_500 }, Size { files: 600, programs: 100 });
    Report::progress("a root with programs and libraries");
    let ground = Ground::new(disk, size)?;
    let heads = Line::inner("@heads")?.arg(&ground.path);
    let lines = [heads, ground.plan_of_text(false), ground.plan()];
    // An uncounted run fills the page cache.
    lines.iter().try_for_each(Line::run)?;
    let [opened, text, planned] = &in_turns(disk, options.runs(), lines.each_ref())?;
    report.row(Row::wall("plan of a patch without programs", text));
    report.row(Row::wall("plan, first search", planned));
    let added = beyond(planned, text);
    let row =
        Row::new("of it the first search", spread(added)).floor(spread(opened.wall()), ratio(added, opened));
    report.row(row.at_most(FIRST, added, " s"));
    report.row(memory("memory of the first search", planned, text));

    std::thread::sleep(options.pick(QUIET, Duration::ZERO));
    ground.make_cache()?;
    let status = Line::inner("@status")?.arg(&ground.path);
    let lines = [status, ground.plan_of_text(false), ground.plan()];
    lines.iter().try_for_each(Line::run)?;
    let [walked, text, planned] = &in_turns(disk, options.runs(), lines.each_ref())?;
    report.row(Row::wall("plan, later search", planned));
    let added = beyond(planned, text);
    let row =
        Row::new("of it the later search", spread(added)).floor(spread(walked.wall()), ratio(added, walked));
    report.row(row.at_most(LATER, added, " s"));
    report.row(memory("memory of the later search", planned, text));

    let lines = [ground.plan_of_text(false), ground.plan_of_text(true)];
    let [here, empty] = &in_turns(disk, options.many_runs(), lines.each_ref())?;
    let added = beyond(here, empty).scaled(1e3);
    let row = Row::new("a patch without programs, beyond an empty root", format!("{:.1} ms", added.median));
    report.row(row.at_most(TEXT, added, " ms"));
    report.say(&format!("The library is {}.", ground.library));
    clear(&[&ground.path, &ground.empty])
}

/// Returns how many seconds longer one command takes than another one.
fn beyond(one: &Costs, other: &Costs) -> Spread {
    let without = other.wall().median;
    Spread::of(one.0.iter().map(|cost| cost.wall - without))
}

fn ratio(added: Spread, floor: &Costs) -> Spread {
    added.scaled(1.0 / floor.wall().median)
}

/// Returns a row with the memory that one command takes more than another one.
fn memory(work: &str, one: &Costs, other: &Costs) -> Row {
    let without = other.spread(|cost| cost.peak).median;
    let added = Spread::of(one.0.iter().map(|cost| (cost.peak - without) / f64::from(1 << 20)));
    Row::new(work, format!("{:.1} MiB", added.median)).at_most(MEMORY, added, " MiB")
}
