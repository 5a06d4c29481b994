//! What waits for people with many machines: a report about all of them, the document of a plan, and Ansible on many roots.
//!
//! Inventories have the fields that `list --json` prints on a root with one patch, and values of hundreds of patches and
//! packages that a seed decides. A report is measured beside reading the same files, and beside parsing them into nothing, with all
//! cores. A plan is that of the set `mixed`. Ansible plays the collection of the checkout with the settings that come with
//! it; each host is a local connection with a root of its own.

mod ansible;
mod fleet_patch;
mod inventories;
mod inventory;
mod plans;
mod reports;

use anyhow::Result;

use crate::disk::Disk;
use crate::measure::Costs;
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, known, mebibytes, megabytes, seconds, spread};
use fleet_patch::{FleetPatch, PatchSize};

/// Measures all of it on a disk.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    report.heading(&format!("Many hosts, {}", disk.name()));
    let mut table = Table::new(&["command", "wall (least–most)", "CPU", "peak memory", "document"]);
    let patch = FleetPatch::write(disk, PatchSize::SMALL)?;
    reports::run(disk, &patch, options, &mut table, report)?;
    plans::run(disk, options, &mut table, report)?;
    patch.clear()?;
    ansible::run(disk, options, &mut table, report)?;
    report.table(&table);
    // If other parts are measured as well, the page begins with their table.
    report.in_short(0.0, short(disk, &table));
    Ok(())
}

/// The table at the head of the page.
fn short(disk: &Disk, table: &Table) -> String {
    format!(
        "Reports about inventories of many hosts, the plan of a large patch, and patches on many roots, on an {};\n\
         {}:\n\n{}",
        disk.name(),
        crate::machine::in_short(),
        table.markdown()
    )
}

/// Adds what a command cost, and the bytes of the document that it wrote, where it wrote one.
fn row(table: &mut Table, name: &str, costs: &Costs, document: Option<f64>) {
    table.row([
        name.to_owned(),
        spread(costs.wall()),
        seconds(costs.spread(|cost| cost.cpu).median),
        mebibytes(costs.spread(|cost| cost.peak).median),
        known(document, megabytes),
    ]);
}
