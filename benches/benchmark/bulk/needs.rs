//! Packages that all need the same ones: these are installed once, and what that saves is beside packages without needs.

use anyhow::{Result, ensure};

use super::ground::{Ground, Recipe, location};
use super::{each, row};
use crate::disk::Disk;
use crate::measure::Costs;
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, grouped};

/// What a package may cost more that needs others which are installed, in milliseconds.
const MORE: f64 = 5.0;

/// Measures both.
pub(super) fn run(disk: &Disk, options: &Options, table: &mut Table, report: &mut Report) -> Result<()> {
    let (users, needed) = options.pick((500, 20), (6, 2));
    let (many, few) = (grouped(users), grouped(needed));
    Report::progress(&format!("{many} packages that need the same {few}"));
    let names: Vec<String> = (0..needed).map(|number| format!("{}>=1", location(number))).collect();
    let names = names.join(" ");
    let mut costs = Vec::new();
    for needs in ["", &names] {
        let recipe = |number| Recipe { needs: if number < needed { "" } else { needs }, ..Recipe::default() };
        let ground = Ground::new(disk, "bulk", users + needed, recipe)?;
        let first: Vec<String> = (0..needed).map(location).collect();
        ground.run(&first.join(" ")).run()?;
        ground.scan().run()?;
        costs.push(Costs(vec![ground.measure(&ground.run(""))?]));
        let sets = ground.installed_sets().unwrap_or_default();
        ensure!(sets == usize::from(!needs.is_empty()), "{sets} sets of packages are installed");
        ground.clear()?;
    }
    row(table, &format!("bulk run, {many} packages that need nothing"), &costs[0], users);
    row(table, &format!("bulk run, {many} packages that need the same {few}"), &costs[1], users);
    let [alone, with] = [&costs[0], &costs[1]].map(|costs| each(costs.wall().median, users) * 1e3);
    report.at_most(
        disk.name(),
        &format!("a package that needs {few}, beyond one without"),
        MORE,
        with - alone,
        " ms",
    );
    Ok(())
}
