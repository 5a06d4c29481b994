//! The order of the packages of a large machine, by their `depend` files: reading them, and the graph.

use std::fs;

use anyhow::Result;

use crate::disk::Disk;
use crate::line::Line;
use crate::measure::{Spread, run as run_measured};
use crate::options::Options;
use crate::report::Report;
use crate::synthetic;
use crate::table::{Table, grouped, spread};

/// How long the order may take, in milliseconds.
const LIMIT: f64 = 300.0;

/// Measures the verb, with all packages and with those that need one of them.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let (packages, edges) = options.pick((10_000, 50_000), (100, 500));
    let root = disk.at("ordering");
    synthetic::write_depending(&root, packages, edges)?;
    let name = disk.name();
    report.heading(&format!(
        "Order, {name}: {} packages, {} lines of depend",
        grouped(packages),
        grouped(edges)
    ));
    let all = Line::patchadm().words("order -R").arg(&root);
    let queries = [
        ("order", all.clone()),
        ("order --why", all.clone().arg("--why")),
        ("order PKG", all.arg(synthetic::package(packages / 2))),
    ];
    let mut walls = vec![Vec::new(); queries.len()];
    for _ in 0..options.many_runs() {
        for ((_, line), walls) in queries.iter().zip(&mut walls) {
            walls.push(run_measured(disk.scratch(), line)?.wall);
        }
    }
    let mut table = Table::new(&["query", "wall (least–most)"]);
    for ((query, _), walls) in queries.iter().zip(walls) {
        let wall = Spread::of(walls);
        table.row([(*query).to_owned(), spread(wall)]);
        report.at_most(name, query, LIMIT, wall.scaled(1e3), " ms");
    }
    report.table(&table);
    report.say(&format!("Medians of {} runs.\n", options.many_runs()));
    Ok(fs::remove_dir_all(root)?)
}
