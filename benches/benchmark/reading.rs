//! Queries of a large machine, each a whole process.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::disk::Disk;
use crate::growth::{inputs_of, write_patch};
use crate::line::Line;
use crate::measure::{Spread, run as run_measured};
use crate::options::Options;
use crate::report::Report;
use crate::synthetic::{self, REAL, Records, real_file, some_package, some_path};
use crate::table::{Table, grouped, spread};

const ID: &str = "400001-01";

/// A query and how long it may take, in seconds.
struct Query {
    name: &'static str,
    line: Line,
    limit: Option<f64>,
}

/// Makes the database one that was last written by patchadm, as it is where patchadm is used: a patch is applied and
/// backed out.
fn change_once(disk: &Disk, root: &Path) -> Result<()> {
    let patch = write_patch(&inputs_of(disk, "reading")?, ID, REAL, &[real_file()])?;
    Line::patchadm().words("patchadd -R").arg(root).arg(patch).run()?;
    Line::patchadm().words("patchrm -R").arg(root).arg(ID).run()
}

/// Measures the queries, in turns.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let records = options.pick(
        Records { packages: 1_000, patches: 5_000, lines: 400_000 },
        Records { packages: 20, patches: 100, lines: 2_000 },
    );
    let root = disk.at("reading");
    synthetic::write(&root, records)?;
    change_once(disk, &root)?;
    let Records { packages, patches, lines } = records;
    report.heading(&format!(
        "Reading, {}: {} packages, {} patches, {} lines of contents",
        disk.name(),
        grouped(packages),
        grouped(patches),
        grouped(lines)
    ));
    let on_root = |words: &str| Line::patchadm().words(words).arg("-R").arg(&root);
    let queries = [
        Query { name: "patchadm --version", line: Line::patchadm().arg("--version"), limit: None },
        Query {
            name: "pkgparam PKG PATCHLIST",
            line: on_root("pkgparam").arg(some_package(records)).arg("PATCHLIST"),
            limit: Some(0.005),
        },
        Query { name: "showrev -p", line: on_root("showrev -p"), limit: Some(0.1) },
        Query {
            name: "pkgchk -l -p PATH",
            line: on_root("pkgchk -l").arg("-p").arg(some_path(records)),
            limit: Some(0.01),
        },
        Query { name: "pkginfo", line: on_root("pkginfo"), limit: Some(0.05) },
        Query {
            name: "completion: remove ID",
            line: Line::patchadm().words("__complete bash 4 patchadm -R").arg(&root).words("remove").arg(""),
            limit: Some(0.05),
        },
    ];
    let mut walls = vec![Vec::new(); queries.len()];
    for _ in 0..options.many_runs() {
        for (query, walls) in queries.iter().zip(&mut walls) {
            walls.push(run_measured(disk.scratch(), &query.line)?.wall);
        }
    }
    let mut table = Table::new(&["query", "wall (least–most)"]);
    for (query, walls) in queries.iter().zip(walls) {
        let wall = Spread::of(walls);
        table.row([query.name.to_owned(), spread(wall)]);
        if let Some(limit) = query.limit {
            report.at_most(disk.name(), query.name, limit * 1e3, wall.scaled(1e3), " ms");
        }
    }
    report.table(&table);
    report.say(&format!("Medians of {} runs.\n", options.many_runs()));
    Ok(fs::remove_dir_all(root)?)
}
