//! Many packages without dependencies, each of which writes one file; what their sandboxes cost of it; and all of them up to date.

use anyhow::Result;

use super::ground::{Ground, Recipe, location};
use super::{each, row};
use crate::disk::Disk;
use crate::line::Line;
use crate::measure::{Costs, Spread, run as run_measured};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, grouped, spread};

/// What a package may cost beside its build, in milliseconds: unchecked, checked; and what of it its sandbox may cost.
const UNCHECKED: f64 = 50.0;
const CHECKED: f64 = 60.0;
const SANDBOX: f64 = 15.0;

/// How long a run may take that finds everything up to date, in seconds.
const UP_TO_DATE: f64 = 1.0;

/// Measures builds, and a run after them.
pub(super) fn run(disk: &Disk, options: &Options, table: &mut Table, report: &mut Report) -> Result<()> {
    let (packages, up_to_date) = options.pick((2_000, 5_000), (8, 8));
    let count = grouped(packages);
    Report::progress(&format!("builds of {count} packages"));
    let ground = Ground::new(disk, "bulk", packages, |_| Recipe::default())?;
    let [mut floor, mut unchecked, mut checked] = <[Costs; 3]>::default();
    floor.0.push(ground.measure(&ground.floor("build")?)?);
    ground.scan().run()?;
    unchecked.0.push(ground.measure(&ground.run(""))?);
    ground.begin("")?;
    ground.set("check=none", "check=install")?;
    ground.scan().run()?;
    checked.0.push(ground.measure(&ground.run(""))?);
    row(table, &format!("floor: build of {count} packages"), &floor, packages);
    row(table, &format!("bulk run, {count} packages, check=none"), &unchecked, packages);
    row(table, &format!("bulk run, {count} packages, check=install"), &checked, packages);
    let costs = [&floor, &unchecked, &checked].map(|costs| each(costs.wall().median, packages) * 1e3);
    report.at_most(disk.name(), "a package beside its build", UNCHECKED, costs[1] - costs[0], " ms");
    report.at_most(disk.name(), "the same, its check more", CHECKED, costs[2] - costs[1], " ms");
    ground.clear()?;
    sandboxes(disk, options, report)?;

    Report::progress(&format!("{} packages up to date", grouped(up_to_date)));
    let ground = Ground::new(disk, "bulk", up_to_date, |_| Recipe::default())?;
    ground.run("").run()?;
    let mut costs = Costs::default();
    for _ in 0..options.runs() {
        costs.0.push(ground.measure(&ground.run(""))?);
    }
    let name = format!("bulk run, {} packages up to date", grouped(up_to_date));
    row(table, &name, &costs, up_to_date);
    report.at_most(disk.name(), &name, UP_TO_DATE, costs.wall(), " s");
    ground.clear()
}

/// What a sandbox costs: a command is entered that does nothing, beside one that ends before it has made one.
fn sandboxes(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let ground = Ground::new(disk, "bulk", 1, |_| Recipe::default())?;
    ground.scan().run()?;
    let [enter, why] = [
        ground.enter(0, "/bin/true"),
        Line::patchadm().words("bulk why").arg(ground.work()).arg(location(0)),
    ];
    let [mut entered, mut known] = <[Vec<f64>; 2]>::default();
    for _ in 0..options.many_runs() {
        entered.push(run_measured(disk.scratch(), &enter)?.wall);
        known.push(run_measured(disk.scratch(), &why)?.wall);
    }
    let [entered, known] = [entered, known].map(Spread::of);
    let beside = Spread::of([(entered.median - known.median) * 1e3]);
    report.say(&format!("bulk enter, /bin/true: {}; bulk why: {}.\n", spread(entered), spread(known)));
    report.at_most(disk.name(), "a sandbox: bulk enter, beyond bulk why", SANDBOX, beside, " ms");
    ground.clear()
}
