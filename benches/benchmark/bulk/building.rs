//! Builds of many small packages without dependencies, the cost of their sandboxes, and a run that finds all packages
//! up to date. Each build writes one file.

use anyhow::Result;

use super::ground::{Ground, Recipe, location};
use super::{each, row};
use crate::disk::Disk;
use crate::line::Line;
use crate::measure::{Costs, Spread, run as run_measured};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::{grouped, mebibytes, seconds, spread};

/// Limits in milliseconds per package: the overhead of an unchecked build, the extra cost of the check, and the cost
/// of a sandbox.
const UNCHECKED: f64 = 50.0;
const CHECKED: f64 = 60.0;
const SANDBOX: f64 = 15.0;

/// Limits of a run of 10,000 packages: seconds if everything is up to date, peak memory in MiB, and milliseconds of
/// the run's own CPU time per package.
const UP_TO_DATE: f64 = 2.0;
const MEMORY: f64 = 150.0;
const EACH: f64 = 1.0;

/// Measures builds, and runs that find everything up to date.
pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let (packages, many) = options.pick((2_000, 10_000), (8, 8));
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
    let its = spread(floor.wall());
    let costs = [&floor, &unchecked, &checked].map(|costs| each(costs.wall().median, packages) * 1e3);
    let name = format!("bulk run, {count} packages, check=none");
    report.row(row(&name, &unchecked, packages).floor_alone(&its));
    let beyond = |work: &str, more: f64, limit: f64| {
        Row::new(work, format!("{more:.1} ms")).at_most(limit, more, " ms")
    };
    report.row(beyond("a package, beyond its build", costs[1] - costs[0], UNCHECKED));
    let name = format!("bulk run, {count} packages, check=install");
    report.row(row(&name, &checked, packages).floor_alone(its));
    report.row(beyond("the check of a package", costs[2] - costs[1], CHECKED));
    ground.clear()?;
    sandboxes(disk, options, report)?;

    let count = grouped(many);
    Report::progress(&format!("a run of {count} packages"));
    let ground = Ground::new(disk, "bulk", many, |_| Recipe::default())?;
    ground.scan().run()?;
    let built = Costs(vec![ground.measure(&ground.run(""))?]);
    let name = format!("bulk run, {count} packages");
    report.row(row(&name, &built, many));
    let peak = built.spread(|cost| cost.peak);
    let memory = Row::new(format!("memory of {name}"), mebibytes(peak.median));
    report.row(memory.at_most(MEMORY, peak.scaled(1.0 / f64::from(1 << 20)), " MiB"));
    let own = built.spread(|cost| cost.own).scaled(1e3 / many as f64).median;
    report.row(beyond(&format!("CPU of {name} itself, each"), own, EACH));
    let mut costs = Costs::default();
    for _ in 0..options.runs() {
        costs.0.push(ground.measure(&ground.run(""))?);
    }
    let name = format!("bulk run, {count} packages up to date");
    report.row(row(&name, &costs, many).at_most(UP_TO_DATE, costs.wall(), " s"));
    ground.clear()
}

/// Measures the cost of a sandbox: `bulk enter` with a command that does nothing, minus `bulk why`, which makes no
/// sandbox.
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
    let beyond = entered.median - known.median;
    let row = Row::new("a sandbox: bulk enter, beyond bulk why", seconds(beyond));
    report.row(row.floor_alone(spread(known)).at_most(SANDBOX, beyond * 1e3, " ms"));
    ground.clear()
}
