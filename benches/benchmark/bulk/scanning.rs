//! Scans: the first one, and later ones as little or much has changed.

use anyhow::Result;

use super::ground::{Ground, Recipe};
use super::row;
use crate::disk::Disk;
use crate::measure::{Costs, Spread};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, grouped};

/// The limits: ratios to the floor, seconds.
const FIRST: f64 = 1.3;
const AGAIN: f64 = 1.0;
const ONE: f64 = 1.1;

/// Measures scans of a large tree.
pub(super) fn run(disk: &Disk, options: &Options, table: &mut Table, report: &mut Report) -> Result<()> {
    let (recipes, common) = options.pick((10_000, 2_000), (20, 4));
    Report::progress(&format!("scans of {} recipes", grouped(recipes)));
    let recipe = |number| Recipe { reads_common: number < common, ..Recipe::default() };
    let ground = Ground::new(disk, "bulk", recipes, recipe)?;
    let floor_line = ground.floor("scan")?;
    let [mut floor, mut first, mut again, mut one, mut all] = <[Costs; 5]>::default();
    for round in 0..options.runs() {
        floor.0.push(ground.measure(&floor_line)?);
        ground.begin("")?;
        first.0.push(ground.measure(&ground.scan())?);
        again.0.push(ground.measure(&ground.scan())?);
        ground.change_recipe(common, round)?;
        one.0.push(ground.measure(&ground.scan())?);
        ground.change_common(round)?;
        all.0.push(ground.measure(&ground.scan())?);
    }
    let [many, few] = [recipes, common].map(grouped);
    row(table, &format!("floor: scan of {many} recipes"), &floor, recipes);
    row(table, &format!("bulk scan, {many} recipes, first"), &first, recipes);
    row(table, "bulk scan again, nothing changed", &again, recipes);
    row(table, "bulk scan again, one recipe changed", &one, 1);
    row(table, &format!("bulk scan again, a file of {few} changed"), &all, common);
    report.at_most(disk.name(), "bulk scan, first / floor", FIRST, Spread::of_ratio(&first, &floor), "");
    report.at_most(disk.name(), "bulk scan, nothing changed", AGAIN, again.wall(), " s");
    report.at_most(disk.name(), "bulk scan, one recipe changed", ONE, one.wall(), " s");
    // 1.3 × the floor's time for as many, and a second.
    let part = floor.wall().median * common as f64 / recipes as f64;
    let beyond = all.wall().scaled(1.0 / (FIRST * part + 1.0));
    let work = format!("bulk scan, a file of {few} changed / (1.3 × floor + 1 s)");
    report.at_most(disk.name(), &work, 1.0, beyond, "");
    ground.clear()
}
