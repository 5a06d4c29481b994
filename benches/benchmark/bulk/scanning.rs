//! Scans: the first one, and later ones after few or many changes.

use anyhow::Result;

use super::ground::{Ground, Recipe};
use super::row;
use crate::disk::Disk;
use crate::measure::{Costs, Spread};
use crate::options::Options;
use crate::report::Report;
use crate::table::{grouped, spread};

/// Limits: a ratio to the floor, then seconds.
const FIRST: f64 = 1.3;
const AGAIN: f64 = 1.0;
const ONE: f64 = 1.1;

/// Measures scans of a large tree.
pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
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
    let beside = Spread::of_ratio(&first, &floor);
    let name = format!("bulk scan, {many} recipes, first");
    report.row(row(&name, &first, recipes).floor(spread(floor.wall()), beside).times_floor(FIRST));
    report.row(row("bulk scan again, nothing changed", &again, recipes).at_most(AGAIN, again.wall(), " s"));
    report.row(row("bulk scan again, one recipe changed", &one, 1).at_most(ONE, one.wall(), " s"));
    // The limit of a first scan of as many recipes, plus one second.
    let part = FIRST * floor.wall().median * common as f64 / recipes as f64 + 1.0;
    let name = format!("bulk scan again, a file of {few} changed");
    report.row(row(&name, &all, common).at_most((part * 100.0).round() / 100.0, all.wall(), " s"));
    ground.clear()
}
