//! Bulk builds: what the program costs around builds that do almost nothing, beside the same scripts without it.
//!
//! The floors are the driver's own scripts, called as often and two at a time by `xargs`, in no sandbox, for no result that is
//! kept, checked or flushed. All costs of a package are wall time × 2 slots ÷ packages, so that a slot that waits counts.
//! What takes more than ten seconds is run once.

mod building;
mod ground;
mod master;
mod needs;
mod scanning;
pub(crate) mod shell_loop;
mod slurm;
mod task;

use anyhow::Result;

use crate::disk::Disk;
use crate::measure::Costs;
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, known, mebibytes, megabytes, seconds, spread, whole};
use ground::Ground;

/// The tasks at a time.
const SLOTS: f64 = 2.0;

/// What is measured elsewhere, in virtual time or on data that are not in the repository.
const ELSEWHERE: &str = "\
The schedule is measured in virtual time, by tests that hold its targets and print its figures: `cargo test -p patchadm-bulk-values \
schedule -- --nocapture`. Import and resolution of the records of a real tree are measured by `cargo test --release \
--manifest-path oracle/bulk/Cargo.toml -- --nocapture`.\n";

/// Measures all of it on a disk.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    if let Some(reason) = Ground::why_not(disk)? {
        report.skipped(&format!("bulk builds, {}", disk.name()), &reason);
        return Ok(());
    }
    report.heading(&format!("Bulk builds, {}", disk.name()));
    let columns = ["command", "wall (least–most)", "each", "CPU", "written", "flushes", "peak memory"];
    let mut table = Table::new(&columns);
    scanning::run(disk, options, &mut table, report)?;
    building::run(disk, options, &mut table, report)?;
    needs::run(disk, options, &mut table, report)?;
    master::run(disk, options, &mut table, report)?;
    task::run(disk, options, report)?;
    report.table(&table);
    // If other parts are measured as well, the page begins with their table.
    report.in_short(0.0, short(disk, &table));
    slurm::run(disk, options, report)?;
    report.say(ELSEWHERE);
    Ok(())
}

/// The table at the head of the page.
fn short(disk: &Disk, table: &Table) -> String {
    format!(
        "Recipes and packages that do almost nothing, two at a time, on an {}; {}.\n\
         *each* is wall time × 2 ÷ the number of packages or recipes that something was done for:\n\n{}",
        disk.name(),
        crate::machine::in_short(),
        table.markdown()
    )
}

/// What so many packages, or calls, cost each: seconds of a slot.
fn each(wall: f64, count: usize) -> f64 {
    wall * SLOTS / count as f64
}

/// Adds what a command cost that did so much.
fn row(table: &mut Table, name: &str, costs: &Costs, count: usize) {
    table.row([
        name.to_owned(),
        spread(costs.wall()),
        seconds(each(costs.wall().median, count)),
        seconds(costs.spread(|cost| cost.cpu).median),
        known(costs.counted(|cost| cost.written), |written| megabytes(written.median)),
        known(costs.counted(|cost| cost.flushes), whole),
        mebibytes(costs.spread(|cost| cost.peak).median),
    ]);
}
