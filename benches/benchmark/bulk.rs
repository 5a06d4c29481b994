//! Bulk builds: the overhead of the program around builds that do almost nothing, beside the same scripts without it.
//!
//! The floors are the driver's own scripts, which `xargs` calls as often and two at a time, without a sandbox; no
//! result is kept, checked or flushed. The cost of a package is wall time × 2 slots ÷ packages, so that an idle slot
//! counts. Commands that take more than ten seconds run once.

mod building;
mod ground;
mod scanning;
mod shell_loop;

use anyhow::Result;

use crate::disk::Disk;
use crate::measure::Costs;
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::{seconds, spread};
use ground::Ground;

/// The number of tasks at a time.
const SLOTS: f64 = 2.0;

/// Runs all measurements of the section on a disk.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    if let Some(reason) = Ground::why_not(disk)? {
        report.skipped("bulk builds", &reason);
        return Ok(());
    }
    scanning::run(disk, options, report)?;
    building::run(disk, options, report)?;
    shell_loop::run(disk, options, report)?;
    report.say(
        "Each scan of a location has a sandbox of its own, so that none can change what another one prints.",
    );
    report.say(
        "The schedule is measured in virtual time, by tests that hold its targets: `cargo test -p patchadm-bulk-values schedule -- \
         --nocapture`.",
    );
    Ok(())
}

/// Returns the slot seconds per package or call.
fn each(wall: f64, count: usize) -> f64 {
    wall * SLOTS / count as f64
}

/// Returns the row of a command that handled `count` packages or recipes.
fn row(name: &str, costs: &Costs, count: usize) -> Row {
    let wall = costs.wall();
    Row::new(name, format!("{}, each {}", spread(wall), seconds(each(wall.median, count))))
}
