//! What the process costs that carries a run out: its memory and processor time for each task.

use anyhow::Result;

use super::ground::{Ground, Recipe};
use super::row;
use crate::disk::Disk;
use crate::measure::Costs;
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, grouped};

/// The limits: MiB for so many packages, and milliseconds of processor time for each.
const MEMORY: [f64; 2] = [150.0, 400.0];
const EACH: f64 = 1.0;

/// Measures it with many and with more packages.
pub(super) fn run(disk: &Disk, options: &Options, table: &mut Table, report: &mut Report) -> Result<()> {
    for (count, memory) in options.pick([10_000, 30_000], [10, 30]).into_iter().zip(MEMORY) {
        let many = grouped(count);
        Report::progress(&format!("a run of {many} packages"));
        let ground = Ground::new(disk, "bulk", count, |_| Recipe::default())?;
        ground.scan().run()?;
        let costs = Costs(vec![ground.measure(&ground.run(""))?]);
        let name = format!("bulk run, {many} packages");
        row(table, &name, &costs, count);
        let peak = costs.spread(|cost| cost.peak).scaled(1.0 / f64::from(1 << 20));
        report.at_most(disk.name(), &format!("memory of {name}"), memory, peak, " MiB");
        let own = costs.spread(|cost| cost.own).scaled(1e3 / count as f64);
        report.at_most(disk.name(), &format!("processor time of {name}, each"), EACH, own, " ms");
        ground.clear()?;
    }
    Ok(())
}
